//! Why a run ended early.

use std::path::{Path, PathBuf};

use rltrain_executor::InfraError;
use thiserror::Error;

use crate::critic::verifier::Objective;
use crate::fleet::FleetError;
use crate::memory::Exhausted;
use crate::optim::{TooLarge, UpdateError};
use crate::policy::PolicyError;
use crate::ranks::RanksError;
use crate::tasks::TasksError;

/// Why training or evaluation stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The model could not be loaded or used.
    #[error("the model cannot be used")]
    Policy(#[from] PolicyError),
    /// A task file could not be read.
    #[error("the tasks cannot be read")]
    Tasks(#[from] TasksError),
    /// The sandbox could not be started.
    #[error("the sandbox cannot be used")]
    Sandbox(#[from] InfraError),
    /// The rewards of the recipe cannot be built.
    #[error("the rewards cannot be used")]
    Rewards(#[from] rltrain_rewards::RewardsError),
    /// A reward broke its contract.
    #[error("the attempts of a step cannot be scored")]
    Score(#[from] rltrain_rewards::RewardError),
    /// The remote store of the run's checkpoints cannot be used.
    #[error("the checkpoints of `checkpoint.remote` cannot be used")]
    Remote(#[from] rltrain_checkpoints::RemoteError),
    /// Attempts could not be sampled by the servers of the recipe.
    #[error("the servers of `rollout.servers` cannot be used")]
    Fleet(#[from] FleetError),
    /// A prompt leaves no room for a completion.
    #[error(
        "task `{task}`: a prompt of {prompt} tokens and `rollout.max_tokens = {completion}` are more than the {most} \
         positions of the model; lower `rollout.max_tokens` or remove the task"
    )]
    TooLong {
        /// The task.
        task: String,
        /// Tokens of its prompt.
        prompt: usize,
        /// Tokens that a completion may have.
        completion: usize,
        /// Positions of the model.
        most: usize,
    },
    /// Too many attempts have no verdict, or no score because a plug-in failed.
    #[error("{lost} of {attempts} attempts of one step have no verdict or no score; the first: {cause}")]
    Infrastructure {
        /// Attempts without a verdict or a score.
        lost: usize,
        /// Attempts of the step.
        attempts: usize,
        /// What happened to the first.
        cause: String,
    },
    /// `rltrain critic` without anything to train.
    #[error(
        "the recipe has no section `[verifier]`, so that there is nothing to train; add one, such as `[verifier]` with `objective = \"outcome\"`"
    )]
    NoVerifier,
    /// `rltrain critic` without anything to learn from.
    #[error("`{}` has no samples with a verdict; train the policy first, `rltrain RECIPE`", run.display())]
    NoRollouts {
        /// The run folder.
        run: PathBuf,
    },
    /// A logged attempt is at a task that the recipe's files do not have.
    #[error("`{}` has an attempt at `{task}`, which is in neither of the recipe's task files", path.display())]
    UnknownTask {
        /// The task.
        task: String,
        /// The file of samples.
        path: PathBuf,
    },
    /// `rltrain critic` was started with other rollouts or settings.
    #[error(
        "`{}` was started with other samples or another `[verifier]`; restore them, or remove the folder to start anew",
        folder.display()
    )]
    OtherRollouts {
        /// Folder of the verifier.
        folder: PathBuf,
    },
    /// A verifier's checkpoint is of another objective.
    #[error("the verifier in `{}` has learnt `{}`, wanted `{}`: `verifier.objective`", path.display(), .found.name(), .wanted.name())]
    OtherObjective {
        /// The checkpoint.
        path: PathBuf,
        /// What it has learnt.
        found: Objective,
        /// What the recipe says.
        wanted: Objective,
    },
    /// A verifier reads other tokens than the policy writes.
    #[error(
        "the verifier's model `{}` has another tokenizer than the policy's, whose tokens it would have to read; take a \
         model of the same family for `verifier.path`",
        path.display()
    )]
    OtherTokenizer {
        /// Folder of the verifier's model.
        path: PathBuf,
    },
    /// Gradients stopped being numbers.
    #[error("the gradient was not finite in {in_a_row} steps in a row, up to step {step}")]
    Diverged {
        /// The last step.
        step: u64,
        /// How many in a row.
        in_a_row: u32,
    },
    /// A single attempt does not fit into memory.
    #[error(
        "an attempt of {tokens} tokens, prompt included, is more than memory bears in an update, and no attempt is split; set \
         `model.gradient_checkpointing = true`, lower `rollout.max_tokens`, or train `[model.lora]`; `rltrain plan` shows what \
         takes how much"
    )]
    OutOfMemory {
        /// Tokens of the longest attempt of the step.
        tokens: usize,
        /// What the allocator said.
        source: Exhausted,
    },
    /// A checkpoint could not be written.
    #[error("the checkpoint of step {step} cannot be written; {}", what_is_kept(kept.as_deref()))]
    Write {
        /// The step.
        step: u64,
        /// The newest checkpoint before it.
        kept: Option<PathBuf>,
        /// Why.
        source: rltrain_checkpoints::WriteError,
    },
    /// A checkpoint could not be read.
    #[error("the checkpoint cannot be read")]
    Read(#[from] rltrain_checkpoints::ReadError),
    /// The run folder is used by another process.
    #[error(transparent)]
    Lock(#[from] rltrain_checkpoints::LockError),
    /// The recipe, or what it names, is not what the run was started with.
    #[error(
        "`{}` was started with another recipe or other files:{changes}\nrestore the old values, permit the change with \
         `{allow}`, or start another run: give `run` a new folder, or `rltrain fork` this one",
        run.display()
    )]
    Drift {
        /// The run folder.
        run: PathBuf,
        /// What differs, with both values, one a line.
        changes: String,
        /// The arguments that permit it.
        allow: String,
    },
    /// A checkpoint that the user has named is not there, or is damaged.
    #[error(
        "the checkpoint `{}` cannot be used; nothing was done in its place. There are checkpoints of steps: {steps}",
        path.display()
    )]
    NamedCheckpoint {
        /// Its folder.
        path: PathBuf,
        /// Steps of those that are there.
        steps: String,
        /// What is wrong with it.
        source: Box<rltrain_checkpoints::ReadError>,
    },
    /// A folder has no results of an evaluation.
    #[error(
        "`{}` has no `results.json`; name a folder that `rltrain eval MODEL --tasks FILE --out FOLDER` has finished",
        folder.display()
    )]
    NoResults {
        /// The folder.
        folder: PathBuf,
    },
    /// Two evaluations are of different tasks.
    #[error(
        "the two evaluations are of different tasks: they share {shared}, of {} and {}; the first that is not in both is `{first}`; \
         evaluate both models on one file",
        of[0], of[1]
    )]
    OtherTasks {
        /// Tasks in both.
        shared: usize,
        /// Tasks of each.
        of: [usize; 2],
        /// Id of one that is not in both.
        first: String,
    },
    /// The processes that train together cannot, or not any longer.
    #[error(transparent)]
    Ranks(#[from] RanksError),
    /// A file of the run folder could not be written or read.
    #[error("the run folder cannot be used")]
    Io(#[from] std::io::Error),
    /// The recipe in the run folder is damaged.
    #[error("`{}` is not what rltrain wrote", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: toml::de::Error,
    },
    /// A file of the run folder is damaged.
    #[error("`{}` is not what rltrain wrote", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
}

