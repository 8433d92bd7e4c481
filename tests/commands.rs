//! `rltrain resume`, `fork` and `ckpt …` on tiny runs, and what resuming says and refuses.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::first_light::wait_for;
use crate::rltrain::{expect, rltrain, run};
use crate::tiny::{self, edit};

const LORA: &str = "[model.lora]\nrank = 2\nalpha = 4.0\n\n[tasks]\n";

/// Makes `folder`: the tiny recipe after two steps, `with` in place of `[tasks]`.
fn train(folder: &Path, with: &str) {
    if folder.exists() {
        std::fs::remove_dir_all(folder).unwrap();
    }
    tiny::make(folder);
    edit(folder, "[tasks]\n", with);
    edit(folder, "steps = 4\n", "steps = 2\n");
    edit(folder, "every = 2\nsamples = 4\nk = [1, 4]\n", "every = 10\nsamples = 1\nk = [1]\n");
    edit(folder, "max_tokens = 48\n", "max_tokens = 24\n");
    expect(folder, &["recipe.toml"], 0);
}

/// A copy of a folder that was trained once for all tests: the run was moved, so to speak.
fn copy_of(trained: &'static OnceLock<PathBuf>, name: &str, with: &str) -> TempDir {
    let original = trained.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        train(&folder, with);
        folder
    });
    let folder = tempfile::tempdir().unwrap();
    let everything = original.join(".");
    let copied = std::process::Command::new("cp").arg("-a").arg(everything).arg(folder.path()).status();
    assert!(copied.unwrap().success());
    folder
}

fn finished() -> TempDir {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    copy_of(&RUN, "finished", "[tasks]\n")
}

fn finished_with_adapter() -> TempDir {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    copy_of(&RUN, "finished-with-adapter", LORA)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn json_file(path: &Path) -> Value {
    json(&std::fs::read_to_string(path).unwrap())
}

/// The text without its line breaks and frames: a report is wrapped wherever a word, a path or an option may be broken.
fn flat(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !['│', '╰', '─', '▶'].contains(c)).collect()
}

#[track_caller]
fn contains(text: &str, wanted: &str) {
    assert!(flat(text).contains(&flat(wanted)), "no `{wanted}` in:\n{text}");
}

/// Flips a bit in the middle of a file.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn resuming_says_what_it_goes_on_from_and_a_named_checkpoint_is_that_one_or_none() {
    let folder = finished();
    let listed = json(&expect(folder.path(), &["ckpt", "ls", "run", "--json"], 0).0);
    let hash = listed[1]["blake3"].as_str().unwrap().to_owned();
    edit(folder.path(), "steps = 2\n", "steps = 3\n");
    let (_, error) = expect(folder.path(), &["recipe.toml"], 0);
    contains(&error, "after step 2 from `");
    contains(&error, &format!("checkpoints/step-00000002` (BLAKE3 {hash})"));
    contains(&error, "changed: `steps` was 2, is 3 (passes: the run ends elsewhere)");

    // The newest is damaged: the one before is taken, and the damaged one named.
    let checkpoints = folder.path().join("run/checkpoints");
    damage(&checkpoints.join("step-00000003/optimizer.safetensors"));
    for named in ["3", "7"] {
        let (_, error) = expect(folder.path(), &["recipe.toml", "--from", named], 2);
        contains(&error, "cannot be used; nothing was done in its place");
    }
    let (_, error) = expect(folder.path(), &["resume", "run"], 0);
    contains(&error, "warning: passed over `");
    contains(&error, "step-00000003/optimizer.safetensors` has BLAKE3 hash");
    contains(&error, "after step 2 from `");

    // Going back sets the later one aside.
    let weights = std::fs::read(checkpoints.join("step-00000003/model/model.safetensors")).unwrap();
    let (_, error) = expect(folder.path(), &["resume", "run", "--from", "2"], 0);
    contains(&error, "set aside: the checkpoint of step 3 is in `");
    assert!(checkpoints.join("set-aside/step-00000003/manifest.json").is_file());
    assert_eq!(std::fs::read(checkpoints.join("step-00000003/model/model.safetensors")).unwrap(), weights);
    assert_eq!(std::fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap().lines().count(), 3);
}

