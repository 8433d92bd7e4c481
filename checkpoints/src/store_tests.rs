use std::collections::BTreeMap;

use fs_err as fs;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::tensors::{OwnedTensor, read_safetensors, write_safetensors};
use crate::{Dtype, ReadError};

fn tensor(fill: u8, length: usize) -> OwnedTensor {
    OwnedTensor { dtype: Dtype::F32, shape: vec![length], data: vec![fill; 4 * length] }
}

fn write(store: &Store, step: u64) -> Checkpoint {
    let fill = |draft: &mut Draft| {
        draft.json("state.json", &json!({ "step": step, "note": "resume here" }))?;
        let tensors = [("weight".to_owned(), tensor(step as u8, 50)), ("bias".to_owned(), tensor(1, 3))];
        draft.tensors("model/model.safetensors", tensors, &BTreeMap::new())
    };
    store.write(step, fill).unwrap()
}

/// A store with whole checkpoints of steps 10 and 20.
fn two() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    write(&store, 10);
    write(&store, 20);
    (dir, store)
}

/// The step that is fallen back to, and why 20 was refused.
fn fallback(store: &Store) -> (u64, Option<String>) {
    let (checkpoint, rejected) = store.newest_valid().unwrap().unwrap();
    assert!(rejected.iter().all(|r| r.step == 20));
    (checkpoint.step(), rejected.first().map(|r| r.reason.to_string()))
}

const FILES: [&str; 3] = ["manifest.json", "state.json", "model/model.safetensors"];

#[test]
fn the_newest_whole_checkpoint_is_found_and_named() {
    let (dir, store) = two();
    assert_eq!(fallback(&store), (20, None));
    assert_eq!(fs::read_to_string(dir.path().join("latest")).unwrap(), "step-00000020\n");
}

#[test]
fn an_empty_or_absent_folder_has_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Store::open(dir.path()).unwrap().newest_valid().unwrap().is_none());
    assert!(Store::open_read_only(&dir.path().join("absent")).newest_valid().unwrap().is_none());
}

#[test]
fn a_missing_file_is_refused_by_name() {
    for file in FILES {
        let (_dir, store) = two();
        fs::remove_file(store.path_of(20).join(file)).unwrap();
        let (step, reason) = fallback(&store);
        assert_eq!(step, 10);
        assert!(reason.unwrap().ends_with(&format!("{file}` is missing")));
    }
}

#[test]
fn a_run_whose_checkpoints_are_all_damaged_does_not_start_afresh() {
    let (_dir, store) = two();
    for step in [10, 20] {
        fs::write(store.path_of(step).join("state.json"), "{}").unwrap();
    }
    let message = store.newest_valid().unwrap_err().to_string();
    assert!(message.starts_with("none of the 2 checkpoints in"), "{message}");
    assert!(message.contains("state.json` has 2 bytes, wanted "), "{message}");
}

#[test]
fn a_newer_format_is_refused_by_number() {
    let (_dir, store) = two();
    let newer = json!({ "format": 7, "step": 20, "shards": [] });
    fs::write(store.path_of(20).join("manifest.json"), newer.to_string()).unwrap();
    assert!(fallback(&store).1.unwrap().ends_with("has format 7, this build reads format 1"));
}

#[test]
fn a_manifest_that_points_outside_is_refused() {
    let (dir, store) = two();
    fs::write(dir.path().join("secret"), "").unwrap();
    let path = store.path_of(20).join("manifest.json");
    let mut manifest = store.checkpoint(20).unwrap().manifest().clone();
    manifest.files.insert(
        "../secret".to_owned(),
        durable::measure(&Disk::default(), &dir.path().join("secret")).unwrap(),
    );
    fs::write(&path, manifest.to_bytes()).unwrap();
    assert!(matches!(store.checkpoint(20), Err(ReadError::Name { name, .. }) if name == "../secret"));
}

#[test]
fn a_renamed_checkpoint_is_refused() {
    let (_dir, store) = two();
    fs::rename(store.path_of(20), store.path_of(30)).unwrap();
    assert!(matches!(store.checkpoint(30), Err(ReadError::Step { found: 20, wanted: 30, .. })));
}

#[test]
fn what_an_interrupted_writer_left_is_ignored_and_cleared() {
    let (dir, store) = two();
    let partial = dir.path().join("step-00000030.partial");
    fs::create_dir(&partial).unwrap();
    fs::write(partial.join("manifest.json"), "{").unwrap();
    assert_eq!(fallback(&store), (20, None));
    Store::open(dir.path()).unwrap();
    assert!(!partial.exists());
}

