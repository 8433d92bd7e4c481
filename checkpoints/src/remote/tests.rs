use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::transfer::PART;
use super::*;
use crate::{Draft, ReadError};

/// A run folder's store, and a folder that plays the remote one.
struct Scene {
    dir: tempfile::TempDir,
    store: Store,
}

impl Scene {
    fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("run/checkpoints")).unwrap();
        Scene { dir, store }
    }

    /// A checkpoint of `step` whose large file takes several parts.
    fn write(&self, step: u64, content: u8) -> Checkpoint {
        let large: Vec<u8> = (0..2 * PART + 5).map(|place| (place % 251) as u8 ^ content).collect();
        let fill = |draft: &mut Draft| {
            draft.bytes("model/large.bin", &large)?;
            draft.bytes("empty", b"")?;
            draft.json("trainer.json", &content)
        };
        self.store.write(step, fill).unwrap()
    }

    fn remote(&self) -> Remote {
        Remote::open(&self.url()).unwrap()
    }

    fn url(&self) -> String {
        format!("file://{}/remote/run", self.dir.path().display())
    }

    /// The file that an object is in.
    fn file(&self, step: u64, name: &str) -> PathBuf {
        self.dir.path().join(format!("remote/run/checkpoints/step-{step:08}/{name}"))
    }

    fn other(&self) -> Store {
        Store::open(&self.dir.path().join("other/checkpoints")).unwrap()
    }
}

fn push(remote: &Remote, checkpoint: &Checkpoint) -> Result<bool, RemoteError> {
    remote.push(checkpoint.path(), checkpoint.manifest(), &[])
}

#[test]
fn a_checkpoint_goes_there_and_comes_back_byte_for_byte() {
    let scene = Scene::new();
    let (remote, other) = (scene.remote(), scene.other());
    assert_eq!(remote.steps().unwrap(), [0_u64; 0]);
    assert!(matches!(remote.find(None), Err(RemoteError::Empty { .. })));
    let (older, newer) = (scene.write(6, 1), scene.write(7, 2));
    assert!(push(&remote, &older).unwrap() && push(&remote, &newer).unwrap());
    assert!(!push(&remote, &newer).unwrap(), "what is there is not sent again");
    assert_eq!(remote.steps().unwrap(), [6, 7]);
    let error = remote.find(Some(8)).unwrap_err().to_string();
    assert!(error.contains("no checkpoint of step 8; it has those of: 6, 7"), "{error}");
    for (step, wanted) in [(None, &newer), (Some(6), &older)] {
        let pulled = remote.pull(&remote.find(step).unwrap(), &other).unwrap();
        assert_eq!((pulled.step(), pulled.blake3()), (wanted.step(), wanted.blake3()));
        assert_eq!(other.checkpoint(wanted.step()).unwrap().blake3(), wanted.blake3());
    }
    // Another checkpoint of the same step replaces it, there and here.
    let again = scene.write(7, 3);
    assert!(push(&remote, &again).unwrap());
    assert_eq!(remote.pull(&remote.find(None).unwrap(), &other).unwrap().blake3(), again.blake3());
}

#[test]
fn what_goes_beside_a_checkpoint_is_there_before_it_is() {
    let scene = Scene::new();
    let (remote, checkpoint) = (scene.remote(), scene.write(7, 1));
    let told = scene.dir.path().join("told");
    std::fs::write(&told, "a line\n").unwrap();
    let absent = scene.dir.path().join("absent");
    let beside = [(told.as_path(), "metrics.jsonl"), (absent.as_path(), "evaluations.json")];
    remote.push(checkpoint.path(), checkpoint.manifest(), &beside).unwrap();
    assert_eq!(remote.get("metrics.jsonl").unwrap().unwrap(), b"a line\n");
    assert!(remote.get("evaluations.json").unwrap().is_none());
}

