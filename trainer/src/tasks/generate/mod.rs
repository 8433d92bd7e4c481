//! Tasks out of nothing: programs in the toy languages, to be found out from what they do.
//!
//! A program is drawn, then inputs for it; some of its results are shown, the others are hidden tests. Two programs are the same
//! function if they do the same with a fixed set of inputs, and whether a function is one to train on follows from that alone:
//! no function of the one file is in the other, however it is written.

mod functions;
mod texts;

use std::collections::{BTreeMap, BTreeSet};

use rltrain_executor::Test;
use thiserror::Error;

use super::Task;
use crate::rng::{Stream, uniform};

/// Kinds of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum GeneratedKind {
    /// Programs of the runtime `toy-strings`, which make a text out of a text (RobustFill)
    StringPrograms,
    /// Programs of the runtime `toy-python`, functions of whole numbers
    Functions,
}

/// What is to be generated.
#[derive(Clone, Copy, Debug)]
pub struct GenerateOptions {
    /// The kind.
    pub kind: GeneratedKind,
    /// Tasks to train on, at least 1.
    pub train: usize,
    /// Tasks to evaluate on.
    pub heldout: usize,
    /// Most pieces of a program of texts, or statements of a function; at least 1.
    pub size: usize,
    /// Examples that a prompt shows, at least 1.
    pub shown: usize,
    /// Hidden tests, at least 1.
    pub hidden: usize,
    /// Most functions that the tasks to train on are of; `None` for as many as are drawn.
    pub distinct: Option<usize>,
    /// Another seed is other tasks.
    pub seed: u64,
}

/// Generated tasks.
#[derive(Clone, Debug, Default)]
pub struct Generated {
    /// To train on.
    pub train: Vec<Task>,
    /// To evaluate on.
    pub heldout: Vec<Task>,
    /// How many functions the tasks to train on are of.
    pub functions: usize,
}

/// There are not as many tasks as were asked for.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("of {wanted} tasks {found} were found in {drawn} draws; ask for fewer, or for larger programs")]
pub struct TooFew {
    wanted: usize,
    found: usize,
    drawn: usize,
}

/// Share of the functions that is held out.
const HELDOUT_SHARE: f64 = 0.2;

/// Draws after which it is given up, for each task that was asked for.
const MOST_DRAWS: usize = 1000;

/// A task that was drawn, before it has a name.
struct Candidate {
    /// Names what the program does.
    function: [u8; 32],
    prompt: String,
    signature: String,
    entry_point: String,
    reference: String,
    public_tests: Vec<Test>,
    hidden_tests: Vec<Test>,
}

/// Generates tasks. The same options give the same tasks.
///
/// # Errors
///
/// If there are not as many.
pub fn generate(options: &GenerateOptions) -> Result<Generated, TooFew> {
    let (wanted, mut made) = (options.train + options.heldout, Generated::default());
    let (mut prompts, mut functions) = (BTreeSet::new(), BTreeMap::new());
    let most = wanted.saturating_mul(MOST_DRAWS);
    for number in 0..most {
        if made.train.len() >= options.train && made.heldout.len() >= options.heldout {
            break;
        }
        let mut draws = Draws { seed: options.seed, task: number as u64, drawn: 0 };
        let drawn = match options.kind {
            GeneratedKind::StringPrograms => texts::draw(options, &mut draws),
            GeneratedKind::Functions => functions::draw(options, &mut draws),
        };
        let Some(candidate) = drawn else { continue };
        let is_heldout = share(&candidate.function) < HELDOUT_SHARE;
        let (file, most, name) = match is_heldout {
            true => (&mut made.heldout, options.heldout, "h"),
            false => (&mut made.train, options.train, "t"),
        };
        // Two files are compared without case and punctuation when a run starts.
        let plain: String = candidate.prompt.to_lowercase().replace(|c: char| !c.is_alphanumeric(), " ");
        if file.len() >= most || prompts.contains(&plain) {
            continue;
        }
        if !is_heldout {
            let is_new = !functions.contains_key(&candidate.function);
            if is_new && options.distinct.is_some_and(|distinct| functions.len() >= distinct) {
                continue;
            }
            *functions.entry(candidate.function).or_insert(0_usize) += 1;
        }
        prompts.insert(plain);
        file.push(candidate.into_task(format!("{name}{:05}", file.len())));
    }
    made.functions = functions.len();
    let found = made.train.len() + made.heldout.len();
    if found < wanted { Err(TooFew { wanted, found, drawn: most }) } else { Ok(made) }
}

impl Candidate {
    fn into_task(self, id: String) -> Task {
        Task {
            id,
            prompt: self.prompt,
            signature: self.signature,
            entry_point: self.entry_point,
            reference: self.reference,
            public_tests: self.public_tests,
            hidden_tests: self.hidden_tests,
            ..Task::default()
        }
    }
}

/// A number from 0 to 1 that follows from what a program does.
fn share(function: &[u8; 32]) -> f64 {
    let number = u64::from_le_bytes(function[..8].try_into().expect("a hash has more than eight bytes"));
    (number >> 11) as f64 / (1_u64 << 53) as f64
}

/// Names a function by what it gives.
fn named(results: impl IntoIterator<Item = String>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for result in results {
        hasher.update(&(result.len() as u64).to_le_bytes()).update(result.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// Random choices for one task.
struct Draws {
    seed: u64,
    task: u64,
    drawn: u64,
}

impl Draws {
    fn uniform(&mut self) -> f64 {
        self.drawn += 1;
        uniform(self.seed, Stream::GeneratedTasks, &[self.task, self.drawn])
    }

    /// A number below `bound`, which is above 0.
    fn below(&mut self, bound: usize) -> usize {
        ((self.uniform() * bound as f64) as usize).min(bound.saturating_sub(1))
    }

    /// One of some.
    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// Something that happens with this probability.
    fn happens(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(kind: GeneratedKind) -> GenerateOptions {
        GenerateOptions {
            kind,
            train: 60,
            heldout: 15,
            size: 3,
            shown: 4,
            hidden: 6,
            distinct: None,
            seed: 5,
        }
    }

    const KINDS: [GeneratedKind; 2] = [GeneratedKind::StringPrograms, GeneratedKind::Functions];

    #[test]
    fn the_same_seed_gives_the_same_tasks_and_another_gives_others() {
        for kind in KINDS {
            let made = generate(&options(kind)).unwrap();
            assert_eq!((made.train.len(), made.heldout.len()), (60, 15));
            let again = generate(&options(kind)).unwrap();
            assert_eq!((&made.train, &made.heldout), (&again.train, &again.heldout));
            let other = generate(&GenerateOptions { seed: 6, ..options(kind) }).unwrap();
            assert_ne!(made.train, other.train);
        }
    }

    #[test]
    fn a_bound_on_functions_is_kept_and_what_cannot_be_had_is_said() {
        let few = GenerateOptions { distinct: Some(7), ..options(GeneratedKind::StringPrograms) };
        assert_eq!(generate(&few).unwrap().functions, 7);
        let many = GenerateOptions { train: 400, heldout: 0, size: 1, ..options(GeneratedKind::Functions) };
        let many = GenerateOptions { distinct: Some(0), ..many };
        let error = generate(&many).unwrap_err().to_string();
        assert!(error.starts_with("of 400 tasks 0 were found in 400000 draws"), "{error}");
    }
}
