//! Samples that have not started, in the order in which they will.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::job::Job;

/// A sample that has not started.
#[derive(Clone)]
pub(super) struct Waiting {
    /// Number of its prompt among the distinct ones.
    pub(super) prompt: usize,
    /// What it is of.
    pub(super) job: Rc<Job>,
    /// Index within its request.
    pub(super) sample: usize,
}

/// A distinct prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prompt<'a> {
    /// Its tokens.
    pub(super) tokens: &'a [i64],
    /// As [`Request::written`](super::Request::written).
    pub(super) written: usize,
}

/// The queue. Samples of the same prompt follow each other, whichever requests they belong to, so that a prompt is computed
/// once and kept no longer than until its last sample has started.
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    /// Prompts so far.
    prompts: usize,
}

impl Queue {
    /// All samples of `jobs`.
    pub(super) fn new(jobs: &[Rc<Job>]) -> Queue {
        let mut place: BTreeMap<Prompt<'_>, usize> = BTreeMap::new();
        let mut by_prompt: Vec<Vec<Waiting>> = Vec::new();
        for job in jobs {
            let prompt = *place.entry(job.prompt()).or_insert_with(|| {
                by_prompt.push(Vec::new());
                by_prompt.len() - 1
            });
            by_prompt[prompt].extend(samples(job, prompt));
        }
        Queue { prompts: by_prompt.len(), waiting: by_prompt.into_iter().flatten().collect() }
    }

    /// Adds the samples of one more, behind those of the same prompt that still wait, or else at the end.
    pub(super) fn add(&mut self, job: &Rc<Job>) {
        let alike = self.waiting.iter().rposition(|waiting| waiting.job.prompt() == job.prompt());
        let (place, prompt) = match alike {
            Some(last) => (last + 1, self.waiting[last].prompt),
            None => {
                self.prompts += 1;
                (self.waiting.len(), self.prompts - 1)
            }
        };
        for (offset, waiting) in samples(job, prompt).enumerate() {
            self.waiting.insert(place + offset, waiting);
        }
    }

    /// Takes the next samples, `most` at most.
    pub(super) fn take(&mut self, most: usize) -> Vec<Waiting> {
        let count = most.min(self.waiting.len());
        self.waiting.drain(..count).collect()
    }

    /// Takes out what nobody waits for.
    pub(super) fn forget_gone(&mut self) {
        self.waiting.retain(|waiting| !waiting.job.is_gone());
    }

    /// Samples that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether samples of this prompt still wait.
    pub(super) fn awaits(&self, prompt: usize) -> bool {
        self.waiting.front().is_some_and(|next| next.prompt == prompt)
    }
}

fn samples(job: &Rc<Job>, prompt: usize) -> impl Iterator<Item = Waiting> + use<'_> {
    (0..job.request.samples).map(move |sample| Waiting { prompt, job: Rc::clone(job), sample })
}

#[cfg(test)]
mod tests {
    use super::super::request::{Request, Sampling};
    use super::*;

    fn request(prompt: &[i64], samples: usize, task: u64) -> Request {
        let prompt = prompt.to_vec();
        Request { prompt, samples, task, ..Request::default() }
    }

    fn place(waiting: &Waiting) -> (usize, usize, usize) {
        (waiting.prompt, waiting.job.index, waiting.sample)
    }

    #[test]
    fn samples_of_one_prompt_follow_each_other() {
        let requests =
            [request(&[1, 2], 2, 0), request(&[3], 1, 1), request(&[4], 0, 2), request(&[1, 2], 1, 3)];
        let mut queue = Queue::new(&Job::alike(&requests, &Sampling::default()));
        let first = queue.take(2);
        assert_eq!(first.iter().map(place).collect::<Vec<_>>(), [(0, 0, 0), (0, 0, 1)]);
        assert!(queue.awaits(0) && !queue.awaits(1));
        let rest = queue.take(9);
        assert_eq!(rest.iter().map(place).collect::<Vec<_>>(), [(0, 3, 0), (1, 1, 0)]);
        assert!(!queue.awaits(0) && queue.take(1).is_empty());
        assert_eq!((rest[0].job.prompt().tokens, rest[1].job.prompt().tokens), (&[1, 2][..], &[3][..]));
    }

    #[test]
    fn what_comes_later_waits_beside_its_like() {
        let jobs = Job::alike(
            &[request(&[1], 1, 0), request(&[2], 1, 1), request(&[1], 2, 2), request(&[3], 1, 3)],
            &Sampling::default(),
        );
        let mut queue = Queue::new(&jobs[..2]);
        jobs[2..].iter().for_each(|job| queue.add(job));
        let order: Vec<_> = queue.take(9).iter().map(place).collect();
        assert_eq!(order, [(0, 0, 0), (0, 2, 0), (0, 2, 1), (1, 1, 0), (2, 3, 0)]);
    }
}
