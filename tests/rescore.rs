//! What rewards know beyond verdicts: filled in, resumed exactly, and the same when the log of a run is scored again.

use std::path::Path;

use serde_json::Value;

use crate::first_light::killed_and_resumed_ends_as_one_never_killed;
use crate::inputs::flat;
use crate::rltrain::expect;
use crate::tiny::{self, edit};

/// Every reward that looks at more than the verdict of one attempt, with tasks that have what they look at.
const KNOWING: &str = "[rewards.rare_tests]\nweight = 0.3\n[rewards.outcome_table]\nbaseline = \"greedy\"\nweight = 0.1\n\
    [rewards.efficiency]\nweight = 0.2\n[rewards.memory]\nweight = 0.1\n";

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_killed_run_whose_rewards_remember_ends_as_one_never_killed() {
    killed_and_resumed_ends_as_one_never_killed(KNOWING);
}

#[test]
fn a_run_scored_again_with_its_own_rewards_has_the_rewards_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    tiny::make(here);
    edit(here, "[optimizer]\n", &format!("{KNOWING}\n[optimizer]\n"));
    expect(here, &["recipe.toml"], 0);
    // No model is needed for what follows.
    std::fs::remove_dir_all(here.join("model")).unwrap();

    let (out, _) = expect(here, &["rescore", "run", "--rewards", "recipe.toml"], 0);
    let rescored = lines(&here.join("run/rescored.jsonl"));
    assert_eq!(rescored.len(), 4 * 18, "{out}");
    let number = |line: &Value, key: &str| line[key].as_f64().unwrap();
    for line in &rescored {
        assert!((number(line, "old") - number(line, "new")).abs() < 1e-12, "{line}");
    }
    // Every reward has had something to say.
    for name in ["rare_tests", "outcome_table", "efficiency", "memory"] {
        let parts = rescored.iter().flat_map(|line| line["parts"].as_array().unwrap());
        let scores = parts.filter(|part| part["name"] == name && part["raw"].is_f64());
        assert_eq!(scores.count(), rescored.len(), "{name}");
    }
    let metrics = lines(&here.join("run/metrics.jsonl"));
    let effective = |metrics: &Value| -> f64 {
        let keys = metrics.as_object().unwrap().keys();
        keys.filter(|key| key.ends_with("/effective/mean")).map(|key| number(metrics, key)).sum()
    };
    for metrics in &metrics {
        assert!((effective(metrics) - number(metrics, "reward")).abs() < 1e-9, "{metrics}");
        assert_eq!(number(metrics, "rewards/rare_tests/shaped/none_rate"), 0.0);
    }

    std::fs::write(here.join("other.toml"), "[rewards.all_passed]\nweight = 2.0\n").unwrap();
    let (out, _) = expect(here, &["rescore", "run", "--rewards", "other.toml", "--output", "other.jsonl"], 0);
    assert!(out.starts_with("    step  attempts    old mean    new mean\n"), "{out}");
    for line in lines(&here.join("other.jsonl")) {
        assert!([0.0, 2.0].contains(&number(&line, "new")), "{line}");
    }
}

#[test]
fn a_log_that_cannot_be_scored_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    tiny::make(here);
    edit(here, "steps = 4\n", "steps = 1\n");
    let rescore = |code| flat(&expect(here, &["rescore", "run", "--rewards", "recipe.toml"], code).1);
    assert!(rescore(2).contains("`run` has no logged attempts"), "{}", rescore(2));
    expect(here, &["recipe.toml"], 0);

    std::fs::write(here.join("greedy.toml"), "[rewards.outcome_table]\nbaseline = \"greedy\"\n").unwrap();
    let (_, error) = expect(here, &["rescore", "run", "--rewards", "greedy.toml"], 2);
    let error = flat(&error);
    assert!(error.contains("`outcome_table` compares with greedy attempts, and none were made"), "{error}");

    let log = here.join("run/samples/step-00000001.jsonl");
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, text.replacen("\"format\":2", "\"format\":1", 1)).unwrap();
    assert!(rescore(2).contains("has lines of format 1, and this build reads format 2"), "{}", rescore(2));
    std::fs::write(&log, text.replacen("\"tokens\":", "\"tokns\":", 1)).unwrap();
    assert!(rescore(2).contains("line 1: unknown field `tokns`"), "{}", rescore(2));
    std::fs::write(&log, text.replacen("\"task\":\"", "\"task\":\"no-", 1)).unwrap();
    assert!(rescore(2).contains("of which"), "{}", rescore(2));
}
