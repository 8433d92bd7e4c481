//! Programs that try system calls which are not for them.

use rltrain_executor::process::How;

use super::{c_task, everyone, has, python_task, ran, says, text};

#[cfg(target_arch = "x86_64")]
#[test]
fn dangerous_system_calls_are_refused_and_counted() {
    /// Name, number, arguments.
    const CALLS: [(&str, u32, &str); 38] = [
        ("mount", 165, "b'none', b'/tmp', b'tmpfs', 0, 0"),
        ("umount2", 166, "b'/proc', 2"),
        ("pivot_root", 155, "b'/tmp', b'/tmp'"),
        ("chroot", 161, "b'/tmp'"),
        ("unshare", 272, "0x10000000"),
        ("clone", 56, "0x10000000 | 17, 0, 0, 0, 0"),
        ("setns", 308, "0, 0"),
        ("fsopen", 430, "b'tmpfs', 0"),
        ("open_tree", 428, "-100, b'/', 1"),
        ("ptrace", 101, "16, 1, 0, 0"),
        ("process_vm_readv", 310, "1, 0, 0, 0, 0, 0"),
        ("process_vm_writev", 311, "1, 0, 0, 0, 0, 0"),
        ("pidfd_getfd", 438, "0, 0, 0"),
        ("keyctl", 250, "0, -3, 0"),
        ("add_key", 248, "b'user', b'x', b'x', 1, -3"),
        ("request_key", 249, "b'user', b'x', 0, 0"),
        ("bpf", 321, "0, 0, 0"),
        ("perf_event_open", 298, "0, 0, -1, -1, 0"),
        ("io_uring_setup", 425, "1, 0"),
        ("userfaultfd", 323, "0"),
        ("memfd_create", 319, "b'x', 0"),
        ("shmget", 29, "0, 1 << 30, 0o1600"),
        ("msgget", 68, "0, 0o1600"),
        ("init_module", 175, "0, 0, b''"),
        ("kexec_load", 246, "0, 0, 0, 0"),
        ("reboot", 169, "0xfee1dead, 672274793, 0x89abcdef, 0"),
        ("swapon", 167, "b'/tmp', 0"),
        ("acct", 163, "b'/tmp/x'"),
        ("settimeofday", 164, "0, 0"),
        ("sethostname", 170, "b'x', 1"),
        ("setuid", 105, "0"),
        ("setgroups", 116, "0, 0"),
        ("capset", 126, "0, 0"),
        ("seccomp", 317, "0, 0, 0"),
        ("open_by_handle_at", 304, "-100, 0, 0"),
        ("iopl", 172, "3"),
        ("modify_ldt", 154, "0, 0, 0"),
        ("syslog", 103, "3, 0, 0"),
    ];
    if !has("/usr/bin/python3") {
        return;
    }
    let mut program = "import ctypes, errno\nlibc = ctypes.CDLL(None, use_errno=True)\ndef call(name, *arguments):\n    result = libc.syscall(*arguments)\n    print(name, result, errno.errorcode[ctypes.get_errno()])\n".to_owned();
    let mut wanted = String::new();
    for (name, number, arguments) in CALLS {
        program.push_str(&format!("call('{name}', {number}, {arguments})\n"));
        wanted.push_str(&format!("{name} -1 EPERM\n"));
    }
    everyone(|worker| {
        let ended = ran(worker.perform(&python_task(&program)).unwrap());
        assert_eq!(text(&ended.stdout), wanted, "{ended:?}");
        let counted: Vec<_> = ended.denied.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        let mut tried: Vec<_> = CALLS.iter().map(|(name, _, _)| (*name, 1)).collect();
        tried.sort_unstable();
        assert_eq!(counted, tried);
    });
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_on_no_list_do_not_exist() {
    if !has("/usr/bin/python3") {
        return;
    }
    let program = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nfor number in (9999, 0x40000000 | 39, 435):\n    print(libc.syscall(number, 0, 0), ctypes.get_errno())";
    everyone(|worker| {
        let ended = ran(worker.perform(&python_task(program)).unwrap());
        assert_eq!(text(&ended.stdout), "-1 38\n-1 38\n-1 38\n", "{ended:?}");
        // The C library tries 435, `clone3`, by itself, and does without: that is no attempt.
        let counted: Vec<_> = ended.denied.keys().map(String::as_str).collect();
        assert_eq!(counted, ["system call 1073741863", "system call 9999"]);
    });
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_system_calls_of_another_architecture_end_the_program() {
    if !has("/usr/bin/cc") {
        return;
    }
    // 20 is `getpid` for 32 bits.
    let source = "int main(void) { int r; __asm__ volatile(\"int $0x80\" : \"=a\"(r) : \"a\"(20) : \"memory\"); return 0; }";
    everyone(|worker| {
        let ended = ran(worker.perform(&c_task(source)).unwrap());
        assert!(matches!(ended.how, How::Signalled(31 | 11)), "{ended:?}");
    });
}

#[test]
fn refused_calls_cannot_be_hidden_by_a_filter_of_ones_own() {
    if !has("/usr/bin/python3") {
        return;
    }
    let program = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nprint(libc.prctl(22, 2, 0), ctypes.get_errno())";
    everyone(|worker| {
        let ended = ran(worker.perform(&python_task(program)).unwrap());
        assert_eq!(text(&ended.stdout), "-1 1\n", "{ended:?}");
        assert_eq!(ended.denied.get("prctl"), Some(&1));
    });
}

#[test]
fn a_flood_of_refused_calls_ends_in_time() {
    if !has("/usr/bin/python3") {
        return;
    }
    let program = "import socket\nwhile True:\n    try: socket.socket()\n    except OSError: pass";
    everyone(|worker| {
        let ended = ran(worker.perform(&python_task(program)).unwrap());
        assert_eq!(ended.how, How::OutOfTime, "{ended:?}");
        assert!(ended.denied["socket"] > 100, "{ended:?}");
    });
}

#[test]
fn there_are_no_privileges_to_be_had() {
    let program = r#"
import os, subprocess
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
print(*(status[name] for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"]))
print(status["Uid"].split())
print(bool(os.statvfs("/usr").f_flag & os.ST_NOSUID), bool(os.statvfs("/tmp").f_flag & os.ST_NOSUID))
open("/tmp/own", "wb").write(open("/usr/bin/id", "rb").read())
os.chmod("/tmp/own", 0o6755)
print(subprocess.run(["/tmp/own", "-u"], capture_output=True, text=True).stdout.strip())
"#;
    let none = "0000000000000000";
    says(
        program,
        &format!(
            "{none} {none} {none} {none} {none} 1 2\n['1000', '1000', '1000', '1000']\nTrue True\n1000\n"
        ),
    );
}

#[test]
fn a_setuid_program_gains_nothing() {
    if !has("/usr/bin/su") {
        return;
    }
    let program = "import subprocess\nprint(subprocess.run(['/usr/bin/su', '-c', 'id -u'], stdin=subprocess.DEVNULL, capture_output=True).returncode != 0)";
    says(program, "True\n");
}
