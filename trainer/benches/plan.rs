//! What `rltrain plan` says beside what runs take: `make verify-plan`.
//!
//! First what the gradient graph of one pack keeps, by the allocator's own count, for each family. Then whole runs of the program
//! itself: the estimate for the lengths that were sampled beside the peak of resident memory, less what a process has that has loaded
//! no model. Fails if one of the runs is more than 15 % and 48 MiB off.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(dead_code, reason = "the tests' tiny model comes with more than is used here")]

#[path = "../../tests/tiny.rs"]
mod tiny;

use std::path::{Path, PathBuf};
use std::process::Command;

use rltrain::memory::{Report, resident_bytes};
use rltrain::policy::{LoraConfig, ModelConfig, Pack, Policy, Training};
use rltrain::recipe::Recipe;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

type Failure = Box<dyn std::error::Error>;

/// How far an estimate may be off.
const BOUND: f64 = 0.15;
/// MiB that it may be off in any case: what libtorch, its threads and the allocator keep for themselves, which no count of tensors has
/// in it, and which is as much as all the rest with a model of a million parameters.
const SLACK_MIB: f64 = 48.0;

/// Has glibc give memory back at once, so that what is resident is what is in use: by default we keep it, and what starting the
/// sandbox had is there for tensors later.
const GIVE_BACK: (&str, &str) =
    ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=65536:glibc.malloc.trim_threshold=131072");

const MIB: f64 = (1 << 20) as f64;

/// Set in the process that shows what one without a model has.
const BARE: &str = "RLTRAIN_BENCH_BARE";

fn main() -> Result<(), Failure> {
    if std::env::args().nth(1).as_deref() == Some("exec-worker") {
        let _ = rltrain_executor::worker_main();
        return Ok(());
    }
    if std::env::var_os(BARE).is_some() {
        return bare();
    }
    tch::set_num_threads(2);
    println!(
        "what the graph of a pack keeps, MiB\n\n| model | trained | dtype | predicted | measured | ratio |\n|---|---|---|---:|---:|---:|"
    );
    let folder = tempfile::tempdir()?;
    tiny::make_model(&folder.path().join("llama"));
    graph("llama, tiny", &folder.path().join("llama"))?;
    tiny::make_t5(&folder.path().join("t5"));
    graph("t5, tiny", &folder.path().join("t5"))?;
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/architectures");
    for family in ["qwen3", "gemma3", "gpt2", "gpt_neox", "gptj", "starcoder2", "gpt_bigcode"] {
        let path = golden.join(family);
        if path.join("config.json").is_file() {
            graph(
                family,
                &with_tokenizer(&path, &folder.path().join(family), &folder.path().join("llama"))?,
            )?;
        }
    }
    println!(
        "\nwhole runs, MiB\n\n| recipe | phase | predicted | measured | ratio |\n|---|---|---:|---:|---:|"
    );
    let mut worst = 0f64;
    for (name, changes) in RECIPES {
        if let Some(off) = whole_run(name, changes)? {
            worst = worst.max(off);
        }
    }
    if worst > BOUND { Err(format!("an estimate is {:.0} % off", 100.0 * worst).into()) } else { Ok(()) }
}

/// A copy of the model in `from` with the tokenizer of `other`: it is not used, and no policy is without one.
fn with_tokenizer(from: &Path, to: &Path, other: &Path) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(to)?;
    for file in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        std::fs::copy(other.join(file), to.join(file))?;
    }
    for file in std::fs::read_dir(from)? {
        let file = file?;
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(to.to_owned())
}

