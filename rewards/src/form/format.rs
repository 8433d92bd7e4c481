//! `format`: the completion has the shape that was asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fence::blocks;
use crate::structure::Language;
use crate::term::reward_config;
use crate::{Attempt, Reward};

/// What is asked of fences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fence {
    /// Nothing.
    #[default]
    Any,
    /// One block, labelled with the task's language or not at all.
    One,
    /// No fence: the completion is the program.
    None,
}

reward_config! {
    /// `[rewards.format]`: 1 if the completion has the shape that is asked for, else 0. A completion that was cut off has not.
    pub struct FormatConfig for "format" {
        /// `any`, `one` (one fenced block, labelled with the language or not at all) or `none` (no fence). Default `any`.
        pub fence: Fence = Fence::Any,
        /// Tags that must come once each and in this order, such as `["think", "answer"]` for `<think>…</think><answer>…</answer>`.
        /// Default: none.
        pub tags: Vec<String> = Vec::new(),
    }
}

/// 1 if the completion has the shape that is asked for, else 0.
#[derive(Clone, Debug)]
pub struct Format {
    fence: Fence,
    tags: Vec<String>,
}

impl Format {
    pub(crate) fn new(config: &FormatConfig) -> Result<Self, String> {
        let (fence, tags) = (config.fence, config.tags.clone());
        let named = |tag: &String| !tag.is_empty() && !tag.contains(['<', '>', '/']);
        if !tags.iter().all(named) {
            return Err(format!("the tags are {tags:?}, wanted names without brackets, such as \"think\""));
        }
        Ok(Self { fence, tags })
    }

    /// What is wrong with a completion.
    fn fault(&self, attempt: &Attempt<'_>) -> Option<String> {
        if attempt.length.is_some_and(|length| length.truncated) {
            return Some("cut off".to_owned());
        }
        self.fence_fault(attempt).or_else(|| self.tag_fault(attempt.completion))
    }

    fn fence_fault(&self, attempt: &Attempt<'_>) -> Option<String> {
        let (blocks, closed) = blocks(attempt.completion);
        let language =
            |label: &str| label.is_empty() || Language::named(label) == Some(attempt.task.language);
        match self.fence {
            Fence::Any => None,
            _ if !closed => Some("a fence is left open".to_owned()),
            Fence::None => {
                (!blocks.is_empty()).then(|| format!("{} fenced blocks, wanted none", blocks.len()))
            }
            Fence::One => match blocks[..] {
                [block] if language(block.label) => None,
                [block] => Some(format!("the block is labelled `{}`", block.label)),
                _ => Some(format!("{} fenced blocks, wanted one", blocks.len())),
            },
        }
    }

    fn tag_fault(&self, completion: &str) -> Option<String> {
        let mut rest = 0;
        for tag in &self.tags {
            for mark in [format!("<{tag}>"), format!("</{tag}>")] {
                let count = completion.matches(&mark).count();
                if count != 1 {
                    return Some(format!("`{mark}` comes {count} times, wanted once"));
                }
                match completion[rest..].find(&mark) {
                    Some(at) => rest += at + mark.len(),
                    None => return Some(format!("`{mark}` is not in its place")),
                }
            }
        }
        None
    }
}

impl Reward for Format {
    fn name(&self) -> &str {
        "format"
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        Some(if self.fault(attempt).is_none() { 1.0 } else { 0.0 })
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        self.fault(attempt).unwrap_or_else(|| "as asked for".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Length;
    use crate::tests::{task, verdict};

    fn score(fence: Fence, tags: &[&str], completion: &str) -> f64 {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let format = Format::new(&FormatConfig { fence, tags, ..FormatConfig::default() }).unwrap();
        let (task, verdict) = (task(), verdict(vec![]));
        format.score(&Attempt::new(&task, completion, "", &verdict)).unwrap()
    }

    #[test]
    fn one_block_of_the_language_is_one_block() {
        let one = |completion| score(Fence::One, &[], completion);
        assert_eq!(one("Here:\n```python\nx\n```\n"), 1.0);
        assert_eq!(one("```\nx\n```"), 1.0);
        assert_eq!(one("```sql\nx\n```"), 0.0);
        assert_eq!(one("```python\nx\n"), 0.0);
        assert_eq!(one("```python\nx\n```\n```python\ny\n```\n"), 0.0);
        assert_eq!(one("x"), 0.0);
        assert_eq!((score(Fence::None, &[], "x"), score(Fence::None, &[], "```\nx\n```")), (1.0, 0.0));
    }

    #[test]
    fn tags_come_once_and_in_order() {
        let tagged = |completion| score(Fence::Any, &["think", "answer"], completion);
        assert_eq!(tagged("<think>a</think>\n<answer>b</answer>"), 1.0);
        assert_eq!(tagged("<answer>b</answer><think>a</think>"), 0.0);
        assert_eq!(tagged("<think>a</think><answer>b"), 0.0);
        assert_eq!(tagged("<think></think><think>a</think><answer>b</answer>"), 0.0);
    }

    #[test]
    fn a_completion_that_was_cut_off_has_not_the_form() {
        let (task, verdict) = (task(), verdict(vec![]));
        let length = Some(Length { tokens: 8, most: 8, truncated: true });
        let format = Format::new(&FormatConfig::default()).unwrap();
        assert_eq!(format.score(&Attempt { length, ..Attempt::new(&task, "x", "", &verdict) }), Some(0.0));
    }

    #[test]
    fn tags_are_names() {
        for tag in ["", "<think>", "/think"] {
            let config = FormatConfig { tags: vec![tag.to_owned()], ..FormatConfig::default() };
            assert!(Format::new(&config).unwrap_err().contains("wanted names without brackets"));
        }
    }
}
