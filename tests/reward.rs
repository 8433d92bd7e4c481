//! `rltrain reward …`: a new reward works as it is written.

use std::process::Command;

use crate::rltrain::expect;

#[test]
fn a_new_reward_passes_its_own_test_and_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let (out, _) = expect(folder.path(), &["reward", "new", "short_lines"], 0);
    assert!(out.contains("wrote short_lines/short_lines.py\n"), "{out}");
    assert!(
        out.contains("[rewards.process.short_lines]\ncommand = [\"python3\", \"short_lines.py\"]\n"),
        "{out}"
    );
    let tests = Command::new("python3")
        .args(["-m", "unittest"])
        .current_dir(folder.path().join("short_lines"))
        .output()
        .unwrap();
    assert!(tests.status.success(), "{}", String::from_utf8_lossy(&tests.stderr));
    let (_, error) = expect(folder.path(), &["reward", "new", "short_lines"], 2);
    assert!(error.contains("`short_lines` is there already; choose another name, or remove it"), "{error}");
}

#[test]
fn a_name_that_is_no_module_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_, error) = expect(folder.path(), &["reward", "new", "../short"], 2);
    assert!(error.contains("`../short` cannot name a reward"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
