//! Checkpoints on their way to the disk: a thread writes one from a snapshot while the run goes on.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rltrain_checkpoints::{Retention, Store, WriteError};
use tch::Device;

use crate::memory::DeviceMemory;
use crate::policy::OnTheirWay;
use crate::snapshot::Snapshot;

/// Share of the memory that is free which copies of tensors may take. Where they would take more, the run waits for the disk.
const MEMORY_SHARE: f64 = 0.5;

/// A checkpoint that could not be written, or not to its end.
#[derive(Debug)]
pub(super) struct Failed {
    /// Its step.
    pub(super) step: u64,
    /// Why.
    pub(super) source: WriteError,
}

/// Writes checkpoints, at most one at a time.
pub(super) struct Saver {
    store: Store,
    /// Step of the newest checkpoint that is on the disk.
    saved: Option<u64>,
    in_flight: Option<InFlight>,
    /// Checkpoints that could not be written since the run was started or resumed.
    failures: u64,
    /// How long the run has stood still for all this, since somebody asked.
    stalled: Duration,
}

/// A checkpoint that is being written.
struct InFlight {
    step: u64,
    on_their_way: OnTheirWay,
    thread: JoinHandle<Result<(), WriteError>>,
}

impl Saver {
    /// For a run whose newest checkpoint is of step `saved`.
    pub(super) fn new(store: Store, saved: Option<u64>) -> Saver {
        Saver { store, saved, in_flight: None, failures: 0, stalled: Duration::ZERO }
    }

    /// Step of the newest checkpoint that is on the disk.
    pub(super) fn saved(&self) -> Option<u64> {
        self.saved
    }

    /// Whether nothing is being written, so that nothing is about to be deleted either.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    /// Folder of the newest checkpoint that is on the disk.
    pub(super) fn newest(&self) -> Option<PathBuf> {
        self.saved.map(|step| self.store.path_of(step))
    }

    /// How many checkpoints could not be written so far, and how long the run has stood still for checkpoints since this was last
    /// asked.
    pub(super) fn account(&mut self) -> (u64, Duration) {
        (self.failures, std::mem::take(&mut self.stalled))
    }

    /// Takes note that the run stood still.
    pub(super) fn stood_still(&mut self, how_long: Duration) {
        self.stalled += how_long;
    }

    /// Has a thread write `snapshot` as the checkpoint of `step`, after which `retention` decides what is kept. The one before has
    /// to be over: [`Saver::wait`].
    pub(super) fn begin(
        &mut self,
        step: u64,
        snapshot: Snapshot,
        retention: Retention,
    ) -> Result<(), Failed> {
        debug_assert!(self.in_flight.is_none(), "one at a time");
        let on_their_way = snapshot.on_their_way();
        let store = self.store.clone().keeping(retention);
        let write = move || store.write(step, |draft| snapshot.write(draft)).map(drop);
        match thread::Builder::new().name("checkpoint".to_owned()).spawn(write) {
            Ok(thread) => {
                self.in_flight = Some(InFlight { step, on_their_way, thread });
                Ok(())
            }
            Err(error) => self.settle(step, Err(error.into())),
        }
    }

    /// Writes `snapshot` as the checkpoint of `step` here and now.
    pub(super) fn write(
        &mut self,
        step: u64,
        snapshot: Snapshot,
        retention: Retention,
    ) -> Result<(), Failed> {
        let store = self.store.clone().keeping(retention);
        let written = store.write(step, |draft| snapshot.write(draft)).map(drop);
        self.settle(step, written)
    }

    /// Takes note of the checkpoint that is being written, if it is over by now.
    pub(super) fn look(&mut self) -> Result<(), Failed> {
        match &self.in_flight {
            Some(in_flight) if in_flight.thread.is_finished() => self.wait(),
            _ => Ok(()),
        }
    }

    /// Waits until nothing is being written.
    pub(super) fn wait(&mut self) -> Result<(), Failed> {
        let Some(InFlight { step, thread, .. }) = self.in_flight.take() else { return Ok(()) };
        let written = thread.join().unwrap_or_else(|_| Err(io::Error::other("its thread panicked").into()));
        self.settle(step, written)
    }

    /// Copies what is not written yet, so that the run may change its tensors; waits for the disk instead where memory does not
    /// suffice for copies.
    pub(super) fn part(&mut self) -> Result<(), Failed> {
        self.look()?;
        let Some(in_flight) = &self.in_flight else { return Ok(()) };
        let free = DeviceMemory::of(Device::Cpu).free.unwrap_or(u64::MAX);
        if in_flight.on_their_way.bytes() as f64 > MEMORY_SHARE * free as f64 {
            return self.wait();
        }
        in_flight.on_their_way.part();
        Ok(())
    }

