//! Stop strings: texts that end a completion.

/// Finds the earliest of several texts.
pub(super) struct StopStrings<'a> {
    texts: &'a [String],
}

impl<'a> StopStrings<'a> {
    pub(super) fn new(texts: &'a [String]) -> StopStrings<'a> {
        StopStrings { texts }
    }

    /// Byte offset of the earliest stop string in `text`.
    pub(super) fn find(&self, text: &str) -> Option<usize> {
        self.texts.iter().filter_map(|stop| text.find(stop.as_str())).min()
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
}
