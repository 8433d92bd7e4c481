//! The part of a long line that an error report shows.

use std::ops::Range;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

/// Bytes of a line that are shown on each side of the place of a problem.
const AROUND: usize = 40;

/// The neighbourhood of a place in one line of a file that is not kept in memory.
///
/// miette draws whole lines out of whole files. A line of a task file has hundreds of characters and a file can be
/// larger than memory, so this holds what is worth showing, with the number of its line.
#[derive(Clone, Debug)]
pub struct Excerpt {
    /// Name of the file.
    name: String,
    /// Number of the line, from 0.
    line: usize,
    /// Place in the line where the excerpt begins, in bytes.
    start: usize,
    text: String,
}

impl Excerpt {
    /// Cuts the neighbourhood of `place` out of a line; also returns where `place` is in the excerpt.
    ///
    /// `line` counts from 1. A place that reaches past the line is cut off at its end.
    pub(super) fn cut(name: &str, line: usize, text: &str, place: Range<usize>) -> (Excerpt, SourceSpan) {
        let place = floor(text, place.start)..floor(text, place.end);
        let shown_end = place.end.min(floor(text, place.start + AROUND));
        let start = floor(text, place.start.saturating_sub(AROUND));
        let end = floor(text, shown_end + AROUND);
        let mark = (place.start - start, shown_end.saturating_sub(place.start));
        let excerpt =
            Excerpt { name: name.to_owned(), line: line - 1, start, text: text[start..end].to_owned() };
        (excerpt, mark.into())
    }
}

/// The largest character boundary of `text` that is at most `place`.
fn floor(text: &str, place: usize) -> usize {
    let place = place.min(text.len());
    (0..=place).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0)
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        _lines_before: usize,
        _lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        if span.offset() + span.len() > self.text.len() {
            return Err(MietteError::OutOfBounds);
        }
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            self.text.as_bytes(),
            (0, self.text.len()).into(),
            self.line,
            self.start + span.offset(),
            1,
        )))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = format!("{}WRONG{}", "a".repeat(500), "b".repeat(500));
        let (excerpt, mark) = Excerpt::cut("tasks.jsonl", 7, &line, 500..505);
        assert_eq!(excerpt.text, format!("{}WRONG{}", "a".repeat(40), "b".repeat(40)));
        assert_eq!(&excerpt.text[mark.offset()..mark.offset() + mark.len()], "WRONG");
        let contents = excerpt.read_span(&mark, 0, 0).unwrap();
        assert_eq!((contents.line(), contents.column()), (6, 500));
    }

    proptest! {
        #[test]
        fn any_place_in_any_text_can_be_shown(text in ".*", start in 0usize..200, length in 0usize..200) {
            let (excerpt, mark) = Excerpt::cut("f", 1, &text, start..start + length);
            prop_assert!(text.contains(&excerpt.text));
            prop_assert!(excerpt.read_span(&mark, 1, 1).is_ok());
        }
    }
}
