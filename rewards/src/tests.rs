use std::collections::BTreeMap;

use proptest::prelude::*;
use rltrain_executor::{Outcome, Verdict, WallTime};

use super::*;
use crate::set::tests_support;

/// A verdict on a program that loaded.
pub(crate) fn verdict(tests: Vec<Outcome>) -> Verdict {
    Verdict {
        load: Outcome::Passed.into(),
        tests: tests.into_iter().map(Into::into).collect(),
        public: 0,
        fuel: 1,
        peak_memory_bytes: 1,
        wall: WallTime::default(),
        stdout: String::new(),
        stderr: String::new(),
        denied: BTreeMap::new(),
    }
}

/// A verdict on a program that did not load, for which there were `tests` tests.
pub(crate) fn unloaded(load: Outcome, tests: usize) -> Verdict {
    Verdict { load: load.into(), ..verdict(vec![Outcome::NotRun; tests]) }
}

/// A task that is nothing but its name, `task`.
pub(crate) fn task() -> Task<'static> {
    Task { id: "task", ..Task::default() }
}

pub(crate) fn attempt<'a>(task: &'a Task<'a>, verdict: &'a Verdict) -> Attempt<'a> {
    Attempt::new(task, "", "", verdict)
}

fn weight(value: f64) -> Weight {
    Weight::try_from(value).unwrap()
}

fn both(tests_passed: f64, all_passed: f64) -> RewardsConfig {
    RewardsConfig {
        tests_passed: Some(TestsPassedConfig {
            weight: weight(tests_passed),
            ..TestsPassedConfig::default()
        }),
        all_passed: Some(AllPassedConfig { weight: weight(all_passed), ..AllPassedConfig::default() }),
        ..RewardsConfig::default()
    }
}

/// The score of a verdict, by the rewards of `config`.
fn score(config: &RewardsConfig, verdict: &Verdict) -> Scored {
    RewardSet::build(config).unwrap().score(&attempt(&task(), verdict)).unwrap()
}

/// Name and raw score of each part.
fn raw(scored: &Scored) -> Vec<(&str, Option<f64>)> {
    scored.parts.iter().map(|part| (&*part.name, part.raw)).collect()
}

#[test]
fn a_half_right_program_earns_half_of_one_reward_and_none_of_the_other() {
    let scored = score(&both(2.0, 10.0), &verdict(vec![Outcome::Passed, Outcome::Failed]));
    assert_eq!(raw(&scored), [("tests_passed", Some(0.5)), ("all_passed", Some(0.0))]);
    assert_eq!(scored.total, 1.0);
}

#[test]
fn nothing_that_ends_otherwise_than_passed_earns_anything() {
    for outcome in [
        Outcome::Failed,
        Outcome::Raised,
        Outcome::SyntaxError,
        Outcome::Exited,
        Outcome::OutOfTime,
        Outcome::OutOfFuel,
        Outcome::OutOfMemory,
        Outcome::StackOverflow,
        Outcome::OutputLimit,
        Outcome::Crashed,
        Outcome::NotRun,
    ] {
        assert_eq!(score(&both(1.0, 1.0), &verdict(vec![outcome])).total, 0.0, "{outcome:?}");
    }
}

#[test]
fn a_verdict_without_tests_has_no_score_at_all() {
    let scored = score(&both(1.0, 1.0), &verdict(Vec::new()));
    assert_eq!(raw(&scored), [("tests_passed", None), ("all_passed", None)]);
    assert_eq!(scored.total, 0.0);
}

#[test]
fn only_the_rewards_with_a_table_are_used() {
    let config = RewardsConfig { all_passed: Some(AllPassedConfig::default()), ..RewardsConfig::default() };
    let rewards = RewardSet::build(&config).unwrap();
    assert_eq!(rewards.names().collect::<Vec<_>>(), ["all_passed"]);
}

#[test]
fn rewards_that_cannot_tell_attempts_apart_are_refused() {
    for config in [RewardsConfig::default(), both(0.0, 0.0)] {
        assert_eq!(RewardSet::build(&config).err(), Some(RewardsError::NoSignal));
    }
    assert!(RewardSet::build(&both(0.0, 1.0)).is_ok());
}

/// A reward that scores what it is told.
struct Saying(f64);

impl Reward for Saying {
    fn name(&self) -> &str {
        "saying"
    }
    fn score(&self, _: &Attempt<'_>) -> Option<f64> {
        Some(self.0)
    }
}

