//! What `rltrain reward new` writes: a plug-in that works, with its test.

/// The files of a new plug-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skeleton {
    /// Names of the files, and what is in them.
    pub files: Vec<(String, String)>,
    /// The table to add to a recipe, from whose folder `folder` leads to the files.
    pub table: String,
}

impl Skeleton {
    /// A program in Python that speaks JSON lines. `name` must be a name of Python's; `None` if it is not.
    pub fn process(name: &str, folder: &str) -> Option<Skeleton> {
        let begins = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        let goes_on = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !begins || !goes_on {
            return None;
        }
        let named = |text: &str| text.replace("NAME", name);
        let files = vec![
            (format!("{name}.py"), named(include_str!("../../templates/process.py"))),
            (format!("test_{name}.py"), named(include_str!("../../templates/test_process.py"))),
        ];
        let table = format!(
            "[rewards.process.{name}]\ncommand = [\"python3\", \"{name}.py\"]\ndirectory = {folder:?}\nweight = 0.1\n"
        );
        Some(Skeleton { files, table })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rltrain_executor::Outcome;

    use super::*;
    use crate::tests::{task, verdict};
    use crate::{Attempt, RewardSet, RewardsConfig};

    #[test]
    fn a_new_process_passes_its_test_and_scores_in_a_recipe() {
        let folder = tempfile::tempdir().unwrap();
        let skeleton = Skeleton::process("brief", folder.path().to_str().unwrap()).unwrap();
        for (name, text) in &skeleton.files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let tests =
            Command::new("python3").args(["-m", "unittest"]).current_dir(folder.path()).output().unwrap();
        assert!(tests.status.success(), "{}", String::from_utf8_lossy(&tests.stderr));

        let table = skeleton.table.replace("[rewards.", "[");
        let config: RewardsConfig = toml::from_str(&table).unwrap();
        let rewards = RewardSet::build(&config).unwrap();
        assert_eq!(rewards.names().collect::<Vec<_>>(), ["brief"]);
        let (task, verdict) = (task(), verdict(vec![Outcome::Passed]));
        let score = |program| rewards.score(&Attempt::new(&task, "", program, &verdict)).unwrap();
        assert_eq!(score("x = 1\n").total, 0.1);
        assert_eq!(score("").parts[0].raw, None);
    }

    #[test]
    fn a_name_is_one_of_pythons() {
        for name in ["", "1st", "a-b", "a b", "../x", "é"] {
            assert_eq!(Skeleton::process(name, "."), None, "{name}");
        }
    }
}
