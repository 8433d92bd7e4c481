//! What a task is, whatever it is called: for splits, duplicates and variants.

use std::collections::{BTreeMap, HashMap};

use blake3::Hash;

use super::disjoint::{grams, tests, words};
use super::{Task, shown};
use crate::rng::{Stream, uniform};

/// Names what is asked and how it is judged, without the id.
pub fn content(task: &Task) -> Hash {
    let mut hasher = blake3::Hasher::new();
    let texts = [task.language.name(), &task.prompt, &task.signature, &task.entry_point].map(str::to_owned);
    for text in texts.into_iter().chain(task.all_tests().map(shown)) {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    hasher.finalize()
}

/// Names a task up to the case and punctuation of its words, the order of its tests, and the names of function and task.
pub(super) fn plain_content(task: &Task) -> Hash {
    let mut hasher = blake3::Hasher::new();
    let texts = [task.language.name().to_owned(), words(&task.prompt).join(" ")];
    for text in texts.into_iter().chain(tests(task)) {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    hasher.finalize()
}

/// Divides tasks in two, of which the first has about `ratio` of them. Which of the two a task belongs to follows from `seed` and its
/// content alone: tasks that are added, taken out or renamed move no other. Variants stay with what they were made from.
///
/// Returns for each task whether it belongs to the first.
pub fn split(tasks: &[&Task], ratio: f64, seed: u64) -> Vec<bool> {
    let by_id: HashMap<&str, &Task> = tasks.iter().map(|task| (task.id.as_str(), *task)).collect();
    let base = |task: &Task| match &task.origin {
        Some(origin) => by_id
            .get(origin.task.as_str())
            .map_or_else(|| blake3::hash(origin.task.as_bytes()), |base| content(base)),
        None => content(task),
    };
    let draw = |task: &&Task| {
        let hash = base(task);
        let number =
            u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has more than eight bytes"));
        uniform(seed, Stream::TaskSplit, &[number])
    };
    tasks.iter().map(|task| draw(task) < ratio).collect()
}

/// A task that says what an earlier one says.
#[derive(Clone, Debug, PartialEq)]
pub struct Duplicate {
    /// Its place.
    pub place: usize,
    /// Place of the first task that is like it, which is no duplicate itself.
    pub of: usize,
    /// How much of the wording the two have in common: a Jaccard index over word 3-grams of the prompts, from 0 to 1. 1 where the
    /// tests are the same as well.
    pub likeness: f64,
}

/// Every task that is a duplicate of an earlier one: with the same prompt, up to case and punctuation, and the same tests; or, if
/// `threshold` is given, with a prompt whose word 3-grams have at least that Jaccard index with an earlier one's.
///
/// Pairs are found by MinHash (Broder 1997) in bands, then measured: a pair at 0.8 is found but for once in ten million, one at 0.5
/// seven times in eight.
pub fn duplicates(tasks: &[&Task], threshold: Option<f64>) -> Vec<Duplicate> {
    let mut found = Vec::new();
    let mut exact: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    let mut bands: HashMap<(usize, u64), Vec<usize>> = HashMap::new();
    for (place, task) in tasks.iter().enumerate() {
        let of = *exact.entry(*plain_content(task).as_bytes()).or_insert(place);
        if of != place {
            found.push(Duplicate { place, of, likeness: 1.0 });
            continue;
        }
        let Some(threshold) = threshold else { continue };
        let features = features(task);
        let keys = band_keys(&features);
        let mut candidates: Vec<usize> =
            keys.iter().filter_map(|key| bands.get(key)).flatten().copied().collect();
        candidates.sort_unstable();
        candidates.dedup();
        let likeness = |of: usize| (of, jaccard(&features, &self::features(tasks[of])));
        match candidates.into_iter().map(likeness).find(|(_, likeness)| *likeness >= threshold) {
            Some((of, likeness)) => found.push(Duplicate { place, of, likeness }),
            None => keys.into_iter().for_each(|key| bands.entry(key).or_default().push(place)),
        }
    }
    found
}

/// The word 3-grams of a prompt; of one that is shorter, all of it.
fn features(task: &Task) -> std::collections::BTreeSet<String> {
    let mut grams = grams(&task.prompt, 3);
    if grams.is_empty() {
        grams.insert(words(&task.prompt).join(" "));
    }
    grams
}

fn jaccard(one: &std::collections::BTreeSet<String>, other: &std::collections::BTreeSet<String>) -> f64 {
    let common = one.intersection(other).count();
    common as f64 / (one.len() + other.len() - common) as f64
}

/// Bands of a signature, and its numbers in each: two sets whose Jaccard index is s share a band with probability 1 - (1 - s^4)^32.
const BANDS: usize = 32;
const ROWS: usize = 4;

/// What is equal for sets that share a band.
fn band_keys(features: &std::collections::BTreeSet<String>) -> Vec<(usize, u64)> {
    let hashes: Vec<u64> = features
        .iter()
        .map(|feature| {
            let hash = blake3::hash(feature.as_bytes());
            u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has more than eight bytes"))
        })
        .collect();
    let least = |number: u64| hashes.iter().map(|hash| mixed(hash ^ mixed(number + 1))).min().unwrap_or(0);
    let band = |band: usize| {
        let rows = (0..ROWS).map(|row| least((band * ROWS + row) as u64));
        (band, rows.fold(0, |key, least| mixed(key ^ least)))
    };
    (0..BANDS).map(band).collect()
}

/// A permutation of 64-bit numbers that mixes their bits: the finaliser of SplitMix64 (Steele et al. 2014).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests_of_content {
    use proptest::prelude::*;

    use super::super::Origin;
    use super::*;

    fn task(id: &str, prompt: &str, test: &str) -> Task {
        Task {
            id: id.to_owned(),
            prompt: prompt.to_owned(),
            hidden_tests: vec![test.into()],
            ..Task::default()
        }
    }

    fn many(count: usize) -> Vec<Task> {
        (0..count).map(|n| task(&format!("t{n}"), &format!("Do number {n}."), "assert f()")).collect()
    }

    #[test]
    fn a_task_keeps_its_side_whatever_becomes_of_the_others() {
        let tasks = many(400);
        let all: Vec<&Task> = tasks.iter().collect();
        let sides = split(&all, 0.75, 3);
        let first = sides.iter().filter(|first| **first).count();
        assert!((260..340).contains(&first), "{first} of 400");
        let half: Vec<&Task> = all.iter().rev().step_by(2).copied().collect();
        let expected: Vec<bool> = sides.iter().rev().step_by(2).copied().collect();
        assert_eq!(split(&half, 0.75, 3), expected);
        assert_ne!(split(&all, 0.75, 4), sides);
        let renamed: Vec<Task> =
            tasks.iter().map(|task| Task { id: format!("x{}", task.id), ..task.clone() }).collect();
        assert_eq!(split(&renamed.iter().collect::<Vec<_>>(), 0.75, 3), sides);
    }

    #[test]
    fn variants_stay_with_their_task() {
        let bases = many(50);
        let origin = |task: &Task| Some(Origin { task: task.id.clone(), transforms: Vec::new() });
        let variants: Vec<Task> = bases
            .iter()
            .map(|base| Task { origin: origin(base), ..task(&format!("{}+", base.id), "Else.", "x") })
            .collect();
        let all: Vec<&Task> = bases.iter().chain(&variants).collect();
        let sides = split(&all, 0.5, 1);
        assert_eq!(sides[..50], sides[50..]);
    }

    #[test]
    fn duplicates_are_found_by_content_and_by_wording() {
        let long = "Return the sum of all even numbers in the list that are larger than the first number of the list.";
        let tasks = [
            task("a", long, "assert f([1]) == 0"),
            task("b", &long.to_uppercase(), "assert f([1])==0"),
            task("c", &long.replace("larger", "greater"), "assert f([2]) == 0"),
            task("d", "Return the largest number.", "assert f([2]) == 2"),
            task("e", long, "assert f([3]) == 3"),
        ];
        let all: Vec<&Task> = tasks.iter().collect();
        let places = |threshold| {
            duplicates(&all, threshold).into_iter().map(|one| (one.place, one.of)).collect::<Vec<_>>()
        };
        assert_eq!(places(None), [(1, 0)]);
        assert_eq!(places(Some(0.9)), [(1, 0), (4, 0)]);
        assert_eq!(places(Some(0.6)), [(1, 0), (2, 0), (4, 0)]);
    }

    proptest! {
        #[test]
        fn minhash_finds_what_comparing_all_pairs_finds(words in prop::collection::vec(prop::collection::vec(0u8..6, 4..9), 1..12)) {
            let tasks: Vec<Task> = words.iter().enumerate().map(|(n, words)| {
                let words: Vec<String> = words.iter().map(|word| format!("w{word}")).collect();
                task(&format!("t{n}"), &words.join(" "), &format!("assert {n}"))
            }).collect();
            let all: Vec<&Task> = tasks.iter().collect();
            let found = duplicates(&all, Some(0.8));
            let is_duplicate = |place: usize| found.iter().any(|one| one.place == place);
            for place in 0..all.len() {
                let alike = (0..place).filter(|of| !is_duplicate(*of)).any(|of| jaccard(&features(all[place]), &features(all[of])) >= 0.8);
                prop_assert_eq!(is_duplicate(place), alike);
            }
        }
    }
}