    /// Takes note of how the checkpoint of `step` ended. One that is in place is saved, whatever failed after that.
    pub(super) fn settle(&mut self, step: u64, written: Result<(), WriteError>) -> Result<(), Failed> {
        match written {
            Ok(()) => {
                self.saved = Some(step);
                Ok(())
            }
            Err(source) => {
                if let WriteError::Tidy { .. } = source {
                    self.saved = Some(step);
                } else {
                    self.failures += 1;
                }
                Err(Failed { step, source })
            }
        }
    }
}

impl Drop for Saver {
    /// A run that ends early still keeps what it had begun to write.
    fn drop(&mut self) {
        // Nobody is left to be told: whatever ended the run is what is reported.
        let _ = self.wait();
    }
}

/// An error with everything that it comes from, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Errors that only pass another one on say the same twice.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroUsize;
    use std::path::Path;

    use rltrain_checkpoints::read_safetensors;
    use tch::{Kind, Tensor};

    use super::*;
    use crate::policy::HostView;
    use crate::snapshot::Files;

    fn keep_all() -> Retention {
        Retention::last(NonZeroUsize::MAX)
    }

    fn snapshot(tensors: &[Tensor]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let views = |kind| {
            let named = tensors.iter().enumerate();
            named
                .map(move |(place, tensor)| (place.to_string(), HostView::in_kind(tensor, kind)))
                .collect::<Vec<_>>()
        };
        snapshot.tensors("model.safetensors", views(Kind::BFloat16), &BTreeMap::new()).unwrap();
        snapshot.tensors("master.safetensors", views(Kind::Float), &BTreeMap::new()).unwrap();
        snapshot
    }

    /// The only value of the tensors in a checkpoint.
    fn value(folder: &Path) -> f32 {
        let file = read_safetensors(&folder.join("master.safetensors")).unwrap();
        let mut values = file.names().into_iter().flat_map(|name| {
            let data = file.read(&name).unwrap().data;
            data.chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect::<Vec<_>>()
        });
        let first = values.next().unwrap();
        assert!(values.all(|value| value == first), "a mixture of steps");
        first
    }

    #[test]
    fn a_checkpoint_is_of_its_step_though_the_run_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut saver = Saver::new(Store::open(folder.path()).unwrap(), None);
        let mut tensors: Vec<Tensor> =
            (0..8).map(|_| Tensor::zeros([1 << 21], (Kind::Float, Device::Cpu))).collect();
        let mut parted = 0;
        for step in 1..=4 {
            for tensor in &mut tensors {
                let _ = tensor.fill_(step as f64);
            }
            saver.begin(step, snapshot(&tensors), keep_all()).unwrap();
            let waiting = saver.in_flight.as_ref().unwrap().on_their_way.bytes();
            assert!(waiting <= 8 << 23, "what two files are made of is copied once");
            parted += u64::from(waiting > 0);
            saver.part().unwrap();
            for tensor in &mut tensors {
                let _ = tensor.fill_(-1.0);
            }
            saver.wait().unwrap();
            assert_eq!(saver.saved(), Some(step));
            assert_eq!(value(&saver.newest().unwrap()), step as f32);
        }
        assert!(parted > 0, "the disk was always faster, so that this has shown nothing");
        assert_eq!(saver.account().0, 0);
    }

    #[test]
    fn a_disk_that_refuses_costs_a_checkpoint_and_the_next_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("checkpoints");
        let mut saver = Saver::new(Store::open(&place).unwrap(), None);
        let tensors = [Tensor::zeros([1000], (Kind::Float, Device::Cpu))];
        saver.begin(1, snapshot(&tensors), keep_all()).unwrap();
        saver.wait().unwrap();
        std::fs::rename(&place, folder.path().join("elsewhere")).unwrap();
        std::fs::write(&place, "not a folder").unwrap();
        saver.begin(2, snapshot(&tensors), keep_all()).unwrap();
        let Failed { step, source } = saver.wait().unwrap_err();
        assert_eq!(step, 2);
        assert!(chain(&source).contains("Not a directory"), "{}", chain(&source));
        assert_eq!((saver.saved(), saver.account().0), (Some(1), 1));
        std::fs::remove_file(&place).unwrap();
        std::fs::rename(folder.path().join("elsewhere"), &place).unwrap();
        saver.begin(3, snapshot(&tensors), keep_all()).unwrap();
        drop(saver);
        let store = Store::open(&place).unwrap();
        assert_eq!(store.newest_valid().unwrap().unwrap().0.step(), 3, "whoever drops it waits");
    }
}
