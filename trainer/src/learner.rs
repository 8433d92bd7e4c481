//! What learns: the policy with its optimizer, and what its losses compare with.

use crate::critic::Critic;
use crate::iteration::Dataset;
use crate::optim::{Optimizer, TokenBudget, UpdateReport};
use crate::policy::Policy;
use crate::projection::Base;
use crate::ranks::Ranks;
use crate::recipe::Recipe;
use crate::reference::Reference;

/// Everything that [`learn`](crate::learn::learn) changes.
pub struct Learner {
    /// The model being trained.
    pub policy: Policy,
    /// Its optimizer.
    pub optimizer: Optimizer,
    /// Who says what can be expected, if the estimator asks.
    pub critic: Option<Critic>,
    /// What the policy is kept near, if divergence costs anything.
    pub reference: Option<Reference>,
    /// What a nat of divergence costs.
    pub kl_coefficient: f64,
    /// What the weights are held to, if few of them may change.
    pub base: Option<Base>,
    /// What attempts came to, if the recipe gathers that.
    pub dataset: Dataset,
    /// How many tokens go through the network together in the update.
    pub token_budget: TokenBudget,
    /// Who else learns the same.
    pub ranks: Ranks,
}

impl Learner {
    /// Holds the weights to the model that the run started from, if the recipe wants that after this optimizer step and it was applied.
    pub(crate) fn hold(&self, update: Option<&UpdateReport>) {
        let is_applied = update.is_some_and(|update| update.updates > update.skipped);
        if let (Some(base), true) = (&self.base, is_applied) {
            base.project_if_due(&self.policy.weights, self.optimizer.updates);
        }
    }

    /// Brings what follows the policy up to date after step `step`, from 0, whose rollout was `kl` nats a token away from the
    /// reference.
    pub fn follow_policy(&mut self, recipe: &Recipe, step: u64, kl: Option<f64>, attempts: usize) {
        let algorithm = &recipe.algorithm;
        if let Some(kl) = kl {
            self.kl_coefficient = algorithm.next_kl_coefficient(self.kl_coefficient, kl, attempts);
        }
        if let Some(reference) = &mut self.reference {
            reference.update(&self.policy.weights, algorithm.reference_update(step + 1));
        }
    }
}
