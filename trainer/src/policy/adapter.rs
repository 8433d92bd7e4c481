//! Low-rank adapters (LoRA, Hu et al. 2021, arXiv:2106.09685): small matrices that are trained in place of the weights.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::architecture::Architecture;
use super::config::LoraConfig;
use super::error::PolicyError;
use super::projection::Module;
use super::weights::copied;
use crate::rng::{Stream, uniform};

/// The two factors of one matrix's change: `W + scale B A`.
pub(super) struct Factors {
    /// `A`, `[rank, in]` f32.
    pub(super) down: Tensor,
    /// `B`, `[out, rank]` f32.
    pub(super) up: Tensor,
    /// Whether the folder holds the matrix as `[in, out]`.
    pub(super) transposed: bool,
}

/// Adapters of a network, by the names of their modules.
pub struct Adapter {
    /// Rank, strength, dropout, targets.
    pub config: LoraConfig,
    pub(super) factors: BTreeMap<String, Factors>,
}

impl Adapter {
    /// New adapters that change nothing yet: `B` is zero, and `A` uniform within `1 / sqrt(in)`, as PEFT draws it. The draws
    /// derive from the seed, the module's place and the number's place.
    ///
    /// # Errors
    ///
    /// If a target is the name of no matrix of the network.
    pub fn new(
        config: &LoraConfig,
        architecture: &Architecture,
        seed: u64,
        device: Device,
    ) -> Result<Adapter, PolicyError> {
        let mut place = 0;
        Adapter::with(config, architecture, |_, [rows, columns]| {
            place += 1;
            let rank = config.rank.get() as i64;
            let bound = 1.0 / (columns as f64).sqrt();
            let draw = |n| ((2.0 * uniform(seed, Stream::Adapter, &[place, n]) - 1.0) * bound) as f32;
            let down: Vec<f32> = (0..(rank * columns) as u64).map(draw).collect();
            let up = Tensor::zeros([rows, rank], (Kind::Float, device));
            Ok((Tensor::from_slice(&down).view([rank, columns]).to_device(device), up))
        })
    }

    /// Adapters of the targets; `factors` gives `A` and `B` for a module's name and shape `[out, in]`.
    pub(super) fn with(
        config: &LoraConfig,
        architecture: &Architecture,
        mut factors: impl FnMut(&str, [i64; 2]) -> Result<(Tensor, Tensor), PolicyError>,
    ) -> Result<Adapter, PolicyError> {
        let mut adapter = Adapter { config: config.clone(), factors: BTreeMap::new() };
        let targeted = |name: &str| {
            config.targets.is_empty() || config.targets.iter().any(|target| target == last(name))
        };
        for projection in architecture.projections() {
            for Module { name, rows, .. } in &projection.modules {
                if targeted(name) {
                    let (down, up) = factors(name, [*rows, projection.columns])?;
                    let (down, up) = (down.set_requires_grad(true), up.set_requires_grad(true));
                    let transposed = projection.transposed;
                    adapter.factors.insert(name.clone(), Factors { down, up, transposed });
                }
            }
        }
        let unknown =
            config.targets.iter().find(|target| !adapter.factors.keys().any(|name| last(name) == *target));
        match unknown {
            Some(target) => {
                Err(PolicyError::Target { found: target.clone(), wanted: targets(architecture).join("`, `") })
            }
            None => Ok(adapter),
        }
    }

    /// The same values, whatever is trained later.
    pub(super) fn copied(&self) -> Adapter {
        let factors = self.factors.iter().map(|(module, Factors { down, up, transposed })| {
            let factors = Factors { down: copied(down), up: copied(up), transposed: *transposed };
            (module.clone(), factors)
        });
        Adapter { config: self.config.clone(), factors: factors.collect() }
    }

    /// The same tensors.
    pub(super) fn shared(&self) -> Adapter {
        let factors = self.factors.iter().map(|(module, Factors { down, up, transposed })| {
            let (down, up) = (down.shallow_clone(), up.shallow_clone());
            (module.clone(), Factors { down, up, transposed: *transposed })
        });
        Adapter { config: self.config.clone(), factors: factors.collect() }
    }

    /// Every trained tensor by its name in PEFT's files.
    pub(super) fn iter(&self) -> impl Iterator<Item = (String, &Tensor)> {
        self.factors.iter().flat_map(|(module, Factors { down, up, .. })| {
            [(peft_name(module, 'A'), down), (peft_name(module, 'B'), up)]
        })
    }

    /// What is added to the module's stored matrix, if it has an adapter.
    pub(super) fn change(&self, module: &str) -> Option<Tensor> {
        let Factors { down, up, transposed } = self.factors.get(module)?;
        let change = up.matmul(down) * self.config.scale();
        Some(if *transposed { change.tr() } else { change })
    }
}

/// The name of a factor in `adapter_model.safetensors`.
pub(super) fn peft_name(module: &str, factor: char) -> String {
    format!("base_model.model.{module}.lora_{factor}.weight")
}

/// What comes after the last dot.
pub(super) fn last(module: &str) -> &str {
    module.rsplit('.').next().unwrap_or(module)
}

/// Every name that a target can have.
fn targets(architecture: &Architecture) -> Vec<String> {
    let modules = architecture.projections().flat_map(|projection| &projection.modules);
    let mut names: Vec<String> = modules.map(|module| last(&module.name).to_owned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}
