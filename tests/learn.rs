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

/// The pass rates of the steps within the budget.
fn curve(preset: Preset, seed: u64) -> Vec<f64> {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tiny::make(folder);
    edit(folder, "seed = 3\nsteps = 4\n", &format!("seed = {seed}\nsteps = {STEPS}\n"));
    edit(
        folder,
        "group_size = 6\nmax_tokens = 48\nmax_batch = 12\n",
        "group_size = 8\nmax_tokens = 64\nmax_batch = 24\n",
    );
    edit(
        folder,
        "[eval]\nevery = 2\nsamples = 4\nk = [1, 4]\n",
        "[eval]\nevery = 1000\nsamples = 1\nk = [1]\n",
    );
    edit(folder, "[checkpoint]\nevery = 1\n", "[checkpoint]\nevery = 1000\n");
    let critic = if preset == Preset::Ppo { "[critic.optimizer]\nlearning_rate = 1e-2\n" } else { "" };
    let name = serde_json::to_string(&preset).unwrap();
    edit(folder, "[optimizer]\n", &format!("[algorithm]\npreset = {name}\n{critic}\n[optimizer]\n"));
    expect(folder, &["recipe.toml"], 0);
    within_budget(folder)
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

/// One preset over its seeds: a line of the table, and whether it learnt.
fn judge(preset: Preset) -> (String, bool) {
    let curves: Vec<Vec<f64>> = SEEDS.iter().map(|seed| curve(preset, *seed)).collect();
    let last: Vec<f64> =
        curves.iter().map(|rates| mean(&rates[rates.len().saturating_sub(LAST)..])).collect();
    let first = mean(&curves.iter().map(|rates| rates[0]).collect::<Vec<_>>());
    let longest = curves.iter().map(Vec::len).max().unwrap_or(0);
    let thin: String = (0..longest)
        .map(|step| {
            let at: Vec<f64> = curves.iter().filter_map(|rates| rates.get(step).copied()).collect();
            ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'][((mean(&at) * 8.0) as usize).min(7)]
        })
        .collect();
    let name = serde_json::to_string(&preset).unwrap().replace('"', "`");
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
    for preset in Preset::EVERY {
        let (line, learnt) = judge(preset);
        println!("{line}");
        // Of these tasks the best attempts of a group tie, and it teaches by the lead of the best alone.
        if !learnt && preset != Preset::PassAtK {
            idle.push(line);
        }
    }
    assert!(idle.is_empty(), "below a pass rate of {WANTED} on some seed:\n{}", idle.join("\n"));
}

#[test]
fn grpo_and_ppo_learn() {
    for preset in [Preset::Grpo, Preset::Ppo] {
        let rates = curve(preset, SEEDS[0]);
        let last = mean(&rates[rates.len().saturating_sub(LAST)..]);
        assert!(last >= WANTED, "{preset:?} ends at {last}: {rates:?}");
    }
}
