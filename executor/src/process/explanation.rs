//! Why a program ended as it did, from its exit status and what it wrote to stderr.
//!
//! The text is of the program's making. It decides between ways of failing, never between failing and passing.

use super::run::{Ended, How};
use super::toolchain::Language;
use crate::{Cause, Ending, Outcome};

/// Most bytes of a text that a cause shows.
const MOST_SHOWN: usize = 400;

/// The beginning of a text.
pub(crate) fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(MOST_SHOWN)]).into_owned()
}

/// How a command that did not end well ended.
pub(crate) fn explain(language: Language, ended: &Ended) -> Ending {
    let text = String::from_utf8_lossy(&ended.stderr);
    let was_refused = !ended.denied.is_empty();
    let ending = match ended.how {
        How::OutOfTime => return Outcome::OutOfTime.into(),
        How::OutOfMemory => return Outcome::OutOfMemory.into(),
        How::OutputLimit => return Outcome::OutputLimit.into(),
        How::Exited(status) => raised(language, &text).unwrap_or_else(|| {
            Ending::because(Outcome::Exited, Cause::Note(format!("exit status {status}")))
        }),
        How::Signalled(signal) => raised(language, &text).unwrap_or_else(|| {
            let name = nix::sys::signal::Signal::try_from(signal).map_or("", |signal| signal.as_str());
            Ending::because(
                Outcome::Crashed,
                Cause::Note(format!("signal {signal} {name}").trim().to_owned()),
            )
        }),
    };
    match ending.outcome {
        Outcome::Raised if was_refused => Ending { outcome: Outcome::Forbidden, ..ending },
        _ => ending,
    }
}

/// What an exception of Python means.
pub(crate) fn outcome_of_exception(kind: &str) -> Outcome {
    match kind {
        "MemoryError" => Outcome::OutOfMemory,
        "RecursionError" => Outcome::StackOverflow,
        "AssertionError" => Outcome::Failed,
        "SyntaxError" | "IndentationError" | "TabError" => Outcome::SyntaxError,
        _ => Outcome::Raised,
    }
}

/// The exception or panic that a runtime has reported, if it has.
fn raised(language: Language, text: &str) -> Option<Ending> {
    match language {
        Language::Python => python(text),
        Language::Java => java(text),
        Language::JavaScript | Language::TypeScript => node(text),
        Language::Rust => {
            if text.contains("memory allocation of ") {
                return Some(Outcome::OutOfMemory.into());
            }
            if text.contains("has overflowed its stack") {
                return Some(Outcome::StackOverflow.into());
            }
            let (_, panic) = text.split_once("panicked at ")?;
            let (_, message) = panic.split_once('\n')?;
            Some(exception("panic", message.lines().next()?, Outcome::Raised))
        }
        Language::Go => {
            if text.contains("fatal error: runtime: out of memory") || text.contains("cannot allocate memory")
            {
                return Some(Outcome::OutOfMemory.into());
            }
            if text.contains("stack exceeds") {
                return Some(Outcome::StackOverflow.into());
            }
            let line = text.lines().find_map(|line| line.strip_prefix("panic: "))?;
            Some(exception("panic", line, Outcome::Raised))
        }
        Language::Cpp | Language::C => {
            let (_, kind) = text.split_once("terminate called after throwing an instance of '")?;
            let (kind, rest) = kind.split_once('\'')?;
            let message = rest.split_once("what():").map_or("", |(_, message)| message.trim());
            let outcome = if kind == "std::bad_alloc" { Outcome::OutOfMemory } else { Outcome::Raised };
            Some(exception(kind, message.lines().next().unwrap_or_default(), outcome))
        }
    }
}

fn exception(kind: &str, message: &str, outcome: Outcome) -> Ending {
    let cause = Cause::Exception { kind: kind.to_owned(), message: shown(message.as_bytes()), line: None };
    Ending::because(outcome, cause)
}

/// The last line of a traceback, and the last line of the program that it names.
fn python(text: &str) -> Option<Ending> {
    let last = text.trim_end().lines().next_back()?;
    let (kind, message) = last.split_once(": ").unwrap_or((last, ""));
    let is_name = !kind.is_empty() && kind.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    if !is_name || !(text.contains("Traceback (most recent call last)") || kind == "MemoryError") {
        return None;
    }
    let mut ending = exception(kind, message, outcome_of_exception(kind));
    if ending.outcome == Outcome::SyntaxError {
        // Of something that the program has compiled: its own source was checked before.
        ending.outcome = Outcome::Raised;
    }
    if let Some(Cause::Exception { line, .. }) = &mut ending.cause {
        let mut places = text.lines().filter_map(|line| {
            let (_, rest) = line.split_once("File \"/program/main.py\", line ")?;
            rest.split(',').next()?.trim().parse().ok()
        });
        *line = places.next_back();
    }
    Some(ending)
}

fn java(text: &str) -> Option<Ending> {
    if text.contains("java.lang.OutOfMemoryError") {
        return Some(Outcome::OutOfMemory.into());
    }
    let (_, rest) = text.split_once("Exception in thread ")?;
    let (_, rest) = rest.split_once("\" ")?;
    let line = rest.lines().next()?;
    let (kind, message) = line.split_once(": ").unwrap_or((line, ""));
    let outcome =
        if kind == "java.lang.StackOverflowError" { Outcome::StackOverflow } else { Outcome::Raised };
    Some(exception(kind, message, outcome))
}

fn node(text: &str) -> Option<Ending> {
    if text.contains("JavaScript heap out of memory") {
        return Some(Outcome::OutOfMemory.into());
    }
    let is_error = |line: &&str| {
        line.split_once(": ").is_some_and(|(kind, _)| {
            kind.ends_with("Error") && kind.chars().all(|c| c.is_alphanumeric() || c == '_')
        })
    };
    let (kind, message) = text.lines().find(is_error)?.split_once(": ")?;
    let is_deep = message == "Maximum call stack size exceeded";
    Some(exception(kind, message, if is_deep { Outcome::StackOverflow } else { Outcome::Raised }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_say_what_was_raised() {
        for (language, text, outcome, cause) in [
            (
                Language::Python,
                "Traceback (most recent call last):\n  File \"/program/main.py\", line 3, in <module>\nValueError: too small\n",
                Outcome::Raised,
                "ValueError: too small, line 3",
            ),
            (
                Language::Java,
                "Exception in thread \"main\" java.lang.ArithmeticException: / by zero\n\tat Main.main(Main.java:3)\n",
                Outcome::Raised,
                "java.lang.ArithmeticException: / by zero",
            ),
            (
                Language::JavaScript,
                "/program/main.js:1\nf()\n^\n\nReferenceError: f is not defined\n    at Object\n",
                Outcome::Raised,
                "ReferenceError: f is not defined",
            ),
            (
                Language::Rust,
                "\nthread 'main' (7) panicked at /program/main.rs:1:13:\nindex out of bounds\nnote: run\n",
                Outcome::Raised,
                "panic: index out of bounds",
            ),
            (
                Language::Cpp,
                "terminate called after throwing an instance of 'std::out_of_range'\n  what():  vector\n",
                Outcome::Raised,
                "std::out_of_range: vector",
            ),
            (Language::Go, "panic: oh no\n\ngoroutine 1 [running]:\n", Outcome::Raised, "panic: oh no"),
        ] {
            let ending = raised(language, text).unwrap();
            assert_eq!(ending.outcome, outcome);
            assert_eq!(ending.cause.unwrap().to_string(), cause);
            assert!(raised(language, "something else: that\n").is_none());
        }
    }
}
