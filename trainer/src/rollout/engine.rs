//! The local rollout engine: continuous batching over one KV cache.
//!
//! Each prompt is prefilled once for its whole group. Rows of the cache in use are kept together at the front: when a
//! sample ends, the last row moves into its place, and when enough rows are free the next prompt is let in.

use std::collections::VecDeque;

use tch::{Kind, Tensor};

use super::sampler;
use super::stop::StopStrings;
use crate::policy::attention::{DecodeAttention, PrefillAttention, additive_mask};
use crate::policy::{KvCache, Network, PolicyError, Tokenizer};
use crate::rng::{Stream, uniform};

/// One prompt and how many samples are wanted of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Prompt token ids; at least one.
    pub prompt: Vec<i64>,
    /// Samples wanted.
    pub samples: usize,
    /// What its random numbers derive from besides the seed and the step: the task's place in the step.
    pub task: u64,
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
    /// Longest completion, in tokens.
    pub max_tokens: usize,
    /// Texts that end a completion.
    pub stop: Vec<String>,
    /// Most sequences decoded together.
    pub max_batch: usize,
}

/// Why a completion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// A stop id or a stop string.
    Stop,
    /// `max_tokens` was reached: the completion is truncated.
    Length,
}

/// One sampled completion. Made by [`generate`]; read by the executor (text) and the update (tokens, logprobs).
#[derive(Clone, Debug)]
pub struct Completion {
    /// Index of its request.
    pub request: usize,
    /// Index within its request.
    pub sample: usize,
    /// Sampled token ids, the ones that ended it included; at least one.
    pub tokens: Vec<i64>,
    /// Log-probability (nats) of each token under the distribution it was drawn from, recorded at the draw.
    pub logprobs: Vec<f32>,
    /// Decoded text, cut before the stop string.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
}

/// Samples every request and hands over each completion the moment it ends, while others still decode.
///
/// The random number of a token derives from `(seed, stream, step, task, sample, position)` alone, so a sample does
/// not depend on its neighbours, on `max_batch` or on the order of requests — up to float rounding: a matrix product
/// over another number of rows may round differently and move a draw that lies exactly on a border.
///
/// # Errors
///
/// If the tokenizer cannot decode what was sampled.
pub fn generate(
    model: &Network,
    tokenizer: &Tokenizer,
    requests: &[Request],
    sampling: &Sampling,
    on_finished: &mut dyn FnMut(Completion),
) -> Result<(), PolicyError> {
    let _no_gradient = tch::no_grad_guard();
    let mut engine = Engine::new(model, tokenizer, requests, sampling);
    while engine.admit() {
        engine.decode_step()?;
        engine.retire(on_finished)?;
    }
    Ok(())
}

/// A sample in progress: one row of the cache.
struct Row {
    request: usize,
    sample: usize,
    tokens: Vec<i64>,
    logprobs: Vec<f32>,
    /// Prompt length: position of the first sampled token.
    start: usize,
    finished: Option<(Finish, usize)>,
}

struct Engine<'a> {
    model: &'a Network,
    tokenizer: &'a Tokenizer,
    requests: &'a [Request],
    sampling: &'a Sampling,
    stop: StopStrings<'a>,
    cache: KvCache,
    rows: Vec<Row>,
    /// `(request, first sample, count)` not yet started.
    waiting: VecDeque<(usize, usize, usize)>,
    /// Rows that were just prefilled and have logits to draw from, `[rows, V]`.
    fresh_logits: Vec<Tensor>,
}

