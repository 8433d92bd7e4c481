//! A request while it is under way.

use std::rc::Rc;

use super::request::{Request, Sampling};
use super::waiting::Prompt;

/// Who waits for a request, while it is under way.
pub trait Audience {
    /// A sample has got one more token, of this log-probability.
    fn drawn(&self, sample: usize, token: i64, logprob: f32);

    /// Whether nobody waits any longer: what is left of the request is then not sampled.
    fn is_gone(&self) -> bool;
}

/// A request with how it is sampled.
pub(super) struct Job {
    /// What its completions name.
    pub(super) index: usize,
    /// What is wanted.
    pub(super) request: Request,
    /// How.
    pub(super) sampling: Rc<Sampling>,
    /// Who is told of each token, if anybody is.
    pub(super) audience: Option<Box<dyn Audience>>,
}

impl Job {
    /// The jobs of `requests`, which are sampled alike.
    pub(super) fn alike(requests: &[Request], sampling: &Sampling) -> Vec<Rc<Job>> {
        let sampling = Rc::new(sampling.clone());
        let job = |(index, request): (usize, &Request)| {
            Rc::new(Job { index, request: request.clone(), sampling: Rc::clone(&sampling), audience: None })
        };
        requests.iter().enumerate().map(job).collect()
    }

    /// What is read before the first token is drawn.
    pub(super) fn prompt(&self) -> Prompt<'_> {
        Prompt { tokens: &self.request.prompt, written: self.request.written }
    }

    /// Whether nobody waits for it.
    pub(super) fn is_gone(&self) -> bool {
        self.audience.as_ref().is_some_and(|audience| audience.is_gone())
    }
}
