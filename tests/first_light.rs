//! The main job on a tiny model, whole and killed in the middle.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::rltrain::{expect, rltrain};
use crate::tiny::{self, edit};

/// Runs must not take longer than this, so that a hang is a failure and not a hanging test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

#[test]
fn a_tiny_model_runs_the_whole_path_and_says_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let (out, error) = expect(folder.path(), &["recipe.toml"], 0);
    assert!(out.contains("pass@1") && out.contains("pass@4"), "{out}");
    assert!(error.contains("step 4/4"), "{error}");
    let run = folder.path().join("run");
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 4);
    let rewards: Vec<f64> = metrics
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["reward"].as_f64().unwrap())
        .collect();
    assert!(rewards.iter().any(|reward| *reward > 0.0), "no attempt ever passed: {rewards:?}");
    assert!(run.join("tensorboard").read_dir().unwrap().count() > 0);
    assert_eq!(std::fs::read_to_string(run.join("checkpoints/latest")).unwrap(), "step-00000004\n");
    assert!(run.join("checkpoints/step-00000004/model/tokenizer.json").is_file());

    // A finished run that is started again has nothing to do but to say so again.
    let before = contents(&run.join("checkpoints/step-00000004"));
    let (again, _) = expect(folder.path(), &["recipe.toml"], 0);
    assert!(again.contains("pass@1"), "{again}");
    assert_eq!(before, contents(&run.join("checkpoints/step-00000004")));
}

#[test]
fn a_finished_run_knows_its_tasks_by_their_content_and_not_by_their_place() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "steps = 4\n", "steps = 1\n");
    expect(folder.path(), &["recipe.toml"], 0);

    let moved = folder.path().join("moved.jsonl");
    std::fs::rename(folder.path().join("train.jsonl"), &moved).unwrap();
    edit(folder.path(), "\"train.jsonl\"", "\"moved.jsonl\"");
    let (out, _) = expect(folder.path(), &["recipe.toml"], 0);
    assert!(out.contains("pass@1"), "{out}");

    let changed = std::fs::read_to_string(&moved).unwrap() + "\n";
    std::fs::write(&moved, changed).unwrap();
    let (_, error) = expect(folder.path(), &["recipe.toml"], 2);
    assert!(error.contains("moved.jsonl"), "{error}");
}

#[test]
fn a_run_of_a_version_that_knew_fewer_keys_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "steps = 4\n", "steps = 1\n");
    expect(folder.path(), &["recipe.toml"], 0);
    let pinned = folder.path().join("run/recipe.toml");
    let text = std::fs::read_to_string(&pinned).unwrap();
    assert!(text.contains("staleness = 0\n"), "{text}");
    std::fs::write(&pinned, text.replace("staleness = 0\n", "")).unwrap();
    expect(folder.path(), &["recipe.toml"], 0);
    std::fs::write(&pinned, text.replace("staleness = 0\n", "staleness = 1\n")).unwrap();
    let (_, error) = expect(folder.path(), &["recipe.toml"], 2);
    assert!(error.contains("`rollout.staleness` was 1, is 0"), "{error}");
}

#[test]
fn a_killed_run_ends_with_the_weights_of_one_never_killed() {
    killed_and_resumed_ends_as_one_never_killed("");
}

/// [`killed_and_resumed`] with nothing more in `[rollout]`.
pub(crate) fn killed_and_resumed_ends_as_one_never_killed(sections: &str) {
    killed_and_resumed(sections, "");
}

/// Runs the tiny recipe with `sections` in it and with `rollout` in its section of that name, once whole and once killed in the middle and resumed, and compares everything
/// that both leave behind, byte for byte.
pub(crate) fn killed_and_resumed(sections: &str, rollout: &str) {
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&whole, &killed] {
        tiny::make(folder.path());
        edit(folder.path(), "[optimizer]\n", &format!("{sections}\n[optimizer]\n"));
        edit(folder.path(), "[rollout]\n", &format!("[rollout]\n{rollout}"));
    }
    expect(whole.path(), &["recipe.toml"], 0);

    let mut child = rltrain(killed.path()).arg("recipe.toml").spawn().unwrap();
    wait_for(&killed.path().join("run/checkpoints/step-00000002/manifest.json"));
    child.kill().unwrap();
    child.wait().unwrap();
    let reached = std::fs::read_to_string(killed.path().join("run/checkpoints/latest")).unwrap();
    assert_ne!(reached, "step-00000004\n", "the run was over before it was killed");
    let (_, error) = expect(killed.path(), &["recipe.toml"], 0);
    assert!(error.contains("resuming"), "{error}");

    let last = "run/checkpoints/step-00000004";
    assert_eq!(contents(&whole.path().join(last)), contents(&killed.path().join(last)));
    for file in ["run/metrics.jsonl", "run/samples/step-00000004.jsonl"] {
        let read = |folder: &Path| std::fs::read_to_string(folder.join(file)).unwrap();
        assert_eq!(read(whole.path()), read(killed.path()), "{file}");
    }
}

#[test]
fn an_interrupt_finishes_the_step_saves_and_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "every = 1\n", "every = 1000\n");
    let child = rltrain(folder.path())
        .arg("recipe.toml")
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_line(&folder.path().join("run/metrics.jsonl"));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{error}");
    assert!(error.contains("goes on from here"), "{error}");
    let saved = std::fs::read_to_string(folder.path().join("run/checkpoints/latest")).unwrap();
    assert!(["step-00000001\n", "step-00000002\n", "step-00000003\n"].contains(&saved.as_str()), "{saved}");
    expect(folder.path(), &["recipe.toml"], 0);
}

/// Every file below `folder`, by name.
pub(crate) fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in next.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[track_caller]
pub(crate) fn wait_for(path: &Path) {
    wait_until(|| path.exists(), path);
}

#[track_caller]
pub(crate) fn wait_for_line(path: &Path) {
    wait_until(|| std::fs::read_to_string(path).is_ok_and(|text| text.contains('\n')), path);
}

#[track_caller]
fn wait_until(mut done: impl FnMut() -> bool, path: &Path) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "`{}` never came", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}
