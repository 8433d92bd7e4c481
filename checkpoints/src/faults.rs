//! Faults of a file system, for tests: the n-th operation fails.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::disk::Operation;

/// What happens to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is refused with this error number and does nothing.
    Refused(i32),
    /// It is done, and this error number is reported all the same, as by a server whose answer was lost.
    DoneButRefused(i32),
    /// A write takes half of its bytes, and the operation after it finds the disk full.
    ShortWrite,
    /// A write says that it took all of its bytes, and half of them are on the disk.
    LostWrite,
    /// A read returns a flipped bit.
    FlippedRead,
    /// It and everything after it is refused: the mount is lost, or the process dead.
    Gone,
}

impl Fault {
    /// One of every kind that there is.
    pub(crate) const ALL: [Fault; 8] = [
        Fault::Refused(libc::ENOSPC),
        Fault::Refused(libc::EIO),
        Fault::Refused(libc::EACCES),
        Fault::DoneButRefused(libc::EIO),
        Fault::ShortWrite,
        Fault::LostWrite,
        Fault::FlippedRead,
        Fault::Gone,
    ];

    /// Whether it can happen to such an operation.
    fn befalls(self, operation: Operation) -> bool {
        match self {
            Fault::ShortWrite | Fault::LostWrite => operation == Operation::Write,
            Fault::FlippedRead => operation == Operation::Read,
            Fault::DoneButRefused(_) => matches!(operation, Operation::Name | Operation::Sync),
            Fault::Refused(_) | Fault::Gone => true,
        }
    }
}

/// Counts operations, and has one of them fail.
#[derive(Debug)]
pub(crate) struct Faults {
    fault: Fault,
    at: usize,
    next: AtomicUsize,
    happened: AtomicBool,
}

impl Faults {
    /// `fault` befalls operation number `at`, counted from 0.
    pub(crate) fn new(fault: Fault, at: usize) -> Self {
        Self { fault, at, next: AtomicUsize::new(0), happened: AtomicBool::new(false) }
    }

    /// Nothing ever fails.
    pub(crate) fn none() -> Self {
        Self::new(Fault::Gone, usize::MAX)
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> usize {
        self.next.load(Ordering::Relaxed)
    }

    /// Whether the fault has befallen anything.
    pub(crate) fn happened(&self) -> bool {
        self.happened.load(Ordering::Relaxed)
    }

    /// What happens to the next operation.
    fn next(&self, operation: Operation) -> Option<Fault> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number == self.at && self.fault.befalls(operation) {
            self.happened.store(true, Ordering::Relaxed);
            Some(self.fault)
        } else if self.happened() && number > self.at && self.fault == Fault::Gone {
            Some(Fault::Gone)
        } else if self.happened() && number == self.at + 1 && self.fault == Fault::ShortWrite {
            Some(Fault::Refused(libc::ENOSPC))
        } else {
            None
        }
    }

    pub(crate) fn perform<T>(
        &self,
        operation: Operation,
        work: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        match self.next(operation) {
            Some(Fault::Refused(number)) => Err(io::Error::from_raw_os_error(number)),
            Some(Fault::Gone) => Err(io::Error::from_raw_os_error(libc::EIO)),
            Some(Fault::DoneButRefused(number)) => work().and(Err(io::Error::from_raw_os_error(number))),
            _ => work(),
        }
    }

    pub(crate) fn write(
        &self,
        buffer: &[u8],
        write: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let half = &buffer[..buffer.len() / 2];
        match self.next(Operation::Write) {
            Some(Fault::Refused(number)) => Err(io::Error::from_raw_os_error(number)),
            Some(Fault::Gone) => Err(io::Error::from_raw_os_error(libc::EIO)),
            // Nothing written means that nothing ever will be, as `write_all` understands it.
            Some(Fault::ShortWrite) if half.is_empty() => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            Some(Fault::ShortWrite) => write(half),
            Some(Fault::LostWrite) => write(half).map(|_| buffer.len()),
            _ => write(buffer),
        }
    }

    pub(crate) fn read(
        &self,
        buffer: &mut [u8],
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        match self.next(Operation::Read) {
            Some(Fault::Refused(number)) => Err(io::Error::from_raw_os_error(number)),
            Some(Fault::Gone) => Err(io::Error::from_raw_os_error(libc::EIO)),
            Some(Fault::FlippedRead) => {
                let found = read(buffer)?;
                if found > 0 {
                    buffer[found / 2] ^= 4;
                }
                Ok(found)
            }
            _ => read(buffer),
        }
    }
}
