//! What follows a prompt where the environment speaks too.

use serde::{Deserialize, Serialize};

/// Tokens that the environment put between those of the policy: the policy reads them, and never learns to write them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interjection {
    /// How many of the policy's own tokens come before.
    pub after: usize,
    /// Token ids.
    pub tokens: Vec<i64>,
}

/// The policy's tokens behind a prompt, and what the environment said between them.
#[derive(Clone, Copy, Debug)]
pub struct Continuation<'a> {
    /// The policy's own tokens, end to end.
    pub tokens: &'a [i64],
    /// In the order of [`Interjection::after`], each behind at most as many tokens as there are.
    pub interjections: &'a [Interjection],
}

impl<'a> Continuation<'a> {
    /// Every token in the order in which the network reads them, and whether it is the policy's own.
    pub fn read(self) -> impl Iterator<Item = (i64, bool)> + use<'a> {
        let mut from = 0;
        let pieces = self.interjections.iter().flat_map(move |interjection| {
            let own = &self.tokens[from..interjection.after];
            from = interjection.after;
            [(own, true), (&interjection.tokens[..], false)]
        });
        let last = self.interjections.last().map_or(0, |interjection| interjection.after);
        pieces
            .chain([(&self.tokens[last..], true)])
            .flat_map(|(tokens, own)| tokens.iter().map(move |token| (*token, own)))
    }

    /// How many tokens the network reads.
    pub fn read_length(self) -> usize {
        self.tokens.len() + self.interjections.iter().map(|said| said.tokens.len()).sum::<usize>()
    }
}

/// Nothing but the policy's own tokens.
impl<'a> From<&'a [i64]> for Continuation<'a> {
    fn from(tokens: &'a [i64]) -> Continuation<'a> {
        Continuation { tokens, interjections: &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_in_the_order_in_which_they_were_said() {
        let said = |after, tokens: &[i64]| Interjection { after, tokens: tokens.to_vec() };
        let interjections = [said(0, &[90]), said(2, &[91, 92]), said(2, &[93]), said(3, &[])];
        let whole = Continuation { tokens: &[1, 2, 3, 4], interjections: &interjections };
        let read: Vec<(i64, bool)> = whole.read().collect();
        let wanted =
            [(90, false), (1, true), (2, true), (91, false), (92, false), (93, false), (3, true), (4, true)];
        assert_eq!(read, wanted);
        assert_eq!(whole.read_length(), 8);
        let alone: Vec<(i64, bool)> = Continuation::from(&[5, 6][..]).read().collect();
        assert_eq!(alone, [(5, true), (6, true)]);
    }
}
