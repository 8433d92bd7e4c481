//! How many tokens go through the network together: as many as the recipe says, or fewer where memory does not suffice.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::config::OptimizerConfig;
use super::follower::{AfterPack, Follower};
use super::optimizer::Optimizer;
use super::report::UpdateReport;
use super::shared_gradients::SharedGradients;
use super::shared_weights::SharedWeights;
use super::update::{Settings, accumulate_followed, descend_all};
use crate::batch::{Batch, plans};
use crate::critic::Critic;
use crate::memory::{Exhausted, or_exhausted};
use crate::policy::Policy;
use crate::ranks::{Lane, RanksError};

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
/// If memory does not suffice for single attempts; the weights are then as they were, and the gradients zero or gone. If another
/// process is gone.
pub fn apply_within(
    budget: &mut TokenBudget,
    policy: &Policy,
    optimizer: &mut Optimizer,
    critic: Option<&mut Critic>,
    (batch, members): (&Batch, &[usize]),
    settings: &Settings<'_>,
) -> Result<UpdateReport, UpdateError> {
    let ranks = settings.ranks;
    // While only the critic learns, the policy has no gradient.
    let learns = settings.learning_rate.is_some();
    let weights = if learns { optimizer.share_weights(policy, ranks).map(Arc::new) } else { None };
    let pass = Passes {
        policy,
        critic: critic.as_deref(),
        batch,
        members,
        settings,
        optimizer,
        weights: weights.clone(),
    };
    let own = match &optimizer.owners {
        Some(owners) if optimizer.shares_gradients && learns => pass.shared(budget, owners)?,
        _ => pass.whole(budget)?,
    };
    let report = if ranks.is_alone() {
        own
    } else {
        UpdateReport::of_shares(&ranks.gather(Lane::Learning, "the reports of an update", own)?)
    };
    let report = descend_all(policy, optimizer, critic, settings, report)?;
    if optimizer.shares_gradients {
        policy.weights.drop_gradients();
    }
    match weights {
        Some(weights) => weights.restore()?,
        None => optimizer.exchange_weights(&policy.weights, ranks)?,
    }
    Ok(report)
}

/// The passes of one update over this process' share.
struct Passes<'a> {
    policy: &'a Policy,
    critic: Option<&'a Critic>,
    batch: &'a Batch,
    members: &'a [usize],
    settings: &'a Settings<'a>,
    optimizer: &'a Optimizer,
    /// The layers' weights, where processes share them out.
    weights: Option<Arc<SharedWeights>>,
}

impl Passes<'_> {
    /// Computes all gradients, and adds those of all processes up afterwards.
    fn whole(&self, budget: &mut TokenBudget) -> Result<UpdateReport, UpdateError> {
        let mut is_again = false;
        let report = self.with_batches(|batches| {
            budget.fit(batches, |tokens| {
                // What was added before memory ran out.
                if std::mem::replace(&mut is_again, true) {
                    self.forget();
                }
                self.accumulate(tokens, &mut AfterPack(&mut || ()))
            })
        });
        let report = report.inspect_err(|_| self.forget())?;
        let ranks = self.settings.ranks;
        ranks.sum_gradients(&self.policy.weights)?;
        if let Some(critic) = self.critic {
            ranks.sum_gradients(&critic.weights)?;
        }
        Ok(report)
    }

    /// Computes gradients that leave for their `owners` as they are computed.
    fn shared(
        &self,
        budget: &mut TokenBudget,
        owners: &BTreeMap<String, usize>,
    ) -> Result<UpdateReport, UpdateError> {
        let ranks = self.settings.ranks;
        loop {
            let sums = SharedGradients::new(self.policy, owners, ranks);
            let mut sums = sums.with_weights(self.weights.clone());
            let tokens = budget.tokens;
            let computed = or_exhausted(|| self.accumulate(tokens, &mut sums));
            let is_whole = sums.finish(computed.is_ok())?;
            match computed {
                Ok(report) if is_whole => {
                    if let Some(critic) = self.critic {
                        ranks.sum_gradients(&critic.weights)?;
                    }
                    return Ok(report);
                }
                Ok(_) => self.forget(),
                Err(exhausted) => {
                    self.forget();
                    self.with_batches(|batches| budget.halve(batches, exhausted))?;
                }
            }
        }
    }

    fn accumulate(&self, tokens: NonZeroUsize, follower: &mut dyn Follower) -> UpdateReport {
        let config = OptimizerConfig { micro_batch_tokens: tokens, ..*self.settings.optimizer };
        let settings = Settings { optimizer: &config, ..*self.settings };
        let what = (self.batch, self.members);
        accumulate_followed(self.policy, self.critic, what, &settings, self.optimizer.updates, follower)
    }

    /// Does `work` with what is cut into packs.
    fn with_batches<T>(&self, work: impl FnOnce(&[(&Batch, &[usize])]) -> T) -> T {
        let references = self.settings.references.map(|references| (references, references.members()));
        let mut batches = vec![(self.batch, self.members)];
        batches.extend(references.as_ref().map(|(references, members)| (*references, &members[..])));
        work(&batches)
    }

    /// Forgets the gradients that were added so far.
    fn forget(&self) {
        if self.optimizer.shares_gradients {
            self.policy.weights.drop_gradients();
        }
        self.policy.weights.zero_gradients();
        if let Some(critic) = self.critic {
            critic.weights.zero_gradients();
        }
    }
}
