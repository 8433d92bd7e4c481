//! The text of a sample piece by piece, while it grows.

use std::sync::Arc;

use crate::policy::Tokenizer;

/// Text of a growing sample. A piece is told of once it cannot be part of a stop text, nor of a character that is not whole.
pub(super) struct Pieces {
    tokenizer: Arc<Tokenizer>,
    stop: Vec<String>,
    tokens: Vec<i64>,
    /// First token of the piece that is decoded again, and tokens whose text is known.
    from: usize,
    read: usize,
    text: String,
    /// Bytes of the text that were told.
    told: usize,
}

impl Pieces {
    /// Nothing yet.
    pub(super) fn new(tokenizer: Arc<Tokenizer>, stop: Vec<String>) -> Pieces {
        Pieces { tokenizer, stop, tokens: Vec::new(), from: 0, read: 0, text: String::new(), told: 0 }
    }

    /// Takes in a token; returns what can be told now.
    pub(super) fn push(&mut self, token: i64) -> String {
        self.tokens.push(token);
        // A tokenizer that cannot decode ends the request elsewhere.
        let decode =
            |range: std::ops::Range<usize>| self.tokenizer.decode(&self.tokens[range]).unwrap_or_default();
        let piece = decode(self.from..self.tokens.len());
        let known = decode(self.from..self.read).len();
        let Some(new) = piece.get(known..).filter(|new| !new.is_empty()) else { return String::new() };
        if new.ends_with(char::REPLACEMENT_CHARACTER) {
            return String::new();
        }
        self.text.push_str(new);
        (self.from, self.read) = (self.read, self.tokens.len());
        let end = self.certain();
        let piece = self.text[self.told.min(end)..end].to_owned();
        self.told = self.told.max(end);
        piece
    }

    /// What is left to tell of the whole text.
    pub(super) fn end(self, whole: &str) -> String {
        whole.get(self.told..).unwrap_or_default().to_owned()
    }

    /// Bytes of the text before the first stop text, or before what may become one.
    fn certain(&self) -> usize {
        let text = &self.text;
        if let Some(place) = self.stop.iter().filter_map(|stop| text.find(stop.as_str())).min() {
            return place;
        }
        let begun = |stop: &String| {
            let lengths = (1..stop.len().min(text.len() + 1)).rev();
            lengths
                .filter(|length| stop.is_char_boundary(*length))
                .find(|length| text.ends_with(&stop[..*length]))
        };
        text.len() - self.stop.iter().filter_map(begun).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    /// A tokenizer of the 256 bytes, so that a character can be of several tokens.
    fn bytes() -> Arc<Tokenizer> {
        let folder = tempfile::tempdir().unwrap();
        let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
        let stand_in = |byte: u8| match printable(byte) {
            true => char::from(byte),
            false => {
                char::from_u32(0x100 + (0..byte).filter(|other| !printable(*other)).count() as u32).unwrap()
            }
        };
        let vocabulary: Map<_, _> =
            (0..=255u8).map(|byte| (stand_in(byte).to_string(), json!(byte))).collect();
        let level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
        let tokenizer = json!({
            "version": "1.0", "pre_tokenizer": level, "decoder": level, "model": { "type": "BPE", "vocab": vocabulary, "merges": [] },
        });
        std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        std::fs::write(folder.path().join("tokenizer_config.json"), "{}").unwrap();
        Arc::new(Tokenizer::load(folder.path()).unwrap())
    }

    fn told(text: &str, stop: &[&str]) -> (Vec<String>, String) {
        let stop: Vec<String> = stop.iter().map(|stop| (*stop).to_owned()).collect();
        let mut pieces = Pieces::new(bytes(), stop.clone());
        let told: Vec<String> = text.bytes().map(|byte| pieces.push(i64::from(byte))).collect();
        let whole =
            &text[..stop.iter().filter_map(|stop| text.find(stop.as_str())).min().unwrap_or(text.len())];
        let rest = pieces.end(whole);
        assert_eq!(told.concat() + &rest, whole);
        (told, rest)
    }

    #[test]
    fn a_character_is_told_whole_and_what_may_be_a_stop_text_is_held_back() {
        let (pieces, rest) = told("a\u{e9}b", &[]);
        assert_eq!((pieces, rest.as_str()), (vec!["a".into(), "".into(), "\u{e9}".into(), "b".into()], ""));
        let (pieces, rest) = told("x\ndxf\ndef", &["\ndef"]);
        assert_eq!(pieces, ["x", "", "", "\ndx", "f", "", "", "", ""]);
        assert_eq!(rest, "");
        let (pieces, rest) = told("x\nde", &["\ndef", "#"]);
        assert_eq!((pieces.concat().as_str(), rest.as_str()), ("x", "\nde"));
    }
}
