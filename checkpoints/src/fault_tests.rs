//! Whatever single operation fails, and however: no checkpoint is lost, none that is broken is accepted, and the next write
//! succeeds.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use crate::disk::Disk;
use crate::durable;
use crate::faults::{Fault, Faults};
use crate::tensors::{OwnedTensor, write_safetensors};
use crate::{Checkpoint, Draft, Dtype, Store, WriteError, read_safetensors};

/// More than one buffer of the writer, so that a file takes several writes.
const ELEMENTS: usize = 700;

/// A folder in memory where there is one: these tests sync thousands of times.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn tensor(step: u64) -> OwnedTensor {
    let data = (0..ELEMENTS).flat_map(|place| (step as f32 + place as f32).to_le_bytes()).collect();
    OwnedTensor { dtype: Dtype::F32, shape: vec![ELEMENTS], data }
}

fn fill(draft: &mut Draft, step: u64) -> Result<(), WriteError> {
    draft.json("state.json", &step)?;
    draft.tensors("model/model.safetensors", [("weight".to_owned(), tensor(step))], &BTreeMap::new())?;
    draft.bytes("model/config.json", b"{}")
}

/// Demands that a checkpoint holds what was written for its step, and nothing else.
#[track_caller]
fn assert_is_what_was_written(checkpoint: &Checkpoint, because: &str) {
    let step = checkpoint.step();
    assert_eq!(checkpoint.json::<u64>("state.json").unwrap(), step, "{because}");
    let file = checkpoint.read_tensors("model/model.safetensors").unwrap();
    assert_eq!(file.read("weight").unwrap(), tensor(step), "{because}");
    let names: Vec<&String> = checkpoint.manifest().files.keys().collect();
    assert_eq!(names, ["model/config.json", "model/model.safetensors", "state.json"], "{because}");
}

/// What can go on in a folder that has whole checkpoints of steps 10 and 20.
#[derive(Clone, Copy, Debug)]
enum Scene {
    /// Step 30 is written, and retention deletes step 10.
    Next,
    /// Step 20 is written again, over a whole one.
    OverWhole,
    /// Step 20 is written again, over a damaged one: step 10 is what there is to fall back to.
    OverDamaged,
    /// The folder is opened that a dead process has left.
    Leftovers,
    /// Step 10 is deleted on request.
    Delete,
    /// Step 20 is set aside.
    SetAside,
}

impl Scene {
    const ALL: [Scene; 6] =
        [Scene::Next, Scene::OverWhole, Scene::OverDamaged, Scene::Leftovers, Scene::Delete, Scene::SetAside];

    /// The step that is written, if one is.
    fn writes(self) -> Option<u64> {
        match self {
            Scene::Next => Some(30),
            Scene::OverWhole | Scene::OverDamaged => Some(20),
            Scene::Leftovers | Scene::Delete | Scene::SetAside => None,
        }
    }

    /// Makes `dir` what it is at the beginning.
    fn prepare(self, dir: &Path) {
        let store = Store::open(dir).unwrap();
        for step in [10, 20] {
            store.write(step, |draft| fill(draft, step)).unwrap();
        }
        match self {
            Scene::Next | Scene::OverWhole | Scene::Delete | Scene::SetAside => {}
            Scene::OverDamaged => std::fs::write(dir.join("step-00000020/state.json"), "21").unwrap(),
            Scene::Leftovers => {
                std::fs::create_dir_all(dir.join("step-00000030.partial/model")).unwrap();
                std::fs::write(dir.join("step-00000030.partial/model/config.json"), "{").unwrap();
                std::fs::write(dir.join("latest.partial"), "step").unwrap();
                std::fs::rename(dir.join("step-00000020"), dir.join("step-00000020.replaced")).unwrap();
            }
        }
    }

    /// Plays it. Whether it succeeded, and if it did not, what was said.
    fn play(self, dir: &Path, faults: &Arc<Faults>) -> Result<(), WriteError> {
        let disk = Disk::with(faults);
        match (self, self.writes()) {
            (Scene::Delete, _) => Ok(Store::on(disk, dir).delete(10)?),
            (Scene::SetAside, _) => Ok(Store::on(disk, dir).set_aside(20).map(drop)?),
            (_, None) => Ok(Store::open_on(disk, dir).map(drop)?),
            (_, Some(step)) => {
                let store = Store::open_on(disk, dir)?.keeping_last(NonZeroUsize::new(2).unwrap());
                store.write(step, |draft| fill(draft, step)).map(drop)
            }
        }
    }

