//! Saving and loading a model with its optimizer, beside safetensors' `save_file` and `torch.save` with the same tensors on the same
//! disk, and what a run stands still for. `make bench-checkpoints` runs it.
//!
//! All sides take turns for several rounds, and medians are printed. Everyone waits until files and folder are on the disk; ours also
//! hashes what it writes, reads it back and compares. Before anything is loaded, it is dropped from the page cache; ours verifies every
//! hash before it loads. The second table is of real steps with a checkpoint after each.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod support;

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use rltrain::memory::{resident_bytes, resident_peak_bytes};
use rltrain::optim::{Optimizer, OptimizerKind};
use rltrain::policy::{Compute, HostView, MAX_SHARD_BYTES};
use rltrain_checkpoints::{Checkpoint, Draft, Store, WriteError};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use support::models::{load, models, rounds};
use support::peer::{Peer, Setting};
use support::{Cost, Failure, THREADS, machine, measure, median, root};

/// Rounds of each side; `RLTRAIN_BENCH_ROUNDS` asks for another number.
const ROUNDS: usize = 5;

/// Steps of the run whose stalls are measured.
const STEPS: usize = 5;

/// The peers, by what the script calls them.
const PEERS: [(&str, &str); 2] = [("safetensors", "save_file + fsync"), ("torch", "torch.save + fsync")];

fn main() -> Result<(), Failure> {
    rltrain::cli::startup::settle();
    tch::set_num_threads(THREADS);
    let rounds = rounds(ROUNDS)?;
    println!("{}", machine());
    let place = std::env::var_os("RLTRAIN_BENCH_FOLDER_SAVED")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from)
        .join("bench-checkpoints");
    if place.exists() {
        std::fs::remove_dir_all(&place)?;
    }
    std::fs::create_dir_all(&place)?;
    println!("{rounds} rounds in turns, medians, in {}", place.display());
    println!("| model | what | MB | s | cpu s | MB/s | ours to it |\n|---|---|---:|---:|---:|---:|---:|");
    let Some((name, folder)) = models(&root()).into_iter().next_back() else {
        return Err("no model is asked for".into());
    };
    bandwidth(&name, &folder, &place, rounds)?;
    stalls(&name, &folder, &place)?;
    println!("load afterwards: {}", machine());
    std::fs::remove_dir_all(&place)?;
    Ok(())
}

/// What one side took.
struct Row {
    what: String,
    costs: Vec<Cost>,
}

impl Row {
    fn new(what: &str) -> Row {
        Row { what: what.to_owned(), costs: Vec::new() }
    }

    fn wall(&self) -> f64 {
        median(self.costs.iter().map(|cost| cost.wall))
    }
}

fn bandwidth(name: &str, folder: &Path, place: &Path, rounds: usize) -> Result<(), Failure> {
    let policy = load(folder, Compute::F32)?;
    let optimizer = Optimizer::new(OptimizerKind::AdamW, &policy.weights);
    tch::no_grad(|| {
        // Zeros could be dealt with faster than numbers, by a file system that compresses.
        for (_, mean) in optimizer.state() {
            let _ = mean.shallow_clone().normal_(0.0, 1.0);
        }
    });
    let fill = |draft: &mut Draft| -> Result<(), WriteError> {
        policy.save(draft, MAX_SHARD_BYTES)?;
        let means = optimizer.state().map(|(name, tensor)| (name, HostView::new(tensor)));
        draft.tensors("optimizer.safetensors", means, &BTreeMap::new())
    };
    let store = Store::open(&place.join("ours"))?;
    let before = resident_bytes().unwrap_or(0);
    let first = store.write(0, fill)?;
    let extra = resident_peak_bytes().unwrap_or(0).saturating_sub(before);
    let bytes: u64 = first.manifest().files.values().map(|record| record.bytes).sum();
    let mut peer = Peer::start("bench_checkpoints.py", &[&first.path().to_string_lossy()], Setting::Stock)?;
    let mut ours = [Row::new("ours, saved and read back"), Row::new("ours, verified and loaded")];
    let mut theirs: Vec<[Row; 2]> = PEERS
        .iter()
        .map(|(_, what)| [Row::new(what), Row::new(&what.replace(" + fsync", ", loaded"))])
        .collect();
    for round in 0..=rounds {
        let step = round as u64 + 1;
        let (saved, save) = measure(|| Ok(store.write(step, fill)?))?;
        forget(saved.path())?;
        let (_, verify) = measure(|| read(&Checkpoint::open(saved.path())?))?;
        std::fs::remove_dir_all(saved.path())?;
        let mut costs = vec![[save, verify]];
        for (with, _) in PEERS {
            let folder = place.join(format!("{with}-{round}"));
            let request = |what: &str| json!({ "do": what, "with": with, "folder": folder });
            let save = peer.run(&request("save"))?;
            forget(&folder)?;
            let load = peer.run(&request("load"))?;
            std::fs::remove_dir_all(&folder)?;
            costs.push([save, load]);
        }
        // The first round warms up.
        if round > 0 {
            for (rows, costs) in std::iter::once(&mut ours).chain(&mut theirs).zip(costs) {
                rows.iter_mut().zip(costs).for_each(|(row, cost)| row.costs.push(cost));
            }
        }
    }
    let megabytes = bytes as f64 / 1e6;
    for what in 0..2 {
        for rows in std::iter::once(&ours).chain(&theirs) {
            let (row, wall) = (&rows[what], rows[what].wall());
            println!(
                "| {name} | {} | {megabytes:.0} | {wall:.2} | {:.2} | {:.0} | {:.2}x |",
                row.what,
                median(row.costs.iter().map(|cost| cost.cpu)),
                megabytes / wall,
                wall / ours[what].wall(),
            );
        }
    }
    let weights = 4e-6 * policy.weights.parameters() as f64;
    let extra = extra as f64 / 1e6;
    println!("\nmemory that saving took: {extra:.1} MB, {:.1} % of the weights", 100.0 * extra / weights);
    Ok(())
}

