//! Attempts from their first token to the sandbox.

use rltrain_executor::Pending;

use super::feedback::feedback;
use crate::environment::Environment;
use crate::error::TrainError;
use crate::execution::{Executions, program};
use crate::fleet::Fleet;
use crate::policy::Policy;
use crate::recipe::Recipe;
use crate::rollout::{Completion, Finish, Histories, PrefillTokens, Request, Sampling, generate_from};
use crate::tasks::Task;

/// What [`play`] returns.
pub struct Played<'a> {
    /// Every attempt, in the order in which they ended.
    pub completions: Vec<Completion>,
    /// The verdicts of the hidden tests about their last programs, under way.
    pub executions: Executions<'a>,
    /// What prompts and histories have cost.
    pub prefill: PrefillTokens,
}

/// Samples attempts turn by turn. `tasks` has the task of each request.
///
/// An attempt that is over goes to the sandbox at once, to be judged by the hidden tests, while others still decode. One that
/// may go on is judged by the public tests alone, and its next turn begins with those of all the others: when a turn begins
/// depends on tokens and not on how fast the sandbox is, so that a resumed run decodes the same rows together.
///
/// # Errors
///
/// If the model cannot be used, or a reply cannot be rendered.
pub fn play<'a>(
    (policy, environment): (&Policy, &'a Environment),
    recipe: &Recipe,
    tasks: &[&Task],
    requests: &[Request],
    sampling: &Sampling,
) -> Result<Played<'a>, TrainError> {
    let model = environment.fleet.is_none().then(|| tch::no_grad(|| policy.model()));
    // Keys and values of earlier turns are of this network, and go with it when the weights change.
    let mut histories = model.as_ref().map(Histories::new);
    let executions = Executions::new(&environment.executor, recipe.executor.limits);
    let mut play = Play { policy, environment, recipe, tasks, sampling, executions, completions: Vec::new() };
    let mut turn = Turn { requests: requests.to_vec(), attempts: Vec::new() };
    for number in 1..=recipe.episode.turns.get() {
        let is_last = number == recipe.episode.turns.get();
        if let Some(histories) = &mut histories {
            histories.keep(!is_last);
        }
        let (mut attempts, mut judged) = (turn.attempts, Vec::new());
        let mut on_finished = |completion: Completion| {
            let attempt = match attempts.get_mut(completion.request) {
                Some(attempt) => std::mem::take(attempt).continued(completion),
                None => completion,
            };
            if is_last || attempt.finish == Finish::Length {
                play.finish(attempt);
            } else {
                let pending = play.executions.ask(tasks[attempt.request], &attempt);
                judged.push((attempt, pending));
            }
        };
        sample((policy, &environment.fleet, &mut histories), &turn.requests, sampling, &mut on_finished)?;
        turn = play.next_turn(requests, judged)?;
        if turn.requests.is_empty() {
            break;
        }
    }
    let Play { completions, executions, .. } = play;
    let prefill = histories.map_or_else(PrefillTokens::default, |histories| histories.prefill);
    Ok(Played { completions, executions, prefill })
}

/// Samples here, or has it done elsewhere.
fn sample(
    (policy, fleet, histories): (&Policy, &Option<Fleet>, &mut Option<Histories<'_>>),
    requests: &[Request],
    sampling: &Sampling,
    on_finished: &mut dyn FnMut(Completion),
) -> Result<(), TrainError> {
    let tokenizer = &policy.tokenizer;
    if let Some(histories) = histories {
        generate_from(histories, tokenizer, requests, sampling, on_finished)?;
    } else if let Some(fleet) = fleet {
        fleet.generate(tokenizer, requests, sampling, on_finished)?;
    }
    Ok(())
}

/// The requests of one turn, and what has been written before each; nothing in the first turn.
struct Turn {
    requests: Vec<Request>,
    attempts: Vec<Completion>,
}

struct Play<'a, 'b> {
    policy: &'b Policy,
    environment: &'a Environment,
    recipe: &'b Recipe,
    tasks: &'b [&'b Task],
    sampling: &'b Sampling,
    executions: Executions<'a>,
    completions: Vec<Completion>,
}

impl Play<'_, '_> {
    /// An attempt is over: its last program is what the hidden tests judge.
    fn finish(&mut self, attempt: Completion) {
        self.executions.submit(self.tasks[attempt.request], &attempt);
        self.completions.push(attempt);
    }

    /// Waits for what the public tests say, and tells the attempts that go on. One that the sandbox lost has no reward.
    fn next_turn(
        &mut self,
        first: &[Request],
        mut judged: Vec<(Completion, Pending)>,
    ) -> Result<Turn, TrainError> {
        judged.sort_by_key(|(attempt, _)| (attempt.request, attempt.sample));
        let (episode, tokenizer) = (&self.recipe.episode, &self.policy.tokenizer);
        let most = self.policy.architecture.sizes().max_positions as usize;
        let mut turn = Turn { requests: Vec::new(), attempts: Vec::new() };
        for (mut attempt, pending) in judged {
            let (task, request) = (self.tasks[attempt.request], &first[attempt.request]);
            let verdict = match pending.wait() {
                Ok(verdict) => verdict,
                Err(error) => {
                    self.executions.lose(&attempt, error);
                    self.completions.push(attempt);
                    continue;
                }
            };
            attempt.public_passes.push(verdict.all_passed());
            if verdict.all_passed() && episode.stop_on_public_pass {
                self.finish(attempt);
                continue;
            }
            let program = program(task, &attempt.text);
            let most_characters = episode.feedback_characters.get();
            let said = feedback(episode.feedback, &verdict, &task.public_tests, &program, most_characters);
            let reply = self.environment.prompter.reply(task, &said, attempt.tokens.last(), tokenizer)?;
            let read = request.prompt.len() + attempt.continuation().read_length() + reply.len();
            if read + self.sampling.max_tokens > most {
                self.finish(attempt);
                continue;
            }
            attempt.reply(said, reply);
            turn.requests.push(next_request(request, &attempt));
            turn.attempts.push(attempt);
        }
        Ok(turn)
    }
}

/// The next turn of an attempt: all that was said so far, and where its random numbers go on.
fn next_request(first: &Request, attempt: &Completion) -> Request {
    let said = attempt.continuation().read().map(|(token, _)| token);
    Request {
        prompt: first.prompt.iter().copied().chain(said).collect(),
        written: first.written + attempt.continuation().read_length(),
        samples: 1,
        task: first.task,
        first_sample: first.first_sample + attempt.sample,
        drawn: first.drawn + attempt.tokens.len(),
        begun: 0,
    }
}
