//! Whether the tests of a task file tell right programs from wrong ones.

use std::collections::VecDeque;
use std::fmt;

use rltrain_executor::{Ending, Executor, InfraError, Job, Limits, Outcome, Pending, Test, Verdict};

use super::Task;
use super::wrong::{WrongProgram, wrong_programs};
use crate::counted::counted;

/// Programs in the sandbox at once: enough to keep every core of a large machine busy, few enough for any queue.
const WINDOW: usize = 128;

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Tasks looked at.
    pub tasks: usize,
    /// Tasks without a reference, of which nothing proves that their tests can be passed.
    pub unproven: usize,
    /// Wrong programs that were run.
    pub wrong_programs: usize,
    /// What is wrong with the tasks, in their order.
    pub faults: Vec<Fault>,
}

/// Something wrong with a task that its text alone does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The reference does not load, or does not pass a test.
    ReferenceFails {
        /// Id of the task.
        task: String,
        /// The test; `None` if the reference itself does not load.
        test: Option<FailedTest>,
        /// What happened instead of passing.
        outcome: Outcome,
        /// Why, in a line.
        why: String,
    },
    /// A program that does nothing of what the task asks passes all hidden tests.
    WrongProgramPasses {
        /// Id of the task.
        task: String,
        /// What the program does.
        program: &'static str,
    },
    /// A test that decides about attempts is one that prompts may show.
    HiddenTestIsPublic {
        /// Id of the task.
        task: String,
        /// The test.
        test: FailedTest,
    },
    /// A test cannot be judged, whatever the program does.
    FaultyTest {
        /// Id of the task.
        task: String,
        /// Why.
        why: String,
    },
}

/// Which test of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedTest {
    /// Its place among [`Task::all_tests`].
    pub place: usize,
    /// Its title.
    pub title: String,
}

impl Fault {
    /// Id of the task.
    pub fn task(&self) -> &str {
        match self {
            Fault::ReferenceFails { task, .. }
            | Fault::WrongProgramPasses { task, .. }
            | Fault::HiddenTestIsPublic { task, .. }
            | Fault::FaultyTest { task, .. } => task,
        }
    }

    /// The test that is at fault, if it is one test.
    pub fn test(&self) -> Option<&FailedTest> {
        match self {
            Fault::ReferenceFails { test, .. } => test.as_ref(),
            Fault::HiddenTestIsPublic { test, .. } => Some(test),
            Fault::WrongProgramPasses { .. } | Fault::FaultyTest { .. } => None,
        }
    }

    /// What kind of fault it is, for scripts.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::ReferenceFails { .. } => "reference-fails",
            Fault::WrongProgramPasses { .. } => "wrong-program-passes",
            Fault::HiddenTestIsPublic { .. } => "hidden-test-is-public",
            Fault::FaultyTest { .. } => "faulty-test",
        }
    }
}

/// Runs the reference of every task with all its tests, and wrong programs with its hidden tests, in the sandbox, whose runtime is
/// that of the tasks.
///
/// The wrong programs do nothing, raise, leave the interpreter, or return a constant or their first argument;
/// one, for the first task alone since it takes until the limit, never ends.
///
/// # Errors
///
/// If the sandbox itself fails. A program that crashes or loops is a verdict, not an error.
pub fn verify<'a>(
    executor: &Executor,
    tasks: impl IntoIterator<Item = &'a Task>,
    limits: Limits,
) -> Result<VerifyReport, InfraError> {
    let mut report = VerifyReport::default();
    let mut under_way: VecDeque<(&Task, Program, Pending)> = VecDeque::with_capacity(WINDOW);
    for (place, task) in tasks.into_iter().enumerate() {
        report.tasks += 1;
        report.unproven += usize::from(task.reference().is_none());
        report.faults.extend(shown_tests(task));
        for program in programs(task, place == 0) {
            report.wrong_programs += usize::from(program.wrong.is_some());
            if under_way.len() == WINDOW {
                settle(&mut under_way, &mut report)?;
            }
            let pending = executor.submit(program.job(task, limits));
            under_way.push_back((task, program, pending));
        }
    }
    while !under_way.is_empty() {
        settle(&mut under_way, &mut report)?;
    }
    Ok(report)
}

