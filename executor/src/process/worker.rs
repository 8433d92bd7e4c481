//! The worker of the process backend: enters namespaces of its own, and serves its parent from there.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, pipe2, setgroups, sethostname};
use serde::{Deserialize, Serialize};

use super::clone::{Child, Side, clone_process, leave};
use super::isolation::Isolation;
use super::jail::Jail;
use super::judge::Judge;
use super::layers::{Layer, LayerSet};
use super::mounts::{self, View};
use super::run::{Command, Ended};
use super::run_group::Groups;
use super::seccomp::Filters;
use super::toolchain::Toolchain;
use crate::protocol::{self, Reply, Request, Welcome};

/// Namespaces of a worker, which all its programs run in.
const NAMESPACES: [(Layer, libc::c_int); 6] = [
    (Layer::UserNamespace, libc::CLONE_NEWUSER),
    (Layer::MountNamespace, libc::CLONE_NEWNS),
    (Layer::PidNamespace, libc::CLONE_NEWPID),
    (Layer::NetworkNamespace, libc::CLONE_NEWNET),
    (Layer::IpcNamespace, libc::CLONE_NEWIPC),
    (Layer::UtsNamespace, libc::CLONE_NEWUTS),
];

/// The user that programs are outside of all namespaces, if the worker is started by root: nobody.
const NOBODY: u32 = 65_534;

/// What a worker needs to know of the host it is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surroundings {
    /// What programs see of the host's files.
    pub view: View,
    /// Layers that may be missing.
    pub accept_missing: LayerSet,
}

/// A program's files, how it is compiled, and how it is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Names and contents.
    pub files: Vec<(String, String)>,
    /// What turns them into a program, if that takes anything.
    pub compile: Option<Command>,
    /// What is run once that has been done.
    pub run: Command,
}

/// What came of a [`Task`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// Compiling did not end well.
    NotCompiled(Ended),
    /// It was run.
    Ran(Ended),
    /// The jail failed.
    Fault(String),
}

/// Serves a parent that sends tasks.
pub(crate) fn serve_commands(
    surroundings: &Surroundings,
    requests: &mut impl Read,
    replies: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    serve(surroundings, requests, replies, |jail, task: Task| {
        perform(jail, &task).unwrap_or_else(|error| Done::Fault(error.to_string()))
    })
}

/// Serves a parent that sends jobs.
pub(crate) fn serve_programs(
    surroundings: &Surroundings,
    toolchain: &Toolchain,
    requests: &mut impl Read,
    replies: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let judge = Judge::new(toolchain.clone());
    serve(surroundings, requests, replies, |jail, request: Request| {
        // One job at a time is sent here, so that there is none to forget.
        let Request::Judge(job) = request else { return Reply::Forgotten };
        Reply::from(judge.judge(jail, &job))
    })
}

fn perform(jail: &Jail, task: &Task) -> io::Result<Done> {
    const MOST_PROGRAM: u64 = 256 << 20;
    let folder = jail.program_folder(MOST_PROGRAM)?;
    for (name, content) in &task.files {
        folder.add(name, content.as_bytes())?;
    }
    if let Some(compile) = &task.compile {
        let ended = jail.run(compile)?;
        if ended.how != super::run::How::Exited(0) {
            return Ok(Done::NotCompiled(ended));
        }
    }
    folder.freeze()?;
    jail.run(&task.run).map(Done::Ran)
}

/// Enters the jail, and answers requests from there until the parent closes the pipe.
fn serve<Request: serde::de::DeserializeOwned, Reply: Serialize>(
    surroundings: &Surroundings,
    requests: &mut impl Read,
    replies: &mut impl Write,
    mut answer: impl FnMut(&Jail, Request) -> Reply,
) -> Result<(), Box<dyn Error>> {
    let isolation = Isolation::probe();
    // An extra: where it fails all the same, the other layers do.
    let groups = if isolation.offers(Layer::CgroupKill) { Groups::make().ok() } else { None };
    let launched = isolation
        .check(surroundings.accept_missing)
        .map_err(Box::<dyn Error>::from)
        .and_then(|()| launch(&isolation));
    let go = match launched {
        Ok(Launched::Outside(child)) => {
            let status = child.wait()?.status;
            if let Some(groups) = groups {
                groups.remove()?;
            }
            return if status.success() { Ok(()) } else { Err(status.to_string().into()) };
        }
        Ok(Launched::Inside(go)) => go,
        Err(error) => {
            protocol::write(replies, &Welcome::Refused(error.to_string()))?;
            return Err(error);
        }
    };
    let work = || -> Result<(), Box<dyn Error>> {
        let jail = match settle(surroundings, &isolation, groups, go) {
            Ok(jail) => jail,
            Err(error) => {
                protocol::write(replies, &Welcome::Refused(error.to_string()))?;
                return Err(error);
            }
        };
        protocol::write(replies, &Welcome::Ready)?;
        while let Some(request) = protocol::read(requests)? {
            protocol::write(replies, &answer(&jail, request))?;
        }
        Ok(())
    };
    // This is a copy of the process that was started; what that one has to clean up is not for this one to clean up.
    match work() {
        Ok(()) => leave(0),
        Err(error) => {
            // Nobody is left to tell where stderr is closed.
            let _ = writeln!(io::stderr(), "process worker: {error}");
            leave(1)
        }
    }
}

enum Launched {
    /// The process that was started. It waits.
    Outside(Child),
    /// The first process of the namespaces. It works, once it may read from here.
    Inside(OwnedFd),
}

/// Starts a process in namespaces of its own, in which it is root and can reach nothing.
fn launch(isolation: &Isolation) -> Result<Launched, Box<dyn Error>> {
    let offered = NAMESPACES.iter().filter(|(layer, _)| isolation.offers(*layer));
    let namespaces = offered.fold(0, |flags, (_, flag)| flags | flag);
    let (go_in, go) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: the only other thread waits for this one to end, and holds no lock meanwhile.
    #[expect(unsafe_code, reason = "forks")]
    let side = unsafe { clone_process(namespaces, None) }?;
    let child = match side {
        Side::Child => return Ok(Launched::Inside(go_in)),
        Side::Parent(child) => child,
    };
    let folder = format!("/proc/{}", child.id());
    let folder = Path::new(&folder);
    let (user, group) = (Uid::effective(), Gid::effective());
    let map = |own: u32| {
        if user.is_root() { format!("0 {own} 1\n{NOBODY} {NOBODY} 1\n") } else { format!("0 {own} 1\n") }
    };
    if !user.is_root() {
        fs_err::write(folder.join("setgroups"), "deny")?;
    }
    fs_err::write(folder.join("gid_map"), map(group.as_raw()))?;
    fs_err::write(folder.join("uid_map"), map(user.as_raw()))?;
    File::from(go).write_all(&[u8::from(user.is_root())])?;
    Ok(Launched::Outside(child))
}

/// Leaves the host's files behind, inside.
fn settle(
    surroundings: &Surroundings,
    isolation: &Isolation,
    groups: Option<Groups>,
    go: OwnedFd,
) -> Result<Jail, Box<dyn Error>> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mut byte = [0];
    File::from(go).read_exact(&mut byte)?;
    let is_root = byte == [1];
    if is_root {
        setgroups(&[])?;
    }
    mounts::enter(&surroundings.view)?;
    if isolation.offers(Layer::UtsNamespace) {
        sethostname("sandbox")?;
    }
    let filters = Filters::compile(isolation.offers(Layer::SeccompNotification))?;
    let user = if is_root { NOBODY } else { 0 };
    Ok(Jail { filters, groups, isolation: isolation.clone(), user })
}
