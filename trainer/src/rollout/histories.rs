//! Keys and values of what attempts have read and written so far, for the turns that go on from there.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::radix_tree::{RadixTree, Stretch};
use super::waiting::Prompt;
use crate::policy::{KeysAndValues, KvCache, Network};

/// What [`generate_from`](super::generate_from) keeps from one call to the next.
///
/// It holds the network that the keys and values were computed with, and no other is ever run on them: a change of weights
/// needs the network to be given up, and with it all that is kept.
pub struct Histories<'m> {
    pub(super) model: &'m Network,
    tree: Option<RadixTree<KeysAndValues>>,
    keeps: bool,
    /// What prompts and histories have cost so far.
    pub prefill: PrefillTokens,
}

/// Tokens of prompts and histories, each distinct one of a call counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefillTokens {
    /// Those that went through the network.
    pub computed: usize,
    /// Those whose keys and values were there from an earlier turn.
    pub reused: usize,
}

/// A prompt, and what is known of its beginning.
pub(super) struct Known<'a> {
    /// Its tokens, at least one of which is not known.
    pub(super) tokens: &'a [i64],
    /// As [`Request::written`](super::Request::written).
    pub(super) written: usize,
    /// Keys and values of its first tokens.
    pub(super) before: Vec<KeysAndValues>,
    /// How many these are.
    pub(super) length: usize,
}

impl<'m> Histories<'m> {
    /// Nothing yet. Where an encoder reads prompts, nothing ever: what is written behind two of them has nothing in common,
    /// however it begins.
    pub fn new(model: &'m Network) -> Histories<'m> {
        if model.sizes().has_encoder {
            return Histories::off(model);
        }
        Histories { tree: Some(RadixTree::new(0)), keeps: true, ..Histories::off(model) }
    }

    /// Keeps nothing, ever.
    pub fn off(model: &'m Network) -> Histories<'m> {
        Histories { model, tree: None, keeps: false, prefill: PrefillTokens::default() }
    }

    /// Whether completions that end from here on may be gone on from.
    pub fn keep(&mut self, keeps: bool) {
        self.keeps = keeps && self.tree.is_some();
    }

    /// Whether something is to be kept.
    pub(super) fn keeps(&self) -> bool {
        self.keeps
    }

    /// Limits what is kept to so many bytes.
    pub(super) fn limit(&mut self, bytes: usize) {
        let per_token = KvCache::bytes_per_token(self.model.sizes(), self.model.kind());
        if let Some(tree) = &mut self.tree {
            tree.set_most(bytes / per_token.max(1));
        }
    }

    /// What is known of a prompt. Its last token is computed in any case, for the logits behind it.
    pub(super) fn look_up<'a>(&mut self, prompt: Prompt<'a>) -> Known<'a> {
        let Prompt { tokens, written } = prompt;
        let beginning = &tokens[..tokens.len() - 1];
        let (before, length) =
            self.tree.as_mut().map_or((Vec::new(), 0), |tree| tree.longest_beginning(beginning));
        self.prefill.computed += tokens.len() - length;
        self.prefill.reused += length;
        Known { tokens, written, before, length }
    }

    /// Keeps a history; `stretch(n)` are the keys and values of `tokens[n..]`.
    pub(super) fn add(&mut self, tokens: &[i64], stretch: impl FnOnce(usize) -> KeysAndValues) {
        if let Some(tree) = &mut self.tree {
            tree.insert(tokens, stretch);
        }
    }
}

impl Stretch for KeysAndValues {
    fn view(&self, range: Range<usize>) -> KeysAndValues {
        self.of_each(|x_ktd| x_ktd.narrow(1, range.start as i64, range.len() as i64))
    }

    fn cut(&self, range: Range<usize>) -> KeysAndValues {
        self.view(range).of_each(tch::Tensor::copy)
    }
}
