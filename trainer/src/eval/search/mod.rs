//! Other ways to spend tokens on a held-out task than attempts that know nothing of each other.
//!
//! ```text
//! critical     N attempts ─▶ public tests ─┬─ some pass: cut each where the verifier likes it best, go on from there ─▶ N attempts
//!                                          └─ none does: answer the one that the verifier likes best ─▶ N attempts
//! best-of-n    N programs ─▶ public tests, verifier ─▶ the best one, answered ─▶ N programs ─▶ … ─▶ one attempt
//! ```
//!
//! These two make attempts by number: one goes on from the tokens of the evaluation's own, the other from whole conversations. All others
//! are one thing, a [`Search`](proposal::Search) with a budget in tokens:
//!
//! ```text
//! sampling, rex, seidr, scattered-forest, orps, self-edit, code-chain, incremental-tests
//!     search ─▶ proposals ─▶ prompts ─▶ engine ─▶ public tests ─▶ search ─▶ … ─▶ budget spent ─▶ choice ─▶ hidden tests
//! ```
//!
//! Choices are made by public tests, forecasts and what programs give; hidden tests judge what comes out, and nothing else. What each way
//! takes is counted in sampled tokens and in programs, so that it can be held against as many tokens of plain sampling.

mod best_of_n;
mod beta;
mod choose;
mod code_chain;
mod config;
mod critical;
mod explore;
mod incremental_tests;
mod k_means;
mod orps;
mod proposal;
mod rex;
mod scattered_forest;
mod seidr;
mod selectors;
mod self_edit;
mod speaker;

pub use beta::beta;
pub use config::*;
pub use critical::{best_prefix, shared_out};
use explore::Studio;
pub use k_means::{Bag, representatives};
pub use orps::score_in;
pub use rex::belief;
use rltrain_executor::{Pending, Verdict};
pub use scattered_forest::{backed_up, uct};
pub use selectors::{
    by_consistency, candidates, clusters, consistency, next_question, weighted_vote, worst_case_eliminated,
};
use serde::{Deserialize, Serialize};

use super::bootstrap::PassAtK;
use super::config::SearchKind;
use super::evaluations::interval;
use super::examinee::Examinee;
use super::pass_at_k::TaskCounts;
use crate::critic::verifier::{Label, Program, Tried};
use crate::error::TrainError;
use crate::execution::{Executions, Verdicts};
use crate::recipe::Recipe;
use crate::rollout::{Completion, Group, KvRoom, Wanted};
use crate::scoring::{self, bounded};
use crate::tasks::Task;

/// What a search found, and what it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// Which one.
    pub search: SearchKind,
    /// Mean pass@k with intervals of the attempts that it ends with.
    pub pass_at_k: Vec<PassAtK>,
    /// Those attempts and successes of each task, in the order of the task file.
    pub tasks: Vec<TaskCounts>,
    /// Tokens sampled for a task, on average, all that led to those attempts included.
    pub tokens_per_task: f64,
    /// Programs sampled for a task, on average, of these tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programs_per_task: Option<f64>,
    /// Tokens that it might have sampled for a task, if it has a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_tokens: Option<usize>,
    /// Of the tasks of which it found a program that passes the public tests: the share of which one does that goes on from nothing. Of
    /// searches with a budget, if there is such a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unaided: Option<f64>,
}

/// What a search ends with.
struct Outcome {
    tasks: Vec<TaskCounts>,
    /// Tokens that it sampled itself.
    tokens: usize,
    /// Programs that it sampled itself.
    programs: usize,
    /// As [`Found::unaided`].
    unaided: Option<f64>,
}

/// Runs a search of the recipe. `plain` has the attempts of the evaluation, which critical sampling begins with.
///
/// # Errors
///
/// If the sandbox loses too many attempts, or the model or the device fails.
pub(super) fn run(
    examinee: &Examinee<'_>,
    recipe: &Recipe,
    search: SearchKind,
    plain: &[Group],
) -> Result<Found, TrainError> {
    let config = recipe.search.clone().unwrap_or_default();
    let attempts = plain.iter().map(|group| group.completions.len()).sum();
    let (Outcome { tasks, tokens, programs, unaided }, (tokens_before, programs_before)) = match search {
        SearchKind::Critical => (critical::refine(examinee, recipe, plain)?, (tokens(plain), attempts)),
        SearchKind::BestOfN => (best_of_n::converse(examinee, recipe)?, (0, 0)),
        _ => (within_budget(examinee, recipe, &config, search)?, (0, 0)),
    };
    // As many attempts as there are of every task.
    let most = tasks.iter().map(|task| task.samples).min().unwrap_or(0);
    let ks = recipe.eval.k.iter().filter(|k| **k <= most);
    let pass_at_k = ks.map(|k| interval(&tasks, *k, recipe.seed)).collect();
    let per_task = |count: usize| count as f64 / examinee.tasks.len().max(1) as f64;
    Ok(Found {
        search,
        pass_at_k,
        tasks,
        tokens_per_task: per_task(tokens_before + tokens),
        programs_per_task: Some(per_task(programs_before + programs)),
        budget_tokens: search.has_budget().then_some(config.budget_tokens.get()),
        unaided,
    })
}

