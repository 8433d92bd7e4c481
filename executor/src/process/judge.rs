//! From a job to its verdict, in the worker and outside of the jail.
//!
//! A program is compiled once; each test is a process of its own. What a program prints or answers leaves it through pipes, and
//! is compared here; nothing that it is compared with is ever in there.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::explanation::{explain, shown};
use super::jail::Jail;
use super::run::{Bounds, Command, Ended, How};
use super::toolchain::{Language, Toolchain};
use crate::assertion::{self, Comparison};
use crate::value::Value;
use crate::{
    CallTest, Cause, DifferentialTest, Ending, InfraError, Job, Outcome, StdinTest, Test, ValueComparison,
    Verdict, WallTime,
};

/// Runs calls and statements in the program's process.
const HARNESS: &str = include_str!("harness.py");

/// Turns values that equal a plain one into it.
const PLAIN: &str = include_str!("../plain.py");

/// What compiling may take. A program that takes more is none that a test would pass.
const COMPILE_TIME: Duration = Duration::from_secs(60);
const COMPILE_MEMORY: u64 = 2 << 30;
const COMPILE_OUTPUT: u64 = 1 << 20;

/// Size of a program: its source and what it was compiled to.
const MOST_PROGRAM: u64 = 256 << 20;

/// Judges programs in one language.
pub(crate) struct Judge {
    toolchain: Toolchain,
}

/// One job under way.
struct Trial<'a> {
    judge: &'a Judge,
    jail: &'a Jail,
    job: &'a Job,
    /// Processor time and time asleep, of the program and its tests so far.
    used: Duration,
    written: u64,
    peak_memory_bytes: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    denied: BTreeMap<String, u32>,
    /// A limit of the whole job that is used up: nothing runs any more.
    spent: Option<Outcome>,
}

/// What the harness has to say.
enum Answer {
    /// The statements ran to their end.
    Done,
    /// The value of the expression; `None` if it is not plain.
    Value(Option<Value>),
    /// It did not come to that.
    Not(Ending),
}

impl Judge {
    /// A judge of programs that this toolchain compiles and runs.
    pub(crate) fn new(toolchain: Toolchain) -> Self {
        Self { toolchain }
    }

    /// Runs a job.
    pub(crate) fn judge(&self, jail: &Jail, job: &Job) -> Result<Verdict, InfraError> {
        let begin = Instant::now();
        if job.tests.is_empty() {
            return Err(InfraError::NoTests);
        }
        job.tests.iter().try_for_each(|test| self.check(test))?;
        check_files(job)?;
        let mut trial = Trial::new(self, jail, job);
        let folder = jail.program_folder(MOST_PROGRAM).map_err(failed)?;
        folder.add(&self.toolchain.file, job.program.as_bytes()).map_err(failed)?;
        if self.toolchain.language == Language::Python {
            let harness = format!("plain = {PLAIN}\n{HARNESS}\n_judge()\n");
            folder.add("harness.py", harness.as_bytes()).map_err(failed)?;
        }
        let mut load = trial.compile()?;
        folder.freeze().map_err(failed)?;
        if load.passed() && self.toolchain.language == Language::Python {
            load = trial.load()?;
        }
        let mut is_over = !load.passed();
        let mut endings = Vec::with_capacity(job.tests.len());
        for test in &job.tests {
            let ending = if is_over { Outcome::NotRun.into() } else { trial.test(test)? };
            is_over |= job.stop_at_failure && !ending.passed();
            endings.push(ending);
        }
        drop(folder);
        for (index, test) in job.tests.iter().enumerate() {
            if let Test::Differential(test) = test
                && endings[index].passed()
                && self.passes_before(jail, test, job)?
            {
                let note = "the test passes for the program before, too".to_owned();
                endings[index] = Ending::because(Outcome::Failed, Cause::Note(note));
            }
        }
        Ok(trial.verdict(load, endings, begin))
    }

