//! A plug-in that is a program: JSON lines on its standard input and output.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::batches::{Answer, in_batches};
use super::protocol::{Hello, Request, scores};
use super::{PlugIn, PlugInError, PlugInScore, range};
use crate::Attempt;
use crate::term::reward_config;

reward_config! {
    /// `[rewards.process.NAME]`: a program of your own that scores attempts, in any language: it reads batches as JSON lines from
    /// standard input and answers on standard output. `rltrain reward new NAME --kind process` writes one; `docs/rewards.md` has the
    /// protocol.
    ///
    /// A plug-in that crashes, hangs or answers nonsense is started anew and asked again; the attempts of a batch that it never
    /// answers are lost, as if the sandbox had failed, and count neither as 0 nor as anything else.
    pub struct ProcessConfig for "process" {
        /// The program and its arguments, such as `["python3", "judge.py"]`. Not empty.
        pub command: Vec<String> = Vec::new(),
        /// The folder it runs in; a relative path is relative to the recipe. Default `.`, the folder of the recipe.
        pub directory: PathBuf = PathBuf::from("."),
        /// How many copies of it run side by side, from 1 to 64. Default 1.
        pub copies: usize = 1,
        /// Most attempts in one batch, at least 1. Default 256.
        pub batch: usize = 256,
        /// Time that it has to start and say hello, in milliseconds, at least 1. Default 60000.
        pub start_timeout_ms: u64 = 60_000,
        /// Time that it has to answer a batch, in milliseconds, at least 1. Default 10000.
        pub timeout_ms: u64 = 10_000,
        /// How often it is started anew and asked again before a batch is given up. Default 2.
        pub retries: usize = 2,
        /// The least that it may score. Default -1.
        pub least: f64 = -1.0,
        /// The most that it may score. Default 1.
        pub greatest: f64 = 1.0,
    }
}

/// Longest answer that is read, in bytes: some twenty bytes for each of many scores.
const MOST_ANSWER: u64 = 16 << 20;

/// How much of what a plug-in writes to standard error is kept, in bytes.
const KEPT_STDERR: usize = 2000;

/// A plug-in process, started when it is first needed.
pub struct Process {
    name: String,
    config: ProcessConfig,
    range: RangeInclusive<f64>,
    /// One slot per copy. A copy that failed leaves its slot empty until it is needed again.
    copies: Vec<Mutex<Option<Running>>>,
}

impl Process {
    pub(crate) fn new(name: &str, config: &ProcessConfig) -> Result<Self, String> {
        if config.command.first().is_none_or(String::is_empty) {
            return Err(
                "`command` is empty, wanted a program, such as [\"python3\", \"judge.py\"]".to_owned()
            );
        }
        for (key, value) in [("batch", config.batch as u64), ("timeout_ms", config.timeout_ms)] {
            if value == 0 {
                return Err(format!("`{key}` is 0, wanted at least 1"));
            }
        }
        if config.start_timeout_ms == 0 {
            return Err("`start_timeout_ms` is 0, wanted at least 1".to_owned());
        }
        if !(1..=64).contains(&config.copies) {
            return Err(format!("`copies` is {}, wanted from 1 to 64", config.copies));
        }
        let range = range(config.least, config.greatest)?;
        let copies = (0..config.copies).map(|_| Mutex::new(None)).collect();
        Ok(Self { name: name.to_owned(), config: config.clone(), range, copies })
    }