#[test]
fn an_interrupted_replacement_is_undone() {
    let (dir, store) = two();
    fs::rename(store.path_of(20), dir.path().join("step-00000020.replaced")).unwrap();
    assert_eq!(fallback(&Store::open(dir.path()).unwrap()), (20, None));
}

#[test]
fn a_damaged_checkpoint_is_replaced_by_the_rerun() {
    let (_dir, store) = two();
    fs::write(store.path_of(20).join("state.json"), "{}").unwrap();
    assert_eq!(fallback(&store).0, 10);
    write(&store, 20);
    assert_eq!(fallback(&store), (20, None));
}

#[test]
fn a_failed_write_leaves_the_older_ones_and_no_trace() {
    let (dir, store) = two();
    let error = store.write(30, |draft| {
        draft.json("state.json", &1)?;
        Err::<(), Box<dyn Error + Send + Sync>>("the device is gone".into())
    });
    assert!(matches!(error, Err(WriteError::Fill { step: 30, .. })));
    assert_eq!(fallback(&store), (20, None));
    assert!(!dir.path().join("step-00000030.partial").exists());
}

#[test]
fn a_name_that_leads_outside_or_is_taken_is_refused() {
    let (_dir, store) = two();
    for name in ["../escape.json", "/etc/passwd", "", "manifest.json", "twice.json"] {
        let result = store.write(30, |draft| {
            draft.json("twice.json", &1)?;
            draft.json(name, &2)
        });
        let Err(WriteError::Fill { source, .. }) = result else { panic!("`{name}` was accepted") };
        assert!(source.to_string().contains("cannot name a file of a checkpoint"), "{source}");
    }
}

#[test]
fn retention_keeps_the_newest_and_deletes_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap().keeping_last(NonZeroUsize::new(2).unwrap());
    for step in [1, 2, 3, 4] {
        write(&store, step);
    }
    assert_eq!(store.steps().unwrap(), [3, 4]);
}

#[test]
fn files_from_other_sources_are_listed_and_guarded() {
    let (dir, store) = two();
    let tokenizer = dir.path().join("tokenizer.json");
    fs::write(&tokenizer, "{}").unwrap();
    let fill = |draft: &mut Draft| {
        fs::write(draft.path().join("by-hand.txt"), "text")?;
        draft.copy(&tokenizer, "model/tokenizer.json")
    };
    let checkpoint = store.write(30, fill).unwrap();
    let listed: Vec<_> = checkpoint.manifest().files.keys().collect();
    assert_eq!(listed, ["by-hand.txt", "model/tokenizer.json"]);
    fs::write(checkpoint.path().join("by-hand.txt"), "texT").unwrap();
    assert!(matches!(store.checkpoint(30), Err(ReadError::Hash { .. })));
}

#[test]
fn equal_input_gives_equal_bytes() {
    let metadata: BTreeMap<_, _> = (0..20).map(|i| (format!("key{i}"), format!("value{i}"))).collect();
    let dir = tempfile::tempdir().unwrap();
    let tensors = || ["b", "a", "c"].map(|name| (name.to_owned(), tensor(7, 5)));
    let files = [dir.path().join("1"), dir.path().join("2")];
    write_safetensors(&files[0], tensors(), &metadata).unwrap();
    write_safetensors(&files[1], tensors().into_iter().rev(), &metadata).unwrap();
    assert_eq!(fs::read(&files[0]).unwrap(), fs::read(&files[1]).unwrap());
    assert_eq!(read_safetensors(&files[0]).unwrap().metadata(), metadata);
}

#[test]
fn a_tensor_that_does_not_fill_its_shape_or_comes_twice_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    let short = OwnedTensor { dtype: Dtype::F32, shape: vec![2, 2], data: vec![0; 15] };
    let error = write_safetensors(&path, [("w".to_owned(), short)], &BTreeMap::new()).unwrap_err();
    assert_eq!(error.to_string(), "tensor `w` has 15 bytes, its shape and dtype need 16");
    let twice = [("w".to_owned(), tensor(0, 1)), ("w".to_owned(), tensor(1, 1))];
    let error = write_safetensors(&path, twice, &BTreeMap::new()).unwrap_err();
    assert_eq!(error.to_string(), "tensor `w` is given twice");
    assert!(!path.exists());
}

