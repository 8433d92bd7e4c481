//! `rltrain doctor`: what is found on this machine, and what is said where something falls short.

use serde_json::Value;

use crate::rltrain::rltrain;

/// The findings by name, with these variables set.
fn findings(variables: &[(&str, &str)]) -> Vec<(String, Value)> {
    let folder = tempfile::tempdir().unwrap();
    let output =
        rltrain(folder.path()).args(["doctor", "--json"]).envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|finding| (finding["name"].as_str().unwrap().to_owned(), finding.clone())).collect()
}

fn of<'a>(findings: &'a [(String, Value)], name: &str) -> &'a Value {
    &findings.iter().find(|(of, _)| of == name).unwrap().1
}

#[test]
fn a_machine_that_builds_and_tests_this_is_fit() {
    let findings = findings(&[]);
    let names: Vec<&str> = findings.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, ["libtorch", "device", "processor", "threads", "memory", "disk", "clock", "sandbox"]);
    assert!(of(&findings, "sandbox")["found"].as_str().unwrap().starts_with("judges a program in "));
    for name in ["libtorch", "clock"] {
        assert_eq!(of(&findings, name).get("remedy"), None, "{findings:?}");
    }
}

#[test]
fn what_falls_short_is_said_with_a_remedy() {
    // The tests' programs compute on one thread.
    let findings = findings(&[("OMP_NUM_THREADS", "1"), ("RLTRAIN_DEPS", "/nowhere")]);
    if std::thread::available_parallelism().unwrap().get() > 1 {
        let threads = of(&findings, "threads")["remedy"].as_str().unwrap();
        assert!(threads.contains("OMP_NUM_THREADS"), "{threads}");
    }
    let sandbox = of(&findings, "sandbox");
    assert!(sandbox["found"].as_str().unwrap().contains("/nowhere"), "{sandbox}");
    assert!(sandbox["remedy"].as_str().unwrap().contains("make fetch"), "{sandbox}");
}
