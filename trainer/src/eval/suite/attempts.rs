//! Sampling what an evaluation has not got yet, and what is said about it.

use rltrain_executor::{Verdict, WallTime};

use super::super::config::SearchKind;
use super::super::search::{self, Found};
use super::keys::{Keys, counter};
use super::store::{Attempt, Store};
use super::{Attending, Plan};
use crate::critic::verifier::forecast_groups;
use crate::episode::{Played, play};
use crate::error::TrainError;
use crate::execution::{Executions, Verdicts};
use crate::rng::Stream;
use crate::rollout::{Completion, Group, Request, collect};
use crate::scoring::{look_closer, score};
use crate::stop::StopFlag;

/// Batches that are decoded before attempts are kept: more lose more when the process is killed, fewer wait more often for the last
/// attempts of a batch.
const BATCHES_TOGETHER: usize = 4;

/// Name of the reward that eff@k reads.
const EFFICIENCY: &str = "efficiency";

/// Attempts at one task that are not there yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Missing {
    task: usize,
    first: usize,
    count: usize,
}

/// All that is missing, in the order of the file.
pub(super) fn missing(plan: &Plan, keys: &Keys, store: &Store) -> Vec<Missing> {
    let samples = plan.recipe.eval.samples.get();
    let mut missing: Vec<Missing> = Vec::new();
    for (task, key) in keys.attempts.iter().enumerate() {
        for sample in (0..samples).filter(|sample| store.attempt(key, *sample).is_none()) {
            match missing.last_mut() {
                Some(last) if last.task == task && last.first + last.count == sample => last.count += 1,
                _ => missing.push(Missing { task, first: sample, count: 1 }),
            }
        }
    }
    missing
}

/// Attempts what is missing, some batches at a time; each is kept before the next is begun. Returns whether it came to the end.
pub(super) fn attempt(
    plan: &Plan,
    mut attending: Attending<'_>,
    (keys, store): (&Keys, &mut Store),
    stop: &StopFlag,
    tell: &dyn Fn(&str),
) -> Result<bool, TrainError> {
    let missing = missing(plan, keys, store);
    let all: usize = missing.iter().map(|missing| missing.count).sum();
    let together = BATCHES_TOGETHER * plan.recipe.rollout.max_batch.get();
    // Many attempts at one task are some pieces.
    let pieces = missing.iter().flat_map(|all| {
        (0..all.count).step_by(together).map(|from| Missing {
            first: all.first + from,
            count: together.min(all.count - from),
            ..*all
        })
    });
    let pieces: Vec<Missing> = pieces.collect();
    let (mut rest, mut done, mut passed) = (&pieces[..], 0, 0);
    while !rest.is_empty() {
        if stop.is_asked() {
            return Ok(false);
        }
        let mut count = 0;
        let fits = rest.iter().take_while(|next| {
            let first = count == 0;
            count += next.count;
            first || count <= together
        });
        let now;
        (now, rest) = rest.split_at(fits.count());
        let kept = attempt_some(plan, &mut attending, keys, now)?;
        done += now.iter().map(|missing| missing.count).sum::<usize>();
        passed += kept.iter().filter(|(_, attempt)| attempt.verdict.all_passed()).count();
        store.add_attempts(kept)?;
        tell(&format!("{done} of {all} attempts, {passed} passed"));
    }
    Ok(true)
}

/// Samples, executes and scores some attempts; those that the sandbox lost are left out.
fn attempt_some(
    plan: &Plan,
    attending: &mut Attending<'_>,
    keys: &Keys,
    now: &[Missing],
) -> Result<Vec<(String, Attempt)>, TrainError> {
    let recipe = &plan.recipe;
    let places: Vec<usize> = now.iter().map(|missing| missing.task).collect();
    // What the references take: told to nobody where one does not pass, for then there is no score.
    attending.environment.learn_facts(recipe, &places)?;
    let (policy, environment) = (attending.policy, &*attending.environment);
    let mut requests = Vec::with_capacity(now.len());
    for Missing { task, first, count } in now {
        let prompt = environment.prompter.prompt(&plan.tasks[*task], &policy.tokenizer)?;
        let counter = counter(&keys.tasks[*task]);
        requests.push(Request {
            prompt,
            samples: *count,
            task: counter,
            first_sample: *first,
            ..Request::default()
        });
    }
    let sampling = environment.sampling(recipe, Stream::Evaluation, 0, recipe.eval.temperature);
    let tasks: Vec<_> = places.iter().map(|task| &plan.tasks[*task]).collect();
    let Played { completions, executions, .. } =
        play((policy, environment), recipe, &tasks, &requests, &sampling)?;
    let public = Executions::new(&environment.executor, recipe.executor.limits);
    let groups = collect(&places, requests, completions);
    let mut asked = Vec::with_capacity(groups.len());
    for group in &groups {
        let task = &plan.tasks[group.task];
        let has_public = !task.public_tests.is_empty();
        let ask = |completion: &Completion| has_public.then(|| public.ask(task, completion));
        asked.push(group.completions.iter().map(ask).collect::<Vec<_>>());
    }
    let mut verdicts = executions.wait(groups.len());
    let facts = look_closer(environment, recipe, &groups, &mut verdicts);
    let scores = score((policy, environment), recipe, &groups, &verdicts, &facts)?;
    let mut kept = Vec::new();
    for (place, (group, asked)) in groups.into_iter().zip(asked).enumerate() {
        for (index, (completion, asked)) in group.completions.into_iter().zip(asked).enumerate() {
            let passes_public = match asked.map(rltrain_executor::Pending::wait).transpose() {
                Ok(public) => public.map(|verdict| verdict.all_passed()),
                Err(_) => continue,
            };
            let Ok(verdict) = &verdicts.groups[place][index] else { continue };
            let parts = &scores.parts[place][index];
            let efficiency = parts.iter().find(|part| &*part.name == EFFICIENCY).and_then(|part| part.raw);
            let attempt = Attempt {
                task: plan.tasks[group.task].id.clone(),
                sample: now[place].first + index,
                completion: bare(completion),
                verdict: Verdict { wall: WallTime::default(), ..verdict.clone() },
                public: passes_public,
                efficiency,
            };
            kept.push((keys.attempts[group.task].clone(), attempt));
        }
    }
    Ok(kept)
}

