//! The engine for requests that come while others decode.

use std::rc::Rc;

use super::engine::Engine;
use super::histories::Histories;
use super::job::{Audience, Job};
use super::kv_room::Wanted;
use super::request::{Completion, Request, Sampling};
use crate::policy::{PolicyError, Tokenizer};

/// Room for requests that are not known yet.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Most tokens of a prompt and what follows it, together.
    pub context: usize,
    /// Most samples decoded together.
    pub max_batch: usize,
    /// Most memory of keys and values, in MiB; `None` is what `max_batch` needs.
    pub kv_memory_mib: Option<usize>,
}

/// Continuous batching of requests that come and go, each with its own sampling.
///
/// What a request samples depends on it alone, as in [`generate`](super::generate).
pub struct OpenEngine<'a, 'm> {
    engine: Engine<'a, 'm>,
}

impl<'a, 'm> OpenEngine<'a, 'm> {
    /// An engine with room, and nothing to do.
    ///
    /// # Errors
    ///
    /// If the memory allowed for keys and values does not hold the least number of rows.
    pub fn new(
        histories: &'a mut Histories<'m>,
        tokenizer: &'a Tokenizer,
        room: Room,
    ) -> Result<OpenEngine<'a, 'm>, PolicyError> {
        // Where an encoder reads prompts, what follows has a cache of its own.
        let has_encoder = histories.model.sizes().has_encoder;
        let wanted = Wanted {
            attempts: room.max_batch,
            longest_prompt: room.context,
            longest_written: 0,
            max_tokens: if has_encoder { room.context } else { 0 },
            max_batch: room.max_batch,
            kv_memory_mib: room.kv_memory_mib,
        };
        Ok(OpenEngine { engine: Engine::with_room(histories, tokenizer, &wanted)? })
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.engine.is_idle()
    }

    /// Rows that no sample has or waits for.
    pub fn free_rows(&self) -> usize {
        let (used, all) = self.engine.rows();
        all.saturating_sub(used + self.engine.queue.len())
    }

    /// Takes a request up, of a prompt and completions that fit into the room; its completions name `index`. A language and a
    /// repetition guard are not followed.
    pub fn admit(&mut self, index: usize, request: Request, sampling: Sampling, audience: Box<dyn Audience>) {
        let job = Job { index, request, sampling: Rc::new(sampling), audience: Some(audience) };
        self.engine.queue.add(&Rc::new(job));
    }

    /// One more token for every sample under way; samples that nobody waits for end first.
    ///
    /// # Errors
    ///
    /// If the tokenizer cannot decode what was sampled.
    pub fn step(&mut self, on_finished: &mut dyn FnMut(Completion)) -> Result<(), PolicyError> {
        let _no_gradient = tch::no_grad_guard();
        self.engine.forget_gone(on_finished)?;
        self.engine.step(on_finished)
    }
}
