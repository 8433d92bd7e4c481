//! From a job to its verdict, for Ruby.

use wasmtime::InstancePre;

use super::guest::Guest;
use crate::account::{Account, placed, printed_as_expected, run_tests};
use crate::files::Files;
use crate::guest::Broken;
use crate::sandbox::Sandbox;
use crate::world::World;
use crate::{Cause, Ending, InfraError, Job, Outcome, StdinTest, Test, Verdict};

/// Where the program is, as it sees it.
const PROGRAM: &str = "/program.rb";

/// Source that gives an empty text, or else what [`ending`] reads.
const CHECK: &str = concat!(include_str!("check.rb"), include_str!("report.rb"));
const RUN: &str = concat!(include_str!("run.rb"), include_str!("report.rb"));

/// The picture of CRuby.
pub(crate) struct Judge {
    interpreter: InstancePre<Sandbox>,
}

impl Judge {
    /// A judge that uses the given interpreter.
    pub(crate) fn new(interpreter: InstancePre<Sandbox>) -> Self {
        Self { interpreter }
    }

    /// Runs a job.
    pub(crate) fn judge(&mut self, job: &Job) -> Result<Verdict, InfraError> {
        if job.tests.is_empty() {
            return Err(InfraError::NoTests);
        }
        let tests: Vec<&StdinTest> = job.tests.iter().map(stdin_test).collect::<Result<_, _>>()?;
        let program = (PROGRAM.to_owned(), job.program.clone().into_bytes().into());
        let files = Files::new(placed(&job.files).chain([program]))
            .map_err(|error| InfraError::FaultyTest(error.to_string()))?;
        let world = World::of_command([], [], files);
        let mut account = Account::open(job.limits);
        let (mut load, _) = self.run(CHECK, world.clone(), job, &mut account)?;
        if matches!(&load.cause, Some(Cause::Exception { kind, .. }) if kind == "SyntaxError") {
            load.outcome = Outcome::SyntaxError;
        }
        let endings = run_tests(job, &load, &tests, |test| {
            if let Some(spent) = account.spent {
                return Ok(spent.into());
            }
            let mut world = world.clone();
            world.stdin = test.stdin.as_bytes().into();
            let (ending, printed) = self.run(RUN, world, job, &mut account)?;
            Ok(printed_as_expected(ending, &printed, test))
        })?;
        Ok(account.verdict(job, load, endings))
    }

    /// Evaluates source in an interpreter of its own. Returns how that ended, and what was printed.
    fn run(
        &self,
        source: &str,
        world: World,
        job: &Job,
        account: &mut Account,
    ) -> Result<(Ending, Vec<u8>), InfraError> {
        let (fuel, ledger) = account.take();
        let mut guest = match Guest::start(&self.interpreter, world, job.limits, fuel, ledger) {
            Ok(guest) => guest,
            Err(Broken::Infra(error)) => return Err(error),
            Err(Broken::Program(outcome)) => {
                account.exhaust(outcome);
                return Ok((outcome.into(), Vec::new()));
            }
        };
        let refusals = guest.store.data().refusals();
        guest.store.data_mut().printed = Some(Vec::new());
        let evaluated = guest.evaluate(source);
        let fuel = guest.store.get_fuel().unwrap_or(0);
        let mut sandbox = guest.store.into_data();
        let mut ending = match evaluated {
            Ok(report) => ending(report.as_deref()),
            Err(Broken::Program(Outcome::Exited)) if sandbox.exit_code == Some(0) => Ending::PASSED,
            Err(Broken::Program(outcome)) => outcome.into(),
            Err(Broken::Infra(error)) => return Err(error),
        };
        if ending.outcome == Outcome::Raised && sandbox.refusals() > refusals {
            ending.outcome = Outcome::Forbidden;
        }
        if let Some(cause) = &ending.cause {
            sandbox.ledger.note(&cause.to_string());
        }
        let printed = sandbox.printed.take().unwrap_or_default();
        account.give_back(fuel, sandbox.ledger);
        account.note(ending.outcome);
        Ok((ending, printed))
    }
}

fn stdin_test(test: &Test) -> Result<&StdinTest, InfraError> {
    match test {
        Test::Stdin(test) => Ok(test),
        _ => Err(InfraError::FaultyTest("Ruby programs are judged by stdin tests only".to_owned())),
    }
}

/// How a program ended, by what `report.rb` says of it; `None` if even that raised an exception.
fn ending(report: Option<&str>) -> Ending {
    let Some(report) = report else { return Outcome::Raised.into() };
    if report.is_empty() {
        return Ending::PASSED;
    }
    let mut fields = report.splitn(4, '\n');
    let mut field = || fields.next().unwrap_or_default().to_owned();
    let (kind, status, line, message) = (field(), field(), field(), field());
    let outcome = match kind.as_str() {
        "SystemExit" if status == "0" => return Ending::PASSED,
        "SystemExit" => {
            let note = format!("ended with exit code {status}");
            return Ending::because(Outcome::Exited, Cause::Note(note));
        }
        "NoMemoryError" => Outcome::OutOfMemory,
        "SystemStackError" => Outcome::StackOverflow,
        _ => Outcome::Raised,
    };
    Ending::because(outcome, Cause::Exception { kind, message, line: line.parse().ok() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ruby_reports_of_an_exception_is_sorted() {
        assert_eq!(ending(Some("")), Ending::PASSED);
        assert_eq!(ending(None).outcome, Outcome::Raised);
        assert_eq!(ending(Some("SystemExit\n0\n3\nexit")), Ending::PASSED);
        assert_eq!(ending(Some("SystemExit\n2\n3\nexit")).outcome, Outcome::Exited);
        assert_eq!(ending(Some("NoMemoryError\n\n\nfailed")).outcome, Outcome::OutOfMemory);
        assert_eq!(ending(Some("SystemStackError\n\n7\ntoo deep")).outcome, Outcome::StackOverflow);
        let cause = Cause::Exception {
            kind: "KeyError".to_owned(),
            message: "key not found:\n1".to_owned(),
            line: Some(3),
        };
        assert_eq!(ending(Some("KeyError\n\n3\nkey not found:\n1")), Ending::because(Outcome::Raised, cause));
    }
}
