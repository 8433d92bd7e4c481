//! Programs that want the reward and not the task.

use crate::tasks::Task;

/// The programs, as a text with placeholders: `scripts/audit_peers.py` shows them to other harnesses.
const ZOO: &str = include_str!("zoo.txt");

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

/// Every cheat that can be tried at `task`: one that hard-codes the public examples wants some that say what they expect.
pub fn cheats(task: &Task) -> Vec<Cheat> {
    let examples = examples(task);
    let cheat = |section: &'static str| {
        let (head, template) = section.split_once('\n')?;
        let (name, trick) = head.split_once(": ")?;
        if template.contains("«examples»") && examples.is_empty() {
            return None;
        }
        let program = template
            .replace("«signature»", &task.signature)
            .replace("«entry»", &task.entry_point)
            .replace("«examples»", &examples);
        Some(Cheat { name, trick, program: format!("{}\n", program.trim_end()) })
    };
    ZOO.split("\n=== ").skip(1).filter_map(cheat).collect()
}

/// `assert f(1, x=2) == 3` as `    seen(1, x=2): 3,`, one line for each public test of that form.
fn examples(task: &Task) -> String {
    let line = |test: &String| {
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
            public_tests: vec![public_test.to_owned()],
            ..Task::default()
        }
    }

    #[test]
    fn every_section_is_a_program_that_begins_with_the_signature_and_has_a_name_of_its_own() {
        let cheats = cheats(&double("assert double(2) == 4"));
        assert_eq!(cheats.len(), ZOO.matches("\n=== ").count());
        assert!(cheats.len() >= 50);
        let names: BTreeSet<&str> = cheats.iter().map(|cheat| cheat.name).collect();
        assert_eq!(names.len(), cheats.len());
        for cheat in &cheats {
            assert!(cheat.program.starts_with("def double(n):\n"), "{}", cheat.name);
            assert!(!cheat.program.contains(['«', '»']), "{}", cheat.name);
        }
    }

    #[test]
    fn public_examples_are_hard_coded_where_they_say_what_they_expect() {
        assert_eq!(examples(&double("assert double(2) == 4")), "    seen(2): 4,\n");
        let hard_coded = |test| cheats(&double(test)).iter().any(|cheat| cheat.name == "hard-coded-examples");
        assert!(hard_coded("assert double(2) == 4") && !hard_coded("assert double(2) > 3"));
    }
}
