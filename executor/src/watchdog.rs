//! Stops a program that uses too much processor time.
//!
//! Fuel decides verdicts; this catches what fuel does not see. It measures processor time, not wall time: a program is not to
//! fail because the machine is busy. Nothing ticks: the thread wakes once per deadline, however many programs run meanwhile.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::EngineWeak;

/// Processor time between interruptions of a job that is over its limit.
const AGAIN: Duration = Duration::from_millis(50);

/// Watches one program at a time from a thread of its own.
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
}

struct Shared {
    times: Mutex<Times>,
    changed: Condvar,
}

#[derive(Default)]
struct Times {
    /// Processor time, of this process, at which the program under way must stop.
    deadline: Option<Duration>,
    /// Processor time until which the thread sleeps; absent while it waits to be told.
    sleeps_until: Option<Duration>,
}

impl Watchdog {
    /// Starts the thread. It advances the engine's epoch at a deadline, which interrupts what runs.
    pub(crate) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { times: Mutex::default(), changed: Condvar::new() });
        let watched = Arc::clone(&shared);
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || watch(&watched, &engine))?;
        Ok(Self { shared })
    }

    /// Runs `act`, which is interrupted once the process has used `limit` more processor time.
    pub(crate) fn limit<T>(&self, limit: Duration, act: impl FnOnce() -> T) -> T {
        self.set(Some(processor_time() + limit));
        let result = act();
        self.set(None);
        result
    }

    fn set(&self, deadline: Option<Duration>) {
        let mut times = self.shared.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.deadline = deadline;
        // A thread that wakes up in time anyway is let sleep: most programs end long before their deadline, and being
        // woken twice for each would take a core from its worker.
        let is_early = |at| times.sleeps_until.is_none_or(|until| at < until);
        if deadline.is_some_and(is_early) {
            self.shared.changed.notify_one();
        }
    }
}

fn watch(shared: &Shared, engine: &EngineWeak) {
    let mut times = shared.times.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let Some(at) = times.deadline else {
            times.sleeps_until = None;
            times = shared.changed.wait(times).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        match at.checked_sub(processor_time()) {
            // A single thread computes, so this much wall time passes at least.
            Some(left) if !left.is_zero() => {
                times.sleeps_until = Some(at);
                times = shared.changed.wait_timeout(times, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            _ => {
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
                // Whatever the job tries next is interrupted too.
                times.deadline = Some(processor_time() + AGAIN);
            }
        }
    }
}

/// Processor time that this process has used.
#[expect(unsafe_code, reason = "the standard library has no clock for processor time")]
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes for the duration of the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "the kernel has a clock for processor time");
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
