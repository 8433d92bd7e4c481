//! Which of the programs that a search has written are its answers.

use rltrain_executor::{Pending, Verdict};

use super::PublicRuns;
use super::config::Choice;
use super::explore::{Explorer, Studio};
use super::proposal::Ask;
use super::selectors::{by_consistency, candidates, clusters, next_question, weighted_vote};
use crate::error::TrainError;
use crate::rollout::Request;
use crate::tasks::{Probe, Task, output, probes};

/// The places of the answers of each explorer, the best first: as many as the recipe wants, or all programs where there are fewer.
///
/// # Errors
///
/// If the sandbox loses too many programs, or the model or the device fails.
pub(super) fn choose(
    studio: &Studio<'_>,
    explorers: &mut [Explorer<'_>],
) -> Result<Vec<Vec<usize>>, TrainError> {
    let mut orders: Vec<Vec<usize>> = explorers.iter().map(ranked).collect();
    if studio.config.choose != Choice::Tests {
        let compared = compare(studio, explorers, &orders)?;
        let firsts = match studio.config.choose {
            Choice::Elimination => eliminate(studio, explorers, &compared)?,
            _ => vec![None; explorers.len()],
        };
        for (place, (explorer, first)) in explorers.iter().zip(firsts).enumerate() {
            orders[place] = compared[place].in_order(studio.config.choose, explorer, first, &orders[place]);
        }
    }
    orders.iter_mut().for_each(|order| order.truncate(studio.config.answers.get()));
    Ok(orders)
}

/// A search's programs, the best first by its own rank; of equal ones the first.
fn ranked(explorer: &Explorer<'_>) -> Vec<usize> {
    let so_far = explorer.so_far();
    let mut ranked: Vec<(usize, [f64; 3])> =
        so_far.programs().map(|place| (place, explorer.search.rank(&so_far, place))).collect();
    let falling = |one: &[f64; 3], other: &[f64; 3]| {
        let pairs = one.iter().zip(other);
        pairs
            .map(|(one, other)| other.total_cmp(one))
            .find(|order| order.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    };
    ranked.sort_by(|(_, one), (_, other)| falling(one, other));
    ranked.into_iter().map(|(place, _)| place).collect()
}

/// Programs of one task, and what they give for the same inputs.
struct Compared {
    probes: Vec<Probe>,
    /// The places of those that the sandbox did not lose, the best first.
    places: Vec<usize>,
    /// What each of them gives.
    outputs: Vec<Vec<String>>,
    clusters: Vec<usize>,
}

/// Runs every program on inputs that can be compared.
fn compare(
    studio: &Studio<'_>,
    explorers: &[Explorer<'_>],
    orders: &[Vec<usize>],
) -> Result<Vec<Compared>, TrainError> {
    let config = studio.config;
    // All are under way before the first is waited for.
    let run = |(explorer, order): (&Explorer<'_>, &Vec<usize>)| {
        let probes = probes(explorer.task, config.inputs, config.most_inputs.get());
        let tests = || probes.iter().map(|probe| probe.test.clone()).collect::<Vec<_>>();
        let run = |place: &usize| {
            let program = &explorer.nodes[*place].program;
            let pending = (!probes.is_empty()).then(|| studio.executions.run(program, tests()));
            (*place, pending)
        };
        let under_way: Vec<(usize, Option<Pending>)> = order.iter().map(run).collect();
        (probes, under_way)
    };
    let under_way: Vec<_> = explorers.iter().zip(orders).map(run).collect();
    let mut runs = PublicRuns::default();
    let compared = under_way.into_iter().map(|(probes, programs)| {
        let (mut places, mut outputs) = (Vec::new(), Vec::new());
        for (place, pending) in programs {
            let given = |verdict: Verdict| verdict.tests.iter().map(output).collect();
            // Without an input to compare them on, all are alike.
            let given = pending.map_or(Some(Vec::new()), |pending| runs.one(pending).map(given));
            if let Some(given) = given {
                places.push(place);
                outputs.push(given);
            }
        }
        let clusters = clusters(&outputs);
        Compared { probes, places, outputs, clusters }
    });
    let compared = compared.collect();
    runs.within_budget()?;
    Ok(compared)
}

impl Compared {
    /// All programs of the task: one of each cluster, the best cluster first, then the others of `ranked` as they are. `first` is a
    /// cluster that comes before all.
    fn in_order(
        &self,
        choice: Choice,
        explorer: &Explorer<'_>,
        first: Option<usize>,
        ranked: &[usize],
    ) -> Vec<usize> {
        let nodes = || self.places.iter().map(|place| &explorer.nodes[*place]);
        let passed = nodes().map(|node| node.verdict.as_ref().map_or(0.0, |verdict| verdict.passed() as f64));
        let shares: Vec<f64> = nodes().map(|node| node.share()).collect();
        let mut clusters = match choice {
            Choice::Clusters => by_consistency(&passed.collect::<Vec<_>>(), &self.clusters),
            _ => weighted_vote(&shares, &self.clusters),
        };
        clusters.sort_by_key(|cluster| Some(*cluster) != first);
        let best =
            |cluster: usize| self.clusters.iter().position(|of| *of == cluster).map(|at| self.places[at]);
        let mut order: Vec<usize> = clusters.into_iter().filter_map(best).collect();
        let rest: Vec<usize> = ranked.iter().copied().filter(|place| !order.contains(place)).collect();
        order.extend(rest);
        order
    }

    /// One program of each cluster among those that pass as many public tests as any.
    fn hypotheses(&self, explorer: &Explorer<'_>) -> Vec<usize> {
        let share = |at: usize| explorer.nodes[self.places[at]].share();
        let most = (0..self.places.len()).map(share).fold(0.0, f64::max);
        let mut seen = Vec::new();
        let is_new = |at: &usize| {
            let is_new = share(*at) == most && !seen.contains(&self.clusters[*at]);
            seen.push(self.clusters[*at]);
            is_new
        };
        (0..self.places.len()).filter(is_new).collect()
    }
}

/// A question under way.
struct Asked {
    explorer: usize,
    input: usize,
    outputs: Vec<String>,
}

/// The cluster of each task that is left when the model has answered questions about inputs; `None` without programs.
fn eliminate(
    studio: &Studio<'_>,
    explorers: &mut [Explorer<'_>],
    compared: &[Compared],
) -> Result<Vec<Option<usize>>, TrainError> {
    let mut alive: Vec<Vec<usize>> =
        compared.iter().zip(&*explorers).map(|(compared, explorer)| compared.hypotheses(explorer)).collect();
    for question in 0..studio.config.questions.get() {
        let (mut asked, mut requests) = (Vec::new(), Vec::new());
        for (place, (compared, explorer)) in compared.iter().zip(&*explorers).enumerate() {
            let hypotheses: Vec<&[String]> =
                alive[place].iter().map(|at| &compared.outputs[*at][..]).collect();
            let Some(input) = next_question(&hypotheses) else { continue };
            let outputs: Vec<&str> =
                candidates(&hypotheses, input).into_iter().map(|(output, _)| output).collect();
            let prompt = ask(studio, explorer.task, &compared.probes[input], &outputs)?;
            let first_sample = explorer.nodes.len() + question;
            requests.push(Request {
                prompt,
                samples: 1,
                task: place as u64,
                first_sample,
                ..Request::default()
            });
            let outputs = outputs.into_iter().map(str::to_owned).collect();
            asked.push(Asked { explorer: place, input, outputs });
        }
        if asked.is_empty() {
            break;
        }
        for (Asked { explorer, input, outputs }, (text, tokens)) in
            asked.into_iter().zip(studio.answers(requests)?)
        {
            explorers[explorer].tokens += tokens;
            // Whoever does not say a number of the list says nothing.
            let right = first_number(&text).and_then(|number| outputs.get(number.checked_sub(1)?));
            if let Some(right) = right {
                let given = &compared[explorer].outputs;
                alive[explorer].retain(|at| given[*at][input] == *right);
            }
        }
    }
    let left = alive.iter().zip(compared).zip(explorers).map(|((alive, compared), explorer)| {
        // Several are left where an answer was none or questions were too few: then the vote decides among them.
        let order = compared.in_order(Choice::Vote, explorer, None, &[]);
        let of_place = |place: usize| compared.places.iter().position(|other| *other == place);
        let mut order = order.into_iter().filter_map(of_place).map(|at| compared.clusters[at]);
        order.find(|cluster| alive.iter().any(|at| compared.clusters[*at] == *cluster))
    });
    Ok(left.collect())
}

fn ask(studio: &Studio<'_>, task: &Task, probe: &Probe, outputs: &[&str]) -> Result<Vec<i64>, TrainError> {
    Ok(studio.speaker.question(task, &probe.input, outputs)?)
}

/// Tokens that questions may take.
pub(super) fn kept_back(studio: &Studio<'_>) -> usize {
    match studio.config.choose {
        Choice::Elimination => studio.config.questions.get() * studio.longest(Ask::Critique),
        _ => 0,
    }
}

/// The first whole number of a text.
fn first_number(text: &str) -> Option<usize> {
    let mut digits = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    digits.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_begins_with_its_first_number() {
        assert_eq!(first_number("It is 12, not 3."), Some(12));
        assert_eq!(first_number("none"), None);
        assert_eq!(first_number("99999999999999999999999"), None);
    }
}
