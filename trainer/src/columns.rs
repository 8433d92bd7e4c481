//! What networks say of the tokens of a batch before anything is learnt from it: logprobs, entropies, values.
//!
//! Where several processes learn together each asks about its share of the sequences, and columns are added up: an element that a
//! process has not computed is zero with it.

use tch::Tensor;

use crate::algorithm::{AdvantageEstimator, CorrectionKind};
use crate::batch::{Batch, pass, plans};
use crate::learner::Learner;
use crate::policy::{Network, token_logprobs};
use crate::ranks::{Lane, Ranks, RanksError};
use crate::recipe::Recipe;

/// Columns of a batch, without gradient; only those that the recipe's losses look at.
#[derive(Debug, Default)]
pub struct Columns {
    /// Logprob of each token under the policy as it is now, in nats.
    pub own_n: Option<Tensor>,
    /// Entropy of the distribution that each token was drawn from, in nats.
    pub entropy_n: Option<Tensor>,
    /// Logprob of each token under the reference, in nats.
    pub reference_n: Option<Tensor>,
    /// What the critic expects before each token.
    pub values_n: Option<Tensor>,
    /// How much each token moves the weights.
    pub energy_n: Option<Tensor>,
}

impl Columns {
    /// The columns of the sequences `members` of `batch`, with at most `budget` tokens through a network together; other elements are
    /// zero.
    pub fn of(
        learner: &Learner,
        recipe: &Recipe,
        batch: &Batch,
        members: &[usize],
        budget: usize,
    ) -> Columns {
        let (algorithm, temperature) = (&recipe.algorithm, recipe.rollout.temperature);
        let model = || tch::no_grad(|| learner.policy.model());
        let masks_by_entropy = algorithm.top_entropy_share < 1.0;
        let corrects = algorithm.correction != CorrectionKind::None;
        let mut columns = Columns::default();
        if corrects || masks_by_entropy {
            let own = pass(&model(), batch, members, budget, temperature);
            columns.entropy_n = masks_by_entropy.then_some(own.entropy_n);
            columns.own_n = corrects.then_some(own.logprobs_n);
        }
        let reference = learner.reference.as_ref();
        columns.reference_n = reference
            .map(|reference| reference.logprobs(&learner.policy, batch, members, budget, temperature));
        let critic = learner.critic.as_ref();
        columns.values_n = critic.map(|critic| critic.values(&model(), batch, members, budget));
        columns.energy_n = (algorithm.advantage == AdvantageEstimator::OptimalTokenBaseline)
            .then(|| energy(&model(), batch, members, budget, temperature));
        columns
    }

    /// The columns of all sequences, from what each process has for its share.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub fn of_all(self, ranks: &Ranks) -> Result<Columns, RanksError> {
        if ranks.is_alone() {
            return Ok(self);
        }
        let sum = |column_n: Option<Tensor>| {
            column_n.map(|column_n| ranks.sum_column(Lane::Learning, &column_n)).transpose()
        };
        Ok(Columns {
            own_n: sum(self.own_n)?,
            entropy_n: sum(self.entropy_n)?,
            reference_n: sum(self.reference_n)?,
            values_n: sum(self.values_n)?,
            energy_n: sum(self.energy_n)?,
        })
    }
}

/// How much each token moves the weights.
fn energy(model: &Network, batch: &Batch, members: &[usize], budget: usize, temperature: f64) -> Tensor {
    let plans = plans(batch, members, budget);
    batch.gathered(plans.iter().map(|plan| {
        let hidden_ne = tch::no_grad(|| plan.pack.hidden(model));
        let target_n = plan.pack.targets(model.device());
        (plan, token_logprobs::energy(model, &hidden_ne, &target_n, temperature))
    }))
}
