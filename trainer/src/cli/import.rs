//! `rltrain import GGUF FOLDER`.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::{print_line, tell};
use crate::import::{ImportOptions, ImportReport, import};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The GGUF file
    #[arg(value_name = "GGUF")]
    gguf: PathBuf,
    /// The Hugging Face folder to make
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Imports and says what came out.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let options = ImportOptions::default();
    let report = import(&arguments.gguf, &arguments.folder, &options, &mut |text| tell(text))
        .map_err(|error| if error.is_bad_input() { Failure::plain_input(error) } else { Failure::world(error) })?;
    let ImportReport { folder, architecture, parameters, tensors, vocabulary, .. } = report;
    let folder = folder.display();
    print_line(format_args!(
        "{folder}: {architecture}, {parameters} parameters in {tensors} tensors, {vocabulary} tokens"
    ));
    Ok(())
}
