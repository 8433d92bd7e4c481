//! One hostile program after the other in one worker, each followed by an innocent one that must not notice.
//!
//! Every case says how it may end. After each, a canary runs in the same worker: its verdict and its fuel must be to the
//! last instruction what they were before.

use std::sync::Mutex;

use rltrain_executor::Outcome::{Failed, Forbidden, NotRun, Passed, Raised};
use rltrain_executor::{Executor, Verdict};

use super::hostile_programs::{Case, exhausting, forging, leaving, odd_sources, reaching};
use super::{job, runtimes, short_job, start_runtime};

/// One worker at a time: each case is to be followed by its canary in the same process.
static TURN: Mutex<()> = Mutex::new(());

/// Runs hostile programs and canaries by turns, and tells every surprise at once.
fn face(label: &str, cases: &[(String, Vec<String>)], judge: impl Fn(usize, &Verdict) -> Option<String>) {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut surprises = Vec::new();
    for runtime in runtimes() {
        let executor = start_runtime(*runtime, 1, label);
        let found = face_in(&executor, cases, &judge);
        surprises.extend(found.into_iter().map(|surprise| format!("{}: {surprise}", runtime.name())));
    }
    assert!(surprises.is_empty(), "{} surprises\n\n{}", surprises.len(), surprises.join("\n\n"));
}

fn face_in(
    executor: &Executor,
    cases: &[(String, Vec<String>)],
    judge: impl Fn(usize, &Verdict) -> Option<String>,
) -> Vec<String> {
    let wanted = canary(executor, 0);
    assert_eq!(wanted.tests, [Passed, Failed]);
    let mut surprises = Vec::new();
    for (index, (program, tests)) in cases.iter().enumerate() {
        let tests: Vec<&str> = tests.iter().map(String::as_str).collect();
        let head: String = program.chars().take(200).collect();
        match executor.submit(short_job(program, &tests)).wait() {
            Ok(verdict) => {
                if let Some(surprise) = judge(index, &verdict) {
                    surprises.push(format!("{surprise}\n{head}\n{}", verdict.stderr));
                }
            }
            Err(error) => surprises.push(format!("no verdict: {error}\n{head}")),
        }
        let after = canary(executor, index + 1);
        if after != wanted {
            surprises.push(format!("the next program noticed: {after:?}\n{head}"));
        }
    }
    surprises
}

/// An innocent program, new to the verdict cache each time, always of the same length.
fn canary(executor: &Executor, turn: usize) -> Verdict {
    let program = format!(
        "# {turn:04}\nimport math\nitems = {{}}\ndef f(n):\n    items[n] = math.sqrt(n)\n    return len(items)\n"
    );
    executor.submit(job(&program, &["assert f(4) == 1", "assert f(9) == 1"])).wait().unwrap()
}

fn face_loading(label: &str, cases: &[Case]) {
    let programs: Vec<_> = cases
        .iter()
        .map(|(program, _)| (program.clone(), vec!["assert True".to_owned(), "assert 1 == 1".to_owned()]))
        .collect();
    face(label, &programs, |index, verdict| {
        let (_, wanted) = cases[index];
        let is_contained = verdict.peak_memory_bytes <= 256 << 20;
        let is_over = verdict.load == Passed || verdict.tests == [NotRun, NotRun];
        let load = verdict.load.outcome;
        // Whether something was refused before an exception is not what these cases are about.
        let is_wanted = wanted.contains(&load) || load == Forbidden && wanted.contains(&Raised);
        (!is_wanted || !is_contained || !is_over).then(|| {
            let Verdict { load, tests, peak_memory_bytes, .. } = verdict;
            format!("{load:?}, {tests:?} with {peak_memory_bytes} bytes, wanted {wanted:?}")
        })
    });
}

#[test]
fn what_uses_everything_up_is_stopped() {
    face_loading("adversarial-resources", &exhausting());
}

#[test]
fn what_reaches_for_the_host_finds_nothing() {
    face_loading("adversarial-host", &reaching());
}

#[test]
fn what_leaves_or_breaks_the_interpreter_leaves_or_breaks_nothing_else() {
    face_loading("adversarial-exits", &leaving());
}

#[test]
fn source_that_is_no_ordinary_source_is_judged_like_any() {
    face_loading("adversarial-source", &odd_sources());
}

#[test]
fn what_forges_a_verdict_is_found_out() {
    let programs = forging();
    let cases: Vec<_> = programs
        .iter()
        .map(|program| (program.clone(), vec!["assert f() == 987654321".to_owned()]))
        .collect();
    face("adversarial-forgery", &cases, |_, verdict| {
        (verdict.load != Passed || verdict.passed() != 0)
            .then(|| format!("load {:?}, tests {:?}", verdict.load, verdict.tests))
    });
}
