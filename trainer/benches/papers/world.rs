//! Worlds: tasks in a toy language, a model that knows nothing, and its warm start.

use std::fs;
use std::path::Path;

use rltrain::tasks::{GenerateOptions, GeneratedKind, Task, generate};

use super::Failure;
use super::model::{Vocabulary, make_model};
use super::runs::{self, Clock, Done};

/// A toy language with tasks and a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    /// Programs of `toy-strings`.
    Strings,
    /// Programs of `toy-python`.
    Functions,
}

/// Tasks of the warm start.
const TRAIN: usize = 24_000;
/// Of those, the ones that rows train on.
const SUBSET: usize = 512;
const HELDOUT: usize = 240;

/// Distinct functions of the files for E11, and tasks of each: as many as 600 steps take.
const DISTINCT: [usize; 3] = [16, 128, 1024];
const DISTINCT_TASKS: usize = 9600;

impl World {
    /// Name of its folder.
    pub(crate) fn name(self) -> &'static str {
        match self {
            World::Strings => "strings",
            World::Functions => "functions",
        }
    }

    fn runtime(self) -> &'static str {
        match self {
            World::Strings => "toy-strings",
            World::Functions => "toy-python",
        }
    }

    /// How a task is asked: by its examples. In those of texts spaces can be seen, so that a space always begins a token of a program.
    fn prefill(self) -> &'static str {
        match self {
            World::Strings => "{{ task.prompt | replace(' ', '~') }}\\n={{ task.signature }}",
            World::Functions => "{{ task.prompt }}\\n{{ task.signature }}",
        }
    }

    fn options(self) -> GenerateOptions {
        let (kind, size) = match self {
            World::Strings => (GeneratedKind::StringPrograms, 2),
            World::Functions => (GeneratedKind::Functions, 3),
        };
        GenerateOptions {
            kind,
            train: TRAIN,
            heldout: HELDOUT,
            size,
            shown: 4,
            hidden: 6,
            distinct: None,
            seed: 1,
        }
    }

    /// Longest completion, in tokens: a program of the language's longest, or of the longest that is generated, and an end.
    pub(crate) fn max_tokens(self) -> usize {
        match self {
            World::Strings => 26,
            World::Functions => 48,
        }
    }

    /// Optimizer steps of the warm start: few enough that much is left to learn.
    fn warm_steps(self) -> u64 {
        match self {
            World::Strings => 1500,
            World::Functions => 1000,
        }
    }

    /// The sections that every recipe of this world has.
    pub(crate) fn common(self, model: &str, train: &str, heldout: &str) -> String {
        format!(
            r#"
[model]
path = "{model}"
compute = "f32"
device = "cpu"

[tasks]
train = "{train}"
heldout = "{heldout}"
prompt = ""
prefill = "{}"

[executor]
runtime = "{}"
workers = 1

[executor.limits]
fuel = 20_000_000
"#,
            self.prefill(),
            self.runtime(),
        )
    }

    /// The folder of the warm model, inside the world's.
    pub(crate) fn warm_model(self) -> String {
        format!("warm/checkpoints/step-{:08}/model", self.warm_steps())
    }

    /// Makes what is not there yet.
    pub(crate) fn make(self, folder: &Path, clock: &Clock) -> Result<Done, Failure> {
        let place = folder.join(self.name());
        if !place.join("heldout.jsonl").is_file() {
            fs::create_dir_all(&place)?;
            let vocabulary = match self {
                World::Strings => Vocabulary::of_strings(),
                World::Functions => Vocabulary::of_functions(),
            };
            make_model(&place.join("model"), &vocabulary)?;
            self.make_tasks(&place)?;
        }
        let steps = self.warm_steps();
        let recipe = format!(
            r#"seed = 1
steps = {steps}
run = "warm"
{}
[rollout]
tasks_per_step = 24
max_tokens = {}
max_batch = 128

[rewards.all_passed]

[algorithm]
preset = "sft"

[optimizer]
learning_rate = 1e-3
beta2 = 0.98
warmup_steps = 50
schedule = "cosine"
final_share = 0.1
micro_batch_tokens = 8192

[eval]
samples = 4
k = [1, 4]
temperature = 1.0

[checkpoint]
every = 250
keep_last = 1
"#,
            self.common("model", "train.jsonl", "heldout.jsonl"),
            self.max_tokens()
        );
        runs::to_end(&place, "warm", &recipe, steps, clock)
    }

    /// pass@1 of the warm model.
    pub(crate) fn warm_score(self, folder: &Path) -> Result<f64, Failure> {
        let evaluations = runs::evaluations(&folder.join(self.name()).join("warm"))?;
        let last = evaluations.last().ok_or("the warm start has no evaluation")?;
        last["pass_at_k"][0]["mean"].as_f64().ok_or_else(|| "no pass@1".into())
    }

    fn make_tasks(self, place: &Path) -> Result<(), Failure> {
        let options = self.options();
        let made = generate(&options)?;
        write(place, "train", &made.train)?;
        write(place, "subset", &made.train[..SUBSET])?;
        if self == World::Strings {
            for distinct in DISTINCT {
                let few = GenerateOptions {
                    train: DISTINCT_TASKS,
                    heldout: 0,
                    distinct: Some(distinct),
                    seed: 2,
                    ..options
                };
                write(place, &format!("distinct-{distinct}"), &generate(&few)?.train)?;
            }
        }
        // The last one, so that a world that was cut off is made again.
        write(place, "heldout", &made.heldout)
    }
}

fn write(place: &Path, name: &str, tasks: &[Task]) -> Result<(), Failure> {
    let lines = tasks.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    Ok(fs::write(place.join(format!("{name}.jsonl")), lines.join("\n") + "\n")?)
}

/// A sentence about the worlds.
pub(crate) fn said() -> String {
    format!(
        "Worlds: string programs (runtime `toy-strings`) and, for E12, functions of whole numbers (`toy-python`); 4 examples are shown, 6 tests \
         hidden; {TRAIN} tasks for the warm start, of which {SUBSET} are trained on below, and {HELDOUT} held-out tasks, none of whose functions is \
         trained on. The model is a Llama of 0.9 million parameters, with tokens for characters and for the language's tokens; its warm start is \
         supervised fine-tuning on 24 tasks a step, {} steps for string programs and {} for functions.",
        World::Strings.warm_steps(),
        World::Functions.warm_steps()
    )
}
