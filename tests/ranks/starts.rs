//! What the environment says, and what of it is wrong.

use std::process::Command;

use crate::rltrain::rltrain;
use crate::tiny::{self, edit};

#[test]
fn an_environment_that_contradicts_itself_is_bad_input() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let said = |variables: &[(&str, &str)]| {
        let output =
            rltrain(folder.path()).arg("recipe.toml").envs(variables.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let said_missing = said(&[("RANK", "0"), ("WORLD_SIZE", "2")]);
    assert!(said_missing.contains("MASTER_ADDR"), "{said_missing}");
    let said_number = said(&[("RANK", "zero"), ("WORLD_SIZE", "2")]);
    assert!(said_number.contains("`RANK` is `zero`"), "{said_number}");
}

/// torchrun, if there is one: `RLTRAIN_TORCHRUN`, or that of the benchmarks' Python.
fn torchrun() -> Option<std::path::PathBuf> {
    let usual =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps/bench-python-torch/bin/torchrun");
    let path = std::env::var_os("RLTRAIN_TORCHRUN").map_or(usual, Into::into);
    path.exists().then_some(path)
}

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn torchrun_starts_restarts_and_finishes_a_run() {
    let Some(torchrun) = torchrun() else {
        eprintln!("skipped: no torchrun; `make bench-update` installs one, or set RLTRAIN_TORCHRUN");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "every = 2", "every = 4");
    let output = Command::new(torchrun)
        .current_dir(folder.path())
        .args(["--nproc-per-node", "2", "--no-python", "--master-port", "0", "--rdzv-backend", "c10d"])
        .args(["--rdzv-endpoint", "localhost:0", "--max-restarts", "1"])
        .arg(env!("CARGO_BIN_EXE_rltrain"))
        .arg("recipe.toml")
        .env("OMP_NUM_THREADS", "1")
        .env("GLOO_SOCKET_IFNAME", "lo")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines = std::fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 4);
}
