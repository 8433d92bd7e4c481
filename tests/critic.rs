//! Verifiers: what they learn, from logged attempts and within a run, and what becomes of that when they are interrupted.

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Stdio;

use rltrain::critic::quality::auroc;
use rltrain::critic::verifier::{Arithmetic, Label, Objective, Program, Tried, Verifier, VerifierConfig};
use rltrain::optim::{OptimizerConfig, OptimizerKind};
use rltrain_executor::{Cause, Ending, Outcome, OutcomeClass};
use serde_json::Value;
use tch::{Device, Kind};

use crate::first_light::{contents, killed_and_resumed_ends_as_one_never_killed, wait_for};
use crate::rltrain::{expect, rltrain};
use crate::tiny::{self, edit};

const EVERY: [Objective; 5] =
    [Objective::Outcome, Objective::BradleyTerry, Objective::Binary, Objective::Fault, Objective::Implicit];

/// A program that passes.
fn right(text: &str) -> Program {
    program(text, Label { class: OutcomeClass::PassedAll, ending: None })
}

/// A program that raises in line 2.
fn wrong(text: &str) -> Program {
    let cause = Cause::Exception { kind: "NameError".into(), message: String::new(), line: Some(2) };
    let ending = Some(Ending::because(Outcome::Raised, cause));
    program(text, Label { class: OutcomeClass::RuntimeError, ending })
}

/// The tiny model's tokens are bytes.
fn program(text: &str, label: Label) -> Program {
    let tokens = text.bytes().map(i64::from).collect();
    Program { tokens, interjections: Vec::new(), label }
}

/// Two tasks whose programs are right if they use what is there.
fn groups() -> Vec<Tried> {
    let tried = |task: &str, programs| Tried {
        task: task.into(),
        lines_before: 0,
        prompt: task.bytes().map(i64::from).collect(),
        programs,
    };
    vec![
        tried("twice", vec![right("\n return x + x"), wrong("\n return y + x"), wrong("\n return x + y")]),
        tried("same", vec![wrong("\n y\n return y"), right("\n x\n return x"), right("\n return x")]),
    ]
}

fn verifier(folder: &Path, config: &VerifierConfig) -> Verifier {
    let like = Arithmetic { compute: Kind::Float, device: Device::Cpu };
    Verifier::new(config, &folder.join("model"), like, 7).unwrap()
}

/// Every objective finds out what makes the programs right, from the verdicts alone.
#[test]
fn every_objective_learns_to_tell_right_from_wrong() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let groups = groups();
    for objective in EVERY {
        let optimizer = OptimizerConfig { learning_rate: 2e-3, ..OptimizerConfig::default() };
        let feedback_share = if objective == Objective::Fault { 0.3 } else { 0.0 };
        let config = VerifierConfig { objective, optimizer, feedback_share, ..VerifierConfig::default() };
        let mut verifier = verifier(folder.path(), &config);
        let mut losses = Vec::new();
        for _ in 0..40 {
            losses.push(verifier.learn(&groups, 2e-3).unwrap().loss.unwrap());
        }
        let labels = groups.iter().flat_map(|tried| &tried.programs).map(|program| &program.label);
        let said = verifier.forecast(&groups);
        let judged: Vec<_> = said.iter().zip(labels).map(|(said, label)| said.judged(label)).collect();
        assert_eq!(auroc(&judged), Some(1.0), "{objective:?}: {judged:?}, losses {losses:?}");
        assert!(losses[39] < 0.7 * losses[0], "{objective:?}: {losses:?}");
        for (said, program) in said.iter().zip(groups.iter().flat_map(|tried| &tried.programs)) {
            let weights = if objective == Objective::Outcome { program.tokens.len() } else { 0 };
            let process = if objective == Objective::Implicit { program.tokens.len() } else { 0 };
            assert_eq!((said.token_weights.len(), said.process.len()), (weights, process), "{objective:?}");
        }
        let prefixes = verifier.prefixes(&groups);
        let programs = groups.iter().flat_map(|tried| &tried.programs);
        for ((values, said), program) in prefixes.iter().zip(&said).zip(programs) {
            assert_eq!(values.len(), program.tokens.len(), "{objective:?}");
            assert!(values.iter().all(|value| (0.0..=1.0).contains(value)), "{objective:?}: {values:?}");
            // After the last token it is the forecast, but where that is of the likeliest class of any token.
            let last = values.last().unwrap();
            assert!(objective == Objective::Outcome || (last - said.pass).abs() < 1e-6, "{objective:?}");
        }
        // What makes a program right is known before its last token.
        let best = |place: usize| prefixes[place].iter().copied().fold(0.0, f64::max);
        assert!(best(0) > best(1) && best(4) > best(3), "{objective:?}: {prefixes:?}");
    }
}

