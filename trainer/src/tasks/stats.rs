//! What is in a task file, in numbers.

use std::collections::BTreeMap;
use std::fmt;

use rltrain_executor::Test;
use serde::Serialize;

use super::content::duplicates;
use super::{Task, TaskSet};

/// The numbers of one file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskStatistics {
    /// Tasks.
    pub tasks: usize,
    /// Tasks by language.
    pub languages: BTreeMap<&'static str, usize>,
    /// Tasks with a reference.
    pub references: usize,
    /// Tasks with a signature that programs go on from.
    pub signatures: usize,
    /// Tasks that were made from others.
    pub variants: usize,
    /// Public tests by kind.
    pub public_tests: BTreeMap<&'static str, usize>,
    /// Hidden tests by kind.
    pub hidden_tests: BTreeMap<&'static str, usize>,
    /// Hidden tests of a task.
    pub hidden_tests_per_task: Spread,
    /// Characters of a prompt.
    pub prompt_characters: Spread,
    /// Characters of a signature, where there is one.
    pub signature_characters: Spread,
    /// Characters of a reference without its signature, where there is one.
    pub reference_characters: Spread,
    /// Tasks with the words and tests of an earlier one.
    pub exact_duplicates: usize,
    /// Tasks with nearly the words of an earlier one, exact ones not counted.
    pub near_duplicates: usize,
}

/// How numbers are spread; all 0 if there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub least: usize,
    /// The lower of the two in the middle.
    pub median: usize,
    /// The mean.
    pub mean: f64,
    /// The largest.
    pub most: usize,
}

impl Spread {
    fn of(numbers: impl IntoIterator<Item = usize>) -> Spread {
        let mut numbers: Vec<usize> = numbers.into_iter().collect();
        numbers.sort_unstable();
        let (Some(least), Some(most)) = (numbers.first(), numbers.last()) else { return Spread::default() };
        let mean = numbers.iter().sum::<usize>() as f64 / numbers.len() as f64;
        Spread { least: *least, median: numbers[(numbers.len() - 1) / 2], mean, most: *most }
    }
}

/// The kind of a test as task files write it; `statements` for a text.
pub fn test_kind(test: &Test) -> &'static str {
    match test {
        Test::Statements(_) => "statements",
        Test::Call(_) => "call",
        Test::Stdin(_) => "stdin",
        Test::Suite(_) => "suite",
        Test::Property(_) => "property",
        Test::Differential(_) => "differential",
    }
}

/// Jaccard index of word 3-grams from which a prompt counts as nearly another's.
const NEAR: f64 = 0.8;

/// Counts what is in a file.
pub fn statistics(set: &TaskSet) -> TaskStatistics {
    let tasks: Vec<&Task> = set.iter().collect();
    let characters = |text: &str| text.chars().count();
    let count = |holds: fn(&Task) -> bool| tasks.iter().filter(|task| holds(task)).count();
    let kinds = |tests: fn(&Task) -> &[Test]| {
        let mut kinds = BTreeMap::new();
        for test in tasks.iter().flat_map(|task| tests(task)) {
            *kinds.entry(test_kind(test)).or_default() += 1;
        }
        kinds
    };
    let mut languages = BTreeMap::new();
    for task in &tasks {
        *languages.entry(task.language.name()).or_default() += 1;
    }
    let duplicates = duplicates(&tasks, Some(NEAR));
    let exact = duplicates.iter().filter(|one| is_exact(&tasks, one.place, one.of)).count();
    let body = |task: &&Task| {
        task.reference().map(|whole| characters(whole.strip_prefix(task.signature.as_str()).unwrap_or(whole)))
    };
    let signature = |task: &&Task| Some(characters(&task.signature)).filter(|length| *length > 0);
    TaskStatistics {
        tasks: tasks.len(),
        languages,
        references: count(|task| task.reference().is_some()),
        signatures: count(|task| !task.signature.is_empty()),
        variants: count(|task| task.origin.is_some()),
        public_tests: kinds(|task| &task.public_tests),
        hidden_tests: kinds(|task| &task.hidden_tests),
        hidden_tests_per_task: Spread::of(tasks.iter().map(|task| task.hidden_tests.len())),
        prompt_characters: Spread::of(tasks.iter().map(|task| characters(&task.prompt))),
        signature_characters: Spread::of(tasks.iter().filter_map(signature)),
        reference_characters: Spread::of(tasks.iter().filter_map(body)),
        exact_duplicates: exact,
        near_duplicates: duplicates.len() - exact,
    }
}

fn is_exact(tasks: &[&Task], place: usize, of: usize) -> bool {
    super::content::plain_content(tasks[place]) == super::content::plain_content(tasks[of])
}

impl fmt::Display for TaskStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = |counts: &BTreeMap<&str, usize>| {
            let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
            if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
        };
        let mut row = |name: &str, value: String| writeln!(f, "  {name:<22}{value}");
        row("tasks", self.tasks.to_string())?;
        row("languages", counts(&self.languages))?;
        row("references", self.references.to_string())?;
        row("signatures", self.signatures.to_string())?;
        if self.variants > 0 {
            row("variants", self.variants.to_string())?;
        }
        row("public tests", counts(&self.public_tests))?;
        row("hidden tests", counts(&self.hidden_tests))?;
        row("hidden tests per task", self.hidden_tests_per_task.to_string())?;
        row("prompt characters", self.prompt_characters.to_string())?;
        row("signature characters", self.signature_characters.to_string())?;
        row("reference characters", self.reference_characters.to_string())?;
        write!(f, "  {:<22}{} exact, {} near", "duplicates", self.exact_duplicates, self.near_duplicates)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { least, median, mean, most } = self;
        write!(f, "{least} to {most}, median {median}, mean {mean:.1}")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_shipped_file_has_these_numbers() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes/tasks/python-basics/heldout.jsonl");
        let found = statistics(&TaskSet::load(&path).unwrap());
        insta::assert_snapshot!(found, @r"
          tasks                 69
          languages             69 python
          references            69
          signatures            69
          public tests          138 statements
          hidden tests          358 statements
          hidden tests per task 5 to 8, median 5, mean 5.2
          prompt characters     25 to 166, median 76, mean 81.0
          signature characters  16 to 44, median 26, mean 26.8
          reference characters  18 to 185, median 38, mean 46.0
          duplicates            0 exact, 0 near
        ");
    }

    #[test]
    fn the_median_is_a_number_that_is_there() {
        let spread = Spread::of([5, 1, 2, 9]);
        assert_eq!(spread, Spread { least: 1, median: 2, mean: 4.25, most: 9 });
        assert_eq!(Spread::of([]), Spread::default());
    }
}
