//! `rltrain serve MODEL`.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::subject::Subject;
use super::{print_line, tell};
use crate::policy::{Adapter, Compute, DeviceChoice, ModelConfig, Policy};
use crate::rollout::Room;
use crate::serving::{Notice, ServeError, Settings, serve};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A Hugging Face folder, an adapter in PEFT's layout, a checkpoint, a run (its newest checkpoint), or `RUN@STEP`
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The model that an adapter was trained on, if it is not where the adapter says
    #[arg(long, value_name = "FOLDER")]
    base: Option<PathBuf>,
    /// Address to listen on; port 0 is any that is free. Others than those of this machine alone want `--secret-file`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:30000")]
    listen: SocketAddr,
    /// A file with the secret that every request but `/health` must say, as `Authorization: Bearer SECRET`
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// What the model is called [default: MODEL as it is written]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Most samples decoded together
    #[arg(long, value_name = "NUMBER", default_value = "16")]
    max_batch: NonZeroUsize,
    /// Most tokens of a prompt and what follows it, together [default: what the model knows, up to 4096]
    #[arg(long, value_name = "TOKENS")]
    context: Option<NonZeroUsize>,
    /// Most memory for keys and values, in MiB [default: what `--max-batch` samples take]
    #[arg(long, value_name = "MIB")]
    kv_memory_mib: Option<NonZeroUsize>,
    /// Most samples that wait for others to end; further ones are refused
    #[arg(long, value_name = "NUMBER", default_value = "256")]
    queue: usize,
    /// Dtype of the matrix products
    #[arg(long, default_value = "f32", value_parser = super::sample::compute, value_name = "auto|bf16|f32")]
    compute: Compute,
    /// Device, such as cpu or cuda:0
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

/// Most tokens of a context where nothing is said: the cache is made for all of them.
const CONTEXT: usize = 4096;

/// Loads the model and serves it.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let subject = Subject::find(&arguments.model, arguments.base.as_deref())?;
    let secret = arguments.secret_file.as_ref().map(fs_err::read_to_string).transpose();
    let secret = secret.map_err(Failure::plain_input)?.map(|secret| secret.trim().to_owned());
    if secret.as_ref().is_some_and(String::is_empty) {
        return Err(Failure::plain_input(std::io::Error::other("the file of the secret is empty")));
    }
    let model = ModelConfig::to_read(subject.model.clone(), arguments.compute, arguments.device);
    crate::mkl::set_fast(model.fast_matmul);
    let (kind, device) = model.kind_and_device()?;
    let mut policy = Policy::load(&model.path, kind, device)?;
    if let Some(folder) = &subject.adapter {
        policy.weights.adapt(Adapter::load(folder, &policy.architecture, device)?);
    }
    let knows = policy.architecture.sizes().max_positions as usize;
    let context = arguments.context.map_or(knows.min(CONTEXT), NonZeroUsize::get);
    if context > knows {
        let message = format!("`--context` is {context}, the model knows {knows} positions");
        return Err(Failure::plain_input(std::io::Error::other(message)));
    }
    let config = fs_err::read_to_string(model.path.join("config.json")).map_err(Failure::world)?;
    let config: serde_json::Value = serde_json::from_str(&config).unwrap_or_default();
    let settings = Settings {
        address: arguments.listen,
        name: arguments.name.clone().unwrap_or_else(|| arguments.model.display().to_string()),
        folder: model.path.display().to_string(),
        architectures: config["architectures"].clone(),
        room: Room {
            context,
            max_batch: arguments.max_batch.get(),
            kv_memory_mib: arguments.kv_memory_mib.map(NonZeroUsize::get),
        },
        queue: arguments.queue,
        secret,
    };
    let name = settings.name.clone();
    let announce = move |notice: Notice| match notice {
        Notice::Listening(address) => print_line(format_args!("serving {name} on http://{address}")),
        Notice::Ending => tell("ending what is under way; again to stop at once"),
    };
    serve(policy, settings, announce).map_err(|error| match error {
        ServeError::Open(_) | ServeError::Room(_) => Failure::plain_input(error),
        error => Failure::world(error),
    })
}
