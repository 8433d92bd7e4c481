//! `rltrain ckpt push`, `pull` and `ls` against a real S3 server, with a network between them that fails; runs that copy their
//! checkpoints into a store and begin from there.

mod network;
mod server;

use std::path::Path;
use std::process::{Command, Stdio};

use rltrain_checkpoints::{Checkpoint, Draft, Store, WriteError};
use tempfile::TempDir;

use self::network::{Fault, Network};
use self::server::{S3, server};
use crate::rltrain::{expect, rltrain};
use crate::tiny::{self, edit};

/// Bytes of the largest file: three parts and a bit.
const LARGE: usize = (48 << 20) + 4321;

/// A run folder, as far as copying a checkpoint of step 7 is concerned.
fn run() -> (TempDir, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..LARGE).map(|place| (place / 7 % 251) as u8).collect();
    let fill = |draft: &mut Draft| -> Result<(), WriteError> {
        draft.bytes("model/large.bin", &large)?;
        draft.json("trainer.json", &7)
    };
    let store = Store::open(&folder.path().join("run/checkpoints")).unwrap();
    let checkpoint = store.write(7, fill).unwrap();
    std::fs::write(folder.path().join("run/recipe.toml"), "seed = 1\n").unwrap();
    (folder, checkpoint)
}

/// Runs `rltrain ckpt …` where the server is behind `port`, and demands exit code `code`. Returns what it wrote.
#[track_caller]
fn ckpt(folder: &Path, s3: &S3, port: u16, arguments: &[&str], code: i32) -> (String, String) {
    let output = command(folder, s3, port, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, error) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "ckpt {arguments:?}\n{out}\n{error}");
    (out, error)
}

fn command(folder: &Path, s3: &S3, port: u16, arguments: &[&str]) -> Command {
    let mut command = rltrain(folder);
    command.arg("ckpt").args(arguments);
    s3.environment(&mut command, port);
    command
}

const URL: &str = "s3://bucket/some/run";

/// Demands that what is in the store is what was pushed.
#[track_caller]
fn assert_comes_back(folder: &Path, s3: &S3, wanted: &Checkpoint) {
    let (out, _) = ckpt(folder, s3, s3.port, &["ls", URL], 0);
    assert!(out.contains("step        7") && out.contains(&wanted.blake3()[..16]), "{out}");
    let (out, _) = ckpt(folder, s3, s3.port, &["pull", URL, "pulled"], 0);
    assert!(out.contains(&wanted.blake3()) && out.contains("`rltrain resume pulled` goes on"), "{out}");
    let pulled = Checkpoint::open(&folder.join("pulled/checkpoints/step-00000007")).unwrap();
    assert_eq!(pulled.blake3(), wanted.blake3());
    let recipe = std::fs::read_to_string(folder.join("pulled/recipe.toml")).unwrap();
    assert_eq!(recipe, "seed = 1\n");
}

#[test]
fn a_checkpoint_goes_to_s3_and_comes_back() {
    let Some(s3) = server() else { return };
    let (folder, checkpoint) = run();
    let folder = folder.path();
    let (out, _) = ckpt(folder, &s3, s3.port, &["ls", URL], 0);
    assert_eq!(out, "");
    let (_, error) = ckpt(folder, &s3, s3.port, &["pull", URL, "pulled"], 2);
    assert!(error.contains("has no checkpoint"), "{error}");
    assert!(!folder.join("pulled").exists(), "a mistake leaves nothing behind");
    let (out, _) = ckpt(folder, &s3, s3.port, &["push", "run@7", URL], 0);
    assert!(out.contains("sent step 7 to s3://bucket/some/run: 2 files"), "{out}");
    let (out, _) = ckpt(folder, &s3, s3.port, &["push", "run", URL], 0);
    assert!(out.contains("is in s3://bucket/some/run already"), "{out}");
    assert_comes_back(folder, &s3, &checkpoint);
    let (_, error) = ckpt(folder, &s3, s3.port, &["pull", URL, "pulled", "--step", "9"], 2);
    assert!(error.contains("no checkpoint of step 9"), "{error}");
}