#[test]
fn a_file_that_is_not_what_its_manifest_says_makes_no_checkpoint() {
    let scene = Scene::new();
    let (remote, checkpoint) = (scene.remote(), scene.write(7, 1));
    for name in ["trainer.json", "model/large.bin"] {
        let path = checkpoint.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[0] ^= 1;
        std::fs::write(&path, changed).unwrap();
        let error = push(&remote, &checkpoint).unwrap_err();
        assert!(
            matches!(&error, RemoteError::Changed { name: found, .. } if found.ends_with(name)),
            "{error}"
        );
        assert!(remote.manifest(7).unwrap().is_none() && remote.steps().unwrap().is_empty());
        std::fs::write(&path, whole).unwrap();
    }
    assert!(push(&remote, &checkpoint).unwrap());
}

#[test]
fn what_changed_in_the_store_is_refused_and_what_is_here_stays() {
    let scene = Scene::new();
    let (remote, other) = (scene.remote(), scene.other());
    let first = scene.write(7, 1);
    push(&remote, &first).unwrap();
    remote.pull(&remote.find(None).unwrap(), &other).unwrap();
    push(&remote, &scene.write(7, 2)).unwrap();
    for (name, length) in [("trainer.json", None), ("model/large.bin", None), ("model/large.bin", Some(PART))]
    {
        let path = scene.file(7, name);
        let whole = std::fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[0] ^= 1;
        changed.truncate(length.map_or(changed.len(), |length| length as usize));
        std::fs::write(&path, changed).unwrap();
        let error = remote.pull(&remote.find(None).unwrap(), &other).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        assert_eq!(other.newest_valid().unwrap().unwrap().0.blake3(), first.blake3());
        std::fs::write(&path, whole).unwrap();
    }
    std::fs::write(scene.file(7, "manifest.json"), "{}").unwrap();
    let error = remote.find(None).unwrap_err();
    assert!(matches!(error, RemoteError::Manifest(ReadError::Json { .. })), "{error}");
    // It is pushed over like any other.
    let third = scene.write(7, 3);
    assert!(push(&remote, &third).unwrap());
    assert_eq!(remote.find(None).unwrap().blake3(), third.blake3());
}

#[test]
fn retention_is_that_of_the_run_and_takes_what_was_never_finished() {
    let scene = Scene::new();
    let remote = scene.remote();
    for step in 1..=4 {
        push(&remote, &scene.write(step, 1)).unwrap();
    }
    // A push that died before its end leaves files without a manifest.
    std::fs::remove_file(scene.file(2, "manifest.json")).unwrap();
    assert_eq!(remote.steps().unwrap(), [1, 3, 4]);
    let retention = Retention { in_use: [1].into(), ..Retention::last(NonZeroUsize::MIN) };
    assert_eq!(remote.retain(4, &retention).unwrap(), [3, 2]);
    assert_eq!(remote.steps().unwrap(), [1, 4]);
    assert!(!scene.file(3, "model/large.bin").exists() && !scene.file(2, "trainer.json").exists());
    assert!(scene.file(1, "model/large.bin").exists());
    assert_eq!(remote.retain(4, &retention).unwrap(), [0_u64; 0]);
}

#[test]
fn an_address_that_is_none_is_refused_before_anything_is_sent() {
    for (url, why) in [
        ("nowhere://bucket/run", "no store has that scheme"),
        ("s3://", "address of a store"),
        ("http://", "address of a store"),
        ("memory:///run", "no store has that scheme"),
        ("https://user:secret@host/run", "credentials belong into the environment"),
        ("s3://bucket/run?versions", "nothing may come after the path"),
    ] {
        let error = Remote::check(url).unwrap_err();
        assert!(error.is_bad_input());
        let error = error.to_string();
        assert!(error.contains(why), "{url}: {error}");
    }
    for url in
        ["s3://bucket/run", "gs://bucket/run", "az://container/run", "https://host/run", "file:///run", "run"]
    {
        Remote::check(url).unwrap();
    }
}
