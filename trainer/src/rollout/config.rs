//! `[rollout]`: how attempts are sampled.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::allotment::GroupSizes;
use super::grammar::GrammarConfig;
use super::request::Sampling;
use super::shaping::Shaping;
use crate::fleet::{RemoteConfig, RolloutEngine};
use crate::rng::Stream;

/// `[rollout]`: how attempts are sampled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutConfig {
    /// Tasks drawn for each step. Default 8. The gradient is averaged over all of them: more make a step
    /// steadier and slower.
    pub tasks_per_step: NonZeroUsize,
    /// Attempts per task, at least 2: an attempt learns from being better or worse than its siblings. Default
    /// 8. A task that every attempt solves, or none, teaches nothing, and large groups agree less often.
    #[schemars(range(min = 2))]
    pub group_size: NonZeroUsize,
    /// Fewest attempts of a group, at most `group_size`. With both bounds, groups differ in size: `group_size` is their mean, and
    /// tasks that are hardly ever or nearly always solved get attempts of those that are solved half of the time, so that as
    /// many groups as possible have both outcomes. Absent, with `group_size_max`: all groups are of one size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_size_min: Option<NonZeroUsize>,
    /// Most attempts of a group, at least `group_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_size_max: Option<NonZeroUsize>,
    /// Sampling temperature, above 0. Default 1: the model's own distribution, which is also the one that is
    /// trained.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub temperature: f64,
    /// Steps by which sampling may run ahead of learning, 0 or 1. Default 0: every attempt is of the weights that learn from it. 1:
    /// the attempts of a step are sampled, executed and scored while the step before it is learnt from, by the weights before its
    /// update. The importance ratio, or `algorithm.correction`, makes up for the difference.
    #[schemars(range(max = 1))]
    pub staleness: u64,
    /// Longest completion, in tokens. Default 256. A longer one is cut there, and usually fails its tests.
    pub max_tokens: NonZeroUsize,
    /// Most attempts decoded together. Default 64. Memory grows with it (the key-value cache holds this many
    /// rows), and so does speed, until the processor is busy. What is sampled does not depend on it, up to
    /// float rounding.
    pub max_batch: NonZeroUsize,
    /// Most memory for the keys and values of attempts under way, in MiB. Attempts that find no room wait. Default: what
    /// `max_batch` attempts take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_memory_mib: Option<NonZeroUsize>,
    /// Keeps only so many of the most probable tokens at each place. Default 0: off. Importance ratios compare with the
    /// whole distribution, so with `top_k`, `top_p` or `min_p` only losses without a ratio are allowed, or `truncated_ratio`; with
    /// `repetition_penalty` only the former.
    pub top_k: usize,
    /// Keeps the most probable tokens that together have this probability, above 0. Default 1: off.
    #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1.0))]
    pub top_p: f64,
    /// Drops tokens less probable than this share of the most probable one, from 0 and below 1. Default 0: off.
    #[schemars(extend("minimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub min_p: f64,
    /// Multiplies the log-probability of every token that the completion already holds, at least 1: they get less probable.
    /// Default 1: off.
    #[schemars(extend("minimum" = 1.0))]
    pub repetition_penalty: f64,
    /// Multiplies the probability of the token that would open another copy of what the completion ends in, once for each copy that
    /// is there: of the same tokens, or of lines whose tokens are of the same kinds (Dong et al. 2025, arXiv:2504.12608). Above 0, at
    /// most 1; the paper's value is 0.9. Default 1: off. As with `repetition_penalty`, only losses without a ratio are allowed.
    #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1.0))]
    pub repetition_guard: f64,
    /// Whether importance ratios compare what `top_k`, `top_p` and `min_p` leave: probabilities among what they leave of the
    /// policy's distribution as it is now, the drawn token always included, over those recorded at sampling. What is left counts as
    /// given, so that no gradient comes of what is dropped. Default false.
    pub truncated_ratio: bool,
    /// Texts that end a completion; they are left out of the program. Default none: completions end with the
    /// model's own end token. For code: a closing fence, and what begins the next top-level statement.
    pub stop: Vec<String>,
    /// Where attempts are sampled: `local`, here; `sglang` or `vllm`, by the servers of `rollout.servers`, which get the weights
    /// before every step. Default `local`. With servers, `algorithm.correction` is `token-tis` unless the recipe says otherwise: what
    /// they compute is not quite what is trained.
    #[serde(skip_serializing_if = "RolloutEngine::is_local")]
    pub engine: RolloutEngine,
    /// Addresses of the servers, such as `http://127.0.0.1:30000`; each gets up to `max_batch` requests at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// How the servers of `rollout.servers` are asked.
    #[serde(skip_serializing_if = "RemoteConfig::is_default")]
    pub remote: RemoteConfig,
    /// Completions that are words of a language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grammar: Option<GrammarConfig>,
}

impl Default for RolloutConfig {
    fn default() -> Self {
        const fn nonzero(number: usize) -> NonZeroUsize {
            NonZeroUsize::new(number).expect("the numbers below are not zero")
        }
        Self {
            tasks_per_step: const { nonzero(8) },
            group_size: const { nonzero(8) },
            group_size_min: None,
            group_size_max: None,
            temperature: 1.0,
            staleness: 0,
            max_tokens: const { nonzero(256) },
            max_batch: const { nonzero(64) },
            kv_memory_mib: None,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            repetition_guard: 1.0,
            truncated_ratio: false,
            stop: Vec::new(),
            engine: RolloutEngine::Local,
            servers: Vec::new(),
            remote: RemoteConfig::default(),
            grammar: None,
        }
    }
}

impl RolloutConfig {
    /// What is left of the model's distribution.
    pub fn shaping(&self) -> Shaping {
        Shaping {
            repetition_penalty: self.repetition_penalty,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
        }
    }

    /// The bounds of group sizes, if groups differ in size.
    pub fn group_sizes(&self) -> Option<GroupSizes> {
        let (least, most) = self.group_size_min.zip(self.group_size_max)?;
        Some(GroupSizes { least: least.get(), most: most.get() })
    }

    /// What is left of the distributions that importance ratios compare, if that is not all.
    pub fn truncation(&self) -> Option<Shaping> {
        self.truncated_ratio.then(|| self.shaping())
    }

    /// How a step samples at a temperature of its own. The language of `grammar` is compiled once per run, by the session.
    pub fn sampling(&self, seed: u64, stream: Stream, step: u64, temperature: f64) -> Sampling {
        Sampling {
            seed,
            stream,
            step,
            temperature,
            shaping: self.shaping(),
            entropy: false,
            max_tokens: self.max_tokens.get(),
            stop: self.stop.clone(),
            stop_ids: Vec::new(),
            repetition_guard: self.repetition_guard,
            grammar: None,
            max_batch: self.max_batch.get(),
            kv_memory_mib: self.kv_memory_mib.map(NonZeroUsize::get),
        }
    }
}
