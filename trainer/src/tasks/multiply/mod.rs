//! More tasks out of verified ones: the same function with its result changed (PPM, Chen et al. 2024), and the same function to be
//! found out from what it gives (Case2Code, Shao et al. 2024), and the same function to be written in insertions (LintSeq, Piterbarg et al.
//! 2024).
//!
//! Nothing is asked of a model. The expected values of a variant follow from those of its task, the reference from its reference;
//! whether the two agree is for [`verify`](super::verify) to find out.

mod cases;
mod induction;
mod insertions;
mod transform;

use std::collections::BTreeSet;

use cases::cases;
use induction::induction;
use insertions::insertions;
use rltrain_executor::Test;
use rltrain_rewards::Language;
use serde::Serialize;
use transform::{Kind, Transform, transformed};

use super::Task;
use crate::rng::{Stream, uniform};

/// What stands between the parentheses of the one call whose result a test says; `None` if it says anything else.
pub(super) fn arguments(test: &Test, entry_point: &str) -> Option<String> {
    cases::case(test, entry_point).map(|case| case.arguments)
}

/// What is made of each task.
#[derive(Clone, Copy, Debug)]
pub struct MultiplyOptions {
    /// Variants with a changed result, each with other changes.
    pub transforms: usize,
    /// Changes of a variant, one after the other.
    pub depth: usize,
    /// Whether there is also a variant without words.
    pub induction: bool,
    /// Whether there is also a variant that is answered in insertions.
    pub insertions: bool,
    /// Examples that a variant without words shows.
    pub shown: usize,
    /// Where the choice of changes derives from.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Multiplied {
    /// The variants, in the order of their tasks.
    #[serde(skip)]
    pub tasks: Vec<Task>,
    /// Tasks of which there is no variant, and why.
    pub passed_over: Vec<PassedOver>,
}

/// A task that has no variant.
#[derive(Clone, Debug, Serialize)]
pub struct PassedOver {
    /// Its id.
    pub task: String,
    /// Why.
    pub why: String,
}

/// Makes variants of tasks in Python whose tests say what a function returns for which arguments.
pub fn multiply<'a>(tasks: impl IntoIterator<Item = &'a Task>, options: MultiplyOptions) -> Multiplied {
    let mut done = Multiplied::default();
    for task in tasks {
        match variants(task, options) {
            Ok(variants) => done.tasks.extend(variants),
            Err(why) => done.passed_over.push(PassedOver { task: task.id.clone(), why }),
        }
    }
    done
}

fn variants(task: &Task, options: MultiplyOptions) -> Result<Vec<Task>, String> {
    if task.language != Language::Python {
        return Err(format!("it is in `{}`, and results are changed in Python", task.language.name()));
    }
    if task.reference().is_none() {
        return Err("it has no reference".to_owned());
    }
    let mut made = Vec::new();
    let mut why = None;
    if options.insertions {
        match insertions(task) {
            Ok(variant) => made.push(variant),
            Err(refused) => why = Some(refused),
        }
    }
    if options.transforms == 0 && !options.induction {
        return finished(made, why);
    }
    let given = match cases(task) {
        Ok(given) => given,
        Err(refused) => return finished(made, Some(refused)),
    };
    let mut seen = BTreeSet::new();
    // Content decides, not place: a task has the same variants wherever it stands in a file.
    let mut draws = Draws { seed: options.seed, task: content_number(task), drawn: 0 };
    for _ in 0..options.transforms.saturating_mul(8) {
        if seen.len() == options.transforms {
            break;
        }
        let Some(changes) = draw(&given, options.depth, &mut draws) else {
            why.get_or_insert_with(|| {
                "its results are of several types, or of one without changes".to_owned()
            });
            break;
        };
        let names: Vec<String> = changes.iter().map(Transform::name).collect();
        if !seen.contains(&names) {
            match transformed(task, &given, &changes) {
                Ok(variant) => {
                    made.push(variant);
                    seen.insert(names);
                }
                Err(refused) => why = Some(refused),
            }
        }
    }
    if options.induction {
        match induction(task, &given, options.shown) {
            Ok(variant) => made.push(variant),
            Err(refused) => why = Some(refused),
        }
    }
    finished(made, why)
}

/// The variants, or why there is none.
fn finished(made: Vec<Task>, why: Option<String>) -> Result<Vec<Task>, String> {
    match why {
        Some(why) if made.is_empty() => Err(why),
        _ => Ok(made),
    }
}

/// Random choices for one task.
struct Draws {
    seed: u64,
    task: u64,
    drawn: u64,
}

impl Draws {
    /// A number below `bound`, which is above 0.
    fn below(&mut self, bound: usize) -> usize {
        self.drawn += 1;
        let draw = uniform(self.seed, Stream::TaskVariants, &[self.task, self.drawn]);
        ((draw * bound as f64) as usize).min(bound - 1)
    }
}

/// Draws changes that can be made one after the other; `None` if the results are of no type that has any.
fn draw(given: &cases::Cases, depth: usize, draws: &mut Draws) -> Option<Vec<Transform>> {
    let mut kind = Kind::of(given.all().map(|case| &case.expected))?;
    let mut changes = Vec::with_capacity(depth);
    for _ in 0..depth {
        let possible = Transform::of(kind, draws);
        let change = possible[draws.below(possible.len())];
        kind = change.gives(kind);
        changes.push(change);
    }
    Some(changes)
}

/// A number that names what a task asks and how it is judged.
fn content_number(task: &Task) -> u64 {
    let hash = super::content::content(task);
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has more than eight bytes"))
}
