//! The sparse projection of the weights onto the model that a run starts from: few of them may differ.
//!
//! ```text
//! theta <- base + mask (theta - base)      mask: the floor(alpha n) entries of largest |theta - base|, of each tensor or of all
//! ```
//!
//! SeleKT (Aggarwal et al. 2025, arXiv:2503.03656): dense training that is held to a sparse change, chosen anew at each projection. In
//! reinforcement learning it is a trust region in the space of weights, with the first policy in its middle. What is projected is
//! what trains, samples and is evaluated, unless the recipe wants only checkpoints to show it.

mod config;
mod select;

use std::path::Path;

pub use config::{ProjectionConfig, ProjectionMode, ProjectionScope};
pub use select::{Pair, changed, project};
use tch::Device;

use crate::policy::{Policy, PolicyError, Weights};

/// The model that a run starts from, on the host in f32, and how weights are held to it.
pub struct Base {
    config: ProjectionConfig,
    weights: Weights,
}

impl Base {
    /// The model in `folder`, which is of the policy's network.
    ///
    /// # Errors
    ///
    /// If it cannot be loaded.
    pub fn load(config: &ProjectionConfig, folder: &Path, policy: &Policy) -> Result<Base, PolicyError> {
        let weights = Weights::load(folder, &policy.architecture.shapes(), Device::Cpu)?.frozen();
        Ok(Base { config: *config, weights })
    }

    /// Projects the trained ones of `weights`, in place, if that is due after so many optimizer steps. Returns whether it was.
    pub fn project_if_due(&self, weights: &Weights, updates: u64) -> bool {
        let is_due = self.config.is_due(updates);
        if is_due {
            self.project(weights);
        }
        is_due
    }

    /// Copies of `weights` whose trained ones are projected, where checkpoints show those.
    pub fn shown(&self, weights: &Weights) -> Option<Weights> {
        self.config.is_at_save().then(|| {
            let copied = weights.copied();
            // What is trained is known of the original alone: no copy has a gradient.
            let names: Vec<String> = weights.trained().map(|(name, _)| name).collect();
            self.project_named(&copied, &names);
            copied
        })
    }

    /// Share of the trained weights that differ.
    pub fn changed_share(&self, weights: &Weights) -> f64 {
        let names: Vec<String> = weights.trained().map(|(name, _)| name).collect();
        let pairs = self.pairs(weights, &names);
        let elements: usize = pairs.iter().map(Pair::elements).sum();
        changed(&pairs) as f64 / elements.max(1) as f64
    }

    fn project(&self, weights: &Weights) {
        let names: Vec<String> = weights.trained().map(|(name, _)| name).collect();
        self.project_named(weights, &names);
    }

    fn project_named(&self, weights: &Weights, names: &[String]) {
        let pairs = self.pairs(weights, names);
        let kept = |pairs: &[Pair<'_>]| self.config.kept(pairs.iter().map(Pair::elements).sum());
        match self.config.scope {
            ProjectionScope::Global => project(&pairs, kept(&pairs)),
            ProjectionScope::Tensor => {
                pairs.chunks(1).for_each(|pair| project(pair, kept(pair)));
            }
        }
    }

    fn pairs<'a>(&'a self, weights: &'a Weights, names: &[String]) -> Vec<Pair<'a>> {
        names.iter().map(|name| Pair { weight: weights.get(name), base: self.weights.get(name) }).collect()
    }
}
