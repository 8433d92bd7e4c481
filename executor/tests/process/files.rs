//! Programs that reach for the host's files.

use super::{c_task, compiler_bounds, everyone, has, python_task, ran, says, text};
use rltrain_executor::process::Done;

#[test]
fn there_are_no_files_of_the_host() {
    let own = std::env::current_dir().unwrap().display().to_string();
    let program = format!(
        r#"
import os
for path in ["/etc/passwd", "/etc/shadow", "/etc/hostname", "/root/.ssh", "/home", "/work", "/var", "/sys", "/run", "/host",
             "/boot", "/proc/../etc/passwd", "/program/../etc/passwd", "/usr/../etc/passwd", "/proc/self/root/etc/passwd",
             "/proc/1/root/etc/passwd", "/proc/self/cwd/../etc/passwd", "/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/pts", "{own}"]:
    if os.path.exists(path): print("there is", path)
print(sorted(os.listdir("/etc")))
print(sorted(os.listdir("/root")) if os.path.exists("/root") else [])
"#
    );
    says(&program, "['alternatives', 'ld.so.cache']\n[]\n");
}

#[test]
fn nothing_can_be_written_outside_the_scratch_folder() {
    let program = r#"
import os
for path in ["/x", "/usr/x", "/usr/bin/x", "/etc/x", "/program/x", "/program/main.py", "/proc/x", "/dev/x", "/lib/x",
             "/proc/self/oom_score_adj", "/proc/self/comm", "/proc/self/uid_map", "/proc/sys/kernel/core_pattern", "/usr/bin/python3"]:
    try:
        open(path, "r+" if os.path.exists(path) else "w").write("x")
        print("wrote", path)
    except OSError: pass
for act in [lambda: os.remove("/program/main.py"), lambda: os.rename("/program/main.py", "/program/y"),
            lambda: os.chmod("/usr/bin/python3", 0o777), lambda: os.symlink("/etc", "/program/z"),
            lambda: os.link("/program/main.py", "/tmp/z"), lambda: os.mkdir("/new"), lambda: os.truncate("/program/main.py", 0),
            lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0)), lambda: os.utime("/usr", (0, 0))]:
    try:
        act()
        print("did it")
    except OSError: pass
open("/tmp/x", "w").write("x")
print("done")
"#;
    says(program, "done\n");
}

#[test]
fn the_first_process_of_the_namespace_is_closed() {
    let program = r#"
import os
for name in ["environ", "mem", "maps", "root", "fd", "cwd", "exe", "cmdline"]:
    try:
        path = f"/proc/1/{name}"
        os.listdir(path) if name in ("root", "fd") else os.readlink(path) if name in ("cwd", "exe") else open(path).read()
        print("read", path)
    except OSError: pass
print(sorted(int(name) for name in os.listdir("/proc") if name.isdigit()) == [os.getpid()])
print(sorted(os.environ), open("/proc/self/environ").read().count("="))
"#;
    says(program, "True\n['HOME', 'LANG', 'PATH'] 3\n");
}

#[test]
fn descriptors_of_the_worker_are_closed() {
    says(
        "import os\nprint(sorted(os.listdir('/proc/self/fd'))[:3], len(os.listdir('/proc/self/fd')))",
        "['0', '1', '2'] 4\n",
    );
}

#[test]
fn a_compiler_reads_no_more_than_a_program() {
    if !has("/usr/bin/cc") {
        return;
    }
    everyone(|worker| {
        let done = worker.perform(&c_task("#include \"/etc/passwd\"\nint main(void) { return 0; }")).unwrap();
        let Done::NotCompiled(ended) = done else { panic!("{done:?}") };
        assert!(text(&ended.stderr).contains("No such file or directory"), "{ended:?}");
    });
}

#[test]
fn what_was_compiled_cannot_be_changed() {
    if !has("/usr/bin/cc") {
        return;
    }
    let source = "#include <stdio.h>\n#include <unistd.h>\nint main(void) { int gone = unlink(\"/program/main\"); FILE *f = fopen(\"/program/main.c\", \"w\"); printf(\"%d %d\\n\", gone, f != 0); return 0; }";
    everyone(|worker| {
        let ended = ran(worker.perform(&c_task(source)).unwrap());
        assert_eq!(text(&ended.stdout), "-1 0\n", "{ended:?}");
    });
}

#[test]
fn a_disk_that_is_filled_is_a_small_one() {
    let program = r#"
import os
written = 0
try:
    for index in range(1000):
        with open(f"/tmp/{index}", "wb") as file: written += file.write(bytes(1 << 20))
except OSError as error: print(error.errno)
print(written <= 64 << 20)
"#;
    says(program, "28\nTrue\n");
    let inodes = "try:\n    for index in range(10**6): open(f'/tmp/{index}', 'w').close()\nexcept OSError as error: print(error.errno, index < 17000)";
    says(inodes, "28 True\n");
}

#[test]
fn one_file_is_smaller_still() {
    if !has("/usr/bin/python3") {
        return;
    }
    let mut task = python_task(
        "try:\n    file = open('/tmp/x', 'wb', buffering=0)\n    while True: file.write(bytes(1 << 16))\nexcept OSError as error: print(error.errno)",
    );
    task.run.bounds.file_bytes = 1 << 20;
    everyone(|worker| {
        let ended = ran(worker.perform(&task).unwrap());
        assert_eq!(text(&ended.stdout), "27\n", "{ended:?}");
    });
    let mut task = c_task("int main(void) { return 0; }");
    task.compile.as_mut().unwrap().bounds = super::Bounds { file_bytes: 1000, ..compiler_bounds() };
    everyone(|worker| assert!(matches!(worker.perform(&task).unwrap(), Done::NotCompiled(_))));
}
