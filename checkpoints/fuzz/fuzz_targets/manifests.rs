//! A manifest of an attacker's choice beside an empty file and a folder: it is refused, or lists nothing but what is there.

#![no_main]

use std::sync::LazyLock;

use rltrain_checkpoints::Checkpoint;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    std::fs::create_dir_all(folder.path().join("step/model")).expect("memory has room");
    std::fs::write(folder.path().join("step/a"), "").expect("memory has room");
    std::fs::write(folder.path().join("outside"), "").expect("memory has room");
    folder
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let step = FOLDER.path().join("step");
    std::fs::write(step.join("manifest.json"), bytes).expect("memory has room");
    if let Ok(found) = Checkpoint::open(&step) {
        assert!(found.manifest().files.keys().all(|name| name == "a" || name == "manifest.json"), "{found:?}");
    }
});
