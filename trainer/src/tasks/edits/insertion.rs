//! One step of writing a program: lines that go behind a line.

use std::fmt::Write;

/// How the head of an insertion begins; behind it is the number of a line.
const HEAD: &str = "@ ";

/// How an inserted line begins.
const LINE: char = '+';

/// Lines that go behind a line of what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insertion {
    /// The line that they go behind, counted from 1 in what is there by then; 0 for the top.
    pub behind: usize,
    /// What is inserted, without newlines.
    pub lines: Vec<String>,
}

/// What the model writes for these insertions, from the end of the signature on.
pub fn text(insertions: &[Insertion]) -> String {
    let mut text = String::new();
    for Insertion { behind, lines } in insertions {
        let _ = write!(text, "\n{HEAD}{behind}");
        for line in lines {
            let _ = write!(text, "\n{LINE}{line}");
        }
    }
    text
}

/// The program that `answer` makes of `signature`; `None` if it is no sequence of insertions, or one goes behind a line that is not there.
///
/// What follows the last newline counts as a line. Blank lines between insertions are passed over; a line of a program that is blank is
/// inserted as one that is nothing but `+`.
pub fn apply(signature: &str, answer: &str) -> Option<String> {
    let mut program: Vec<&str> = signature.lines().collect();
    let mut at = None;
    for line in answer.lines() {
        if let Some(number) = line.strip_prefix(HEAD) {
            let behind: usize = number.trim_end().parse().ok()?;
            if behind > program.len() {
                return None;
            }
            at = Some(behind);
        } else if let Some(inserted) = line.strip_prefix(LINE) {
            let place = at?;
            program.insert(place, inserted);
            at = Some(place + 1);
        } else if !line.trim().is_empty() {
            return None;
        }
    }
    Some(program.join("\n"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn insertion(behind: usize, lines: &[&str]) -> Insertion {
        Insertion { behind, lines: lines.iter().map(|line| (*line).to_owned()).collect() }
    }

    #[test]
    fn insertions_are_made_one_after_the_other() {
        let insertions = [
            insertion(1, &["    return sum(xs)"]),
            insertion(1, &["    if not xs:", "        return 0", ""]),
        ];
        let answer = text(&insertions);
        assert_eq!(answer, "\n@ 1\n+    return sum(xs)\n@ 1\n+    if not xs:\n+        return 0\n+");
        assert_eq!(
            apply("def total(xs):", &answer).unwrap(),
            "def total(xs):\n    if not xs:\n        return 0\n\n    return sum(xs)"
        );
        assert_eq!(apply("", "@ 0\n+a\n\n@ 1\n+b\n").unwrap(), "a\nb");
        assert_eq!(apply("a", "").unwrap(), "a");
    }

    #[test]
    fn what_is_no_sequence_of_insertions_is_no_program() {
        for answer in [
            "return 1",
            "+a",
            "@ 2\n+a",
            "@ x\n+a",
            "@ -1\n+a",
            "@ 1\n+a\nb",
            "@1\n+a",
            "@ 99999999999999999999\n+a",
        ] {
            assert_eq!(apply("def f():", answer), None, "{answer}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(signature in "[a\n]{0,5}", answer in "(@ [0-9x]{1,2}|\\+[a ]{0,3}|b|\n){0,12}") {
            let _ = apply(&signature, &answer);
        }

        #[test]
        fn what_was_inserted_is_there(lines in prop::collection::vec("[^\r\n]{0,6}", 1..6)) {
            let all = [Insertion { behind: 1, lines: lines.clone() }];
            let made = apply("a", &text(&all)).unwrap();
            prop_assert_eq!(made, format!("a\n{}", lines.join("\n")));
        }
    }
}
