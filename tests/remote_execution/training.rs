//! A whole run whose programs are judged elsewhere.

use std::path::Path;

use crate::server::{Served, rltrain};
use crate::tiny;

fn train(folder: &Path, set: &[&str]) {
    let mut command = rltrain();
    command.current_dir(folder).arg("recipe.toml").args([
        "--set",
        "steps=2",
        "--set",
        "eval.every=2",
        "--set",
        "eval.samples=1",
        "--set",
        "eval.k=[1]",
    ]);
    set.iter().for_each(|set| _ = command.args(["--set", set]));
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
}

#[test]
fn a_run_with_two_servers_takes_the_steps_of_one_without() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let servers = [Served::start(&[]), Served::start(&[])];
    train(folder.path(), &["run=here"]);
    let urls = format!("executor.remote.servers=[\"{}\", \"{}\"]", servers[0].url, servers[1].url);
    train(folder.path(), &["run=away", &urls]);
    for file in ["metrics.jsonl", "evaluations.json", "samples/step-00000002.jsonl"] {
        let read = |run: &str| {
            let path = folder.path().join(run).join(file);
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        assert_eq!(read("away"), read("here"), "{file}");
    }
}