    /// Refuses tests that cannot be judged here.
    fn check(&self, test: &Test) -> Result<(), InfraError> {
        let is_python = self.toolchain.language == Language::Python;
        let kind = match test {
            Test::Stdin(_) => return Ok(()),
            Test::Differential(test) => return self.check(&test.test),
            Test::Call(test) if is_python => match test.compare {
                ValueComparison::Custom(_) => "call with a comparison of its own",
                _ => return Ok(()),
            },
            Test::Statements(_) if is_python => return Ok(()),
            Test::Call(_) => "call",
            Test::Statements(_) => "statements",
            Test::Suite(_) => "suite",
            Test::Property(_) => "property",
        };
        let language = self.toolchain.language.name();
        let wanted =
            if is_python { "stdin, call, statements or differential" } else { "stdin or differential" };
        Err(InfraError::FaultyTest(format!(
            "the test is of kind {kind}; for {language} in native processes, wanted {wanted}"
        )))
    }

    /// Whether a differential test passes for the program that it is to fail for.
    fn passes_before(&self, jail: &Jail, test: &DifferentialTest, job: &Job) -> Result<bool, InfraError> {
        Ok(self.judge(jail, &job.before(test))?.all_passed())
    }
}

impl<'a> Trial<'a> {
    fn new(judge: &'a Judge, jail: &'a Jail, job: &'a Job) -> Self {
        Self {
            judge,
            jail,
            job,
            used: Duration::ZERO,
            written: 0,
            peak_memory_bytes: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
            denied: BTreeMap::new(),
            spent: None,
        }
    }

    /// Compiles the program. The job's limits do not apply: a compiler is not what they are for.
    fn compile(&mut self) -> Result<Ending, InfraError> {
        let Some(arguments) = &self.judge.toolchain.compile else { return Ok(Ending::PASSED) };
        let mut bounds = Bounds::new(COMPILE_TIME, COMPILE_MEMORY, COMPILE_OUTPUT);
        bounds.writes_program = true;
        bounds.file_bytes = MOST_PROGRAM;
        bounds.scratch_bytes = MOST_PROGRAM;
        self.lift(&mut bounds);
        let command = self.command(arguments, "", bounds);
        // What a compiler is refused is not counted: none of it is the program's doing.
        let ended = self.jail.run(&command).map_err(failed)?;
        let outcome = match ended.how {
            How::Exited(0) => return Ok(Ending::PASSED),
            How::Exited(_) | How::Signalled(_) => Outcome::SyntaxError,
            How::OutOfTime => Outcome::OutOfTime,
            How::OutOfMemory => Outcome::OutOfMemory,
            How::OutputLimit => Outcome::OutputLimit,
        };
        let said = if ended.stderr.is_empty() { &ended.stdout } else { &ended.stderr };
        Ok(Ending::because(outcome, Cause::Note(shown(said))))
    }

    /// Loads a Python program as a module, or only compiles it if it is run as a script by every test.
    fn load(&mut self) -> Result<Ending, InfraError> {
        let is_script = self.job.tests.iter().all(|test| matches!(innermost(test), Test::Stdin(_)));
        let act = if is_script { "check" } else { "load" };
        Ok(match self.ask(&json!({ "act": act, "program": true }))? {
            Answer::Not(ending) => ending,
            Answer::Done | Answer::Value(_) => Ending::PASSED,
        })
    }

    fn test(&mut self, test: &Test) -> Result<Ending, InfraError> {
        if let Some(spent) = self.spent {
            return Ok(spent.into());
        }
        match test {
            Test::Stdin(test) => self.script(test),
            Test::Call(test) => self.call(test),
            Test::Statements(source) => self.statements(source),
            Test::Differential(test) => self.test(&test.test),
            Test::Suite(_) | Test::Property(_) => Ok(Outcome::NotRun.into()),
        }
    }

    /// Runs the program with something to read, and looks at what it printed.
    fn script(&mut self, test: &StdinTest) -> Result<Ending, InfraError> {
        let toolchain = &self.judge.toolchain;
        let memory = self.job.limits.memory_mib.get().to_string();
        let arguments: Vec<String> =
            toolchain.run.iter().map(|argument| argument.replace("{memory_mib}", &memory)).collect();
        let ended = self.run(&self.command(&arguments, &test.stdin, self.bounds()))?;
        if ended.how != How::Exited(0) {
            return Ok(self.explained(&ended));
        }
        Ok(if test.compare.accepts(&ended.stdout, &test.stdout) {
            Ending::PASSED
        } else {
            let quoted = |text: &[u8]| format!("{:?}", shown(text));
            let (actual, expected) = (quoted(&ended.stdout), quoted(test.stdout.as_bytes()));
            Ending::because(Outcome::Failed, Cause::WrongAnswer { actual, expected })
        })
    }

