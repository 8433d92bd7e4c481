//! Models that learn beside the policy: the critic, and [verifiers](verifier).
//!
//! The critic says how much reward can still be expected before each token; it is here. What verifiers are made of is in files
//! of its own, as pure functions: losses ([`outcome`], [`preference`], [`fault`], [`implicit`]), and how good forecasts are
//! ([`quality`], [`accept`]).
//!
//! Values are a linear function of hidden states: of the policy's own (`kind = "head"`: one number more per token, and the
//! value loss shapes the trunk), or of a model's of its own (`kind = "separate"`: twice the memory, and nothing of the value
//! loss reaches the policy).

pub mod accept;
mod config;
pub mod fault;
pub mod implicit;
pub mod outcome;
pub mod preference;
pub mod quality;
pub mod verifier;

use std::path::Path;

pub use config::{CriticConfig, CriticKind};
use rltrain_checkpoints::TensorFile;
use tch::{Device, Kind, Tensor};

use crate::batch::{Batch, plans};
use crate::optim::Optimizer;
use crate::policy::{Architecture, Network, Policy, PolicyError, Weights, load_tensor};

/// The value head by the names of TRL's `AutoModelForCausalLMWithValueHead`.
const HEAD: &str = "v_head.summary.weight";
const BIAS: &str = "v_head.summary.bias";

/// A critic with its optimizer. Made at the start of a run; changed by the update.
pub struct Critic {
    /// The head's two tensors, f32, and those of the trunk if it has one of its own.
    pub weights: Weights,
    /// Its own optimizer.
    pub optimizer: Optimizer,
    /// The trunk, if it is not the policy's.
    trunk: Option<Architecture>,
    compute: Kind,
}

impl Critic {
    /// A critic that expects nothing yet: the head is zero. A trunk of its own starts from `folder`.
    ///
    /// # Errors
    ///
    /// If the folder's model cannot be loaded.
    pub fn new(config: &CriticConfig, policy: &Policy, folder: &Path) -> Result<Critic, PolicyError> {
        let device = policy.weights.device();
        let trunk = match config.kind {
            CriticKind::Head => None,
            CriticKind::Separate => Some(Policy::load(folder, policy.compute, device)?),
        };
        let (architecture, tensors) =
            trunk.map_or((None, None), |trunk| (Some(trunk.architecture), Some(trunk.weights)));
        let sizes = architecture.as_ref().unwrap_or(&policy.architecture).sizes();
        let head = shapes(sizes.hidden_size)
            .map(|(name, shape)| (name.to_owned(), Tensor::zeros(shape, (Kind::Float, device))));
        let weights = Weights::of(tensors.into_iter().flat_map(Weights::into_tensors).chain(head));
        let optimizer = Optimizer::new(config.optimizer.kind, &weights);
        Ok(Critic { weights, optimizer, trunk: architecture, compute: policy.compute })
    }

    /// Takes over what a checkpoint holds.
    ///
    /// # Errors
    ///
    /// If a tensor is missing, has another shape than this critic's, or cannot be read.
    pub fn restore(
        &mut self,
        config: &CriticConfig,
        updates: u64,
        weights: &TensorFile,
        means: &TensorFile,
    ) -> Result<(), PolicyError> {
        let device = self.weights.device();
        let mut tensors = Vec::new();
        for (name, tensor) in self.weights.iter() {
            tensors.push((name.to_owned(), load_tensor(weights, name, &tensor.size())?.to_device(device)));
        }
        self.weights = Weights::of(tensors);
        self.optimizer = Optimizer::restored(config.optimizer.kind, updates, &self.weights, means)?;
        Ok(())
    }

    /// The trunk in the compute dtype, if it is not the policy's; part of the gradient graph unless gradients are off.
    pub fn trunk(&self) -> Option<Network> {
        self.trunk.as_ref().map(|trunk| Network::new(trunk, &self.weights, self.compute))
    }

    /// Expected reward `[N]`, f32, of hidden states `[N, E]`.
    pub fn values_of(&self, hidden_ne: &Tensor) -> Tensor {
        let (head, bias) = (self.weights.get(HEAD), self.weights.get(BIAS));
        hidden_ne.to_kind(Kind::Float).linear(head, Some(bias)).squeeze_dim(-1)
    }

    /// The value before each token of the sequences `members` of `batch`, a column without gradient that is zero elsewhere. `policy` is the policy's network.
    pub fn values(&self, policy: &Network, batch: &Batch, members: &[usize], budget: usize) -> Tensor {
        let _no_gradient = tch::no_grad_guard();
        let trunk = self.trunk();
        let network = trunk.as_ref().unwrap_or(policy);
        let plans = plans(batch, members, budget);
        batch.gathered(plans.iter().map(|plan| (plan, self.values_of(&plan.pack.hidden(network)))))
    }

    /// The device of the weights.
    pub fn device(&self) -> Device {
        self.weights.device()
    }
}

/// The tensors of the head over hidden states of width `hidden_size`.
fn shapes(hidden_size: i64) -> [(&'static str, Vec<i64>); 2] {
    [(HEAD, vec![1, hidden_size]), (BIAS, vec![1])]
}
