//! The executor as a whole: real worker processes, the real interpreter.
//!
//! The runtime's files must be in `.deps` (`python3 scripts/fetch.py`); the first run compiles them, which takes a minute.

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
    Executor, ExecutorConfig, InfraError, Job, Limits, ModuleCache, Outcome, RuntimeFiles, StartOptions,
    Verdict, WorkerCommand,
};

/// One executor for all tests that need no other.
static EXECUTOR: LazyLock<Executor> = LazyLock::new(|| start(2, "shared"));

/// Starts an executor of its own. Its workers carry `label` as an argument, by which a test can find them.
fn start(workers: usize, label: &str) -> Executor {
    let files = RuntimeFiles::in_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps"));
    let config = ExecutorConfig { workers: NonZeroUsize::new(workers), ..ExecutorConfig::default() };
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

fn judge(job: Job) -> Verdict {
    EXECUTOR.submit(job).wait().unwrap()
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