    /// Calls a function, and looks at what it returned.
    fn call(&mut self, test: &CallTest) -> Result<Ending, InfraError> {
        let request = json!({
            "act": "call", "program": true,
            "source": test.function, "arguments": test.arguments, "keywords": test.keywords,
        });
        let expected = Value::of_json(&test.expected);
        let accepts = |actual: &Value| test.compare.accepts(actual, &expected).unwrap_or(false);
        Ok(compared(self.ask(&request)?, accepts, &expected))
    }

    /// Runs statements, or compares on this side if they are the assertion of an equality with a plain value.
    fn statements(&mut self, source: &str) -> Result<Ending, InfraError> {
        if let Some(Comparison { actual, expected }) = assertion::split(source) {
            // In a process that the program is not in, and on the judge's account.
            let used = (self.used, self.written);
            let expected = self.ask(&json!({ "act": "evaluate", "program": false, "source": expected }))?;
            (self.used, self.written) = used;
            if let Answer::Value(Some(expected)) = expected {
                let answer = self.ask(&json!({ "act": "evaluate", "program": true, "source": actual }))?;
                return Ok(compared(answer, |actual| actual.equals(&expected), &expected));
            }
        }
        Ok(match self.ask(&json!({ "act": "run", "program": true, "source": source }))? {
            Answer::Done => Ending::PASSED,
            Answer::Value(_) => Outcome::Failed.into(),
            Answer::Not(ending) => ending,
        })
    }

    /// Has the harness do something in a process of its own.
    fn ask(&mut self, request: &Json) -> Result<Answer, InfraError> {
        let toolchain = &self.judge.toolchain;
        let mut request = request.clone();
        request["path"] = format!("/program/{}", toolchain.file).into();
        let mut arguments = toolchain.run.clone();
        arguments.pop();
        arguments.push("/program/harness.py".to_owned());
        let mut command = self.command(&arguments, &request.to_string(), self.bounds());
        command.answers = true;
        let ended = self.run(&command)?;
        Ok(match read_answer(&ended.answer) {
            // An answer counts only from a process that ended well.
            Some(answer) if ended.how == How::Exited(0) => match answer {
                Answer::Not(mut ending) => {
                    if ending.outcome == Outcome::Raised && !ended.denied.is_empty() {
                        ending.outcome = Outcome::Forbidden;
                    }
                    Answer::Not(ending)
                }
                answer => answer,
            },
            _ if ended.how == How::Exited(0) => Answer::Not(Outcome::Exited.into()),
            _ => Answer::Not(self.explained(&ended)),
        })
    }

    fn explained(&self, ended: &Ended) -> Ending {
        explain(self.judge.toolchain.language, ended)
    }

    fn command(&self, arguments: &[String], stdin: &str, bounds: Bounds) -> Command {
        let relative = |path: &str| path.trim_start_matches('/').to_owned();
        Command {
            arguments: arguments.to_vec(),
            environment: self.judge.toolchain.environment.clone(),
            stdin: stdin.as_bytes().to_vec(),
            files: self.job.files.iter().map(|file| (relative(&file.path), file.text.clone())).collect(),
            answers: false,
            bounds,
        }
    }

    /// What is left of the job's limits.
    fn bounds(&self) -> Bounds {
        let limits = &self.job.limits;
        let time = Duration::from_millis(limits.timeout_ms.get()).saturating_sub(self.used);
        let output = limits.output_bytes.get().saturating_sub(self.written);
        let mut bounds = Bounds::new(time, limits.memory_bytes() as u64, output);
        self.lift(&mut bounds);
        bounds
    }

    fn lift(&self, bounds: &mut Bounds) {
        if self.judge.toolchain.reserves {
            bounds.data_bytes = 4 * bounds.memory_bytes + (1 << 30);
            bounds.address_bytes = None;
        }
    }

