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
    /// How far each token is below the likeliest one, in nats.
    pub gap_n: Option<Tensor>,
    /// How far the reference's likeliest token is below the policy's, in nats.
    pub fixed_gap_n: Option<Tensor>,
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
        if let (AdvantageEstimator::Conservative, Some(reference)) = (algorithm.advantage, reference) {
            let fixed = reference.network(&learner.policy);
            let (gap_n, fixed_gap_n) = gaps((&model(), &fixed), batch, members, budget);
            (columns.gap_n, columns.fixed_gap_n) = (Some(gap_n), Some(fixed_gap_n));
        }
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
            gap_n: sum(self.gap_n)?,
            fixed_gap_n: sum(self.fixed_gap_n)?,
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

/// How far each token, and the likeliest one of the network `fixed`, is below the likeliest one of `model`.
fn gaps(
    (model, fixed): (&Network, &Network),
    batch: &Batch,
    members: &[usize],
    budget: usize,
) -> (Tensor, Tensor) {
    let _no_gradient = tch::no_grad_guard();
    let plans = plans(batch, members, budget);
    let (mut own, mut of_fixed) = (Vec::new(), Vec::new());
    for plan in &plans {
        let (hidden_ne, fixed_ne) = (plan.pack.hidden(model), plan.pack.hidden(fixed));
        let said_n = |target_n: &Tensor| token_logprobs::forward(model, &hidden_ne, target_n, 1.0).logprobs_n;
        let best_n = said_n(&token_logprobs::likeliest(model, &hidden_ne));
        own.push((plan, said_n(&plan.pack.targets(model.device())) - &best_n));
        of_fixed.push((plan, said_n(&token_logprobs::likeliest(fixed, &fixed_ne)) - best_n));
    }
    (batch.gathered(own), batch.gathered(of_fixed))
}
