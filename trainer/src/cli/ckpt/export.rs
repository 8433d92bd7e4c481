//! `rltrain ckpt export CHECKPOINT FOLDER --format hf|peft|merged`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use fs_err as fs;
use rltrain_checkpoints::Checkpoint;
use tch::{Device, Kind};
use thiserror::Error;

use super::super::failure::Failure;
use super::super::print_line;
use super::super::run_folder::{checkpoint, unreadable};
use crate::error::TrainError;
use crate::policy::{Adapter, MAX_SHARD_BYTES, Policy, export_adapter};
use crate::session::Provenance;

/// What the folder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The model for transformers, of a run that trained all of it
    Hf,
    /// The adapter alone for PEFT, of a run that trained `[model.lora]`
    Peft,
    /// The model for transformers, an adapter folded into it if there is one
    Merged,
}

/// Dtype of what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportDtype {
    /// Brain floating point, half the bytes
    Bf16,
    /// Every bit that training has
    F32,
}

impl ExportDtype {
    fn kind(self) -> Kind {
        match self {
            ExportDtype::Bf16 => Kind::BFloat16,
            ExportDtype::F32 => Kind::Float,
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// A checkpoint's folder, a run's folder (its newest checkpoint), or `RUN@STEP`
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: PathBuf,
    /// The folder to make; it may be there, but empty
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// What the folder is for
    #[arg(long, value_enum)]
    format: Format,
    /// Dtype of the tensors; as the checkpoint has them if none is said
    #[arg(long, value_enum)]
    dtype: Option<ExportDtype>,
    /// The model that the adapter was trained on, if it is not where the recipe says
    #[arg(long, value_name = "FOLDER")]
    base: Option<PathBuf>,
}

/// The checkpoint does not have what is wanted.
#[derive(Debug, Error)]
enum NotThere {
    #[error("`{}` has an adapter and no model; take `--format peft`, or `--format merged`", path.display())]
    Model { path: PathBuf },
    #[error("`{}` has a model and no adapter; take `--format hf`", path.display())]
    Adapter { path: PathBuf },
    #[error("`{}` does not say what its adapter was trained on; name the folder with `--base`", path.display())]
    Base { path: PathBuf },
}

/// Writes the folder and says what is in it.
pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let checkpoint = checkpoint(&arguments.checkpoint)?;
    let path = checkpoint.path().to_owned();
    let kind = arguments.dtype.map(ExportDtype::kind);
    let adapter = Adapter::folder_in(checkpoint.path());
    let folder = &arguments.folder;
    let parameters = match (arguments.format, adapter) {
        (Format::Hf | Format::Merged, None) => {
            let model = Policy::model_in(&path)
                .ok_or_else(|| Failure::plain_input(NotThere::Model { path: path.clone() }))?;
            let mut policy = Policy::load(&model, Kind::Float, Device::Cpu)?;
            policy.restore(&checkpoint)?;
            policy.export_as(folder, MAX_SHARD_BYTES, kind).map_err(Failure::plain_input)?;
            policy.weights.parameters()
        }
        (Format::Merged, Some(adapter)) => {
            let base = match &arguments.base {
                Some(base) => base.clone(),
                None => base_of(&checkpoint)?,
            };
            let mut policy = Policy::load(&base, Kind::Float, Device::Cpu)?;
            let adapter = Adapter::load(&adapter, &policy.architecture, Device::Cpu)?;
            policy.weights.adapt(adapter);
            policy.export_as(folder, MAX_SHARD_BYTES, kind).map_err(Failure::plain_input)?;
            policy.weights.parameters()
        }
        (Format::Peft, Some(adapter)) => export_adapter(&adapter, folder, kind).map_err(TrainError::from)?,
        (Format::Hf, Some(_)) => return Err(Failure::plain_input(NotThere::Model { path })),
        (Format::Peft, None) => return Err(Failure::plain_input(NotThere::Adapter { path })),
    };
    print_line(format_args!("{}: {parameters} parameters", folder.display()));
    Ok(())
}

/// The model that a run of adapters started from, as its checkpoint says.
fn base_of(checkpoint: &Checkpoint) -> Result<PathBuf, Failure> {
    let unknown = || Failure::plain_input(NotThere::Base { path: checkpoint.path().to_owned() });
    let provenance = Provenance::of(checkpoint).map_err(unreadable)?.ok_or_else(unknown)?;
    let base = provenance.recipe["model"]["path"].as_str().ok_or_else(unknown)?;
    // Paths are as seen from the run folder: `RUN/checkpoints/step-N`.
    let here = fs::canonicalize(checkpoint.path()).map_err(Failure::world)?;
    let run = here.ancestors().nth(2).ok_or_else(unknown)?;
    let base = run.join(Path::new(base));
    if base.is_dir() { Ok(base) } else { Err(unknown()) }
}
