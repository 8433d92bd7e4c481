//! `orps`: tests passed, and more for code that is short, plain and fast.

use std::ops::RangeInclusive;

use crate::structure::{Complexity, Syntax};
use crate::term::reward_config;
use crate::{Attempt, Input, Reward};

reward_config! {
    /// `[rewards.orps]`: the share of tests that pass, times up to 2 for a program that is short, simple and takes little fuel; from 0
    /// to 2.
    pub struct OrpsConfig for "orps" {
        /// Fuel at which the term for it is one half, above 0. Default 1e8.
        pub fuel_scale: f64 = 1e8,
    }
}

/// The execution score of ORPS (Yu et al. 2024, arXiv 2412.15118): `success · (1 + static/2 + dynamic/2)`, with
///
/// ```text
/// static  = mean of 1/(1 + nodes/100), 1/(1 + cyclomatic), 1/(1 + cognitive/10), 1/(1 + lines/50)
/// dynamic = 1/(1 + fuel/fuel_scale)
/// ```
///
/// The authors' dynamic part has time, branch misses and page faults as well; those depend on the machine, so fuel stands for all.
#[derive(Clone, Copy, Debug)]
pub struct Orps {
    fuel_scale: f64,
}

/// With the scale of fuel that a recipe has by default.
impl Default for Orps {
    fn default() -> Self {
        Self { fuel_scale: OrpsConfig::default().fuel_scale }
    }
}

impl Orps {
    pub(crate) fn new(config: &OrpsConfig) -> Result<Self, String> {
        if config.fuel_scale > 0.0 && config.fuel_scale.is_finite() {
            return Ok(Self { fuel_scale: config.fuel_scale });
        }
        Err(format!("`fuel_scale` is {}, wanted a finite number above 0", config.fuel_scale))
    }
}

/// The static part.
fn plainness(code: Complexity) -> f64 {
    let term = |value: u32, scale: f64| 1.0 / (1.0 + f64::from(value) / scale);
    let terms = [
        term(code.nodes, 100.0),
        term(code.cyclomatic, 1.0),
        term(code.cognitive, 10.0),
        term(code.lines, 50.0),
    ];
    terms.iter().sum::<f64>() / 4.0
}

fn total(success: f64, plainness: f64, speed: f64) -> f64 {
    success * (1.0 + 0.5 * plainness + 0.5 * speed)
}

impl Reward for Orps {
    fn name(&self) -> &str {
        "orps"
    }

    fn inputs(&self) -> &'static [Input] {
        &[Input::Grammar]
    }

    fn range(&self) -> RangeInclusive<f64> {
        0.0..=2.0
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let verdict = attempt.verdict;
        if verdict.total() == 0 {
            return None;
        }
        let success = verdict.passed() as f64 / verdict.total() as f64;
        let syntax = attempt.parsed.get(attempt.program, attempt.task.language);
        let plainness = syntax.map_or(0.0, |syntax| plainness(syntax.complexity()));
        Some(total(success, plainness, 1.0 / (1.0 + verdict.fuel as f64 / self.fuel_scale)))
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        let syntax = attempt.parsed.get(attempt.program, attempt.task.language);
        match syntax.map(Syntax::complexity) {
            Some(code) => format!(
                "{} nodes, cyclomatic {}, cognitive {}, {} lines, fuel {}",
                code.nodes, code.cyclomatic, code.cognitive, code.lines, attempt.verdict.fuel
            ),
            None => "the program is too long or too deep to look at".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_those_of_the_specification() {
        let first = plainness(Complexity { nodes: 100, cyclomatic: 1, cognitive: 0, lines: 50 });
        assert_eq!(first, 0.625);
        assert_eq!(total(1.0, first, 0.5), 1.5625);
        let second = plainness(Complexity { nodes: 50, cyclomatic: 3, cognitive: 10, lines: 25 });
        assert!((second - 0.520_833_3).abs() < 1e-7);
        assert!((total(0.5, second, 0.787_878_8) - 0.827_178_0).abs() < 1e-7);
    }

    #[test]
    fn a_wrong_program_earns_nothing_however_short() {
        assert_eq!(total(0.0, 1.0, 1.0), 0.0);
    }
}
