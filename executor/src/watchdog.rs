//! Stops a program that uses too much processor time.
//!
//! Fuel decides verdicts; this catches what fuel does not see. It measures processor time, not wall time: a program is not to
//! fail because the machine is busy. Nothing ticks: the thread wakes once per deadline, however many programs run meanwhile.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::EngineWeak;

/// Processor time between interruptions of a job that is over its limit.
const AGAIN: Duration = Duration::from_millis(50);

/// Processor time after the deadline at which a job that could not be interrupted ends with its worker.
const PATIENCE: Duration = Duration::from_secs(2);

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
    /// When the program under way must stop; absent while none is.
    deadline: Option<Deadline>,
    /// Processor time until which the thread sleeps; absent while it waits to be told.
    sleeps_until: Option<Duration>,
}

/// In processor time of this process.
struct Deadline {
    /// When the program must be interrupted next.
    next: Duration,
    /// When the worker ends instead, and the frame that it writes before.
    last: Option<(Duration, Vec<u8>)>,
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
    ///
    /// Some work cannot be interrupted. With `last_words`, the process writes them to stdout and ends soon after.
    pub(crate) fn limit<T>(
        &self,
        limit: Duration,
        last_words: Option<Vec<u8>>,
        act: impl FnOnce() -> T,
    ) -> T {
        let next = processor_time() + limit;
        self.set(Some(Deadline { next, last: last_words.map(|words| (next + PATIENCE, words)) }));
        let result = act();
        self.set(None);
        result
    }

    fn set(&self, deadline: Option<Deadline>) {
        let mut times = self.shared.times.lock().unwrap_or_else(PoisonError::into_inner);
        // A thread that wakes up in time anyway is let sleep: most programs end long before their deadline, and being
        // woken twice for each would take a core from its worker.
        let is_early = |at| times.sleeps_until.is_none_or(|until| at < until);
        let must_wake = deadline.as_ref().is_some_and(|deadline| is_early(deadline.next));
        times.deadline = deadline;
        if must_wake {
            self.shared.changed.notify_one();
        }
    }
}

fn watch(shared: &Shared, engine: &EngineWeak) {
    let mut times = shared.times.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let Some(deadline) = &mut times.deadline else {
            times.sleeps_until = None;
            times = shared.changed.wait(times).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let now = processor_time();
        if let Some((last, words)) = &deadline.last
            && now >= *last
        {
            say(words);
            std::process::exit(1);
        }
        let next = deadline.next;
        if let Some(left) = next.checked_sub(now).filter(|left| !left.is_zero()) {
            times.sleeps_until = Some(next);
            // A single thread computes, so this much wall time passes at least.
            times = shared.changed.wait_timeout(times, left).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
        // Whatever the job tries next is interrupted too.
        deadline.next = now + AGAIN;
    }
}

/// Writes to stdout, which the thread that is stuck has locked.
#[expect(unsafe_code, reason = "the standard library's stdout is locked by the other thread")]
fn say(mut words: &[u8]) {
    while !words.is_empty() {
        // SAFETY: `words` is valid for reads of its length.
        let written = unsafe { libc::write(libc::STDOUT_FILENO, words.as_ptr().cast(), words.len()) };
        match usize::try_from(written) {
            Ok(written) if written > 0 => words = &words[written.min(words.len())..],
            // Nobody reads any more.
            _ => return,
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
