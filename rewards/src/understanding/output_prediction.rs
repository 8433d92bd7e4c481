//! `output_prediction`: the model says what a program gives.

use crate::form::answer;
use crate::term::reward_config;
use crate::{Attempt, Input, Reward};

reward_config! {
    /// `[rewards.output_prediction]`: 1 if the completion is the output that the task expects, else 0; white space at line ends and
    /// around it does not count.
    ///
    /// The answer is the last fenced block of the completion, or all of it. A task that expects no output gives no score.
    pub struct OutputPredictionConfig for "output_prediction" {}
}

/// Predicted output against the real one (TCoT; CoCoNUT, Beger and Dutta 2025, arXiv 2501.16456).
#[derive(Clone, Copy, Debug)]
pub struct OutputPrediction;

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.trim().lines().map(str::trim_end)
}

impl Reward for OutputPrediction {
    fn name(&self) -> &str {
        "output_prediction"
    }

    fn inputs(&self) -> &'static [Input] {
        &[Input::Output]
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let wanted = attempt.task.expected?.output.as_deref()?;
        Some(f64::from(u8::from(lines(wanted).eq(lines(answer(attempt.completion))))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::verdict;
    use crate::{Expected, Task};

    #[test]
    fn only_the_output_itself_is_right() {
        let score = |wanted: Option<&str>, completion| {
            let expected = Expected { output: wanted.map(str::to_owned), ..Expected::default() };
            let task = Task { expected: Some(&expected), ..Task::default() };
            OutputPrediction.score(&Attempt::new(&task, completion, "", &verdict(vec![])))
        };
        assert_eq!(score(Some("1\n2\n"), "1  \n2"), Some(1.0));
        assert_eq!(score(Some("1\n2\n"), "It prints\n```\n1\n2\n```\n"), Some(1.0));
        assert_eq!(score(Some("1\n2\n"), "1\n2\n3"), Some(0.0));
        assert_eq!(score(Some("12"), "1 2"), Some(0.0));
        assert_eq!(score(None, "1"), None);
    }
}
