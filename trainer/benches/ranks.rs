//! Steps of one process beside those of two with twice the tasks: `make bench-ranks`.
//!
//! Weak scaling on one machine: every process has one thread and as many tasks a step as the one that is alone, so that two
//! processes do twice the work, and would take as long as one if nothing were exchanged and the cores shared no memory bus. Both
//! sides are run in turns. The share of communication is the least over the processes, since the faster one's waiting for the
//! slower is in it otherwise.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::models::rounds;
use support::{Failure, machine, median, root};

/// Rounds; `RLTRAIN_BENCH_ROUNDS` asks for another number.
const ROUNDS: usize = 3;

/// Steps of a round: the first warms up.
const STEPS: usize = 3;

/// Tasks a step of each process.
const TASKS: usize = 4;

/// What the steps of a round took, in seconds, and shares.
#[derive(Clone, Copy, Debug)]
struct Times {
    step: f64,
    rollout: f64,
    update: f64,
    communication: f64,
}

fn main() -> Result<(), Failure> {
    let rounds = rounds(ROUNDS)?;
    let model = root().join(".deps/models/SmolLM2-135M-Instruct");
    println!("{}", machine());
    println!(
        "SmolLM2-135M, {TASKS} tasks x 4 completions of 48 tokens for each process, one thread each, {rounds} rounds in turns"
    );
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        one.push(steps(&model, 1)?);
        two.push(steps(&model, 2)?);
    }
    println!("| processes | step s | rollout s | update s | communication |\n|---:|---:|---:|---:|---:|");
    let of = |times: &[Times], value: fn(&Times) -> f64| median(times.iter().map(value));
    for (processes, times) in [(1, &one), (2, &two)] {
        println!(
            "| {processes} | {:.2} | {:.2} | {:.2} | {:.1} % |",
            of(times, |times| times.step),
            of(times, |times| times.rollout),
            of(times, |times| times.update),
            100.0 * of(times, |times| times.communication),
        );
    }
    let ratio = of(&one, |times| times.step) / of(&two, |times| times.step);
    println!("two processes do {:.2}x the work of one in the same time (2 would be perfect)", 2.0 * ratio);
    println!("load afterwards: {}", machine());
    Ok(())
}

/// Runs `processes` of the program together for a few steps; the medians of all but the first.
fn steps(model: &Path, processes: usize) -> Result<Times, Failure> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-ranks");
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => std::fs::create_dir_all(&folder)?,
    }
    let tasks = root().join("recipes/tasks/python-basics");
    // An evaluation, of which there is one before and one after, is no step.
    let heldout = std::fs::read_to_string(tasks.join("heldout.jsonl"))?;
    std::fs::write(folder.join("heldout.jsonl"), heldout.lines().next().unwrap_or_default())?;
    let recipe = folder.join("recipe.toml");
    std::fs::write(
        &recipe,
        format!(
            "seed = 1\nsteps = {STEPS}\nrun = \"run\"\n\
             [model]\npath = {model:?}\ncompute = \"f32\"\ndevice = \"cpu\"\n\
             [tasks]\ntrain = {:?}\nheldout = {:?}\n\
             [rollout]\ntasks_per_step = {}\ngroup_size = 4\ntemperature = 1.0\nmax_tokens = 48\nmax_batch = 16\n\
             [rewards.brevity]\nweight = 1.0\n[executor]\nworkers = 1\n\
             [optimizer]\nlearning_rate = 1e-6\n[eval]\nevery = 1000\nsamples = 1\nk = [1]\n[checkpoint]\nevery = 1000\n",
            tasks.join("train.jsonl"),
            folder.join("heldout.jsonl"),
            TASKS * processes,
        ),
    )?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let start = |rank: usize| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rltrain"));
        command.arg(&recipe).envs([
            ("OMP_NUM_THREADS", "1"),
            ("RAYON_NUM_THREADS", "1"),
            ("GLOO_SOCKET_IFNAME", "lo"),
        ]);
        command.env("RANK", rank.to_string()).env("WORLD_SIZE", processes.to_string());
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    let started: Vec<Child> = (0..processes).map(start).collect::<Result<_, _>>()?;
    for mut child in started {
        let status = child.wait()?;
        if !status.success() {
            return Err(format!("`rltrain {}` ended with {status}", recipe.display()).into());
        }
    }
    let mut lines = Vec::new();
    for line in std::fs::read_to_string(folder.join("run/timings.jsonl"))?.lines() {
        let line: Value = serde_json::from_str(line)?;
        if line["time/step_seconds"].is_number() {
            lines.push(line);
        }
    }
    let of = |key: &str| median(lines.iter().skip(1).map(|line| line[key].as_f64().unwrap_or(0.0)));
    Ok(Times {
        step: of("time/step_seconds"),
        rollout: of("time/rollout_seconds"),
        update: of("time/update_seconds"),
        communication: of("ranks/communication_share_min"),
    })
}
