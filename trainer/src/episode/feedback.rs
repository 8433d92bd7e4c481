//! What the model is told of its program: a text of public tests alone.

use rltrain_executor::{Cause, Ending, Outcome, Test, Verdict};

use super::config::FeedbackLevel;
use crate::tasks::shown;

/// The feedback to `program`, which the public tests `tests` have judged; empty at level `none`.
///
/// `verdict` is of a job whose tests are these, all of them public: whatever is hidden was not in it. A text longer than
/// `most` characters loses its middle.
pub fn feedback(
    level: FeedbackLevel,
    verdict: &Verdict,
    tests: &[Test],
    program: &str,
    most: usize,
) -> String {
    if level == FeedbackLevel::None {
        return String::new();
    }
    let endings = verdict.public_tests();
    let first = endings.iter().zip(tests).find(|(ending, _)| !ending.passed());
    let mut lines = vec![sentence(verdict)];
    let (ending, test) = match first {
        _ if !verdict.load.passed() => (Some(&verdict.load), None),
        Some((ending, test)) => (Some(ending), Some(test)),
        None => (None, None),
    };
    if level >= FeedbackLevel::FailingAssert {
        lines.extend(test.map(|test| format!("This test does not pass: `{}`", shown(test))));
    }
    if level >= FeedbackLevel::ErrorLine {
        lines.extend(ending.and_then(|ending| reason(level, ending, program)));
    }
    shortened(&lines.join("\n"), most)
}

/// The verdict in one sentence.
fn sentence(verdict: &Verdict) -> String {
    let endings = verdict.public_tests();
    match verdict.load.outcome {
        Outcome::Passed => {
            let passed = endings.iter().filter(|ending| ending.passed()).count();
            format!("The program passes {passed} of {} tests.", endings.len())
        }
        Outcome::SyntaxError => "The program is not valid: it cannot be parsed.".to_owned(),
        outcome => format!("The program stops before its first test: {outcome}."),
    }
}

/// Why the program, or a test, did not pass. What a test gave instead of what was wanted is told with the test alone.
fn reason(level: FeedbackLevel, ending: &Ending, program: &str) -> Option<String> {
    match &ending.cause {
        Some(Cause::WrongAnswer { actual, .. }) => {
            (level >= FeedbackLevel::FailingAssert).then(|| format!("It gave {actual}."))
        }
        Some(Cause::Exception { kind, message, line }) => {
            let colon = if message.is_empty() { "" } else { ": " };
            let error = format!("{kind}{colon}{message}");
            let source = line.and_then(|line| {
                let before = (line as usize).checked_sub(1)?;
                Some((line, program.lines().nth(before)?.trim()))
            });
            Some(match source {
                Some((line, source)) => format!("Line {line}, `{source}`: {error}"),
                None => error,
            })
        }
        // A note of the sandbox can quote a test.
        Some(Cause::Note(note)) => (level >= FeedbackLevel::FailingAssert).then(|| note.clone()),
        None if ending.outcome == Outcome::Failed => None,
        None => Some(format!("It ended so: {}.", ending.outcome)),
    }
}

/// `text`, without its middle if it has more than `most` characters.
fn shortened(text: &str, most: usize) -> String {
    const GAP: &str = " ... ";
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(GAP.len());
    let head: String = text.chars().take(kept.div_ceil(2)).collect();
    let tail: String = text.chars().skip(count - kept / 2).collect();
    format!("{head}{GAP}{tail}").chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rltrain_executor::WallTime;

    use super::FeedbackLevel::{ErrorLine, FailingAssert, None, Verdict as Level};
    use super::*;

    fn verdict(load: Ending, tests: Vec<Ending>) -> Verdict {
        Verdict {
            load,
            public: tests.len(),
            tests,
            fuel: 1,
            peak_memory_bytes: 1,
            wall: WallTime::default(),
            stdout: "printed".to_owned(),
            stderr: "complained".to_owned(),
            denied: Default::default(),
        }
    }

    const PROGRAM: &str = "def half(n):\n    return n / 0\n";

    fn told(level: FeedbackLevel, verdict: &Verdict) -> String {
        let tests = ["assert half(2) == 1", "assert half(4) == 2"].map(Test::from);
        feedback(level, verdict, &tests, PROGRAM, 500)
    }

    #[test]
    fn each_level_tells_more_of_a_wrong_answer() {
        let wrong = Cause::WrongAnswer { actual: "3".to_owned(), expected: "2".to_owned() };
        let judged = verdict(Ending::PASSED, vec![Ending::PASSED, Ending::because(Outcome::Failed, wrong)]);
        assert_eq!(told(None, &judged), "");
        assert_eq!(told(Level, &judged), "The program passes 1 of 2 tests.");
        assert_eq!(told(ErrorLine, &judged), "The program passes 1 of 2 tests.");
        assert_eq!(
            told(FailingAssert, &judged),
            "The program passes 1 of 2 tests.\nThis test does not pass: `assert half(4) == 2`\nIt gave 3."
        );
    }

    #[test]
    fn an_exception_comes_with_its_line() {
        let kind = "ZeroDivisionError".to_owned();
        let cause = Cause::Exception { kind, message: "division by zero".to_owned(), line: Some(2) };
        let raised = Ending::because(Outcome::Raised, cause);
        let judged = verdict(Ending::PASSED, vec![raised.clone(), raised.clone()]);
        let line = "Line 2, `return n / 0`: ZeroDivisionError: division by zero";
        assert_eq!(told(Level, &judged), "The program passes 0 of 2 tests.");
        assert_eq!(told(ErrorLine, &judged), format!("The program passes 0 of 2 tests.\n{line}"));
        assert!(told(FailingAssert, &judged).contains("`assert half(2) == 1`\nLine 2"));

        let loading = verdict(raised, vec![Outcome::NotRun.into(), Outcome::NotRun.into()]);
        let sentence = "The program stops before its first test: raised.";
        assert_eq!(told(FailingAssert, &loading), format!("{sentence}\n{line}"));
    }

    #[test]
    fn limits_and_syntax_have_words_of_their_own() {
        let slow = verdict(Ending::PASSED, vec![Ending::PASSED, Outcome::OutOfFuel.into()]);
        assert!(told(ErrorLine, &slow).ends_with("It ended so: out of fuel."));
        let broken = verdict(Outcome::SyntaxError.into(), vec![Outcome::NotRun.into()]);
        assert!(told(Level, &broken).starts_with("The program is not valid"));
    }

    proptest! {
        #[test]
        fn a_shortened_text_keeps_both_ends_and_its_limit(text in "\\PC{0,60}", most in 1usize..70) {
            let short = shortened(&text, most);
            prop_assert!(short.chars().count() <= most);
            if text.chars().count() <= most {
                prop_assert_eq!(short, text);
            } else if most > 10 {
                prop_assert_eq!(short.chars().next(), text.chars().next());
                prop_assert_eq!(short.chars().last(), text.chars().last());
            }
        }
    }
}
