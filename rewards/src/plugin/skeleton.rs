//! What `rltrain reward new` writes: a plug-in that works, with its test.

/// The files of a new plug-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skeleton {
    /// Names of the files, and what is in them.
    pub files: Vec<(String, String)>,
    /// What to type in the folder, and why, in their order.
    pub commands: Vec<(String, &'static str)>,
    /// The table to add to a recipe, from whose folder `folder` leads to the files.
    pub table: String,
}

impl Skeleton {
    /// A program in Python that speaks JSON lines. `name` must be a name of Python's; `None` if it is not.
    pub fn process(name: &str, folder: &str) -> Option<Skeleton> {
        let files =
            [include_str!("../../templates/process.py"), include_str!("../../templates/test_process.py")];
        Some(Skeleton {
            files: python(name, files)?,
            commands: vec![(TEST.to_owned(), "to test it")],
            table: format!(
                "[rewards.process.{name}]\ncommand = [\"python3\", \"{name}.py\"]\ndirectory = {folder:?}\nweight = 0.1\n"
            ),
        })
    }

    /// A server in Python that answers JSON over HTTP. `name` must be a name of Python's; `None` if it is not.
    pub fn http(name: &str) -> Option<Skeleton> {
        let files = [include_str!("../../templates/http.py"), include_str!("../../templates/test_http.py")];
        Some(Skeleton {
            files: python(name, files)?,
            commands: vec![
                (TEST.to_owned(), "to test it"),
                (format!("python3 {name}.py"), "to have it serve, before and during a run"),
            ],
            table: format!("[rewards.http.{name}]\nurl = \"http://127.0.0.1:8642/\"\nweight = 0.1\n"),
        })
    }

    /// A module in Python that becomes a WebAssembly component. `name` must be a name of Python's; `None` if it is not.
    pub fn wasm(name: &str, folder: &str) -> Option<Skeleton> {
        let files = [include_str!("../../templates/wasm.py"), include_str!("../../templates/test_wasm.py")];
        let mut files = python(name, files)?;
        files.push(("reward.wit".to_owned(), include_str!("../../wit/reward.wit").to_owned()));
        let build = format!(
            "componentize-py --wit-path reward.wit --world plug-in componentize --stub-wasi {name} -o {name}.wasm"
        );
        Some(Skeleton {
            files,
            commands: vec![
                (TEST.to_owned(), "to test it"),
                (build, "to build it (`pip install componentize-py`)"),
            ],
            table: format!("[rewards.wasm.{name}]\ncomponent = \"{folder}/{name}.wasm\"\nweight = 0.1\n"),
        })
    }
}

/// Runs the tests of a skeleton in Python.
const TEST: &str = "python3 -m unittest";

/// A module and its test; `None` if the name cannot be one of a module.
fn python(name: &str, [module, test]: [&str; 2]) -> Option<Vec<(String, String)>> {
    let begins = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let goes_on = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let named = |text: &str| text.replace("NAME", name);
    (begins && goes_on)
        .then(|| vec![(format!("{name}.py"), named(module)), (format!("test_{name}.py"), named(test))])
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::path::Path;
    use std::process::{Command, Stdio};

    use rltrain_executor::Outcome;

    use super::*;
    use crate::tests::{task, verdict};
    use crate::{Attempt, RewardSet, RewardsConfig};

    /// Writes the files into a folder and runs their tests.
    fn written(skeleton: &Skeleton, folder: &Path) {
        for (name, text) in &skeleton.files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let tests = Command::new("python3").args(["-m", "unittest"]).current_dir(folder).output().unwrap();
        assert!(tests.status.success(), "{}", String::from_utf8_lossy(&tests.stderr));
    }

    /// That the reward `brief` of the table scores as the example does.
    fn scores_in_a_recipe(table: &str) {
        let config: RewardsConfig = toml::from_str(&table.replace("[rewards.", "[")).unwrap();
        let rewards = RewardSet::build(&config).unwrap();
        assert_eq!(rewards.names().collect::<Vec<_>>(), ["brief"]);
        let (task, verdict) = (task(), verdict(vec![Outcome::Passed]));
        let score = |program| rewards.score(&Attempt::new(&task, "", program, &verdict)).unwrap();
        assert_eq!(score("x = 1\n").total, 0.1);
        assert_eq!(score("").parts[0].raw, None);
    }

    #[test]
    fn a_new_process_passes_its_test_and_scores_in_a_recipe() {
        let folder = tempfile::tempdir().unwrap();
        let skeleton = Skeleton::process("brief", folder.path().to_str().unwrap()).unwrap();
        written(&skeleton, folder.path());
        scores_in_a_recipe(&skeleton.table);
    }

    #[test]
    fn a_new_endpoint_passes_its_test_and_scores_in_a_recipe() {
        let folder = tempfile::tempdir().unwrap();
        let skeleton = Skeleton::http("brief").unwrap();
        written(&skeleton, folder.path());
        let mut server = Command::new("python3")
            .args(["brief.py", "0"])
            .current_dir(folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("brief: ").unwrap();
        scores_in_a_recipe(&skeleton.table.replace("http://127.0.0.1:8642/", url));
        server.kill().unwrap();
        server.wait().unwrap();
    }

    #[test]
    fn a_name_is_one_of_pythons() {
        for name in ["", "1st", "a-b", "a b", "../x", "é"] {
            assert_eq!(Skeleton::process(name, "."), None, "{name}");
            assert_eq!(Skeleton::http(name), None, "{name}");
            assert_eq!(Skeleton::wasm(name, "."), None, "{name}");
        }
    }
}
