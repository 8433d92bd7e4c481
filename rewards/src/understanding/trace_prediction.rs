//! `trace_prediction`: the model says which lines a program runs.

use crate::form::answer;
use crate::term::reward_config;
use crate::{Attempt, Input, Reward};

reward_config! {
    /// `[rewards.trace_prediction]`: 1 if the completion lists the lines that the program runs, in their order; below, the share of them
    /// up to the first mistake.
    ///
    /// The answer is the last fenced block of the completion, or all of it; its whole numbers are the lines. A task without a trace
    /// gives no score.
    pub struct TracePredictionConfig for "trace_prediction" {
        /// Whether a trace that begins right earns something. Default true.
        pub shaped: bool = true,
    }
}

/// Executed lines against predicted ones (CoCoNUT, Beger and Dutta 2025, arXiv 2501.16456): exact match, or
/// `common prefix / max(wanted, predicted)`.
#[derive(Clone, Copy, Debug)]
pub struct TracePrediction {
    shaped: bool,
}

impl TracePrediction {
    pub(crate) fn new(config: &TracePredictionConfig) -> Self {
        Self { shaped: config.shaped }
    }
}

/// The whole numbers of a text, in order; `None` if one is too large to be a line.
fn numbers(text: &str) -> Option<Vec<u32>> {
    let digits = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    digits.map(|digits| digits.parse().ok()).collect()
}

impl Reward for TracePrediction {
    fn name(&self) -> &str {
        "trace_prediction"
    }

    fn inputs(&self) -> &'static [Input] {
        &[Input::Trace]
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let wanted = attempt.task.expected?.trace.as_deref()?;
        let Some(found) = numbers(answer(attempt.completion)) else { return Some(0.0) };
        if wanted == found {
            return Some(1.0);
        }
        let prefix = wanted.iter().zip(&found).take_while(|(wanted, found)| wanted == found).count();
        let share = prefix as f64 / wanted.len().max(found.len()) as f64;
        Some(if self.shaped { share } else { 0.0 })
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        let wanted = attempt.task.expected.and_then(|expected| expected.trace.as_deref());
        match (wanted, numbers(answer(attempt.completion))) {
            (None, _) => "the task has no trace".to_owned(),
            (Some(wanted), Some(found)) => format!("{} lines named, wanted {}", found.len(), wanted.len()),
            (Some(_), None) => "a number is too large to be a line".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::verdict;
    use crate::{Expected, Task};

    #[test]
    fn a_trace_earns_as_far_as_it_is_right() {
        let score = |shaped, completion| {
            let expected = Expected { trace: Some(vec![1, 2, 3, 2]), ..Expected::default() };
            let task = Task { expected: Some(&expected), ..Task::default() };
            TracePrediction { shaped }.score(&Attempt::new(&task, completion, "", &verdict(vec![]))).unwrap()
        };
        assert_eq!(score(true, "[1, 2, 3, 2]"), 1.0);
        assert_eq!(score(true, "1 -> 2 -> 3"), 0.75);
        assert_eq!(score(true, "1 2 3 2 3 2 3 2"), 0.5);
        assert_eq!((score(true, "2 1"), score(true, ""), score(true, "99999999999")), (0.0, 0.0, 0.0));
        assert_eq!((score(false, "1, 2, 3, 2"), score(false, "1, 2, 3")), (1.0, 0.0));
    }
}