#[test]
fn a_header_length_beyond_reason_is_refused_without_allocating() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    fs::write(&path, u64::MAX.to_le_bytes()).unwrap();
    assert!(matches!(read_safetensors(&path), Err(ReadError::HeaderTooLarge { found: u64::MAX, .. })));
}

fn any_tensor() -> impl Strategy<Value = OwnedTensor> {
    let dtype = prop::sample::select(vec![Dtype::F32, Dtype::BF16, Dtype::U8, Dtype::I64]);
    (dtype, prop::collection::vec(0..4usize, 0..3)).prop_flat_map(|(dtype, shape)| {
        let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let data = prop::collection::vec(any::<u8>(), bytes);
        data.prop_map(move |data| OwnedTensor { dtype, shape: shape.clone(), data })
    })
}

fn any_tensors() -> impl Strategy<Value = BTreeMap<String, OwnedTensor>> {
    prop::collection::btree_map("[a-z.\"\\\\é]{1,8}", any_tensor(), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reading_gives_back_what_was_written(
        tensors in any_tensors(), note in ".*", number in any::<f64>().prop_filter("finite", |x| x.is_finite()),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let metadata = BTreeMap::from([("note".to_owned(), note.clone())]);
        let state = json!({ "note": note, "number": number });
        store.write(3, |draft| {
            draft.tensors("t.safetensors", tensors.clone(), &metadata)?;
            draft.json("state.json", &state)
        }).unwrap();

        let (checkpoint, _) = Store::open(dir.path()).unwrap().newest_valid().unwrap().unwrap();
        let file = checkpoint.read_tensors("t.safetensors").unwrap();
        let read: BTreeMap<_, _> = file.names().into_iter().map(|n| (n.clone(), file.read(&n).unwrap())).collect();
        prop_assert_eq!(&read, &tensors);
        prop_assert_eq!(file.metadata(), metadata);
        prop_assert_eq!(checkpoint.json::<Value>("state.json").unwrap(), state);
        // The reference implementation agrees about what is in the file.
        let bytes = fs::read(file.path()).unwrap();
        let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for (name, tensor) in &tensors {
            prop_assert_eq!(reference.tensor(name).unwrap().data(), tensor.data.as_slice());
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_falls_back_to_the_older(
        file in prop::sample::select(FILES.to_vec()), place in any::<prop::sample::Index>(), bit in 0..8,
    ) {
        let (_dir, store) = two();
        let path = store.path_of(20).join(file);
        let mut bytes = fs::read(&path).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= 1u8 << bit;
        fs::write(&path, bytes).unwrap();
        let (step, reason) = fallback(&store);
        prop_assert_eq!(step, 10);
        prop_assert!(reason.unwrap().contains("step-00000020"));
    }

    #[test]
    fn a_truncation_anywhere_falls_back_to_the_older(
        file in prop::sample::select(FILES.to_vec()), place in any::<prop::sample::Index>(),
    ) {
        let (_dir, store) = two();
        let path = store.path_of(20).join(file);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..place.index(bytes.len())]).unwrap();
        let (step, reason) = fallback(&store);
        prop_assert_eq!(step, 10);
        prop_assert!(reason.is_some());
    }

    #[test]
    fn a_truncated_safetensors_file_is_refused_with_both_sizes(place in any::<prop::sample::Index>()) {
        let (_dir, store) = two();
        let path = store.path_of(20).join("model/model.safetensors");
        let bytes = fs::read(&path).unwrap();
        let cut = place.index(bytes.len());
        fs::write(&path, &bytes[..cut]).unwrap();
        match read_safetensors(&path) {
            Err(ReadError::Size { found, wanted, .. }) => {
                prop_assert_eq!(found, cut as u64);
                prop_assert!(wanted > found && wanted <= bytes.len() as u64);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn a_hostile_safetensors_file_is_an_error_and_not_a_panic(
        header in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64),
            (any::<usize>(), any::<usize>(), any::<usize>()).prop_map(|(shape, begin, end)| json!({
                "t": { "dtype": "F32", "shape": [shape, shape], "data_offsets": [begin, end] }
            }).to_string().into_bytes()),
        ],
        claimed in prop_oneof![Just(None), any::<u64>().prop_map(Some)],
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let mut bytes = claimed.unwrap_or(header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(&header);
        fs::write(&path, bytes).unwrap();
        if let Ok(file) = read_safetensors(&path) {
            for name in file.names() {
                prop_assert!(file.read(&name).unwrap().data.len() <= header.len());
            }
        }
    }
}
