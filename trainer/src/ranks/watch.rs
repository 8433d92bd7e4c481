//! The threads that say where this process is and look where others are, and end it where the run has ended.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::c10d::{C10dError, Store};
use super::place::Place;
use super::pulse::{Fate, GRACE, Heard, PATIENCE, Pulse, SILENCE, TICK, waiting};
use crate::telemetry::Phases;

/// The key that tells why the run ended.
const FATE: &str = "fate";

/// How long a single look for a process that has not come takes at most.
const LOOK: Duration = Duration::from_secs(1);

/// How often it is looked whether others have left.
const LEAVING: Duration = Duration::from_millis(20);

/// Nobody waits.
const WORKS: u64 = u64::MAX;

fn key_of(rank: usize) -> String {
    format!("pulse/{rank}")
}

/// What the threads of one process share.
pub(super) struct Watch {
    place: Place,
    host: String,
    begun: Instant,
    phases: Mutex<Phases>,
    step: AtomicU64,
    /// When this process began to wait for others, in milliseconds since `begun`; [`WORKS`] if it does not.
    waits_since: AtomicU64,
    /// When the thread that talks to the store last got through, as above.
    spoke: AtomicU64,
    has_left: AtomicBool,
    /// Held while this process says where it is, so that nothing older follows its last words.
    words: Mutex<()>,
    /// What is known of the processes that this one listens to.
    heard: Mutex<Vec<(usize, Heard)>>,
    fate: Mutex<Option<Fate>>,
    decided: Condvar,
    /// What ends the process, given the reason.
    end: fn(&Fate) -> !,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole at any moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// Starts to speak and to listen by `store`, a connection that nobody else uses. `end` ends the process if it does not do so by
    /// itself.
    pub(super) fn start(place: &Place, host: String, store: Store, end: fn(&Fate) -> !) -> Arc<Watch> {
        let watch = Arc::new(Watch {
            place: place.clone(),
            host,
            begun: Instant::now(),
            phases: Mutex::default(),
            step: AtomicU64::new(0),
            waits_since: AtomicU64::new(WORKS),
            spoke: AtomicU64::new(0),
            has_left: AtomicBool::new(false),
            words: Mutex::default(),
            heard: Mutex::default(),
            fate: Mutex::new(None),
            decided: Condvar::new(),
            end,
        });
        for (name, work) in [("pulse", Work::Speak(store)), ("watchdog", Work::Guard)] {
            let watch = Arc::clone(&watch);
            let body = move || match work {
                Work::Speak(store) => watch.speak(&store),
                Work::Guard => watch.guard(),
            };
            // Without threads nothing of this program works.
            drop(thread::Builder::new().name(name.to_owned()).spawn(body));
        }
        watch
    }

    /// Where this process shows what goes on.
    pub(super) fn show_on(&self, phases: Phases) {
        *locked(&self.phases) = phases;
    }

