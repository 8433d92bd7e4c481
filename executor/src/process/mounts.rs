//! The file tree that programs see: what a toolchain needs of the host, read-only, and nothing else.

use std::ffi::CStr;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};
use serde::{Deserialize, Serialize};

/// Where the program under judgement is: its source and what it was compiled to.
pub(crate) const PROGRAM: &str = "/program";

/// The only place where a program may write, and its working folder.
pub(crate) const SCRATCH: &str = "/tmp";

/// What of the host is bound into the tree, if it is there: system libraries, compilers and what they look up.
const SYSTEM: [&str; 10] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/etc/alternatives",
    "/etc/ld.so.cache",
];

const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Where the host's tree is while the new one is being built.
const HOST: &str = "/host";

/// Which of the host's files and folders a program can read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Beside the system's: absolute paths without symbolic links, each seen at the same place.
    folders: Vec<PathBuf>,
}

impl View {
    /// The system's own programs and libraries, and `folders` besides.
    ///
    /// # Errors
    ///
    /// If one of `folders` is not there.
    pub fn of_system_and(folders: &[PathBuf]) -> io::Result<Self> {
        let mut seen: Vec<PathBuf> = Vec::new();
        for folder in folders {
            let real = fs_err::canonicalize(folder)?;
            let mut known = SYSTEM.iter().map(Path::new).chain(seen.iter().map(PathBuf::as_path));
            if !known.any(|known| real.starts_with(known)) {
                seen.push(real);
            }
        }
        Ok(Self { folders: seen })
    }
}

/// Makes the new tree the root of this process, which must be in a mount namespace of its own. The host's tree is gone then.
pub(crate) fn enter(view: &View) -> io::Result<()> {
    seal()?;
    // A folder that every host has. The mount moves away with the root, so it hides nothing.
    mount_tmpfs("/tmp", "mode=755,size=1m,nr_inodes=4096", MsFlags::MS_NOSUID)?;
    fs_err::create_dir("/tmp/host")?;
    named("pivot_root", pivot_root("/tmp", "/tmp/host"))?;
    named("chdir", chdir("/"))?;
    for path in SYSTEM.map(Path::new) {
        if fs_err::symlink_metadata(in_host(path)?).is_ok() {
            show(path)?;
        }
    }
    view.folders.iter().try_for_each(|folder| show(folder))?;
    devices()?;
    for folder in ["/proc", PROGRAM, SCRATCH] {
        fs_err::create_dir_all(folder)?;
    }
    proc(None)?;
    named("leaving the host's tree", umount2(HOST, MntFlags::MNT_DETACH))?;
    fs_err::remove_dir(HOST)?;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID;
    named("making the root read-only", mount(NONE, "/", NONE, flags, NONE))
}

/// Keeps mounts of this namespace from showing up in others.
pub(crate) fn seal() -> io::Result<()> {
    named("sealing mounts", mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE))
}

/// A fresh `/proc` for the process namespace of the caller; `options` as of `mount`.
pub(crate) fn proc(options: Option<&str>) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    named("mounting /proc", mount(Some("proc"), "/proc", Some("proc"), flags, options))
}

/// A fresh file system in memory.
pub(crate) fn mount_tmpfs(at: &str, options: &str, flags: MsFlags) -> io::Result<()> {
    let flags = flags | MsFlags::MS_NODEV;
    named(at, mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(options)))
}

/// Takes a file system in memory away; what was in it is gone.
pub(crate) fn unmount(at: &str) -> io::Result<()> {
    named(at, umount2(at, MntFlags::MNT_DETACH))
}

/// Nothing in this file system can be changed from now on, by anyone.
pub(crate) fn freeze(at: &str) -> io::Result<()> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    named(at, mount(NONE, at, NONE, flags, NONE))
}

const NONE: Option<&str> = None;

fn in_host(path: &Path) -> io::Result<PathBuf> {
    Ok(Path::new(HOST).join(path.strip_prefix("/").map_err(io::Error::other)?))
}

fn show(path: &Path) -> io::Result<()> {
    let outer = in_host(path)?;
    let metadata = fs_err::symlink_metadata(&outer).map_err(|error| {
        let path = path.display();
        io::Error::other(format!("the user of this worker cannot show `{path}` to programs: {error}"))
    })?;
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent)?;
    }
    if metadata.is_symlink() {
        return symlink(fs_err::read_link(&outer)?, path);
    }
    if metadata.is_dir() {
        fs_err::create_dir_all(path)?;
    } else {
        fs_err::write(path, "")?;
    }
    bind(&outer, path)?;
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    make_read_only(&path)
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    named(&to.display().to_string(), mount(Some(from), to, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE))
}

fn devices() -> io::Result<()> {
    fs_err::create_dir("/dev")?;
    for name in DEVICES {
        let inside = Path::new("/dev").join(name);
        fs_err::write(&inside, "")?;
        bind(&Path::new(HOST).join("dev").join(name), &inside)?;
    }
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        // Named semaphores and shared memory of POSIX: files, which count as all others do.
        ("/dev/shm", SCRATCH),
    ] {
        symlink(target, link)?;
    }
    Ok(())
}

/// Read-only, without setuid programs and devices, for everything that is mounted at this path and below.
#[expect(unsafe_code, reason = "no crate that rltrain has wraps mount_setattr")]
pub(crate) fn make_read_only(path: &CStr) -> io::Result<()> {
    /// `struct mount_attr`
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    /// `MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV`
    const SET: u64 = 0x1 | 0x2 | 0x4;
    let attributes = Attributes { set: SET, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: path and attributes are valid for reads during the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn named<T>(what: &str, result: nix::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::other(format!("{what}: {error}")))
}