/// Reads every tensor of a checkpoint.
fn read(checkpoint: &Checkpoint) -> Result<(), Failure> {
    for name in checkpoint.manifest().files.keys().filter(|name| name.ends_with(".safetensors")) {
        let file = checkpoint.read_tensors(name)?;
        let tensors: Result<Vec<Tensor>, Failure> = file
            .names()
            .iter()
            .map(|name| {
                let tensor = file.read(name)?;
                let kind = if tensor.data.len() == 2 * tensor.shape.iter().product::<usize>() {
                    Kind::BFloat16
                } else {
                    Kind::Float
                };
                let shape: Vec<i64> = tensor.shape.iter().map(|n| *n as i64).collect();
                Ok(Tensor::from_data_size(&tensor.data, &shape, kind))
            })
            .collect();
        drop(tensors?);
    }
    Ok(())
}

/// Drops every file below `folder` from the page cache, so that the disk is what is read.
fn forget(folder: &Path) -> Result<(), Failure> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            forget(&path)?;
            continue;
        }
        let file = std::fs::File::open(&path)?;
        #[expect(unsafe_code, reason = "there is no safe call for it")]
        // SAFETY: the descriptor is open.
        let result = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        if result != 0 {
            return Err(std::io::Error::from_raw_os_error(result).into());
        }
    }
    Ok(())
}

/// A run with a checkpoint after each step: what it stood still for them.
fn stalls(name: &str, model: &Path, place: &Path) -> Result<(), Failure> {
    let tasks = root().join("recipes/tasks/python-basics");
    let heldout = std::fs::read_to_string(tasks.join("heldout.jsonl"))?;
    std::fs::write(place.join("heldout.jsonl"), format!("{}\n", heldout.lines().next().unwrap_or_default()))?;
    let recipe = format!(
        "seed = 1\nsteps = {STEPS}\nrun = 'run'\n[model]\npath = '{}'\ndevice = 'cpu'\n[tasks]\ntrain = '{}'\nheldout = 'heldout.jsonl'\n\
         [rollout]\ntasks_per_step = 8\ngroup_size = 8\nmax_tokens = 48\nmax_batch = 256\nstop = [\"\\n```\", \"\\ndef \"]\n\
         [rewards.tests_passed]\n[optimizer]\nlearning_rate = 1e-5\n[eval]\nsamples = 1\n[checkpoint]\nevery = 1\nkeep_last = 1\n",
        std::fs::canonicalize(model)?.display(),
        std::fs::canonicalize(tasks.join("train.jsonl"))?.display(),
    );
    std::fs::write(place.join("recipe.toml"), recipe)?;
    let status =
        Command::new(env!("CARGO_BIN_EXE_rltrain")).arg("recipe.toml").current_dir(place).status()?;
    if !status.success() {
        return Err(format!("the run ended with {status}").into());
    }
    let text = std::fs::read_to_string(place.join("run/timings.jsonl"))?;
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let steps: Vec<&Value> = lines.iter().filter(|line| line["time/step_seconds"].is_number()).collect();
    let number = |line: &Value, key: &str| line[key].as_f64().ok_or_else(|| format!("`{key}` is missing"));
    println!("\n| model | step | step s | stood still s | share |\n|---|---:|---:|---:|---:|");
    let mut shares = Vec::new();
    // The first step has no checkpoint before it.
    for line in steps.iter().skip(1) {
        let (step, still) = (number(line, "time/step_seconds")?, number(line, "time/checkpoint_seconds")?);
        shares.push(still / step);
        println!("| {name} | {} | {step:.2} | {still:.3} | {:.2} % |", line["step"], 100.0 * still / step);
    }
    println!("median share: {:.2} %", 100.0 * median(shares.into_iter()));
    Ok(())
}
