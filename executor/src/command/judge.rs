//! From a job to its verdict, for WASI commands.

use wasmtime::{Engine, InstancePre, Store};

use super::compile::{START, compile};
use crate::account::{Account, printed_as_expected};
use crate::files::Files;
use crate::guest::Broken;
use crate::sandbox::{Ledger, Sandbox};
use crate::world::World;
use crate::{Cause, Ending, InfraError, Job, Limits, Outcome, StdinTest, Test, Verdict};

/// Name that a command is told as its own.
const NAME: &str = "program";

/// Compiles modules and runs them.
pub(crate) struct Judge {
    engine: Engine,
}

/// One run of a command.
struct Run {
    ending: Ending,
    printed: Vec<u8>,
    fuel: u64,
    ledger: Ledger,
}

impl Judge {
    /// A judge that compiles with the given engine.
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine }
    }

    /// Runs a job.
    pub(crate) fn judge(&mut self, job: &Job) -> Result<Verdict, InfraError> {
        if job.tests.is_empty() {
            return Err(InfraError::NoTests);
        }
        let tests: Vec<&StdinTest> = job.tests.iter().map(stdin_test).collect::<Result<_, _>>()?;
        let files = crate::account::files(job)?;
        let mut account = Account::open(job.limits);
        let (load, command) = match compile(&self.engine, &job.program) {
            Ok(command) => (Ending::PASSED, Some(command)),
            Err(ending) => (ending, None),
        };
        let mut is_over = false;
        let mut endings = Vec::with_capacity(tests.len());
        for test in tests {
            let ending = match (&command, account.spent) {
                _ if is_over => Outcome::NotRun.into(),
                (None, _) => Outcome::NotRun.into(),
                (Some(_), Some(spent)) => spent.into(),
                (Some(command), None) => run_test(command, &files, test, job.limits, &mut account)?,
            };
            is_over |= job.stop_at_failure && !ending.passed();
            endings.push(ending);
        }
        Ok(account.verdict(job, load, endings))
    }
}

/// The verdict on a program whose compilation does not end within the job's time.
pub(crate) fn never_ended(job: &Job) -> Verdict {
    let note = "compiling and running the module takes too long".to_owned();
    let load = Ending::because(Outcome::OutOfTime, Cause::Note(note));
    let tests = job.tests.iter().map(|_| Outcome::NotRun.into()).collect();
    Account::open(job.limits).verdict(job, load, tests)
}

/// The only kind that can be judged from outside: what a command does besides printing is to end with a code, which it can do
/// at any time without having done anything else.
fn stdin_test(test: &Test) -> Result<&StdinTest, InfraError> {
    match test {
        Test::Stdin(test) => Ok(test),
        _ => Err(InfraError::FaultyTest(
            "programs that are WebAssembly modules are judged by stdin tests only: nobody could tell a module that passes \
             an assertion from one that ends before it"
                .to_owned(),
        )),
    }
}

fn run_test(
    command: &InstancePre<Sandbox>,
    files: &Files,
    test: &StdinTest,
    limits: Limits,
    account: &mut Account,
) -> Result<Ending, InfraError> {
    let world = World::of_command([NAME.to_owned()], test.stdin.as_bytes(), files.clone());
    let (fuel, ledger) = account.take();
    let Run { ending, printed, fuel, ledger } = run(command, world, limits, fuel, ledger)?;
    account.give_back(fuel, ledger);
    account.note(ending.outcome);
    Ok(printed_as_expected(ending, &printed, test))
}

/// Runs a command in an instance of its own.
fn run(
    command: &InstancePre<Sandbox>,
    world: World,
    limits: Limits,
    fuel: u64,
    ledger: Ledger,
) -> Result<Run, InfraError> {
    let infra = |error: wasmtime::Error| InfraError::Sandbox(format!("{error:#}"));
    let mut store = Store::new(command.module().engine(), Sandbox::new(world, limits, ledger));
    store.limiter(|sandbox| sandbox);
    store.set_fuel(fuel).map_err(infra)?;
    store.data_mut().printed = Some(Vec::new());
    let ran = start(command, &mut store);
    let fuel = store.get_fuel().map_err(infra)?;
    let mut sandbox = store.into_data();
    let printed = sandbox.printed.take().unwrap_or_default();
    let ending = match ran {
        Ok(()) => Ending::PASSED,
        Err(Broken::Infra(error)) => return Err(error),
        Err(Broken::Program(outcome)) => exited(outcome, sandbox.exit_code),
    };
    Ok(Run { ending, printed, fuel, ledger: sandbox.ledger })
}

fn exited(outcome: Outcome, code: Option<i32>) -> Ending {
    match (outcome, code) {
        (Outcome::Exited, Some(0)) => Ending::PASSED,
        (Outcome::Exited, Some(code)) => {
            Ending::because(outcome, Cause::Note(format!("ended with exit code {code}")))
        }
        _ => outcome.into(),
    }
}

fn start(command: &InstancePre<Sandbox>, store: &mut Store<Sandbox>) -> Result<(), Broken> {
    let instance = match command.instantiate(&mut *store) {
        Ok(instance) => instance,
        // Its memory or tables begin larger than they may be, or their content does not fit in.
        Err(_) if store.data().memory_refused => return Err(Broken::Program(Outcome::OutOfMemory)),
        Err(error) => {
            let message = format!("{error:#}");
            return Err(match Broken::sort(error, store.data()) {
                Broken::Infra(_) => {
                    store.data_mut().ledger.note(&message);
                    Broken::Program(Outcome::Crashed)
                }
                broken @ Broken::Program(_) => broken,
            });
        }
    };
    store.data_mut().memory = instance.get_memory(&mut *store, "memory");
    let started =
        instance.get_typed_func::<(), ()>(&mut *store, START).and_then(|start| start.call(&mut *store, ()));
    started.map_err(|error| Broken::sort(error, store.data()))
}
