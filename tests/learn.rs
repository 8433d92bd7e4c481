//! Whether every preset learns: `make learn`. Minutes, so not part of `make test`, which has GRPO and PPO.
//!
//! The tiny model of `tiny.rs` knows nothing. Its tasks begin with a whole program and a comment sign, so that an attempt passes
//! unless it writes a line break or a null byte in 64 tokens: at first about one in two. A preset learns if it has nearly stopped
//! doing so after a budget of sampled tokens that is the same for all of them.

use std::fmt::Write as _;
use std::path::Path;

use rltrain::algorithm::Preset;
use serde_json::Value;

use crate::rltrain::expect;
use crate::tiny::{self, edit};

const SEEDS: [u64; 3] = [1, 2, 3];
const STEPS: usize = 24;
/// Sampled tokens after which a preset is judged, by the mean pass rate of the last steps up to there.
const BUDGET: f64 = 28_000.0;
const LAST: usize = 3;
/// Pass rate that each seed has to reach.
const WANTED: f64 = 0.85;

/// One line of the table: sections of a recipe and keys of its `[rollout]`.
struct Row {
    name: String,
    sections: String,
    rollout: &'static str,
    learning_rate: &'static str,
    /// Whether it makes no attempts, so that held-out tasks tell what it learnt.
    is_silent: bool,
    /// Whether it is expected to reach the wanted pass rate.
    is_judged: bool,
}

impl Row {
    fn of(preset: Preset) -> Row {
        let name = serde_json::to_string(&preset).unwrap();
        let critic = if preset == Preset::Ppo { "[critic.optimizer]\nlearning_rate = 1e-2\n" } else { "" };
        Row {
            name: name.replace('"', "`"),
            sections: format!("[algorithm]\npreset = {name}\n{critic}\n"),
            rollout: "",
            learning_rate: "1e-3",
            is_silent: preset == Preset::Sft,
            // Of these tasks the best attempts of a group tie, and it teaches by the lead of the best alone.
            is_judged: preset != Preset::PassAtK,
        }
    }

    fn more(name: &str, sections: &str, rollout: &'static str) -> Row {
        let (name, sections) = (name.to_owned(), sections.to_owned());
        Row { name, sections, rollout, learning_rate: "1e-3", is_silent: false, is_judged: true }
    }
}

/// Every preset, and what can be changed about the attempts that they learn from.
fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Preset::EVERY.map(Row::of).into();
    let grpo = "[algorithm]\npreset = \"grpo\"\n";
    let corrected = format!("{grpo}correction = \"token-tis\"\n");
    let several = format!("{corrected}epochs = 2\nmini_batches = 3\n");
    rows.push(Row::more("`grpo`, `staleness = 1`", grpo, "staleness = 1\n"));
    rows.push(Row::more("the same, `correction = \"token-tis\"`", &corrected, "staleness = 1\n"));
    // At 1e-3 six times as many steps overshoot on one seed of three.
    rows.push(Row {
        learning_rate: "3e-4",
        ..Row::more(
            "the same, six optimizer steps a rollout, learning rate 3e-4",
            &several,
            "staleness = 1\n",
        )
    });
    rows.push(Row::more(
        "`grpo`, curriculum, groups of 4 to 16",
        &format!("[tasks.curriculum]\n{grpo}"),
        "group_size_min = 4\ngroup_size_max = 16\n",
    ));
    rows
}

/// The pass rates of the steps within the budget.
fn curve(row: &Row, seed: u64) -> Vec<f64> {
    curve_in(row, seed, "f32")
}

/// The same with products in `compute`.
fn curve_in(row: &Row, seed: u64, compute: &str) -> Vec<f64> {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tiny::make(folder);
    edit(folder, "compute = \"f32\"\n", &format!("compute = \"{compute}\"\n"));
    edit(folder, "seed = 3\nsteps = 4\n", &format!("seed = {seed}\nsteps = {STEPS}\n"));
    edit(
        folder,
        "group_size = 6\nmax_tokens = 48\nmax_batch = 12\n",
        "group_size = 8\nmax_tokens = 64\nmax_batch = 24\n",
    );
    let (every, samples) = if row.is_silent { (1, 12) } else { (1000, 1) };
    edit(
        folder,
        "[eval]\nevery = 2\nsamples = 4\nk = [1, 4]\n",
        &format!("[eval]\nevery = {every}\nsamples = {samples}\nk = [1]\n"),
    );
    edit(folder, "[checkpoint]\nevery = 1\n", "[checkpoint]\nevery = 1000\n");
    edit(folder, "learning_rate = 1e-3\n", &format!("learning_rate = {}\n", row.learning_rate));
    edit(folder, "[rollout]\n", &format!("[rollout]\n{}", row.rollout));
    edit(folder, "[optimizer]\n", &format!("{}\n[optimizer]\n", row.sections));
    expect(folder, &["recipe.toml"], 0);
    if row.is_silent { held_out(folder) } else { within_budget(folder) }
}

/// pass@1 of the held-out tasks before each step, and after the last.
fn held_out(folder: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(folder.join("run/evaluations.json")).unwrap();
    let evaluations: Value = serde_json::from_str(&text).unwrap();
    let pass = |evaluation: &Value| evaluation["pass_at_k"][0]["mean"].as_f64().unwrap();
    evaluations["evaluations"].as_array().unwrap().iter().map(pass).collect()
}

