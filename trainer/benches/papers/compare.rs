//! What came of a row's runs, side by side at the same number of sampled tokens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use rltrain::eval::pass_at_k;
use rltrain::rng::{Stream, uniform};
use serde_json::Value;

use super::Failure;
use super::report::Section;
use super::rows::{Contrast, Measure, Row, SEEDS, Variant};
use super::runs;

/// Resamples of seeds and tasks.
const RESAMPLES: u64 = 4000;

/// One run.
struct Run {
    /// Tokens sampled up to each step.
    tokens: BTreeMap<u64, f64>,
    evaluations: Vec<Value>,
    metrics: Vec<Value>,
    sampled: f64,
}

impl Run {
    fn read(folder: &Path, variant: &Variant) -> Result<Run, Failure> {
        let (evaluations, metrics) = (runs::evaluations(folder)?, runs::metrics(folder)?);
        let mut tokens = BTreeMap::from([(0, 0.0)]);
        let mut sum = 0.0;
        for (line, step) in metrics.iter().zip(1..) {
            sum += variant.sampled * line["completions/tokens"].as_f64().unwrap_or(0.0);
            tokens.insert(step, sum);
        }
        Ok(Run { tokens, evaluations, metrics, sampled: sum })
    }

    /// The last evaluation within a budget. What samples nothing has its last one.
    fn within(&self, budget: f64) -> Option<&Value> {
        let spent = |one: &&Value| {
            let step = one["step"].as_u64().unwrap_or(0);
            self.tokens.range(..=step).next_back().map_or(0.0, |(_, tokens)| *tokens)
        };
        self.evaluations.iter().rev().find(|one| spent(one) <= budget + 0.5)
    }

    /// pass@k of each task within a budget.
    fn scores(&self, k: usize, budget: f64) -> Vec<f64> {
        let tasks = self.within(budget).and_then(|one| one["tasks"].as_array()).cloned().unwrap_or_default();
        let number = |task: &Value, key: &str| task[key].as_u64().unwrap_or(0) as usize;
        tasks.iter().map(|task| pass_at_k(number(task, "samples"), number(task, "correct"), k)).collect()
    }

    /// What the verifier's choice comes to within a budget.
    fn ranked(&self, budget: f64) -> f64 {
        self.within(budget).and_then(|one| one["selection"]["ranked"].as_f64()).unwrap_or(f64::NAN)
    }

    /// Mean of a metric over a share of the steps within a budget.
    fn metric(&self, name: &str, from: f64, to: f64, budget: f64) -> f64 {
        let steps =
            self.tokens.iter().filter(|(step, tokens)| **step > 0 && **tokens <= budget + 0.5).count();
        let at = |share: f64| (share * steps as f64).round() as usize;
        let lines = &self.metrics[at(from).min(self.metrics.len())..at(to).min(self.metrics.len())];
        mean(&lines.iter().filter_map(|line| line[name].as_f64()).collect::<Vec<_>>())
    }
}

fn mean(numbers: &[f64]) -> f64 {
    if numbers.is_empty() { f64::NAN } else { numbers.iter().sum::<f64>() / numbers.len() as f64 }
}

/// What is known of a difference.
struct Difference {
    mean: f64,
    low: f64,
    high: f64,
}

impl Difference {
    fn verdict(&self) -> &'static str {
        if self.low > 0.0 {
            "reproduced"
        } else if self.high < 0.0 {
            "not reproduced"
        } else {
            "undecided at this scale"
        }
    }
}

