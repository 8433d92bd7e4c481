//! `results.json`: what an evaluation found.

use std::collections::BTreeMap;
use std::path::Path;

use rltrain_checkpoints::ReadError;
use serde::{Deserialize, Serialize};

use super::super::bootstrap::{PairedDifference, RESAMPLES, mean_and_interval, paired_difference};
use super::super::config::SearchKind;
use super::super::evaluations::resampler;
use super::super::search::Found;
use super::keys::Keys;
use super::measures::{Judged, MEANINGS, named};
use super::store::Attempt;
use super::{Plan, RESULTS};
use crate::critic::accept::Acceptance;
use crate::critic::quality::{self, Selection};
use crate::error::TrainError;
use crate::recipe::Recipe;

/// Version of `results.json` that this build writes. It reads those before: format 1 has no acceptance, and of searches no programs,
/// budget, `unaided` and `beside_sampling`.
const FORMAT: u64 = 2;

/// What an evaluation found, and what it was of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// Version of these keys.
    pub format: u64,
    /// The model as it was named on the command line.
    pub model: String,
    /// BLAKE3 of what the model consists of.
    pub model_blake3: String,
    /// The task file.
    pub tasks_file: String,
    /// BLAKE3 of its bytes.
    pub tasks_blake3: String,
    /// BLAKE3 of how the model was asked, how it sampled, and how programs were judged.
    pub settings_blake3: String,
    /// Where random numbers derive from.
    pub seed: u64,
    /// Attempts at each task.
    pub samples: usize,
    /// Sampling temperature.
    pub temperature: f64,
    /// Longest completion, in tokens.
    pub max_tokens: usize,
    /// Turns of an attempt, at most.
    pub turns: usize,
    /// Attempts that the sandbox lost; the same evaluation again makes them anew.
    pub lost: usize,
    /// Tokens sampled for an attempt, on average.
    pub tokens_per_attempt: f64,
    /// Means over tasks, with intervals.
    pub measures: Vec<Measure>,
    /// Choosing one of all attempts by the verifier alone, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<Selection>,
    /// Accepting the attempts so chosen without a test where the verifier is sure enough, if `rltrain critic` has found out from which
    /// forecast on that can be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceptance: Option<Acceptance>,
    /// What searches found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub searches: Vec<SearchResult>,
    /// Each task, in the order of the file.
    pub tasks: Vec<TaskResult>,
}

/// The mean of a measure over tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// Its name, as `pass@10`.
    pub name: String,
    /// Mean over tasks.
    pub mean: f64,
    /// Lower end of the 95 % bootstrap interval.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// Tasks that have the measure.
    pub tasks: usize,
    /// Tokens that as many attempts take for a task, on average.
    pub tokens_per_task: f64,
}

/// A search, beside plain sampling that takes as many tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchResult {
    /// What it found.
    pub found: Found,
    /// For each k of it: plain attempts for the same tokens.
    pub matched: Vec<Matched>,
    /// Of a search with a budget: its pass@1 less that of plain sampling with the same budget, over the same tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside_sampling: Option<PairedDifference>,
}

/// As many plain attempts as have, together, the tokens of `k` attempts of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matched {
    /// Attempts of the search.
    pub k: usize,
    /// Plain attempts, at most as many as there are.
    pub attempts: usize,
    /// Tokens of the search's for a task.
    pub search_tokens: f64,
    /// Tokens of the plain attempts for a task.
    pub plain_tokens: f64,
    /// pass@ of so many.
    pub pass: Measure,
    /// chosen@ of so many, where there is something to choose by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Measure>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskResult {
    /// Its id.
    pub id: String,
    /// BLAKE3 of its content.
    pub blake3: String,
    /// Attempts counted.
    pub samples: usize,
    /// Those that pass every hidden test.
    pub correct: usize,
    /// Those that pass the public tests; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<usize>,
    /// Those of these that are right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_correct: Option<usize>,
    /// Tokens of all its attempts.
    pub tokens: usize,
    /// Every measure that it has, by name.
    pub measures: BTreeMap<String, f64>,
}