    /// Scores one batch with one copy, starting it anew where it fails.
    fn score_batch(&self, slot: usize, attempts: &[Attempt<'_>]) -> Answer {
        // Written down before the copy is free, which it may not be yet.
        let request = Request::of(attempts);
        // A panic of ours while a copy was in use leaves a copy that is started anew at worst.
        let mut slot = self.copies[slot].lock().unwrap_or_else(PoisonError::into_inner);
        let mut tries = self.config.retries;
        loop {
            let answer = self.ask(&mut slot, &request);
            match answer {
                Ok(scores) => return Ok(scores),
                Err(error) => {
                    *slot = None;
                    if tries == 0 {
                        return Err(error);
                    }
                    tries -= 1;
                }
            }
        }
    }

    fn ask(&self, slot: &mut Option<Running>, request: &Request) -> Answer {
        let config = &self.config;
        let running = match slot {
            Some(running) => running,
            None => slot.insert(Running::start(&self.name, config)?),
        };
        running.asked += 1;
        let id = running.asked;
        let answer = running.exchange(request.text(id), Duration::from_millis(config.timeout_ms))?;
        scores(&answer, id, request.count(), &self.range)
    }
}

impl PlugIn for Process {
    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<PlugInScore> {
        // Two for each copy: one writes down what comes next while the copy works on what the other has.
        let copies = self.copies.len();
        let lanes: Vec<usize> = (0..2 * copies).map(|lane| lane % copies).collect();
        in_batches(&lanes, attempts, self.config.batch, |slot, batch| self.score_batch(*slot, batch))
    }
}

/// A copy of the plug-in that said hello. Killed when it is dropped.
struct Running {
    child: Child,
    /// Lines for it; a thread writes them, so that a plug-in that reads nothing cannot hold us up.
    input: Sender<String>,
    output: Receiver<io::Result<String>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    asked: u64,
}

impl Running {
    fn start(name: &str, config: &ProcessConfig) -> Result<Self, PlugInError> {
        let failed = |error: io::Error| PlugInError::Start {
            command: config.command.join(" "),
            message: error.to_string(),
        };
        let (program, arguments) =
            config.command.split_first().expect("the command is not empty: `new` refuses it");
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(&config.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let piped = "the pipe was asked for by contract";
        let (input, lines) = channel();
        let stdin = child.stdin.take().expect(piped);
        thread::spawn(move || write_lines(stdin, &lines));
        let (answers, output) = sync_channel(1);
        let stdout = child.stdout.take().expect(piped);
        thread::spawn(move || read_lines(stdout, &answers));
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let (pipe, kept) = (child.stderr.take().expect(piped), Arc::clone(&stderr));
        thread::spawn(move || keep_end(pipe, &kept));
        let mut running = Self { child, input, output, stderr, asked: 0 };
        Hello::check(
            &running.exchange(Hello::of(name).text(), Duration::from_millis(config.start_timeout_ms))?,
        )?;
        Ok(running)
    }

    /// Says a line and waits for one.
    fn exchange(&mut self, mut line: String, timeout: Duration) -> Result<String, PlugInError> {
        line.push('\n');
        self.input.send(line).map_err(|_| self.ended())?;
        match self.output.recv_timeout(timeout) {
            Ok(line) => Ok(line?),
            Err(RecvTimeoutError::Timeout) => Err(PlugInError::Hung(timeout)),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    fn ended(&self) -> PlugInError {
        // What it wrote last may still be on its way.
        thread::sleep(Duration::from_millis(20));
        let stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        PlugInError::Ended { stderr: String::from_utf8_lossy(&stderr).into_owned() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; nothing else can go wrong, and nobody could do anything about it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends when the plug-in closes its input or is killed, or when nobody has lines for it any more.
fn write_lines(mut stdin: impl Write, lines: &Receiver<String>) {
    for line in lines {
        if stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

/// Ends with the plug-in's output, or when nobody waits for it any more.
fn read_lines(stdout: impl Read, answers: &SyncSender<io::Result<String>>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let read = (&mut stdout).take(MOST_ANSWER).read_until(b'\n', &mut line);
        let too_long = || io::Error::other(format!("an answer is longer than {MOST_ANSWER} bytes"));
        let answer = match read {
            Ok(0) => return,
            Ok(_) if line.len() as u64 == MOST_ANSWER && line.last() != Some(&b'\n') => Err(too_long()),
            Ok(_) => Ok(String::from_utf8_lossy(&line).into_owned()),
            Err(error) => Err(error),
        };
        let last = answer.is_err();
        if answers.send(answer).is_err() || last {
            return;
        }
    }
}

/// Keeps the end of what is written.
fn keep_end(mut pipe: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut piece = [0; 1024];
    while let Ok(count @ 1..) = pipe.read(&mut piece) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&piece[..count]);
        let excess = kept.len().saturating_sub(KEPT_STDERR);
        kept.drain(..excess);
    }
}

#[cfg(test)]
mod tests;
