//! What a job may still use up, and what is known of it so far, while there is no instance that holds it.

use std::time::Instant;

use crate::files::{Content, Files};
use crate::sandbox::Ledger;
use crate::{Cause, Ending, File, InfraError, Job, Limits, Outcome, StdinTest, Verdict, WallTime};

/// Most bytes of a text that a cause shows.
const MOST_SHOWN: usize = 200;

/// A job's account.
pub(crate) struct Account {
    fuel: u64,
    ledger: Ledger,
    /// What there was when an instance was started last.
    kept: Ledger,
    /// A limit of the whole job that is used up: nothing runs any more.
    pub(crate) spent: Option<Outcome>,
    begin: Instant,
}

impl Account {
    /// An account that nothing was taken from.
    pub(crate) fn open(limits: Limits) -> Self {
        Self {
            fuel: limits.fuel.get(),
            ledger: Ledger::default(),
            kept: Ledger::default(),
            spent: None,
            begin: Instant::now(),
        }
    }

    /// Hands fuel and ledger to an instance.
    pub(crate) fn take(&mut self) -> (u64, Ledger) {
        let ledger = std::mem::take(&mut self.ledger);
        self.kept = ledger.clone();
        (self.fuel, ledger)
    }

    /// Takes back what an instance has left.
    pub(crate) fn give_back(&mut self, fuel: u64, ledger: Ledger) {
        self.fuel = fuel;
        self.ledger = ledger;
    }

    /// What is left does not reach for a start.
    pub(crate) fn exhaust(&mut self, outcome: Outcome) {
        self.ledger = std::mem::take(&mut self.kept);
        self.fuel = 0;
        self.spent = Some(outcome);
    }

    /// Remembers an outcome that is one of the whole job.
    pub(crate) fn note(&mut self, outcome: Outcome) {
        if matches!(outcome, Outcome::OutOfFuel | Outcome::OutOfTime | Outcome::OutputLimit) {
            self.spent = Some(outcome);
        }
    }

    /// Closes the account.
    pub(crate) fn verdict(self, job: &Job, load: Ending, tests: Vec<Ending>) -> Verdict {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Verdict {
            load,
            tests,
            public: job.public,
            fuel: job.limits.fuel.get().saturating_sub(self.fuel),
            peak_memory_bytes: self.ledger.peak_memory as u64,
            wall: WallTime(self.begin.elapsed()),
            stdout: text(&self.ledger.stdout),
            stderr: text(&self.ledger.stderr),
            denied: self.ledger.denied,
        }
    }
}

/// Runs the tests of a job whose program has ended as `load`, as far as the job asks for it.
pub(crate) fn run_tests<Plan>(
    job: &Job,
    load: &Ending,
    plans: &[Plan],
    mut test: impl FnMut(&Plan) -> Result<Ending, InfraError>,
) -> Result<Vec<Ending>, InfraError> {
    let mut is_over = !load.passed();
    let mut endings = Vec::with_capacity(plans.len());
    for plan in plans {
        let ending = if is_over { Outcome::NotRun.into() } else { test(plan)? };
        is_over |= job.stop_at_failure && !ending.passed();
        endings.push(ending);
    }
    Ok(endings)
}

/// How a script ended: as it says, unless it printed something else than was expected.
pub(crate) fn printed_as_expected(ending: Ending, printed: &[u8], test: &StdinTest) -> Ending {
    if !ending.passed() || test.compare.accepts(printed, &test.stdout) {
        return ending;
    }
    let (actual, expected) = (shown(printed), shown(test.stdout.as_bytes()));
    Ending::because(Outcome::Failed, Cause::WrongAnswer { actual, expected })
}

/// The files of a job, for programs that have nothing else to read.
pub(crate) fn files(job: &Job) -> Result<Files, InfraError> {
    Files::new(placed(&job.files)).map_err(|error| InfraError::FaultyTest(error.to_string()))
}

/// Files under absolute paths.
pub(crate) fn placed(files: &[File]) -> impl Iterator<Item = (String, Content)> {
    files.iter().map(|file| {
        let path = if file.path.starts_with('/') { file.path.clone() } else { format!("/{}", file.path) };
        (path, Content::from(file.text.clone().into_bytes()))
    })
}

/// The beginning of a text, in quotes.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(MOST_SHOWN)]);
    format!("{text:?}")
}
