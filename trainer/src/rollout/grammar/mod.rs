//! Completions that are words of a language: tokens that cannot lead to one are not drawn.
//!
//! Plain masking draws from what is left of each next-token distribution, which prefers whatever begins well: a word whose
//! beginning is likely is drawn as often as that beginning, however unlikely its end. ASAp (Park et al. 2024, arXiv:2405.21047)
//! remembers how much of what follows a prefix was a word and converges to the model's own distribution over the language.

mod asap;
mod compiled;
mod config;
mod constraint;

use std::fmt::Debug;
use std::sync::Arc;

pub use asap::{Allowed, Asap, Place};
pub use compiled::CompiledGrammar;
pub use config::{GrammarConfig, GrammarMethod, GrammarNotation};
pub(super) use constraint::{Constrained, Constraints};
use thiserror::Error;

/// Why a completion cannot go on as a word of the language.
#[derive(Debug, Error)]
#[error("the grammar cannot be followed: {0}")]
pub struct GrammarError(pub String);

/// Tokens, one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSet {
    /// The lowest bit of the first word is token 0.
    words: Vec<u32>,
}

impl TokenSet {
    /// The set whose bits these are; the lowest bit of the first word is token 0.
    pub fn of_words(words: Vec<u32>) -> TokenSet {
        TokenSet { words }
    }

    /// These tokens.
    pub fn of(tokens: impl IntoIterator<Item = usize>) -> TokenSet {
        let mut words = Vec::new();
        for token in tokens {
            let (word, bit) = (token / 32, token % 32);
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            words[word] |= 1 << bit;
        }
        TokenSet { words }
    }

    /// Whether the set has a token.
    pub fn has(&self, token: usize) -> bool {
        self.words.get(token / 32).is_some_and(|word| word >> (token % 32) & 1 == 1)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether the set has none.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Writes 0 for every token of the set and minus infinity for the others.
    pub fn write(&self, row: &mut [f32]) {
        row.fill(f32::NEG_INFINITY);
        for (numbers, word) in row.chunks_mut(32).zip(&self.words) {
            let mut bits = *word;
            while bits != 0 {
                if let Some(number) = numbers.get_mut(bits.trailing_zeros() as usize) {
                    *number = 0.0;
                }
                bits &= bits - 1;
            }
        }
    }
}

/// Follows one completion, token by token, and says which tokens can still lead to a word of a language.
///
/// The end of a completion is a token too: one of the tokenizer's stop ids, which is allowed exactly where the completion is a
/// word.
pub trait PrefixAcceptor {
    /// The tokens that may come next. A completion that may only end has the stop ids left.
    ///
    /// # Errors
    ///
    /// If the engine gives up, because a limit of its own is reached for example.
    fn allowed(&mut self) -> Result<TokenSet, GrammarError>;

    /// Goes on by a token that [`PrefixAcceptor::allowed`] has.
    ///
    /// # Errors
    ///
    /// If the token is not allowed.
    fn accept(&mut self, token: i64) -> Result<(), GrammarError>;
}

/// A language, and how words are drawn from it.
pub type DrawnLanguage = (Arc<dyn Language>, GrammarMethod);

/// A language that completions are words of.
pub trait Language: Debug + Send + Sync {
    /// An acceptor at the beginning of a completion.
    fn acceptor(&self) -> Box<dyn PrefixAcceptor>;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_has_what_it_was_made_of(tokens in prop::collection::btree_set(0usize..200, 0..40)) {
            let set = TokenSet::of(tokens.iter().copied());
            let mut row = vec![7.0; 150];
            set.write(&mut row);
            for token in 0..200 {
                prop_assert_eq!(set.has(token), tokens.contains(&token));
                if let Some(number) = row.get(token) {
                    prop_assert_eq!(*number, if tokens.contains(&token) { 0.0 } else { f32::NEG_INFINITY });
                }
            }
            prop_assert_eq!((set.is_empty(), set.count()), (tokens.is_empty(), tokens.len()));
        }
    }
}
