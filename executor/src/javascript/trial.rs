//! One job under way, for JavaScript.

use super::abi::Raw;
use super::guest::{Guest, PROGRAM_NAME, Ran, Source};
use super::judge::Judge;
use super::plan::Plan;
use crate::account::{self, Account};
use crate::guest::Broken;
use crate::world::World;
use crate::{Ending, InfraError, Job, Outcome, StdinTest, Verdict};

/// What has been done in the interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Fresh,
    Loaded,
}

/// One job under way.
pub(super) struct Trial<'a> {
    judge: &'a Judge,
    job: &'a Job,
    world: World,
    /// The interpreter; absent after something broke it.
    guest: Option<(Guest, Stage)>,
    account: Account,
}

impl<'a> Trial<'a> {
    /// A job that nothing has been done for.
    pub(super) fn new(judge: &'a Judge, job: &'a Job) -> Result<Self, InfraError> {
        Ok(Self {
            judge,
            job,
            world: World::of_command([], [], account::files(job)?),
            guest: None,
            account: Account::open(job.limits),
        })
    }

    /// Compiles the program, and does not run it.
    pub(super) fn check_syntax(&mut self) -> Result<Ending, InfraError> {
        if let Some(ending) = self.start(None)? {
            return Ok(ending);
        }
        let program = &self.job.program;
        self.step(Stage::Fresh, |guest| {
            Ok(compile(guest, program)?.map_or_else(|ending| ending, |_| Ending::PASSED))
        })
    }

    /// Runs the program in a fresh interpreter.
    pub(super) fn load(&mut self) -> Result<Ending, InfraError> {
        if let Some(ending) = self.start(None)? {
            return Ok(ending);
        }
        let program = &self.job.program;
        self.step(Stage::Loaded, |guest| run(guest, program))
    }

    /// Runs one test, if need be in a fresh interpreter with the program loaded again.
    pub(super) fn test(&mut self, plan: &Plan<'_>) -> Result<Ending, InfraError> {
        if let Some(spent) = self.account.spent {
            return Ok(spent.into());
        }
        if let Plan::Script(test) = plan {
            return self.script(test);
        }
        if !matches!(self.guest, Some((_, Stage::Loaded))) {
            let again = self.load()?;
            if !again.passed() {
                self.account.spent = self.account.spent.or(Some(again.outcome));
                return Ok(again);
            }
        }
        self.step(Stage::Loaded, |guest| plan.run(guest))
    }

    /// Runs the program as a script, in a fresh interpreter.
    fn script(&mut self, test: &StdinTest) -> Result<Ending, InfraError> {
        if let Some(ending) = self.start(Some(&test.stdin))? {
            return Ok(ending);
        }
        let program = &self.job.program;
        let mut printed = Vec::new();
        let ending = self.step(Stage::Fresh, |guest| {
            guest.store.data_mut().printed = Some(Vec::new());
            let be_main = guest.table.internal("beMain");
            guest.call(be_main, &[])?.ok();
            let ran = run(guest, program);
            printed = guest.store.data_mut().printed.take().unwrap_or_default();
            match ran {
                Err(Broken::Program(Outcome::Exited)) if guest.store.data().exit_code == Some(0) => {
                    Ok(Ending::PASSED)
                }
                ran => ran,
            }
        })?;
        self.close();
        Ok(account::printed_as_expected(ending, &printed, test))
    }

    fn start(&mut self, stdin: Option<&str>) -> Result<Option<Ending>, InfraError> {
        self.close();
        let mut world = self.world.clone();
        if let Some(stdin) = stdin {
            world.stdin = stdin.as_bytes().into();
        }
        let (fuel, ledger) = self.account.take();
        match self.judge.start(world, self.job.limits, fuel, ledger) {
            Ok(guest) => {
                self.guest = Some((guest, Stage::Fresh));
                Ok(None)
            }
            Err(Broken::Infra(error)) => Err(error),
            Err(Broken::Program(outcome)) => {
                self.account.exhaust(outcome);
                Ok(Some(outcome.into()))
            }
        }
    }

    /// Does something in the interpreter. If that breaks it, its account is closed.
    fn step(
        &mut self,
        stage: Stage,
        act: impl FnOnce(&mut Guest) -> Result<Ending, Broken>,
    ) -> Result<Ending, InfraError> {
        let Some((guest, reached)) = &mut self.guest else {
            return Err(InfraError::Sandbox("there is no interpreter to run in".to_owned()));
        };
        *reached = stage;
        let refusals = guest.refusals();
        match act(guest) {
            Ok(mut ending) => {
                if ending.outcome == Outcome::Raised && guest.refusals() > refusals {
                    ending.outcome = Outcome::Forbidden;
                }
                Ok(ending)
            }
            Err(Broken::Infra(error)) => Err(error),
            Err(Broken::Program(outcome)) => {
                self.close();
                self.account.note(outcome);
                Ok(outcome.into())
            }
        }
    }

    fn close(&mut self) {
        if let Some((guest, _)) = self.guest.take() {
            self.account.give_back(guest.fuel(), guest.into_ledger());
        }
    }

    /// Ends the job.
    pub(super) fn verdict(mut self, load: Ending, tests: Vec<Ending>) -> Verdict {
        self.close();
        self.account.verdict(self.job, load, tests)
    }
}

/// Compiles a program: as a script, or else as a module, if it can be one.
fn compile(guest: &mut Guest, program: &str) -> Result<Result<(Raw, Source), Ending>, Broken> {
    let script = match guest.compile(program, PROGRAM_NAME, Source::Script)? {
        Ok(compiled) => return Ok(Ok((compiled, Source::Script))),
        Err(ending) => ending,
    };
    let has_word = |wanted: &str| {
        program.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').any(|word| word == wanted)
    };
    if script.outcome == Outcome::SyntaxError && ["import", "export", "await"].into_iter().any(has_word) {
        let compiled: Ran = guest.compile(program, PROGRAM_NAME, Source::Module)?;
        return Ok(compiled.map(|compiled| (compiled, Source::Module)));
    }
    Ok(Err(script))
}

/// Runs a program to its end, with everything that it has left to be done later, and makes what it exports known.
fn run(guest: &mut Guest, program: &str) -> Result<Ending, Broken> {
    let (compiled, kind) = match compile(guest, program)? {
        Ok(compiled) => compiled,
        Err(ending) => return Ok(ending),
    };
    let ran = match guest.run_compiled(compiled)? {
        // The promise of a module that has been evaluated.
        Ok(promise) if kind == Source::Module => guest.awaited(promise)?,
        ran => ran,
    };
    if let Err(ending) = ran {
        return Ok(ending);
    }
    if let Err(ending) = guest.settle()? {
        return Ok(ending);
    }
    let publish = guest.table.internal("publish");
    let exported = if kind == Source::Module { guest.exports(compiled)? } else { Raw::UNDEFINED };
    Ok(guest.call(publish, &[exported])?.map_or_else(|ending| ending, |_| Ending::PASSED))
}
