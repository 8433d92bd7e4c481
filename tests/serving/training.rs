//! Whole runs whose attempts are sampled over HTTP.

use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rltrain_checkpoints::{Dtype, OwnedTensor, read_safetensors, write_safetensors};
use serde_json::Value;

use crate::rltrain::{expect, rltrain};
use crate::server::Server;
use crate::tiny;

/// A folder with a recipe of `steps` steps, which corrects for what servers compute otherwise.
fn recipe(max_tokens: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    tiny::edit(folder.path(), "steps = 4", "steps = 3");
    tiny::edit(folder.path(), "max_tokens = 48", &format!("max_tokens = {max_tokens}"));
    tiny::edit(folder.path(), "samples = 4\nk = [1, 4]", "samples = 2\nk = [1]");
    folder
}

/// Has the folder hold its model in bf16, as most are published.
fn round(folder: &Path) {
    let path = folder.join("model/model.safetensors");
    let file = read_safetensors(&path).unwrap();
    let rounded = file.names().into_iter().map(|name| {
        let tensor = file.read(&name).unwrap();
        assert_eq!(tensor.dtype, Dtype::F32);
        // The upper half of a number is the next one towards zero.
        let data = tensor.data.chunks_exact(4).flat_map(|number| [number[2], number[3]]).collect();
        (name, OwnedTensor { dtype: Dtype::BF16, shape: tensor.shape, data })
    });
    let rounded: Vec<_> = rounded.collect();
    write_safetensors(&path, rounded, &file.metadata()).unwrap();
}

/// Trains with these changes; returns the lines of its samples.
fn train(folder: &Path, run: &str, changes: &[String]) -> Vec<Value> {
    let run_key = format!("run={run:?}");
    let mut arguments = vec!["recipe.toml", "--set", &run_key];
    changes.iter().for_each(|change| arguments.extend(["--set", change]));
    expect(folder, &arguments, 0);
    samples(&folder.join(run))
}

fn samples(run: &Path) -> Vec<Value> {
    let file = |step| std::fs::read_to_string(run.join(format!("samples/step-{step:08}.jsonl"))).unwrap();
    let text: String = (1..=3).map(file).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn lines(run: &Path, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Metrics are of the same numbers up to rounding.
#[track_caller]
fn assert_close(one: &Path, other: &Path) {
    let (one, other) = (lines(one, "metrics.jsonl"), lines(other, "metrics.jsonl"));
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(&other) {
        let (one, other) = (one.as_object().unwrap(), other.as_object().unwrap());
        let names = |line: &serde_json::Map<String, Value>| line.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(one), names(other));
        for (name, value) in one {
            if let (Some(a), Some(b)) = (value.as_f64(), other[name].as_f64()) {
                assert!((a - b).abs() <= 1e-4 * a.abs().max(b.abs()).max(1.0), "{name}: {a} and {b}");
            } else {
                assert_eq!(value, &other[name], "{name}");
            }
        }
    }
}

fn retries(run: &Path) -> f64 {
    // Evaluations have lines of their own.
    lines(run, "timings.jsonl").iter().filter_map(|line| line["rollout/retries"].as_f64()).sum()
}

/// The servers draw what the trainer's own engine draws, by the weights of each step: three updates, each of which the servers
/// load before they sample on, and two evaluations. What is compared is every program with its rewards, and every metric. The model is
/// one in bf16 that is trained in f32: the servers get what is trained.
#[test]
fn two_servers_take_the_steps_that_the_trainer_takes_alone() {
    let folder = recipe(48);
    let folder = folder.path();
    round(folder);
    let alone = train(folder, "alone", &["algorithm.correction=\"token-tis\"".to_owned()]);
    assert!(alone.iter().any(|line| line["reward"].as_f64() > Some(0.0)));
    let versions: Vec<u64> = alone.iter().map(|line| line["weights"].as_u64().unwrap()).collect();
    assert_eq!((versions.first(), versions.last()), (Some(&0), Some(&2)));
    let servers =
        [Server::start(folder, &["--context", "256"]), Server::start(folder, &["--context", "256"])];
    for engine in ["sglang", "vllm"] {
        let urls = format!("rollout.servers=[{:?}, {:?}]", servers[0].url, servers[1].url);
        // Of `token-tis` nothing is said: it is what holds with servers.
        let apart = train(folder, engine, &[format!("rollout.engine={engine:?}"), urls]);
        assert_eq!(alone, apart, "{engine}");
        assert_close(&folder.join("alone"), &folder.join(engine));
        assert_eq!(retries(&folder.join(engine)), 0.0);
        let left: Vec<_> = std::fs::read_dir(folder.join(engine).join("weights")).unwrap().collect();
        assert_eq!(left.len(), 1, "one version of the weights is kept");
        let metrics = lines(&folder.join(engine), "metrics.jsonl");
        let apart: Vec<f64> =
            metrics.iter().filter_map(|line| line["mismatch/logp_diff_max"].as_f64()).collect();
        assert!(apart.len() == 3 && apart.iter().all(|difference| *difference < 1e-3), "{apart:?}");
    }
}

/// The only server is killed while it samples, and started anew with the weights that the run began with.
#[test]
fn a_server_that_is_killed_costs_a_retry_and_no_sample() {
    let folder = recipe(160);
    let folder = folder.path();
    tiny::edit(folder, "every = 2", "every = 100");
    let alone = train(folder, "alone", &["algorithm.correction=\"token-tis\"".to_owned()]);
    let mut server = Server::start(folder, &[]);
    let address = server.address().to_owned();
    let mut training = rltrain(folder)
        .args(["recipe.toml", "--set", "run=\"apart\"", "--set", "rollout.engine=\"sglang\"", "--set"])
        .arg(format!("rollout.servers=[{:?}]", server.url))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The second step: its weights are none that a new server has. Sampling takes most of a second.
    let (begun, published) = (Instant::now(), folder.join("apart/weights/1"));
    while !published.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the run does not get there");
        sleep(Duration::from_millis(1));
    }
    sleep(Duration::from_millis(150));
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    sleep(Duration::from_millis(300));
    let again = Server::start(folder, &["--listen", &address]);
    let output = training.wait().unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut training.stderr.take().unwrap(), &mut said).unwrap();
    assert!(output.success(), "{said}");
    assert_eq!(alone, samples(&folder.join("apart")));
    assert!(retries(&folder.join("apart")) > 0.0, "nothing was under way when the server was killed");
    drop(again);
}

/// What is not there is not waited for forever, and what refuses is not asked again.
#[test]
fn a_run_without_a_server_ends_and_says_why() {
    let folder = recipe(48);
    let folder = folder.path();
    let changes = [
        "rollout.engine=\"sglang\"",
        "rollout.servers=[\"http://127.0.0.1:9\"]",
        "rollout.remote.deadline_seconds=1",
    ];
    let mut arguments = vec!["recipe.toml"];
    changes.iter().for_each(|change| arguments.extend(["--set", change]));
    let (_, error) = expect(folder, &arguments, 1);
    assert!(
        error.contains("no rollout server has answered for 1 s") && error.contains("127.0.0.1:9"),
        "{error}"
    );
    let key = ["--set", "rollout.remote.key_variable=\"RLTRAIN_NO_SUCH_VARIABLE\""];
    let (_, error) = expect(folder, &[&arguments[..], &key[..]].concat(), 2);
    assert!(error.contains("RLTRAIN_NO_SUCH_VARIABLE"), "{error}");
}
