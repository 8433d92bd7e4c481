//! Other ways to spend tokens on a held-out task than attempts that know nothing of each other.
//!
//! ```text
//! critical     N attempts ─▶ public tests ─┬─ some pass: cut each where the verifier likes it best, go on from there ─▶ N attempts
//!                                          └─ none does: answer the one that the verifier likes best ─▶ N attempts
//! best-of-n    N programs ─▶ public tests, verifier ─▶ the best one, answered ─▶ N programs ─▶ … ─▶ one attempt
//! ```
//!
//! Choices are made by public tests and forecasts; hidden tests judge what comes out, and nothing else. What each way takes is
//! counted in sampled tokens, so that it can be held against as many tokens of plain sampling.

mod best_of_n;
mod critical;

pub use critical::{best_prefix, shared_out};
use rltrain_executor::{Pending, Verdict};
use serde::{Deserialize, Serialize};

use super::bootstrap::PassAtK;
use super::config::Search;
use super::evaluations::interval;
use super::examinee::Examinee;
use super::pass_at_k::TaskCounts;
use crate::critic::verifier::{Label, Program, Tried};
use crate::error::TrainError;
use crate::execution::{Executions, Verdicts};
use crate::recipe::Recipe;
use crate::rollout::{Completion, Group, KvRoom, Wanted};
use crate::scoring::bounded;
use crate::tasks::Task;

/// What a search found, and what it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// Which one.
    pub search: Search,
    /// Mean pass@k with intervals of the attempts that it ends with.
    pub pass_at_k: Vec<PassAtK>,
    /// Those attempts and successes of each task, in the order of the task file.
    pub tasks: Vec<TaskCounts>,
    /// Tokens sampled for a task, on average, all that led to those attempts included.
    pub tokens_per_task: f64,
}

/// What a search ends with.
struct Outcome {
    tasks: Vec<TaskCounts>,
    /// Tokens that it sampled itself.
    tokens: usize,
}

/// Runs a search of the recipe. `plain` has the attempts of the evaluation, which critical sampling begins with.
///
/// # Errors
///
/// If the sandbox loses too many attempts, or the model or the device fails.
pub(super) fn run(
    examinee: &Examinee<'_>,
    recipe: &Recipe,
    search: Search,
    plain: &[Group],
) -> Result<Found, TrainError> {
    let (Outcome { tasks, tokens }, before) = match search {
        Search::Critical => (critical::refine(examinee, recipe, plain)?, tokens(plain)),
        Search::BestOfN => (best_of_n::converse(examinee, recipe)?, 0),
    };
    // As many attempts as there are of every task.
    let most = tasks.iter().map(|task| task.samples).min().unwrap_or(0);
    let ks = recipe.eval.k.iter().filter(|k| **k <= most);
    let pass_at_k = ks.map(|k| interval(&tasks, *k, recipe.seed)).collect();
    let tokens_per_task = (before + tokens) as f64 / examinee.tasks.len().max(1) as f64;
    Ok(Found { search, pass_at_k, tasks, tokens_per_task })
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
        self.asked += asked.len();
        let mut candidates = Vec::with_capacity(asked.len());
        for Asked { completion, pending } in asked {
            match pending.wait() {
                Ok(public) => candidates.push(Candidate { completion, public }),
                Err(error) => {
                    self.lost += 1;
                    self.first_loss.get_or_insert_with(|| error.to_string());
                }
            }
        }
        candidates
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

/// Whether another turn of the recipe's longest fits behind `read` tokens, into positions and memory.
fn has_room(examinee: &Examinee<'_>, recipe: &Recipe, read: usize) -> bool {
    let sizes = examinee.policy.architecture.sizes();
    let max_tokens = recipe.rollout.max_tokens.get();
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
