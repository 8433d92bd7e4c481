//! The text of a completion while it grows, so that a stop text is seen the moment it is complete.

use super::stop::StopStrings;
use crate::policy::{PolicyError, Tokenizer};

/// Text of a growing completion. Only the last few tokens are decoded again when one is added.
///
/// A token's text can depend on the tokens before it (bytes of one character, spaces at the start), so each piece is decoded
/// together with the piece before it, and what that had alone is cut off.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// Text so far, without bytes that do not make a character yet.
    text: String,
    /// First token of the piece that is decoded again.
    from: usize,
    /// Tokens whose text is in `text`.
    read: usize,
    /// Bytes of the text of tokens `from..read`.
    known: usize,
}

impl Transcript {
    /// Takes in the last of `tokens`. Returns whether a stop text may have come with it.
    ///
    /// # Errors
    ///
    /// If the tokenizer cannot decode.
    pub(super) fn push(
        &mut self,
        tokens: &[i64],
        tokenizer: &Tokenizer,
        stop: &StopStrings<'_>,
    ) -> Result<bool, PolicyError> {
        let before = self.text.len();
        self.grow(tokens, tokenizer)?;
        Ok(self.text.len() > before && stop.ends_in(&self.text, before))
    }

    /// Takes in the last of `tokens`. The text is as before if that is a token without text, or ends in a character that is not
    /// complete.
    ///
    /// # Errors
    ///
    /// If the tokenizer cannot decode.
    pub(crate) fn grow(&mut self, tokens: &[i64], tokenizer: &Tokenizer) -> Result<(), PolicyError> {
        let piece = tokenizer.decode(&tokens[self.from..])?;
        let Some(new) = piece.get(self.known..) else { return Ok(()) };
        if new.is_empty() || new.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(());
        }
        self.text.push_str(new);
        self.from = self.read;
        self.read = tokens.len();
        self.known = tokenizer.decode(&tokens[self.from..])?.len();
        Ok(())
    }

    /// The text so far.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}
