//! The worker process: reads jobs from stdin, writes verdicts to stdout.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use crate::engine::{HOST_STACK_BYTES, engine, load};
use crate::files::Content;
use crate::guest::Interpreter;
use crate::inbox::{Inbox, Next};
use crate::judge::Judge;
use crate::process;
use crate::protocol::{self, Hello, Reply, VERSION, Welcome, Work};
use crate::snapshot::Snapshot;
use crate::watchdog::Watchdog;
use crate::{InfraError, Job, Verdict, command, javascript, lockdown, ruby, shim, toy};

/// Body of the hidden subcommand `exec-worker`: serves the parent that started it until that closes the pipe.
///
/// One thread runs programs, one watches over them. Processes, not threads, are how programs run in parallel: instances that
/// come and go in one address space wait for each other in the kernel.
pub fn worker_main() -> ExitCode {
    let serving = std::thread::Builder::new()
        .name("programs".to_owned())
        .stack_size(HOST_STACK_BYTES)
        .spawn(|| serve().map_err(|error| error.to_string()));
    match serving.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        Ok(Ok(Err(message))) => fail(&message),
        Ok(Err(_)) => ExitCode::FAILURE,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(message: &str) -> ExitCode {
    warn(message);
    ExitCode::FAILURE
}

/// One line on stderr, which is the parent's.
fn warn(message: &str) {
    // Nobody is left to tell where stderr is closed.
    let _ = writeln!(io::stderr(), "sandbox worker: {message}");
}

fn serve() -> Result<(), Box<dyn Error>> {
    lockdown::end_with_parent()?;
    // Not through the standard library's buffer: what waits there, no look at the pipe would show.
    let mut requests = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut replies = io::stdout().lock();
    let Some(hello) = protocol::read::<Hello>(&mut requests)? else { return Ok(()) };
    let version = hello.version;
    if version != VERSION {
        let refusal = format!("the parent speaks protocol {version}, wanted {VERSION}");
        protocol::write(&mut replies, &Welcome::Refused(refusal.clone()))?;
        return Err(refusal.into());
    }
    match &hello.work {
        Work::Commands(surroundings) => {
            return process::serve_commands(surroundings, &mut requests, &mut replies);
        }
        Work::Programs(surroundings, toolchain) => {
            return process::serve_programs(surroundings, toolchain, &mut requests, &mut replies);
        }
        Work::Python(_) | Work::JavaScript(_) | Work::Ruby(_) | Work::Modules | Work::Toys(_) => {}
    }
    let (mut judge, watchdog) = match prepare(&hello.work) {
        Ok(ready) => ready,
        Err(error) => {
            protocol::write(&mut replies, &Welcome::Refused(error.to_string()))?;
            return Err(error);
        }
    };
    protocol::write(&mut replies, &Welcome::Ready)?;
    let mut inbox = Inbox::new(requests);
    while let Some(next) = inbox.next()? {
        let Next::Judge(job) = next else {
            protocol::write(&mut replies, &Reply::Forgotten)?;
            continue;
        };
        let limit = Duration::from_millis(job.limits.timeout_ms.get());
        let last_words = judge.last_words(&job)?;
        let decision = watchdog.limit(limit, last_words, || judge.judge(&job));
        protocol::write(&mut replies, &Reply::from(decision))?;
    }
    Ok(())
}

/// The judge of the language that this worker runs.
enum AnyJudge {
    Python(Judge),
    JavaScript(javascript::Judge),
    Ruby(ruby::Judge),
    Command(command::Judge),
    Toy(toy::Judge),
}

impl AnyJudge {
    fn judge(&mut self, job: &Job) -> Result<Verdict, InfraError> {
        match self {
            Self::Python(judge) => judge.judge(job),
            Self::JavaScript(judge) => judge.judge(job),
            Self::Ruby(judge) => judge.judge(job),
            Self::Command(judge) => judge.judge(job),
            Self::Toy(judge) => judge.judge(job),
        }
    }

    /// The reply for a job that nothing can interrupt: a module of the program's own, compiled and interpreted.
    fn last_words(&self, job: &Job) -> io::Result<Option<Vec<u8>>> {
        match self {
            // Steps bound how long a toy program runs.
            Self::Python(_) | Self::JavaScript(_) | Self::Ruby(_) | Self::Toy(_) => Ok(None),
            Self::Command(_) => protocol::encode(&Reply::Judged(command::never_ended(job))).map(Some),
        }
    }
}

/// Loads everything, then locks the door.
fn prepare(work: &Work) -> Result<(AnyJudge, Watchdog), Box<dyn Error>> {
    let (engine, judge) = match work {
        Work::Python(files) => {
            let stdlib = Content::map(&files.stdlib)?;
            let Snapshot { memories, objects } = Snapshot::open(&files.snapshot)?;
            let engine = engine(memories)?;
            let module = load(&engine, &files.module)?;
            let instances = shim::linker(&engine, &module)?.instantiate_pre(&module)?;
            let interpreter = Interpreter::new(instances, objects);
            (engine, AnyJudge::Python(Judge::new(interpreter, stdlib)?))
        }
        Work::JavaScript(path) => {
            let engine = engine(Vec::new())?;
            let module = load(&engine, path)?;
            let interpreter = javascript::linker(&engine, &module)?.instantiate_pre(&module)?;
            (engine, AnyJudge::JavaScript(javascript::Judge::new(interpreter)))
        }
        Work::Ruby(path) => {
            let engine = engine(Vec::new())?;
            let module = load(&engine, path)?;
            let interpreter = ruby::linker(&engine, &module)?.instantiate_pre(&module)?;
            (engine, AnyJudge::Ruby(ruby::Judge::new(interpreter)))
        }
        Work::Modules => {
            let engine = command::engine()?;
            (engine.clone(), AnyJudge::Command(command::Judge::new(engine)))
        }
        Work::Toys(language) => (engine(Vec::new())?, AnyJudge::Toy(toy::Judge::new(*language))),
        Work::Commands(_) | Work::Programs(..) => {
            return Err("a worker of the process backend has no WebAssembly to prepare".into());
        }
    };
    if let Some(missing) = lockdown::restrict_files()? {
        warn(&format!("{missing}; going on without that second wall"));
    }
    let watchdog = Watchdog::start(engine.weak())?;
    lockdown::restrict_resources()?;
    lockdown::restrict_calls()?;
    Ok((judge, watchdog))
}
