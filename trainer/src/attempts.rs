//! What a step tried: groups of attempts with their verdicts and scores.

use serde::{Deserialize, Serialize};

use crate::algorithm::AlgorithmConfig;
use crate::execution::Verdicts;
use crate::facts::AttemptFacts;
use crate::rollout::{Group, PrefillTokens};
use crate::scoring::Scores;

/// The attempts of one step, group by group. Made by sampling, executing and scoring; read by the update, the metrics and
/// the journal.
#[derive(Default, Serialize, Deserialize)]
pub struct Attempts {
    /// Version of the weights that sampled: the number of rollouts that they had learnt from.
    pub weights: u64,
    /// Places of the tasks that were drawn, in order.
    pub tasks: Vec<usize>,
    /// Tasks that a curriculum passed over on the way.
    pub passed_over: u64,
    /// What was sampled.
    pub groups: Vec<Group>,
    /// What the tests said.
    pub verdicts: Verdicts,
    /// What else is known of each attempt, in the order of the groups and their completions.
    pub facts: Vec<Vec<AttemptFacts>>,
    /// What that is worth.
    pub scores: Scores,
    /// The greedy attempts that those are compared with, where something asks for them.
    pub greedy: Greedy,
    /// What prompts and histories have cost.
    pub prefill: PrefillTokens,
    /// What the user should be told, before anything else is done with them.
    #[serde(skip)]
    pub told: Vec<String>,
}

/// One greedy attempt at each task of a step.
#[derive(Default, Serialize, Deserialize)]
pub struct Greedy {
    /// What was decoded: a group of one for each task.
    pub groups: Vec<Group>,
    /// What the tests said.
    pub verdicts: Verdicts,
}

impl Attempts {
    /// Adds another round of sampling.
    pub fn append(&mut self, round: Attempts) {
        self.groups.extend(round.groups);
        self.verdicts.append(round.verdicts);
        self.facts.extend(round.facts);
        self.scores.append(round.scores);
        self.greedy.groups.extend(round.greedy.groups);
        self.greedy.verdicts.append(round.greedy.verdicts);
        self.prefill.computed += round.prefill.computed;
        self.prefill.reused += round.prefill.reused;
        self.told.extend(round.told);
    }

    /// The attempts of all processes as those of one that had made all of them: process `r` of `n` made those at places `r`, `r + n`
    /// and so on.
    ///
    /// # Panics
    ///
    /// If a process made more or fewer than that.
    pub fn interleaved(shares: Vec<Attempts>) -> Attempts {
        let world = shares.len();
        let counts: Vec<usize> = shares.iter().map(|share| share.groups.len()).collect();
        let firsts: Vec<usize> = (0..world).map(|rank| counts[..rank].iter().sum()).collect();
        let order: Vec<usize> =
            (0..counts.iter().sum()).map(|place| firsts[place % world] + place / world).collect();
        let mut all = Attempts::default();
        // A process without a task knows no rewards either.
        shares.into_iter().filter(|share| !share.groups.is_empty()).for_each(|share| all.append(share));
        all.groups = in_order(all.groups, &order);
        all.verdicts.groups = in_order(all.verdicts.groups, &order);
        all.facts = in_order(all.facts, &order);
        all.greedy.groups = in_order(all.greedy.groups, &order);
        all.greedy.verdicts.groups = in_order(all.greedy.verdicts.groups, &order);
        all.scores.reorder(&order);
        all
    }

    /// Indices of the groups that this algorithm learns anything from.
    pub fn teaching(&self, algorithm: &AlgorithmConfig) -> Vec<usize> {
        let rewards = self.scores.rewards.iter().enumerate();
        rewards.filter(|(_, rewards)| algorithm.teaches(rewards)).map(|(group, _)| group).collect()
    }

    /// Groups and scores of the groups with these indices.
    pub fn select(&self, indices: &[usize]) -> (Vec<Group>, Scores) {
        let groups = indices.iter().map(|group| self.groups[*group].clone()).collect();
        (groups, self.scores.select(indices))
    }
}

/// The elements at these places, in this order; nothing where there is nothing.
pub(crate) fn in_order<T>(elements: Vec<T>, order: &[usize]) -> Vec<T> {
    let mut elements: Vec<Option<T>> = elements.into_iter().map(Some).collect();
    order.iter().filter_map(|place| elements.get_mut(*place).and_then(Option::take)).collect()
}
