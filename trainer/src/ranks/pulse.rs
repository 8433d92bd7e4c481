//! What each process says of itself, once every half second, and how its end becomes known.
//!
//! Collectives tell that somebody is gone, if they tell anything, and never who. So each process keeps a key of the store up to date
//! with where it is; the first looks at all others', the others at the first's. Whoever finds one that stands still, or ends by an
//! error itself, writes the `fate` of the run into the store, where everybody finds it.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How often each process says where it is.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// How long a process may say nothing before it is given up. It speaks from a thread of its own, so that only a dead, stopped or
/// unreachable one is silent for so long.
pub const SILENCE: Duration = Duration::from_secs(10);

/// How long a process that knows that the run has ended may take to end by itself, which it cannot do in the midst of a collective.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// How long others may be waited for before the user hears of it.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Where a process is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    /// Grows with every tick.
    pub(super) beat: u64,
    /// The machine.
    pub host: String,
    /// The process there.
    pub process: u32,
    /// What goes on, such as `rollout`.
    pub phase: String,
    /// Updates done.
    pub step: u64,
    /// Milliseconds that it has been waiting for others in a collective; `None` if it works.
    pub waits_ms: Option<u64>,
    /// Whether it has done all it had to do.
    pub has_left: bool,
}

impl fmt::Display for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pulse { host, process, phase, step, .. } = self;
        let phase = if phase.is_empty() { "the start" } else { phase };
        write!(f, "host {host}, process {process}, in {phase} of step {}", step + 1)
    }
}

/// Why a run of several processes ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// A process says nothing any more.
    Silent {
        /// Which.
        rank: usize,
        /// The last that was heard of it.
        last: Pulse,
    },
    /// A process ended with an error.
    Failed {
        /// Which.
        rank: usize,
        /// Where it was.
        at: Pulse,
        /// Its error.
        error: String,
    },
    /// The store does not answer.
    StoreGone {
        /// Address of the store.
        store: String,
        /// Who serves it: the first process, as it was last heard of; `None` if that is torchrun.
        served_by: Option<Pulse>,
        /// What libtorch said.
        cause: String,
    },
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Silent { rank, last } => {
                write!(
                    f,
                    "rank {rank} is gone: killed, stopped, or cut off from the others; last heard of on {last}"
                )
            }
            Fate::Failed { rank, at, error } => write!(f, "rank {rank} failed ({at}): {error}"),
            Fate::StoreGone { store, served_by: Some(first), cause } => write!(
                f,
                "rank 0, which serves the store at {store}, is gone or cannot be reached from here; last heard of on {first}: {cause}"
            ),
            Fate::StoreGone { store, served_by: None, cause } => {
                write!(f, "torchrun's store at {store} does not answer: {cause}")
            }
        }
    }
}

/// What one process knows of another.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) pulse: Pulse,
    /// When its beat last changed, by the clock of whoever listens.
    pub(super) at: Instant,
}

impl Heard {
    pub(super) fn new(pulse: Pulse, now: Instant) -> Heard {
        Heard { pulse, at: now }
    }

    /// Takes a reading in.
    pub(super) fn hear(&mut self, pulse: Pulse, now: Instant) {
        if pulse.beat != self.pulse.beat {
            self.at = now;
        }
        self.pulse = pulse;
    }

    /// Whether nothing was heard for too long.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        !self.pulse.has_left && now.duration_since(self.at) > SILENCE
    }
}

/// Who waits for whom, if somebody waits for long and others do not wait: a sentence for the user.
pub(super) fn waiting(all: &[(usize, Pulse)]) -> Option<String> {
    let patience = PATIENCE.as_millis() as u64;
    let numbers = |waits: bool| {
        let found = all.iter().filter(|(_, pulse)| !pulse.has_left && pulse.waits_ms.is_some() == waits);
        found.cloned().collect::<Vec<(usize, Pulse)>>()
    };
    let (waiters, workers) = (numbers(true), numbers(false));
    let longest = waiters.iter().filter_map(|(_, pulse)| pulse.waits_ms).max()?;
    if longest < patience || workers.is_empty() {
        return None;
    }
    let ranks =
        |of: &[(usize, Pulse)]| of.iter().map(|(rank, _)| rank.to_string()).collect::<Vec<_>>().join(", ");
    let (rank, pulse) = &workers[0];
    let rest = if workers.len() > 1 { format!("; also {}", ranks(&workers[1..])) } else { String::new() };
    Some(format!(
        "waiting for {} s: rank {} for rank {rank} ({pulse}){rest}",
        longest / 1000,
        ranks(&waiters)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(beat: u64, waits_ms: Option<u64>) -> Pulse {
        Pulse { beat, host: "node".to_owned(), phase: "rollout".to_owned(), waits_ms, ..Pulse::default() }
    }

    #[test]
    fn one_that_stands_still_is_silent_and_one_that_left_is_not() {
        let begin = Instant::now();
        let late = begin + SILENCE + Duration::from_secs(1);
        let mut heard = Heard::new(pulse(1, None), begin);
        heard.hear(pulse(1, None), late);
        assert!(heard.is_silent(late));
        heard.hear(pulse(2, None), late);
        assert!(!heard.is_silent(late));
        let mut gone = Heard::new(Pulse { has_left: true, ..pulse(1, None) }, begin);
        gone.hear(gone.pulse.clone(), late);
        assert!(!gone.is_silent(late));
    }

    #[test]
    fn it_is_said_who_waits_for_whom() {
        let all = [(0, pulse(1, Some(31_000))), (1, pulse(1, None)), (2, pulse(1, Some(4)))];
        let said = waiting(&all).unwrap();
        assert_eq!(
            said,
            "waiting for 31 s: rank 0, 2 for rank 1 (host node, process 0, in rollout of step 1)"
        );
        assert_eq!(waiting(&[(0, pulse(1, Some(31_000))), (1, pulse(1, Some(2)))]), None, "a slow network");
        assert_eq!(waiting(&[(0, pulse(1, Some(1_000))), (1, pulse(1, None))]), None, "not for long");
    }
}