    /// The oldest step that may be the newest whole one afterwards, before the folder is opened again.
    fn least(self) -> u64 {
        match self {
            // A dead process may leave the folder of step 20 under its other name, until the next open.
            Scene::OverWhole | Scene::OverDamaged | Scene::Leftovers | Scene::SetAside => 10,
            Scene::Next | Scene::Delete => 20,
        }
    }
}

/// Everything that has to hold in `dir` after `scene` was played.
fn assert_nothing_is_lost(scene: Scene, dir: &Path, played: &Result<(), WriteError>, because: &str) {
    let newest = |store: &Store| {
        let (checkpoint, _) = store.newest_valid().unwrap().unwrap_or_else(|| panic!("none: {because}"));
        assert_is_what_was_written(&checkpoint, because);
        checkpoint.step()
    };
    let found = newest(&Store::open_read_only(dir));
    assert!(found >= scene.least(), "{found}: {because}");
    let is_in_place = matches!(played, Ok(()) | Err(WriteError::Tidy { .. }));
    if let (true, Some(step)) = (is_in_place, scene.writes()) {
        assert_eq!(found, step, "what is said to be written is there: {because}");
    }

    // The next process clears up.
    let store = Store::open(dir).unwrap().keeping_last(NonZeroUsize::new(2).unwrap());
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_known = name == "latest" || name == "set-aside";
        assert!(is_known || (name.starts_with("step-") && !name.contains('.')), "{name}: {because}");
    }
    if let Scene::SetAside = scene {
        let places = ["step-00000020", "set-aside/step-00000020"].map(|name| dir.join(name));
        let found: Vec<Checkpoint> = places.iter().filter_map(|place| Checkpoint::open(place).ok()).collect();
        assert_eq!(found.len(), 1, "it is in one place or the other: {because}");
        assert_is_what_was_written(&found[0], because);
    }
    let found = newest(&store);
    let least = if matches!(scene, Scene::OverDamaged | Scene::SetAside) { 10 } else { 20 };
    assert!(found >= least, "{found}: {because}");

    store.write(40, |draft| fill(draft, 40)).unwrap_or_else(|error| panic!("{error:?}: {because}"));
    assert_eq!(newest(&store), 40, "{because}");
    assert_eq!(store.steps().unwrap().len(), 2, "{because}");
    assert_eq!(std::fs::read_to_string(dir.join("latest")).unwrap(), "step-00000040\n", "{because}");
}

#[test]
fn any_operation_may_fail_in_any_way() {
    let (mut played, mut refused, mut tidied) = (0, 0, 0);
    for scene in Scene::ALL {
        let dir = folder();
        scene.prepare(dir.path());
        let counting = Arc::new(Faults::none());
        let without_fault = scene.play(dir.path(), &counting);
        assert!(without_fault.is_ok(), "{without_fault:?}");
        let operations = counting.operations();
        assert!(operations > 10, "{scene:?} has {operations} operations");
        assert_nothing_is_lost(scene, dir.path(), &without_fault, "without a fault");

        for (at, fault) in (0..operations).flat_map(|at| Fault::ALL.map(|fault| (at, fault))) {
            let dir = folder();
            scene.prepare(dir.path());
            let faults = Arc::new(Faults::new(fault, at));
            let result = scene.play(dir.path(), &faults);
            if !faults.happened() {
                // A fault of writes cannot befall a rename.
                continue;
            }
            let because = format!("{scene:?}, operation {at} of {operations}, {fault:?}: {result:?}");
            played += 1;
            refused += usize::from(result.is_err());
            tidied += usize::from(matches!(result, Err(WriteError::Tidy { .. })));
            assert_nothing_is_lost(scene, dir.path(), &result, &because);
        }
    }
    let _ = writeln!(
        std::io::stderr(),
        "{played} faults, of which {refused} failed the operation, {tidied} only what follows it"
    );
    // A fault that nothing notices would make all this say nothing.
    assert!(refused > played * 9 / 10, "{refused} of {played}");
    assert!(tidied > 0);
}

