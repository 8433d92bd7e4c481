//! `[iteration]`: expert iteration with a data set that grows.

use std::num::{NonZeroU64, NonZeroUsize};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[iteration]`: the attempts of some steps become a data set of states and targets, on which the model is fine-tuned, and the next
/// attempts are those of the fine-tuned model. Which attempts are right is `algorithm.advantage = "rejection"`'s to say. Without this
/// section a step learns from its own attempts alone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IterationConfig {
    /// What a state, that is a prompt with the programs and the feedback behind it, gets as its target. `own`: the program that was
    /// written there, if it is right (RFT). `expert`: the best program that was found for the task, in every state that any attempt
    /// at it came to (muCode). `bootstrap`: right programs, repairs among them, and the reference of tasks without one (Dr. Boot).
    /// `hindsight`: right programs, and wrong ones for the task whose examples they do solve (SOAR). Default `own`.
    pub relabel: Relabel,
    /// What fine-tuning starts from: the `base`, the model that the run started from, or the `current` model. Default `base`.
    pub from: FineTuneFrom,
    /// Steps between two fine-tunings, at least 1; the steps before only gather. Default 1.
    pub every: NonZeroU64,
    /// Whether what was gathered before the last fine-tuning is learnt from again. Default true.
    pub aggregate: bool,
    /// Passes over the data set, at least 1. Default 2.
    pub epochs: NonZeroUsize,
    /// Examples of an optimizer step, at least 1. Default 32.
    pub batch_size: NonZeroUsize,
    /// `expert`: what it counts that a program is right, at least 0. Default 1.
    #[schemars(range(min = 0.0))]
    pub reward_weight: f64,
    /// `expert`: what it counts that the verifier thinks a program right, from 0 to 1, when it was found; at least 0. Default 0.1.
    /// Without a `[verifier]`, nothing.
    #[schemars(range(min = 0.0))]
    pub score_weight: f64,
    /// `expert`: most wrong attempts at a task whose states are learnt from, the first ones, at least 1. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_failures: Option<NonZeroUsize>,
    /// `own` and `hindsight`: most examples of a task, at least 1: one half those of the best programs by their share of the public
    /// tests, one half those of the worst. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_per_task: Option<NonZeroUsize>,
}

impl Default for IterationConfig {
    fn default() -> Self {
        const fn nonzero(number: usize) -> NonZeroUsize {
            NonZeroUsize::new(number).expect("the numbers below are not zero")
        }
        Self {
            relabel: Relabel::default(),
            from: FineTuneFrom::default(),
            every: NonZeroU64::MIN,
            aggregate: true,
            epochs: const { nonzero(2) },
            batch_size: const { nonzero(32) },
            reward_weight: 1.0,
            score_weight: 0.1,
            most_failures: None,
            most_per_task: None,
        }
    }
}

impl IterationConfig {
    /// Whether the model is fine-tuned in step `step`, from 0.
    pub fn is_due(&self, step: u64) -> bool {
        (step + 1).is_multiple_of(self.every.get())
    }

    /// The setting that keeps `key` from being read; `None` if it is read.
    pub fn unread(&self, key: &str) -> Option<&'static str> {
        let is_read = match key {
            "reward_weight" | "score_weight" | "most_failures" => self.relabel == Relabel::Expert,
            "most_per_task" => matches!(self.relabel, Relabel::Own | Relabel::Hindsight),
            _ => true,
        };
        (!is_read).then_some(match self.relabel {
            Relabel::Own => "relabel = \"own\"",
            Relabel::Expert => "relabel = \"expert\"",
            Relabel::Bootstrap => "relabel = \"bootstrap\"",
            Relabel::Hindsight => "relabel = \"hindsight\"",
        })
    }
}

/// What a state gets as its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Relabel {
    /// What was written there, if it is right. RFT (Yuan et al. 2023, arXiv:2308.01825).
    #[default]
    Own,
    /// The best program that was found for the task. muCode (Jain et al. 2025, arXiv:2502.20380).
    Expert,
    /// What was written there, if it is right; the reference, where nothing is. Dr. Boot (van der Vleuten 2023).
    Bootstrap,
    /// What was written there, if it is right, or else as a solution of another task. SOAR (Pourcel et al. 2025, arXiv:2507.14172).
    Hindsight,
}

/// What fine-tuning starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FineTuneFrom {
    /// The model that the run started from.
    #[default]
    Base,
    /// The model as it is.
    Current,
}
