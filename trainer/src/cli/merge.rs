//! `rltrain merge MODEL ADAPTER FOLDER`.

use std::path::PathBuf;

use clap::Args;
use tch::{Device, Kind};

use super::failure::Failure;
use super::print_line;
use crate::policy::{Adapter, MAX_SHARD_BYTES, Policy};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The Hugging Face folder that the adapter was trained on
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The adapter: a folder in PEFT's layout, such as `adapter` in a checkpoint
    #[arg(value_name = "ADAPTER")]
    adapter: PathBuf,
    /// The Hugging Face folder to make; it may be there, but empty
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Merges and says what came out.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { model, adapter, folder } = arguments;
    let mut policy = Policy::load(model, Kind::Float, Device::Cpu)?;
    let adapter = Adapter::load(adapter, &policy.architecture, Device::Cpu)?;
    policy.weights.adapt(adapter);
    policy.export(folder, MAX_SHARD_BYTES).map_err(Failure::plain_input)?;
    print_line(format_args!("{}: {} parameters", folder.display(), policy.weights.parameters()));
    Ok(())
}
