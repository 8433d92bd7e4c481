//! One job under way: which interpreter it is in, and what it has used up.

use crate::account::{Account, printed_as_expected};
use crate::guest::{Author, Broken, Guest, Source};
use crate::judge::Judge;
use crate::oracle::{Oracle, Undecided};
use crate::plan::Plan;
use crate::world::World;
use crate::{Ending, InfraError, Job, Outcome, StdinTest, Verdict};

/// What has been done in the interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing but compiling.
    Fresh,
    /// The program is loaded as a module.
    Loaded,
}

/// One job under way.
pub(crate) struct Trial<'a> {
    judge: &'a Judge,
    job: &'a Job,
    /// What the program finds when it starts.
    world: World,
    oracle: Oracle<'a>,
    /// The interpreter; absent after something broke it.
    guest: Option<(Guest, Stage)>,
    /// What is left and known when there is no interpreter.
    account: Account,
}

impl<'a> Trial<'a> {
    /// A job that nothing has been done for.
    ///
    /// # Errors
    ///
    /// If the job's files cannot be laid out.
    pub(crate) fn new(judge: &'a Judge, job: &'a Job) -> Result<Self, InfraError> {
        Ok(Self {
            judge,
            job,
            world: judge.world(&job.files)?,
            oracle: Oracle::new(judge),
            guest: None,
            account: Account::open(job.limits),
        })
    }

    /// Compiles the program, and does not run it.
    pub(crate) fn check_syntax(&mut self) -> Result<Ending, InfraError> {
        if let Some(ending) = self.start(None)? {
            return Ok(ending);
        }
        let program = &self.job.program;
        self.step(Stage::Fresh, |guest, _| {
            let compiled = guest.compile(program, Source::Statements, Author::Program)?;
            Ok(compiled.map_or_else(|ending| ending, |_| Ending::PASSED))
        })
    }

    /// Runs the program in a fresh interpreter, as a module.
    pub(crate) fn load(&mut self) -> Result<Ending, InfraError> {
        if let Some(ending) = self.start(None)? {
            return Ok(ending);
        }
        let program = &self.job.program;
        self.step(Stage::Loaded, |guest, _| {
            let ran = guest.run(program, Source::Statements, Author::Program)?;
            Ok(ran.map_or_else(|ending| ending, |_| Ending::PASSED))
        })
    }

    /// Runs one test, if need be in a fresh interpreter with the program loaded again.
    pub(crate) fn test(&mut self, plan: &Plan<'_>) -> Result<Ending, InfraError> {
        if let Some(spent) = self.account.spent {
            return Ok(spent.into());
        }
        if let Plan::Script(test) = plan {
            return self.script(test);
        }
        if !matches!(self.guest, Some((_, Stage::Loaded))) {
            let again = self.load()?;
            if !again.passed() {
                // It loaded the first time with the same fuel left or more, so a limit of the job has been reached.
                self.account.spent = self.account.spent.or(Some(again.outcome));
                return Ok(again);
            }
        }
        self.step(Stage::Loaded, |guest, oracle| plan.run(guest, oracle))
    }

    /// Runs the program as a script, in a fresh interpreter.
    fn script(&mut self, test: &StdinTest) -> Result<Ending, InfraError> {
        if let Some(ending) = self.start(Some(&test.stdin))? {
            return Ok(ending);
        }
        let program = &self.job.program;
        let mut printed = Vec::new();
        let ending = self.step(Stage::Fresh, |guest, _| {
            guest.enter_script()?;
            guest.keep_printed();
            let ran = guest.run(program, Source::Statements, Author::Program);
            printed = guest.take_printed();
            Ok(match ran {
                Ok(Ok(_)) => Ending::PASSED,
                Ok(Err(_)) | Err(Broken::Program(_)) if guest.left_normally() => Ending::PASSED,
                Ok(Err(ending)) => ending,
                Err(broken) => return Err(broken.into()),
            })
        })?;
        self.close();
        Ok(printed_as_expected(ending, &printed, test))
    }

    /// Starts a fresh interpreter that goes on with the account. `Some` if what is left does not reach for a start.
    fn start(&mut self, stdin: Option<&str>) -> Result<Option<Ending>, InfraError> {
        self.close();
        let (fuel, ledger) = self.account.take();
        let mut world = self.world.clone();
        if let Some(stdin) = stdin {
            world.stdin = stdin.as_bytes().into();
        }
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
        act: impl FnOnce(&mut Guest, &mut Oracle<'a>) -> Result<Ending, Undecided>,
    ) -> Result<Ending, InfraError> {
        let Some((guest, reached)) = &mut self.guest else {
            return Err(InfraError::Sandbox("there is no interpreter to run in".to_owned()));
        };
        *reached = stage;
        let refusals = guest.refusals();
        match act(guest, &mut self.oracle) {
            Ok(mut ending) => {
                if ending.outcome == Outcome::Raised && guest.refusals() > refusals {
                    ending.outcome = Outcome::Forbidden;
                }
                Ok(ending)
            }
            Err(Undecided::Infra(error) | Undecided::Program(Broken::Infra(error))) => Err(error),
            Err(Undecided::Program(Broken::Program(outcome))) => {
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
    pub(crate) fn verdict(mut self, load: Ending, tests: Vec<Ending>) -> Verdict {
        self.close();
        self.account.verdict(self.job, load, tests)
    }
}
