//! `rltrain import GGUF FOLDER`.

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;

use super::failure::Failure;
use super::print_line;
use crate::import::{ImportOptions, ImportReport, WeightDtype, import};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The GGUF file
    #[arg(value_name = "GGUF")]
    gguf: PathBuf,
    /// The Hugging Face folder to make
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Dtype of the weights that are written; f32 keeps every bit of the dequantised values
    #[arg(long, value_enum, default_value = "f32")]
    dtype: WeightDtype,
    /// Replace what an earlier import or anything else left in the folder
    #[arg(long)]
    overwrite: bool,
}

/// Imports and says what came out.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let options = ImportOptions { dtype: arguments.dtype, overwrite: arguments.overwrite };
    let spinner = ProgressBar::new_spinner();
    let mut show = |text: &str| {
        spinner.set_message(text.to_owned());
        spinner.tick();
    };
    let imported = import(&arguments.gguf, &arguments.folder, &options, &mut show);
    spinner.finish_and_clear();
    let report = imported.map_err(|error| {
        let help = error.help();
        let bad_input = error.is_bad_input();
        let failure = if bad_input { Failure::plain_input(error) } else { Failure::world(error) };
        failure.with_help(help)
    })?;
    let ImportReport { folder, architecture, parameters, tensors, vocabulary, .. } = report;
    let folder = folder.display();
    print_line(format_args!(
        "{folder}: {architecture}, {parameters} parameters in {tensors} tensors, {vocabulary} tokens"
    ));
    Ok(())
}
