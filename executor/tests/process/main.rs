//! The process backend: every layer of it is tried by a program that would like to be elsewhere.
//!
//! Where the host does not offer what the backend is made of, these tests say so on stderr and test nothing.

mod adversarial;
mod files;
#[path = "../sandbox/hostile_programs.rs"]
mod hostile_programs;
mod innocent;
mod kernel;
mod languages;
mod limits;
mod network;
mod processes;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rltrain_executor::WorkerCommand;
use rltrain_executor::process::{
    Bounds, Command, CommandWorker, Done, Ended, How, Isolation, LayerSet, Surroundings, Task, View,
};

/// Tells people what was not tested.
#[expect(clippy::print_stderr, reason = "a test has no other way to say that it did not test something")]
fn say(message: &str) {
    eprintln!("{message}");
}

/// Whether this host can run the tests. Says so if not.
fn is_possible() -> bool {
    match Isolation::probe().check(LayerSet::default()) {
        Ok(()) => true,
        Err(error) => {
            say(&format!("skipped: {error}"));
            false
        }
    }
}

fn worker_command() -> WorkerCommand {
    WorkerCommand { program: env!("CARGO_BIN_EXE_rltrain-exec-worker").into(), arguments: Vec::new() }
}

fn surroundings() -> Surroundings {
    Surroundings { view: View::of_system_and(&[]).unwrap(), accept_missing: LayerSet::default() }
}

/// Starts a worker as this user and, if that is root, one as an ordinary user too, and has each face the test.
///
/// Does nothing but say so where the host does not offer what it takes.
fn everyone(face: impl Fn(&mut CommandWorker)) {
    if !is_possible() {
        return;
    }
    face(&mut CommandWorker::start(&worker_command(), &surroundings()).unwrap());
    if let Some(command) = ordinary_user() {
        face(&mut CommandWorker::start(&command, &surroundings()).unwrap());
    }
}

/// How to start a worker as an ordinary user, if this one is root.
fn ordinary_user() -> Option<WorkerCommand> {
    let worker = worker_command();
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let drop = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let can_start = || {
        let mut trial = std::process::Command::new("setpriv");
        trial.args(drop).arg(&worker.program).stdin(std::process::Stdio::null());
        trial.status().is_ok_and(|status| status.success())
    };
    if !is_root {
        return None;
    }
    if !can_start() {
        say("not tried as an ordinary user: setpriv cannot start the worker");
        return None;
    }
    let arguments = drop.iter().map(Into::into).chain([worker.program.into()]).collect();
    Some(WorkerCommand { program: "/usr/bin/setpriv".into(), arguments })
}

/// What a Python program writes to stdout when each kind of user runs it; it must end by itself, with status 0.
#[track_caller]
fn says(program: &str, wanted: &str) {
    if !has("/usr/bin/python3") {
        return;
    }
    everyone(|worker| {
        let ended = ran(worker.perform(&python_task(program)).unwrap());
        let (stdout, stderr) = (text(&ended.stdout), text(&ended.stderr));
        assert_eq!((ended.how, stdout.as_str()), (How::Exited(0), wanted), "{program}\n{stderr}\n{ended:?}");
    });
}

/// A second, 128 MiB, 64 KiB of output.
fn bounds() -> Bounds {
    Bounds::new(Duration::from_secs(1), 128 << 20, 64 << 10)
}

fn compiler_bounds() -> Bounds {
    Bounds { writes_program: true, ..Bounds::new(Duration::from_secs(20), 1 << 30, 1 << 20) }
}

fn command(arguments: &[&str], bounds: Bounds) -> Command {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Command {
        arguments,
        environment: Vec::new(),
        stdin: Vec::new(),
        files: Vec::new(),
        answers: false,
        bounds,
    }
}

fn c_task(source: &str) -> Task {
    let compile = ["/usr/bin/cc", "-O1", "-pthread", "-o", "/program/main", "/program/main.c"];
    Task {
        files: vec![("main.c".to_owned(), source.to_owned())],
        compile: Some(command(&compile, compiler_bounds())),
        run: command(&["/program/main"], bounds()),
    }
}

fn python_task(source: &str) -> Task {
    Task {
        files: vec![("main.py".to_owned(), source.to_owned())],
        compile: None,
        run: command(&["/usr/bin/python3", "-I", "/program/main.py"], bounds()),
    }
}

fn has(program: &str) -> bool {
    let is_there = Path::new(program).exists();
    if !is_there {
        say(&format!("skipped: there is no `{program}`"));
    }
    is_there
}

fn ran(done: Done) -> Ended {
    match done {
        Done::Ran(ended) => ended,
        Done::NotCompiled(ended) => panic!("did not compile: {}", String::from_utf8_lossy(&ended.stderr)),
        Done::Fault(reason) => panic!("{reason}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
