//! The system calls that programs may make, and names of those that they may not.

use std::collections::BTreeMap;

use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// Rules by number of the system call; a call without conditions is always allowed.
pub(crate) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

macro_rules! calls {
    ($($call:ident)*) => {
        &[$((libc::$call, stringify!($call))),*]
    };
}

/// What programs in any language take: files that they are shown, memory, threads, child processes, pipes, clocks.
const ALLOWED: &[(i64, &str)] = calls! {
    // Files. Which there are is for the mount namespace and landlock to say.
    SYS_read SYS_write SYS_readv SYS_writev SYS_pread64 SYS_pwrite64 SYS_preadv SYS_pwritev SYS_preadv2 SYS_pwritev2
    SYS_openat SYS_openat2 SYS_close SYS_close_range SYS_lseek SYS_fstat SYS_newfstatat SYS_statx SYS_statfs SYS_fstatfs
    SYS_faccessat SYS_faccessat2 SYS_getdents64 SYS_readlinkat SYS_getcwd SYS_chdir SYS_fchdir SYS_umask
    SYS_mkdirat SYS_mknodat SYS_unlinkat SYS_renameat SYS_renameat2 SYS_linkat SYS_symlinkat SYS_utimensat
    SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat SYS_truncate SYS_ftruncate SYS_fallocate SYS_fadvise64 SYS_readahead
    SYS_fsync SYS_fdatasync SYS_sync_file_range SYS_flock SYS_fcntl SYS_dup SYS_dup3 SYS_pipe2
    SYS_sendfile SYS_splice SYS_copy_file_range
    SYS_getxattr SYS_lgetxattr SYS_fgetxattr SYS_listxattr SYS_llistxattr SYS_flistxattr
    // Memory.
    SYS_brk SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_madvise SYS_mincore SYS_msync
    SYS_mlock SYS_mlock2 SYS_munlock SYS_mlockall SYS_munlockall SYS_membarrier
    SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_get_mempolicy
    // Threads and child processes.
    SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_wait4 SYS_waitid SYS_futex SYS_futex_waitv
    SYS_set_robust_list SYS_get_robust_list SYS_set_tid_address SYS_rseq SYS_restart_syscall
    SYS_getpid SYS_gettid SYS_getppid SYS_getpgid SYS_setpgid SYS_getsid SYS_setsid
    SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_getresuid SYS_getresgid SYS_getgroups SYS_capget
    SYS_getpriority SYS_setpriority SYS_getrlimit SYS_setrlimit SYS_prlimit64 SYS_getrusage SYS_getcpu
    SYS_sched_yield SYS_sched_getaffinity SYS_sched_setaffinity SYS_sched_getparam SYS_sched_setparam
    SYS_sched_getscheduler SYS_sched_setscheduler SYS_sched_getattr SYS_sched_setattr
    SYS_sched_get_priority_max SYS_sched_get_priority_min SYS_sched_rr_get_interval
    SYS_pidfd_open SYS_pidfd_send_signal
    // Signals: to its own processes, since it sees no others.
    SYS_kill SYS_tkill SYS_tgkill SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_sigpending
    SYS_rt_sigqueueinfo SYS_rt_tgsigqueueinfo SYS_rt_sigsuspend SYS_rt_sigtimedwait SYS_sigaltstack SYS_signalfd4
    // Clocks.
    SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep SYS_nanosleep SYS_gettimeofday SYS_times
    SYS_getitimer SYS_setitimer SYS_timer_create SYS_timer_settime SYS_timer_gettime SYS_timer_getoverrun
    SYS_timer_delete SYS_timerfd_create SYS_timerfd_settime SYS_timerfd_gettime
    // Waiting.
    SYS_ppoll SYS_pselect6 SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2
    // Sockets within the program: see the condition on `socket`.
    SYS_bind SYS_listen SYS_accept SYS_accept4 SYS_connect SYS_getsockname SYS_getpeername SYS_getsockopt SYS_setsockopt
    SYS_sendto SYS_sendmsg SYS_sendmmsg SYS_recvfrom SYS_recvmsg SYS_recvmmsg SYS_shutdown
    // What the machine is like.
    SYS_uname SYS_sysinfo SYS_getrandom
};

/// Their forms of old, which newer architectures do not have.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OF_OLD: &[(i64, &str)] = calls! {
    SYS_open SYS_creat SYS_stat SYS_lstat SYS_access SYS_getdents SYS_readlink SYS_mkdir SYS_rmdir SYS_mknod SYS_unlink SYS_rename
    SYS_link SYS_symlink SYS_utime SYS_utimes SYS_futimesat SYS_chmod SYS_chown SYS_lchown SYS_dup2 SYS_pipe
    SYS_arch_prctl SYS_fork SYS_vfork SYS_getpgrp SYS_pause SYS_alarm SYS_time
    SYS_poll SYS_select SYS_epoll_create SYS_epoll_wait SYS_eventfd SYS_signalfd
};

#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OF_OLD: &[(i64, &str)] = &[];

/// Allowed under conditions.
const CONDITIONAL: &[(i64, &str)] =
    calls! { SYS_clone SYS_socket SYS_socketpair SYS_ioctl SYS_prctl SYS_personality };

