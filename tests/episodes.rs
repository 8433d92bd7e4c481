//! Attempts of several turns on a tiny model, with real executions.

use std::path::Path;

use serde_json::Value;

use crate::first_light::killed_and_resumed_ends_as_one_never_killed;
use crate::rltrain::expect;
use crate::tiny::{self, edit};

/// Three turns, and replies that leave room for them in the model's 512 positions.
const EPISODE: &str = "[episode]\nturns = 3\nfeedback_characters = 60\nreply = \"{{ feedback }}\"\n";

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn attempts_of_several_turns_are_told_of_public_tests_and_rewarded_by_hidden_ones() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "steps = 4\n", "steps = 2\n");
    // Nearly every completion of this model is cut off otherwise, and is its attempt's last turn then.
    edit(
        folder.path(),
        "max_batch = 12\n",
        "max_batch = 12\nstop = [\"q\", \"z\", \"k\", \"w\", \"j\", \"v\"]\n",
    );
    edit(folder.path(), "[optimizer]\n", &format!("{EPISODE}[optimizer]\n"));
    expect(folder.path(), &["recipe.toml"], 0);
    let run = folder.path().join("run");
    let (mut turns_seen, mut reused) = ([0; 3], 0.0);
    for (step, metrics) in (1..).zip(lines(&run.join("metrics.jsonl"))) {
        let number = |name: &str| metrics[name].as_f64().unwrap_or_else(|| panic!("no {name} in {metrics}"));
        let samples = lines(&run.join(format!("samples/step-{step:08}.jsonl")));
        let earlier = |sample: &Value| sample["earlier"].as_array().cloned().unwrap_or_default();
        let turns: Vec<usize> = samples.iter().map(|sample| earlier(sample).len() + 1).collect();
        let mean = turns.iter().sum::<usize>() as f64 / turns.len() as f64;
        assert!((number("episode/turns") - mean).abs() < 1e-9);
        let solved: f64 = (1..=3).map(|turn| number(&format!("episode/solved/turn_{turn}"))).sum();
        assert!((solved - number("exec/pass_rate")).abs() < 1e-9);
        reused += number("episode/prefill_reused");
        // An attempt goes on unless its program passes the public tests or was cut off.
        let at_first = number("episode/public_pass/turn_1");
        assert!(at_first > 0.0 && at_first < 1.0, "{at_first}");
        for sample in &samples {
            for turn in earlier(sample) {
                let feedback = turn["feedback"].as_str().unwrap();
                assert!(feedback.starts_with("The program"), "{feedback}");
                for hidden in ["(3)", "(4)", "(9)"] {
                    assert!(!feedback.contains(hidden), "{feedback}");
                }
            }
        }
        turns.iter().for_each(|turns| turns_seen[turns - 1] += 1);
    }
    assert!(reused > 0.0);
    assert!(turns_seen[0] > 0 && turns_seen[1] + turns_seen[2] > 0, "{turns_seen:?}");
}

#[test]
fn a_killed_run_with_episodes_ends_with_the_weights_of_one_never_killed() {
    killed_and_resumed_ends_as_one_never_killed(EPISODE);
}