#[test]
fn wrong_credentials_are_refused_by_name() {
    let Some(s3) = server() else { return };
    let (folder, _) = run();
    for arguments in [&["push", "run", URL][..], &["pull", URL, "pulled"], &["ls", URL]] {
        let mut command = command(folder.path(), &s3, s3.port, arguments);
        let output = command.env("AWS_SECRET_ACCESS_KEY", "another").output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        let flat: String = error.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(flat.contains("refuses these credentials") && flat.contains("AWS_ACCESS_KEY_ID"), "{error}");
    }
}

#[test]
fn a_push_that_is_killed_leaves_no_checkpoint_and_the_next_one_does() {
    let Some(s3) = server() else { return };
    let (folder, checkpoint) = run();
    let folder = folder.path();
    // The connections that carry files stop after so many bytes, and nothing more happens until the process is killed.
    for bytes in [0, 100_000, 20 << 20] {
        let network = Network::to(s3.port, Fault::Stall { after: bytes });
        let mut command = command(folder, &s3, network.port, &["push", "run", URL]);
        let mut push = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        network.wait();
        push.kill().unwrap();
        push.wait().unwrap();
        let (out, _) = ckpt(folder, &s3, s3.port, &["ls", URL], 0);
        assert_eq!(out, "", "after {bytes} bytes");
        ckpt(folder, &s3, s3.port, &["pull", URL, "absent"], 2);
    }
    ckpt(folder, &s3, s3.port, &["push", "run", URL], 0);
    assert_comes_back(folder, &s3, &checkpoint);
}

#[test]
fn uploads_and_downloads_that_are_cut_off_are_tried_again() {
    let Some(s3) = server() else { return };
    let (folder, checkpoint) = run();
    let folder = folder.path();
    let network = Network::to(s3.port, Fault::CutUpload { after: 1 << 20, times: 3 });
    ckpt(folder, &s3, network.port, &["push", "run", URL], 0);
    assert_eq!(network.happened(), 3);
    let network = Network::to(s3.port, Fault::CutDownload { after: 1 << 20, times: 2 });
    ckpt(folder, &s3, network.port, &["pull", URL, "other"], 0);
    assert_eq!(network.happened(), 2);
    assert_comes_back(folder, &s3, &checkpoint);
}

#[test]
fn a_server_that_is_unavailable_for_a_while_is_waited_for() {
    let Some(s3) = server() else { return };
    let (folder, checkpoint) = run();
    let folder = folder.path();
    let network = Network::to(s3.port, Fault::Unavailable { times: 4 });
    ckpt(folder, &s3, network.port, &["push", "run", URL], 0);
    assert_eq!(network.happened(), 4);
    let network = Network::to(s3.port, Fault::Unavailable { times: 4 });
    let (out, _) = ckpt(folder, &s3, network.port, &["ls", URL], 0);
    assert!(out.contains("step        7"), "{out}");
    assert_comes_back(folder, &s3, &checkpoint);
}

#[test]
fn what_changed_in_the_store_is_never_taken_for_a_checkpoint() {
    let Some(s3) = server() else { return };
    let (folder, _) = run();
    let folder = folder.path();
    ckpt(folder, &s3, s3.port, &["push", "run", URL], 0);
    let object = s3.buckets().join("bucket/some/run/checkpoints/step-00000007/model/large.bin");
    let whole = std::fs::read(&object).unwrap();
    let mut flipped = whole.clone();
    flipped[LARGE / 2] ^= 1;
    for changed in [flipped, whole[..LARGE / 2].to_vec()] {
        std::fs::write(&object, changed).unwrap();
        let (_, error) = ckpt(folder, &s3, s3.port, &["pull", URL, "pulled"], 1);
        assert!(error.contains("large.bin"), "{error}");
        let store = Store::open_read_only(&folder.join("pulled/checkpoints"));
        assert!(store.steps().unwrap().is_empty() && !folder.join("pulled/recipe.toml").exists());
    }
}

/// The tiny recipe for `steps` steps, with a checkpoint after each, copied to `remote`.
fn recipe(folder: &Path, steps: u64, remote: &str) {
    tiny::make(folder);
    edit(folder, "steps = 4\n", &format!("steps = {steps}\n"));
    edit(folder, "every = 2\nsamples = 4\nk = [1, 4]\n", "every = 10\nsamples = 1\nk = [1]\n");
    edit(folder, "max_tokens = 48\n", "max_tokens = 24\n");
    edit(folder, "[checkpoint]\nevery = 1\n", &format!("[checkpoint]\nevery = 1\n{remote}"));
}

