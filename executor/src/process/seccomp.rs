//! The filter around a program's system calls, and the count of those that it refused.
//!
//! A refused call is not answered by the filter itself: the kernel asks the supervisor, which takes down the name and
//! refuses. That costs nothing until a program tries something, and a program can neither see nor avoid it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, sock_filter};

use super::calls;

/// Both filters of a program, compiled once per worker.
pub(crate) struct Filters {
    /// Answers calls that are absent without a word.
    absent: BpfProgram,
    /// Lets through what is allowed.
    allowed: BpfProgram,
    /// Whether refused calls are reported.
    notifies: bool,
}

impl Filters {
    /// Compiles the filters. With `notifies`, [`Filters::install`] returns where refused calls are reported.
    pub(crate) fn compile(notifies: bool) -> Result<Self, Box<dyn std::error::Error>> {
        let architecture = std::env::consts::ARCH.try_into()?;
        let absent = calls::SILENTLY_ABSENT.into_iter().map(|call| (call, Vec::new())).collect();
        let no_such_call = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
        let absent = SeccompFilter::new(absent, SeccompAction::Allow, no_such_call, architecture)?;
        // seccompiler does not know the action of notifying. One that it knows and nothing else here uses stands in for it.
        let (refuse, stand_in) = if notifies {
            (SeccompAction::Trace(0), Some(libc::SECCOMP_RET_TRACE))
        } else {
            (SeccompAction::Errno(libc::EPERM.cast_unsigned()), None)
        };
        let allowed = SeccompFilter::new(calls::rules()?, refuse, SeccompAction::Allow, architecture)?;
        let mut allowed: BpfProgram = allowed.try_into()?;
        if let Some(stand_in) = stand_in {
            let returns = |step: &&mut sock_filter| u32::from(step.code) == libc::BPF_RET | libc::BPF_K;
            for step in allowed.iter_mut().filter(returns).filter(|step| step.k == stand_in) {
                step.k = libc::SECCOMP_RET_USER_NOTIF;
            }
        }
        Ok(Self { absent: absent.try_into()?, allowed, notifies })
    }

    /// Puts the filters around this process, which must have given up new privileges.
    pub(crate) fn install(&self) -> io::Result<Option<OwnedFd>> {
        install(&self.absent, 0)?;
        if !self.notifies {
            install(&self.allowed, 0)?;
            return Ok(None);
        }
        match install(&self.allowed, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)? {
            Some(listener) => Ok(Some(listener)),
            None => Err(io::Error::other("the kernel gave no descriptor for refused calls")),
        }
    }
}

#[expect(unsafe_code, reason = "seccompiler does not install filters that notify")]
fn install(program: &[sock_filter], flags: libc::c_ulong) -> io::Result<Option<OwnedFd>> {
    let length = libc::c_ushort::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: program and filter are valid for reads during the call, and `sock_filter` has the layout of the kernel's.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    match i32::try_from(result).map_err(io::Error::other)? {
        ..0 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows of it.
        listener => Ok(Some(unsafe { OwnedFd::from_raw_fd(listener) })),
    }
}

/// Where the refused calls of one program arrive.
pub(crate) struct Refusals {
    listener: OwnedFd,
}

impl Refusals {
    /// Takes over what [`Filters::install`] returned in the program's process.
    pub(crate) fn new(listener: OwnedFd) -> Self {
        Self { listener }
    }

    /// Refuses the next call that waits, and counts it. Returns if none does any more.
    #[expect(unsafe_code, reason = "no crate that rltrain has wraps these requests")]
    pub(crate) fn refuse_next(&self, counts: &mut BTreeMap<String, u32>) -> io::Result<()> {
        // SAFETY: a structure of plain numbers, for which zeros are valid, and which the kernel wants to be zero.
        let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        let listener = self.listener.as_raw_fd();
        // SAFETY: `call` is valid for writes during the call.
        if unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) } != 0 {
            return gone_or_error();
        }
        let name = calls::refused_name(call.data.nr.into());
        let error = if name.is_some() { libc::EPERM } else { libc::ENOSYS };
        let name = name.map_or_else(|| format!("system call {}", call.data.nr), str::to_owned);
        let count = counts.entry(name).or_insert(0);
        *count = count.saturating_add(1);
        let mut answer = libc::seccomp_notif_resp { id: call.id, val: 0, error: -error, flags: 0 };
        // SAFETY: `answer` is valid for reads during the call.
        if unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) } != 0 {
            return gone_or_error();
        }
        Ok(())
    }
}

/// A program that was killed between its call and the answer needs none.
fn gone_or_error() -> io::Result<()> {
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::EINTR) => Ok(()),
        _ => Err(error),
    }
}

impl AsFd for Refusals {
    /// Readable when a call waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}
