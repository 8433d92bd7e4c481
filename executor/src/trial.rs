//! One job under way: which interpreter it is in, and what it has used up.

use std::time::Instant;

use crate::guest::{Author, Broken, Guest, Source};
use crate::judge::Judge;
use crate::oracle::{Oracle, Undecided};
use crate::plan::Plan;
use crate::sandbox::Ledger;
use crate::world::World;
use crate::{Cause, Ending, InfraError, Job, Outcome, StdinTest, Verdict, WallTime};

/// Most bytes of a text that a cause shows.
const MOST_SHOWN: usize = 200;

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
    /// Fuel left when there is no interpreter.
    fuel: u64,
    /// Account when there is no interpreter.
    ledger: Ledger,
    /// A limit of the whole job that is used up: nothing runs any more.
    spent: Option<Outcome>,
    begin: Instant,
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
            fuel: job.limits.fuel.get(),
            ledger: Ledger::default(),
            spent: None,
            begin: Instant::now(),
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
        if let Some(spent) = self.spent {
            return Ok(spent.into());
        }
        if let Plan::Script(test) = plan {
            return self.script(test);
        }
        if !matches!(self.guest, Some((_, Stage::Loaded))) {
            let again = self.load()?;
            if !again.passed() {
                // It loaded the first time with the same fuel left or more, so a limit of the job has been reached.
                self.spent = self.spent.or(Some(again.outcome));
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
        Ok(if !ending.passed() || test.compare.accepts(&printed, &test.stdout) {
            ending
        } else {
            let (actual, expected) = (shown(&printed), shown(test.stdout.as_bytes()));
            Ending::because(Outcome::Failed, Cause::WrongAnswer { actual, expected })
        })
    }

    /// Starts a fresh interpreter that goes on with the account. `Some` if what is left does not reach for a start.
    fn start(&mut self, stdin: Option<&str>) -> Result<Option<Ending>, InfraError> {
        self.close();
        let ledger = std::mem::take(&mut self.ledger);
        let kept = ledger.clone();
        let mut world = self.world.clone();
        if let Some(stdin) = stdin {
            world.stdin = stdin.as_bytes().into();
        }
        match self.judge.start(world, self.job.limits, self.fuel, ledger) {
            Ok(guest) => {
                self.guest = Some((guest, Stage::Fresh));
                Ok(None)
            }
            Err(Broken::Infra(error)) => Err(error),
            Err(Broken::Program(outcome)) => {
                self.ledger = kept;
                self.fuel = 0;
                self.spent = Some(outcome);
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
                if matches!(outcome, Outcome::OutOfFuel | Outcome::OutOfTime | Outcome::OutputLimit) {
                    self.spent = Some(outcome);
                }
                Ok(outcome.into())
            }
        }
    }

    fn close(&mut self) {
        if let Some((guest, _)) = self.guest.take() {
            self.fuel = guest.fuel();
            self.ledger = guest.into_ledger();
        }
    }

    /// Ends the job.
    pub(crate) fn verdict(mut self, load: Ending, tests: Vec<Ending>) -> Verdict {
        self.close();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Verdict {
            load,
            tests,
            public: self.job.public,
            fuel: self.job.limits.fuel.get().saturating_sub(self.fuel),
            peak_memory_bytes: self.ledger.peak_memory as u64,
            wall: WallTime(self.begin.elapsed()),
            stdout: text(&self.ledger.stdout),
            stderr: text(&self.ledger.stderr),
            denied: self.ledger.denied,
        }
    }
}

/// The beginning of a text, in quotes.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(MOST_SHOWN)]);
    format!("{text:?}")
}