/// Waits for the program that is under way for longest.
fn settle(
    under_way: &mut VecDeque<(&Task, Program, Pending)>,
    report: &mut VerifyReport,
) -> Result<(), InfraError> {
    let Some((task, program, pending)) = under_way.pop_front() else { return Ok(()) };
    match pending.wait() {
        Ok(verdict) => report.faults.extend(program.faults(task, &verdict)),
        // Every program of the task meets it; once is enough.
        Err(InfraError::FaultyTest(why)) => {
            let task = task.id.clone();
            let is_known =
                |fault: &Fault| matches!(fault, Fault::FaultyTest { task: known, .. } if *known == task);
            if !report.faults.iter().any(is_known) {
                report.faults.push(Fault::FaultyTest { task, why });
            }
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// A program that is run for a task.
struct Program {
    source: String,
    /// What makes it wrong; `None` for the reference.
    wrong: Option<&'static str>,
}

/// The reference of a task, if it has one, and wrong programs; one that never ends if `endless` is asked for.
fn programs(task: &Task, endless: bool) -> Vec<Program> {
    let reference = task.reference().map(|source| Program { source: source.to_owned(), wrong: None });
    let wrong = wrong_programs(task, endless).into_iter();
    let wrong = wrong.map(|WrongProgram { what, source }| Program { source, wrong: Some(what) });
    reference.into_iter().chain(wrong).collect()
}

impl Program {
    fn job(&self, task: &Task, limits: Limits) -> Job {
        let tests: Vec<Test> = match self.wrong {
            None => task.all_tests().cloned().collect(),
            Some(_) => task.hidden_tests.clone(),
        };
        // One test that does not pass is enough to know that a wrong program fails.
        Job { stop_at_failure: self.wrong.is_some(), ..Job::new(self.source.clone(), tests, limits) }
    }

    /// What the verdict of this program says against its task.
    fn faults(&self, task: &Task, verdict: &Verdict) -> Vec<Fault> {
        let id = || task.id.clone();
        if let Some(program) = self.wrong {
            return if verdict.all_passed() {
                vec![Fault::WrongProgramPasses { task: id(), program }]
            } else {
                Vec::new()
            };
        }
        let fails = |test, ending: &Ending| Fault::ReferenceFails {
            task: id(),
            test,
            outcome: ending.outcome,
            why: why(ending, verdict),
        };
        if !verdict.load.passed() {
            return vec![fails(None, &verdict.load)];
        }
        let endings = task.all_tests().zip(&verdict.tests).enumerate();
        let failed = endings.filter(|(_, (_, ending))| !ending.passed());
        failed.map(|(place, (test, ending))| fails(Some(failed_test(place, test)), ending)).collect()
    }
}

/// Why something did not pass: its cause, or else the first line of what the program wrote to stderr.
fn why(ending: &Ending, verdict: &Verdict) -> String {
    match &ending.cause {
        Some(cause) => cause.to_string().lines().next().unwrap_or_default().to_owned(),
        None => verdict.stderr.lines().next().unwrap_or_default().to_owned(),
    }
}

fn failed_test(place: usize, test: &Test) -> FailedTest {
    FailedTest { place, title: test.title().into_owned() }
}

/// Hidden tests that are public as well.
fn shown_tests(task: &Task) -> Vec<Fault> {
    let tests = task.all_tests().enumerate().skip(task.public_tests.len());
    let shown = tests.filter(|(_, test)| task.public_tests.contains(test));
    let fault =
        |(place, test)| Fault::HiddenTestIsPublic { task: task.id.clone(), test: failed_test(place, test) };
    shown.map(fault).collect()
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tasks, wrong) = (self.tasks, self.wrong_programs);
        let proven = tasks - self.unproven;
        if self.faults.is_empty() {
            write!(f, "every reference passes ({proven}), every wrong program fails ({wrong})")?;
        } else {
            let faults = counted(self.faults.len(), "fault");
            let (references, programs) = (counted(proven, "reference"), counted(wrong, "wrong program"));
            write!(f, "{faults} in {references} and {programs}")?;
        }
        if self.unproven > 0 {
            write!(f, "; {} without a reference", counted(self.unproven, "task"))?;
        }
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::ReferenceFails { task, test, outcome, why } => {
                let outcome = in_words(*outcome);
                match test {
                    Some(FailedTest { title, .. }) => {
                        write!(f, "`{task}`: the reference does not pass `{title}`: it {outcome}")?;
                    }
                    None => write!(f, "`{task}`: the reference does not load: it {outcome}")?,
                }
                if why.is_empty() { Ok(()) } else { write!(f, " ({why})") }
            }
            Fault::WrongProgramPasses { task, program } => {
                write!(f, "`{task}`: a program that {program} passes all hidden tests")
            }
            Fault::HiddenTestIsPublic { task, test } => {
                write!(f, "`{task}`: the hidden test `{}` is public", test.title)
            }
            Fault::FaultyTest { task, why } => write!(f, "`{task}`: a test cannot be judged: {why}"),
        }
    }
}

