//! One job on its way through a SandboxFusion server: the requests that it takes, and what they come to.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::driver::{Done, Step, Task, mark};
use super::wire::{Ran, RanStatus, Reply, ReplyStatus, RunCode};
use super::{Stopped, Trial};
use crate::account::printed_as_expected;
use crate::remote::connection::Connection;
use crate::remote::peer::Peer;
use crate::worker_process::patience;
use crate::{Cause, Ending, Job, Outcome, StdinTest, Verdict, WallTime};

/// A server that is asked about one job.
pub(super) struct Session<'a> {
    peer: &'a Peer,
    connection: &'a mut Connection,
    pub(super) job: &'a Job,
    /// What the programs wrote so far, the beginning of it.
    stdout: String,
    stderr: String,
}

impl<'a> Session<'a> {
    /// Nothing asked yet.
    pub(super) fn new(peer: &'a Peer, connection: &'a mut Connection, job: &'a Job) -> Self {
        Self { peer, connection, job, stdout: String::new(), stderr: String::new() }
    }

    /// How the program ended, and by their places the tests that are no scripts. A program that ends the interpreter in a test is
    /// loaded again for those after it, as in a sandbox of our own.
    pub(super) async fn load(
        &mut self,
        trials: &[Trial<'_>],
    ) -> Result<(Ending, BTreeMap<usize, Ending>), Stopped> {
        let steps: Vec<(usize, Step<'_>)> =
            trials.iter().enumerate().filter_map(|(at, trial)| Some((at, trial.step()?))).collect();
        let mut endings = BTreeMap::new();
        let mut load = None;
        let mut rest = steps.as_slice();
        loop {
            let task = Task {
                mark: mark(),
                program: &self.job.program,
                only_compile: steps.is_empty(),
                steps: rest.iter().map(|(_, step)| *step).collect(),
            };
            let (ran, done) = self.drive(&task).await?;
            let broke = ended_early(&ran);
            let program = done.get(&0).map_or_else(|| broke.clone(), |done| done.ending.clone());
            let load = load.get_or_insert_with(|| program.clone());
            if !program.passed() {
                // Loaded again, it may come to less: there is a clock.
                endings.extend(rest.iter().filter(|_| load.passed()).map(|(at, _)| (*at, program.clone())));
                return Ok((load.clone(), endings));
            }
            let told = (1..=rest.len()).take_while(|at| done.contains_key(at)).count();
            endings.extend(
                rest[..told]
                    .iter()
                    .zip(1..)
                    .map(|((at, _), number)| (*at, trials[*at].ending(&done[&number]))),
            );
            let Some(((at, _), after)) = rest[told..].split_first() else {
                return Ok((load.clone(), endings));
            };
            endings.insert(*at, broke.clone());
            rest = after;
            if broke == Outcome::OutOfTime {
                endings.extend(rest.iter().map(|(at, _)| (*at, broke.clone())));
                rest = &[];
            }
            if rest.is_empty() {
                return Ok((load.clone(), endings));
            }
        }
    }

    /// Runs the program as a script.
    pub(super) async fn script(&mut self, test: &StdinTest) -> Result<Ending, Stopped> {
        let ran = self.run(self.job.program.clone(), Some(test.stdin.clone())).await?;
        let (stdout, stderr) = (ran.stdout.as_deref().unwrap_or(""), ran.stderr.as_deref().unwrap_or(""));
        let written = stdout.len() + stderr.len();
        let ending = if written as u64 > self.job.limits.output_bytes.get() {
            Outcome::OutputLimit.into()
        } else {
            printed_as_expected(script_ending(&ran), stdout.as_bytes(), test)
        };
        self.note(stdout, stderr);
        Ok(ending)
    }

    /// Runs a driver. Returns how that ended, and what it has said.
    pub(super) async fn drive(&mut self, task: &Task<'_>) -> Result<(Ran, BTreeMap<usize, Done>), Stopped> {
        let code = task.code().map_err(|error| Stopped::Failed(error.to_string()))?;
        let ran = self.run(code, None).await?;
        let (done, printed) = task.read(ran.stdout.as_deref().unwrap_or_default());
        self.note(&printed, ran.stderr.as_deref().unwrap_or_default());
        Ok((ran, done))
    }

    /// Has a file run.
    async fn run(&mut self, code: String, stdin: Option<String>) -> Result<Ran, Stopped> {
        let limits = self.job.limits;
        let file =
            |file: &crate::File| (file.path.trim_start_matches('/').to_owned(), STANDARD.encode(&file.text));
        let seconds = Duration::from_millis(limits.timeout_ms.get()).as_secs_f64();
        let request = RunCode {
            language: "python",
            code,
            compile_timeout: seconds,
            run_timeout: seconds,
            memory_limit_mb: limits.memory_mib.get(),
            stdin,
            files: self.job.files.iter().map(file).collect(),
        };
        let body = serde_json::to_vec(&request).map_err(|error| Stopped::Failed(error.to_string()))?;
        let said = self.peer.post(self.connection, "/run_code", body.into(), None, patience(limits)).await;
        let said = said.map_err(Stopped::Lost)?;
        match said.status {
            200 => {}
            429 | 503 => return Err(Stopped::Busy),
            status => {
                return Err(Stopped::Failed(format!("SandboxFusion answers with HTTP status {status}")));
            }
        }
        let reply: Reply = self.peer.read(&said).map_err(Stopped::Lost)?;
        match reply.run_result {
            Some(ran) if reply.status != ReplyStatus::SandboxError && ran.status != RanStatus::Error => {
                Ok(ran)
            }
            _ => Err(Stopped::Failed(format!("SandboxFusion says: {}", reply.message))),
        }
    }

    fn note(&mut self, stdout: &str, stderr: &str) {
        for (kept, more) in [(&mut self.stdout, stdout), (&mut self.stderr, stderr)] {
            let room = Verdict::HEAD_BYTES.saturating_sub(kept.len());
            kept.push_str(&more[..more.floor_char_boundary(room)]);
        }
    }

    /// What is known in the end.
    pub(super) fn verdict(self, load: Ending, tests: Vec<Ending>, wall: Duration) -> Verdict {
        Verdict {
            load,
            tests,
            public: self.job.public,
            fuel: 0,
            peak_memory_bytes: 0,
            wall: WallTime(wall),
            stdout: self.stdout,
            stderr: self.stderr,
            denied: BTreeMap::new(),
        }
    }
}

/// How a step ended after which nothing was heard of the driver.
fn ended_early(ran: &Ran) -> Ending {
    match (ran.status, ran.return_code) {
        (RanStatus::TimeLimitExceeded, _) => Outcome::OutOfTime.into(),
        (_, Some(code)) if code < 0 => Outcome::Crashed.into(),
        _ => Outcome::Exited.into(),
    }
}

/// How a script ended, by its exit code and the last line of its stderr.
fn script_ending(ran: &Ran) -> Ending {
    let stderr = ran.stderr.as_deref().unwrap_or_default();
    match ran.return_code {
        _ if ran.status == RanStatus::TimeLimitExceeded => Outcome::OutOfTime.into(),
        Some(0) => Ending::PASSED,
        Some(code) if code < 0 => Outcome::Crashed.into(),
        _ if !stderr.contains("Traceback (most recent call last)") => Outcome::Exited.into(),
        _ => {
            let last = stderr.trim_end().lines().last().unwrap_or_default();
            let (kind, message) = last.split_once(": ").unwrap_or((last, ""));
            let outcome = match kind {
                "AssertionError" => Outcome::Failed,
                "MemoryError" => Outcome::OutOfMemory,
                "RecursionError" => Outcome::StackOverflow,
                _ => Outcome::Raised,
            };
            let (kind, message) = (kind.to_owned(), message.to_owned());
            Ending::because(outcome, Cause::Exception { kind, message, line: None })
        }
    }
}
