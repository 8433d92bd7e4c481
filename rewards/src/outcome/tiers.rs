//! `tiers`: how far a program gets on its way from text to right.

use rltrain_executor::{Outcome, Verdict};

use crate::term::reward_config;
use crate::{Attempt, Reward};

reward_config! {
    /// `[rewards.tiers]`: how far the program gets: it parses, it loads, every test runs to its end, every test passes. From 0 to 1.
    pub struct TiersConfig for "tiers" {
        /// Score of a program that parses and does not load, from 0 to `load`. Default 0.1.
        pub parse: f64 = 0.1,
        /// Score of a program that loads, and raises or runs into a limit in a test, from `parse` to `run`. Default 0.3.
        pub load: f64 = 0.3,
        /// Score of a program that runs all tests to their end and fails one, from `load` to 1. Default 0.5.
        pub run: f64 = 0.5,
    }
}

/// The compiler's and the tests' feedback in tiers; what passes scores 1, what does not parse 0.
#[derive(Clone, Debug)]
pub struct Tiers {
    config: TiersConfig,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tier {
    Nothing,
    Parses,
    Loads,
    Runs,
    Passes,
}

fn tier(verdict: &Verdict) -> Tier {
    if verdict.load.outcome == Outcome::SyntaxError {
        Tier::Nothing
    } else if !verdict.load.passed() {
        Tier::Parses
    } else if verdict.all_passed() {
        Tier::Passes
    } else if verdict.tests.iter().all(|test| matches!(test.outcome, Outcome::Passed | Outcome::Failed)) {
        Tier::Runs
    } else {
        Tier::Loads
    }
}

impl Tiers {
    pub(crate) fn new(config: &TiersConfig) -> Result<Self, String> {
        let ladder = [0.0, config.parse, config.load, config.run, 1.0];
        if !ladder.windows(2).all(|pair| pair[0] <= pair[1]) {
            let [_, parse, load, run, _] = ladder;
            return Err(format!(
                "the tiers are {parse}, {load} and {run}, wanted 0 ≤ parse ≤ load ≤ run ≤ 1: a program that gets further earns no less"
            ));
        }
        Ok(Self { config: config.clone() })
    }
}

impl Reward for Tiers {
    fn name(&self) -> &str {
        "tiers"
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let config = &self.config;
        (attempt.verdict.total() > 0).then(|| match tier(attempt.verdict) {
            Tier::Nothing => 0.0,
            Tier::Parses => config.parse,
            Tier::Loads => config.load,
            Tier::Runs => config.run,
            Tier::Passes => 1.0,
        })
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        let how_far = match tier(attempt.verdict) {
            Tier::Nothing => "does not parse",
            Tier::Parses => "parses, and does not load",
            Tier::Loads => "loads; a test raises or runs into a limit",
            Tier::Runs => "runs; a test fails",
            Tier::Passes => "passes",
        };
        how_far.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use Outcome::{Failed, OutOfFuel, Passed, Raised, SyntaxError};

    use super::*;
    use crate::tests::{attempt, task, unloaded, verdict};

    #[test]
    fn a_program_that_gets_further_earns_more() {
        let tiers = Tiers::new(&TiersConfig::default()).unwrap();
        let ladder = [
            unloaded(SyntaxError, 2),
            unloaded(Raised, 2),
            verdict(vec![Passed, OutOfFuel]),
            verdict(vec![Passed, Failed]),
            verdict(vec![Passed, Passed]),
        ];
        let scores = ladder.map(|verdict| tiers.score(&attempt(&task(), &verdict)).unwrap());
        assert_eq!(scores, [0.0, 0.1, 0.3, 0.5, 1.0]);
    }

    #[test]
    fn a_ladder_that_goes_down_is_refused() {
        for (parse, load, run) in [(0.5, 0.3, 0.5), (-0.1, 0.3, 0.5), (0.1, 0.3, 1.1), (0.1, f64::NAN, 0.5)] {
            let config = TiersConfig { parse, load, run, ..TiersConfig::default() };
            assert!(Tiers::new(&config).unwrap_err().contains("wanted 0 ≤ parse ≤ load ≤ run ≤ 1"));
        }
    }
}