/// Bytes that the allocator has handed out and not got back.
#[expect(unsafe_code, reason = "glibc's count has no safe wrapper")]
fn allocated() -> usize {
    // SAFETY: takes nothing, and only reads the allocator's own books.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

fn graph(name: &str, folder: &Path) -> Result<(), Failure> {
    for kind in [Kind::Float, Kind::BFloat16] {
        for (trained, lora, recomputes) in [
            ("all", None, false),
            ("adapters", Some(LoraConfig::default()), false),
            ("all, recomputed", None, true),
        ] {
            let config = ModelConfig {
                path: folder.to_owned(),
                compute: kind.into(),
                device: rltrain::policy::DeviceChoice::Cpu,
                fast_matmul: true,
                freeze_embeddings: false,
                gradient_checkpointing: recomputes,
                lora,
            };
            let mut policy = Policy::load(folder, kind, Device::Cpu)?;
            policy.prepare(&config, 1)?;
            let mut pack = Pack::default();
            // As many tokens as fit behind each other in the smallest of the golden models.
            for _ in 0..12 {
                let completions = [vec![5; 20], vec![6; 20], vec![7; 20]];
                pack.add(&[4; 10], completions.iter().map(|tokens| &tokens[..]));
            }
            let model = policy.training_model(0);
            drop(pack.pass(&model));
            let before = allocated();
            let pass = pack.pass(&model);
            let measured = allocated() - before;
            drop(pass);
            let predicted = policy.architecture.training_bytes(pack.size(), kind, Training::of(&config)).kept;
            println!(
                "| {name} | {trained} | {kind:?} | {:.2} | {:.2} | {:.2} |",
                predicted as f64 / MIB,
                measured as f64 / MIB,
                predicted as f64 / measured as f64
            );
        }
    }
    Ok(())
}

/// A name, and what it changes in the recipe of the tiny model.
const RECIPES: [(&str, &[(&str, &str)]); 7] = [
    ("tiny llama, everything trained", &[]),
    (
        "tiny llama, adapters, layers recomputed",
        &[("device = \"cpu\"\n", "device = \"cpu\"\ngradient_checkpointing = true\n[model.lora]\n")],
    ),
    (
        "tiny llama, PPO, critic on the policy",
        &[("[optimizer]\n", "[algorithm]\npreset = \"ppo\"\n\n[optimizer]\n")],
    ),
    (
        "tiny llama, PPO, critic apart",
        &[(
            "[optimizer]\n",
            "[algorithm]\npreset = \"ppo\"\n\n[critic]\nkind = \"separate\"\n\n[optimizer]\n",
        )],
    ),
    ("SmolLM2-135M", &[("path = \"model\"", "path = \"MODEL\"")]),
    (
        "SmolLM2-135M, adapters, layers recomputed",
        &[
            ("path = \"model\"", "path = \"MODEL\""),
            ("device = \"cpu\"\n", "device = \"cpu\"\ngradient_checkpointing = true\n[model.lora]\n"),
        ],
    ),
    (
        "SmolLM2-135M, PPO, critic on the policy",
        &[
            ("path = \"model\"", "path = \"MODEL\""),
            ("[optimizer]\n", "[algorithm]\npreset = \"ppo\"\n\n[optimizer]\n"),
        ],
    ),
];

/// Runs the program, and says how far the estimate is off; `None` if the model is not there.
fn whole_run(name: &str, changes: &[(&str, &str)]) -> Result<Option<f64>, Failure> {
    let smollm2 = rltrain::execution::dependencies_folder().join("models/SmolLM2-135M-Instruct");
    if name.starts_with("SmolLM2") && !smollm2.join("config.json").is_file() {
        println!("| {name} | not measured: no {} |", smollm2.display());
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    tiny::make(folder.path());
    let model = smollm2.to_string_lossy();
    let changed = [
        ("steps = 4", "steps = 2"),
        ("group_size = 6", "group_size = 16"),
        ("max_tokens = 48", "max_tokens = 128"),
        ("max_batch = 12", "max_batch = 48"),
        // An estimate is for steps in which every group teaches something: these do, their attempts being of different lengths.
        ("[rewards.all_passed]\n", "[rewards.all_passed]\n\n[rewards.brevity]\nweight = 0.1\n"),
    ];
    for (from, to) in changed.iter().chain(changes) {
        tiny::edit(folder.path(), from, &to.replace("MODEL", &model));
    }
    let path = folder.path().join("recipe.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_rltrain"))
        .arg(&path)
        .envs([("OMP_NUM_THREADS", "2"), GIVE_BACK])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let recipe = Recipe::load(&path)?;
    let peak = peak(&recipe.run)?;
    let report = Report::of(&recipe, None, 1)?;
    let phase = report.estimate.1.peak();
    let predicted = phase.footprint.total() as f64 / MIB;
    let before = bare_process()? as f64 / MIB;
    let measured = peak - before;
    println!(
        "| {name} | {} | {predicted:.0} | {peak:.0} - {before:.0} = {measured:.0} | {:.2} |",
        phase.name,
        predicted / measured
    );
    let off = (predicted - measured).abs();
    Ok(Some(if off <= SLACK_MIB { 0.0 } else { off / measured }))
}

/// Resident bytes of a process that has libtorch, its threads and its kernels, and the sandbox, and no model.
fn bare_process() -> Result<u64, Failure> {
    let output = Command::new(std::env::current_exe()?)
        .envs([(BARE, "1"), ("OMP_NUM_THREADS", "2"), GIVE_BACK])
        .output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Small products, forward and backward, and then the number.
fn bare() -> Result<(), Failure> {
    rltrain::cli::startup::settle();
    let x = Tensor::ones([64, 64], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    for kind in [Kind::Float, Kind::BFloat16] {
        let x = x.to_kind(kind);
        x.matmul(&x).softmax(-1, Kind::Float).sum(Kind::Float).backward();
    }
    let _executor = rltrain::execution::start_executor(&rltrain_executor::ExecutorConfig::default())?;
    println!("{}", resident_bytes().ok_or("the system does not tell")?);
    Ok(())
}

/// The peak of resident memory that a run has noted, in MiB.
fn peak(run: &Path) -> Result<f64, Failure> {
    let text = std::fs::read_to_string(run.join("timings.jsonl"))?;
    let mut peak = None;
    for line in text.lines() {
        let line: Value = serde_json::from_str(line)?;
        peak = line["memory/peak_mib"].as_f64().or(peak);
    }
    peak.ok_or_else(|| "the run noted no peak".into())
}
