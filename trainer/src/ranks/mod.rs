//! Processes that train one policy together: data parallel, over PyTorch's own collectives.
//!
//! Every process draws the same tasks, samples, executes and scores its share of them, and hears what the others' attempts came
//! to. From there on all have the attempts of the whole step, so that advantages, denominators and metrics are those of one process
//! with the same batch. Each then computes the gradient of its share of the sequences, gradients are added up, and all take the same
//! step. Only the first writes.
//!
//! ```text
//! tasks ─▶ share ─▶ rollout ─▶ gather ─▶ advantages ─▶ share ─▶ gradient ─▶ sum ─▶ optimizer
//! (all)             (own)      (all)     (all)                  (own)       (all)  (all)
//! ```

mod c10d;
mod gradients;
mod place;
mod pulse;
mod share;
mod store;
mod watch;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use c10d::C10dError;
use c10d::{Group, Reduction, Store};
pub(crate) use gradients::TensorUnderway;
pub use place::{Place, PlaceError};
pub use pulse::{Fate, Pulse, SILENCE};
use serde::Serialize;
use serde::de::DeserializeOwned;
pub use share::{own_places, own_sequences};
use tch::{Device, Kind, Tensor};
use thiserror::Error;
use watch::Watch;

use crate::telemetry::Phases;

/// How long the first collective waits for processes that have not started yet.
const START: Duration = Duration::from_secs(180);

/// How long a collective waits: that others are slow is no failure, and that they are gone is found out otherwise.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long the process that serves the store waits for the others' last words.
const PARTING: Duration = Duration::from_secs(30);

/// Why processes cannot train together, or not any longer.
#[derive(Debug, Error)]
pub enum RanksError {
    /// The environment contradicts itself.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// There is no store.
    #[error(
        "rank {rank} finds no store at {host}:{port}, where the environment says that rank 0 or torchrun serves one"
    )]
    NoStore {
        /// This process.
        rank: usize,
        /// Host of the store.
        host: String,
        /// Its port.
        port: u16,
        /// Why.
        source: C10dError,
    },
    /// A process did not start.
    #[error("rank {rank} of {world} has not come within {} s; were all of them started?", START.as_secs())]
    Missing {
        /// One that is missing.
        rank: usize,
        /// How many there should be.
        world: usize,
        /// What libtorch said.
        source: C10dError,
    },
    /// Processes were started with different things.
    #[error(
        "the processes of this run do not agree on {what}: rank 0 has `{first}`, and rank {rank} has `{other}`"
    )]
    Disagree {
        /// What they do not agree on.
        what: String,
        /// What the first has.
        first: String,
        /// Another.
        rank: usize,
        /// What that has.
        other: String,
    },
    /// Several processes cannot share rollout servers.
    #[error(
        "`rollout.engine` names servers elsewhere, which several processes cannot share; train with one process, or set \
         `rollout.engine = \"local\"`"
    )]
    RolloutServers,
    /// The run has ended because of one process.
    #[error("the run ended: {0}")]
    Ended(Box<Fate>),
    /// A collective failed although everybody is there.
    #[error("a collective of the processes failed in {what}")]
    Collective {
        /// What it was for.
        what: &'static str,
        /// What libtorch said.
        source: C10dError,
    },
    /// What this process wants to send cannot be sent.
    #[error("{what} cannot be sent to the other processes")]
    Unsendable {
        /// What it is for.
        what: &'static str,
        /// What is wrong with it.
        source: rmp_serde::encode::Error,
    },
    /// What another process sent is not what this one reads.
    #[error("rank {rank} sent something else than was wanted in {what}; do all run the same program?")]
    Garbled {
        /// Who.
        rank: usize,
        /// What it was for.
        what: &'static str,
        /// What is wrong with it.
        source: rmp_serde::decode::Error,
    },
}

impl RanksError {
    /// Whether the user can mend it by starting the processes otherwise.
    pub fn is_bad_input(&self) -> bool {
        matches!(self, RanksError::Place(_) | RanksError::Disagree { .. } | RanksError::RolloutServers)
    }
}

/// The order in which collectives are done is the same everywhere only within one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Making attempts, which may run beside learning.
    Rollout,
    /// Everything else.
    Learning,
}

/// The processes of a run; cheap to clone. [`Ranks::alone`] is one process without others, for which nothing is exchanged.
#[derive(Clone, Default)]
pub struct Ranks(Option<Arc<Together>>);

