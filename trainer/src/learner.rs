//! What learns: the policy with its optimizer, and what its losses compare with.

use crate::critic::Critic;
use crate::optim::{Optimizer, TokenBudget};
use crate::policy::Policy;
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
    /// How many tokens go through the network together in the update.
    pub token_budget: TokenBudget,
    /// Who else learns the same.
    pub ranks: Ranks,
}

impl Learner {
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
