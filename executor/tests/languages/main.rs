//! Programs in other languages than Python: real worker processes, the real interpreters.
//!
//! A test says so and does nothing where `.deps` lacks its runtime (`python3 scripts/fetch.py`, `make ruby`).

mod javascript;
mod javascript_adversarial;
mod ruby;
mod toy;
mod wasm;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rltrain_executor::{
    Executor, ExecutorConfig, InfraError, Job, Limits, ModuleCache, Outcome, Runtime, RuntimeFiles,
    StartOptions, Verdict, WorkerCommand,
};

fn files() -> RuntimeFiles {
    RuntimeFiles::in_folder(&dependencies())
}

fn dependencies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps")
}

/// An executor for a runtime; `None` if its files are absent.
fn start(runtime: Runtime) -> Option<Executor> {
    let config = ExecutorConfig { runtime, workers: NonZeroUsize::new(1), ..ExecutorConfig::default() };
    let worker = WorkerCommand {
        program: env!("CARGO_BIN_EXE_rltrain-exec-worker").into(),
        arguments: vec![format!("languages-{}", runtime.name()).into()],
    };
    let options = StartOptions { cache: ModuleCache::of_user().unwrap(), worker };
    match Executor::start_with(&config, &files(), &options, &mut |_| {}) {
        Err(error @ InfraError::MissingRuntime { .. }) => {
            #[expect(clippy::print_stderr, reason = "a test that does nothing has to say so")]
            {
                eprintln!("skipped: {error}");
            }
            None
        }
        started => Some(started.unwrap()),
    }
}

static JAVASCRIPT: LazyLock<Option<Executor>> = LazyLock::new(|| start(Runtime::JavaScript));

fn job(program: &str, tests: &[&str]) -> Job {
    let tests = tests.iter().map(|test| match serde_json::from_str(test) {
        Ok(written @ serde_json::Value::Object(_)) => serde_json::from_value(written).unwrap(),
        _ => (*test).into(),
    });
    Job::new::<rltrain_executor::Test>(program, tests, Limits::default())
}

/// A job whose budget runs out in a fraction of a second.
fn short_job(program: &str, tests: &[&str]) -> Job {
    let mut job = job(program, tests);
    job.limits.fuel = 1_000_000_000.try_into().unwrap();
    job
}

/// How each test of a job ended; the program must load.
fn outcomes(verdict: &Verdict) -> Vec<Outcome> {
    assert_eq!(verdict.load, Outcome::Passed, "{verdict:?}");
    verdict.tests.iter().map(|ending| ending.outcome).collect()
}