/// A process among others.
struct Together {
    place: Place,
    /// What lanes are done by, on the processor.
    rollout: Mutex<Group>,
    learning: Mutex<Group>,
    /// What gradients are added up by, where they are on a GPU.
    cuda: Option<Mutex<Group>>,
    /// The main thread's connection; the last to go, because the first process serves it.
    store: Store,
    watch: Arc<Watch>,
    /// Microseconds spent in collectives since somebody asked, waiting for slower processes included.
    communicated: AtomicU64,
}

impl fmt::Debug for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank(), self.world())
    }
}

/// A process without others, for those who need one to refer to.
pub static ALONE: Ranks = Ranks::alone();

impl Ranks {
    /// A process without others.
    pub const fn alone() -> Ranks {
        Ranks(None)
    }

    /// Joins the others at `place`, for gradients on `device`. `notice` tells the user who is being waited for. `end` ends the process where the run has ended and it cannot do so
    /// itself, because it waits for others; it should say why.
    ///
    /// # Errors
    ///
    /// If the store does not answer, or a process does not come within three minutes.
    pub fn join(
        place: Place,
        device: Device,
        notice: fn(&str),
        end: fn(&Fate) -> !,
    ) -> Result<Ranks, RanksError> {
        let (rank, world) = (place.rank, place.world);
        let connect = |serves| {
            store::connect(&place, serves, START).map_err(|source| RanksError::NoStore {
                rank,
                host: place.store.0.clone(),
                port: place.store.1,
                source,
            })
        };
        let store = connect(place.serves)?;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let watch = Watch::start(&place, host.trim().to_owned(), connect(false)?, end);
        watch.wait_for_all(&store, START, notice).map_err(|(missing, source)| RanksError::Missing {
            rank: missing,
            world,
            source,
        })?;
        let join = |name, on_cuda| {
            Group::join(&store, name, (rank, world), on_cuda, PATIENCE)
                .map_err(|source| RanksError::Collective { what: "the start", source })
        };
        let cuda = device.is_cuda().then(|| join("gradients", true)).transpose()?;
        Ok(Ranks(Some(Arc::new(Together {
            rollout: Mutex::new(join("rollout", false)?),
            learning: Mutex::new(join("learning", false)?),
            cuda: cuda.map(Mutex::new),
            place,
            store,
            watch,
            communicated: AtomicU64::new(0),
        }))))
    }

