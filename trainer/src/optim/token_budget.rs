//! How many tokens go through the network together: as many as the recipe says, or fewer where memory does not suffice.

use std::num::NonZeroUsize;

use super::config::OptimizerConfig;
use super::optimizer::Optimizer;
use super::report::UpdateReport;
use super::update::{Settings, accumulate, descend_all};
use crate::batch::{Batch, plans};
use crate::critic::Critic;
use crate::memory::{Exhausted, or_exhausted};
use crate::policy::Policy;
use crate::ranks::{Lane, Ranks, RanksError};

/// Most tokens of a pack. Halved for good when an allocation fails, so that a run that has found its limit does not run into
/// it again at every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBudget {
    tokens: NonZeroUsize,
    halvings: u64,
}

/// Why an update was not done.
#[derive(Debug)]
pub enum UpdateError {
    /// Memory does not suffice.
    TooLarge(TooLarge),
    /// Another process is gone.
    Ranks(RanksError),
}

impl From<TooLarge> for UpdateError {
    fn from(error: TooLarge) -> UpdateError {
        UpdateError::TooLarge(error)
    }
}

impl From<RanksError> for UpdateError {
    fn from(error: RanksError) -> UpdateError {
        UpdateError::Ranks(error)
    }
}

/// A single attempt that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Tokens of the longest attempt, prompt included.
    pub tokens: usize,
    /// What the allocator said.
    pub exhausted: Exhausted,
}

impl TokenBudget {
    /// A budget of so many tokens.
    pub fn new(tokens: NonZeroUsize) -> TokenBudget {
        TokenBudget { tokens, halvings: 0 }
    }

    /// The tokens.
    pub fn tokens(&self) -> usize {
        self.tokens.get()
    }

    /// How often memory did not suffice so far.
    pub fn halvings(&self) -> u64 {
        self.halvings
    }

    /// Does `work` at this budget, or at a half, a quarter and so on of it for which memory suffices. `batches` are what the
    /// budget cuts into packs, with the sequences that count.
    ///
    /// # Errors
    ///
    /// If memory does not suffice for single attempts.
    pub fn fit<T>(
        &mut self,
        batches: &[(&Batch, &[usize])],
        mut work: impl FnMut(NonZeroUsize) -> T,
    ) -> Result<T, TooLarge> {
        loop {
            match or_exhausted(|| work(self.tokens)) {
                Ok(done) => return Ok(done),
                Err(exhausted) => self.halve(batches, exhausted)?,
            }
        }
    }

    /// Halves the budget until it cuts something that it did not cut before.
    fn halve(&mut self, batches: &[(&Batch, &[usize])], exhausted: Exhausted) -> Result<(), TooLarge> {
        self.halvings += 1;
        let before = Cut::of(batches, self.tokens());
        if before.is_finest {
            return Err(TooLarge { tokens: before.largest, exhausted });
        }
        while let Some(half) = NonZeroUsize::new(self.tokens() / 2) {
            self.tokens = half;
            if Cut::of(batches, self.tokens()).packs > before.packs {
                break;
            }
        }
        Ok(())
    }
}

/// How a budget cuts batches.
struct Cut {
    packs: usize,
    /// Tokens of the largest pack.
    largest: usize,
    /// Whether every sequence is alone.
    is_finest: bool,
}

impl Cut {
    fn of(batches: &[(&Batch, &[usize])], budget: usize) -> Cut {
        let packs: Vec<(usize, usize)> = batches
            .iter()
            .flat_map(|(batch, members)| plans(batch, members, budget))
            .map(|plan| (plan.pack.len(), plan.members.len()))
            .collect();
        Cut {
            packs: packs.len(),
            largest: packs.iter().map(|(tokens, _)| *tokens).max().unwrap_or(0),
            is_finest: packs.iter().all(|(_, members)| *members <= 1),
        }
    }
}

/// As [`apply`](super::apply), within `budget` instead of the budget of `settings`: where memory does not suffice, the gradient is
/// computed anew in smaller packs, which is the gradient of a step that had the smaller budget from the start, bit for bit.
///
/// Every process computes the gradient of its share, within the budget of its own; what is applied is their sum.
///
/// # Errors
///
/// If memory does not suffice for single attempts; the weights are then as they were, and the gradients zero. If another process is
/// gone.
pub fn apply_within(
    budget: &mut TokenBudget,
    policy: &Policy,
    optimizer: &mut Optimizer,
    critic: Option<&mut Critic>,
    (batch, members): (&Batch, &[usize]),
    settings: &Settings<'_>,
) -> Result<UpdateReport, UpdateError> {
    let references = settings.references.map(|references| (references, references.members()));
    let mut batches = vec![(batch, members)];
    batches.extend(references.as_ref().map(|(references, members)| (*references, &members[..])));
    let zero = || {
        policy.weights.zero_gradients();
        if let Some(critic) = &critic {
            critic.weights.zero_gradients();
        }
    };
    let mut is_again = false;
    let report = budget.fit(&batches, |tokens| {
        // What was added before memory ran out.
        if std::mem::replace(&mut is_again, true) {
            zero();
        }
        let config = OptimizerConfig { micro_batch_tokens: tokens, ..*settings.optimizer };
        let settings = Settings { optimizer: &config, ..*settings };
        accumulate(policy, critic.as_deref(), batch, members, &settings, optimizer.updates)
    });
    let own = report.inspect_err(|_| zero())?;
    let report = sum_over_ranks(settings.ranks, policy, critic.as_deref(), own)?;
    let report = descend_all(policy, optimizer, critic, settings, report);
    optimizer.exchange_weights(&policy.weights, settings.ranks)?;
    Ok(report)
}

/// Adds the gradients of all processes up; returns what they did together.
fn sum_over_ranks(
    ranks: &Ranks,
    policy: &Policy,
    critic: Option<&Critic>,
    own: UpdateReport,
) -> Result<UpdateReport, RanksError> {
    if ranks.is_alone() {
        return Ok(own);
    }
    ranks.sum_gradients(&policy.weights)?;
    if let Some(critic) = critic {
        ranks.sum_gradients(&critic.weights)?;
    }
    let all = ranks.gather(Lane::Learning, "the reports of an update", own)?;
    Ok(UpdateReport::of_shares(&all))
}
