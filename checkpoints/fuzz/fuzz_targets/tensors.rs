//! A safetensors file of an attacker's choice: it is refused, or all of its tensors can be read and are no larger than the file.

#![no_main]

use std::sync::LazyLock;

use rltrain_checkpoints::read_safetensors;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir_in("/dev/shm").expect("a folder in memory"));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.path().join("model.safetensors");
    // Arbitrary bytes hardly ever begin with their own length: every other input gets it for nothing.
    let length = (bytes.len() as u64).to_le_bytes();
    let file = if bytes.first().is_some_and(|byte| byte % 2 == 0) { bytes.to_vec() } else { [&length, bytes].concat() };
    std::fs::write(&path, &file).expect("memory has room");
    if let Ok(found) = read_safetensors(&path) {
        let read = found.names().iter().map(|name| found.read(name).expect("a valid header").data.len()).sum::<usize>();
        assert!(read <= file.len());
    }
});
