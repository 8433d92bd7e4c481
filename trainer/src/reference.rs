//! The reference: a policy that does not learn, or learns later, and that the policy is kept near.

use std::path::Path;

use rltrain_checkpoints::TensorFile;
use tch::{Kind, Tensor};

use crate::algorithm::ReferenceUpdate;
use crate::batch::{Batch, pass};
use crate::policy::{Architecture, Network, Policy, PolicyError, Weights, load_tensor};

/// What KL terms compare with. Made at the start of a run; followed up after each step.
pub enum Reference {
    /// The policy without its adapters, which costs no memory.
    WithoutAdapters,
    /// A model of its own.
    Own(Box<OwnReference>),
}

/// Weights that are not the policy's.
pub struct OwnReference {
    architecture: Architecture,
    /// f32, without gradients.
    weights: Weights,
    compute: Kind,
}

impl Reference {
    /// The model in `folder`, on the policy's device and in its arithmetic.
    ///
    /// # Errors
    ///
    /// If it cannot be loaded.
    pub fn load(folder: &Path, policy: &Policy) -> Result<Reference, PolicyError> {
        let Policy { architecture, weights, compute, .. } =
            Policy::load(folder, policy.compute, policy.weights.device())?;
        Ok(Reference::Own(Box::new(OwnReference { architecture, weights: weights.frozen(), compute })))
    }

    /// The policy as it is now, adapters merged, in memory of its own.
    pub fn of_start(policy: &Policy) -> Reference {
        let Policy { architecture, weights, compute, .. } = policy;
        let merged = tch::no_grad(|| {
            let copy = |(name, _): (&str, &Tensor)| (name.to_owned(), weights.merged(name).detach().copy());
            weights.iter().map(copy).collect::<Vec<_>>()
        });
        Reference::Own(Box::new(OwnReference {
            architecture: architecture.clone(),
            weights: Weights::of(merged).frozen(),
            compute: *compute,
        }))
    }

    /// The weights, if they are not the policy's.
    pub fn weights(&self) -> Option<&Weights> {
        match self {
            Reference::WithoutAdapters => None,
            Reference::Own(own) => Some(&own.weights),
        }
    }

    /// Takes over the weights that a checkpoint holds.
    ///
    /// # Errors
    ///
    /// If a tensor is missing, has another shape than the policy's, or cannot be read.
    pub fn restore(&mut self, file: &TensorFile) -> Result<(), PolicyError> {
        if let Reference::Own(own) = self {
            let device = own.weights.device();
            let mut tensors = Vec::new();
            for (name, tensor) in own.weights.iter() {
                let read = load_tensor(file, name, &tensor.size())?;
                tensors.push((name.to_owned(), read.to_device(device)));
            }
            own.weights = Weights::of(tensors).frozen();
        }
        Ok(())
    }

    /// Follows the policy as the recipe says.
    pub fn update(&mut self, policy: &Weights, update: ReferenceUpdate) {
        if let Reference::Own(own) = self {
            match update {
                ReferenceUpdate::Keep => {}
                ReferenceUpdate::Copy => own.weights.blend(policy, 0.0),
                ReferenceUpdate::Blend { decay } => own.weights.blend(policy, decay),
            }
        }
    }

    /// Logprobs of the batch's tokens under the reference, a column.
    pub fn logprobs(
        &self,
        policy: &Policy,
        batch: &Batch,
        members: &[usize],
        budget: usize,
        temperature: f64,
    ) -> Tensor {
        pass(&self.network(policy), batch, members, budget, temperature).logprobs_n
    }

    /// The network, without a gradient.
    pub fn network(&self, policy: &Policy) -> Network {
        tch::no_grad(|| match self {
            Reference::WithoutAdapters => policy.base_model(),
            Reference::Own(own) => Network::new(&own.architecture, &own.weights, own.compute),
        })
    }
}