#[test]
fn drift_is_listed_key_by_key_refused_permitted_and_recorded() {
    let folder = finished();
    edit(folder.path(), "learning_rate = 1e-3\n", "learning_rate = 1e-4\n");
    edit(folder.path(), "[checkpoint]\nevery = 1\n", "[checkpoint]\nevery = 2\n");
    edit(folder.path(), "steps = 2\n", "steps = 3\n");
    let (_, error) = expect(folder.path(), &["recipe.toml"], 2);
    contains(&error, "`optimizer.learning_rate` was 0.001, is 0.0001 (breaks continuity: the same gradient");
    contains(&error, "`checkpoint.every` was 1, is 2 (passes: it says when to save");
    contains(&error, "--allow-drift optimizer.learning_rate");
    let (_, error) = expect(folder.path(), &["recipe.toml", "--allow-drift", "optimizer.weight_decay"], 2);
    contains(&error, "`optimizer.learning_rate` was");
    let permitted = ["recipe.toml", "--allow-drift", "optimizer", "--allow-drift", "seed"];
    let (_, error) = expect(folder.path(), &permitted, 0);
    contains(&error, "elsewhere), permitted");
    contains(&error, "`--allow-drift seed` permitted nothing");

    let record = json_file(&folder.path().join("run/provenance.json"));
    let starts = record["starts"].as_array().unwrap();
    assert_eq!((starts.len(), &starts[1]["step"]), (2, &Value::from(2)));
    let drift = starts[1]["drift"].as_array().unwrap();
    let broken: Vec<_> = drift.iter().filter(|drift| drift["breaks"] == true).collect();
    assert_eq!(broken.len(), 1, "{record}");
    assert_eq!(broken[0]["difference"]["key"], "optimizer.learning_rate");
    // From now on that is the run's recipe.
    expect(folder.path(), &["recipe.toml"], 0);
}

#[test]
fn other_files_than_the_run_was_started_with_are_noticed() {
    let folder = finished_with_adapter();
    let resume = |allow: &[&str], code| {
        let mut arguments = vec!["recipe.toml"];
        allow.iter().for_each(|key| arguments.extend(["--allow-drift", key]));
        expect(folder.path(), &arguments, code).1
    };
    let template = folder.path().join("model/tokenizer_config.json");
    let text = std::fs::read_to_string(&template).unwrap();
    std::fs::write(&template, text.replace("<|im_start|>{{", "<|im_start|> {{")).unwrap();
    damage(&folder.path().join("model/model.safetensors"));
    let tasks = folder.path().join("train.jsonl");
    std::fs::write(&tasks, std::fs::read_to_string(&tasks).unwrap() + "\n").unwrap();
    edit(folder.path(), "steps = 2\n", "steps = 3\n");
    let error = resume(&[], 2);
    contains(&error, "`tasks.train` was");
    contains(&error, "(breaks continuity: other tasks would be drawn)");
    contains(&error, "`chat_template` was");
    contains(&error, "`model` was");
    assert!(!flat(&error).contains("`tokenizer`was"), "{error}");
    resume(&["tasks.train", "chat_template"], 2);
    resume(&["tasks.train", "chat_template", "model"], 0);
    // The checkpoint that this has written knows the files of today.
    let shown = json(&expect(folder.path(), &["ckpt", "show", "run", "--json"], 0).0);
    assert_eq!(shown["step"], 3);
    assert_eq!(shown["provenance"]["recipe"]["model"]["path"], "../model");
    assert_eq!(shown["provenance"]["surroundings"]["libtorch"], "2.13.0");
    assert_eq!(shown["provenance"]["surroundings"]["threads"], 1);
}