/// The update is that of the whole list, whether it goes through the network at once or program by program.
#[test]
fn an_update_does_not_depend_on_how_programs_are_packed() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    for objective in EVERY {
        let after = |tokens: usize| {
            let optimizer = OptimizerConfig {
                kind: OptimizerKind::Sgd,
                micro_batch_tokens: NonZeroUsize::new(tokens).unwrap(),
                ..OptimizerConfig::default()
            };
            let config = VerifierConfig { objective, optimizer, ..VerifierConfig::default() };
            let mut verifier = verifier(folder.path(), &config);
            let learnt = verifier.learn(&groups(), 1.0).unwrap();
            let said = verifier.forecast(&groups()).iter().map(|said| said.pass).collect::<Vec<_>>();
            (learnt, said)
        };
        let ((once, said_once), (apart, said_apart)) = (after(4096), after(1));
        assert!(once.gradient_norm > 0.0, "{objective:?}");
        let near = |one: f64, other: f64| (one - other).abs() < 1e-4 * one.abs().max(1e-2);
        assert!(near(once.gradient_norm, apart.gradient_norm), "{objective:?}: {once:?}, {apart:?}");
        assert!(
            said_once.iter().zip(&said_apart).all(|(one, other)| near(*one, *other)),
            "{objective:?}: {said_once:?}, {said_apart:?}"
        );
    }
}

/// The implicit verifier is the model that it started from, and a task without a right program is no pair.
#[test]
fn what_knows_nothing_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let of = |objective| verifier(folder.path(), &VerifierConfig { objective, ..VerifierConfig::default() });
    for said in of(Objective::Implicit).forecast(&groups()) {
        assert!((said.pass - 0.5).abs() < 1e-9 && said.process.iter().all(|reward| *reward == 0.0));
    }
    let mut alone = groups();
    alone.truncate(1);
    alone[0].programs.retain(|program| !program.label.passed());
    let learnt = of(Objective::BradleyTerry).learn(&alone, 1e-3).unwrap();
    assert_eq!((learnt.loss, learnt.gradient_norm), (None, 0.0));
}

/// A short run whose attempts are logged, and a recipe beside it that learns from them.
fn make_logged(folder: &Path, section: &str) {
    tiny::make(folder);
    edit(folder, "samples = 4\nk = [1, 4]\n", "samples = 1\nk = [1]\n");
    expect(folder, &["recipe.toml"], 0);
    let text = std::fs::read_to_string(folder.join("recipe.toml")).unwrap();
    let section = format!("[verifier]\ngroups_per_update = 2\n{section}\n[optimizer]\n");
    std::fs::write(folder.join("critic.toml"), text.replacen("[optimizer]\n", &section, 1)).unwrap();
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_verifier_learns_from_what_a_run_has_logged() {
    let folder = tempfile::tempdir().unwrap();
    make_logged(
        folder.path(),
        "epochs = 4\nheldout_share = 0.34\n[verifier.optimizer]\nlearning_rate = 1e-3\n",
    );
    let (out, error) = expect(folder.path(), &["critic", "critic.toml"], 0);
    assert!(out.contains("learnt from  2 tasks, 8 groups, 48 programs"), "{out}\n{error}");
    assert!(out.contains("held out     1 tasks, 4 groups, 24 programs"), "{out}");
    assert!(out.contains("no threshold promises"), "one task promises nothing: {out}");
    let run = folder.path().join("run/verifier");
    let quality = json(&run.join("quality.json"));
    let number = |name: &str| quality[name].as_f64().unwrap_or_else(|| panic!("{name}: {quality}"));
    for name in
        ["accuracy", "class_accuracy", "auroc", "calibration_error", "ranked", "oracle", "selection_gap"]
    {
        assert!((0.0..=1.0).contains(&number(name)), "{name}: {quality}");
    }
    assert!((number("oracle") - number("ranked") - number("selection_gap")).abs() < 1e-12);
    let losses: Vec<f64> = std::fs::read_to_string(run.join("metrics.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["verifier/loss"].as_f64().unwrap())
        .collect();
    assert_eq!(losses.len(), 16, "four epochs of eight groups, two at a time");
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&losses[12..]) < mean(&losses[..4]), "{losses:?}");

    // Again: there is nothing left to do, and what is said is the same.
    let (again, _) = expect(folder.path(), &["critic", "critic.toml"], 0);
    assert_eq!(again, out);
    // Other rollouts are another verifier.
    let samples = folder.path().join("run/samples/step-00000001.jsonl");
    std::fs::remove_file(samples).unwrap();
    let (_, error) = expect(folder.path(), &["critic", "critic.toml"], 2);
    assert!(error.contains("other samples"), "{error}");
}

#[test]
fn a_killed_verifier_ends_as_one_never_killed() {
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&whole, &killed] {
        make_logged(folder.path(), "objective = \"bradley-terry\"\nepochs = 2\n");
    }
    expect(whole.path(), &["critic", "critic.toml"], 0);
    let mut child =
        rltrain(killed.path()).args(["critic", "critic.toml"]).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&killed.path().join("run/verifier/step-00000002/manifest.json"));
    child.kill().unwrap();
    child.wait().unwrap();
    expect(killed.path(), &["critic", "critic.toml"], 0);
    let latest = |folder: &Path| std::fs::read_to_string(folder.join("run/verifier/latest")).unwrap();
    let last = latest(whole.path());
    assert_eq!(last, latest(killed.path()));
    let last = format!("run/verifier/{}", last.trim());
    assert_eq!(contents(&whole.path().join(&last)), contents(&killed.path().join(&last)));
    for file in ["metrics.jsonl", "quality.json"] {
        let read = |folder: &Path| std::fs::read_to_string(folder.join("run/verifier").join(file)).unwrap();
        assert_eq!(read(whole.path()), read(killed.path()), "{file}");
    }
}

