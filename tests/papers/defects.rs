//! Defects and traps of released code (specification, section 9), of those that a part here could have. Named by number. Where a part has tests
//! of its own beside it, this is the same from outside.

use std::collections::BTreeMap;

use rltrain::rollout::grammar::{Allowed, Asap};
use rltrain_executor::{Ending, Outcome, OutcomeClass, Verdict, WallTime};
use rltrain_rewards::{Attempt, RewardSet, RewardsConfig, Task};

use crate::rltrain::expect;

/// The score of a program by the rewards of a recipe, in which every reward counts once.
fn score(rewards: &str, reference: Option<&str>, program: &str, verdict: &Verdict) -> Option<f64> {
    let config: RewardsConfig = toml::from_str(rewards).unwrap();
    let task = Task { id: "task", reference, ..Task::default() };
    let set = RewardSet::build(&config).unwrap();
    set.score(&Attempt::new(&task, program, program, verdict)).unwrap().parts[0].raw
}

fn verdict(load: Outcome, tests: &[Outcome]) -> Verdict {
    Verdict {
        load: load.into(),
        tests: tests.iter().map(|outcome| Ending::from(*outcome)).collect(),
        public: 0,
        fuel: 1,
        peak_memory_bytes: 1,
        wall: WallTime::default(),
        stdout: String::new(),
        stderr: String::new(),
        denied: BTreeMap::new(),
    }
}

fn passed() -> Verdict {
    verdict(Outcome::Passed, &[Outcome::Passed])
}

const LOOP: &str = "def f(x):\n    y = x + 1\n    for i in range(y):\n        y = y * i\n    return y\n";

/// PPOCoder cuts sample and reference at the end of the sample, so that the shorter the sample, the easier the match.
#[test]
fn defect_01_a_short_program_is_held_against_the_whole_reference() {
    let short = "def f(x):\n    y = x + 1\n";
    for reward in ["[ast_match]", "[dataflow_match]"] {
        let of = |program| score(reward, Some(LOOP), program, &passed()).unwrap();
        assert_eq!(of(LOOP), 1.0);
        assert!(of(short) < 0.6, "{reward}: {}", of(short));
    }
}

/// PPOCoder strips comments as if every program were Java.
#[test]
fn defect_02_comments_are_those_of_the_programs_language() {
    let commented = LOOP.replace("    y = x + 1\n", "    # y = x + 1 // not /* Java\n    y = x + 1\n");
    assert_eq!(score("[ast_match]", Some(LOOP), &commented, &passed()), Some(1.0));
}

/// CodeRL takes a name that is not defined for a program that does not compile.
#[test]
fn defect_03_a_name_that_is_not_defined_is_an_error_at_run_time() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("program"), "def f(n):\n return m\n").unwrap();
    let test = r#"{"kind": "call", "function": "f", "arguments": [1], "expected": 1}"#;
    std::fs::write(place.path().join("tests.jsonl"), test).unwrap();
    let arguments = ["exec", "program", "--lang", "toy-python", "--tests", "tests.jsonl", "--json"];
    let (out, _) = expect(place.path(), &arguments, 0);
    let judged: Verdict = serde_json::from_str(&out).unwrap();
    assert_eq!((judged.load.outcome, judged.class()), (Outcome::Passed, OutcomeClass::RuntimeError));
    assert_eq!(verdict(Outcome::SyntaxError, &[Outcome::NotRun]).class(), OutcomeClass::CompileError);
}

/// CodeBLEU scores 0 where the reference has no data flow.
#[test]
fn defect_04_a_reference_without_data_flow_is_no_reason_to_punish() {
    assert_eq!(score("[dataflow_match]", Some("pass\n"), "x = 1\ny = x\n", &passed()), None);
}

/// CodeBLEU counts no copies, so that long programs gain.
#[test]
fn defect_05_what_is_too_much_costs_where_it_is_asked_for() {
    let long = format!("{LOOP}\n{}", LOOP.replace("def f", "def g").repeat(3));
    let of =
        |form: &str| score(&format!("[ast_match]\nform = \"{form}\""), Some(LOOP), &long, &passed()).unwrap();
    assert!(of("upstream") > 0.85 && of("f1") < 0.6, "{} {}", of("upstream"), of("f1"));
}

/// Transformers-GAD shares one tree among all processors, and keeps it when the weights change.
#[test]
fn defect_08_a_tree_of_one_prompt_is_unknown_to_another() {
    let mut one = Asap::default();
    let place = one.extend(Asap::ROOT, 1, 0.5, Allowed { count: 2, probability: 1.0 });
    one.extend(place, 1, 0.5, Allowed { count: 1, probability: 0.5 });
    one.end(place);
    assert!(one.success(Asap::ROOT) < 1.0 || one.weights(Asap::ROOT).count() == 1);
    assert_eq!(Asap::default().weights(Asap::ROOT).count(), 0);
}

/// CodeRL ends a list of tests at the first failure, and counts the share of those that ran.
#[test]
fn defect_17_the_share_is_of_all_tests_whether_they_ran_or_not() {
    let cut = verdict(Outcome::Passed, &[Outcome::Passed, Outcome::Failed, Outcome::NotRun, Outcome::NotRun]);
    assert_eq!(score("[tests_passed]", None, "", &cut), Some(0.25));
    let whole =
        verdict(Outcome::Passed, &[Outcome::Passed, Outcome::Failed, Outcome::Failed, Outcome::Failed]);
    let graded = score("[outcome_table]\ngraded = true", None, "", &whole).unwrap();
    assert!((graded - (-0.3 + 1.3 * 0.25)).abs() < 1e-12, "{graded}");
}