#[test]
fn checkpoints_are_listed_shown_compared_verified_and_pruned() {
    let folder = finished();
    let (out, _) = expect(folder.path(), &["ckpt", "ls", "run"], 0);
    assert_eq!(out.lines().count(), 2, "{out}");
    let (out, _) = expect(folder.path(), &["ckpt", "show", "run@1"], 0);
    contains(&out, "step 1");
    contains(&out, "tasks.train");
    contains(&out, "model/model.safetensors");

    let (out, _) = expect(folder.path(), &["ckpt", "diff", "run@2", "run/checkpoints/step-00000002"], 0);
    assert_eq!(out, "equal\n");
    let (out, _) = expect(folder.path(), &["ckpt", "diff", "run@1", "run@2"], 0);
    contains(&out, "model/model.safetensors\n  model.embed_tokens.weight: largest difference");
    let (out, _) = expect(folder.path(), &["ckpt", "diff", "run@1", "run@2", "--json"], 0);
    let found = json(&out);
    let tensors = found["files"]["model/model.safetensors"].as_array().unwrap();
    let largest: Vec<f64> = tensors.iter().map(|tensor| tensor["largest"].as_f64().unwrap()).collect();
    // AdamW moves a number by about the learning rate.
    assert!(!largest.is_empty() && largest.iter().all(|most| *most > 0.0 && *most < 1e-2), "{largest:?}");
    let keys = found["files"]["trainer.json"].as_array().unwrap();
    assert!(keys.iter().any(|key| key["key"] == "step" && key["a"] == 1 && key["b"] == 2), "{out}");

    let (out, _) = expect(folder.path(), &["ckpt", "verify", "run"], 0);
    assert_eq!(out.matches("whole").count(), 2, "{out}");
    damage(&folder.path().join("run/checkpoints/step-00000001/trainer.json"));
    let (out, error) = expect(folder.path(), &["ckpt", "verify", "run"], 1);
    contains(&out, "step-00000001/trainer.json` has BLAKE3 hash");
    contains(&error, "1 of 2 checkpoints are broken");
    expect(folder.path(), &["ckpt", "verify", "run@2"], 0);
    let (_, error) = expect(folder.path(), &["ckpt", "verify", "run@9"], 2);
    contains(&error, "there is no folder `run/checkpoints/step-00000009`");
    let (out, _) = expect(folder.path(), &["ckpt", "verify", "run@1", "--json"], 1);
    assert_eq!(json(&out)[0]["whole"], false);

    let prune = ["ckpt", "prune", "run", "--keep-last", "1"];
    let (out, _) = expect(folder.path(), &[&prune[..], &["--dry-run"]].concat(), 0);
    contains(&out, "would delete");
    assert!(folder.path().join("run/checkpoints/step-00000001").is_dir());
    let (out, _) = expect(folder.path(), &[&prune[..], &["--json"]].concat(), 0);
    assert_eq!(json(&out), serde_json::json!({ "deleted": [1], "kept": [2], "dry_run": false }));
    assert!(!folder.path().join("run/checkpoints/step-00000001").exists());
    let (_, error) = expect(folder.path(), &["ckpt", "ls", "nowhere"], 2);
    contains(&error, "there is no folder `nowhere`");
}

#[test]
fn pruning_keeps_what_a_run_would_keep() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let store = rltrain_checkpoints::Store::open(&run.join("checkpoints")).unwrap();
    for step in 1..=7 {
        store.write(step, |draft| draft.bytes("file", b"content")).unwrap();
    }
    let evaluation = |step: u64, mean: f64| {
        let pass_at_k = [serde_json::json!({ "k": 1, "mean": mean, "low": 0.0, "high": 1.0 })];
        serde_json::json!({ "step": step, "pass_at_k": pass_at_k, "tasks": [] })
    };
    let evaluations = [evaluation(2, 0.5), evaluation(3, 0.25), evaluation(6, 0.125)];
    let content = serde_json::json!({ "format": 4, "evaluations": evaluations });
    std::fs::write(run.join("evaluations.json"), content.to_string()).unwrap();

    let prune = ["ckpt", "prune", "run", "--keep-last", "1", "--keep-every", "5", "--keep-best"];
    for unmeasured in ["eval/pass@4", "reward"] {
        let (_, error) = expect(folder.path(), &[&prune[..], &[unmeasured]].concat(), 2);
        contains(&error, &format!("has measured `{unmeasured}`"));
    }
    let (out, _) = expect(folder.path(), &[&prune[..], &["eval/pass@1", "--json"]].concat(), 0);
    let wanted = serde_json::json!({ "deleted": [1, 3, 4, 6], "kept": [2, 5, 7], "dry_run": false });
    assert_eq!(json(&out), wanted);
    assert_eq!(store.steps().unwrap(), [2, 5, 7]);
}

