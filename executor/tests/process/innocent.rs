//! Programs that want nothing but to run.

use rltrain_executor::process::{Done, How};

use super::{bounds, c_task, command, everyone, has, python_task, ran, says, text};

#[test]
fn a_program_reads_writes_and_exits() {
    if !has("/usr/bin/cc") {
        return;
    }
    let source = "#include <stdio.h>\nint main(void) { int n; scanf(\"%d\", &n); printf(\"%d\\n\", 2 * n); return 3; }";
    let mut task = c_task(source);
    task.run.stdin = b"21\n".to_vec();
    everyone(|worker| {
        let ended = ran(worker.perform(&task).unwrap());
        assert_eq!((ended.how, text(&ended.stdout).as_str()), (How::Exited(3), "42\n"), "{ended:?}");
        assert!(ended.denied.is_empty(), "{:?}", ended.denied);
        assert!(ended.peak_memory_bytes > 0 && ended.cpu < bounds().cpu, "{ended:?}");
    });
}

#[test]
fn what_does_not_compile_is_not_run() {
    if !has("/usr/bin/cc") {
        return;
    }
    everyone(|worker| {
        let done = worker.perform(&c_task("int main(void) { return x; }")).unwrap();
        let Done::NotCompiled(ended) = done else { panic!("{done:?}") };
        assert!(text(&ended.stderr).contains("undeclared"), "{ended:?}");
    });
}

#[test]
fn child_processes_threads_pipes_and_scratch_files_work() {
    let program = r#"
import json, multiprocessing, os, random, socket, subprocess, tempfile, threading
print(subprocess.run(["/bin/sh", "-c", "echo child"], capture_output=True, text=True).stdout.strip())
thread = threading.Thread(target=lambda: print("thread"))
thread.start(); thread.join()
with multiprocessing.Pool(2) as pool: print(pool.map(abs, [-1, -2]))
a, b = socket.socketpair(); a.send(b"pair"); print(b.recv(4).decode())
open("here", "w").write("scratch"); print(open("here").read())
with tempfile.TemporaryFile() as file: file.write(b"x")
print(os.getcwd(), os.environ["HOME"], os.getuid(), os.uname().nodename)
"#;
    says(program, "child\nthread\n[1, 2]\npair\nscratch\n/tmp /tmp 1000 sandbox\n");
}

#[test]
fn runs_leave_nothing_to_the_next() {
    if !has("/usr/bin/python3") {
        return;
    }
    everyone(|worker| {
        for _ in 0..2 {
            let program =
                "import os\nprint(os.listdir('/tmp'), os.listdir('/dev/shm'))\nopen('left', 'w').write('x')";
            let ended = ran(worker.perform(&python_task(program)).unwrap());
            assert_eq!(text(&ended.stdout), "[] []\n", "{ended:?}");
        }
    });
}

#[test]
fn an_empty_stdin_ends_at_once() {
    says(
        "import sys\nprint(repr(sys.stdin.read()))\nsys.stdin.close()\nos = __import__('os')\nos.close(1) if 0 else None",
        "''\n",
    );
}

#[test]
fn a_source_of_ten_megabytes_is_no_trouble() {
    let mut program = "x = 1\n".repeat(1_700_000);
    program.push_str("print('done')");
    let mut task = python_task(&program);
    task.run.bounds = super::Bounds::new(std::time::Duration::from_secs(20), 4 << 30, 64 << 10);
    if !has("/usr/bin/python3") {
        return;
    }
    everyone(|worker| {
        let ended = ran(worker.perform(&task).unwrap());
        assert_eq!(text(&ended.stdout), "done\n", "{ended:?}");
    });
}

#[test]
fn a_command_that_is_not_there_is_a_failure_of_the_sandbox() {
    everyone(|worker| {
        let task = rltrain_executor::process::Task {
            files: Vec::new(),
            compile: None,
            run: command(&["/usr/bin/no-such-program"], bounds()),
        };
        let error = worker.perform(&task).unwrap_err().to_string();
        assert!(error.contains("cannot run /usr/bin/no-such-program: ENOENT"), "{error}");
    });
}
