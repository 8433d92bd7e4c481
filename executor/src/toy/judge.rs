//! From a job to its verdict, for programs in a small language.

use serde_json::Value as Json;

use super::imperative;
use super::strings;
use super::{FUEL_PER_STEP, Fault, Meter, SyntaxError, ToyLanguage};
use crate::account::{Account, printed_as_expected, run_tests};
use crate::sandbox::{Ledger, keep_head};
use crate::value::Value;
use crate::{CallTest, Cause, Ending, InfraError, Job, Outcome, StdinTest, Test, ValueComparison, Verdict};

/// Judges programs in one language.
pub(crate) struct Judge(ToyLanguage);

/// A program that was read.
enum Program {
    Strings(strings::Program),
    Python(imperative::Program),
}

impl Program {
    fn parse(language: ToyLanguage, text: &str) -> Result<Self, SyntaxError> {
        Ok(match language {
            ToyLanguage::Strings => Self::Strings(strings::Program::parse(text)?),
            ToyLanguage::Python => Self::Python(imperative::Program::parse(text)?),
        })
    }
}

impl Judge {
    /// A judge of programs in this language.
    pub(crate) fn new(language: ToyLanguage) -> Self {
        Self(language)
    }

    /// Runs a job.
    pub(crate) fn judge(&self, job: &Job) -> Result<Verdict, InfraError> {
        if job.tests.is_empty() {
            return Err(InfraError::NoTests);
        }
        job.tests.iter().try_for_each(|test| self.check(test))?;
        let mut account = Account::open(job.limits);
        let (program, load) = match Program::parse(self.0, &job.program) {
            Ok(program) => (Some(program), Ending::PASSED),
            Err(error) => (None, error.into()),
        };
        let endings = run_tests(job, &load, &job.tests, |test| match &program {
            Some(program) => self.test(program, test, job, &mut account),
            None => Ok(Outcome::NotRun.into()),
        })?;
        Ok(account.verdict(job, load, endings))
    }

    /// Refuses tests that cannot be judged here.
    fn check(&self, test: &Test) -> Result<(), InfraError> {
        let (name, wanted) = match self.0 {
            ToyLanguage::Strings => ("toy-strings", "stdin"),
            ToyLanguage::Python => ("toy-python", "call, with whole numbers and no comparison of its own,"),
        };
        let fits = match (self.0, test) {
            (ToyLanguage::Strings, Test::Stdin(_)) => true,
            (ToyLanguage::Python, Test::Call(test)) => {
                test.arguments.iter().all(Json::is_i64)
                    && test.keywords.is_empty()
                    && !matches!(test.compare, ValueComparison::Custom(_))
            }
            (_, Test::Differential(test)) => return self.check(&test.test),
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let title = test.title();
        Err(InfraError::FaultyTest(format!(
            "`{title}` is no test for the runtime {name}, wanted {wanted} or differential"
        )))
    }

    fn test(
        &self,
        program: &Program,
        test: &Test,
        job: &Job,
        account: &mut Account,
    ) -> Result<Ending, InfraError> {
        if let Some(spent) = account.spent {
            return Ok(spent.into());
        }
        let (fuel, mut ledger) = account.take();
        let mut meter = Meter::new(fuel / FUEL_PER_STEP);
        let before = meter.left();
        let ending = match (program, test) {
            (Program::Strings(program), Test::Stdin(test)) => {
                stdin(program, test, job, &mut meter, &mut ledger)
            }
            (Program::Python(program), Test::Call(test)) => call(program, test, job, &mut meter, &mut ledger),
            (_, Test::Differential(test)) => {
                account.give_back(fuel, ledger);
                let ending = self.test(program, &test.test, job, account)?;
                if ending.passed() && self.judge(&job.before(test))?.all_passed() {
                    let note = "passes for the program that it is to fail for as well".to_owned();
                    return Ok(Ending::because(Outcome::Failed, Cause::Note(note)));
                }
                return Ok(ending);
            }
            // `check` lets none of these through.
            _ => Outcome::NotRun.into(),
        };
        let spent = (before - meter.left()) * FUEL_PER_STEP;
        let left = if ending == Outcome::OutOfFuel { 0 } else { fuel - spent };
        account.give_back(left, ledger);
        account.note(ending.outcome);
        Ok(ending)
    }
}

fn stdin(
    program: &strings::Program,
    test: &StdinTest,
    job: &Job,
    meter: &mut Meter,
    ledger: &mut Ledger,
) -> Ending {
    // What ends a line is not part of it, as when Python reads one.
    let input = test.stdin.strip_suffix('\n').unwrap_or(&test.stdin);
    match program.run(input, meter) {
        Ok(output) => {
            let is_within = record(ledger, &output, job);
            if is_within {
                printed_as_expected(Ending::PASSED, output.as_bytes(), test)
            } else {
                Fault::OutputLimit.into()
            }
        }
        Err(fault) => fault.into(),
    }
}

fn call(
    program: &imperative::Program,
    test: &CallTest,
    job: &Job,
    meter: &mut Meter,
    ledger: &mut Ledger,
) -> Ending {
    if program.name != test.function {
        let message = format!("name '{}' is not defined", test.function);
        return Fault::raised("NameError", message, 1).into();
    }
    let arguments: Vec<i64> = test.arguments.iter().filter_map(Json::as_i64).collect();
    let room = job.limits.output_bytes.get().saturating_sub(ledger.written);
    let mut printed = String::new();
    let returned = program.call_into(&arguments, meter, room, &mut printed);
    record(ledger, &printed, job);
    let returned = match returned {
        Ok(returned) => returned,
        Err(fault) => return fault.into(),
    };
    let (actual, expected) = (Value::of_json(&Json::from(returned)), Value::of_json(&test.expected));
    if test.compare.accepts(&actual, &expected) == Some(true) {
        return Ending::PASSED;
    }
    let (actual, expected) = (actual.to_string(), expected.to_string());
    Ending::because(Outcome::Failed, Cause::WrongAnswer { actual, expected })
}

/// Writes output into the books. Whether it is within its limit.
fn record(ledger: &mut Ledger, output: &str, job: &Job) -> bool {
    keep_head(&mut ledger.stdout, output.as_bytes());
    ledger.written += output.len() as u64;
    ledger.peak_memory = ledger.peak_memory.max(output.len());
    ledger.written <= job.limits.output_bytes.get()
}