/// Runs a search that has a budget, and judges its answers.
fn within_budget(
    examinee: &Examinee<'_>,
    recipe: &Recipe,
    config: &SearchConfig,
    search: SearchKind,
) -> Result<Outcome, TrainError> {
    let studio = Studio::new(examinee, recipe, config)?;
    let mut explorers = explore::explore(&studio, search)?;
    let answers = choose::choose(&studio, &mut explorers)?;
    let mut executions = Executions::new(&examinee.environment.executor, recipe.executor.limits);
    for (request, (explorer, answers)) in explorers.iter().zip(answers).enumerate() {
        for (sample, place) in answers.into_iter().enumerate() {
            let text = explorer.nodes[place].text.clone();
            executions.submit(explorer.task, &Completion { request, sample, text, ..Completion::default() });
        }
    }
    let verdicts = executions.wait(explorers.len());
    scoring::within_budget(&verdicts)?;
    let of_row: Vec<usize> = (0..explorers.len()).collect();
    let solved = explorers.iter().filter(|explorer| explorer.solved(|_| true)).count();
    let unaided =
        explorers.iter().filter(|explorer| explorer.solved(|node| node.proposal.goes_on_from_nothing()));
    Ok(Outcome {
        tasks: by_task(&verdicts, &of_row, config.answers.get(), explorers.len()),
        tokens: explorers.iter().map(|explorer| explorer.tokens).sum(),
        programs: explorers.iter().map(explore::Explorer::programs).sum(),
        unaided: (solved > 0).then(|| unaided.count() as f64 / solved as f64),
    })
}

/// Tokens that were sampled for these attempts.
pub(super) fn tokens(groups: &[Group]) -> usize {
    groups.iter().flat_map(|group| &group.completions).map(|completion| completion.tokens.len()).sum()
}

/// Programs that the public tests are asked about.
struct Asked {
    completion: Completion,
    pending: Pending,
}

impl Asked {
    fn of(executions: &Executions<'_>, task: &Task, completion: Completion) -> Asked {
        Asked { pending: executions.ask(task, &completion), completion }
    }
}

/// How many programs the public tests were asked about, and how many of those the sandbox lost.
#[derive(Default)]
struct PublicRuns {
    asked: usize,
    lost: usize,
    first_loss: Option<String>,
}

impl PublicRuns {
    /// Waits for what the public tests say of programs. The choice is left to those that the sandbox did not lose.
    fn wait(&mut self, asked: Vec<Asked>) -> Vec<Candidate> {
        let mut candidates = Vec::with_capacity(asked.len());
        for Asked { completion, pending } in asked {
            candidates.extend(self.one(pending).map(|public| Candidate { completion, public }));
        }
        candidates
    }

    /// Waits for what is said of one program; nothing if the sandbox has lost it.
    fn one(&mut self, pending: Pending) -> Option<Verdict> {
        self.asked += 1;
        match pending.wait() {
            Ok(verdict) => Some(verdict),
            Err(error) => {
                self.lost += 1;
                self.first_loss.get_or_insert_with(|| error.to_string());
                None
            }
        }
    }

    /// An error if the sandbox lost more than a run bears.
    fn within_budget(self) -> Result<(), TrainError> {
        bounded(self.lost, self.asked, self.first_loss)
    }
}

/// A program that a search may go on from.
struct Candidate {
    completion: Completion,
    /// What the public tests say.
    public: Verdict,
}

/// Programs as a verifier reads them. What public tests say stands for what came of them, which a forecast does not look at.
fn as_read(task: &Task, prompt: &[i64], candidates: &[Candidate]) -> Tried {
    let program = |candidate: &Candidate| Program {
        tokens: candidate.completion.tokens.clone(),
        interjections: Vec::new(),
        label: Label::of(&candidate.public),
    };
    Tried {
        task: task.id.clone(),
        lines_before: task.signature.matches('\n').count(),
        prompt: prompt.to_vec(),
        programs: candidates.iter().map(program).collect(),
    }
}

/// Whether `max_tokens` more fit behind `read` tokens, into positions and memory.
fn has_room(examinee: &Examinee<'_>, recipe: &Recipe, read: usize, max_tokens: usize) -> bool {
    let sizes = examinee.policy.architecture.sizes();
    let wanted = Wanted {
        attempts: 1,
        longest_prompt: read,
        // Of an encoder's prompt and of what stands behind it, each is at most all.
        longest_written: read,
        max_tokens,
        max_batch: 1,
        kv_memory_mib: recipe.rollout.kv_memory_mib.map(std::num::NonZeroUsize::get),
    };
    let fits = KvRoom::of(&wanted, &sizes, examinee.policy.compute).is_ok();
    fits && read + max_tokens <= sizes.max_positions as usize
}

/// Samples and successes of each task: `of_row` has the task of each row of `verdicts`, `samples` is how many each should have.
/// Those that the sandbox lost count as failures, so that pass@k stays defined.
fn by_task(verdicts: &Verdicts, of_row: &[usize], samples: usize, tasks: usize) -> Vec<TaskCounts> {
    let mut counts = vec![TaskCounts { samples, correct: 0 }; tasks];
    for (task, row) in of_row.iter().zip(&verdicts.groups) {
        counts[*task].correct += row.iter().flatten().filter(|verdict| verdict.all_passed()).count();
    }
    counts
}
