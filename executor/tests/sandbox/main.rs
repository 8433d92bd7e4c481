//! The executor as a whole: real worker processes, the real interpreter.
//!
//! The runtime's files must be in `.deps` (`python3 scripts/fetch.py`); the first run compiles them, which takes a minute.
//! What is said of a verdict holds for every runtime; `make python-3.11-fast` builds the one that need not be there.
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

mod adversarial;
mod determinism;
mod hostile;
mod hostile_programs;
mod human_eval;
mod mbpp;
mod pool;
mod start;
mod test_kinds;
mod tests_in_jobs;
mod workers;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::LazyLock;

use rltrain_executor::{
    Executor, ExecutorConfig, InfraError, Job, Limits, ModuleCache, Outcome, Runtime, RuntimeFiles,
    StartOptions, Verdict, WorkerCommand,
};

/// One executor for all tests that need no other.
static EXECUTOR: LazyLock<Executor> = LazyLock::new(|| start(2, "shared"));

/// The same for the other interpreters of Python that are here.
static OTHERS: LazyLock<Vec<Executor>> = LazyLock::new(|| {
    let others = runtimes().iter().filter(|runtime| **runtime != Runtime::default());
    others.map(|runtime| start_runtime(*runtime, 2, "shared-other")).collect()
});

fn files() -> RuntimeFiles {
    RuntimeFiles::in_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps"))
}

/// One executor for each interpreter of Python that is here.
fn executors() -> impl Iterator<Item = &'static Executor> {
    std::iter::once(&*EXECUTOR).chain(OTHERS.iter())
}

/// The default runtime, and those that were built: a test says what it skips.
fn runtimes() -> &'static [Runtime] {
    static RUNTIMES: LazyLock<Vec<Runtime>> = LazyLock::new(|| {
        let is_here = |runtime: &Runtime| {
            let is_here = *runtime == Runtime::default() || files().missing(*runtime).is_none();
            if !is_here {
                println!("skipped: {} is not here; `{}` provides it", runtime.name(), runtime.provider());
            }
            is_here
        };
        [Runtime::Python315, Runtime::Python311Fast].into_iter().filter(is_here).collect()
    });
    &RUNTIMES
}

/// Starts an executor of its own. Its workers carry `label` as an argument, by which a test can find them.
fn start(workers: usize, label: &str) -> Executor {
    start_runtime(Runtime::default(), workers, label)
}

fn start_runtime(runtime: Runtime, workers: usize, label: &str) -> Executor {
    let files = files();
    let config = ExecutorConfig { runtime, workers: NonZeroUsize::new(workers), ..ExecutorConfig::default() };
    let worker = WorkerCommand {
        program: env!("CARGO_BIN_EXE_rltrain-exec-worker").into(),
        arguments: vec![label.into()],
    };
    let options = StartOptions { cache: ModuleCache::of_user().unwrap(), worker };
    Executor::start_with(&config, &files, &options, &mut |_| {}).unwrap()
}

fn job(program: &str, tests: &[&str]) -> Job {
    Job::new(program, tests.iter().copied(), Limits::default())
}

/// A job whose budget runs out in a fraction of a second.
fn short_job(program: &str, tests: &[&str]) -> Job {
    let mut job = job(program, tests);
    job.limits.fuel = 1_000_000_000.try_into().unwrap();
    job
}

/// The verdict of the default runtime; all others must come to the same outcomes.
fn judge(job: Job) -> Verdict {
    let verdict = EXECUTOR.submit(job.clone()).wait().unwrap();
    for other in OTHERS.iter() {
        let theirs = other.submit(job.clone()).wait().unwrap();
        assert_eq!(theirs.load, verdict.load, "{theirs:?}, wanted as in {verdict:?}");
        assert!(
            theirs
                .tests
                .iter()
                .map(|ending| ending.outcome)
                .eq(verdict.tests.iter().map(|ending| ending.outcome)),
            "{theirs:?}, wanted as in {verdict:?}"
        );
    }
    verdict
}

/// How each test of a program ends; the program must load.
fn outcomes(program: &str, tests: &[&str]) -> Vec<Outcome> {
    let verdict = judge(job(program, tests));
    assert_eq!(verdict.load, Outcome::Passed, "{verdict:?}");
    verdict.tests.iter().map(|ending| ending.outcome).collect()
}

#[test]
fn a_job_without_tests_is_a_failure_of_the_sandbox_and_not_a_pass() {
    let result = EXECUTOR.submit(job("def f(): pass", &[])).wait();
    assert!(matches!(result, Err(InfraError::NoTests)), "{result:?}");
}
