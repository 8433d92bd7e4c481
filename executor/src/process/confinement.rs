//! What the process of a program gives up before the program starts in it.

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope,
};
use nix::sys::resource::{Resource, setrlimit};

use super::mounts::{PROGRAM, SCRATCH};
use super::run::Bounds;

/// Open files of one process.
const MOST_FILES: u64 = 256;

/// Bytes of stack, as on most systems.
const STACK: u64 = 8 << 20;

/// The kernel's own limits. Those that count processes one by one are the second net: the supervisor watches all together.
pub(crate) fn restrict_resources(bounds: &Bounds) -> nix::Result<()> {
    let seconds = bounds.cpu.as_secs() + u64::from(bounds.cpu.subsec_nanos() > 0);
    // The supervisor counts more finely; this is for one that comes too late.
    setrlimit(Resource::RLIMIT_CPU, seconds + 1, seconds + 2)?;
    let mut limits = vec![
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, bounds.file_bytes),
        (Resource::RLIMIT_NOFILE, MOST_FILES),
        (Resource::RLIMIT_NPROC, bounds.processes),
        (Resource::RLIMIT_STACK, STACK),
        (Resource::RLIMIT_MEMLOCK, 1 << 20),
        (Resource::RLIMIT_DATA, bounds.data_bytes),
        (Resource::RLIMIT_RTPRIO, 0),
    ];
    if let Some(bytes) = bounds.address_bytes {
        limits.push((Resource::RLIMIT_AS, bytes));
    }
    limits.into_iter().try_for_each(|(resource, most)| setrlimit(resource, most, most))
}

/// Gives up every capability, in its own user namespace too, for itself and whatever it starts.
#[expect(unsafe_code, reason = "nix does not reach capabilities")]
pub(crate) fn drop_capabilities() -> io::Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3`
    const VERSION: u32 = 0x2008_0522;
    /// `struct __user_cap_header_struct`
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    /// Effective, permitted and inheritable, in two halves.
    type Sets = [[u32; 3]; 2];
    for capability in 0..u64::BITS {
        // SAFETY: this option takes a number and touches no memory.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) } != 0 {
            let error = io::Error::last_os_error();
            // One past the last that this kernel knows.
            if error.raw_os_error() == Some(libc::EINVAL) && capability > 0 {
                break;
            }
            return Err(error);
        }
    }
    // SAFETY: these options take numbers and touch no memory.
    let cleared = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    if cleared != 0 {
        return Err(io::Error::last_os_error());
    }
    let header = Header { version: VERSION, pid: 0 };
    let none: Sets = [[0; 3]; 2];
    // SAFETY: header and sets are valid for reads during the call.
    if unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const none) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Reads and runs what it sees, writes to its scratch folder (and to that of the program while it is compiled), no TCP, no
/// signals and abstract sockets to processes outside. What the kernel does not know of that is left out.
pub(crate) fn restrict_files(bounds: &Bounds) -> Result<(), Box<dyn std::error::Error>> {
    let everything = AccessFs::from_all(ABI::V5);
    let mut places = vec![("/", AccessFs::from_read(ABI::V5)), (SCRATCH, everything)];
    if bounds.writes_program {
        places.push((PROGRAM, everything));
    }
    let device = AccessFs::ReadFile | AccessFs::WriteFile;
    for path in ["/dev/null", "/dev/zero", "/dev/full"] {
        places.push((path, device));
    }
    let mut rules = Ruleset::default()
        .handle_access(everything)?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?;
    for (path, access) in places {
        rules = rules.add_rule(PathBeneath::new(PathFd::new(path)?, access))?;
    }
    match rules.restrict_self()?.ruleset {
        RulesetStatus::NotEnforced => Err("the kernel does not enforce landlock".into()),
        RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced => Ok(()),
    }
}
