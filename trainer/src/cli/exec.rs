//! `rltrain exec --tests FILE < PROGRAM`: one program through the sandbox.

use std::fmt::Display;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use miette::{Diagnostic, NamedSource, SourceSpan};
use rltrain_executor::process::Language;
use rltrain_executor::{
    Ending, ExecutorConfig, Fuel, Job, Limits, MemoryMib, OutputBytes, Runtime, Test, TimeoutMs, Verdict,
};
use thiserror::Error;

use super::failure::Failure;
use super::print_line;
use crate::execution::start_executor;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The program; standard input if it is not given
    #[arg(value_name = "PROGRAM")]
    program: Option<PathBuf>,
    /// Language of the program, or the name of a runtime; `rltrain doctor` shows which are ready
    #[arg(long, value_name = "LANGUAGE", default_value = "python", value_parser = runtime)]
    lang: Runtime,
    /// Tests, one a line: a JSON string of statements, such as "assert double(2) == 4", or an object of another kind, such as
    /// {"kind": "stdin", "stdin": "2\n", "stdout": "4\n"}
    #[arg(long, value_name = "FILE")]
    tests: PathBuf,
    /// Print the verdict as one JSON object
    #[arg(long)]
    json: bool,
    /// Work that the program and its tests may do, in WebAssembly instructions
    #[arg(long, value_name = "NUMBER", value_parser = limit::<Fuel>)]
    fuel: Option<Fuel>,
    /// Processor time, and time asleep, that they may take
    #[arg(long, value_name = "MILLISECONDS", value_parser = limit::<TimeoutMs>)]
    timeout_ms: Option<TimeoutMs>,
    /// Memory that they may hold, the interpreter's 40 MiB included
    #[arg(long, value_name = "MIB", value_parser = limit::<MemoryMib>)]
    memory_mib: Option<MemoryMib>,
    /// Bytes that they may write to stdout and stderr together
    #[arg(long, value_name = "BYTES", value_parser = limit::<OutputBytes>)]
    output_bytes: Option<OutputBytes>,
}

/// Languages, and what runs them unless a runtime is named.
const LANGUAGES: [(&str, Runtime); 10] = [
    ("python", Runtime::Python315),
    ("javascript", Runtime::JavaScript),
    ("ruby", Runtime::Ruby),
    ("wasm", Runtime::Wasm),
    ("c", Runtime::Native(Language::C)),
    ("cpp", Runtime::Native(Language::Cpp)),
    ("rust", Runtime::Native(Language::Rust)),
    ("go", Runtime::Native(Language::Go)),
    ("java", Runtime::Native(Language::Java)),
    ("typescript", Runtime::Native(Language::TypeScript)),
];

/// The runtime that a language or runtime is named by.
pub(super) fn runtime(text: &str) -> Result<Runtime, String> {
    let language = LANGUAGES.iter().find(|(name, _)| *name == text).map(|(_, runtime)| *runtime);
    language.or_else(|| Runtime::named(text)).ok_or_else(|| {
        let languages: Vec<&str> = LANGUAGES.iter().map(|(name, _)| *name).collect();
        let runtimes: Vec<&str> = Runtime::ALL.iter().map(|runtime| runtime.name()).collect();
        format!("wanted a language ({}) or a runtime ({})", languages.join(", "), runtimes.join(", "))
    })
}

fn limit<T>(text: &str) -> Result<T, String>
where
    T: TryFrom<u64, Error: Display>,
{
    let number = text.parse::<u64>().map_err(|_| "wanted a whole number".to_owned())?;
    T::try_from(number).map_err(|error| error.to_string())
}

/// Runs the program and prints its verdict. Any verdict is a success: the exit code speaks of the sandbox.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let tests = read_tests(&arguments.tests)?;
    let program = read_program(arguments.program.as_deref())?;
    let config = ExecutorConfig {
        runtime: arguments.lang,
        workers: Some(NonZeroUsize::MIN),
        ..ExecutorConfig::default()
    };
    let executor = start_executor(&config).map_err(Failure::world)?;
    let job = Job::new(program, tests.iter().cloned(), limits(arguments));
    let verdict = executor.submit(job).wait().map_err(Failure::world)?;
    if arguments.json {
        print_line(serde_json::to_string(&verdict).map_err(Failure::world)?);
    } else {
        print(&tests, &verdict);
    }
    Ok(())
}

fn limits(arguments: &Arguments) -> Limits {
    let default = Limits::default();
    Limits {
        fuel: arguments.fuel.unwrap_or(default.fuel),
        timeout_ms: arguments.timeout_ms.unwrap_or(default.timeout_ms),
        memory_mib: arguments.memory_mib.unwrap_or(default.memory_mib),
        output_bytes: arguments.output_bytes.unwrap_or(default.output_bytes),
    }
}

