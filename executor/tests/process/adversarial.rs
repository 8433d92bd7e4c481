//! The hostile programs that the interpreter in WebAssembly faces, in the host's Python: here there are files, processes and
//! threads to be had, of the jail's own. Each is followed by an innocent program that must not notice.

use rltrain_executor::process::{Language, ProgramWorker};
use rltrain_executor::{Job, Limits, Outcome, Verdict};

use super::hostile_programs::{exhausting, forging, leaving, odd_sources, reaching};
use super::languages::judges;
use super::processes::descendants;

/// Files of the host that programs try to make or to write to.
const TARGETS: [&str; 4] = ["/tmp/made", "/tmp/passwd", "/tmp/pipe", "/usr/local/lib/x"];

/// Memory that may be seen beyond the limit, between two looks of the supervisor.
const SLACK: u64 = 384 << 20;

fn limits() -> Limits {
    Limits { timeout_ms: 1000.try_into().unwrap(), ..Limits::default() }
}

/// Runs programs and canaries by turns, and tells every surprise at once.
fn face(programs: &[String], tests: &[&str], judge: impl Fn(&Verdict) -> bool) {
    judges(Language::Python, false, |worker| {
        let before: Vec<bool> = TARGETS.iter().map(|path| std::path::Path::new(path).exists()).collect();
        let processes = descendants(worker.id());
        let mut surprises = Vec::new();
        for program in programs {
            let head: String = program.chars().take(200).collect();
            match worker.judge(&Job::new(program.as_str(), tests.iter().copied(), limits())) {
                Ok(verdict) if judge(&verdict) => {}
                Ok(verdict) => surprises.push(format!("{verdict:?}\n{head}")),
                Err(error) => surprises.push(format!("no verdict: {error}\n{head}")),
            }
            if !canary(worker) {
                surprises.push(format!("the next program noticed\n{head}"));
            }
            if descendants(worker.id()) != processes {
                surprises.push(format!("something was left behind\n{head}"));
            }
        }
        let after: Vec<bool> = TARGETS.iter().map(|path| std::path::Path::new(path).exists()).collect();
        assert_eq!(before, after);
        assert!(surprises.is_empty(), "{} surprises\n\n{}", surprises.len(), surprises.join("\n\n"));
    });
}

fn canary(worker: &mut ProgramWorker) -> bool {
    let program = "import os\ndef f(n): return [n, os.listdir('/tmp'), len(os.listdir('/proc/self/fd'))]\n";
    // The three streams, the one for answers, and the folder that is being listed.
    let job = Job::new(program, ["assert f(4) == [4, [], 5]", "assert f(4) == 5"], limits());
    let verdict = worker.judge(&job).unwrap();
    verdict.load.passed() && verdict.tests == [Outcome::Passed, Outcome::Failed] && verdict.denied.is_empty()
}

/// Whatever becomes of the program, it is over, within its limits, and without a test that passed for nothing.
fn is_contained(verdict: &Verdict) -> bool {
    let most = limits().memory_bytes() as u64 + SLACK;
    let is_over = verdict.load.passed() || verdict.tests.iter().all(|ending| *ending == Outcome::NotRun);
    verdict.peak_memory_bytes <= most && verdict.wall.0.as_secs() < 30 && is_over
}

fn sources(cases: Vec<(String, &'static [Outcome])>) -> Vec<String> {
    cases.into_iter().map(|(program, _)| program).collect()
}

const TRIVIAL: [&str; 1] = ["assert 1 == 1"];

#[test]
fn what_uses_everything_up_is_stopped() {
    face(&sources(exhausting()), &TRIVIAL, is_contained);
}

#[test]
fn what_reaches_for_the_host_finds_a_jail() {
    face(&sources(reaching()), &TRIVIAL, is_contained);
}

#[test]
fn what_leaves_or_breaks_the_interpreter_breaks_nothing_else() {
    face(&sources(leaving()), &TRIVIAL, is_contained);
}

#[test]
fn source_that_is_no_ordinary_source_is_judged_like_any() {
    face(&sources(odd_sources()), &TRIVIAL, is_contained);
}

#[test]
fn what_forges_a_verdict_is_found_out() {
    // One of them looks for the number in all of memory. It must not find its own.
    let without_number = |program: String| {
        let is_search = program.contains("gc.get_objects");
        if is_search { program.replace("987654321", "int('9876' + '54321')") } else { program }
    };
    let programs: Vec<String> = forging().into_iter().map(without_number).collect();
    face(&programs, &["assert f() == 987654321"], |verdict| {
        is_contained(verdict) && verdict.passed() == 0 && !verdict.all_passed()
    });
}
