//! Languages in the engine: one acceptor for each sample, and one tree for each prompt.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::asap::{Allowed, Asap, Place};
use super::{GrammarError, GrammarMethod, Language, PrefixAcceptor};

/// The language of one call of the engine, and what its samples have shown.
pub(in crate::rollout) struct Constraints {
    language: Arc<dyn Language>,
    method: GrammarMethod,
    /// By the place of the prompt.
    trees: BTreeMap<usize, Asap>,
}

/// A sample that follows a language.
pub(in crate::rollout) struct Constrained {
    acceptor: Box<dyn PrefixAcceptor>,
    prompt: usize,
    place: Place,
    /// How many tokens were allowed when its weights were asked for.
    allowed: usize,
}

impl Constraints {
    pub(in crate::rollout) fn new(language: Arc<dyn Language>, method: GrammarMethod) -> Constraints {
        Constraints { language, method, trees: BTreeMap::new() }
    }

    /// A sample of a prompt, at its beginning.
    pub(in crate::rollout) fn start(&self, prompt: usize) -> Constrained {
        Constrained { acceptor: self.language.acceptor(), prompt, place: Asap::ROOT, allowed: 0 }
    }

    /// What is added to the log-probabilities of each sample's next token, `vocabulary` numbers for each: 0, minus infinity where the
    /// language does not allow a token, and with ASAp what is expected behind it.
    ///
    /// # Errors
    ///
    /// If the engine of the grammar gives up, or allows no token at all.
    pub(in crate::rollout) fn weights(
        &self,
        samples: &mut [&mut Constrained],
        vocabulary: usize,
    ) -> Result<Vec<f32>, GrammarError> {
        let mut weights = vec![0.0; samples.len() * vocabulary];
        for (row, sample) in weights.chunks_mut(vocabulary).zip(samples) {
            let allowed = sample.acceptor.allowed()?;
            sample.allowed = allowed.count();
            allowed.write(row);
            if let Some(tree) = self.trees.get(&sample.prompt) {
                for (token, weight) in tree.weights(sample.place) {
                    row[token as usize] += weight as f32;
                }
            }
            if row.iter().all(|weight| *weight == f32::NEG_INFINITY) {
                return Err(GrammarError("no token is allowed, not even an end".to_owned()));
            }
        }
        Ok(weights)
    }

    /// Goes on by a token. `probability` is the model's, and `allowed` that of all tokens that the language allows.
    ///
    /// # Errors
    ///
    /// If the language does not allow the token.
    pub(in crate::rollout) fn accept(
        &mut self,
        sample: &mut Constrained,
        token: i64,
        probability: f64,
        allowed: f64,
    ) -> Result<(), GrammarError> {
        if self.method == GrammarMethod::Asap {
            let tree = self.trees.entry(sample.prompt).or_default();
            let allowed = Allowed { count: sample.allowed, probability: allowed };
            sample.place = tree.extend(sample.place, token, probability, allowed);
        }
        sample.acceptor.accept(token)
    }

    /// Takes over what a finished sample has shown.
    pub(in crate::rollout) fn end(&mut self, sample: &Constrained) {
        if let Some(tree) = self.trees.get_mut(&sample.prompt) {
            tree.end(sample.place);
        }
    }
}
