//! From a step's attempts to what they came to.

use super::config::Relabel;
use super::dataset::{Found, Visit};
use super::hindsight::hindsight;
use crate::attempts::Attempts;
use crate::environment::Environment;
use crate::error::TrainError;
use crate::policy::Policy;
use crate::ranks::Lane;
use crate::recipe::Recipe;
use crate::rollout::{Completion, Finish};
use crate::supervised::solution;

/// What the attempts of a step came to; `None` if the recipe gathers nothing. Attempts that the infrastructure lost came to nothing.
///
/// Where several processes train together, the first finds out for all.
///
/// # Errors
///
/// If a reference or a relabelled task cannot be rendered, or a process is gone.
pub fn gather(
    policy: &Policy,
    environment: &Environment,
    recipe: &Recipe,
    attempts: &Attempts,
) -> Result<Option<Found>, TrainError> {
    if recipe.iteration.is_none() {
        return Ok(None);
    }
    let ranks = &environment.ranks;
    if ranks.is_alone() {
        return found(policy, environment, recipe, attempts).map(Some);
    }
    let own = if ranks.is_first() { found(policy, environment, recipe, attempts)? } else { Found::default() };
    Ok(ranks.gather(Lane::Learning, "what a step has found", own)?.into_iter().next())
}

fn found(
    policy: &Policy,
    environment: &Environment,
    recipe: &Recipe,
    attempts: &Attempts,
) -> Result<Found, TrainError> {
    let relabel = recipe.iteration.map_or(Relabel::Own, |iteration| iteration.relabel);
    let mut found = Found::default();
    // The last turns, and what was written in them.
    let mut last: Vec<(usize, (usize, &str))> = Vec::new();
    let mut number = 0;
    for (place, group) in attempts.groups.iter().enumerate() {
        let task = group.task;
        found.prompts.insert(task, group.prompt.clone());
        let mut any_right = false;
        for (index, completion) in group.completions.iter().enumerate() {
            let Some(reward) = attempts.scores.rewards[place][index] else { continue };
            let is_cut_off = recipe.algorithm.filters(completion.finish == Finish::Length);
            let is_right = recipe.algorithm.accepts(reward) && !is_cut_off;
            let forecasts = attempts.scores.forecasts.get(place);
            let score = forecasts.and_then(|forecasts| Some(forecasts[index].as_ref()?.pass));
            any_right |= is_right;
            found.visits.extend(turns(completion).into_iter().map(|(context, written)| Visit {
                task,
                attempt: number,
                context,
                written,
                ..Visit::default()
            }));
            if let Some(visit) = found.visits.last_mut() {
                (visit.is_last, visit.is_right, visit.score) = (true, is_right, score);
                visit.share = f64::from(u8::from(is_right));
            }
            number += 1;
            if !is_right {
                last.push((found.visits.len() - 1, (task, &completion.text)));
            }
        }
        let has_reference = environment.tasks[task].reference().is_some();
        if relabel == Relabel::Bootstrap && !any_right && has_reference {
            let (_, written, _) = solution(policy, environment, recipe, (0, task))?;
            let (is_right, is_reference) = (true, true);
            found.visits.push(Visit {
                task,
                attempt: number,
                written,
                is_right,
                is_reference,
                ..Visit::default()
            });
            number += 1;
        }
    }
    if relabel == Relabel::Hindsight {
        let written: Vec<(usize, &str)> = last.iter().map(|(_, written)| *written).collect();
        for ((visit, _), known) in last.iter().zip(hindsight(policy, environment, recipe, &written)?) {
            let visit = &mut found.visits[*visit];
            (visit.share, visit.hindsight) = (known.share, known.prompt);
        }
    }
    Ok(found)
}

/// For each turn of an attempt what is read behind the prompt before it, and what was written in it.
fn turns(completion: &Completion) -> Vec<(Vec<i64>, Vec<i64>)> {
    let (mut turns, mut context, mut from) = (Vec::new(), Vec::new(), 0);
    for said in &completion.interjections {
        let written = completion.tokens[from..said.after].to_vec();
        turns.push((context.clone(), written.clone()));
        context.extend(written);
        context.extend(&said.tokens);
        from = said.after;
    }
    turns.push((context, completion.tokens[from..].to_vec()));
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_reads_what_was_written_and_said_before_it() {
        let turn = |tokens: &[i64]| Completion { tokens: tokens.to_vec(), ..Completion::default() };
        let mut attempt = turn(&[1, 2]);
        assert_eq!(turns(&attempt), [(vec![], vec![1, 2])]);
        attempt.reply("no".to_owned(), vec![90]);
        let mut attempt = attempt.continued(turn(&[3]));
        attempt.reply("no".to_owned(), vec![91, 92]);
        let attempt = attempt.continued(turn(&[4, 5]));
        let wanted =
            [(vec![], vec![1, 2]), (vec![1, 2, 90], vec![3]), (vec![1, 2, 90, 3, 91, 92], vec![4, 5])];
        assert_eq!(turns(&attempt), wanted);
    }
}
