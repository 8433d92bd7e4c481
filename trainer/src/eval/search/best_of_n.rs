//! Multi-turn best of n: several programs a turn, and the best of them is answered.
//!
//! Jain et al. 2025, section 4.3 (arXiv:2502.20380).

use super::{Asked, Candidate, Outcome, PublicRuns, as_read, by_task, has_room};
use crate::episode::feedback;
use crate::error::TrainError;
use crate::eval::Examinee;
use crate::execution::{Executions, program};
use crate::recipe::Recipe;
use crate::rng::Stream;
use crate::rollout::{Completion, Finish, Request, generate};
use crate::scoring::within_budget;
use crate::tasks::Task;

/// One attempt of several turns at each held-out task, whose every turn is the best of as many programs as the recipe's evaluation
/// has attempts.
///
/// # Errors
///
/// If the sandbox loses too many attempts, or the model or the device fails.
pub(super) fn converse(examinee: &Examinee<'_>, recipe: &Recipe) -> Result<Outcome, TrainError> {
    let tasks: Vec<_> = examinee.tasks.iter().collect();
    let mut executions = Executions::new(&examinee.environment.executor, recipe.executor.limits);
    let sampling =
        examinee.environment.sampling(recipe, Stream::BestOfN, examinee.step, recipe.eval.temperature);
    let model = tch::no_grad(|| examinee.policy.model());
    let mut requests = Vec::with_capacity(tasks.len());
    for (place, task) in tasks.iter().enumerate() {
        let prompt = examinee.environment.prompter.prompt(task, &examinee.policy.tokenizer)?;
        let (samples, task) = (recipe.eval.samples.get(), place as u64);
        requests.push(Request { prompt, samples, task, ..Request::default() });
    }
    let prompts: Vec<Vec<i64>> = requests.iter().map(|request| request.prompt.clone()).collect();
    let (mut tokens, mut programs, turns) = (0, 0, recipe.episode.turns.get());
    let mut runs = PublicRuns::default();
    for turn in 1..=turns {
        let mut asked: Vec<Vec<Asked>> = requests.iter().map(|_| Vec::new()).collect();
        generate(&model, &examinee.policy.tokenizer, &requests, &sampling, &mut |completion| {
            tokens += completion.tokens.len();
            programs += 1;
            let request = completion.request;
            let task = tasks[requests[request].task as usize];
            asked[request].push(Asked::of(&executions, task, completion));
        })?;
        let mut next = Vec::new();
        for (request, mut asked) in requests.into_iter().zip(asked) {
            asked.sort_by_key(|asked| asked.completion.sample);
            let place = request.task as usize;
            let chosen = choose(examinee, tasks[place], &prompts[place], runs.wait(asked));
            // Where the sandbox lost all of them, the attempt has none that could pass.
            let Some(chosen) = chosen else { continue };
            let last = turn == turns;
            match if last { None } else { answered(examinee, recipe, request, &chosen)? } {
                Some(request) => next.push(request),
                None => {
                    let completion = Completion { request: place, sample: 0, ..chosen.completion };
                    executions.submit(tasks[place], &completion);
                }
            }
        }
        requests = next;
    }
    runs.within_budget()?;
    let verdicts = executions.wait(tasks.len());
    within_budget(&verdicts)?;
    let of_row: Vec<usize> = (0..tasks.len()).collect();
    let counts = by_task(&verdicts, &of_row, 1, tasks.len());
    Ok(Outcome { tasks: counts, tokens, programs, unaided: None })
}

/// The best of a turn's programs: one that passes the public tests before others, then the one with the highest forecast, if there
/// is a verifier, then the first. It reads programs behind the task alone, whatever was said before them.
fn choose(
    examinee: &Examinee<'_>,
    task: &Task,
    prompt: &[i64],
    candidates: Vec<Candidate>,
) -> Option<Candidate> {
    let mut forecasts = vec![0.0; candidates.len()];
    if let Some(verifier) = examinee.verifier {
        let said = verifier.forecast(&[as_read(task, prompt, &candidates)]);
        forecasts = said.into_iter().map(|said| said.pass).collect();
    }
    let ranked = candidates.into_iter().zip(forecasts);
    let key = |(candidate, forecast): &(Candidate, f64)| (candidate.public.all_passed(), *forecast);
    ranked.reduce(|best, next| if key(&next) > key(&best) { next } else { best }).map(|(best, _)| best)
}

/// The next turn behind a program that was chosen; `None` if that was the last one.
fn answered(
    examinee: &Examinee<'_>,
    recipe: &Recipe,
    request: Request,
    chosen: &Candidate,
) -> Result<Option<Request>, TrainError> {
    let Candidate { completion, public } = chosen;
    if public.all_passed() || completion.finish == Finish::Length {
        return Ok(None);
    }
    let (task, episode) = (&examinee.tasks[request.task as usize], &recipe.episode);
    let program = program(task, &completion.text);
    let most = episode.feedback_characters.get();
    let said = feedback(episode.feedback, public, &task.public_tests, &program, most);
    let tokenizer = &examinee.policy.tokenizer;
    let reply = examinee.environment.prompter.reply(task, &said, completion.tokens.last(), tokenizer)?;
    let prompt = [&request.prompt[..], &completion.tokens, &reply].concat();
    // Turns share no random number, however short one was.
    let drawn = request.drawn + recipe.rollout.max_tokens.get();
    let next = Request { prompt, drawn, ..request };
    Ok(Some(next)
        .filter(|next| has_room(examinee, recipe, next.prompt.len(), recipe.rollout.max_tokens.get())))
}