    /// Takes note of the updates done.
    pub(super) fn at_step(&self, step: u64) {
        self.step.store(step, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// Does `work`, in which others are waited for.
    pub(super) fn while_waiting<T>(&self, work: impl FnOnce() -> T) -> T {
        self.waits_since.store(self.now(), Ordering::Relaxed);
        let done = work();
        self.waits_since.store(WORKS, Ordering::Relaxed);
        done
    }

    fn pulse(&self, beat: u64) -> Pulse {
        let since = self.waits_since.load(Ordering::Relaxed);
        Pulse {
            beat,
            host: self.host.clone(),
            process: std::process::id(),
            phase: locked(&self.phases).current(),
            step: self.step.load(Ordering::Relaxed),
            waits_ms: (since != WORKS).then(|| self.now().saturating_sub(since)),
            has_left: self.has_left.load(Ordering::Relaxed),
        }
    }

    /// Waits until every process has spoken, and has `notice` hear of those that have not for a while.
    ///
    /// # Errors
    ///
    /// The number of one that has not after `patience`.
    pub(super) fn wait_for_all(
        &self,
        store: &Store,
        patience: Duration,
        notice: fn(&str),
    ) -> Result<(), (usize, C10dError)> {
        let (begun, mut told) = (Instant::now(), Duration::ZERO);
        for rank in 0..self.place.world {
            // A wait that fails tells neither that the store is gone nor that the time is over.
            while let Err(error) = store.wait(&key_of(rank), LOOK) {
                let is_there = |rank: usize| store.get(&key_of(rank)).map(|pulse| pulse.is_some());
                if is_there(rank).map_err(|error| (rank, error))? {
                    break;
                }
                let waited = begun.elapsed();
                if waited >= patience {
                    return Err((rank, error));
                }
                if self.place.rank == 0 && waited >= told + SILENCE {
                    told = waited;
                    let missing: Vec<String> = (rank..self.place.world)
                        .filter(|rank| !is_there(*rank).unwrap_or(false))
                        .map(|rank| rank.to_string())
                        .collect();
                    notice(&format!(
                        "waiting for {} s for rank {} of {} to start; given up after {} s",
                        waited.as_secs(),
                        missing.join(", "),
                        self.place.world,
                        patience.as_secs()
                    ));
                }
            }
        }
        Ok(())
    }

    /// Ends the part of this process in good order. These are its last words.
    pub(super) fn leave(&self, store: &Store) {
        let _words = locked(&self.words);
        let last = Pulse { has_left: true, ..self.pulse(u64::MAX) };
        // Whoever is gone by now does not need to hear it.
        let _ = store.set(&key_of(self.place.rank), &serde_json::to_vec(&last).unwrap_or_default());
        self.has_left.store(true, Ordering::Relaxed);
    }

    /// Waits until everybody has left, for `patience` at most: a store ends with whoever serves it.
    pub(super) fn wait_until_all_left(&self, store: &Store, patience: Duration) {
        let until = Instant::now() + patience;
        let has_left = |rank: &usize| match store.get(&key_of(*rank)) {
            Ok(Some(bytes)) => serde_json::from_slice::<Pulse>(&bytes).is_ok_and(|pulse| pulse.has_left),
            _ => true,
        };
        while Instant::now() < until && !(1..self.place.world).all(|rank| has_left(&rank)) {
            thread::sleep(LEAVING);
        }
    }

    /// Tells everybody that this process ends with an error; returns why the run ended, which may be something that came before.
    pub(super) fn fail(&self, store: &Store, error: &str) -> Fate {
        let known = locked(&self.fate).clone();
        let fate = known.unwrap_or_else(|| {
            let at = self.pulse(0);
            Fate::Failed { rank: self.place.rank, at, error: error.to_owned() }
        });
        self.decide(store, fate)
    }

    /// Writes why the run ended into the store, unless somebody has; returns what holds.
    fn decide(&self, store: &Store, fate: Fate) -> Fate {
        let written = serde_json::to_vec(&fate).unwrap_or_default();
        let held = store.set_once(FATE, &written).ok();
        let fate = held.and_then(|held| serde_json::from_slice(&held).ok()).unwrap_or(fate);
        self.know(fate)
    }

    fn know(&self, fate: Fate) -> Fate {
        let fate = locked(&self.fate).get_or_insert(fate).clone();
        self.decided.notify_all();
        fate
    }

    /// Why the run ended, once that is known; waits for it as long as a silent process takes to be given up.
    pub(super) fn fate(&self) -> Option<Fate> {
        let fate = locked(&self.fate);
        let patience = SILENCE + 4 * TICK;
        let (fate, _) = self
            .decided
            .wait_timeout_while(fate, patience, |fate| fate.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        fate.clone()
    }

    /// The thread that talks to the store.
    fn speak(&self, store: &Store) {
        let listens_to: Vec<usize> =
            if self.place.rank == 0 { (1..self.place.world).collect() } else { vec![0] };
        let mut noticed = Instant::now();
        for beat in 1.. {
            let pulse = match self.exchange(store, beat, &listens_to) {
                Ok(pulse) => pulse,
                Err(_) if self.has_left.load(Ordering::Relaxed) => return,
                Err(cause) => return self.store_gone(cause.to_string()),
            };
            self.spoke.store(self.now(), Ordering::Relaxed);
            let now = Instant::now();
            let heard = locked(&self.heard).clone();
            if let Some((rank, silent)) = heard.iter().find(|(_, heard)| heard.is_silent(now)) {
                self.decide(store, Fate::Silent { rank: *rank, last: silent.pulse.clone() });
            }
            if pulse.has_left {
                return;
            }
            if self.place.rank == 0 && noticed.elapsed() > PATIENCE {
                let others = heard.iter().map(|(rank, heard)| (*rank, heard.pulse.clone()));
                let all: Vec<_> = [(0, pulse)].into_iter().chain(others).collect();
                if let Some(sentence) = waiting(&all) {
                    locked(&self.phases).notice(&sentence);
                    noticed = now;
                }
            }
            thread::sleep(TICK);
        }
    }

    /// Says where this process is, and hears where others are and whether the run has ended; returns what it said.
    fn exchange(&self, store: &Store, beat: u64, listens_to: &[usize]) -> Result<Pulse, C10dError> {
        let words = locked(&self.words);
        let said = self.pulse(beat);
        store.set(&key_of(self.place.rank), &serde_json::to_vec(&said).unwrap_or_default())?;
        drop(words);
        if let Some(fate) = store.get(FATE)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            self.know(fate);
        }
        for rank in listens_to {
            let Some(bytes) = store.get(&key_of(*rank))? else { continue };
            let Ok(pulse) = serde_json::from_slice::<Pulse>(&bytes) else { continue };
            let (now, mut heard) = (Instant::now(), locked(&self.heard));
            match heard.iter_mut().find(|(known, _)| known == rank) {
                Some((_, heard)) => heard.hear(pulse, now),
                None => heard.push((*rank, Heard::new(pulse, now))),
            }
        }
        Ok(said)
    }

    fn store_gone(&self, cause: String) {
        let heard = locked(&self.heard).clone();
        let first = heard.iter().find(|(rank, _)| *rank == 0).map(|(_, heard)| heard.pulse.clone());
        // The first process ends in good order after all others, so one that still works has lost it.
        let (host, port) = &self.place.store;
        let is_torchruns = !self.place.serves && self.place.agent_serves;
        let served_by = if is_torchruns { None } else { Some(first.unwrap_or_default()) };
        self.know(Fate::StoreGone { store: format!("{host}:{port}"), served_by, cause });
    }

    /// The thread that ends this process where it cannot do so by itself.
    fn guard(&self) {
        loop {
            thread::sleep(TICK);
            if self.has_left.load(Ordering::Relaxed) {
                return;
            }
            let behind = self.now().saturating_sub(self.spoke.load(Ordering::Relaxed));
            let is_known = locked(&self.fate).is_some();
            if !is_known && behind > SILENCE.as_millis() as u64 {
                self.store_gone(format!("no answer for {} s", behind / 1000));
            }
            let fate = locked(&self.fate).clone();
            if let Some(fate) = fate {
                thread::sleep(GRACE);
                if !self.has_left.load(Ordering::Relaxed) {
                    (self.end)(&fate);
                }
                return;
            }
        }
    }
}

/// What a thread of [`Watch`] does.
enum Work {
    Speak(Store),
    Guard,
}
