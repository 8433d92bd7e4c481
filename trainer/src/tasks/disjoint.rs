//! Whether two task files have a task in common.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use rltrain_executor::Test;

use super::canonical::canonical;
use super::{Task, TaskSet, shown};

/// Two tasks that are the same task, or nearly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Id of the task in the first file.
    pub train: String,
    /// Id of the task in the second file.
    pub heldout: String,
    /// What the two have in common.
    pub likeness: Likeness,
}

/// What two tasks can have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// The id.
    Id,
    /// The name of the function.
    EntryPoint,
    /// The prompt, up to case, punctuation and spaces.
    Prompt,
    /// All tests of one are among those of the other, up to the name of the function and spaces.
    Tests,
    /// The body of the reference, up to names, comments and layout.
    Reference,
    /// Most of the wording of the prompt: a Jaccard index above 0.8 over word 3-grams, or more than half of the
    /// word 8-grams of the shorter one.
    Wording,
}

impl Likeness {
    /// The name that scripts read.
    pub fn name(self) -> &'static str {
        match self {
            Likeness::Id => "id",
            Likeness::EntryPoint => "entry-point",
            Likeness::Prompt => "prompt",
            Likeness::Tests => "tests",
            Likeness::Reference => "reference",
            Likeness::Wording => "wording",
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.likeness {
            Likeness::Id => "the same id",
            Likeness::EntryPoint => "the same entry point",
            Likeness::Prompt => "the same prompt",
            Likeness::Tests => "the same tests",
            Likeness::Reference => "the same reference but for names",
            Likeness::Wording => "nearly the same prompt",
        };
        write!(f, "`{}` and `{}` have {what}", self.train, self.heldout)
    }
}

/// Every pair of a task of `train` and a task of `heldout` that are alike; none proves the two disjoint.
///
/// A pair that is alike in several ways is there several times. Pairs come in the order of `heldout`, then of
/// `train`.
pub fn disjoint(train: &TaskSet, heldout: &TaskSet) -> Vec<Overlap> {
    overlaps(&COMPARISONS, &train.iter().collect::<Vec<_>>(), &heldout.iter().collect::<Vec<_>>())
}

/// The pairs of [`disjoint`] that have the same prompt or the same tests: cheap enough for every start of a run.
pub fn copied(train: &TaskSet, heldout: &TaskSet) -> Vec<Overlap> {
    let exact = &COMPARISONS[PROMPT..=TESTS];
    overlaps(exact, &train.iter().collect::<Vec<_>>(), &heldout.iter().collect::<Vec<_>>())
}

/// One way to be alike: what a task is reduced to, and when two reductions have too much in common.
struct Comparison {
    likeness: Likeness,
    features: fn(&Task) -> BTreeSet<String>,
    /// Of the numbers of features in common, of the one, and of the other.
    alike: fn(usize, usize, usize) -> bool,
}

/// Places among the comparisons.
const PROMPT: usize = 2;
const TESTS: usize = 3;

const COMPARISONS: [Comparison; 7] = [
    Comparison { likeness: Likeness::Id, features: |task| one(task.id.clone()), alike: contained },
    Comparison {
        likeness: Likeness::EntryPoint,
        features: |task| one_of(task.entry_point.clone()),
        alike: contained,
    },
    Comparison {
        likeness: Likeness::Prompt,
        features: |task| one(words(&task.prompt).join(" ")),
        alike: contained,
    },
    Comparison { likeness: Likeness::Tests, features: tests, alike: contained },
    Comparison {
        likeness: Likeness::Reference,
        features: |task| one_of(canonical(body(task))),
        alike: contained,
    },
    Comparison {
        likeness: Likeness::Wording,
        features: |task| grams(&task.prompt, 3),
        alike: |common, one, other| common as f64 > 0.8 * (one + other - common) as f64,
    },
    Comparison {
        likeness: Likeness::Wording,
        features: |task| grams(&task.prompt, 8),
        alike: |common, one, other| 2 * common > one.min(other),
    },
];

fn contained(common: usize, one: usize, other: usize) -> bool {
    common == one.min(other)
}

fn overlaps(comparisons: &[Comparison], train: &[&Task], heldout: &[&Task]) -> Vec<Overlap> {
    let mut found: BTreeMap<(usize, usize), Vec<Likeness>> = BTreeMap::new();
    for comparison in comparisons {
        let sets: Vec<_> = train.iter().map(|task| (comparison.features)(task)).collect();
        let mut holders: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, set) in sets.iter().enumerate() {
            set.iter().for_each(|feature| holders.entry(feature).or_default().push(place));
        }
        for (place, task) in heldout.iter().enumerate() {
            let set = (comparison.features)(task);
            let mut common: BTreeMap<usize, usize> = BTreeMap::new();
            for holder in set.iter().filter_map(|feature| holders.get(feature.as_str())).flatten() {
                *common.entry(*holder).or_default() += 1;
            }
            for (other, common) in common {
                let likenesses = found.entry((place, other)).or_default();
                // Equal prompts are alike in wording as well; once is enough.
                let known = likenesses.contains(&comparison.likeness)
                    || (comparison.likeness == Likeness::Wording && likenesses.contains(&Likeness::Prompt));
                if !known && (comparison.alike)(common, sets[other].len(), set.len()) {
                    likenesses.push(comparison.likeness);
                }
            }
        }
    }
    let overlap = |place: usize, other: usize, likeness| Overlap {
        train: train[other].id.clone(),
        heldout: heldout[place].id.clone(),
        likeness,
    };
    let pairs = found.into_iter();
    pairs
        .flat_map(|((place, other), all)| {
            all.into_iter().map(move |likeness| overlap(place, other, likeness))
        })
        .collect()
}

