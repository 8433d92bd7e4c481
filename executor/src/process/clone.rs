//! Starting processes in namespaces of their own, and waiting for them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// `CLONE_INTO_CGROUP`, for which libc's type is too narrow.
const INTO_GROUP: u64 = 0x2_0000_0000;

/// Which of the two processes the caller of [`clone_process`] is.
pub(crate) enum Side {
    /// The one that called.
    Parent(Child),
    /// The new one.
    Child,
}

/// A child process. It is killed and waited for when dropped: nothing that this module starts is left behind.
pub(crate) struct Child {
    pid: Pid,
    handle: OwnedFd,
    is_reaped: bool,
}

/// How a child ended, and what it and those that it waited for used.
pub(crate) struct Remains {
    /// Its exit status or signal.
    pub(crate) status: ExitStatus,
    /// Processor time.
    pub(crate) cpu: Duration,
    /// Largest resident memory of one process, in bytes.
    pub(crate) peak_memory_bytes: u64,
}

impl Child {
    /// Its id, as this process sees it.
    pub(crate) fn id(&self) -> Pid {
        self.pid
    }

    /// Kills it, and with it all of its namespace if it is the first process of one.
    pub(crate) fn kill(&self) {
        // It may be dead already, which is what is wanted.
        let _ = kill(self.pid, Signal::SIGKILL);
    }

    /// Waits until it has ended.
    pub(crate) fn wait(mut self) -> io::Result<Remains> {
        self.reap()
    }

    #[expect(unsafe_code, reason = "the standard library waits only for its own children")]
    fn reap(&mut self) -> io::Result<Remains> {
        let mut status = 0;
        // SAFETY: `rusage` is a structure of plain numbers, for which zeros are valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are valid for writes during the call.
        while unsafe { libc::wait4(self.pid.as_raw(), &raw mut status, 0, &raw mut usage) } < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        self.is_reaped = true;
        let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
        let peak_memory_bytes = u64::try_from(usage.ru_maxrss).unwrap_or(0) << 10;
        Ok(Remains { status: ExitStatus::from_raw(status), cpu, peak_memory_bytes })
    }
}

impl AsFd for Child {
    /// Readable once the child has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.kill();
            // Nothing is to be done about a child that cannot be waited for.
            let _ = self.reap();
        }
    }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
        + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// Forks, with the new process in new namespaces as `flags` (`CLONE_NEW…`) say, and in the control group `group` if given.
///
/// # Safety
///
/// If this process has other threads, none of them may hold a lock that the new process will ask for: it has only this one.
#[expect(unsafe_code, reason = "no crate that rltrain has wraps clone3 without sharing memory")]
pub(crate) unsafe fn clone_process(flags: libc::c_int, group: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    let mut handle: libc::c_int = -1;
    let mut wanted = flags.cast_unsigned() as u64 | libc::CLONE_PIDFD as u64;
    if group.is_some() {
        wanted |= INTO_GROUP;
    }
    let arguments = libc::clone_args {
        flags: wanted,
        pidfd: (&raw mut handle) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: group.map_or(0, |group| group.as_raw_fd() as u64),
    };
    // SAFETY: the arguments are valid for reads and `handle` for writes; without `CLONE_VM` the new process works on a copy of
    // this one's memory and stack, as after `fork`.
    let result =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) };
    match result {
        0 => Ok(Side::Child),
        pid if pid > 0 => {
            // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows of it.
            let handle = unsafe { OwnedFd::from_raw_fd(handle) };
            let pid = Pid::from_raw(i32::try_from(pid).map_err(io::Error::other)?);
            Ok(Side::Parent(Child { pid, handle, is_reaped: false }))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Waits for any child of this process; `None` if there is none left.
#[expect(unsafe_code, reason = "nix refuses to return statuses that hold real-time signals")]
pub(crate) fn wait_for_any() -> io::Result<Option<(Pid, ExitStatus)>> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is valid for writes during the call.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, 0) };
        if pid > 0 {
            return Ok(Some((Pid::from_raw(pid), ExitStatus::from_raw(status))));
        }
        match Errno::last() {
            Errno::EINTR => {}
            Errno::ECHILD => return Ok(None),
            error => return Err(error.into()),
        }
    }
}

/// Ends this process at once: no destructors, no buffers, nothing that it shares with the process it was forked from.
#[expect(unsafe_code, reason = "the standard library only exits in an orderly way")]
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: this call does not return and touches no memory.
    unsafe { libc::_exit(code) }
}
