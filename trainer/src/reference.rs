//! The reference: a policy that does not learn, or learns later, and that the policy is kept near.

use std::path::Path;

use rltrain_checkpoints::TensorFile;
use tch::{Kind, Tensor};

use crate::algorithm::ReferenceUpdate;
use crate::batch::{Batch, pass};
use crate::policy::{Architecture, Network, Policy, PolicyError, Weights, load_tensor};

/// Weights that KL terms compare with. Made at the start of a run; followed up after each step.
pub struct Reference {
    architecture: Architecture,
    /// f32, without gradients.
    pub weights: Weights,
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
        Ok(Reference { architecture, weights: weights.frozen(), compute })
    }

    /// Takes over the weights that a checkpoint holds.
    ///
    /// # Errors
    ///
    /// If a tensor is missing, has another shape than the policy's, or cannot be read.
    pub fn restore(&mut self, file: &TensorFile) -> Result<(), PolicyError> {
        let device = self.weights.device();
        let mut tensors = Vec::new();
        for (name, tensor) in self.weights.iter() {
            tensors.push((name.to_owned(), load_tensor(file, name, &tensor.size())?.to_device(device)));
        }
        self.weights = Weights::of(tensors).frozen();
        Ok(())
    }

    /// Follows the policy as the recipe says.
    pub fn update(&mut self, policy: &Weights, update: ReferenceUpdate) {
        match update {
            ReferenceUpdate::Keep => {}
            ReferenceUpdate::Copy => self.weights.blend(policy, 0.0),
            ReferenceUpdate::Blend { decay } => self.weights.blend(policy, decay),
        }
    }

    /// Logprobs of the batch's tokens under the reference, a column.
    pub fn logprobs(&self, batch: &Batch, budget: usize, temperature: f64) -> Tensor {
        let network = tch::no_grad(|| Network::new(&self.architecture, &self.weights, self.compute));
        pass(&network, batch, budget, temperature).logprobs_n
    }
}
