//! What a command can and cannot do.

use rltrain_executor::process::How;

use super::{c_task, has, is_possible, python_task, ran, text, worker};

#[test]
fn an_innocent_program_runs() {
    if !is_possible() || !has("/usr/bin/cc") {
        return;
    }
    let source = "#include <stdio.h>\nint main(void) { int n; scanf(\"%d\", &n); printf(\"%d\\n\", 2 * n); return 3; }";
    let mut task = c_task(source);
    task.run.stdin = b"21\n".to_vec();
    let ended = ran(worker().perform(&task).unwrap());
    assert_eq!((ended.how, text(&ended.stdout).as_str()), (How::Exited(3), "42\n"), "{ended:?}");
    assert!(ended.denied.is_empty(), "{:?}", ended.denied);
}

#[test]
fn an_innocent_python_program_runs() {
    if !is_possible() || !has("/usr/bin/python3") {
        return;
    }
    let ended = ran(worker()
        .perform(&python_task("import json, random, subprocess\nprint(json.dumps([1, 2]))"))
        .unwrap());
    assert_eq!((ended.how, text(&ended.stdout).as_str()), (How::Exited(0), "[1, 2]\n"), "{ended:?}");
    assert!(ended.denied.is_empty(), "{:?}", ended.denied);
}
