//! Stops a program that uses too much processor time.
//!
//! Fuel decides verdicts; this catches what fuel does not see. It measures processor time, not wall time: a program is not to
//! fail because the machine is busy. Nothing ticks while no program runs.

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
    /// Processor time, of this process, at which the program under way must stop.
    deadline: Mutex<Option<Duration>>,
    changed: Condvar,
}

impl Watchdog {
    /// Starts the thread. It advances the engine's epoch at a deadline, which interrupts what runs.
    pub(crate) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { deadline: Mutex::new(None), changed: Condvar::new() });
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
        *self.shared.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
        self.shared.changed.notify_one();
    }
}

fn watch(shared: &Shared, engine: &EngineWeak) {
    let mut deadline = shared.deadline.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        deadline = match *deadline {
            None => shared.changed.wait(deadline).unwrap_or_else(PoisonError::into_inner),
            Some(at) => match at.checked_sub(processor_time()) {
                // A single thread computes, so this much wall time passes at least.
                Some(left) if !left.is_zero() => {
                    shared.changed.wait_timeout(deadline, left).unwrap_or_else(PoisonError::into_inner).0
                }
                _ => {
                    let Some(engine) = engine.upgrade() else { return };
                    engine.increment_epoch();
                    // Whatever the job tries next is interrupted too.
                    *deadline = Some(processor_time() + AGAIN);
                    deadline
                }
            },
        };
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
