//! Critical sampling: attempts go on from where the verifier thought best of programs that pass the public tests.
//!
//! Le et al. 2022, section 3.3 (arXiv:2207.01780). As differences: the model that repairs is the policy itself, told what the
//! public tests say, and the value of a prefix is what any verifier says after its last token.

use super::{Asked, Candidate, Outcome, PublicRuns, as_read, by_task, has_room};
use crate::critic::verifier::Tried;
use crate::episode::feedback;
use crate::error::TrainError;
use crate::eval::Examinee;
use crate::execution::{Executions, program};
use crate::recipe::Recipe;
use crate::rng::Stream;
use crate::rollout::{Finish, Group, Request, generate};
use crate::scoring::within_budget;

/// As many new attempts at each held-out task as the recipe's evaluation has, begun where its attempts leave off.
///
/// # Errors
///
/// If the sandbox loses too many attempts, or the model or the device fails.
pub(super) fn refine(
    examinee: &Examinee<'_>,
    recipe: &Recipe,
    plain: &[Group],
) -> Result<Outcome, TrainError> {
    let tasks: Vec<_> = examinee.tasks.iter().collect();
    let mut executions = Executions::new(&examinee.environment.executor, recipe.executor.limits);
    let mut asked: Vec<Vec<Asked>> = Vec::new();
    for group in plain {
        let completions = group.completions.iter().cloned();
        let task = tasks[group.task];
        asked.push(completions.map(|completion| Asked::of(&executions, task, completion)).collect());
    }
    let (mut requests, mut of_request) = (Vec::new(), Vec::new());
    let mut runs = PublicRuns::default();
    for (group, asked) in plain.iter().zip(asked) {
        let candidates = runs.wait(asked);
        for request in next(examinee, recipe, group, &candidates)? {
            requests.push(request);
            of_request.push(group.task);
        }
    }
    runs.within_budget()?;
    let sampling = examinee.environment.sampling(
        recipe,
        Stream::CriticalSampling,
        examinee.step,
        recipe.eval.temperature,
    );
    let model = tch::no_grad(|| examinee.policy.model());
    let (mut tokens, mut programs) = (0, 0);
    generate(&model, &examinee.policy.tokenizer, &requests, &sampling, &mut |completion| {
        tokens += completion.tokens.len() - requests[completion.request].begun;
        programs += 1;
        executions.submit(tasks[of_request[completion.request]], &completion);
    })?;
    let verdicts = executions.wait(requests.len());
    within_budget(&verdicts)?;
    let counts = by_task(&verdicts, &of_request, recipe.eval.samples.get(), tasks.len());
    Ok(Outcome { tasks: counts, tokens, programs, unaided: None })
}

/// What is sampled next for one task: as many attempts as there were.
fn next(
    examinee: &Examinee<'_>,
    recipe: &Recipe,
    group: &Group,
    candidates: &[Candidate],
) -> Result<Vec<Request>, TrainError> {
    let samples = recipe.eval.samples.get();
    let task = group.task as u64;
    let Some(verifier) = examinee.verifier else { return Ok(Vec::new()) };
    let tried = as_read(&examinee.tasks[group.task], &group.prompt, candidates);
    let passing: Vec<usize> =
        (0..candidates.len()).filter(|place| candidates[*place].public.all_passed()).collect();
    if passing.is_empty() {
        let forecasts: Vec<f64> = verifier.forecast(&[tried]).iter().map(|said| said.pass).collect();
        let prompt = repair(examinee, recipe, group, candidates, &forecasts)?;
        let prompt = prompt.unwrap_or_else(|| group.prompt.clone());
        return Ok(vec![Request { prompt, samples, task, ..Request::default() }]);
    }
    let programs = passing.iter().map(|place| tried.programs[*place].clone()).collect();
    let values = verifier.prefixes(&[Tried { programs, ..tried }]);
    let mut first_sample = 0;
    let seeds = passing.iter().zip(&values).zip(shared_out(samples, passing.len()));
    let requests = seeds.map(|((place, values), samples)| {
        let written = best_prefix(values);
        let prompt = [&group.prompt[..], &candidates[*place].completion.tokens[..written]].concat();
        let request =
            Request { prompt, samples, task, first_sample, written, begun: written, ..Request::default() };
        first_sample += samples;
        request
    });
    Ok(requests.collect())
}

/// The prompt that has the failing program with the highest forecast repaired: all that was said, and the recipe's reply to it.
/// `None` if there is no program that ended by itself, or no room behind it.
fn repair(
    examinee: &Examinee<'_>,
    recipe: &Recipe,
    group: &Group,
    candidates: &[Candidate],
    forecasts: &[f64],
) -> Result<Option<Vec<i64>>, TrainError> {
    let ended = candidates.iter().zip(forecasts).filter(|(one, _)| one.completion.finish == Finish::Stop);
    // The first of equal ones.
    let best = ended.reduce(|best, next| if next.1 > best.1 { next } else { best });
    let Some((Candidate { completion, public }, _)) = best else { return Ok(None) };
    let (task, episode) = (&examinee.tasks[group.task], &recipe.episode);
    let tokenizer = &examinee.policy.tokenizer;
    let program = program(task, &completion.text);
    let most = episode.feedback_characters.get();
    let said = feedback(episode.feedback, public, &task.public_tests, &program, most);
    let reply = examinee.environment.prompter.reply(task, &said, completion.tokens.last(), tokenizer)?;
    let prompt = [&group.prompt[..], &completion.tokens, &reply].concat();
    Ok(Some(prompt)
        .filter(|prompt| has_room(examinee, recipe, prompt.len(), recipe.rollout.max_tokens.get())))
}

/// How many of a program's tokens are kept, given the probability of passing after each: up to and with the token of the highest,
/// the first of equal ones, but never the last token, so that there is something to write anew.
pub fn best_prefix(values: &[f64]) -> usize {
    let kept = values.len().saturating_sub(1);
    let places = (0..kept).reduce(|best, next| if values[next] > values[best] { next } else { best });
    places.map_or(0, |place| place + 1)
}

/// `samples` shared out among `seeds` as evenly as can be, more to the first ones.
pub fn shared_out(samples: usize, seeds: usize) -> impl Iterator<Item = usize> {
    let each = samples.checked_div(seeds).unwrap_or(0);
    let more = samples.checked_rem(seeds).unwrap_or(0);
    (0..seeds).map(move |seed| each + usize::from(seed < more))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prefix_ends_with_the_token_after_which_passing_is_likeliest() {
        assert_eq!(best_prefix(&[0.1, 0.7, 0.3, 0.9]), 2, "the last token ends the program");
        assert_eq!(best_prefix(&[0.5, 0.5, 0.5]), 1);
        assert_eq!(best_prefix(&[0.9]), 0);
        assert_eq!(best_prefix(&[]), 0);
    }

    proptest! {
        #[test]
        fn samples_are_shared_out_whole_and_evenly(samples in 1..60usize, seeds in 1..20usize) {
            let shares: Vec<usize> = shared_out(samples, seeds).collect();
            prop_assert_eq!(shares.len(), seeds);
            prop_assert_eq!(shares.iter().sum::<usize>(), samples);
            prop_assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }
}