#[test]
fn a_run_whose_folder_is_gone_goes_on_from_the_store_as_if_nothing_had_happened() {
    let (folder, straight) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    recipe(straight.path(), 3, "");
    expect(straight.path(), &["recipe.toml"], 0);
    let url = format!("file://{}/store/run", folder.path().display());
    recipe(folder.path(), 2, &format!("remote = \"{url}\"\n"));
    expect(folder.path(), &["recipe.toml"], 0);
    std::fs::remove_dir_all(folder.path().join("run")).unwrap();
    edit(folder.path(), "steps = 2\n", "steps = 3\n");
    let (_, error) = expect(folder.path(), &["recipe.toml"], 0);
    assert!(error.contains("fetched the checkpoint of step 2") && error.contains("after step 2"), "{error}");
    for file in ["checkpoints/step-00000003/model/model.safetensors", "metrics.jsonl"] {
        let read = |folder: &Path| std::fs::read(folder.join("run").join(file)).unwrap();
        assert!(read(folder.path()) == read(straight.path()), "{file}");
    }
    let (out, _) = expect(folder.path(), &["ckpt", "ls", &url], 0);
    let steps: Vec<&str> = out.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(steps, ["2", "3"], "`keep_last` holds there too: {out}");

    // Another recipe does not take the run for its own.
    std::fs::remove_dir_all(folder.path().join("run")).unwrap();
    edit(folder.path(), "seed = 3\n", "seed = 4\n");
    let (_, error) = expect(folder.path(), &["recipe.toml"], 2);
    assert!(error.contains("--allow-drift seed"), "{error}");
}

#[test]
fn a_store_that_refuses_costs_a_run_nothing_but_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("store");
    recipe(folder.path(), 2, &format!("remote = \"file://{}/run\"\n", place.display()));
    // A file where a folder is wanted refuses everything.
    std::fs::write(&place, "").unwrap();
    let (_, error) = expect(folder.path(), &["recipe.toml"], 1);
    assert!(error.contains("checkpoint.remote"), "{error}");
    assert!(!folder.path().join("run").exists(), "whether there is a run cannot be known: {error}");

    std::fs::remove_file(&place).unwrap();
    edit(folder.path(), "steps = 2\n", "steps = 1\n");
    expect(folder.path(), &["recipe.toml"], 0);
    std::fs::rename(&place, folder.path().join("elsewhere")).unwrap();
    std::fs::write(&place, "").unwrap();
    edit(folder.path(), "steps = 1\n", "steps = 3\n");
    let (_, error) = expect(folder.path(), &["recipe.toml"], 0);
    assert!(error.contains("the checkpoint of step 3 is not in the remote store"), "{error}");
    assert!(error.contains("rltrain ckpt push"), "{error}");

    std::fs::remove_file(&place).unwrap();
    let url = format!("file://{}/run", place.display());
    expect(folder.path(), &["ckpt", "push", "run", &url], 0);
    let (out, _) = expect(folder.path(), &["ckpt", "ls", &url], 0);
    assert!(out.contains("step        3"), "{out}");
}

#[test]
fn an_address_that_is_none_is_refused_at_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let (_, error) = expect(folder.path(), &["ckpt", "ls", "nowhere://bucket/run"], 2);
    assert!(error.contains("not the address of a store"), "{error}");
    for (remote, why) in [
        ("nowhere://bucket/run", "not the address of a store"),
        ("runs/remote", "an address with `://`"),
        ("https://me:secret@host/run", "credentials belong into the environment"),
    ] {
        recipe(folder.path(), 2, &format!("remote = \"{remote}\"\n"));
        let (_, error) = expect(folder.path(), &["check", "recipe.toml"], 2);
        let text = std::fs::read_to_string(folder.path().join("recipe.toml")).unwrap();
        let line = text.lines().position(|line| line.starts_with("remote")).unwrap() + 1;
        assert!(error.contains(&format!("recipe.toml:{line}:")), "{error}");
        let flat: String = error.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(flat.contains(why), "{error}");
    }
}
