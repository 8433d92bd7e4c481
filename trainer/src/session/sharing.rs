//! What the processes of a run share out of the learner's state: taken apart where a run begins or goes on, and put together for its
//! checkpoints, which are those of one process.

use rltrain_checkpoints::TensorFile;

use super::Session;
use crate::error::TrainError;
use crate::learner::Learner;
use crate::optim::{Optimizer, Sharding, owners_of};
use crate::policy::PolicyError;
use crate::ranks::Lane;
use crate::recipe::Recipe;

impl Session {
    /// Whether processes share the optimizer's state out.
    fn shares_state(&self, recipe: &Recipe) -> bool {
        !self.learner.ranks.is_alone() && recipe.optimizer.sharding != Sharding::None
    }

    /// Has this process forget what others keep.
    pub(super) fn share_out(&mut self, recipe: &Recipe) {
        if self.shares_state(recipe) {
            let Learner { optimizer, policy, ranks, .. } = &mut self.learner;
            optimizer.share_among(&policy.weights, ranks, recipe.optimizer.sharding);
        }
    }

    /// Takes over the optimizer's state of a checkpoint, which has applied `updates`: `means`, as far as this process keeps them.
    ///
    /// # Errors
    ///
    /// If a tensor is missing, has another shape than its weight, or cannot be read.
    pub(super) fn restore_optimizer(
        &mut self,
        updates: u64,
        means: &TensorFile,
        recipe: &Recipe,
    ) -> Result<(), PolicyError> {
        let (weights, ranks) = (&self.learner.policy.weights, &self.learner.ranks);
        let shares = self.shares_state(recipe);
        let owners = owners_of(weights, ranks);
        let keeps = |name: &str| !shares || owners.get(name) == Some(&ranks.rank());
        self.learner.optimizer =
            Optimizer::restored_of(recipe.optimizer.kind, updates, weights, means, keeps)?;
        self.share_out(recipe);
        Ok(())
    }

    /// Has the first process put the optimizer's state together for a checkpoint.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub(super) fn gather_state(&mut self, recipe: &Recipe) -> Result<(), TrainError> {
        if self.shares_state(recipe) {
            let Learner { optimizer, policy, ranks, .. } = &self.learner;
            self.gathered = optimizer.gathered(&policy.weights, ranks)?;
        }
        Ok(())
    }

    /// As [`Session::gather_state`], unless a checkpoint of this step is on the disk, which only the first process knows. Waits for the
    /// one that is being written.
    ///
    /// # Errors
    ///
    /// As there.
    pub(super) fn gather_if_missing(&mut self, recipe: &Recipe) -> Result<(), TrainError> {
        if !self.shares_state(recipe) {
            return Ok(());
        }
        let waited = self.saver.wait();
        self.report(recipe, waited);
        let ranks = &self.learner.ranks;
        let is_missing = ranks.is_first() && self.saver.saved() != Some(self.step);
        if ranks.any(Lane::Learning, "a question for a checkpoint", is_missing)? {
            self.gather_state(recipe)?;
        }
        Ok(())
    }
}