impl<'a> Engine<'a> {
    fn new(
        model: &'a Network,
        tokenizer: &'a Tokenizer,
        requests: &'a [Request],
        sampling: &'a Sampling,
    ) -> Engine<'a> {
        let longest = requests.iter().map(|request| request.prompt.len()).max().unwrap_or(0);
        let total: usize = requests.iter().map(|request| request.samples).sum();
        let rows = total.min(sampling.max_batch);
        let columns = longest + sampling.max_tokens;
        Engine {
            cache: KvCache::new(model.sizes(), rows as i64, columns as i64, model.kind(), model.device()),
            stop: StopStrings::new(&sampling.stop),
            waiting: chunks(requests, rows),
            rows: Vec::with_capacity(rows),
            fresh_logits: Vec::new(),
            model,
            tokenizer,
            requests,
            sampling,
        }
    }

    /// Lets in waiting prompts while their rows fit. Returns whether there is anything to decode.
    fn admit(&mut self) -> bool {
        let capacity = self.sampling.max_batch;
        while let Some(&(request, first, count)) = self.waiting.front() {
            if self.rows.len() + count > capacity {
                break;
            }
            self.waiting.pop_front();
            self.prefill(request, first, count);
        }
        !self.rows.is_empty()
    }

    fn prefill(&mut self, request: usize, first: usize, count: usize) {
        let prompt = &self.requests[request].prompt;
        let device = self.model.device();
        let row = self.rows.len() as i64;
        let tokens = Tensor::from_slice(prompt).to_device(device).unsqueeze(0);
        let positions = Tensor::arange(prompt.len() as i64, (Kind::Int64, device)).unsqueeze(0);
        let mut attention = PrefillAttention { cache: &mut self.cache, row, count: count as i64 };
        let hidden = self.model.hidden(&tokens, &positions, &mut attention);
        let last = hidden.squeeze_dim(0).narrow(0, prompt.len() as i64 - 1, 1);
        self.fresh_logits.push(self.model.logits(&last).expand([count as i64, -1], false));
        self.rows.extend((first..first + count).map(|sample| Row {
            request,
            sample,
            tokens: Vec::new(),
            logprobs: Vec::new(),
            start: prompt.len(),
            finished: None,
        }));
    }

    /// Adds one token to every row: one forward pass for the rows that have tokens, none for the fresh ones.
    fn decode_step(&mut self) -> Result<(), PolicyError> {
        let fresh: i64 = self.fresh_logits.iter().map(|logits| logits.size()[0]).sum();
        let started = self.rows.len() as i64 - fresh;
        let mut logits = Vec::new();
        if started > 0 {
            logits.push(self.forward(started));
        }
        logits.append(&mut self.fresh_logits);
        let logits_bv = if logits.len() == 1 { logits.remove(0) } else { Tensor::cat(&logits, 0) };
        let uniform_b: Vec<f32> = self.rows.iter().map(|row| self.uniform(row)).collect();
        let uniform_b = Tensor::from_slice(&uniform_b).to_device(self.model.device());
        let drawn = sampler::draw(&logits_bv, &uniform_b, self.sampling.temperature);
        let tokens = Vec::<i64>::try_from(&drawn.token_b).expect("token ids are a vector of i64");
        let logprobs = Vec::<f32>::try_from(&drawn.logprob_b).expect("logprobs are a vector of f32");
        for ((row, token), logprob) in self.rows.iter_mut().zip(tokens).zip(logprobs) {
            row.tokens.push(token);
            row.logprobs.push(logprob);
        }
        self.mark_finished()
    }

    /// Logits `[rows, V]` of the first `rows` rows, whose last tokens are fed in.
    fn forward(&mut self, rows: i64) -> Tensor {
        let device = self.model.device();
        let (mut last, mut position) = (Vec::new(), Vec::new());
        for row in &self.rows[..rows as usize] {
            last.push(*row.tokens.last().expect("a started row has a token"));
            position.push((row.start + row.tokens.len() - 1) as i64);
        }
        // Rounded up, so that shapes (and with them the library's cached kernels) change every 16 tokens only.
        let longest = position.iter().max().expect("there is a row") + 1;
        let columns = (longest.div_euclid(16) * 16 + 16).min(self.cache.capacity());
        let tokens_b = Tensor::from_slice(&last).to_device(device);
        let position_b = Tensor::from_slice(&position).to_device(device);
        let column_l = Tensor::arange(columns, (Kind::Int64, device));
        let visible = column_l.unsqueeze(0).le_tensor(&position_b.unsqueeze(1));
        let mask_b11l = additive_mask(&visible, self.model.kind()).view([rows, 1, 1, columns]);
        let mut attention = DecodeAttention {
            cache: &mut self.cache,
            rows,
            position_b: &position_b,
            columns,
            mask_b11l: &mask_b11l,
        };
        let hidden = self.model.hidden(&tokens_b.unsqueeze(1), &position_b.unsqueeze(1), &mut attention);
        self.model.logits(&hidden.squeeze_dim(1))
    }

    fn uniform(&self, row: &Row) -> f32 {
        let Sampling { seed, stream, step, .. } = *self.sampling;
        let task = self.requests[row.request].task;
        // Rounding to f32 can give exactly 1, which is outside the half-open interval.
        (uniform(seed, stream, &[step, task, row.sample as u64, row.tokens.len() as u64]) as f32)
            .min(1.0 - f32::EPSILON)
    }

    fn mark_finished(&mut self) -> Result<(), PolicyError> {
        for row in &mut self.rows {
            let last = *row.tokens.last().expect("every row has just got a token");
            let text = self.tokenizer.decode(&row.tokens)?;
            row.finished = if let Some(end) = self.stop.find(&text) {
                Some((Finish::Stop, end))
            } else if self.tokenizer.stop_ids.contains(&last) {
                Some((Finish::Stop, text.len()))
            } else if row.tokens.len() >= self.sampling.max_tokens {
                Some((Finish::Length, text.len()))
            } else {
                None
            };
        }
        Ok(())
    }

    /// Hands over finished rows and closes the gaps they leave.
    fn retire(&mut self, on_finished: &mut dyn FnMut(Completion)) -> Result<(), PolicyError> {
        let mut index = 0;
        while index < self.rows.len() {
            let Some((finish, end)) = self.rows[index].finished else {
                index += 1;
                continue;
            };
            let row = self.rows.swap_remove(index);
            if let Some(moved) = self.rows.get(index) {
                let length = moved.start + moved.tokens.len() - 1;
                self.cache.move_row(self.rows.len() as i64, index as i64, length as i64);
            }
            let mut text = self.tokenizer.decode(&row.tokens)?;
            text.truncate(end);
            let Row { request, sample, tokens, logprobs, .. } = row;
            on_finished(Completion { request, sample, tokens, logprobs, text, finish });
        }
        Ok(())
    }
}

/// Requests cut into pieces of at most `rows` samples.
fn chunks(requests: &[Request], rows: usize) -> VecDeque<(usize, usize, usize)> {
    let mut chunks = VecDeque::new();
    for (index, request) in requests.iter().enumerate() {
        for first in (0..request.samples).step_by(rows.max(1)) {
            chunks.push_back((index, first, rows.min(request.samples - first)));
        }
    }
    chunks
}
