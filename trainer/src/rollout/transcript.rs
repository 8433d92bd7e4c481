//! The text of a completion while it grows, so that a stop text is seen the moment it is complete.

use super::stop::StopStrings;
use crate::policy::{PolicyError, Tokenizer};

/// Text of a growing completion. Only the last few tokens are decoded again when one is added.
///
/// A token's text can depend on the tokens before it (bytes of one character, spaces at the start), so each piece is decoded
/// together with the piece before it, and what that had alone is cut off.
#[derive(Debug, Default)]
pub(super) struct Transcript {
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
        let piece = tokenizer.decode(&tokens[self.from..])?;
        let Some(new) = piece.get(self.known..) else { return Ok(false) };
        // A character that is not complete, or a token without text.
        if new.is_empty() || new.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(false);
        }
        let before = self.text.len();
        self.text.push_str(new);
        self.from = self.read;
        self.read = tokens.len();
        self.known = tokenizer.decode(&tokens[self.from..])?.len();
        Ok(stop.ends_in(&self.text, before))
    }
}
