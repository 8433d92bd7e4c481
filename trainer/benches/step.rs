//! Whole GRPO steps beside TRL's: sampling, execution, reference, update. `make bench-step` runs it.
//!
//! Eight tasks, eight completions of 128 tokens each, executed with their hidden tests, one optimizer step with a KL term. Ours
//! is the program itself, started anew for every round of a few steps, of which the last counts; TRL's trainer takes one step in
//! between, with a file and a Python process per completion, as its users do it, two at a time. Random models write no Python, so
//! nearly all programs end with a syntax error on both sides: the cheapest execution there is, for both. Each side words
//! the tasks its own way, so prompts differ by some tokens.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use rltrain::policy::Compute;
use serde_json::{Value, json};

use support::models::{compute, models, rounds};
use support::peer::{Peer, Setting};
use support::{Failure, THREADS, machine, median, root};

/// Rounds of each side; `RLTRAIN_BENCH_ROUNDS` asks for another number.
const ROUNDS: usize = 3;

/// Steps of our side in a round: the last one counts, when memory is in place, as the peer's is.
const STEPS: usize = 3;

fn main() -> Result<(), Failure> {
    let (compute, rounds) = (compute(), rounds(ROUNDS)?);
    println!("{}", machine());
    println!(
        "8 tasks, 8 completions of 128 tokens each, {THREADS} threads, {rounds} rounds in turns, medians of seconds a step"
    );
    println!(
        "| model | dtype | ours: step | rollout | waiting for verdicts | update | stock | same MKL path | to stock | to same path |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (name, folder) in models(&root()) {
        report(&name, &folder, compute, rounds)?;
    }
    println!("load afterwards: {}", machine());
    Ok(())
}

fn report(name: &str, folder: &Path, compute: Compute, rounds: usize) -> Result<(), Failure> {
    let tasks = root().join("recipes/tasks/python-basics");
    let (path, train) = (folder.to_string_lossy(), tasks.join("train.jsonl"));
    // Both sides have one dtype; `auto` picks f32 on processors without fast bf16 products.
    let dtype = if compute == Compute::Bf16 { "bf16" } else { "f32" };
    let at_once = if matches!(name, "1M" | "10M") { "64" } else { "16" };
    let mut peers = Vec::new();
    if std::env::var_os("RLTRAIN_BENCH_ALONE").is_none() {
        for setting in Setting::ALL {
            let arguments = [&*path, dtype, &THREADS.to_string(), at_once, &train.to_string_lossy()];
            peers.push(Peer::start("bench_step.py", &arguments, setting)?);
        }
    }
    let (mut ours, mut theirs) = (Vec::new(), vec![Vec::new(); peers.len()]);
    // The first round warms up.
    for round in 0..=rounds {
        let times = steps(&path, &tasks, dtype)?;
        for (peer, walls) in peers.iter_mut().zip(&mut theirs) {
            let cost = peer.run(&json!("step"))?;
            if round > 0 {
                walls.push(cost.wall);
            }
        }
        if round > 0 {
            ours.push(times);
        }
    }
    let part = |key: &str| median(ours.iter().map(|times| times[key].as_f64().unwrap_or(f64::NAN)));
    let own = part("time/step_seconds");
    let walls: Vec<f64> = theirs.iter().map(|walls| median(walls.iter().copied())).collect();
    let shown: Vec<String> = walls.iter().map(|wall| format!("{wall:.2}")).collect();
    let ratios: Vec<String> = walls.iter().map(|wall| format!("{:.2}x", wall / own)).collect();
    println!(
        "| {name} | {dtype} | {own:.2} | {:.2} | {:.2} | {:.2} | {} | {} |",
        part("time/rollout_seconds"),
        part("time/execution_seconds"),
        part("time/update_seconds"),
        shown.join(" | "),
        ratios.join(" | ")
    );
    Ok(())
}

/// Runs the program for a few steps; the timings of the last.
fn steps(model: &str, tasks: &Path, dtype: &str) -> Result<Value, Failure> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-step");
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => std::fs::create_dir_all(&folder)?,
    }
    let recipe = folder.join("recipe.toml");
    std::fs::write(
        &recipe,
        format!(
            "seed = 1\nsteps = {STEPS}\nrun = \"run\"\n\
             [model]\npath = {model:?}\ncompute = {dtype:?}\n\
             [tasks]\ntrain = {:?}\nheldout = {:?}\n\
             [rollout]\ntasks_per_step = 8\ngroup_size = 8\ntemperature = 1.0\nmax_tokens = 128\nmax_batch = 64\n\
             [rewards.tests_passed]\nweight = 1.0\n[rewards.brevity]\nweight = 0.001\n\
             [algorithm]\nkl_coefficient = 0.04\n\
             [optimizer]\nlearning_rate = 1e-6\n[eval]\nsamples = 1\nk = [1]\n",
            tasks.join("train.jsonl"),
            tasks.join("heldout.jsonl"),
        ),
    )?;
    let status = Command::new(env!("CARGO_BIN_EXE_rltrain"))
        .arg(&recipe)
        .env("OMP_NUM_THREADS", THREADS.to_string())
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("`rltrain {}` ended with {status}", recipe.display()).into());
    }
    let timings = std::fs::read_to_string(folder.join("run/timings.jsonl"))?;
    let mut steps = Vec::new();
    for line in timings.lines() {
        let line: Value = serde_json::from_str(line)?;
        if line["time/step_seconds"].is_number() {
            steps.push(line);
        }
    }
    steps.pop().ok_or_else(|| "the run has no timings".into())
}