/// The attempts of an evaluation, task by task.
struct Counted<'a> {
    judged: Vec<Judged<'a>>,
    seed: u64,
    tokens_per_attempt: f64,
}

impl Results {
    /// Of `samples`, the attempts of each task, with what the verifier says of them, and what searches found.
    pub(super) fn of(
        plan: &Plan,
        keys: &Keys,
        samples: &[Vec<Attempt>],
        forecasts: Option<&[Vec<f64>]>,
        searches: Vec<Found>,
    ) -> Results {
        let recipe = &plan.recipe;
        let ks = &recipe.eval.k;
        let most = *ks.iter().max().unwrap_or(&1);
        let of_task = |place: usize| forecasts.map(|forecasts| &forecasts[place][..]);
        let judged = samples.iter().enumerate().map(|(place, all)| Judged::new(all, of_task(place), most));
        let attempts = || samples.iter().flatten();
        let tokens: usize = attempts().map(|attempt| attempt.completion.tokens.len()).sum();
        let tokens_per_attempt = tokens as f64 / attempts().count().max(1) as f64;
        let counted = Counted { judged: judged.collect(), seed: recipe.seed, tokens_per_attempt };
        let tasks = plan.tasks.iter().enumerate().map(|(place, task)| {
            let judged = &counted.judged[place];
            TaskResult {
                id: task.id.clone(),
                blake3: keys.tasks[place].clone(),
                samples: judged.samples(),
                correct: judged.correct(),
                public: judged.public().map(|(passing, _)| passing),
                public_correct: judged.public().map(|(_, right)| right),
                tokens: samples[place].iter().map(|attempt| attempt.completion.tokens.len()).sum(),
                measures: named(&judged.measures(ks)),
            }
        });
        Results {
            format: FORMAT,
            model: plan.name.clone(),
            model_blake3: keys.model.clone(),
            tasks_file: plan.tasks.path().display().to_string(),
            tasks_blake3: plan.tasks.blake3().to_owned(),
            settings_blake3: keys.settings.clone(),
            seed: recipe.seed,
            samples: recipe.eval.samples.get(),
            temperature: recipe.eval.temperature,
            max_tokens: recipe.rollout.max_tokens.get(),
            turns: recipe.episode.turns.get(),
            lost: recipe.eval.samples.get() * plan.tasks.len() - attempts().count(),
            tokens_per_attempt,
            measures: counted.measures(ks),
            selection: forecasts
                .and_then(|forecasts| Selection::of(judged_by(samples, forecasts).iter().map(Vec::as_slice))),
            acceptance: forecasts.zip(accept_from(recipe)).and_then(|(forecasts, from)| {
                Acceptance::of(judged_by(samples, forecasts).iter().map(Vec::as_slice), from)
            }),
            searches: counted.beside_sampling(searches),
            tasks: tasks.collect(),
        }
    }
}

/// Each task's attempts with what the verifier says of them.
fn judged_by(samples: &[Vec<Attempt>], forecasts: &[Vec<f64>]) -> Vec<Vec<quality::Judged>> {
    let judged = samples.iter().zip(forecasts).map(|(attempts, forecasts)| {
        let judged = attempts.iter().zip(forecasts);
        judged
            .map(|(attempt, pass)| quality::Judged { pass: *pass, passed: attempt.verdict.all_passed() })
            .collect::<Vec<_>>()
    });
    judged.collect()
}

/// The forecast from which on the recipe's verifier would accept a program without a test, if it knows one. Its checkpoint says so;
/// the verifier itself need not be loaded where its forecasts are there.
fn accept_from(recipe: &Recipe) -> Option<f64> {
    let start = recipe.verifier.as_ref()?.start.as_ref()?;
    let state = fs_err::read(start.join("verifier.json")).ok()?;
    serde_json::from_slice::<serde_json::Value>(&state).ok()?.get("accept_from")?.as_f64()
}