impl TrainError {
    /// Whether the user can mend it by changing what they gave us: exit code 2 instead of 1.
    pub fn is_bad_input(&self) -> bool {
        matches!(
            self,
            TrainError::Policy(_)
                | TrainError::Tasks(_)
                | TrainError::Rewards(_)
                | TrainError::TooLong { .. }
                | TrainError::NoVerifier
                | TrainError::NoRollouts { .. }
                | TrainError::UnknownTask { .. }
                | TrainError::OtherRollouts { .. }
                | TrainError::OtherObjective { .. }
                | TrainError::OtherTokenizer { .. }
                | TrainError::Drift { .. }
                | TrainError::NoResults { .. }
                | TrainError::OtherTasks { .. }
                | TrainError::NamedCheckpoint { .. }
                | TrainError::Lock(rltrain_checkpoints::LockError::Held { .. })
        ) || matches!(self, TrainError::Remote(error) if error.is_bad_input())
            || matches!(self, TrainError::Ranks(error) if error.is_bad_input())
            || matches!(self, TrainError::Fleet(error) if error.is_bad_input())
    }
}

/// What a run has left that cannot be saved.
fn what_is_kept(newest: Option<&Path>) -> String {
    match newest {
        Some(path) => format!(
            "`{}` is kept: mend what is wrong with the disk, and the same command goes on from there",
            path.display()
        ),
        None => "there is none before it: mend what is wrong with the disk, and the same command starts anew"
            .to_owned(),
    }
}

impl From<UpdateError> for TrainError {
    fn from(error: UpdateError) -> TrainError {
        match error {
            UpdateError::TooLarge(error) => error.into(),
            UpdateError::Ranks(error) => error.into(),
        }
    }
}

impl From<TooLarge> for TrainError {
    fn from(TooLarge { tokens, exhausted }: TooLarge) -> TrainError {
        TrainError::OutOfMemory { tokens, source: exhausted }
    }
}
