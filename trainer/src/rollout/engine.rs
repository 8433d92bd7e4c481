//! The local rollout engine: continuous batching over one KV cache.
//!
//! Each distinct prompt is computed once. Rows of the cache in use are kept together at the front: when a sample ends, the
//! last row moves into its place, and the next sample that waits starts at once in the row that got free, from the kept keys
//! and values of its prompt. The cache never grows: samples that find no row wait.

use std::rc::Rc;

use tch::Tensor;

use super::grammar::{Constrained, Constraints};
use super::histories::{Histories, Known};
use super::job::Job;
use super::kv_room::{KvRoom, Wanted};
use super::prefill::{Prefilled, padding, prefill};
use super::repetition_guard::{Held, held};
use super::request::{Completion, Finish, Request, Sampling};
use super::sampler::{Draw, Drawn, draw};
use super::stop::StopStrings;
use super::transcript::Transcript;
use super::waiting::{Prompt, Queue, Waiting};
use crate::policy::attention::DecodeAttention;
use crate::policy::{KvCache, Network, PolicyError, Tokenizer};

/// Samples every request and hands over each completion the moment it ends, while others still decode.
///
/// The random number of a token derives from `(seed, stream, step, task, sample, position)` alone, so a sample does not
/// depend on its neighbours, on `max_batch` or on the order of requests, up to float rounding. Rounding does not depend on
/// them either as long as a product's row is computed alike for every multiple of 16 rows, to which all products are
/// padded. oneMKL does so with one thread; with several, it splits some long inner dimensions (2752 by 512 was one) by
/// the number of rows, and then a draw that lies exactly on a border can move.
///
/// # Errors
///
/// If the tokenizer cannot decode what was sampled, or the memory allowed for keys and values does not hold the least
/// number of rows.
pub fn generate(
    model: &Network,
    tokenizer: &Tokenizer,
    requests: &[Request],
    sampling: &Sampling,
    on_finished: &mut dyn FnMut(Completion),
) -> Result<(), PolicyError> {
    generate_from(&mut Histories::off(model), tokenizer, requests, sampling, on_finished)
}

/// As [`generate`], with the network of `histories`, and with the keys and values in it: a prompt that begins as a completion
/// of an earlier call did, prompt included, is computed from where they part. What ends here by a stop id or a stop text is
/// kept there, as long as that is wanted.
///
/// Keys and values that were computed token by token are rounded otherwise than those of a prompt: tokens are the same with
/// and without them unless a draw lies on a border within that rounding (`docs/rollout.md`).
///
/// # Errors
///
/// As [`generate`].
pub fn generate_from(
    histories: &mut Histories<'_>,
    tokenizer: &Tokenizer,
    requests: &[Request],
    sampling: &Sampling,
    on_finished: &mut dyn FnMut(Completion),
) -> Result<(), PolicyError> {
    let _no_gradient = tch::no_grad_guard();
    let mut engine = Engine::new(histories, tokenizer, requests, sampling)?;
    while !engine.is_idle() {
        engine.step(on_finished)?;
    }
    Ok(())
}

/// A sample in progress: one row of the cache.
struct Row {
    job: Rc<Job>,
    sample: usize,
    tokens: Vec<i64>,
    logprobs: Vec<f32>,
    unshaped_logprobs: Vec<f32>,
    entropies: Vec<f32>,
    transcript: Transcript,
    /// Position of the completion's first token.
    start: usize,
    /// Tokens of the prompt that an encoder has read.
    read: usize,
    /// The language that it follows.
    constrained: Option<Constrained>,
    finish: Option<Finish>,
}

pub(super) struct Engine<'a, 'm> {
    model: &'m Network,
    histories: &'a mut Histories<'m>,
    tokenizer: &'a Tokenizer,
    cache: KvCache,
    /// Keys and values of the rows' prompts, where an encoder reads those.
    read_cache: Option<KvCache>,
    rows: Vec<Row>,
    most_rows: usize,
    pub(super) queue: Queue,
    /// The prompt whose samples have started in part.
    kept: Option<(usize, Prefilled)>,
    /// The language that all samples follow, if there is one.
    constraints: Option<Constraints>,
    /// As [`Sampling::repetition_guard`], of all samples.
    guard: f64,
}

