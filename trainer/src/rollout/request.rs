//! What is asked of the engine, and what it hands over.

use serde::{Deserialize, Serialize};

use crate::policy::{Continuation, Interjection};
use crate::rng::{Stream, uniform};

use super::grammar::DrawnLanguage;
use super::shaping::Shaping;

/// One prompt and how many samples are wanted of it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Prompt token ids; at least one.
    pub prompt: Vec<i64>,
    /// How many of the prompt's last tokens are what the attempt has written and been told so far: an encoder does not read
    /// them. Always fewer than all.
    pub written: usize,
    /// Samples wanted.
    pub samples: usize,
    /// What its random numbers derive from besides the seed and the step: the task's place in the step.
    pub task: u64,
    /// Number of its first sample, of which the random numbers derive; above 0 where one attempt goes on alone.
    pub first_sample: usize,
    /// Tokens that earlier turns of the attempt have drawn, behind which the random numbers go on.
    pub drawn: usize,
    /// How many of the prompt's last tokens are the beginning of every completion: they are handed over with it, and count
    /// towards its length. Less than the longest completion, and less than the prompt. Not together with a language.
    pub begun: usize,
}

/// How to sample.
#[derive(Clone, Debug)]
pub struct Sampling {
    /// The run's seed.
    pub seed: u64,
    /// Which family of random numbers: rollouts and evaluations never share draws.
    pub stream: Stream,
    /// The step that the random numbers belong to.
    pub step: u64,
    /// 0 is greedy.
    pub temperature: f64,
    /// What is left of the model's distribution.
    pub shaping: Shaping,
    /// Whether the entropy of every distribution is recorded.
    pub entropy: bool,
    /// Longest completion, in tokens.
    pub max_tokens: usize,
    /// Texts that end a completion.
    pub stop: Vec<String>,
    /// Tokens that end one, besides those that end every completion of the model.
    pub stop_ids: Vec<i64>,
    /// Factor of the probability of a token that would open another copy of what a completion ends in, for each copy; 1 is off.
    pub repetition_guard: f64,
    /// The language that completions are words of, and how they are drawn from it.
    pub grammar: Option<DrawnLanguage>,
    /// Most sequences decoded together.
    pub max_batch: usize,
    /// Most memory of keys and values, in MiB; `None` is what `max_batch` needs.
    pub kv_memory_mib: Option<usize>,
}

impl Default for Sampling {
    /// Seed 0 and step 0 of rollouts, temperature 1, nothing shaped, 256 tokens, 64 sequences together.
    fn default() -> Sampling {
        Sampling {
            seed: 0,
            stream: Stream::Sampling,
            step: 0,
            temperature: 1.0,
            shaping: Shaping::default(),
            entropy: false,
            max_tokens: 256,
            stop: Vec::new(),
            stop_ids: Vec::new(),
            repetition_guard: 1.0,
            grammar: None,
            max_batch: 64,
            kv_memory_mib: None,
        }
    }
}

impl Sampling {
    /// Whether tokens are drawn from distributions that are shaped alike.
    pub(super) fn draws_as(&self, other: &Sampling) -> bool {
        let shape = |one: &Sampling| (one.temperature, one.shaping, one.entropy);
        shape(self) == shape(other)
    }

    /// The random number of one token of a request's sample, in `[0, 1)`: a function of what the token is, not of what is
    /// sampled beside it.
    pub(super) fn uniform(&self, request: &Request, sample: usize, token: usize) -> f32 {
        let (sample, token) = (request.first_sample + sample, request.drawn + token);
        let counters = [self.step, request.task, sample as u64, token as u64];
        // Rounding to f32 can give exactly 1, which is outside the half-open interval.
        (uniform(self.seed, self.stream, &counters) as f32).min(1.0 - f32::EPSILON)
    }
}

/// Why a completion ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// A stop id or a stop string.
    Stop,
    /// `max_tokens` was reached: the completion is truncated.
    #[default]
    Length,
}

/// A turn that was not an attempt's last one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierTurn {
    /// What the model wrote, cut before the stop string.
    pub text: String,
    /// What it was told about it.
    pub feedback: String,
}

/// One sampled completion, or an attempt of several turns. Made by [`generate`](super::generate); read by the executor (text) and the update (tokens,
/// logprobs).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// Index of its request.
    pub request: usize,
    /// Index within its request.
    pub sample: usize,
    /// Sampled token ids, the ones that ended it included; at least one. Those of several turns lie end to end.
    pub tokens: Vec<i64>,
    /// What the environment said between the turns; empty where there was one.
    pub interjections: Vec<Interjection>,
    /// Log-probability (nats) of each token under the distribution it was drawn from, recorded at the draw. 0 for tokens that
    /// were there [before](Request::begun).
    #[serde(with = "bits")]
    pub logprobs: Vec<f32>,
    /// Log-probability (nats) of each token under the model's distribution at the sampling temperature, before it was
    /// shaped. Equal to `logprobs` where nothing is shaped.
    #[serde(with = "bits")]
    pub unshaped_logprobs: Vec<f32>,
    /// Entropy (nats) of the distribution that each token was drawn from; empty unless [`Sampling::entropy`] asks for it. Tokens
    /// that were there before have none.
    #[serde(with = "bits")]
    pub entropies: Vec<f32>,
    /// Decoded text, cut before the stop string; of the last turn.
    pub text: String,
    /// Why it ended; the last turn.
    pub finish: Finish,
    /// The turns before the last one.
    pub earlier: Vec<EarlierTurn>,
    /// For each turn that the public tests have judged, whether it passed all of them.
    pub public_passes: Vec<bool>,
    /// Version of the weights that sampled it, the last turn, where it was sampled elsewhere: rollouts that they had learnt from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<u64>,
}

impl Completion {
    /// Its tokens with what the environment said between them.
    pub fn continuation(&self) -> Continuation<'_> {
        Continuation { tokens: &self.tokens, interjections: &self.interjections }
    }

    /// How many turns it has.
    pub fn turns(&self) -> usize {
        self.earlier.len() + 1
    }

    /// Ends the turn with what the environment says about it: `feedback` in words, `tokens` as the model reads them.
    pub fn reply(&mut self, feedback: String, tokens: Vec<i64>) {
        self.interjections.push(Interjection { after: self.tokens.len(), tokens });
        self.earlier.push(EarlierTurn { text: std::mem::take(&mut self.text), feedback });
    }

    /// The attempt with one more turn, sampled after the last [`Completion::reply`].
    pub fn continued(mut self, turn: Completion) -> Completion {
        self.tokens.extend(turn.tokens);
        self.logprobs.extend(turn.logprobs);
        self.unshaped_logprobs.extend(turn.unshaped_logprobs);
        self.entropies.extend(turn.entropies);
        Completion { text: turn.text, finish: turn.finish, weights: turn.weights, ..self }
    }
}

/// Numbers as their bits, so that a checkpoint gives back exactly what it was given, what is not finite included.
mod bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(numbers: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
        numbers.iter().map(|number| number.to_bits()).collect::<Vec<u32>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
        Ok(Vec::<u32>::deserialize(deserializer)?.into_iter().map(f32::from_bits).collect())
    }
}
