//! The first process of a program's namespaces: it prepares them, starts the program, and takes all processes with it when
//! the program ends.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{
    Gid, Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, setresgid, setresuid, setsid,
};
use serde::{Deserialize, Serialize};

use super::clone::{Side, clone_process, leave, wait_for_any};
use super::run::Bounds;
use super::seccomp::Filters;
use super::{confinement, mounts};

/// User and group that programs run as, in their own namespace.
pub(crate) const PROGRAM_ID: u32 = 1000;

/// All that the first process and the program need, made before either exists.
pub(crate) struct Setup<'a> {
    /// Readable once the supervisor has written the maps of user and group ids.
    pub(crate) go: OwnedFd,
    /// Where to say what happened.
    pub(crate) report: OwnedFd,
    /// Where to send the descriptor of refused calls.
    pub(crate) handover: OwnedFd,
    /// The program's.
    pub(crate) stdin: OwnedFd,
    /// The program's.
    pub(crate) stdout: OwnedFd,
    /// The program's.
    pub(crate) stderr: OwnedFd,
    /// The program's too, if it is to have one: a stream for its answer.
    pub(crate) answer: Option<OwnedFd>,
    /// Its executable and arguments.
    pub(crate) arguments: Vec<CString>,
    /// All of its environment.
    pub(crate) environment: Vec<CString>,
    /// What it may use up.
    pub(crate) bounds: Bounds,
    /// Around its system calls.
    pub(crate) filters: &'a Filters,
    /// Whether the kernel has landlock.
    pub(crate) has_landlock: bool,
    /// Whether the kernel can keep from it which control group it is in.
    pub(crate) has_cgroup_namespace: bool,
}

/// What the first process says to the supervisor, one line each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The program could not be started.
    Failed(String),
    /// The program ended with this wait status.
    Ended(i32),
}

type Failure = Box<dyn std::error::Error>;

/// Body of the first process. It ends when the program does.
pub(crate) fn main(setup: Setup<'_>) -> ! {
    let mut report = match setup.report.try_clone() {
        Ok(report) => File::from(report),
        Err(_) => leave(2),
    };
    let said = match oversee(setup) {
        Ok(status) => Report::Ended(status),
        Err(failure) => Report::Failed(failure.to_string()),
    };
    leave(i32::from(say(&mut report, &said).is_err()));
}

fn say(report: &mut File, what: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    report.write_all(&line)
}

/// Prepares the namespaces, starts the program, and waits for its end. Orphans of the program are waited for on the way.
fn oversee(setup: Setup<'_>) -> Result<i32, Failure> {
    File::from(setup.go.try_clone()?).read_exact(&mut [0])?;
    let (user, group) = (Uid::from_raw(PROGRAM_ID), Gid::from_raw(PROGRAM_ID));
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    if setup.has_cgroup_namespace {
        // Here, in the group of this run: that is the one it sees as the root.
        leave_control_groups()?;
    }
    mounts::proc(Some("subset=pid,hidepid=invisible"))?;
    // It is the program's neighbour with the same user: nothing of it may be read or traced.
    prctl::set_dumpable(false)?;
    prctl::set_no_new_privs()?;
    confinement::drop_capabilities()?;
    // SAFETY: this process has one thread.
    #[expect(unsafe_code, reason = "forks")]
    let side = unsafe { clone_process(0, None) }?;
    let program = match side {
        Side::Child => become_program(setup),
        Side::Parent(program) => program,
    };
    drop(setup);
    while let Some((process, status)) = wait_for_any()? {
        if process == program.id() {
            // Dropping would kill and wait for a process that is no more.
            std::mem::forget(program);
            return Ok(status.into_raw());
        }
    }
    Err("the program's process is gone".into())
}

fn become_program(setup: Setup<'_>) -> ! {
    let report = setup.report.try_clone();
    let Err(failure) = start(setup);
    if let Ok(report) = report {
        // If this fails, the supervisor sees the exit status.
        let _ = say(&mut File::from(report), &Report::Failed(failure.to_string()));
    }
    leave(127)
}

fn start(setup: Setup<'_>) -> Result<std::convert::Infallible, Failure> {
    setsid()?;
    dup2_stdin(&setup.stdin)?;
    dup2_stdout(&setup.stdout)?;
    dup2_stderr(&setup.stderr)?;
    close_on_exec()?;
    if let Some(answer) = &setup.answer {
        fcntl(answer, FcntlArg::F_SETFD(FdFlag::empty()))?;
    }
    umask(Mode::from_bits_truncate(0o022));
    chdir(mounts::SCRATCH)?;
    if setup.has_landlock {
        confinement::restrict_files(&setup.bounds)?;
    }
    confinement::restrict_resources(&setup.bounds)?;
    if let Some(listener) = setup.filters.install()? {
        let rights = [listener.as_raw_fd()];
        let message = [ControlMessage::ScmRights(&rights)];
        let content = [io::IoSlice::new(b"\n")];
        sendmsg::<UnixAddr>(setup.handover.as_raw_fd(), &content, &message, MsgFlags::empty(), None)?;
    }
    let executable = setup.arguments.first().ok_or("there is nothing to run")?;
    execve(executable, &setup.arguments, &setup.environment)
        .map_err(|error| format!("cannot run {}: {error}", executable.to_string_lossy()).into())
}

#[expect(unsafe_code, reason = "nix wraps this call in a part that rltrain does not build")]
fn leave_control_groups() -> io::Result<()> {
    // SAFETY: this call takes a number and touches no memory.
    let result = unsafe { libc::unshare(libc::CLONE_NEWCGROUP) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Everything beyond the three standard streams stays behind.
#[expect(unsafe_code, reason = "nix does not wrap close_range")]
fn close_on_exec() -> io::Result<()> {
    // SAFETY: no descriptor is closed by this call; those that are open are marked.
    let result = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
