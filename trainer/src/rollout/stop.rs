//! Stop strings: texts that end a completion.

/// Finds the earliest of several texts.
pub(super) struct StopStrings<'a> {
    texts: &'a [String],
    longest: usize,
}

impl<'a> StopStrings<'a> {
    pub(super) fn new(texts: &'a [String]) -> StopStrings<'a> {
        StopStrings { texts, longest: texts.iter().map(String::len).max().unwrap_or(0) }
    }

    /// Whether there is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Byte offset of the earliest stop string in `text`.
    pub(super) fn find(&self, text: &str) -> Option<usize> {
        self.texts.iter().filter_map(|stop| text.find(stop.as_str())).min()
    }

    /// Whether a stop string ends behind byte `known` of `text`.
    pub(super) fn ends_in(&self, text: &str, known: usize) -> bool {
        let mut from = (known + 1).saturating_sub(self.longest);
        while !text.is_char_boundary(from) {
            from -= 1;
        }
        self.find(&text[from..]).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_stop_string_wins() {
        let texts = ["\ndef ".to_owned(), "\n```".to_owned()];
        let stop = StopStrings::new(&texts);
        assert_eq!(stop.find("\n    return 1\n```\n\ndef f"), Some(13));
        assert_eq!(stop.find("\n    return 1\n"), None);
    }

    #[test]
    fn a_stop_string_is_seen_with_its_last_byte_however_the_text_grew() {
        let texts = ["\u{e9}nd".to_owned(), "#".to_owned()];
        let stop = StopStrings::new(&texts);
        for known in 0..5 {
            assert!(stop.ends_in("a\u{e9}nd", known), "{known}");
        }
        assert!(stop.ends_in("x#", 1));
        assert!(!stop.ends_in("a\u{e9}n", 0));
        assert!(!stop.ends_in("x#y and more", 7));
    }
}
