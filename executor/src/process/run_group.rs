//! The control groups (cgroup v2) that programs run in: the kernel ends all processes of one at once, and bounds their memory and
//! number where it hands on the controllers for that.
//!
//! A worker has a folder of its own, made before it leaves the host's files behind, and in it one group for the program that
//! runs. It holds a lock on that folder for as long as it lives, so that the next worker sees which folders nobody needs any more.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg, OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::groups::{self, CONTROLLERS};
use super::run::Bounds;

/// How the folders of workers are called, with the worker's process id and a number after it.
const PREFIX: &str = "rltrain-";

/// Folders that this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// The group of the program that runs.
const RUN: &str = "run";

/// Looks at a group that is being ended, and the time between them.
const LOOKS: usize = 200;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// The folder of one worker.
pub(crate) struct Groups {
    path: PathBuf,
    folder: Flock<File>,
    /// Of [`CONTROLLERS`], those that its groups have.
    controllers: Vec<&'static str>,
}

/// The group of one run. All its processes are killed, and it is removed, when it is dropped.
pub(crate) struct Group<'a> {
    groups: &'a Groups,
    folder: OwnedFd,
}

impl Groups {
    /// A folder where this host lets this process make one; otherwise why not.
    pub(crate) fn make() -> Result<Self, String> {
        let mut reasons = Vec::new();
        for place in groups::places()? {
            sweep(&place);
            // Several are made in one process where several executors are started at once.
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let path = place.join(format!("{PREFIX}{}-{number}", std::process::id()));
            match Self::make_at(path) {
                Ok(groups) => return Ok(groups),
                Err(error) => reasons.push(format!("`{}`: {error}", place.display())),
            }
        }
        Err(reasons.join("; "))
    }

    fn make_at(path: PathBuf) -> io::Result<Self> {
        // One that a process of the same id has left behind is as good.
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let folder = lock(&path)?;
        let has = std::fs::read_to_string(path.join("cgroup.controllers"))?;
        let has = |name: &&str| has.split_whitespace().any(|other| other == *name);
        let controllers: Vec<_> = CONTROLLERS.into_iter().filter(has).collect();
        let groups = Self { path, folder, controllers };
        for name in &groups.controllers {
            write(groups.folder.as_fd(), "cgroup.subtree_control", &format!("+{name}"))?;
        }
        // A kernel without it (before 5.14) has no use for groups here.
        drop(File::open(groups.path.join("cgroup.kill"))?);
        Ok(groups)
    }

    /// A group for a run with these bounds.
    pub(crate) fn enter(&self, bounds: &Bounds) -> io::Result<Group<'_>> {
        mkdirat(&*self.folder, RUN, Mode::from_bits_truncate(0o755))?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = openat(&*self.folder, RUN, flags, Mode::empty())?;
        let group = Group { groups: self, folder };
        if self.controllers.contains(&"memory") {
            // Files in the scratch folder count too.
            group.write("memory.max", &bounds.memory_bytes.to_string())?;
            group.write("memory.oom.group", "1")?;
            // Absent where the kernel has no swap.
            let _ = group.write("memory.swap.max", "0");
        }
        if self.controllers.contains(&"pids") {
            // The first process of the namespaces is one of them.
            group.write("pids.max", &(bounds.processes + 1).to_string())?;
        }
        Ok(group)
    }

    /// Removes the folder. What is still in it is not removed.
    pub(crate) fn remove(self) -> io::Result<()> {
        remove(&self.path)
    }
}

impl Group<'_> {
    /// Kills all its processes.
    pub(crate) fn kill(&self) -> io::Result<()> {
        self.write("cgroup.kill", "1")
    }

    /// Whether the kernel has ended a process for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.groups.controllers.contains(&"memory")
            && self.field("memory.events", "oom_kill").is_ok_and(|count| count != "0")
    }

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.field("cgroup.events", "populated")? == "0")
    }

    fn field(&self, file: &str, name: &str) -> io::Result<String> {
        let mut content = String::new();
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        File::from(openat(&self.folder, file, flags, Mode::empty())?).read_to_string(&mut content)?;
        let value = content.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map(str::to_owned).ok_or_else(|| io::Error::other(format!("`{file}` has no `{name}`")))
    }

    fn write(&self, file: &str, content: &str) -> io::Result<()> {
        write(self.folder.as_fd(), file, content)
    }

    fn end(&self) -> io::Result<()> {
        self.kill()?;
        for _ in 0..LOOKS {
            if self.is_empty()? {
                break;
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
        Ok(unlinkat(&*self.groups.folder, RUN, UnlinkatFlags::RemoveDir)?)
    }
}

impl AsFd for Group<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        // If this fails, so does making the next one, with the reason.
        let _ = self.end();
    }
}

fn write(folder: BorrowedFd<'_>, file: &str, content: &str) -> io::Result<()> {
    let file = openat(folder, file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    File::from(file).write_all(content.as_bytes())
}

/// Opens a folder, and holds it until all copies of what is returned are closed.
fn lock(path: &Path) -> io::Result<Flock<File>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let folder = File::from(open(path, flags, Mode::empty())?);
    Flock::lock(folder, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error.into())
}

/// Removes the folders of workers that are no more: one that is killed leaves its own behind.
fn sweep(place: &Path) {
    let Ok(entries) = std::fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let worker = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        let Some(worker) = worker else { continue };
        // A worker that has just made its folder has no lock on it yet.
        if !Path::new("/proc").join(worker).exists() && lock(&entry.path()).is_ok() {
            // Whatever is in the way of this is so next time as well.
            let _ = remove(&entry.path());
        }
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    let run = folder.join(RUN);
    if run.exists() {
        std::fs::remove_dir(run)?;
    }
    std::fs::remove_dir(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Groups of this process; `None`, said so, where the host gives it none.
    #[expect(clippy::print_stderr, reason = "a test that does nothing has to say so")]
    fn groups() -> Option<Groups> {
        Groups::make().map_err(|reason| eprintln!("skipped: {reason}")).ok()
    }

    fn sleeper(group: &Group<'_>) -> Child {
        let procs = format!("/proc/{}/fd/{}/cgroup.procs", std::process::id(), {
            use std::os::fd::AsRawFd;
            group.as_fd().as_raw_fd()
        });
        let script = format!("echo $$ > {procs} && echo ready && setsid sleep 600 & setsid sleep 600");
        let mut child =
            Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let mut ready = [0; 1];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        child
    }

    #[test]
    fn a_group_ends_with_all_its_processes_and_its_folder_is_swept_up() {
        let Some(groups) = groups() else { return };
        let bounds = Bounds::new(Duration::from_secs(1), 64 << 20, 100);
        let group = groups.enter(&bounds).unwrap();
        assert!(group.is_empty().unwrap() && !group.ran_out_of_memory());
        let mut child = sleeper(&group);
        assert!(!group.is_empty().unwrap());
        drop(group);
        child.kill().unwrap();
        child.wait().unwrap();
        // There is room for the next.
        drop(groups.enter(&bounds).unwrap());
        let path = groups.path.clone();
        let place = path.parent().unwrap().to_owned();
        groups.remove().unwrap();
        assert!(!path.exists());
        // What a worker that was killed has left: no process has this id, nor holds the lock.
        let left = place.join(format!("{PREFIX}4194999-0"));
        std::fs::create_dir_all(left.join(RUN)).unwrap();
        sweep(&place);
        assert!(!left.exists());
    }
}