impl<'a, 'm> Engine<'a, 'm> {
    fn new(
        histories: &'a mut Histories<'m>,
        tokenizer: &'a Tokenizer,
        requests: &'a [Request],
        sampling: &'a Sampling,
    ) -> Result<Engine<'a, 'm>, PolicyError> {
        let model = histories.model;
        let longest = |length: &dyn Fn(&Request) -> usize| requests.iter().map(length).max().unwrap_or(0);
        let wanted = Wanted {
            attempts: requests.iter().map(|request| request.samples).sum(),
            longest_prompt: longest(&|request| match model.sizes().has_encoder {
                true => request.prompt.len() - request.written,
                false => request.prompt.len() - request.begun,
            }),
            longest_written: longest(&|request| request.written.saturating_sub(request.begun)),
            max_tokens: sampling.max_tokens,
            max_batch: sampling.max_batch,
            kv_memory_mib: sampling.kv_memory_mib,
        };
        let mut engine = Engine::with_room(histories, tokenizer, &wanted)?;
        engine.queue = Queue::new(&Job::alike(requests, sampling));
        engine.guard = sampling.repetition_guard;
        engine.constraints =
            sampling.grammar.clone().map(|(language, method)| Constraints::new(language, method));
        Ok(engine)
    }

    /// An engine without anything to do.
    ///
    /// # Errors
    ///
    /// If the memory allowed for keys and values does not hold the least number of rows.
    pub(super) fn with_room(
        histories: &'a mut Histories<'m>,
        tokenizer: &'a Tokenizer,
        wanted: &Wanted,
    ) -> Result<Engine<'a, 'm>, PolicyError> {
        let model = histories.model;
        let room = KvRoom::of(wanted, model.sizes(), model.kind())?;
        histories.limit(room.left);
        let cache = |columns| {
            KvCache::new(model.sizes(), room.padded_rows as i64, columns as i64, model.kind(), model.device())
        };
        Ok(Engine {
            cache: cache(room.columns),
            read_cache: (room.read_columns > 0).then(|| cache(room.read_columns)),
            queue: Queue::new(&[]),
            rows: Vec::with_capacity(room.rows),
            most_rows: room.rows,
            kept: None,
            constraints: None,
            guard: 1.0,
            model,
            histories,
            tokenizer,
        })
    }