/// An outcome as the end of a sentence that begins with "it".
fn in_words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "gave another value",
        Outcome::Raised => "raised an exception",
        Outcome::SyntaxError => "cannot be parsed",
        Outcome::Exited => "left the interpreter",
        Outcome::Forbidden => "tried what is forbidden",
        Outcome::OutOfTime => "ran out of time",
        Outcome::OutOfFuel => "ran out of fuel",
        Outcome::OutOfMemory => "ran out of memory",
        Outcome::StackOverflow => "recursed too deeply",
        Outcome::OutputLimit => "wrote too much",
        Outcome::Crashed => "broke the interpreter",
        Outcome::NotRun => "was not run",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rltrain_executor::WallTime;

    use super::*;

    fn double() -> Task {
        Task {
            id: "double".to_owned(),
            prompt: "Return twice n.".to_owned(),
            signature: "def double(n):".to_owned(),
            entry_point: "double".to_owned(),
            reference: "def double(n):\n    return 2 * n\n".to_owned(),
            public_tests: vec!["assert double(1) == 2".into()],
            hidden_tests: vec!["assert double(3) == 6".into(), "assert double(0) == 0".into()],
            ..Task::default()
        }
    }

    fn verdict(load: Outcome, tests: &[Outcome]) -> Verdict {
        Verdict {
            load: load.into(),
            tests: tests.iter().map(|outcome| (*outcome).into()).collect(),
            public: 0,
            fuel: 0,
            peak_memory_bytes: 0,
            wall: WallTime::default(),
            stdout: String::new(),
            stderr: "NameError: name 'x' is not defined\nmore".to_owned(),
            denied: BTreeMap::new(),
        }
    }

    fn report(faults: Vec<Fault>) -> String {
        VerifyReport { tasks: 20, unproven: 0, wrong_programs: 12, faults }.to_string()
    }

    #[test]
    fn references_are_held_to_all_tests_and_wrong_programs_to_the_hidden_ones() {
        let programs = programs(&double(), false);
        let counts: Vec<_> =
            programs.iter().map(|program| program.job(&double(), Limits::default()).tests.len()).collect();
        assert_eq!((counts[0], counts[1]), (3, 2));
    }

    #[test]
    fn a_test_that_the_reference_does_not_pass_is_named() {
        let reference = &programs(&double(), false)[0];
        use Outcome::{NotRun, Passed, Raised, SyntaxError};
        assert_eq!(reference.faults(&double(), &verdict(Passed, &[Passed; 3])), []);
        let failed = reference.faults(&double(), &verdict(Passed, &[Passed, Raised, Passed]));
        insta::assert_snapshot!(report(failed), @r"
        1 fault in 20 references and 12 wrong programs
          `double`: the reference does not pass `assert double(3) == 6`: it raised an exception (NameError: name 'x' is not defined)
        ");
        let broken = reference.faults(&double(), &verdict(SyntaxError, &[NotRun; 3]));
        insta::assert_snapshot!(report(broken), @r"
        1 fault in 20 references and 12 wrong programs
          `double`: the reference does not load: it cannot be parsed (NameError: name 'x' is not defined)
        ");
    }

    #[test]
    fn a_wrong_program_that_passes_is_named() {
        let wrong = &programs(&double(), false)[1];
        use Outcome::{Failed, Passed};
        assert_eq!(wrong.faults(&double(), &verdict(Passed, &[Passed, Failed])), []);
        let passed = wrong.faults(&double(), &verdict(Passed, &[Passed; 2]));
        insta::assert_snapshot!(report(passed), @r"
        1 fault in 20 references and 12 wrong programs
          `double`: a program that does nothing passes all hidden tests
        ");
        assert_eq!(report(vec![]), "every reference passes (20), every wrong program fails (12)");
    }

    #[test]
    fn a_hidden_test_that_is_public_is_named() {
        let shown = Task { public_tests: double().hidden_tests, ..double() };
        assert_eq!(shown_tests(&double()), []);
        assert_eq!(shown_tests(&shown).len(), 2);
        assert_eq!(
            shown_tests(&shown)[0].to_string(),
            "`double`: the hidden test `assert double(3) == 6` is public"
        );
    }
}