#[test]
fn what_cannot_be_learnt_from_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let (_, error) = expect(folder.path(), &["critic", "recipe.toml"], 2);
    assert!(error.contains("no section `[verifier]`"), "{error}");
    edit(folder.path(), "[optimizer]\n", "[verifier]\n[optimizer]\n");
    let (_, error) = expect(folder.path(), &["critic", "recipe.toml"], 2);
    assert!(error.contains("no samples with a verdict"), "{error}");
    edit(folder.path(), "[verifier]\n", "[verifier]\nobjective = \"binary\"\ntoken_weights = true\n");
    let (_, error) = expect(folder.path(), &["check", "recipe.toml"], 2);
    assert!(error.contains("`verifier.token_weights` is set, but with `objective = \"binary\"`"), "{error}");
}

/// CodeRL: a reward term, token weights, and a choice at evaluation, saved and resumed with the policy.
#[test]
fn a_killed_run_with_a_critic_of_outcomes_ends_as_one_never_killed() {
    killed_and_resumed_ends_as_one_never_killed(
        "[verifier]\nreward_weight = 0.25\ntoken_weights = true\n[verifier.optimizer]\nlearning_rate = 1e-3\n",
    );
}

/// PRIME.
#[test]
fn a_killed_run_with_implicit_rewards_ends_as_one_never_killed() {
    killed_and_resumed_ends_as_one_never_killed(
        "[algorithm]\npreset = \"rloo\"\nkl_coefficient = 0.0\n[verifier]\nobjective = \"implicit\"\n\
         process_coefficient = 5.0\n[verifier.optimizer]\nlearning_rate = 1e-4\n",
    );
}

#[test]
fn a_run_measures_its_verifier_and_lets_it_choose() {
    let folder = tempfile::tempdir().unwrap();
    // The least that can be promised: of two tasks, one choice may be wrong.
    let accept = "[verifier.accept]\nerror = 0.99\ndoubt = 0.99\n";
    make_logged(folder.path(), &format!("epochs = 1\nheldout_share = 0.67\n{accept}"));
    let (out, _) = expect(folder.path(), &["critic", "critic.toml"], 0);
    assert!(out.contains("accept from 0."), "{out}");
    let steps = std::fs::read_to_string(folder.path().join("run/verifier/latest")).unwrap();
    // Another run goes on from that verifier.
    let section =
        format!("[verifier]\nstart = \"run/verifier/{}\"\nreward_weight = 0.5\n[optimizer]\n", steps.trim());
    edit(folder.path(), "[optimizer]\n", &section);
    edit(folder.path(), "run = \"run\"", "run = \"online\"");
    expect(folder.path(), &["recipe.toml"], 0);
    let run = folder.path().join("online");
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    for line in text.lines() {
        let step: Value = serde_json::from_str(line).unwrap();
        let number = |name: &str| step[name].as_f64().unwrap_or_else(|| panic!("{name}: {step}"));
        let parts = 0.5 * number("rewards/tests_passed/mean")
            + number("rewards/all_passed/mean")
            + 0.5 * number("rewards/verifier/mean");
        assert!((number("reward") - parts).abs() < 1e-9, "{step}");
        assert!((0.0..=1.0).contains(&number("verifier/accuracy")) && number("verifier/loss") > 0.0);
    }
    for evaluation in json(&run.join("evaluations.json"))["evaluations"].as_array().unwrap() {
        let chosen = &evaluation["selection"];
        assert!(chosen["ranked"].as_f64().unwrap() <= chosen["oracle"].as_f64().unwrap(), "{evaluation}");
        // Its threshold goes with it into the run.
        let acceptance = &evaluation["acceptance"];
        assert!(out.contains(&format!("accept from {:.2}:", acceptance["from"].as_f64().unwrap())));
        let accepted = acceptance["accepted"].as_f64().unwrap();
        assert_eq!(acceptance["error"].is_null(), accepted == 0.0, "{evaluation}");
    }
}