/// The section of a row whose runs are all done.
pub(crate) fn section(row: &Row, folder: &Path) -> Result<Section, Failure> {
    let mut runs: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
    for variant in &row.variants {
        for seed in SEEDS {
            let name = format!("{}-{}-{seed}", row.id, variant.name);
            runs.entry(variant.name).or_default().push(Run::read(&folder.join("runs").join(name), variant)?);
        }
    }
    let warm = row.world.warm_score(folder)?;
    let sampling = runs.values().flatten().map(|run| run.sampled).filter(|sampled| *sampled > 0.0);
    let budget = sampling.fold(f64::INFINITY, f64::min);
    let mut text = format!(
        "{}\n\n| recipe | pass@1, seeds {} | pass@1 | pass@4 | programs that parse, first and last quarter | entropy, likewise | mean length, last quarter |\n|---|---|---:|---:|---|---|---:|\n",
        row.caveat,
        SEEDS.map(|seed| seed.to_string()).join(", "),
    );
    for variant in &row.variants {
        let of = &runs[variant.name];
        let each: Vec<f64> = of.iter().map(|run| mean(&run.scores(1, budget))).collect();
        let fourth: Vec<f64> = of.iter().map(|run| mean(&run.scores(4, budget))).collect();
        let metric = |name: &str, from: f64, to: f64| {
            let of_runs: Vec<f64> = of.iter().map(|run| run.metric(name, from, to, budget)).collect();
            let found = mean(&of_runs);
            if found.is_nan() { "-".to_owned() } else { format!("{found:.2}") }
        };
        let shown: Vec<String> = each.iter().map(|score| format!("{score:.3}")).collect();
        writeln!(
            text,
            "| {} | {} | {:.3} | {:.3} | {}, {} | {}, {} | {} |",
            variant.what,
            shown.join(", "),
            mean(&each),
            mean(&fourth),
            metric("exec/loaded", 0.0, 0.25),
            metric("exec/loaded", 0.75, 1.0),
            metric("entropy", 0.0, 0.25),
            metric("entropy", 0.75, 1.0),
            metric("completions/mean_length", 0.75, 1.0),
        )?;
    }
    text.push('\n');
    let mut first = None;
    for contrast in &row.contrasts {
        let found = difference(contrast, &runs, budget);
        let what = |name: &str| row.variants.iter().find(|one| one.name == name).map_or("?", |one| one.what);
        writeln!(
            text,
            "- {} of “{}” less that of “{}”: {:+.3}, 95 % interval {:+.3} to {:+.3}: {}.",
            measured(contrast.by),
            what(contrast.more),
            what(contrast.less),
            found.mean,
            found.low,
            found.high,
            found.verdict()
        )?;
        first.get_or_insert(found);
    }
    let first = first.ok_or("a row compares something")?;
    writeln!(
        text,
        "\nBudget: {} sampled tokens a run, greedy attempts included; {} steps of 16 tasks. The warm model of this world has pass@1 {warm:.3}.",
        if budget.is_finite() { format!("{budget:.0}") } else { "no".to_owned() },
        row.steps
    )?;
    Ok(Section {
        title: row.title.to_owned(),
        claim: row.claim.to_owned(),
        measured: format!(
            "{} {:+.3} ({:+.3} to {:+.3})",
            measured(row.contrasts[0].by),
            first.mean,
            first.low,
            first.high
        ),
        verdict: first.verdict().to_owned(),
        text,
    })
}

fn measured(by: Measure) -> String {
    match by {
        Measure::PassAt(k) => format!("pass@{k}"),
        Measure::Ranked => "ranked pass@1".to_owned(),
        Measure::Metric(name, from, to) => {
            format!("`{name}`, {:.0} to {:.0} % of the steps,", 100.0 * from, 100.0 * to)
        }
    }
}

/// `more` minus `less`, with an interval over seeds and, of pass@k, tasks, both drawn again with replacement.
fn difference(contrast: &Contrast, runs: &BTreeMap<&str, Vec<Run>>, budget: f64) -> Difference {
    // Of each seed, what differs in each task; of a metric, one number.
    let differences: Vec<Vec<f64>> = runs[contrast.less]
        .iter()
        .zip(&runs[contrast.more])
        .map(|(less, more)| match contrast.by {
            Measure::PassAt(k) => {
                let (less, more) = (less.scores(k, budget), more.scores(k, budget));
                less.iter().zip(&more).map(|(less, more)| more - less).collect()
            }
            Measure::Ranked => vec![more.ranked(budget) - less.ranked(budget)],
            Measure::Metric(name, from, to) => {
                vec![more.metric(name, from, to, budget) - less.metric(name, from, to, budget)]
            }
        })
        .collect();
    let tasks = differences.iter().map(Vec::len).min().unwrap_or(0);
    let mut resampled: Vec<f64> = (0..RESAMPLES)
        .map(|draw| {
            let below = |counter: u64, place: u64, bound: usize| {
                (uniform(1, Stream::Bootstrap, &[draw, counter, place]) * bound as f64) as usize
            };
            let seeds: Vec<usize> =
                (0..differences.len() as u64).map(|place| below(0, place, differences.len())).collect();
            let sum: f64 = (0..tasks as u64)
                .map(|place| {
                    let task = below(1, place, tasks);
                    seeds.iter().map(|seed| differences[*seed][task]).sum::<f64>()
                })
                .sum();
            sum / (tasks * seeds.len()) as f64
        })
        .collect();
    resampled.sort_by(f64::total_cmp);
    let at = |share: f64| resampled[((resampled.len() - 1) as f64 * share).round() as usize];
    let all: Vec<f64> = differences.iter().map(|of_seed| mean(of_seed)).collect();
    Difference { mean: mean(&all), low: at(0.025), high: at(0.975) }
}
