//! Runs commands in the jail, one after the other, inside a worker that has entered its own namespaces.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::mount::MsFlags;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::pipe2;

use super::clone::{Child, Side, clone_process};
use super::init::{self, PROGRAM_ID, Setup};
use super::isolation::Isolation;
use super::layers::Layer;
use super::mounts::{self, PROGRAM, SCRATCH};
use super::run::{Command, Ended};
use super::run_group::Groups;
use super::seccomp::Filters;
use super::supervisor::{Ends, Supervisor};

/// Namespaces that every run has to itself. It shares the empty network and the host name with the runs before and after
/// it: nothing in them outlives the processes, and a program has no right to change them.
const NAMESPACES: libc::c_int =
    libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC;

/// Files and folders in one file system in memory.
const MOST_INODES: u32 = 16_384;

/// Where commands run.
pub(crate) struct Jail {
    /// What system calls they may make.
    pub(crate) filters: Filters,
    /// Where their control groups are, if the host gives them any.
    pub(crate) groups: Option<Groups>,
    /// What else the host offers.
    pub(crate) isolation: Isolation,
    /// Which user of the worker's namespace programs are.
    pub(crate) user: u32,
}

/// The folder of one program, for as long as it is being judged.
pub(crate) struct ProgramFolder(());

impl Jail {
    /// An empty folder for a program of at most this size.
    pub(crate) fn program_folder(&self, most_bytes: u64) -> io::Result<ProgramFolder> {
        mounts::mount_tmpfs(PROGRAM, &self.tmpfs_options(most_bytes), MsFlags::MS_NOSUID)?;
        Ok(ProgramFolder(()))
    }

    /// Runs a command to its end, which comes by itself or by one of its bounds.
    ///
    /// # Errors
    ///
    /// If it could not be started: nothing that the command itself does is an error.
    pub(crate) fn run(&self, command: &Command) -> io::Result<Ended> {
        let scratch = self.tmpfs_options(command.bounds.scratch_bytes);
        mounts::mount_tmpfs(SCRATCH, &scratch, MsFlags::MS_NOSUID)?;
        let ended = lay_out(&command.files).and_then(|()| self.run_with_scratch(command));
        let cleared = mounts::unmount(SCRATCH);
        let ended = ended?;
        cleared.map(|()| ended)
    }

    fn run_with_scratch(&self, command: &Command) -> io::Result<Ended> {
        let (go_in, go) = pipe2(OFlag::O_CLOEXEC)?;
        let (report, report_in) = pipe2(OFlag::O_CLOEXEC)?;
        let (stdout, stdout_in) = pipe2(OFlag::O_CLOEXEC)?;
        let (stderr, stderr_in) = pipe2(OFlag::O_CLOEXEC)?;
        let (handover, handover_in) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        let (answer, answer_in) = pipe2(OFlag::O_CLOEXEC)?;
        let mut environment = environment(command);
        if command.answers {
            environment.push(format!("ANSWER={}", answer_in.as_raw_fd()));
        }
        let setup = Setup {
            go: go_in,
            report: report_in,
            handover: handover_in,
            stdin: sealed(&command.stdin)?,
            stdout: stdout_in,
            stderr: stderr_in,
            answer: command.answers.then_some(answer_in),
            arguments: strings(command.arguments.iter().cloned())?,
            environment: strings(environment.into_iter())?,
            bounds: command.bounds,
            filters: &self.filters,
            has_landlock: self.isolation.offers(Layer::Landlock),
            has_cgroup_namespace: self.isolation.offers(Layer::CgroupNamespace),
        };
        let group = self.groups.as_ref().map(|groups| groups.enter(&command.bounds)).transpose()?;
        // SAFETY: a worker of this kind has one thread.
        #[expect(unsafe_code, reason = "forks")]
        let side = unsafe { clone_process(NAMESPACES, group.as_ref().map(AsFd::as_fd)) }?;
        let child = match side {
            Side::Child => {
                drop((go, report, stdout, stderr, answer, handover));
                init::main(setup)
            }
            Side::Parent(child) => child,
        };
        drop(setup);
        self.map_ids(&child)?;
        File::from(go).write_all(&[0])?;
        let ends = Ends { stdout, stderr, answer, report, handover };
        Supervisor::new(child, group, ends, command.bounds)?.supervise()
    }

    /// Makes the program's user an ordinary one: no root in its namespace, nobody or the caller outside.
    fn map_ids(&self, child: &Child) -> io::Result<()> {
        let folder = format!("/proc/{}", child.id());
        let folder = Path::new(&folder);
        let map = format!("{PROGRAM_ID} {} 1\n", self.user);
        fs_err::write(folder.join("setgroups"), "deny")?;
        fs_err::write(folder.join("gid_map"), &map)?;
        fs_err::write(folder.join("uid_map"), &map)
    }

    fn tmpfs_options(&self, bytes: u64) -> String {
        format!("size={bytes},nr_inodes={MOST_INODES},mode=755,uid={},gid={}", self.user, self.user)
    }
}

impl ProgramFolder {
    /// Puts a file into it.
    pub(crate) fn add(&self, name: &str, content: &[u8]) -> io::Result<()> {
        fs_err::write(Path::new(PROGRAM).join(name), content)
    }

    /// From now on it is read-only for everyone.
    pub(crate) fn freeze(&self) -> io::Result<()> {
        mounts::freeze(PROGRAM)
    }
}

impl Drop for ProgramFolder {
    fn drop(&mut self) {
        // If this fails, so will the next program's folder, with the reason.
        let _ = mounts::unmount(PROGRAM);
    }
}

/// A file in memory that nobody can change.
fn sealed(content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(c"stdin", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    file.write_all(content)?;
    file.rewind()?;
    let seals =
        SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// Writes files into the scratch folder. Whether their paths are within it is for the caller to see to.
fn lay_out(files: &[(String, String)]) -> io::Result<()> {
    for (path, content) in files {
        let path = Path::new(SCRATCH).join(path);
        if let Some(folder) = path.parent() {
            fs_err::create_dir_all(folder)?;
        }
        fs_err::write(path, content)?;
    }
    Ok(())
}

fn environment(command: &Command) -> Vec<String> {
    let always = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", SCRATCH), ("LANG", "C.UTF-8")];
    let always = always.into_iter().map(|(name, value)| format!("{name}={value}"));
    always.chain(command.environment.iter().map(|(name, value)| format!("{name}={value}"))).collect()
}

fn strings(texts: impl Iterator<Item = String>) -> io::Result<Vec<CString>> {
    texts.map(|text| CString::new(text).map_err(io::Error::from)).collect()
}