    /// Runs a command on the job's account.
    fn run(&mut self, command: &Command) -> Result<Ended, InfraError> {
        let ended = self.jail.run(command).map_err(failed)?;
        self.used += ended.cpu + ended.asleep;
        self.written += (ended.stdout.len() + ended.stderr.len() + ended.answer.len()) as u64;
        self.count(&ended);
        let most = Verdict::HEAD_BYTES;
        for (head, text) in [(&mut self.stdout, &ended.stdout), (&mut self.stderr, &ended.stderr)] {
            let room = most.saturating_sub(head.len()).min(text.len());
            head.extend_from_slice(&text[..room]);
        }
        self.spent = match ended.how {
            How::OutOfTime => Some(Outcome::OutOfTime),
            How::OutputLimit => Some(Outcome::OutputLimit),
            _ => None,
        };
        Ok(ended)
    }

    fn count(&mut self, ended: &Ended) {
        self.peak_memory_bytes = self.peak_memory_bytes.max(ended.peak_memory_bytes);
        for (name, count) in &ended.denied {
            let sum = self.denied.entry(name.clone()).or_insert(0);
            *sum = sum.saturating_add(*count);
        }
    }

    fn verdict(self, load: Ending, tests: Vec<Ending>, begin: Instant) -> Verdict {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Verdict {
            load,
            tests,
            public: self.job.public,
            fuel: 0,
            peak_memory_bytes: self.peak_memory_bytes,
            wall: WallTime(begin.elapsed()),
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
            denied: self.denied,
        }
    }
}

fn compared(answer: Answer, accepts: impl FnOnce(&Value) -> bool, expected: &Value) -> Ending {
    match answer {
        Answer::Value(Some(actual)) if accepts(&actual) => Ending::PASSED,
        Answer::Value(Some(actual)) => {
            let (actual, expected) = (actual.to_string(), expected.to_string());
            Ending::because(Outcome::Failed, Cause::WrongAnswer { actual, expected })
        }
        Answer::Value(None) => {
            let note = "the value that the test compares is not a plain one".to_owned();
            Ending::because(Outcome::Failed, Cause::Note(note))
        }
        Answer::Done => Outcome::Failed.into(),
        Answer::Not(ending) => ending,
    }
}

/// What the harness wrote, if it can be understood: the program may have written there too.
fn read_answer(bytes: &[u8]) -> Option<Answer> {
    let Value::Tuple(parts) = Value::read(bytes).ok()? else { return None };
    let text = |value: &Value| match value {
        Value::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    };
    let line = |value: &Value| value.to_string().parse().ok();
    let (kind, rest) = parts.split_first()?;
    Some(match (text(kind)?.as_str(), rest) {
        ("done", []) => Answer::Done,
        ("value", [value]) => Answer::Value(Some(value.clone())),
        ("not plain", [_]) => Answer::Value(None),
        ("exited", [status]) => {
            let note = format!("exit status {}", text(status)?);
            Answer::Not(Ending::because(Outcome::Exited, Cause::Note(note)))
        }
        ("raised", [kind, message, at]) => {
            let (kind, message, line) = (text(kind)?, text(message)?, line(at));
            let outcome = super::explanation::outcome_of_exception(&kind);
            Answer::Not(Ending::because(outcome, Cause::Exception { kind, message, line }))
        }
        _ => return None,
    })
}

fn innermost(test: &Test) -> &Test {
    match test {
        Test::Differential(test) => innermost(&test.test),
        test => test,
    }
}

/// Files are in the working folder: no path leads out of it.
fn check_files(job: &Job) -> Result<(), InfraError> {
    for file in &job.files {
        let mut parts = Path::new(file.path.trim_start_matches('/')).components();
        if file.path.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
            let path = &file.path;
            return Err(InfraError::FaultyTest(format!("`{path}` is no path within a folder")));
        }
    }
    Ok(())
}

fn failed(error: io::Error) -> InfraError {
    InfraError::Sandbox(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_is_read_or_there_is_none() {
        assert!(matches!(read_answer(b"(\x01\0\0\0u\x04\0\0\0done"), Some(Answer::Done)));
        assert!(matches!(
            read_answer(b"(\x02\0\0\0u\x05\0\0\0valueN"),
            Some(Answer::Value(Some(Value::None)))
        ));
        for other in [
            b"".as_slice(),
            b"N",
            b"(\0\0\0\0",
            b"(\x01\0\0\0u\x05\0\0\0value",
            b"(\x01\0\0\0u\x04\0\0\0doneN",
        ] {
            assert!(read_answer(other).is_none(), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_answers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read_answer(&bytes);
        }
    }
}