#[test]
fn a_reward_outside_its_range_is_an_error_and_no_number() {
    let verdict = verdict(vec![Outcome::Passed]);
    for score in [2.0, -0.1, f64::NAN, f64::INFINITY] {
        let error = tests_support::of_one(Saying(score)).score(&attempt(&task(), &verdict)).unwrap_err();
        assert_eq!(error.to_string(), format!("reward `saying` scored {score}, wanted a number from 0 to 1"));
    }
    assert_eq!(tests_support::of_one(Saying(1.0)).score(&attempt(&task(), &verdict)).unwrap().total, 1.0);
}

/// A plug-in that is never well.
struct Broken;

impl PlugIn for Broken {
    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<PlugInScore> {
        attempts.iter().map(|_| Err(PlugInError::Reported("no model".to_owned()))).collect()
    }
}

#[test]
fn a_plug_in_that_fails_is_an_error_and_no_number() {
    let (task, verdict) = (task(), verdict(vec![Outcome::Passed]));
    let error = tests_support::of_plug_in("judge", Broken).score(&attempt(&task, &verdict)).unwrap_err();
    assert!(matches!(error, RewardError::PlugIn { .. }));
    assert_eq!(error.to_string(), "reward `judge` has no score to give");
}

#[test]
fn a_part_counts_only_where_another_holds() {
    let mut config = both(1.0, 1.0);
    config.tests_passed.as_mut().unwrap().only_if = Some("all_passed".parse().unwrap());
    let half = score(&config, &verdict(vec![Outcome::Passed, Outcome::Failed]));
    assert_eq!((half.parts[0].raw, half.parts[0].shaped, half.parts[0].effective), (Some(0.5), None, 0.0));
    assert_eq!(half.total, 0.0);
    assert_eq!(score(&config, &verdict(vec![Outcome::Passed])).total, 2.0);
}

#[test]
fn a_gate_asks_for_another_reward_of_the_recipe() {
    for gate in ["tests_passed", "codebleu > 0.5"] {
        let mut config = both(1.0, 1.0);
        config.tests_passed.as_mut().unwrap().only_if = Some(gate.parse().unwrap());
        let error = RewardSet::build(&config).err().unwrap();
        let name = gate.split(' ').next().unwrap();
        let message = format!(
            "`rewards.tests_passed.only_if` asks for `{name}`, wanted another reward of the recipe: all_passed"
        );
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn bounds_shape_the_score_and_leave_the_raw_one() {
    let mut config = both(2.0, 0.0);
    let table = config.tests_passed.as_mut().unwrap();
    (table.min, table.max) = (Some(0.3), Some(0.6));
    let part = |tests| score(&config, &verdict(tests)).parts.swap_remove(0);
    let right = part(vec![Outcome::Passed]);
    assert_eq!((right.raw, right.shaped, right.effective), (Some(1.0), Some(0.6), 1.2));
    assert_eq!(part(vec![Outcome::Failed]).shaped, Some(0.3));
    config.tests_passed.as_mut().unwrap().min = Some(0.7);
    let error = RewardSet::build(&config).err().unwrap();
    assert_eq!(
        error.to_string(),
        "`rewards.tests_passed` cannot work: `min` is 0.7, above `max`, which is 0.6"
    );
}

#[test]
fn a_table_that_cannot_work_is_named() {
    let config = RewardsConfig {
        tiers: Some(TiersConfig { run: 2.0, ..TiersConfig::default() }),
        ..RewardsConfig::default()
    };
    assert!(
        RewardSet::build(&config).err().unwrap().to_string().starts_with("`rewards.tiers` cannot work: ")
    );
}

proptest! {
    #[test]
    fn passing_one_more_test_never_earns_less(
        passed in 0_usize..8,
        failed in 1_usize..8,
        first in 0.0_f64..1000.0,
        second in 0.001_f64..1000.0,
    ) {
        let total = |passed: usize, failed: usize| {
            let tests = [vec![Outcome::Passed; passed], vec![Outcome::Failed; failed]].concat();
            score(&both(first, second), &verdict(tests)).total
        };
        prop_assert!(total(passed + 1, failed - 1) >= total(passed, failed));
        prop_assert!(total(passed, failed).is_finite());
    }

    #[test]
    fn the_order_of_tests_does_not_matter(mut tests in proptest::collection::vec(any::<bool>(), 1..10)) {
        let outcome = |passed: &bool| if *passed { Outcome::Passed } else { Outcome::Failed };
        let total = |tests: &[bool]| score(&both(1.0, 1.0), &verdict(tests.iter().map(outcome).collect())).total;
        let before = total(&tests);
        tests.reverse();
        prop_assert_eq!(total(&tests), before);
    }
}