    /// Number of this process, from 0.
    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |together| together.place.rank)
    }

    /// How many processes there are.
    pub fn world(&self) -> usize {
        self.0.as_ref().map_or(1, |together| together.place.world)
    }

    /// Whether there are no others.
    pub fn is_alone(&self) -> bool {
        self.0.is_none()
    }

    /// Whether this is the process that writes.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Number of this process on its machine, from 0.
    pub fn local_rank(&self) -> usize {
        self.0.as_ref().map_or(0, |together| together.place.local_rank)
    }

    /// How many processes share this machine.
    pub fn on_this_machine(&self) -> usize {
        self.0.as_ref().map_or(1, |together| together.place.local_world.max(1))
    }

    /// Has others see what goes on here as the user does.
    pub fn show_on(&self, phases: Phases) {
        if let Some(together) = &self.0 {
            together.watch.show_on(phases);
        }
    }

    /// Has others see how many updates are done.
    pub fn at_step(&self, step: u64) {
        if let Some(together) = &self.0 {
            together.watch.at_step(step);
        }
    }

    /// Time spent in collectives since this was last asked, waiting for slower processes included.
    pub fn communicated(&self) -> Duration {
        let micros = self.0.as_ref().map_or(0, |together| together.communicated.swap(0, Ordering::Relaxed));
        Duration::from_micros(micros)
    }

    /// What every process has for `value`, in the order of ranks.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub fn gather<T: Serialize + DeserializeOwned>(
        &self,
        lane: Lane,
        what: &'static str,
        value: T,
    ) -> Result<Vec<T>, RanksError> {
        let Some(together) = &self.0 else { return Ok(vec![value]) };
        // MessagePack with names: numbers keep their bits, those that are none included.
        let bytes =
            rmp_serde::to_vec_named(&value).map_err(|source| RanksError::Unsendable { what, source })?;
        let sent = together.collective(what, || together.gather_bytes(lane, &bytes))?;
        let read = |(rank, bytes): (usize, Vec<u8>)| {
            rmp_serde::from_slice(&bytes).map_err(|source| RanksError::Garbled { rank, what, source })
        };
        sent.into_iter().enumerate().map(read).collect()
    }

    /// Whether any process says so.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub fn any(&self, lane: Lane, what: &'static str, says: bool) -> Result<bool, RanksError> {
        Ok(self.any_of(lane, what, &[says])?[0])
    }

    /// As [`Ranks::any`], of several things, of which every process has as many.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn any_of(&self, lane: Lane, what: &'static str, says: &[bool]) -> Result<Vec<bool>, RanksError> {
        let Some(together) = &self.0 else { return Ok(says.to_vec()) };
        let flags = Tensor::from_slice(&says.iter().map(|says| i64::from(*says)).collect::<Vec<_>>());
        together.collective(what, || together.group(lane).all_reduce(&flags, Reduction::Max)?.wait())?;
        let flags = Vec::<i64>::try_from(flags).expect("flags are a vector");
        Ok(flags.into_iter().map(|flag| flag != 0).collect())
    }

    /// Checks that all processes have the same for each of some things, given by name.
    ///
    /// # Errors
    ///
    /// If they do not, or a process is gone.
    pub fn agree(&self, things: &[(&str, String)]) -> Result<(), RanksError> {
        let own: Vec<String> = things.iter().map(|(_, value)| value.clone()).collect();
        let all = self.gather(Lane::Learning, "the comparison of the start", own)?;
        for (place, (what, _)) in things.iter().enumerate() {
            let first = &all[0][place];
            if let Some(rank) = all.iter().position(|values| &values[place] != first) {
                let (what, first, other) = ((*what).to_owned(), first.clone(), all[rank][place].clone());
                return Err(RanksError::Disagree { what, first, rank, other });
            }
        }
        Ok(())
    }

    /// Ends this process' part in good order, after all others have ended theirs.
    pub fn leave(&self) {
        let Some(together) = &self.0 else { return };
        together.watch.leave(&together.store);
        if together.place.serves {
            together.watch.wait_until_all_left(&together.store, PARTING);
        }
    }

    /// Tells the others that this process ends with `error`, which may be a consequence of another's end.
    pub fn fail(&self, error: &dyn std::error::Error) {
        let Some(together) = &self.0 else { return };
        let mut words = error.to_string();
        let mut cause = error.source();
        while let Some(deeper) = cause {
            words = format!("{words}: {deeper}");
            cause = deeper.source();
        }
        together.watch.fail(&together.store, &words);
        // They look once a tick.
        if together.place.serves {
            std::thread::sleep(pulse::TICK * 3);
        }
    }
}

impl Together {
    fn group(&self, lane: Lane) -> MutexGuard<'_, Group> {
        let group = match lane {
            Lane::Rollout => &self.rollout,
            Lane::Learning => &self.learning,
        };
        group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a collective; where it fails, finds out because of whom.
    fn collective<T>(
        &self,
        what: &'static str,
        work: impl FnOnce() -> Result<T, C10dError>,
    ) -> Result<T, RanksError> {
        let start = Instant::now();
        let done = self.watch.while_waiting(work);
        self.communicated.fetch_add(start.elapsed().as_micros() as u64, Ordering::Relaxed);
        done.map_err(|source| match self.watch.fate() {
            Some(fate) => RanksError::Ended(Box::new(fate)),
            None => RanksError::Collective { what, source },
        })
    }

    fn gather_bytes(&self, lane: Lane, bytes: &[u8]) -> Result<Vec<Vec<u8>>, C10dError> {
        let group = self.group(lane);
        let world = self.place.world as i64;
        let length = Tensor::from_slice(&[bytes.len() as i64]);
        let lengths = Tensor::zeros([world], (Kind::Int64, Device::Cpu));
        group.all_gather(&length, &lengths)?.wait()?;
        let lengths = Vec::<i64>::try_from(lengths).expect("lengths are a vector");
        let longest = lengths.iter().copied().max().unwrap_or(0).max(1);
        let mut padded = bytes.to_vec();
        padded.resize(longest as usize, 0);
        let all = Tensor::zeros([world * longest], (Kind::Uint8, Device::Cpu));
        group.all_gather(&Tensor::from_slice(&padded), &all)?.wait()?;
        let all = Vec::<u8>::try_from(all).expect("bytes are a vector");
        let of = |(length, bytes): (&i64, &[u8])| bytes[..*length as usize].to_vec();
        Ok(lengths.iter().zip(all.chunks(longest as usize)).map(of).collect())
    }
}