const A_TEST: &str = "a test is JSON on a line of its own: a string of statements, such as \"assert double(2) == 4\", or an object of \
     another kind, such as {\"kind\": \"call\", \"function\": \"double\", \"arguments\": [2], \"expected\": 4}; docs/tests.md has them all";

/// What the user gave us cannot be used.
#[derive(Debug, Error, Diagnostic)]
enum InputError {
    #[error("cannot read {what}")]
    #[diagnostic(help(
        "programs and tests are text files in UTF-8; `rltrain exec --help` shows how they are named"
    ))]
    Unreadable { what: String, source: io::Error },
    #[error("`{}` has no test, wanted at least one", path.display())]
    #[diagnostic(help("{A_TEST}"))]
    NoTests { path: PathBuf },
    #[error("line {line} is not a test: {message}")]
    #[diagnostic(help("{A_TEST}"))]
    NotATest {
        line: usize,
        message: String,
        #[source_code]
        text: NamedSource<String>,
        #[label]
        place: SourceSpan,
    },
}

fn read_program(path: Option<&Path>) -> Result<String, Failure> {
    let (what, read) = match path {
        Some(path) => (format!("the program `{}`", path.display()), std::fs::read(path)),
        None => {
            let mut program = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut program);
            ("the program from standard input".to_owned(), read.map(|_| program))
        }
    };
    let read = read.and_then(|bytes| match rltrain_executor::module_as_text(&bytes) {
        Some(text) => Ok(text),
        None => String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
    });
    read.map_err(|source| Failure::input(InputError::Unreadable { what, source }))
}

/// The tests of a file, one a line; blank lines are passed over.
fn read_tests(path: &Path) -> Result<Vec<Test>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|source| {
        Failure::input(InputError::Unreadable { what: format!("the tests `{}`", path.display()), source })
    })?;
    let (mut tests, mut begin) = (Vec::new(), 0);
    for (index, line) in text.split('\n').enumerate() {
        if !line.trim().is_empty() {
            let test = serde_json::from_str(line).map_err(|error| {
                // Columns count from 1; an end that comes too early is one past the line.
                let place = begin + error.column().saturating_sub(1).min(line.len());
                Failure::input(InputError::NotATest {
                    line: index + 1,
                    message: without_place(&error.to_string()).to_owned(),
                    text: NamedSource::new(path.display().to_string(), text.clone()),
                    place: (place, 0).into(),
                })
            })?;
            tests.push(test);
        }
        begin += line.len() + 1;
    }
    if tests.is_empty() {
        return Err(Failure::input(InputError::NoTests { path: path.to_owned() }));
    }
    Ok(tests)
}

/// What serde_json says, without the line and column that it adds: it sees one line of the file only.
fn without_place(message: &str) -> &str {
    message.split_once(" at line ").map_or(message, |(message, _)| message)
}

fn print(tests: &[Test], verdict: &Verdict) {
    print_line(format_args!("{:<16}{}{}", "program", verdict.load.outcome, because(&verdict.load)));
    for (index, (test, ending)) in tests.iter().zip(&verdict.tests).enumerate() {
        let (title, outcome) = (test.title(), ending.outcome.to_string());
        print_line(format_args!("test {:<10} {outcome:<15} {title}{}", index + 1, because(ending)));
    }
    print_line(format_args!("passed          {} of {}", verdict.passed(), verdict.total()));
    print_line(format_args!("fuel            {}", verdict.fuel));
    print_line(format_args!("peak memory     {} MiB", verdict.peak_memory_bytes.div_ceil(1 << 20)));
    for (name, count) in &verdict.denied {
        print_line(format_args!("refused         {name}, {count} times"));
    }
    for (name, output) in [("stdout", &verdict.stdout), ("stderr", &verdict.stderr)] {
        for line in output.lines() {
            print_line(format_args!("{name}          {}", printable(line)));
        }
    }
}

fn because(ending: &Ending) -> String {
    ending.cause.as_ref().map(|cause| format!("  ({})", printable(&cause.to_string()))).unwrap_or_default()
}

/// The program's own text without what a terminal would obey.
fn printable(text: &str) -> String {
    let escape = |character: char| match character.is_control() {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use rltrain_executor::Outcome;

    use super::*;

    #[test]
    fn a_limit_outside_its_range_is_refused_with_the_range() {
        assert_eq!(limit::<MemoryMib>("128").unwrap().get(), 128);
        assert!(limit::<MemoryMib>("16").unwrap_err().contains("from 64 to 2048"));
        assert_eq!(limit::<MemoryMib>("many").unwrap_err(), "wanted a whole number");
    }

    #[test]
    fn a_program_cannot_command_the_terminal() {
        assert_eq!(printable("it's \u{1b}[2J é\n"), "it's \\u{1b}[2J é\\n");
    }

    #[test]
    fn every_outcome_has_a_name_that_fits_its_column() {
        assert_eq!(Outcome::OutOfFuel.to_string(), "out of fuel");
        assert!(Outcome::StackOverflow.to_string().len() <= 15);
    }
}