impl Counted<'_> {
    /// The mean of values over the tasks that have one.
    fn measure(&self, name: &str, k: usize, values: &[f64]) -> Measure {
        let (mean, [low, high]) = mean_and_interval(values, RESAMPLES, resampler(self.seed));
        let tokens_per_task = k as f64 * self.tokens_per_attempt;
        Measure { name: format!("{name}@{k}"), mean, low, high, tasks: values.len(), tokens_per_task }
    }

    fn measures(&self, ks: &[usize]) -> Vec<Measure> {
        let of_tasks: Vec<_> = self.judged.iter().map(|judged| judged.measures(ks)).collect();
        let mut all = Vec::new();
        for ((name, _), k) in MEANINGS.iter().flat_map(|meaning| ks.iter().map(move |k| (meaning, *k))) {
            let values = of_tasks.iter().flatten().filter(|(of, _)| *of == (*name, k));
            let values: Vec<f64> = values.map(|(_, value)| *value).collect();
            if !values.is_empty() {
                all.push(self.measure(name, k, &values));
            }
        }
        all
    }

    /// Searches beside plain attempts, and those with a budget beside plain sampling with that budget.
    fn beside_sampling(&self, searches: Vec<Found>) -> Vec<SearchResult> {
        let sampling = searches.iter().find(|found| found.search == SearchKind::Sampling).cloned();
        let beside = |found: Found| {
            let has_budget = found.search.has_budget() && found.search != SearchKind::Sampling;
            let beside_sampling = sampling.as_ref().filter(|_| has_budget).map(|sampling| {
                paired_difference(&sampling.tasks, &found.tasks, 1, RESAMPLES, resampler(self.seed))
            });
            SearchResult { beside_sampling, ..self.match_tokens(found) }
        };
        searches.into_iter().map(beside).collect()
    }

    /// A search beside plain attempts for the same tokens.
    fn match_tokens(&self, found: Found) -> SearchResult {
        let attempts: usize = found.tasks.iter().map(|task| task.samples).sum();
        let per_attempt = found.tokens_per_task * found.tasks.len() as f64 / attempts.max(1) as f64;
        let there = self.judged.iter().map(Judged::samples).min().unwrap_or(1);
        let matched = found.pass_at_k.iter().map(|of| {
            let search_tokens = of.k as f64 * per_attempt;
            let attempts = ((search_tokens / self.tokens_per_attempt).round() as usize).clamp(1, there);
            let pass: Vec<f64> = self.judged.iter().map(|judged| judged.pass(attempts)).collect();
            let chosen: Vec<f64> = self.judged.iter().filter_map(|judged| judged.chosen(attempts)).collect();
            Matched {
                k: of.k,
                attempts,
                search_tokens,
                plain_tokens: attempts as f64 * self.tokens_per_attempt,
                pass: self.measure("pass", attempts, &pass),
                chosen: (chosen.len() == pass.len()).then(|| self.measure("chosen", attempts, &chosen)),
            }
        });
        let matched = matched.collect();
        SearchResult { found, matched, beside_sampling: None }
    }
}

/// The results in a folder that [`Plan::evaluate`] wrote.
///
/// # Errors
///
/// If there are none, or they are damaged or of another version.
pub fn read_results(folder: &Path) -> Result<Results, TrainError> {
    let path = folder.join(RESULTS);
    let bytes = match fs_err::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(TrainError::NoResults { folder: folder.to_owned() });
        }
        bytes => bytes?,
    };
    let json = |source| TrainError::Json { path: path.clone(), source };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(json)?;
    let found = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or_default();
    if !(1..=FORMAT).contains(&found) {
        return Err(ReadError::Format { path, found, wanted: FORMAT }.into());
    }
    serde_json::from_value(value).map_err(json)
}