#[test]
fn a_file_that_is_replaced_is_the_old_one_or_the_new_one() {
    let (old, new) = (vec![b'o'; 3000], vec![b'n'; 5000]);
    let play = |path: &Path, faults: &Arc<Faults>| {
        durable::replace(&Disk::with(faults), path, |writer| std::io::Write::write_all(writer, &new))
    };
    let dir = folder();
    let path = dir.path().join("latest");
    let counting = Arc::new(Faults::none());
    play(&path, &counting).unwrap();
    let operations = counting.operations();
    for (at, fault) in (0..operations).flat_map(|at| Fault::ALL.map(|fault| (at, fault))) {
        std::fs::write(&path, &old).unwrap();
        let faults = Arc::new(Faults::new(fault, at));
        let result = play(&path, &faults);
        let found = std::fs::read(&path).unwrap();
        assert!(found == old || found == new, "operation {at}, {fault:?}: {} bytes", found.len());
        if result.is_ok() {
            assert_eq!(found, new, "operation {at}, {fault:?}");
        }
        assert_eq!(result.is_err(), faults.happened(), "operation {at}, {fault:?}");
    }
}

#[test]
fn a_disk_that_is_too_small_is_told_before_it_is_full() {
    let dir = folder();
    let store = Store::open(dir.path()).unwrap();
    store.write(1, |draft| fill(draft, 1)).unwrap();
    let huge = Promised { shape: vec![1 << 52], handed_over: std::cell::Cell::new(false) };
    let error = store.write(2, |draft| draft.tensors("huge", [("t".to_owned(), &huge)], &BTreeMap::new()));
    let Err(WriteError::Fill { source, .. }) = error else { panic!("{error:?}") };
    let message = source.to_string();
    assert!(
        message.contains("huge` and what a run writes beside it need") && message.contains("are free"),
        "{message}"
    );
    assert!(!huge.handed_over.get());
    assert_eq!(store.newest_valid().unwrap().unwrap().0.step(), 1);
}

/// A tensor that says how large it is, and is not to be asked for more.
struct Promised {
    shape: Vec<usize>,
    handed_over: std::cell::Cell<bool>,
}

impl crate::TensorSource for &Promised {
    fn dtype(&self) -> Dtype {
        Dtype::U8
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn byte_len(&self) -> usize {
        self.shape.iter().product()
    }
    fn pieces(&self, _: &mut dyn FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
        self.handed_over.set(true);
        Ok(())
    }
}

#[test]
fn a_tensor_that_hands_over_less_than_it_promised_is_refused() {
    let dir = folder();
    let path = dir.path().join("t");
    let short = Promised { shape: vec![3], handed_over: std::cell::Cell::new(false) };
    let error = write_safetensors(&path, [("t".to_owned(), &short)], &BTreeMap::new()).unwrap_err();
    assert_eq!(error.to_string(), "tensor `t` has 0 bytes, its shape and dtype need 3");
    assert!(read_safetensors(&path).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left over");
}

#[test]
fn looking_at_a_checkpoint_never_calls_a_broken_one_whole() {
    let dir = folder();
    let store = Store::open(dir.path()).unwrap();
    let whole = store.write(1, |draft| fill(draft, 1)).unwrap();
    let look = |faults: &Arc<Faults>| crate::inspection::faults_on(&Disk::with(faults), whole.path());
    let counting = Arc::new(Faults::none());
    assert_eq!(look(&counting).len(), 0);
    let (mut seen, mut flipped) = (0, 0);
    for (at, fault) in (0..counting.operations()).flat_map(|at| Fault::ALL.map(|fault| (at, fault))) {
        let faults = Arc::new(Faults::new(fault, at));
        let found = look(&faults);
        if fault == Fault::FlippedRead {
            // There is nothing to flip in the read that finds the end.
            flipped += found.len();
            continue;
        }
        seen += usize::from(faults.happened());
        assert_eq!(found.is_empty(), !faults.happened(), "operation {at}, {fault:?}: {found:?}");
    }
    assert!(seen > 20 && flipped > 3, "{seen}, {flipped}");
}

#[test]
fn a_write_that_was_lost_is_named_with_its_place() {
    let dir = folder();
    let path = dir.path().join("file");
    // The first write is the buffer's, after the file was made.
    let faults = Arc::new(Faults::new(Fault::LostWrite, 1));
    let lost = durable::create(&Disk::with(&faults), &path, |writer| writer.write_all(&[7; 5000]));
    let message = lost.map(drop).map_err(|error: std::io::Error| error.to_string()).unwrap_err();
    assert!(faults.happened());
    assert!(message.contains("file` does not read back as it was written, from byte"), "{message}");
}