fn within_budget(folder: &Path) -> Vec<f64> {
    let lines = std::fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap();
    let steps = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut tokens = 0.0;
    let mut rates = Vec::new();
    for step in steps {
        tokens += step["completions/tokens"].as_f64().unwrap();
        if tokens > BUDGET {
            break;
        }
        rates.push(step["exec/pass_rate"].as_f64().unwrap());
    }
    rates
}

fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / rates.len().max(1) as f64
}

/// One row over its seeds: a line of the table, and whether it learnt.
fn judge(row: &Row) -> (String, bool) {
    let curves: Vec<Vec<f64>> = SEEDS.iter().map(|seed| curve(row, *seed)).collect();
    let last: Vec<f64> =
        curves.iter().map(|rates| mean(&rates[rates.len().saturating_sub(LAST)..])).collect();
    let first = mean(&curves.iter().map(|rates| rates[0]).collect::<Vec<_>>());
    let longest = curves.iter().map(Vec::len).max().unwrap_or(0);
    let thin = sparkline(&curves);
    let name = &row.name;
    let seeds: Vec<String> = last.iter().map(|rate| format!("{rate:.2}")).collect();
    let mut line = String::new();
    write!(line, "| {name} | {first:.2} | {} | {longest} | {thin} |", seeds.join(", ")).unwrap();
    (line, last.iter().all(|rate| *rate >= WANTED))
}

#[test]
#[ignore = "minutes; `make learn` runs it"]
#[expect(clippy::print_stdout, reason = "the table is what `make learn` is for")]
fn every_preset_learns() {
    let mut idle = Vec::new();
    println!(
        "| preset | first step | last three steps of seeds 1, 2, 3 | steps | mean pass rate, step by step |"
    );
    println!("|---|---|---|---|---|");
    // RLTRAIN_LEARN=sft,staleness picks the rows with one of these texts in their names.
    let wanted = std::env::var("RLTRAIN_LEARN").unwrap_or_default();
    for row in rows().iter().filter(|row| wanted.split(',').any(|text| row.name.contains(text))) {
        let (line, learnt) = judge(row);
        println!("{line}");
        if !learnt && row.is_judged {
            idle.push(line);
        }
    }
    assert!(idle.is_empty(), "below a pass rate of {WANTED} on some seed:\n{}", idle.join("\n"));
}

/// Runs whose curves are compared.
const PAIRS: [u64; 6] = [1, 2, 3, 4, 5, 6];

/// Mean and standard deviation.
fn spread(numbers: &[f64]) -> (f64, f64) {
    let mean = mean(numbers);
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    (mean, (squares / (numbers.len() - 1) as f64).sqrt())
}

/// The mean pass rate of a run, which is the area under its curve. bf16 and f32 draw other tokens from the second on, so that runs of
/// one seed are as far apart as runs of two seeds: the means over seeds may differ by what that noise explains, two standard errors.
#[test]
#[ignore = "minutes; `make learn` runs it"]
#[expect(clippy::print_stdout, reason = "the table is what `make learn` is for")]
fn bf16_learns_as_f32_does() {
    let row = Row::of(Preset::Grpo);
    println!(
        "| compute | first step | mean pass rate of each seed's run | mean | last three steps | pass rate, step by step |"
    );
    println!("|---|---|---|---|---|---|");
    let measured = ["f32", "bf16"].map(|compute| {
        let curves: Vec<Vec<f64>> = PAIRS.iter().map(|seed| curve_in(&row, *seed, compute)).collect();
        let steps = curves.iter().map(Vec::len).min().unwrap_or(0);
        let areas: Vec<f64> = curves.iter().map(|rates| mean(&rates[..steps])).collect();
        let last = mean(&curves.iter().map(|rates| mean(&rates[rates.len() - LAST..])).collect::<Vec<_>>());
        let first = mean(&curves.iter().map(|rates| rates[0]).collect::<Vec<_>>());
        let (area, deviation) = spread(&areas);
        let seeds: Vec<String> = areas.iter().map(|area| format!("{area:.2}")).collect();
        println!(
            "| {compute} | {first:.2} | {} | {area:.3} ± {deviation:.3} | {last:.2} | {} |",
            seeds.join(", "),
            sparkline(&curves)
        );
        (area, deviation, last)
    });
    let [(full, of_full, _), (half, of_half, last)] = measured;
    let noise = ((of_full.powi(2) + of_half.powi(2)) / PAIRS.len() as f64).sqrt();
    println!("bf16 - f32 = {:+.3}, standard error {noise:.3}", half - full);
    assert!((half - full).abs() <= 2.0 * noise, "the curves differ by more than noise");
    assert!(last >= WANTED, "bf16 ends at {last}");
}

/// One bar a step, of the mean over the runs that got so far.
fn sparkline(curves: &[Vec<f64>]) -> String {
    let longest = curves.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest)
        .map(|step| {
            let at: Vec<f64> = curves.iter().filter_map(|rates| rates.get(step).copied()).collect();
            ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'][((mean(&at) * 8.0) as usize).min(7)]
        })
        .collect()
}

#[test]
fn grpo_and_ppo_learn() {
    for preset in [Preset::Grpo, Preset::Ppo] {
        let rates = curve(&Row::of(preset), SEEDS[0]);
        let last = mean(&rates[rates.len().saturating_sub(LAST)..]);
        assert!(last >= WANTED, "{preset:?} ends at {last}: {rates:?}");
    }
}