/// Dtype of the first tensor of a safetensors file, and how many tensors it has.
fn first_dtype(path: PathBuf) -> (String, usize) {
    let file = rltrain_checkpoints::read_safetensors(&path).unwrap();
    let names = file.names();
    (format!("{:?}", file.info(&names[0]).unwrap().dtype), names.len())
}

#[test]
fn a_checkpoint_is_exported_for_transformers_and_for_peft() {
    let whole = finished();
    let export = |folder: &Path, to: &str, more: &[&str], code| {
        expect(folder, &[&["ckpt", "export", "run", to, "--format"], more].concat(), code)
    };
    export(whole.path(), "half", &["hf", "--dtype", "bf16"], 0);
    assert_eq!(first_dtype(whole.path().join("half/model.safetensors")).0, "BF16");
    assert_eq!(json_file(&whole.path().join("half/config.json"))["dtype"], "bfloat16");
    assert!(whole.path().join("half/tokenizer.json").is_file());
    export(whole.path(), "full", &["merged", "--dtype", "f32"], 0);
    let read = |name: &str| std::fs::read(whole.path().join(name)).unwrap();
    assert!(read("full/model.safetensors") == read("run/checkpoints/step-00000002/model/model.safetensors"));
    contains(&export(whole.path(), "p", &["peft"], 2).1, "has a model and no adapter");
    contains(&export(whole.path(), "half", &["hf"], 2).1, "is not empty");

    let adapted = finished_with_adapter();
    contains(&export(adapted.path(), "h", &["hf"], 2).1, "has an adapter and no model");
    export(adapted.path(), "adapter", &["peft", "--dtype", "bf16"], 0);
    assert_eq!(first_dtype(adapted.path().join("adapter/adapter_model.safetensors")).0, "BF16");
    assert_eq!(json_file(&adapted.path().join("adapter/adapter_config.json"))["r"], 2);
    export(adapted.path(), "merged", &["merged"], 0);
    let read = |folder: &str| {
        let path = adapted.path().join(folder).join("model.safetensors");
        let file = rltrain_checkpoints::read_safetensors(&path).unwrap();
        file.names().into_iter().map(|name| (file.read(&name).unwrap(), name)).collect::<Vec<_>>()
    };
    let (start, merged) = (read("model"), read("merged"));
    assert_eq!(start.len(), merged.len());
    let changed: Vec<&String> =
        start.iter().zip(&merged).filter(|(a, b)| a.0 != b.0).map(|(_, (_, name))| name).collect();
    // The adapters of every matrix of the layers, and nothing else.
    assert!(!changed.is_empty() && changed.iter().all(|name| name.contains("_proj")), "{changed:?}");
}

