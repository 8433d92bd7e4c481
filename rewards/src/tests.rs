use std::collections::BTreeMap;

use proptest::prelude::*;
use rltrain_executor::{Outcome, Verdict, WallTime};

use super::*;

fn verdict(tests: Vec<Outcome>) -> Verdict {
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

fn attempt(verdict: &Verdict) -> Attempt<'_> {
    Attempt { prompt: "", completion: "", program: "", verdict }
}

fn weight(value: f64) -> Weight {
    Weight::try_from(value).unwrap()
}

fn both(tests_passed: f64, all_passed: f64) -> RewardsConfig {
    RewardsConfig {
        tests_passed: Some(TestsPassedConfig { weight: weight(tests_passed) }),
        all_passed: Some(AllPassedConfig { weight: weight(all_passed) }),
    }
}

#[test]
fn a_half_right_program_earns_half_of_one_reward_and_none_of_the_other() {
    let rewards = RewardSet::build(&both(2.0, 10.0)).unwrap();
    let verdict = verdict(vec![Outcome::Passed, Outcome::Failed]);
    let scored = rewards.score(&attempt(&verdict));
    assert_eq!(scored.parts, [("tests_passed", Some(0.5)), ("all_passed", Some(0.0))]);
    assert_eq!(scored.total, 1.0);
}

#[test]
fn nothing_that_ends_otherwise_than_passed_earns_anything() {
    let rewards = RewardSet::build(&both(1.0, 1.0)).unwrap();
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
        assert_eq!(rewards.score(&attempt(&verdict(vec![outcome]))).total, 0.0, "{outcome:?}");
    }
}

#[test]
fn a_verdict_without_tests_has_no_score_at_all() {
    let rewards = RewardSet::build(&both(1.0, 1.0)).unwrap();
    let scored = rewards.score(&attempt(&verdict(Vec::new())));
    assert_eq!(scored.parts, [("tests_passed", None), ("all_passed", None)]);
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

#[test]
#[should_panic(expected = "reward `boasting` scored 2, wanted [-1, 1]")]
fn a_reward_outside_its_range_stops_the_run() {
    struct Boasting;
    impl Reward for Boasting {
        fn name(&self) -> &'static str {
            "boasting"
        }
        fn score(&self, _: &Attempt<'_>) -> Option<f64> {
            Some(2.0)
        }
    }
    let rewards = RewardSet { rewards: vec![(Weight::default(), Box::new(Boasting))] };
    rewards.score(&attempt(&verdict(vec![Outcome::Passed])));
}

proptest! {
    #[test]
    fn passing_one_more_test_never_earns_less(
        passed in 0_usize..8,
        failed in 1_usize..8,
        first in 0.0_f64..1000.0,
        second in 0.001_f64..1000.0,
    ) {
        let rewards = RewardSet::build(&both(first, second)).unwrap();
        let total = |passed: usize, failed: usize| {
            let tests = [vec![Outcome::Passed; passed], vec![Outcome::Failed; failed]].concat();
            rewards.score(&attempt(&verdict(tests))).total
        };
        prop_assert!(total(passed + 1, failed - 1) >= total(passed, failed));
        prop_assert!(total(passed, failed).is_finite());
    }

    #[test]
    fn the_order_of_tests_does_not_matter(mut tests in proptest::collection::vec(any::<bool>(), 1..10)) {
        let rewards = RewardSet::build(&both(1.0, 1.0)).unwrap();
        let outcome = |passed: &bool| if *passed { Outcome::Passed } else { Outcome::Failed };
        let score = |tests: &[bool]| rewards.score(&attempt(&verdict(tests.iter().map(outcome).collect()))).total;
        let before = score(&tests);
        tests.reverse();
        prop_assert_eq!(score(&tests), before);
    }
}
