//! `structured_output`: the completion is data of a format, with what the task wants in it.

use super::answer;
use super::data::{has_path, read, similarity};
use crate::term::reward_config;
use crate::{Attempt, ExpectedStructure, Input, Reward};

reward_config! {
    /// `[rewards.structured_output]`: for tasks that ask for data: it can be read as JSON, YAML, TOML or CSV, the paths that the task
    /// names are there, and it is built like the data that the task has; from 0 to 1.
    ///
    /// The data is the last fenced block of the completion, or all of it. Shares of what a task does not state are left out of the
    /// mean. A task that asks for no data gives no score.
    pub struct StructuredOutputConfig for "structured_output" {
        /// Share of data that can be read, at least 0. Default 0.4.
        pub parse_share: f64 = 0.4,
        /// Share of the paths that are there, at least 0. Default 0.6.
        pub path_share: f64 = 0.6,
        /// Share of the similarity with the task's data, at least 0. Default 0.
        pub similarity_share: f64 = 0.0,
    }
}

/// StructEval (Yang et al. 2025, arXiv 2505.20139), as its code weighs text with non-renderable output; 0.4, 0.2 and 0.4 are its
/// weights for conversions.
#[derive(Clone, Copy, Debug)]
pub struct StructuredOutput {
    shares: [f64; 3],
}

impl StructuredOutput {
    pub(crate) fn new(config: &StructuredOutputConfig) -> Result<Self, String> {
        let shares = [config.parse_share, config.path_share, config.similarity_share];
        let holds = shares.iter().all(|share| *share >= 0.0 && share.is_finite()) && shares[0] > 0.0;
        if !holds {
            return Err(format!(
                "the shares are {shares:?}, wanted finite numbers from 0, the first above 0"
            ));
        }
        Ok(Self { shares })
    }

    /// Readable, paths, similarity; each `None` if the task does not ask for it.
    fn parts(wanted: &ExpectedStructure, completion: &str) -> [Option<f64>; 3] {
        let data = read(wanted.format, answer(completion));
        let there = |data| wanted.paths.iter().filter(|path| has_path(data, path)).count() as f64;
        let paths = data.as_ref().map_or(0.0, there) / wanted.paths.len().max(1) as f64;
        let alike = |wanted| data.as_ref().map_or(0.0, |data| similarity(wanted, data));
        [
            Some(f64::from(u8::from(data.is_some()))),
            (!wanted.paths.is_empty()).then_some(paths),
            wanted.value.as_ref().map(alike),
        ]
    }
}

impl Reward for StructuredOutput {
    fn name(&self) -> &str {
        "structured_output"
    }

    fn inputs(&self) -> &'static [Input] {
        &[Input::Structure]
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let wanted = attempt.task.expected?.structure.as_ref()?;
        let parts = Self::parts(wanted, attempt.completion);
        let (mut sum, mut shares) = (0.0, 0.0);
        for (part, share) in parts.iter().zip(self.shares) {
            if let Some(part) = part {
                sum += part * share;
                shares += share;
            }
        }
        Some((sum / shares).clamp(0.0, 1.0))
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        match attempt.task.expected.and_then(|expected| expected.structure.as_ref()) {
            Some(wanted) => {
                let [readable, paths, alike] =
                    Self::parts(wanted, attempt.completion).map(crate::reward::Shown);
                format!("readable as {:?} {readable}, paths {paths}, similarity {alike}", wanted.format)
            }
            None => "the task asks for no data".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::verdict;
    use crate::{DataFormat, Expected, Task};

    fn score(
        config: &StructuredOutputConfig,
        structure: Option<ExpectedStructure>,
        completion: &str,
    ) -> Option<f64> {
        let expected = Expected { structure, ..Expected::default() };
        let task = Task { expected: Some(&expected), ..Task::default() };
        let verdict = verdict(vec![]);
        StructuredOutput::new(config).unwrap().score(&Attempt::new(&task, completion, "", &verdict))
    }

    fn wanted(paths: &[&str]) -> Option<ExpectedStructure> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        Some(ExpectedStructure { format: DataFormat::Json, paths, value: None })
    }

    #[test]
    fn reading_and_paths_count_as_structeval_counts_them() {
        let score =
            |paths: &[&str], text| score(&StructuredOutputConfig::default(), wanted(paths), text).unwrap();
        assert_eq!(score(&["a", "b"], "Here:\n```json\n{\"a\": 1, \"b\": 2}\n```\n"), 1.0);
        assert!((score(&["a", "b"], "{\"a\": 1}") - 0.7).abs() < 1e-12);
        assert_eq!(score(&["a"], "{\"a\": 1"), 0.0);
        assert_eq!(score(&[], "[]"), 1.0);
    }

    #[test]
    fn a_conversion_is_held_against_the_data() {
        let config = StructuredOutputConfig {
            path_share: 0.2,
            similarity_share: 0.4,
            ..StructuredOutputConfig::default()
        };
        let value = Some(json!([1, 2]));
        let structure = ExpectedStructure { format: DataFormat::Yaml, paths: vec!["[0]".into()], value };
        assert_eq!(score(&config, Some(structure.clone()), "- 1\n- 2\n"), Some(1.0));
        assert!((score(&config, Some(structure), "- 1\n").unwrap() - 0.8).abs() < 1e-12);
        assert_eq!(score(&config, None, "- 1\n"), None);
    }
}
