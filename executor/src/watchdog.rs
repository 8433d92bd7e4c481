//! Stops a program that uses too much processor time.
//!
//! Fuel decides verdicts; this catches what fuel does not see. It measures processor time, not wall time: a program is not to
//! fail because the machine is busy. Nothing ticks while no programs come.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::EngineWeak;

/// Processor time between interruptions of a job that is over its limit.
const AGAIN: Duration = Duration::from_millis(50);

/// Time between looks while jobs come. Waking the watchdog for each would cost more than a short program.
const TICK: Duration = Duration::from_millis(20);

/// Looks without a job after which the watchdog sleeps until it is woken.
const MOST_IDLE: u32 = 50;

/// Watches one program at a time from a thread of its own.
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
}

struct Shared {
    watch: Mutex<Watch>,
    changed: Condvar,
}

#[derive(Default)]
struct Watch {
    /// Processor time, of this process, at which the program under way must stop.
    deadline: Option<Duration>,
    /// Whether the thread has to be woken.
    is_asleep: bool,
}

impl Watchdog {
    /// Starts the thread. It advances the engine's epoch after a deadline, which interrupts what runs.
    pub(crate) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { watch: Mutex::new(Watch::default()), changed: Condvar::new() });
        let watched = Arc::clone(&shared);
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || watch(&watched, &engine))?;
        Ok(Self { shared })
    }

    /// Runs `act`, which is interrupted once the process has used `limit` more processor time, or soon after.
    pub(crate) fn limit<T>(&self, limit: Duration, act: impl FnOnce() -> T) -> T {
        self.set(Some(processor_time() + limit));
        let result = act();
        self.set(None);
        result
    }

    fn set(&self, deadline: Option<Duration>) {
        let mut watch = self.shared.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.deadline = deadline;
        if deadline.is_some() && watch.is_asleep {
            self.shared.changed.notify_one();
        }
    }
}

fn watch(shared: &Shared, engine: &EngineWeak) {
    let mut watch = shared.watch.lock().unwrap_or_else(PoisonError::into_inner);
    let mut idle = 0;
    loop {
        let mut pause = TICK;
        match watch.deadline {
            None if idle == MOST_IDLE => {
                watch.is_asleep = true;
                watch = shared.changed.wait(watch).unwrap_or_else(PoisonError::into_inner);
                watch.is_asleep = false;
                idle = 0;
                continue;
            }
            None => idle += 1,
            Some(at) => {
                idle = 0;
                let left = at.saturating_sub(processor_time());
                if left.is_zero() {
                    let Some(engine) = engine.upgrade() else { return };
                    engine.increment_epoch();
                    // Whatever the job tries next is interrupted too.
                    watch.deadline = Some(processor_time() + AGAIN);
                } else {
                    pause = left.min(TICK);
                }
            }
        }
        watch = shared.changed.wait_timeout(watch, pause).unwrap_or_else(PoisonError::into_inner).0;
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
