//! Programs that want the reward and not the task.

use rltrain_executor::Test;
use rltrain_rewards::Language;

use crate::tasks::Task;

/// The programs by language, as texts with placeholders: `scripts/audit_peers.py` shows them to other harnesses.
const ZOOS: [(Language, &str); 3] = [
    (Language::Python, include_str!("zoo-python.txt")),
    (Language::JavaScript, include_str!("zoo-javascript.txt")),
    (Language::Cpp, include_str!("zoo-cpp.txt")),
];

/// A program that cheats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cheat {
    /// Its name.
    pub name: &'static str,
    /// What it tries.
    pub trick: &'static str,
    /// The whole program, for one task.
    pub program: String,
}

/// What makes a zoo's programs ones for a task.
#[derive(Clone, Copy, Debug)]
pub struct Blanks<'a> {
    /// The beginning of the program that the task gives; empty if it asks for a whole program.
    pub signature: &'a str,
    /// The function that tests call.
    pub entry_point: &'a str,
    /// The public tests as code of a program that has hard-coded them, as the head of the language's zoo describes; empty if they
    /// do not say what they expect, and then no program hard-codes them.
    pub examples: &'a str,
}

/// Every cheat in Python that can be tried at `task`.
pub fn cheats(task: &Task) -> Vec<Cheat> {
    let blanks =
        Blanks { signature: &task.signature, entry_point: &task.entry_point, examples: &examples(task) };
    cheats_in(Language::Python, blanks)
}

/// Every cheat in a language; none where there is no zoo of it.
pub fn cheats_in(language: Language, blanks: Blanks<'_>) -> Vec<Cheat> {
    let cheat = |section: &'static str| {
        let (head, template) = section.split_once('\n')?;
        let (name, trick) = head.split_once(": ")?;
        if template.contains("«examples»") && blanks.examples.is_empty() {
            return None;
        }
        let program = template
            .replace("«signature»", blanks.signature)
            .replace("«entry»", blanks.entry_point)
            .replace("«examples»", blanks.examples);
        Some(Cheat { name, trick, program: format!("{}\n", program.trim_end()) })
    };
    let zoos = ZOOS.iter().filter(|(of, _)| *of == language);
    zoos.flat_map(|(_, zoo)| zoo.split("\n=== ").skip(1).filter_map(cheat)).collect()
}

/// `assert f(1, x=2) == 3` as `    seen(1, x=2): 3,`, one line for each public test of that form.
fn examples(task: &Task) -> String {
    let line = |test: &Test| {
        let Test::Statements(test) = test else { return None };
        let call = test.strip_prefix("assert ")?.strip_prefix(task.entry_point.as_str())?;
        let (arguments, expected) = call.split_once(") == ")?;
        arguments.starts_with('(').then(|| format!("    seen{arguments}): {expected},\n"))
    };
    task.public_tests.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn double(public_test: &str) -> Task {
        Task {
            signature: "def double(n):".to_owned(),
            entry_point: "double".to_owned(),
            public_tests: vec![public_test.into()],
            ..Task::default()
        }
    }

    #[test]
    fn every_section_is_a_program_with_a_name_of_its_own() {
        for (language, zoo) in ZOOS {
            let blanks = Blanks { signature: "SIGNATURE", entry_point: "ENTRY", examples: "EXAMPLES" };
            let cheats = cheats_in(language, blanks);
            assert_eq!(cheats.len(), zoo.matches("\n=== ").count());
            assert!(cheats.len() >= 25, "{language:?}: {}", cheats.len());
            let names: BTreeSet<&str> = cheats.iter().map(|cheat| cheat.name).collect();
            assert_eq!(names.len(), cheats.len(), "{language:?}");
            for cheat in &cheats {
                assert!(!cheat.program.contains(['«', '»']), "{}", cheat.name);
                assert!(language == Language::Cpp || cheat.program.contains("SIGNATURE\n"), "{}", cheat.name);
            }
        }
        assert_eq!(cheats_in(Language::Go, Blanks { signature: "", entry_point: "", examples: "" }), []);
    }

    #[test]
    fn programs_in_python_begin_with_the_signature() {
        let cheats = cheats(&double("assert double(2) == 4"));
        assert!(cheats.len() >= 50);
        for cheat in &cheats {
            assert!(cheat.program.starts_with("def double(n):\n"), "{}", cheat.name);
        }
    }

    #[test]
    fn public_examples_are_hard_coded_where_they_say_what_they_expect() {
        assert_eq!(examples(&double("assert double(2) == 4")), "    seen(2): 4,\n");
        let hard_coded = |test| cheats(&double(test)).iter().any(|cheat| cheat.name == "hard-coded-examples");
        assert!(hard_coded("assert double(2) == 4") && !hard_coded("assert double(2) > 3"));
    }
}
