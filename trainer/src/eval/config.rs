//! `[eval]`: how good the policy is on tasks that it does not train on.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[eval]`: how good the policy is on tasks that it does not train on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// Steps between evaluations; 0 evaluates only before the first step and after the last, which happens in
    /// any case. Default 0. One evaluation samples every held-out task.
    pub every: u64,
    /// Attempts per held-out task. Default 8. More narrow the interval and take longer.
    pub samples: NonZeroUsize,
    /// The k of each pass@k that is reported: the probability that one of k attempts is right. Each from 1 to
    /// `samples`. Default `[1]`.
    #[schemars(inner(range(min = 1)), length(min = 1))]
    pub k: Vec<usize>,
    /// Sampling temperature of evaluations, at least 0. Default 0.8. At 0 every attempt is the same greedy
    /// one, so `samples` must be 1.
    #[schemars(range(min = 0.0))]
    pub temperature: f64,
    /// Other ways to spend tokens on a held-out task, each measured beside plain sampling with the tokens that it takes: `critical`,
    /// `best-of-n`, and within the budget of `[search]` `sampling`, `rex`, `seidr`, `scattered-forest`, `orps`, `self-edit`, `code-chain`,
    /// `incremental-tests`. Default `[]`. Beside any of the latter there is `sampling`, named or not.
    pub search: Vec<SearchKind>,
}

/// A way to spend more tokens on a task than a single attempt takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SearchKind {
    /// CodeRL's critical sampling, with `[verifier]`: `samples` more attempts at each task, which go on from where programs that
    /// pass the public tests had the highest forecast; where none passes them, attempts to repair the failing program with the
    /// highest forecast.
    Critical,
    /// muCode's multi-turn best of n: in each of `episode.turns` turns `samples` programs, of which one is answered: one that passes
    /// the public tests before others, then the one with the verifier's highest forecast, if there is a verifier. Ends with the
    /// first turn that passes the public tests.
    BestOfN,
    /// Fresh programs for the budget of `[search]`: what the others are held against.
    Sampling,
    /// SOAR's REX: fresh programs, then refinements of those that are drawn as worth it.
    Rex,
    /// SEIDR: trees of repairs.
    Seidr,
    /// Scattered Forest Search: trees of programs whose branches go in different directions.
    ScatteredForest,
    /// ORPS: a beam of programs, executed and criticised.
    Orps,
    /// Self-Edit: programs, and one edit of each.
    SelfEdit,
    /// CodeChain: programs that are shown the functions of earlier ones.
    CodeChain,
    /// LLM4TDD: public tests that are revealed one by one.
    IncrementalTests,
}

impl SearchKind {
    /// Every one.
    pub const ALL: [SearchKind; 10] = [
        SearchKind::Critical,
        SearchKind::BestOfN,
        SearchKind::Sampling,
        SearchKind::Rex,
        SearchKind::Seidr,
        SearchKind::ScatteredForest,
        SearchKind::Orps,
        SearchKind::SelfEdit,
        SearchKind::CodeChain,
        SearchKind::IncrementalTests,
    ];

    /// As the recipe and metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            SearchKind::Critical => "critical",
            SearchKind::BestOfN => "best-of-n",
            SearchKind::Sampling => "sampling",
            SearchKind::Rex => "rex",
            SearchKind::Seidr => "seidr",
            SearchKind::ScatteredForest => "scattered-forest",
            SearchKind::Orps => "orps",
            SearchKind::SelfEdit => "self-edit",
            SearchKind::CodeChain => "code-chain",
            SearchKind::IncrementalTests => "incremental-tests",
        }
    }

    /// Whether it goes on until the budget of `[search]` is spent, instead of making attempts by number.
    pub fn has_budget(self) -> bool {
        !matches!(self, SearchKind::Critical | SearchKind::BestOfN)
    }
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            every: 0,
            samples: const { NonZeroUsize::new(8).expect("8 is not zero") },
            k: vec![1],
            temperature: 0.8,
            search: Vec::new(),
        }
    }
}

impl EvalConfig {
    /// The searches that are run: those that the recipe names, with plain sampling before the first one that has a budget.
    pub fn searches(&self) -> Vec<SearchKind> {
        let mut all = self.search.clone();
        let first = all.iter().position(|search| search.has_budget());
        if let Some(first) = first.filter(|_| !all.contains(&SearchKind::Sampling)) {
            all.insert(first, SearchKind::Sampling);
        }
        all
    }

    /// Whether the policy is evaluated after `step` of `steps` updates.
    pub fn is_due(&self, step: u64, steps: u64) -> bool {
        step == 0 || step == steps || (self.every > 0 && step.is_multiple_of(self.every))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_with_a_budget_is_held_against_plain_sampling_within_it() {
        use SearchKind::{BestOfN, Rex, Sampling, Seidr};
        let searches = |search: &[SearchKind]| {
            EvalConfig { search: search.to_vec(), ..EvalConfig::default() }.searches()
        };
        assert_eq!(searches(&[BestOfN]), [BestOfN]);
        assert_eq!(searches(&[BestOfN, Rex, Seidr]), [BestOfN, Sampling, Rex, Seidr]);
        assert_eq!(searches(&[Rex, Sampling]), [Rex, Sampling]);
    }

    #[test]
    fn an_evaluation_comes_first_and_last_and_every_so_often() {
        let due = |every| {
            (0..=7).filter(move |step| EvalConfig { every, ..EvalConfig::default() }.is_due(*step, 7))
        };
        assert_eq!(due(0).collect::<Vec<_>>(), [0, 7]);
        assert_eq!(due(3).collect::<Vec<_>>(), [0, 3, 6, 7]);
    }
}
