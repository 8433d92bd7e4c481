//! Programs that use everything up. Each bound has an end of its own.

use std::time::{Duration, Instant};

use rltrain_executor::process::{Ended, How};

use super::{c_task, everyone, has, python_task, ran, text};

/// Runs a Python program, and says how it ended for each kind of user.
#[track_caller]
fn ends(program: &str, is_wanted: impl Fn(&Ended) -> bool) {
    if !has("/usr/bin/python3") {
        return;
    }
    everyone(|worker| {
        let ended = ran(worker.perform(&python_task(program)).unwrap());
        assert!(is_wanted(&ended), "{program}\n{} {ended:?}", text(&ended.stderr));
        assert_eq!(text(&ran(worker.perform(&python_task("print(1)")).unwrap()).stdout), "1\n");
    });
}

#[test]
fn processor_time() {
    ends("while True: pass", |ended| {
        ended.how == How::OutOfTime
            && ended.cpu >= Duration::from_millis(990)
            && ended.cpu < Duration::from_secs(2)
    });
    ends("import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass", |ended| {
        ended.how == How::OutOfTime && ended.cpu < Duration::from_secs(2)
    });
}

#[test]
fn processor_time_of_all_processes_together() {
    let program = "import os\nos.fork(); os.fork()\nwhile True: pass";
    ends(program, |ended| ended.how == How::OutOfTime && ended.cpu < Duration::from_millis(1500));
    // Children that nobody waits for.
    let program = "import os, signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True:\n    try:\n        if os.fork() == 0: os._exit(0)\n    except BlockingIOError: pass";
    ends(program, |ended| ended.how == How::OutOfTime);
}

#[test]
fn sleep() {
    let start = Instant::now();
    if !has("/usr/bin/python3") {
        return;
    }
    everyone(|worker| {
        let mut task = python_task("import time\ntime.sleep(1000)");
        task.run.bounds.asleep = Duration::from_millis(500);
        let ended = ran(worker.perform(&task).unwrap());
        assert!(ended.how == How::OutOfTime && ended.cpu < Duration::from_millis(500), "{ended:?}");
    });
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn memory_that_is_used() {
    ends("items = []\nwhile True: items.append(bytearray(1 << 20))", |ended| {
        ended.how == How::OutOfMemory && ended.peak_memory_bytes < 300 << 20
    });
    ends(
        "import mmap\nitems = []\nwhile True:\n    m = mmap.mmap(-1, 1 << 20)\n    m.write(bytes(1 << 20))\n    items.append(m)",
        |ended| ended.how == How::OutOfMemory,
    );
}

#[test]
fn memory_of_all_processes_together() {
    let program = "import os, time\nfor _ in range(7):\n    if os.fork() == 0:\n        x = bytearray(b'x' * (40 << 20))\n        time.sleep(100)\ntime.sleep(100)";
    ends(program, |ended| ended.how == How::OutOfMemory && ended.peak_memory_bytes < 512 << 20);
}

#[test]
fn memory_that_processes_share_counts_once() {
    let program = "import os, time\nx = bytearray(b'x' * (40 << 20))\nfor _ in range(7):\n    if os.fork() == 0:\n        time.sleep(0.3)\n        os._exit(0)\nfor _ in range(7): os.wait()\nprint('done')";
    ends(program, |ended| ended.how == How::Exited(0) && ended.peak_memory_bytes < 128 << 20);
}

#[test]
fn memory_in_files() {
    let program = "x = bytearray(b'x' * (90 << 20))\nfor index in range(60): open(f'/tmp/{index}', 'wb').write(bytes(1 << 20))\nimport time\ntime.sleep(0.2)";
    ends(program, |ended| ended.how == How::OutOfMemory);
}

#[test]
fn memory_that_is_asked_for_at_once() {
    ends("try: bytearray(8 << 30)\nexcept MemoryError: print('no')", |ended| text(&ended.stdout) == "no\n");
    ends("import mmap\ntry: mmap.mmap(-1, 8 << 30)\nexcept OSError: print('no')", |ended| {
        text(&ended.stdout) == "no\n"
    });
}

#[test]
fn output() {
    for program in [
        "while True: print('x' * 1000)",
        "import sys\nwhile True: sys.stderr.write('x' * 1000)",
        "import os\nfor _ in range(40): os.write(1, b'x' * 1000); os.write(2, b'x' * 1000)",
        "import os\nos.fork()\nwhile True: os.write(1, b'x' * 1000)",
    ] {
        ends(program, |ended| {
            ended.how == How::OutputLimit && ended.stdout.len() + ended.stderr.len() == 64 << 10
        });
    }
    ends("print('x' * ((64 << 10) - 1))", |ended| {
        ended.how == How::Exited(0) && ended.stdout.len() == 64 << 10
    });
    ends("print('x' * (64 << 10))", |ended| ended.how == How::OutputLimit);
}

#[test]
fn a_crash_is_told_from_an_exit() {
    if !has("/usr/bin/cc") {
        return;
    }
    let signalled = |source: &str, signal| {
        everyone(|worker| {
            assert_eq!(ran(worker.perform(&c_task(source)).unwrap()).how, How::Signalled(signal))
        });
    };
    signalled("int main(void) { *(volatile int *)0 = 1; return 0; }", 11);
    signalled("#include <stdlib.h>\nint main(void) { abort(); }", 6);
    signalled(
        "int f(volatile int n) { volatile int x[64]; x[0] = n; return f(n + 1) + x[0]; }\nint main(void) { return f(0); }",
        11,
    );
    signalled("#include <signal.h>\nint main(void) { raise(SIGRTMIN + 3); }", 37);
}

#[test]
fn threads_share_one_bound() {
    if !has("/usr/bin/cc") {
        return;
    }
    let source = "#include <pthread.h>\nvoid *spin(void *x) { for (volatile long i = 0;; i++); return x; }\nint main(void) { pthread_t t; for (int i = 0; i < 8; i++) pthread_create(&t, 0, spin, 0); spin(0); }";
    everyone(|worker| {
        let ended = ran(worker.perform(&c_task(source)).unwrap());
        assert!(ended.how == How::OutOfTime && ended.cpu < Duration::from_millis(2500), "{ended:?}");
    });
}
