//! Whether the tests of a task file tell right programs from wrong ones.

use std::collections::VecDeque;
use std::fmt;

use rltrain_executor::{Executor, InfraError, Job, Limits, Outcome, Pending, Verdict};

use super::{Task, TaskSet};

/// Programs in the sandbox at once: enough to keep every core of a large machine busy, few enough for any queue.
const WINDOW: usize = 128;

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Tasks looked at; as many references were run.
    pub tasks: usize,
    /// Wrong programs that were run.
    pub wrong_programs: usize,
    /// What is wrong with the file, in its order.
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
        test: Option<String>,
        /// What happened instead of passing.
        outcome: Outcome,
        /// First line of what the program wrote to stderr.
        stderr: String,
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
        test: String,
    },
}

/// Runs the reference of every task with all its tests, and wrong programs with its hidden tests, in the sandbox.
///
/// The wrong programs do nothing, raise, leave the interpreter, or return a constant or their first argument;
/// one, for the first task alone since it takes until the limit, never ends.
///
/// # Errors
///
/// If the sandbox itself fails. A program that crashes or loops is a verdict, not an error.
pub fn verify(executor: &Executor, set: &TaskSet, limits: Limits) -> Result<VerifyReport, InfraError> {
    let mut report = VerifyReport { tasks: set.len(), ..VerifyReport::default() };
    let mut under_way: VecDeque<(&Task, Program, Pending)> = VecDeque::with_capacity(WINDOW);
    for (place, task) in set.iter().enumerate() {
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
    if let Some((task, program, pending)) = under_way.pop_front() {
        report.faults.extend(program.faults(task, &pending.wait()?));
    }
    Ok(())
}

/// A program that is run for a task.
struct Program {
    source: String,
    /// What makes it wrong; `None` for the reference.
    wrong: Option<&'static str>,
}

/// Bodies of wrong programs, and what each does.
const WRONG_BODIES: [(&str, &str); 10] = [
    ("does nothing", "pass"),
    ("returns None", "return None"),
    ("returns 0", "return 0"),
    ("returns an empty text", "return ''"),
    ("returns an empty list", "return []"),
    ("returns True", "return True"),
    ("returns False", "return False"),
    ("raises an exception", "raise ValueError('wrong')"),
    ("calls sys.exit(0)", "import sys; sys.exit(0)"),
    ("calls os._exit(0)", "import os; os._exit(0)"),
];

/// The reference of a task, and wrong programs; one that never ends if `endless` is asked for.
fn programs(task: &Task, endless: bool) -> Vec<Program> {
    let wrong =
        |what, body: &str| Program { source: format!("{}\n    {body}\n", task.signature), wrong: Some(what) };
    let mut programs = vec![Program { source: task.reference.clone(), wrong: None }];
    programs.extend(WRONG_BODIES.map(|(what, body)| wrong(what, body)));
    programs.extend(
        first_parameter(&task.signature)
            .map(|name| wrong("returns its first argument", &format!("return {name}"))),
    );
    if endless {
        programs.push(wrong("never ends", "while True: pass"));
    }
    programs
}

/// Name of the first parameter of a signature, if it has one that a body can return.
fn first_parameter(signature: &str) -> Option<&str> {
    let parameters = &signature[signature.find('(')? + 1..];
    let name = parameters.trim_start_matches([' ', '*']);
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (end > 0).then_some(&name[..end])
}

impl Program {
    fn job(&self, task: &Task, limits: Limits) -> Job {
        let tests: Vec<String> = match self.wrong {
            None => task.all_tests().cloned().collect(),
            Some(_) => task.hidden_tests.clone(),
        };
        Job::new(self.source.clone(), tests, limits)
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
        let fails = |test, outcome| Fault::ReferenceFails {
            task: id(),
            test,
            outcome,
            stderr: verdict.stderr.lines().next().unwrap_or_default().to_owned(),
        };
        if !verdict.load.passed() {
            return vec![fails(None, verdict.load.outcome)];
        }
        let endings = task.all_tests().zip(&verdict.tests);
        let failed = endings.filter(|(_, ending)| !ending.passed());
        failed.map(|(test, ending)| fails(Some(test.clone()), ending.outcome)).collect()
    }
}

/// Hidden tests that are public as well.
fn shown_tests(task: &Task) -> Vec<Fault> {
    let shown = task.hidden_tests.iter().filter(|test| task.public_tests.contains(test));
    shown.map(|test| Fault::HiddenTestIsPublic { task: task.id.clone(), test: test.clone() }).collect()
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tasks, wrong) = (self.tasks, self.wrong_programs);
        if self.faults.is_empty() {
            return write!(f, "all {tasks} references pass, all {wrong} wrong programs fail");
        }
        let faults = self.faults.len();
        let word = if faults == 1 { "fault" } else { "faults" };
        write!(f, "{faults} {word} in {tasks} references and {wrong} wrong programs")?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::ReferenceFails { task, test, outcome, stderr } => {
                let outcome = in_words(*outcome);
                match test {
                    Some(test) => write!(f, "`{task}`: the reference does not pass `{test}`: it {outcome}")?,
                    None => write!(f, "`{task}`: the reference does not load: it {outcome}")?,
                }
                if stderr.is_empty() { Ok(()) } else { write!(f, " ({stderr})") }
            }
            Fault::WrongProgramPasses { task, program } => {
                write!(f, "`{task}`: a program that {program} passes all hidden tests")
            }
            Fault::HiddenTestIsPublic { task, test } => {
                write!(f, "`{task}`: the hidden test `{test}` is public")
            }
        }
    }
}

/// An outcome as the end of a sentence that begins with "it".
fn in_words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "gave another value",
        Outcome::Raised => "raised an exception",
        Outcome::SyntaxError => "is not Python",
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
            public_tests: vec!["assert double(1) == 2".to_owned()],
            hidden_tests: vec!["assert double(3) == 6".to_owned(), "assert double(0) == 0".to_owned()],
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
        VerifyReport { tasks: 20, wrong_programs: 12, faults }.to_string()
    }

    #[test]
    fn the_first_parameter_is_found_whatever_stands_around_it() {
        let cases = [
            ("def f(x):", Some("x")),
            ("def f(first_name, y=1) -> str:", Some("first_name")),
            ("def f(n: int = 3):", Some("n")),
            ("def f( *args):", Some("args")),
            ("def f(*, key):", None),
            ("def f():", None),
        ];
        for (signature, wanted) in cases {
            assert_eq!(first_parameter(signature), wanted, "{signature}");
        }
    }

    #[test]
    fn wrong_programs_begin_with_the_signature_and_only_the_first_task_gets_an_endless_one() {
        let (first, later) = (programs(&double(), true), programs(&double(), false));
        assert_eq!((first.len(), later.len()), (13, 12));
        assert!(first.iter().all(|program| program.source.starts_with("def double(n):\n    ")));
        assert!(first.iter().any(|program| program.source.ends_with("    return n\n")));
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
          `double`: the reference does not load: it is not Python (NameError: name 'x' is not defined)
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
        assert_eq!(report(vec![]), "all 20 references pass, all 12 wrong programs fail");
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