/// A completion without what only training reads.
fn bare(completion: Completion) -> Completion {
    Completion { logprobs: Vec::new(), unshaped_logprobs: Vec::new(), entropies: Vec::new(), ..completion }
}

/// The attempts of each task, in the order of their numbers.
pub(super) fn of_tasks(plan: &Plan, keys: &Keys, store: &Store) -> Vec<Vec<Attempt>> {
    let samples = plan.recipe.eval.samples.get();
    let of_task =
        |key: &String| (0..samples).filter_map(|sample| store.attempt(key, sample).cloned()).collect();
    keys.attempts.iter().map(of_task).collect()
}

/// The attempts as a verifier and searches read them.
fn groups(attending: &Attending<'_>, samples: &[Vec<Attempt>]) -> Result<(Vec<Group>, Verdicts), TrainError> {
    let (mut groups, mut verdicts) = (Vec::new(), Verdicts::default());
    for (place, (task, attempts)) in attending.tasks.iter().zip(samples).enumerate() {
        let prompt = attending.environment.prompter.prompt(task, &attending.policy.tokenizer)?;
        let completions = attempts.iter().map(|attempt| Completion {
            request: place,
            sample: attempt.sample,
            ..attempt.completion.clone()
        });
        groups.push(Group { task: place, prompt, completions: completions.collect() });
        verdicts.groups.push(attempts.iter().map(|attempt| Ok(attempt.verdict.clone())).collect());
    }
    Ok((groups, verdicts))
}

/// Opens what attempts are made in, unless that is done already, and hands it over.
pub(super) type Open<'a> =
    &'a mut dyn FnMut(&mut dyn FnMut(Attending<'_>) -> Result<(), TrainError>) -> Result<(), TrainError>;

/// What the verifier says of every attempt, if there is a verifier.
pub(super) fn forecasts(
    plan: &Plan,
    (keys, store): (&Keys, &mut Store),
    samples: &[Vec<Attempt>],
    open: Open<'_>,
) -> Result<Option<Vec<Vec<f64>>>, TrainError> {
    if plan.recipe.verifier.is_none() {
        return Ok(None);
    }
    let key = keys.of_all(&format!("forecasts of {}", counts(samples)), plan.recipe.eval.samples.get());
    if let Some(known) = store.forecasts(&key) {
        return Ok(Some(known.clone()));
    }
    let mut found = Vec::new();
    open(&mut |attending| {
        let (groups, verdicts) = groups(&attending, samples)?;
        let Some(verifier) = attending.verifier else { return Ok(()) };
        let said = forecast_groups(verifier, attending.tasks, &groups, &verdicts);
        let pass = |said: Vec<Option<_>>| {
            said.into_iter().flatten().map(|said: crate::critic::verifier::Forecast| said.pass).collect()
        };
        found = said.into_iter().map(pass).collect();
        Ok(())
    })?;
    store.add_forecasts(&key, found.clone())?;
    Ok(Some(found))
}

/// What the searches of the plan find.
pub(super) fn searches(
    plan: &Plan,
    (keys, store): (&Keys, &mut Store),
    samples: &[Vec<Attempt>],
    open: Open<'_>,
) -> Result<Vec<Found>, TrainError> {
    let mut all = Vec::new();
    for search in plan.recipe.eval.searches() {
        let key = key_of(plan, keys, search, samples);
        if let Some(known) = store.search(&key) {
            all.push(known.clone());
            continue;
        }
        let mut found = None;
        open(&mut |attending| {
            let (groups, _) = groups(&attending, samples)?;
            found = Some(search::run(&attending.examinee(), &plan.recipe, search, &groups)?);
            Ok(())
        })?;
        if let Some(found) = found {
            store.add_search(&key, found.clone())?;
            all.push(found);
        }
    }
    Ok(all)
}

fn key_of(plan: &Plan, keys: &Keys, search: SearchKind, samples: &[Vec<Attempt>]) -> String {
    let eval = &plan.recipe.eval;
    let what = format!("search {} {:?} {}", search.name(), eval.k, counts(samples));
    if !search.has_budget() {
        return keys.of_all(&what, eval.samples.get());
    }
    let config = plan.recipe.search.clone().unwrap_or_default();
    let config = serde_json::to_string(&config).expect("numbers and texts are JSON");
    keys.of_all(&format!("{what} {config}"), eval.samples.get())
}

/// How many attempts of each task there are: fewer than wanted where the sandbox lost some.
fn counts(samples: &[Vec<Attempt>]) -> String {
    format!("{:?}", samples.iter().map(Vec::len).collect::<Vec<_>>())
}