/// Refused, and known by name. A call that is on no list is refused too: as one that the kernel does not have.
const REFUSED: &[(i64, &str)] = calls! {
    SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_unshare SYS_setns SYS_open_tree SYS_move_mount SYS_fsopen
    SYS_fsconfig SYS_fsmount SYS_fspick SYS_mount_setattr SYS_swapon SYS_swapoff SYS_quotactl
    SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_process_madvise SYS_kcmp SYS_pidfd_getfd
    SYS_keyctl SYS_add_key SYS_request_key SYS_bpf SYS_perf_event_open SYS_userfaultfd
    SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register SYS_io_setup SYS_io_submit
    SYS_seccomp SYS_landlock_create_ruleset SYS_landlock_add_rule SYS_landlock_restrict_self
    SYS_setuid SYS_setgid SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setfsuid SYS_setfsgid
    SYS_setgroups SYS_capset SYS_sethostname SYS_setdomainname
    SYS_init_module SYS_finit_module SYS_delete_module SYS_kexec_load SYS_reboot SYS_acct SYS_syslog
    SYS_settimeofday SYS_clock_settime SYS_clock_adjtime SYS_adjtimex
    SYS_memfd_create SYS_memfd_secret SYS_shmget SYS_shmat SYS_shmctl SYS_shmdt
    SYS_semget SYS_semop SYS_semctl SYS_msgget SYS_msgsnd SYS_msgrcv SYS_msgctl SYS_mq_open SYS_mq_unlink
    SYS_fanotify_init SYS_fanotify_mark SYS_inotify_init1 SYS_inotify_add_watch
    SYS_name_to_handle_at SYS_open_by_handle_at SYS_mbind SYS_set_mempolicy SYS_migrate_pages SYS_move_pages
    SYS_setxattr SYS_lsetxattr SYS_fsetxattr SYS_removexattr SYS_sync SYS_syncfs SYS_vmsplice SYS_tee SYS_vhangup
    SYS_remap_file_pages SYS_nfsservctl
};

/// Refused calls of this architecture alone.
#[cfg(target_arch = "x86_64")]
const REFUSED_OF_OLD: &[(i64, &str)] = calls! { SYS_iopl SYS_ioperm SYS_modify_ldt SYS_uselib SYS_ustat SYS_sysfs SYS_inotify_init SYS_kexec_file_load };

#[cfg(not(target_arch = "x86_64"))]
const REFUSED_OF_OLD: &[(i64, &str)] = &[];

/// Calls that the C library tries first and does without: refused without a word.
pub(crate) const SILENTLY_ABSENT: [i64; 1] = [libc::SYS_clone3];

/// Namespaces that `clone` could put a child into. With one of its own users a program would have capabilities again.
const NEW_NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// The rules of the filter.
pub(crate) fn rules() -> Result<Rules, BackendError> {
    let mut rules: Rules =
        ALLOWED.iter().chain(ALLOWED_OF_OLD).map(|(call, _)| (*call, Vec::new())).collect();
    let condition = |argument, operator, value: u64| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
    };
    let namespaces = NEW_NAMESPACES.cast_unsigned().into();
    let none = condition(0, SeccompCmpOp::MaskedEq(namespaces), 0)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![none])?]);
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        let local = condition(0, SeccompCmpOp::Eq, libc::AF_UNIX as u64)?;
        rules.insert(call, vec![SeccompRule::new(vec![local])?]);
    }
    // Typing into a terminal, should one ever be inherited.
    let no_typing = condition(1, SeccompCmpOp::Ne, libc::TIOCSTI)?;
    let no_console = condition(1, SeccompCmpOp::Ne, libc::TIOCLINUX)?;
    rules.insert(libc::SYS_ioctl, vec![SeccompRule::new(vec![no_typing, no_console])?]);
    // A filter of the program's own could answer before this one, and keep refused calls from being counted.
    let no_filter = condition(0, SeccompCmpOp::Ne, libc::PR_SET_SECCOMP as u64)?;
    rules.insert(libc::SYS_prctl, vec![SeccompRule::new(vec![no_filter])?]);
    // Asking which personality there is, and keeping the usual one.
    let mut usual = Vec::new();
    for value in [0, u64::from(u32::MAX)] {
        usual.push(SeccompRule::new(vec![condition(0, SeccompCmpOp::Eq, value)?])?);
    }
    rules.insert(libc::SYS_personality, usual);
    Ok(rules)
}

/// Name of a call that was refused, such as `socket`; `None` if it is on no list.
pub(crate) fn refused_name(number: i64) -> Option<&'static str> {
    let lists = [CONDITIONAL, REFUSED, REFUSED_OF_OLD];
    let mut known = lists.into_iter().flatten();
    known.find(|(call, _)| *call == number).map(|(_, name)| name.trim_start_matches("SYS_"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_call_is_on_two_lists() {
        let lists = [ALLOWED, ALLOWED_OF_OLD, CONDITIONAL, REFUSED, REFUSED_OF_OLD];
        let calls: Vec<_> = lists.into_iter().flatten().collect();
        let distinct: BTreeSet<_> = calls.iter().map(|(call, _)| call).collect();
        assert_eq!(distinct.len(), calls.len());
        assert!(SILENTLY_ABSENT.iter().all(|call| !distinct.contains(call)));
    }

    #[test]
    fn refused_calls_have_the_names_of_their_manual_pages() {
        assert_eq!(refused_name(libc::SYS_ptrace), Some("ptrace"));
        assert_eq!(refused_name(libc::SYS_socket), Some("socket"));
        assert_eq!(refused_name(libc::SYS_read), None);
        assert_eq!(refused_name(1_000_000), None);
    }
}
