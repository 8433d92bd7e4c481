//! From completions to verdicts: each finished sample goes to the sandbox at once, while its siblings still decode.

mod recorded;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rltrain_executor::{
    Executor, ExecutorConfig, InfraError, Job, Limits, Pending, RuntimeFiles, Test, Verdict,
};
use serde::{Deserialize, Serialize};

use crate::rollout::Completion;
use crate::tasks::{Answer, Task, edits};

/// The program that a completion stands for: the task's signature, which was prefilled, and what the model wrote, or what the insertions
/// that it wrote make of the signature. What should be insertions and is none is no program either, and is judged as it is.
pub fn program(task: &Task, completion: &str) -> String {
    let made = match task.answer {
        Answer::Rest => None,
        Answer::Insertions => edits::apply(&task.signature, completion),
    };
    match made {
        Some(made) => format!("{made}\n"),
        None => format!("{}{completion}\n", task.signature),
    }
}

/// Where `scripts/fetch.py` put what runs need: the environment variable `RLTRAIN_DEPS`, or else the `.deps` folder of the
/// checkout that this program was built from.
pub fn dependencies_folder() -> PathBuf {
    std::env::var_os("RLTRAIN_DEPS").map_or_else(|| PathBuf::from(env!("RLTRAIN_DEPS")), PathBuf::from)
}

/// Starts the sandbox workers of a recipe; precompiles the runtime first if this machine has not done so yet.
///
/// # Errors
///
/// If the runtime's files are missing or damaged, or no worker can be started.
pub fn start_executor(config: &ExecutorConfig) -> Result<Executor, InfraError> {
    Executor::start(config, &RuntimeFiles::in_folder(&dependencies_folder()))
}

/// How long the loop waits for a verdict before it says so: limits end a program sooner, unless the machine is overloaded or a worker
/// hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A verdict that does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The group of the program.
    pub group: usize,
    /// How long verdicts have been waited for.
    pub since: Duration,
    /// Programs whose verdicts were not looked at yet.
    pub left: usize,
}

impl Waiting {
    /// What to say of it, if the group's task is `task`.
    pub fn of(self, task: &str) -> String {
        let (seconds, left) = (self.since.as_secs(), self.left);
        format!("waiting for execution: task `{task}`, {seconds} s, {left} programs to go")
    }
}

/// Programs under way. Filled during a rollout, emptied after it.
pub struct Executions<'a> {
    executor: &'a Executor,
    limits: Limits,
    pending: Vec<((usize, usize), Result<Pending, InfraError>)>,
}

/// The verdicts of one step, and how long the loop had to wait for them after the last token.
#[derive(Default, Serialize, Deserialize)]
pub struct Verdicts {
    /// One per completion of each group. An infrastructure failure is not a verdict.
    #[serde(with = "recorded")]
    pub groups: Vec<Vec<Result<Verdict, InfraError>>>,
    /// Time from the last sample to the last verdict.
    #[serde(skip)]
    pub waited: Duration,
}

impl Verdicts {
    /// Adds those of another round of sampling.
    pub fn append(&mut self, round: Verdicts) {
        self.groups.extend(round.groups);
        self.waited += round.waited;
    }
}

impl<'a> Executions<'a> {
    /// Nothing under way yet.
    pub fn new(executor: &'a Executor, limits: Limits) -> Executions<'a> {
        Executions { executor, limits, pending: Vec::new() }
    }

    /// Sends a finished completion to the sandbox, to be judged by the task's hidden tests.
    pub fn submit(&mut self, task: &Task, completion: &Completion) {
        let job = Job::new(program(task, &completion.text), task.hidden_tests.iter().cloned(), self.limits);
        let place = (completion.request, completion.sample);
        self.pending.push((place, Ok(self.executor.submit(job))));
    }

    /// Sends the program of a turn to the sandbox, to be judged by the task's public tests. No hidden test is in the job, so
    /// that none can be in what comes back.
    pub fn ask(&self, task: &Task, completion: &Completion) -> Pending {
        let tests = task.public_tests.iter().cloned();
        let job = Job::new(program(task, &completion.text), tests, self.limits);
        self.executor.submit(Job { public: job.tests.len(), ..job })
    }

    /// Sends a program to the sandbox, to be run on other tests than its task's.
    pub fn run(&self, program: &str, tests: Vec<Test>) -> Pending {
        self.executor.submit(Job::new(program, tests, self.limits))
    }

    /// Records that the sandbox has lost an attempt between two turns: it has no verdict.
    pub fn lose(&mut self, completion: &Completion, error: InfraError) {
        self.pending.push(((completion.request, completion.sample), Err(error)));
    }

    /// Waits for every verdict and sorts them into `groups` rows.
    pub fn wait(self, groups: usize) -> Verdicts {
        self.wait_telling(groups, PATIENCE, |_| {})
    }

    /// The same, telling `notice` every `patience` that a verdict does not come what is waited for.
    pub fn wait_telling(mut self, groups: usize, patience: Duration, notice: impl Fn(Waiting)) -> Verdicts {
        let start = Instant::now();
        self.pending.sort_by_key(|(place, _)| *place);
        let mut verdicts: Vec<Vec<_>> = (0..groups).map(|_| Vec::new()).collect();
        let count = self.pending.len();
        for (behind, ((group, _), pending)) in self.pending.into_iter().enumerate() {
            let impatient = || {
                notice(Waiting { group, since: start.elapsed(), left: count - behind });
            };
            verdicts[group].push(pending.and_then(|pending| pending.wait_impatiently(patience, impatient)));
        }
        Verdicts { groups: verdicts, waited: start.elapsed() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_that_does_not_come_is_told_of_by_task_time_and_what_is_left() {
        let waiting = Waiting { group: 3, since: Duration::from_millis(40_900), left: 12 };
        assert_eq!(waiting.of("cube"), "waiting for execution: task `cube`, 40 s, 12 programs to go");
    }
}