#[test]
fn a_fork_starts_from_the_checkpoint_with_changed_keys_and_says_where_it_comes_from() {
    let folder = finished();
    let fork = |more: &[&str], code| {
        expect(folder.path(), &[&["fork", "run", "--to", "other"], more].concat(), code)
    };
    contains(&fork(&["--at", "9"], 2).1, "There are checkpoints of steps: 1, 2");
    contains(&fork(&["--set", "optimizer.learning_rat=1"], 2).1, "learning_rat");
    assert!(!folder.path().join("other").exists());
    let (out, _) = fork(&["--at", "1", "--set", "optimizer.learning_rate=1e-4", "--set", "steps=3"], 0);
    contains(&out, "`rltrain resume other` goes on");
    let record = json_file(&folder.path().join("other/provenance.json"));
    let from = &record["forked_from"];
    assert_eq!((&from["step"], from["changed"].as_array().unwrap().len()), (&Value::from(1), 2), "{record}");
    assert_eq!(from["changed"][0]["key"], "optimizer.learning_rate");
    let (out, _) = expect(folder.path(), &["ckpt", "diff", "run@1", "other@1"], 0);
    assert_eq!(out, "equal\n");

    let (_, error) = expect(folder.path(), &["resume", "other"], 0);
    contains(&error, "after step 1 from `");
    let steps = |run: &str| {
        let text = std::fs::read_to_string(folder.path().join(run).join("metrics.jsonl")).unwrap();
        text.lines().map(|line| json(line)["step"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((steps("other"), steps("run")), (vec![1, 2, 3], vec![1, 2]));
    let (out, _) = expect(folder.path(), &["ckpt", "diff", "run@2", "other@2", "--json"], 0);
    let changed = &json(&out)["files"]["provenance.json"];
    let keys: Vec<&str> =
        changed.as_array().unwrap().iter().map(|key| key["key"].as_str().unwrap()).collect();
    assert!(keys.contains(&"recipe.optimizer.learning_rate"), "{keys:?}");
    contains(&fork(&[], 2).1, "is not empty; name another folder");
}

#[test]
fn a_second_writer_is_refused_by_host_and_process_and_a_dead_one_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "steps = 4\n", "steps = 100000\n");
    let mut first = rltrain(folder.path()).arg("recipe.toml").stderr(Stdio::null()).spawn().unwrap();
    wait_for(&folder.path().join("run/checkpoints/step-00000001/manifest.json"));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let holder = format!("is in use by process {} on host `{}`", first.id(), host.trim());
    // A refusal comes at once, and not after the model was loaded.
    for arguments in [&["recipe.toml"][..], &["resume", "run"], &["ckpt", "prune", "run", "--keep-last", "1"]]
    {
        let (_, error) = expect(folder.path(), arguments, 2);
        contains(&error, &holder);
    }
    // Readers are not in the way, nor held up.
    expect(folder.path(), &["ckpt", "ls", "run"], 0);
    first.kill().unwrap();
    first.wait().unwrap();

    edit(folder.path(), "steps = 100000\n", "steps = 1\n");
    let start = Instant::now();
    let output = run(folder.path(), &["recipe.toml"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && start.elapsed() < Duration::from_secs(300), "{error}");
    contains(&error, &format!("process {} on host `{}` ended without saving", first.id(), host.trim()));
    assert_eq!(std::fs::read_to_string(folder.path().join("run/run.lock")).unwrap(), "");
}

/// Threads that compute go on until the process is gone, and say nothing.
#[test]
fn a_second_interrupt_ends_a_run_at_once_and_quietly() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "steps = 4\n", "steps = 100000\n");
    for run in ["first", "second", "third"] {
        let (recipe, place) = (["recipe.toml", "--set"], format!("run=\"{run}\""));
        let training = rltrain(folder.path()).args(recipe).arg(place).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(&folder.path().join(run).join("checkpoints/step-00000001/manifest.json"));
        for _ in 0..2 {
            let interrupt = Command::new("kill").args(["-INT", &training.id().to_string()]).status();
            assert!(interrupt.unwrap().success());
            std::thread::sleep(Duration::from_millis(50));
        }
        let output = training.wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{error}");
        contains(&error, "Ctrl-C again stops at once");
        assert!(!error.contains("panicked"), "{error}");
    }
}

#[test]
fn the_commands_of_the_documentation_run() {
    let folder = finished();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/checkpoint-commands.md");
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("console\n"));
    let program = Path::new(env!("CARGO_BIN_EXE_rltrain")).parent().unwrap();
    let mut ran = 0;
    for line in blocks.flat_map(str::lines).filter(|line| !line.is_empty()) {
        let mut shell = std::process::Command::new("sh");
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        shell.args(["-c", line]).current_dir(folder.path()).env("PATH", path).env("OMP_NUM_THREADS", "1");
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
        ran += 1;
    }
    assert!(ran > 8, "{ran}");
}
