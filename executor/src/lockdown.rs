//! What a worker gives up before it runs its first program: a second wall, behind WebAssembly's.

use std::collections::BTreeMap;
use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Takes files, sockets and signals away from this thread and those it starts from now on. Returns what is missing where
/// the kernel does not support all of it.
pub(crate) fn restrict_files() -> Result<Option<String>, landlock::RulesetError> {
    let status: RestrictionStatus = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .no_new_privs(true)
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => None,
        RulesetStatus::PartiallyEnforced => Some("the kernel supports landlock in part".to_owned()),
        RulesetStatus::NotEnforced => Some("the kernel does not support landlock".to_owned()),
    })
}

/// Leaves all threads of the process only the system calls that running programs takes.
pub(crate) fn restrict_calls() -> Result<(), Box<dyn std::error::Error>> {
    let architecture = std::env::consts::ARCH.try_into()?;
    let refuse = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let filter: BpfProgram =
        SeccompFilter::new(allowed()?, refuse, SeccompAction::Allow, architecture)?.try_into()?;
    seccompiler::apply_filter_all_threads(&filter)?;
    Ok(())
}

/// `_IOWR('f', 16, struct pm_scan_arg)`: which pages of an instance were written.
pub(crate) const PAGEMAP_SCAN: u64 = 0xC060_6610;

/// The system calls that remain. Memory stays writable or executable, never becomes executable: all code is loaded.
fn allowed() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let always = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_ppoll,
        libc::SYS_close,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_futex,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_restart_syscall,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_getrandom,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_membarrier,
        libc::SYS_rseq,
        libc::SYS_exit,
        libc::SYS_exit_group,
        // `abort`: a worker that finds itself broken ends at once.
        libc::SYS_tgkill,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        always.into_iter().map(|call| (call, Vec::new())).collect();
    let not_executable = |argument| {
        let executable = libc::PROT_EXEC as u64;
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(executable), 0)
    };
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![SeccompRule::new(vec![not_executable(2)?])?]);
    }
    let is_scan = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, PAGEMAP_SCAN)?;
    rules.insert(libc::SYS_ioctl, vec![SeccompRule::new(vec![is_scan])?]);
    Ok(rules)
}

/// No core dumps, no files, no new processes.
#[expect(unsafe_code, reason = "the standard library does not set resource limits")]
pub(crate) fn restrict_resources() -> io::Result<()> {
    for resource in [libc::RLIMIT_CORE, libc::RLIMIT_FSIZE, libc::RLIMIT_NPROC] {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `none` is valid for reads for the duration of the call.
        if unsafe { libc::setrlimit(resource, &raw const none) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Ends this process when its parent ends, however that ends. The pipe's closing does the same while no program runs.
#[expect(unsafe_code, reason = "the standard library does not reach prctl")]
pub(crate) fn end_with_parent() -> io::Result<()> {
    // SAFETY: this option of `prctl` takes a signal number and touches no memory.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