    /// Whether there is nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.rows.is_empty() && self.queue.len() == 0
    }

    /// Rows in use, and rows there are.
    pub(super) fn rows(&self) -> (usize, usize) {
        (self.rows.len(), self.most_rows)
    }

    /// One more token for every row, after samples that wait have taken the rows that are free.
    ///
    /// # Errors
    ///
    /// As [`generate`].
    pub(super) fn step(&mut self, on_finished: &mut dyn FnMut(Completion)) -> Result<(), PolicyError> {
        // A sample can end with its first token, and its row is free again.
        while self.start_waiting()? {
            self.retire(on_finished)?;
        }
        if !self.rows.is_empty() {
            self.decode()?;
            self.retire(on_finished)?;
        }
        Ok(())
    }

    /// Lets go of samples that nobody waits for, and hands over those of them that had begun.
    ///
    /// # Errors
    ///
    /// As [`generate`].
    pub(super) fn forget_gone(&mut self, on_finished: &mut dyn FnMut(Completion)) -> Result<(), PolicyError> {
        self.queue.forget_gone();
        for row in self.rows.iter_mut().filter(|row| row.job.is_gone()) {
            row.finish = Some(Finish::Length);
        }
        self.retire(on_finished)
    }

    /// Starts samples that wait, as many as there are free rows, and draws their first tokens. Returns whether any started.
    fn start_waiting(&mut self) -> Result<bool, PolicyError> {
        let starting = self.queue.take(self.most_rows - self.rows.len());
        if starting.is_empty() {
            return Ok(false);
        }
        let first_row = self.rows.len();
        let groups: Vec<&[Waiting]> = starting.chunk_by(|one, next| one.prompt == next.prompt).collect();
        let kept = self.kept.take_if(|(prompt, _)| *prompt == groups[0][0].prompt);
        let new = &groups[usize::from(kept.is_some())..];
        let prompts: Vec<Known<'_>> =
            new.iter().map(|group| self.histories.look_up(group[0].job.prompt())).collect();
        let prefilled = kept.map(|(_, prefilled)| prefilled).into_iter().chain(prefill(self.model, prompts));
        let mut logits = Vec::with_capacity(groups.len());
        for (group, prefilled) in groups.into_iter().zip(prefilled) {
            self.start(group, &prefilled);
            logits.push(prefilled.logits_1v.expand([group.len() as i64, -1], false));
            if self.queue.awaits(group[0].prompt) {
                self.kept = Some((group[0].prompt, prefilled.into_alone()));
            }
        }
        self.draw(first_row, &Tensor::cat(&logits, 0))?;
        Ok(true)
    }

    /// Rows for samples of one prompt, with its keys and values.
    fn start(&mut self, group: &[Waiting], prefilled: &Prefilled) {
        let (row, count) = (self.rows.len() as i64, group.len() as i64);
        let mut column = 0;
        for stretch in &prefilled.stretches {
            self.cache.store_prompt(row, count, column, stretch);
            column += stretch.length();
        }
        let Prompt { tokens: prompt, written } = group[0].job.prompt();
        let (mut end, mut read) = (prompt.len(), 0);
        if let (Some(cache), Some(prefilled)) = (&mut self.read_cache, &prefilled.read) {
            cache.store_prompt(row, count, 0, prefilled);
            (end, read) = (column as usize, prompt.len() - written);
        }
        for waiting in group {
            let begun = waiting.job.request.begun;
            let tokens = prompt[prompt.len() - begun..].to_vec();
            self.rows.push(Row {
                job: Rc::clone(&waiting.job),
                sample: waiting.sample,
                logprobs: vec![0.0; tokens.len()],
                unshaped_logprobs: vec![0.0; tokens.len()],
                tokens,
                entropies: Vec::new(),
                transcript: Transcript::default(),
                start: end - begun,
                read,
                constrained: self.constraints.as_ref().map(|constraints| constraints.start(waiting.prompt)),
                finish: None,
            });
        }
    }

    /// Adds one token to every row.
    fn decode(&mut self) -> Result<(), PolicyError> {
        let logits = self.forward();
        self.draw(0, &logits)
    }

    /// Logits `[rows, V]` after the last token of every row. Rows that are missing to a multiple of 16 are computed, in free
    /// rows of the cache, and thrown away.
    fn forward(&mut self) -> Tensor {
        let device = self.model.device();
        let count = self.rows.len();
        let rows = (count + padding(count)) as i64;
        let (mut last, mut position) = (vec![0; rows as usize], vec![0; rows as usize]);
        for (index, row) in self.rows.iter().enumerate() {
            last[index] = *row.tokens.last().expect("a row in progress has a token");
            position[index] = (row.start + row.tokens.len() - 1) as i64;
        }
        let tokens_b = Tensor::from_slice(&last).to_device(device);
        let position_b = Tensor::from_slice(&position).to_device(device);
        let mut attention = DecodeAttention::new(&mut self.cache, &position);
        if let Some(cache) = &mut self.read_cache {
            // A row of nobody looks at a token of nobody.
            let mut lengths = vec![1; rows as usize];
            lengths.iter_mut().zip(&self.rows).for_each(|(length, row)| *length = row.read as i64);
            attention = attention.looking_at(cache, &lengths);
        }
        let hidden = self.model.hidden(&tokens_b.unsqueeze(1), &position_b.unsqueeze(1), &mut attention);
        self.model.logits(&hidden.squeeze_dim(1)).narrow(0, 0, count as i64)
    }

    /// Draws the next token of the rows from `first_row` on.
    fn draw(&mut self, first_row: usize, logits_bv: &Tensor) -> Result<(), PolicyError> {
        let weights_bv = self.weights(first_row, logits_bv.size()[1] as usize)?;
        for places in self.drawn_alike(first_row) {
            let drawn = self.draw_of(first_row, &places, logits_bv, weights_bv.as_ref());
            for (index, place) in places.into_iter().enumerate() {
                self.take_in(first_row + place, &drawn, index)?;
            }
        }
        Ok(())
    }

    /// The rows from `first_row` on, counted from there, in groups whose distributions are shaped alike.
    fn drawn_alike(&self, first_row: usize) -> Vec<Vec<usize>> {
        let rows = &self.rows[first_row..];
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            let alike = |group: &&mut Vec<usize>| rows[group[0]].job.sampling.draws_as(&row.job.sampling);
            match groups.iter_mut().find(alike) {
                Some(group) => group.push(place),
                None => groups.push(vec![place]),
            }
        }
        groups
    }

    /// Draws a token for each of `places`, which are drawn alike.
    fn draw_of(
        &self,
        first_row: usize,
        places: &[usize],
        logits_bv: &Tensor,
        weights_bv: Option<&Tensor>,
    ) -> Numbers {
        let row = |place: &usize| &self.rows[first_row + place];
        let device = self.model.device();
        let part = |x_bv: &Tensor| {
            if places.len() as i64 == x_bv.size()[0] {
                return x_bv.shallow_clone();
            }
            let index: Vec<i64> = places.iter().map(|place| *place as i64).collect();
            x_bv.index_select(0, &Tensor::from_slice(&index).to_device(device))
        };
        let uniform = |place: &usize| {
            let Row { job, sample, tokens, .. } = row(place);
            job.sampling.uniform(&job.request, *sample, tokens.len())
        };
        let uniform_b: Vec<f32> = places.iter().map(uniform).collect();
        let uniform_b = Tensor::from_slice(&uniform_b).to_device(device);
        let seen: Vec<&[i64]> = places.iter().map(|place| &row(place).tokens[..]).collect();
        let Sampling { temperature, shaping, entropy, .. } = *row(&places[0]).job.sampling;
        let weights_bv = weights_bv.map(part);
        let how = Draw { temperature, shaping, seen: &seen, weights_bv: weights_bv.as_ref(), entropy };
        Numbers::of(&draw(&part(logits_bv), &uniform_b, &how))
    }

    /// Gives a row the token at `index` of those that were drawn.
    fn take_in(&mut self, row: usize, drawn: &Numbers, index: usize) -> Result<(), PolicyError> {
        let row = &mut self.rows[row];
        let (token, sampling) = (drawn.tokens[index], &row.job.sampling);
        row.tokens.push(token);
        row.logprobs.push(drawn.logprobs[index]);
        row.unshaped_logprobs.push(drawn.unshaped[index]);
        row.entropies.extend(drawn.entropies.as_ref().map(|entropies| entropies[index]));
        if let (Some(constraints), Some(sample)) = (&mut self.constraints, &mut row.constrained) {
            let probability = f64::from(drawn.unshaped[index]).exp();
            let allowed = drawn.allowed.as_ref().map_or(1.0, |allowed| f64::from(allowed[index]));
            constraints.accept(sample, token, probability, allowed)?;
        }
        // The growing text says when to look; the whole text, which is what counts, says whether it is so.
        let stop = StopStrings::new(&sampling.stop);
        let has_stop_text = !stop.is_empty()
            && row.transcript.push(&row.tokens, self.tokenizer, &stop)?
            && stop.find(&self.tokenizer.decode(&row.tokens)?).is_some();
        let ends = self.tokenizer.stop_ids.contains(&token) || sampling.stop_ids.contains(&token);
        row.finish = if has_stop_text || ends {
            Some(Finish::Stop)
        } else {
            (row.tokens.len() >= sampling.max_tokens).then_some(Finish::Length)
        };
        if let Some(audience) = &row.job.audience {
            audience.drawn(row.sample, token, drawn.logprobs[index]);
        }
        Ok(())
    }

    /// What is added to the log-probabilities of the rows from `first_row` on, if anything is: by the language that they follow,
    /// and by the guard against copies.
    fn weights(&mut self, first_row: usize, vocabulary: usize) -> Result<Option<Tensor>, PolicyError> {
        let mut weights = None;
        if let Some(constraints) = &self.constraints {
            let rows = self.rows[first_row..].iter_mut();
            let mut samples: Vec<_> = rows.filter_map(|row| row.constrained.as_mut()).collect();
            weights = Some(constraints.weights(&mut samples, vocabulary)?);
        }
        let rows = self.rows.len() - first_row;
        if self.guard < 1.0 {
            let weights = weights.get_or_insert_with(|| vec![0.0; rows * vocabulary]);
            for (row, weights) in self.rows[first_row..].iter().zip(weights.chunks_mut(vocabulary)) {
                let text = |count: usize| self.tokenizer.decode(&row.tokens[..count]);
                let Held { tokens, end } = held(&row.tokens, self.guard, text)?;
                let ends = self.tokenizer.stop_ids.iter().map(|id| (*id, end));
                for (token, weight) in tokens.into_iter().chain(ends) {
                    if let Some(number) = weights.get_mut(token as usize) {
                        *number += weight as f32;
                    }
                }
            }
        }
        let shape = [rows as i64, vocabulary as i64];
        Ok(weights.map(|weights| Tensor::from_slice(&weights).view(shape).to_device(self.model.device())))
    }

    /// Hands over finished rows and closes the gaps they leave.
    fn retire(&mut self, on_finished: &mut dyn FnMut(Completion)) -> Result<(), PolicyError> {
        let mut index = 0;
        while index < self.rows.len() {
            let Some(finish) = self.rows[index].finish else {
                index += 1;
                continue;
            };
            let row = self.rows.swap_remove(index);
            if let (Some(constraints), Some(sample)) = (&mut self.constraints, &row.constrained) {
                constraints.end(sample);
            }
            if finish == Finish::Stop && self.histories.keeps() {
                // The last token has been drawn and not been read.
                let read = &row.tokens[..row.tokens.len() - 1];
                let history = [&row.job.request.prompt[..row.start], read].concat();
                self.histories.add(&history, |from| self.cache.read(index, from..history.len()));
            }
            if let Some(moved) = self.rows.get(index) {
                let length = moved.start + moved.tokens.len() - 1;
                let (from, to) = (self.rows.len() as i64, index as i64);
                self.cache.move_row(from, to, length as i64);
                if let Some(cache) = &mut self.read_cache {
                    cache.move_row(from, to, moved.read as i64);
                }
            }
            let mut text = self.tokenizer.decode(&row.tokens)?;
            text.truncate(StopStrings::new(&row.job.sampling.stop).find(&text).unwrap_or(text.len()));
            let Row { job, sample, tokens, logprobs, unshaped_logprobs, entropies, .. } = row;
            on_finished(Completion {
                request: job.index,
                sample,
                tokens,
                logprobs,
                unshaped_logprobs,
                entropies,
                text,
                finish,
                ..Completion::default()
            });
        }
        Ok(())
    }
}

/// What was drawn, on the host.
struct Numbers {
    tokens: Vec<i64>,
    logprobs: Vec<f32>,
    unshaped: Vec<f32>,
    entropies: Option<Vec<f32>>,
    allowed: Option<Vec<f32>>,
}

impl Numbers {
    fn of(drawn: &Drawn) -> Numbers {
        let floats = |x: &Tensor| Vec::<f32>::try_from(x).expect("logprobs are a vector of f32");
        Numbers {
            tokens: Vec::<i64>::try_from(&drawn.token_b).expect("token ids are a vector of i64"),
            logprobs: floats(&drawn.logprob_b),
            unshaped: floats(&drawn.unshaped_logprob_b),
            entropies: drawn.entropy_b.as_ref().map(floats),
            allowed: drawn.allowed_b.as_ref().map(floats),
        }
    }
}
