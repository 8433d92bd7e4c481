//! The process backend: every layer of it is tried by a program that would like to be elsewhere.
//!
//! Where the host does not offer what the backend is made of, these tests say so on stderr and test nothing.

mod jail;

use std::path::Path;
use std::time::Duration;

use rltrain_executor::WorkerCommand;
use rltrain_executor::process::{
    Bounds, Command, CommandWorker, Done, Ended, Isolation, LayerSet, Surroundings, Task, View,
};

/// Whether this host can run the tests. Says so if not.
fn is_possible() -> bool {
    match Isolation::probe().check(LayerSet::default()) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("skipped: {error}");
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

fn worker() -> CommandWorker {
    CommandWorker::start(&worker_command(), &surroundings()).unwrap()
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
    Command { arguments, environment: Vec::new(), stdin: Vec::new(), bounds }
}

fn c_task(source: &str) -> Task {
    let compile = ["/usr/bin/cc", "-O1", "-pthread", "-o", "/program/main", "/program/main.c"];
    Task {
        files: vec![("main.c".to_owned(), source.as_bytes().to_vec())],
        compile: Some(command(&compile, compiler_bounds())),
        run: command(&["/program/main"], bounds()),
    }
}

fn python_task(source: &str) -> Task {
    Task {
        files: vec![("main.py".to_owned(), source.as_bytes().to_vec())],
        compile: None,
        run: command(&["/usr/bin/python3", "-I", "/program/main.py"], bounds()),
    }
}

fn has(program: &str) -> bool {
    let is_there = Path::new(program).exists();
    if !is_there {
        eprintln!("skipped: there is no `{program}`");
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
