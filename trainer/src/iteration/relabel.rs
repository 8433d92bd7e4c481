//! States and targets: which program each visited state should have had. Pure functions of what was gathered.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use super::config::{IterationConfig, Relabel};
use super::dataset::{Dataset, Visit};

/// A state with its target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Example {
    /// Token ids of the prompt.
    pub prompt: Vec<i64>,
    /// Token ids behind it that are read and not learnt.
    pub context: Vec<i64>,
    /// Token ids of the program that is learnt.
    pub target: Vec<i64>,
}

/// What is learnt from a data set, and from how many of its tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Relabelled {
    /// Task after task, in the order of their places; of equal ones the first alone.
    pub examples: Vec<Example>,
    /// Tasks that any of them is of.
    pub tasks: usize,
}

/// The examples that `config` makes of `dataset`.
///
/// ```text
/// own        (s, y)      for every right y, in the state s where it was written
/// expert     (s, y*(x))  for every state s of an attempt at x;  y*(x) = argmax_y  b_R R(y) + b_S S(y)
/// bootstrap  own, and (x, reference) for tasks x without a right y
/// hindsight  own, and (x', y) for wrong y that run;  x' is x with what y gives as its examples
/// ```
///
/// `R` is 1 for a right program, `S` what the verifier said of it; `y` of `expert` are programs that the hidden tests have judged, the
/// first of equal ones is the best, and a task without a right program has no examples. (muCode's release takes `100 R + S`, and gives
/// the states of a right attempt its own last program.)
pub fn relabelled(config: &IterationConfig, dataset: &Dataset) -> Relabelled {
    let mut of_task: BTreeMap<usize, Vec<&Visit>> = BTreeMap::new();
    dataset.visits.iter().for_each(|visit| of_task.entry(visit.task).or_default().push(visit));
    let mut relabelled = Relabelled::default();
    for (task, visits) in of_task {
        let Some(prompt) = dataset.prompts.get(&task) else { continue };
        let ranked = match config.relabel {
            Relabel::Own => chosen(own(prompt, &visits, false), config),
            Relabel::Expert => expert(config, prompt, &visits),
            Relabel::Bootstrap => {
                let right = own(prompt, &visits, false);
                without_shares(if right.is_empty() { own(prompt, &visits, true) } else { right })
            }
            Relabel::Hindsight => {
                let wrong = visits.iter().filter(|visit| !visit.is_right);
                let solved = wrong.filter_map(|visit| {
                    let prompt = visit.hindsight.clone()?;
                    let target = visit.written.clone();
                    Some((visit.share, Example { prompt, context: Vec::new(), target }))
                });
                chosen(own(prompt, &visits, false).into_iter().chain(solved).collect(), config)
            }
        };
        relabelled.tasks += usize::from(!ranked.is_empty());
        relabelled.examples.extend(ranked);
    }
    relabelled
}

/// Examples with their programs' shares of the public tests.
type Ranked = Vec<(f64, Example)>;

fn without_shares(ranked: Ranked) -> Vec<Example> {
    distinct(ranked.into_iter().map(|(_, example)| example))
}

/// Right programs where they were written: those of attempts, or the reference.
fn own(prompt: &[i64], visits: &[&Visit], reference: bool) -> Ranked {
    let right = visits.iter().filter(|visit| visit.is_right && visit.is_reference == reference);
    right.map(|visit| (visit.share, example(prompt, visit, &visit.written))).collect()
}

fn example(prompt: &[i64], visit: &Visit, target: &[i64]) -> Example {
    Example { prompt: prompt.to_vec(), context: visit.context.clone(), target: target.to_vec() }
}

/// The best program in every state.
fn expert(config: &IterationConfig, prompt: &[i64], visits: &[&Visit]) -> Vec<Example> {
    let attempted = || visits.iter().filter(|visit| !visit.is_reference);
    if !attempted().any(|visit| visit.is_right) {
        return Vec::new();
    }
    let value = |visit: &Visit| {
        let right = if visit.is_right { config.reward_weight } else { 0.0 };
        right + config.score_weight * visit.score.unwrap_or(0.0)
    };
    let judged = attempted().filter(|visit| visit.is_last);
    let best = judged.reduce(|best, next| if value(next) > value(best) { next } else { best });
    let Some(best) = best else { return Vec::new() };
    let right: BTreeSet<u64> =
        attempted().filter(|visit| visit.is_right).map(|visit| visit.attempt).collect();
    let wrong = attempted().map(|visit| visit.attempt).filter(|attempt| !right.contains(attempt));
    let mut wrong: Vec<u64> = wrong.collect();
    wrong.dedup();
    wrong.truncate(config.most_failures.map_or(usize::MAX, NonZeroUsize::get));
    let states = attempted().filter(|visit| right.contains(&visit.attempt) || wrong.contains(&visit.attempt));
    distinct(states.map(|visit| example(prompt, visit, &best.written)))
}

