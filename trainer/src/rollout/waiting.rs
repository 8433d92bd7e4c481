//! Samples that have not started, in the order in which they will.

use std::collections::{BTreeMap, VecDeque};

use super::request::Request;

/// A sample that has not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Index of its prompt among the distinct ones.
    pub(super) prompt: usize,
    /// Index of its request.
    pub(super) request: usize,
    /// Index within its request.
    pub(super) sample: usize,
}

/// A distinct prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prompt<'a> {
    /// Its tokens.
    pub(super) tokens: &'a [i64],
    /// As [`Request::written`].
    pub(super) written: usize,
}

/// The queue. Samples of the same prompt follow each other, whichever requests they belong to, so that a prompt is computed
/// once and kept no longer than until its last sample has started.
pub(super) struct Queue<'a> {
    prompts: Vec<Prompt<'a>>,
    waiting: VecDeque<Waiting>,
}

impl<'a> Queue<'a> {
    pub(super) fn new(requests: &'a [Request]) -> Queue<'a> {
        let mut place: BTreeMap<Prompt<'a>, usize> = BTreeMap::new();
        let mut prompts = Vec::new();
        let mut by_prompt: Vec<Vec<Waiting>> = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            let distinct = Prompt { tokens: &request.prompt, written: request.written };
            let prompt = *place.entry(distinct).or_insert_with(|| {
                prompts.push(distinct);
                by_prompt.push(Vec::new());
                prompts.len() - 1
            });
            let samples = 0..request.samples;
            by_prompt[prompt].extend(samples.map(|sample| Waiting { prompt, request: index, sample }));
        }
        Queue { prompts, waiting: by_prompt.into_iter().flatten().collect() }
    }

    /// Takes the next samples, `most` at most.
    pub(super) fn take(&mut self, most: usize) -> Vec<Waiting> {
        let count = most.min(self.waiting.len());
        self.waiting.drain(..count).collect()
    }

    /// Whether samples of this prompt still wait.
    pub(super) fn awaits(&self, prompt: usize) -> bool {
        self.waiting.front().is_some_and(|next| next.prompt == prompt)
    }

    /// A prompt by its index.
    pub(super) fn prompt(&self, prompt: usize) -> Prompt<'a> {
        self.prompts[prompt]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_prompt_follow_each_other() {
        let request = |prompt: &[i64], samples, task| {
            let prompt = prompt.to_vec();
            Request { prompt, samples, task, ..Request::default() }
        };
        let requests =
            [request(&[1, 2], 2, 0), request(&[3], 1, 1), request(&[4], 0, 2), request(&[1, 2], 1, 3)];
        let mut queue = Queue::new(&requests);
        let place = |waiting: &Waiting| (waiting.prompt, waiting.request, waiting.sample);
        let first = queue.take(2);
        assert_eq!(first.iter().map(place).collect::<Vec<_>>(), [(0, 0, 0), (0, 0, 1)]);
        assert!(queue.awaits(0) && !queue.awaits(1));
        let rest = queue.take(9);
        assert_eq!(rest.iter().map(place).collect::<Vec<_>>(), [(0, 3, 0), (1, 1, 0)]);
        assert!(!queue.awaits(0) && queue.take(1).is_empty());
        assert_eq!((queue.prompt(0).tokens, queue.prompt(1).tokens), (&[1, 2][..], &[3][..]));
    }
}
