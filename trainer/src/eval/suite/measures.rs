//! What the attempts at one task say, by the name of each measure.

use std::collections::BTreeMap;

use super::super::expectation::{best_at_k, chosen_at_k, filtered_at_k};
use super::super::pass_at_k::pass_at_k;
use super::store::Attempt;

/// A task's attempts as measures read them. Attempts that the sandbox lost are failures, as far as a `k` needs them to be there.
pub(super) struct Judged<'a> {
    attempts: &'a [Attempt],
    /// What the verifier says of each.
    forecasts: Option<&'a [f64]>,
    /// Attempts there should be at least.
    most: usize,
}

impl Judged<'_> {
    pub(super) fn new<'a>(attempts: &'a [Attempt], forecasts: Option<&'a [f64]>, most: usize) -> Judged<'a> {
        Judged { attempts, forecasts, most }
    }

    /// Attempts counted.
    pub(super) fn samples(&self) -> usize {
        self.attempts.len().max(self.most)
    }

    /// Those that pass every hidden test.
    pub(super) fn correct(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.verdict.all_passed()).count()
    }

    /// Those that pass the public tests, and how many of them are right; `None` where the task has no public test.
    pub(super) fn public(&self) -> Option<(usize, usize)> {
        let known = self.attempts.iter().all(|attempt| attempt.public.is_some());
        let passing = || self.attempts.iter().filter(|attempt| attempt.public == Some(true));
        let right = || passing().filter(|attempt| attempt.verdict.all_passed()).count();
        (known && !self.attempts.is_empty()).then(|| (passing().count(), right()))
    }

    /// Pairs of rank and value for each attempt, with failures of the lowest rank for those that are missing.
    fn ranked(&self, rank: impl Fn(usize, &Attempt) -> f64) -> Vec<(f64, f64)> {
        let right = |attempt: &Attempt| f64::from(u8::from(attempt.verdict.all_passed()));
        let ranked = self.attempts.iter().enumerate();
        let mut ranked: Vec<(f64, f64)> =
            ranked.map(|(place, attempt)| (rank(place, attempt), right(attempt))).collect();
        ranked.resize(self.samples(), (f64::NEG_INFINITY, 0.0));
        ranked
    }

    /// pass@k of the one that public tests, and then the verifier if there is one, choose of `k`; `None` where there is nothing to
    /// choose by.
    pub(super) fn chosen(&self, k: usize) -> Option<f64> {
        if self.public().is_none() && self.forecasts.is_none() {
            return None;
        }
        let passes = |attempt: &Attempt| f64::from(u8::from(attempt.public == Some(true)));
        let said = |place: usize| self.forecasts.map_or(0.0, |forecasts| forecasts[place]);
        // Forecasts are probabilities: they decide among those that the public tests do not tell apart.
        Some(chosen_at_k(&self.ranked(|place, attempt| 2.0 * passes(attempt) + said(place)), k))
    }

    /// pass@k.
    pub(super) fn pass(&self, k: usize) -> f64 {
        pass_at_k(self.samples(), self.correct(), k)
    }

    /// Every measure that this task has, for each of `ks`, in the order in which they are shown.
    pub(super) fn measures(&self, ks: &[usize]) -> Vec<((&'static str, usize), f64)> {
        let mut all = Vec::new();
        for &k in ks {
            all.push((("pass", k), self.pass(k)));
        }
        for &k in ks {
            let filtered = |public| filtered_at_k((self.samples(), self.correct()), public, k);
            all.extend(self.public().map(|public| (("filtered-pass", k), filtered(public))));
        }
        for &k in ks {
            all.extend(self.chosen(k).map(|chosen| (("chosen", k), chosen)));
        }
        if let Some(forecasts) = self.forecasts {
            let ranked = self.ranked(|place, _| forecasts[place]);
            all.extend(ks.iter().map(|k| (("ranked", *k), chosen_at_k(&ranked, *k))));
        }
        let scores: Option<Vec<f64>> = self.attempts.iter().map(|attempt| attempt.efficiency).collect();
        if let Some(mut scores) = scores.filter(|scores| !scores.is_empty()) {
            scores.resize(self.samples(), 0.0);
            all.extend(ks.iter().map(|k| (("eff", *k), best_at_k(&scores, *k))));
        }
        all
    }
}

/// The order in which measures are shown, and what each is.
pub(super) const MEANINGS: [(&str, &str); 5] = [
    ("pass", "one of k attempts passes every hidden test (unbiased, Chen et al. 2021)"),
    (
        "filtered-pass",
        "one of k attempts passes, of those that pass the public tests; of all where none does",
    ),
    (
        "chosen",
        "the one attempt passes that public tests, and then the verifier if there is one, choose of k",
    ),
    ("ranked", "the one attempt passes that the verifier alone chooses of k"),
    (
        "eff",
        "the best efficiency of k attempts: 1 for the reference's fuel, 0 for a wrong one (Qiu et al. 2024)",
    ),
];

/// Every measure by name, as `pass@1`.
pub(super) fn named(measures: &[((&'static str, usize), f64)]) -> BTreeMap<String, f64> {
    measures.iter().map(|((name, k), value)| (format!("{name}@{k}"), *value)).collect()
}