/// At most as many as `config` wants: one half those of the largest shares, one half those of the smallest, each half in the order of
/// shares and of equal ones the first. An odd one is of the first half.
fn chosen(ranked: Ranked, config: &IterationConfig) -> Vec<Example> {
    let mut seen = BTreeSet::new();
    let mut ranked: Ranked = ranked.into_iter().filter(|(_, example)| seen.insert(example.clone())).collect();
    let most = config.most_per_task.map_or(usize::MAX, NonZeroUsize::get);
    if ranked.len() > most {
        ranked.sort_by(|one, other| other.0.total_cmp(&one.0));
        let (best, worst) = (most.div_ceil(2), most / 2);
        ranked.drain(best..ranked.len() - worst);
    }
    ranked.into_iter().map(|(_, example)| example).collect()
}

/// Of equal examples the first.
fn distinct(examples: impl Iterator<Item = Example>) -> Vec<Example> {
    let mut seen = BTreeSet::new();
    examples.filter(|example| seen.insert(example.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::dataset::Found;
    use super::*;

    /// The turns of an attempt at task 7, by what each wrote; the last is right or not, with a score.
    fn attempt(number: u64, written: &[i64], is_right: bool, score: Option<f64>) -> Vec<Visit> {
        let turn = |turn: usize| {
            let is_last = turn + 1 == written.len();
            let context = written[..turn].iter().flat_map(|program| [*program, -1]).collect();
            let share = if is_last && is_right { 1.0 } else { 0.25 };
            Visit {
                task: 7,
                attempt: number,
                context,
                written: vec![written[turn]],
                is_last,
                is_right: is_last && is_right,
                score: score.filter(|_| is_last),
                share,
                ..Visit::default()
            }
        };
        (0..written.len()).map(turn).collect()
    }

    fn dataset(attempts: &[Vec<Visit>]) -> Dataset {
        let mut dataset = Dataset::default();
        dataset.add(&Found { prompts: [(7, vec![70])].into(), visits: attempts.concat() });
        dataset
    }

    fn pairs(config: IterationConfig, attempts: &[Vec<Visit>]) -> Vec<(Vec<i64>, i64)> {
        let relabelled = relabelled(&config, &dataset(attempts));
        let of = |example: &Example| {
            assert_eq!((example.prompt.len(), example.target.len()), (1, 1));
            ([&example.prompt[1..], &example.context[..]].concat(), example.target[0])
        };
        relabelled.examples.iter().map(of).collect()
    }

    fn with(relabel: Relabel) -> IterationConfig {
        IterationConfig { relabel, ..IterationConfig::default() }
    }

    #[test]
    fn right_programs_are_learnt_where_they_were_written() {
        let attempts = [attempt(0, &[1, 2], true, None), attempt(1, &[3], false, None)];
        assert_eq!(pairs(with(Relabel::Own), &attempts), [(vec![1, -1], 2)]);
    }

    /// muCode: every state that was visited gets the best program found for the task, the failed attempt's states too.
    #[test]
    fn every_state_gets_the_best_program() {
        let attempts = [
            attempt(0, &[1, 2], true, Some(0.3)),
            attempt(1, &[3, 4], false, Some(0.9)),
            attempt(2, &[5], true, Some(0.8)),
        ];
        let pairs_of = |config| pairs(config, &attempts);
        let wanted = [(vec![], 5), (vec![1, -1], 5), (vec![3, -1], 5)];
        // The first states of all attempts are the prompt, with one target.
        assert_eq!(pairs_of(with(Relabel::Expert)), wanted);
        assert!(pairs(with(Relabel::Expert), &attempts[1..2]).is_empty(), "no right program, no example");
    }

    /// Trap 6: the paper's weights are 1 and 0.1, the release's are lexicographic. With other weights the verifier can win.
    #[test]
    fn trap_6_the_expert_is_the_best_by_the_weights_of_the_recipe() {
        let attempts = [attempt(0, &[1], true, Some(0.1)), attempt(1, &[2], false, Some(0.95))];
        let best = |reward_weight, score_weight| {
            let config = IterationConfig { reward_weight, score_weight, ..with(Relabel::Expert) };
            pairs(config, &attempts)[0].1
        };
        assert_eq!(best(1.0, 0.1), 1);
        assert_eq!(best(100.0, 1.0), 1);
        assert_eq!(best(0.5, 1.0), 2);
    }

    #[test]
    fn no_more_failures_than_wanted_are_relabelled() {
        let attempts: Vec<_> = (0..6).map(|n| attempt(n, &[10 + n as i64, 20], n == 5, None)).collect();
        let most_failures = NonZeroUsize::new(3);
        let config = IterationConfig { most_failures, ..with(Relabel::Expert) };
        let states: Vec<_> = pairs(config, &attempts).into_iter().map(|(state, _)| state).collect();
        assert_eq!(states, [vec![], vec![10, -1], vec![11, -1], vec![12, -1], vec![15, -1]]);
    }

    /// Dr. Boot: repairs are examples of repair, and the reference stands in where nothing is right.
    #[test]
    fn the_reference_stands_in_for_a_task_that_nobody_solves() {
        let reference = Visit {
            task: 7,
            attempt: 9,
            written: vec![99],
            is_right: true,
            is_reference: true,
            ..Visit::default()
        };
        let failed = attempt(0, &[1, 2], false, None);
        let config = with(Relabel::Bootstrap);
        assert_eq!(pairs(config, &[failed.clone(), vec![reference.clone()]]), [(vec![], 99)]);
        let repaired = attempt(1, &[3, 4], true, None);
        assert_eq!(pairs(config, &[failed, vec![reference], repaired]), [(vec![3, -1], 4)]);
    }

    /// SOAR: a wrong program is right for the task whose examples are what it gives.
    #[test]
    fn a_wrong_program_solves_another_task() {
        let mut wrong = attempt(0, &[1], false, None);
        wrong[0].hindsight = Some(vec![71]);
        let dataset = dataset(&[wrong, attempt(1, &[2], true, None), attempt(2, &[3], false, None)]);
        let examples = relabelled(&with(Relabel::Hindsight), &dataset).examples;
        let wanted = [(70, 2), (71, 1)];
        let of = |example: &Example| (example.prompt[0], example.target[0]);
        assert_eq!(examples.iter().map(of).collect::<Vec<_>>(), wanted);
    }

    /// Trap 7: in SOAR's release the half that is to be diverse comes out empty.
    #[test]
    fn trap_7_half_of_the_examples_are_of_the_worst_programs() {
        let attempts = (0..10).map(|n| {
            let mut visits = attempt(n, &[n as i64], false, None);
            visits[0].share = n as f64 / 10.0;
            visits[0].hindsight = Some(vec![100 + n as i64]);
            visits
        });
        let attempts: Vec<_> = attempts.collect();
        let most_per_task = NonZeroUsize::new(4);
        let config = IterationConfig { most_per_task, ..with(Relabel::Hindsight) };
        let targets: Vec<i64> = pairs(config, &attempts).into_iter().map(|(_, target)| target).collect();
        assert_eq!(targets, [9, 8, 1, 0]);
    }

    #[test]
    fn equal_examples_count_once_and_attempts_are_numbered_over_steps() {
        let mut dataset = dataset(&[attempt(0, &[1], true, None), attempt(1, &[1], true, None)]);
        assert_eq!(relabelled(&with(Relabel::Own), &dataset).examples.len(), 1);
        dataset.add(&Found { prompts: [(7, vec![70])].into(), visits: attempt(0, &[2], true, None) });
        assert_eq!(dataset.visits.last().unwrap().attempt, 2);
        dataset.clear();
        dataset.add(&Found { prompts: [(7, vec![70])].into(), visits: attempt(0, &[2], true, None) });
        assert_eq!((dataset.visits.len(), dataset.visits[0].attempt), (1, 3));
    }
}