fn one(feature: String) -> BTreeSet<String> {
    BTreeSet::from([feature])
}

/// As [`one`]; none of an empty text, which tasks that lack something would have in common.
fn one_of(feature: String) -> BTreeSet<String> {
    if feature.is_empty() { BTreeSet::new() } else { one(feature) }
}

pub(super) fn words(text: &str) -> Vec<String> {
    let is_gap = |character: char| !character.is_alphanumeric();
    text.split(is_gap).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

pub(super) fn grams(text: &str, length: usize) -> BTreeSet<String> {
    words(text).windows(length).map(|gram| gram.join(" ")).collect()
}

/// The reference without the signature that it begins with.
fn body(task: &Task) -> &str {
    task.reference.strip_prefix(task.signature.as_str()).unwrap_or(&task.reference)
}

/// All tests without spaces and with the name of the function left out.
pub(super) fn tests(task: &Task) -> BTreeSet<String> {
    let call = format!("{}(", task.entry_point);
    let plain = |test: &Test| shown(test).split_whitespace().collect::<String>().replace(&call, "(");
    task.all_tests().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn task(id: &str, prompt: &str, signature: &str, body: &str, arguments: &[&str]) -> Task {
        let entry_point = signature["def ".len()..].split('(').next().unwrap();
        let test = |arguments: &&str| format!("assert {entry_point}({arguments}").into();
        let (public, hidden) = arguments.split_at(1);
        Task {
            id: id.to_owned(),
            prompt: prompt.to_owned(),
            signature: signature.to_owned(),
            entry_point: entry_point.to_owned(),
            reference: format!("{signature}\n    {body}\n"),
            public_tests: public.iter().map(test).collect(),
            hidden_tests: hidden.iter().map(test).collect(),
            ..Task::default()
        }
    }

    fn double() -> Task {
        let prompt = "Return the number n multiplied by two, and for text the text written twice in a row.";
        task("double", prompt, "def double(n):", "return 2 * n", &["1) == 2", "3) == 6", "0) == 0"])
    }

    fn unlike() -> Task {
        task("size", "Count the items.", "def size(items):", "return len(items)", &["[]) == 0", "[1]) == 1"])
    }

    fn likenesses(one: &Task, other: &Task) -> Vec<Likeness> {
        overlaps(&COMPARISONS, &[one], &[other]).into_iter().map(|overlap| overlap.likeness).collect()
    }

    #[test]
    fn different_tasks_are_disjoint() {
        assert_eq!(overlaps(&COMPARISONS, &[&double()], &[&unlike()]), []);
    }

    #[test]
    fn a_renamed_copy_is_found_by_everything_but_its_name() {
        let Task { prompt, .. } = double();
        let copy = task(
            "twice",
            &prompt,
            "def twice(x):",
            "return  2 * x  # x",
            &["3)  == 6", "0) == 0", "1) == 2"],
        );
        assert_eq!(likenesses(&double(), &copy), [Likeness::Prompt, Likeness::Tests, Likeness::Reference]);
    }

    #[test]
    fn each_likeness_is_found_alone() {
        assert_eq!(likenesses(&double(), &Task { id: "double".to_owned(), ..unlike() }), [Likeness::Id]);
        let same_name = Task { entry_point: "double".to_owned(), ..unlike() };
        assert_eq!(likenesses(&double(), &same_name), [Likeness::EntryPoint]);
        let shouted = Task { prompt: double().prompt.to_uppercase().replace(' ', "  "), ..unlike() };
        assert_eq!(likenesses(&double(), &shouted), [Likeness::Prompt]);
        let longer =
            Task { prompt: format!("{} Also, n can be negative here.", double().prompt), ..unlike() };
        assert_eq!(likenesses(&double(), &longer), [Likeness::Wording]);
        let fewer = Task { public_tests: vec!["assert size(3)==6".into()], hidden_tests: vec![], ..unlike() };
        assert_eq!(likenesses(&double(), &fewer), [Likeness::Tests]);
        let same_body = Task { reference: "def size(items):\n  return 2*items".to_owned(), ..unlike() };
        assert_eq!(likenesses(&double(), &same_body), [Likeness::Reference]);
    }

    #[test]
    fn a_shared_phrase_is_not_a_shared_prompt() {
        let phrase = "of the whole number n, which is zero or positive";
        let [one, other] =
            ["Return the sum of the digits", "Tell how many letters there are in the English name"];
        let one =
            Task { prompt: format!("{one} {phrase}, where each of them counts for itself."), ..double() };
        let other =
            Task { prompt: format!("{other} {phrase}, hyphens left out and spaces as well."), ..unlike() };
        assert_eq!(likenesses(&one, &other), []);
    }

    #[test]
    fn every_pair_is_named_in_the_order_of_the_files() {
        let (one, other) = (double(), unlike());
        let found = overlaps(&COMPARISONS, &[&other, &one], &[&one, &other]);
        let pairs: Vec<_> = found.iter().map(|overlap| (&*overlap.train, &*overlap.heldout)).collect();
        assert!(
            pairs.starts_with(&[("double", "double")]) && pairs.ends_with(&[("size", "size")]),
            "{pairs:?}"
        );
        assert_eq!(found[0].to_string(), "`double` and `double` have the same id");
    }

    #[test]
    fn the_shipped_files_are_disjoint() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes/tasks/python-basics");
        let load = |name| TaskSet::load(&folder.join(name)).unwrap();
        assert_eq!(disjoint(&load("train.jsonl"), &load("heldout.jsonl")), []);
    }
}
