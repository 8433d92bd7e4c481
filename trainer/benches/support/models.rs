//! Which models are measured, in which dtype, and how often.

use std::path::{Path, PathBuf};

use rltrain::policy::{Compute, DeviceChoice, ModelConfig, Policy};

use super::Failure;

/// Names and folders; `RLTRAIN_BENCH_MODELS` picks some of the names.
pub(crate) fn models(root: &Path) -> Vec<(String, PathBuf)> {
    let random = std::env::var_os("RLTRAIN_BENCH_FOLDER")
        .map_or_else(|| root.join(".deps/bench-models"), PathBuf::from);
    let mut models: Vec<_> =
        ["1M", "10M", "60M"].into_iter().map(|name| (name.to_owned(), random.join(name))).collect();
    models.push((
        "SmolLM2-135M".to_owned(),
        rltrain::execution::dependencies_folder().join("models/SmolLM2-135M-Instruct"),
    ));
    if let Ok(wanted) = std::env::var("RLTRAIN_BENCH_MODELS") {
        models.retain(|(name, _)| wanted.split(',').any(|wanted| wanted == name));
    }
    models
}

/// The dtype: `RLTRAIN_BENCH_COMPUTE`, or the faster one.
pub(crate) fn compute() -> Compute {
    match std::env::var("RLTRAIN_BENCH_COMPUTE").as_deref() {
        Ok("bf16") => Compute::Bf16,
        Ok("f32") => Compute::F32,
        _ => Compute::Auto,
    }
}

/// Rounds of each side: `RLTRAIN_BENCH_ROUNDS`, or `usual`.
pub(crate) fn rounds(usual: usize) -> Result<usize, Failure> {
    Ok(std::env::var("RLTRAIN_BENCH_ROUNDS").map_or(Ok(usual), |rounds| rounds.parse())?)
}

/// The policy in `folder`, on the processor.
pub(crate) fn load(folder: &Path, compute: Compute) -> Result<Policy, Failure> {
    let model = ModelConfig {
        path: folder.to_owned(),
        compute,
        device: DeviceChoice::Cpu,
        fast_matmul: true,
        freeze_embeddings: false,
        gradient_checkpointing: false,
        lora: None,
    };
    let (kind, device) = model.kind_and_device()?;
    Ok(Policy::load(folder, kind, device)?)
}
