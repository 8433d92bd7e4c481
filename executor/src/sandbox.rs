//! The world of one program: what it has written, what it may still use, what it was refused.

use std::collections::BTreeMap;
use std::fmt;

use wasmtime::{Caller, Memory, ResourceLimiter, Trap};

use crate::files::Node;
use crate::world::World;
use crate::{Limits, Outcome, Verdict};

/// The clock of every program starts here: 1 January 2026, in nanoseconds of Unix time.
const EPOCH_NANOSECONDS: u64 = 1_767_225_600_000_000_000;

/// Fuel per nanosecond of the program's clock.
const FUEL_PER_NANOSECOND: u64 = 10;

/// Where every program's random numbers start.
const RANDOM_SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// Why a host function ended the program. Carried through wasmtime as an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It asked to end.
    Exited,
    /// It wrote too much.
    OutputLimit,
    /// It slept too long.
    OutOfTime,
    /// The host could not place in its memory what it asked for.
    OutOfMemory,
}

impl fmt::Display for Stopped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "stopped: {self:?}")
    }
}

impl std::error::Error for Stopped {}

impl From<Stopped> for Outcome {
    fn from(stopped: Stopped) -> Outcome {
        match stopped {
            Stopped::Exited => Outcome::Exited,
            Stopped::OutputLimit => Outcome::OutputLimit,
            Stopped::OutOfTime => Outcome::OutOfTime,
            Stopped::OutOfMemory => Outcome::OutOfMemory,
        }
    }
}

/// What of a job's world outlives a single instance: a test that breaks the interpreter ends the instance, not the job.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Bytes written to stdout and stderr.
    pub(crate) written: u64,
    /// Start of stdout.
    pub(crate) stdout: Vec<u8>,
    /// Start of stderr.
    pub(crate) stderr: Vec<u8>,
    /// Nanoseconds slept.
    pub(crate) slept: u64,
    /// Most memory held, in bytes.
    pub(crate) peak_memory: usize,
    /// Refused calls by name.
    pub(crate) denied: BTreeMap<String, u32>,
}

impl Ledger {
    /// Adds one line to the start of stderr, from the host: it does not count as output.
    pub(crate) fn note(&mut self, line: &str) {
        keep_head(&mut self.stderr, line.as_bytes());
        keep_head(&mut self.stderr, b"\n");
    }

    /// Adds a refused call.
    pub(crate) fn deny(&mut self, name: &str) {
        if let Some(count) = self.denied.get_mut(name) {
            *count = count.saturating_add(1);
        } else {
            self.denied.insert(name.to_owned(), 1);
        }
    }
}

/// An open file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    /// Which.
    pub(crate) node: Node,
    /// Where the next byte is read.
    pub(crate) position: u64,
}

/// State of one instance.
pub(crate) struct Sandbox {
    /// The job's account.
    pub(crate) ledger: Ledger,
    /// The instance's memory, once there is one.
    pub(crate) memory: Option<Memory>,
    /// What the program found when it started.
    pub(crate) world: World,
    /// Bytes of stdin that have been read.
    pub(crate) stdin_read: usize,
    /// Files and folders that the program has opened.
    pub(crate) open: Vec<Option<Open>>,
    /// The code with which the program has ended itself.
    pub(crate) exit_code: Option<i32>,
    /// All of stdout, where more than its beginning is wanted.
    pub(crate) printed: Option<Vec<u8>>,
    /// Rejected promises of JavaScript that nobody handles, each with its reason.
    pub(crate) unhandled: Vec<(i64, i64)>,
    /// Whether growth was refused since this was last reset.
    pub(crate) memory_refused: bool,
    limits: Limits,
    random: u64,
}

impl Sandbox {
    /// A fresh world that goes on with an account.
    pub(crate) fn new(world: World, limits: Limits, ledger: Ledger) -> Self {
        Self {
            ledger,
            memory: None,
            world,
            stdin_read: 0,
            open: Vec::new(),
            exit_code: None,
            printed: None,
            unhandled: Vec::new(),
            memory_refused: false,
            limits,
            random: RANDOM_SEED,
        }
    }

    /// Takes what was written; more than the limit stops the program.
    pub(crate) fn write(&mut self, to_stderr: bool, bytes: &[u8]) -> Result<(), Stopped> {
        let ledger = &mut self.ledger;
        let room = self.limits.output_bytes.get().saturating_sub(ledger.written);
        let kept = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        keep_head(if to_stderr { &mut ledger.stderr } else { &mut ledger.stdout }, &bytes[..kept]);
        if let Some(printed) = &mut self.printed
            && !to_stderr
        {
            printed.extend_from_slice(&bytes[..kept]);
        }
        ledger.written += bytes.len() as u64;
        if kept < bytes.len() { Err(Stopped::OutputLimit) } else { Ok(()) }
    }

    /// How often something was refused.
    pub(crate) fn refusals(&self) -> u64 {
        self.ledger.denied.values().map(|count| u64::from(*count)).sum()
    }

    /// Moves the clock forward; nobody waits.
    pub(crate) fn sleep(&mut self, nanoseconds: u64) -> Result<(), Stopped> {
        self.ledger.slept = self.ledger.slept.saturating_add(nanoseconds);
        let most = self.limits.timeout_ms.get().saturating_mul(1_000_000);
        if self.ledger.slept > most { Err(Stopped::OutOfTime) } else { Ok(()) }
    }

    /// Fills with the next random bytes: the same for every program.
    pub(crate) fn random(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.random = self.random.wrapping_add(RANDOM_SEED);
            let mut mixed = self.random;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^= mixed >> 31;
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Nanoseconds on the program's clock: a function of the work it has done and the sleep it has had.
pub(crate) fn clock(caller: &Caller<'_, Sandbox>, realtime: bool) -> wasmtime::Result<u64> {
    let sandbox = caller.data();
    let worked = sandbox.limits.fuel.get().saturating_sub(caller.get_fuel()?) / FUEL_PER_NANOSECOND;
    let elapsed = worked.saturating_add(sandbox.ledger.slept);
    Ok(if realtime { EPOCH_NANOSECONDS.saturating_add(elapsed) } else { elapsed })
}

/// Charges work that a host function does for the program, so that fuel bounds it too.
pub(crate) fn charge(caller: &mut Caller<'_, Sandbox>, bytes: u32) -> wasmtime::Result<()> {
    match caller.get_fuel()?.checked_sub(u64::from(bytes)) {
        Some(left) => caller.set_fuel(left),
        None => {
            caller.set_fuel(0)?;
            Err(Trap::OutOfFuel.into())
        }
    }
}

/// Adds what there is room for.
pub(crate) fn keep_head(head: &mut Vec<u8>, bytes: &[u8]) {
    let room = Verdict::HEAD_BYTES.saturating_sub(head.len());
    head.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

impl ResourceLimiter for Sandbox {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.limits.memory_bytes() {
            self.memory_refused = true;
            return Ok(false);
        }
        self.ledger.peak_memory = self.ledger.peak_memory.max(desired);
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= 100_000)
    }
}
