//! Programs per processor second, beside others in the same run; then start-up, memory and latency. `make bench-executor` runs it.
//!
//! All judge the same programs, in turns, for several rounds: HumanEval's canonical solutions with their tests, and short
//! programs. Processor time counts, of all processes involved: on a shared machine it is what stays comparable. Ours is
//! measured with one worker, then with one per core by the clock on the wall.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod support;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rltrain_executor::{Executor, Job, Limits};
use serde_json::Value;

use support::peers::{Cost, Peer, Problem};
use support::{Failure, cores, family, root, service, start};

/// Rounds of each side; medians are printed.
const ROUNDS: usize = 5;

/// How long our side works in a round, about. A pass over the programs takes it a twentieth of a second to a second: too short for
/// the processor clock, which ticks every 10 ms, and most of it is then the last programs, beside which a worker is idle.
const OURS: Duration = Duration::from_secs(3);

/// Short programs of a round. The interpreter's start is nearly all of their cost.
const SHORT: usize = 164;

fn main() -> Result<(), Failure> {
    let root = root();
    let sets = [("HumanEval", human_eval(&root)?), ("short", short())];
    let mut peers = Peer::start_all(&root)?;
    let (one, all) = (start(NonZeroUsize::MIN)?, start(cores())?);
    println!(
        "{ROUNDS} rounds, in turns; medians of programs per processor second, and per second of wall time"
    );
    let mut machine = Vec::new();
    println!("| set | programs | judged by | /cpu-s | ours to theirs | /s | to one worker |");
    println!("|---|---:|---|---:|---:|---:|---:|");
    for (name, problems) in &sets {
        let mut peers: Vec<&mut Peer> = peers
            .iter_mut()
            .filter(|peer| !peer.wants_calls || problems.iter().all(|problem| problem.call.is_some()))
            .collect();
        let mut costs: BTreeMap<&str, Vec<Cost>> = BTreeMap::new();
        let pass = judge(&one, problems, 1, "warm up")?;
        let passes = (OURS.as_secs_f64() / pass.wall).ceil() as usize;
        for round in 0..ROUNDS {
            for peer in &mut peers {
                costs.entry(peer.name).or_default().push(peer.judge(problems)?);
            }
            machine.push(arithmetic(cores().get()) / arithmetic(1));
            costs.entry("one").or_default().push(judge(&one, problems, passes, &format!("{round} one"))?);
            costs.entry("all").or_default().push(judge(&all, problems, passes, &format!("{round} all"))?);
        }
        let count = problems.len();
        let rate = |side: &str, of: fn(&Cost) -> f64| count as f64 / median(costs[side].iter().map(of));
        let (ours, single) = (rate("one", |cost| cost.cpu), rate("one", |cost| cost.wall));
        for peer in peers {
            let (cpu, wall) = (rate(peer.name, |cost| cost.cpu), rate(peer.name, |cost| cost.wall));
            println!("| {name} | {count} | {} | {cpu:.0} | {:.1}x | {wall:.0} | |", peer.name, ours / cpu);
        }
        println!("| {name} | {count} | ours, 1 worker | {ours:.0} | | {single:.0} | |");
        let (cpu, wall) = (rate("all", |cost| cost.cpu), rate("all", |cost| cost.wall));
        println!(
            "| {name} | {count} | ours, {} workers | {cpu:.0} | | {wall:.0} | {:.2}x |",
            cores(),
            wall / single
        );
    }
    println!(
        "the machine itself, in the same rounds: {} threads of arithmetic do {:.2} times the work of one (from {:.2} to {:.2})",
        cores(),
        median(machine.iter().copied()),
        machine.iter().copied().fold(f64::INFINITY, f64::min),
        machine.iter().copied().fold(0.0, f64::max)
    );
    drop((one, all));
    let (_, problems) = &sets[0];
    service::report(|round| problems.iter().map(|problem| job(problem, round)).collect())
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
                call: None,
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
        call: Some(("1".to_owned(), (n + 1).to_string())),
    };
    (0..SHORT).map(problem).collect()
}

fn job(Problem { prompt, solution, test, entry_point, .. }: &Problem, round: &str) -> Job {
    let program = format!("{prompt}{solution}\n# {round}\n");
    Job::new(program, [format!("{test}\ncheck({entry_point})\n")], Limits::default())
}

/// Judges every problem as many times as there are passes, all of which are in the queue at once; all must pass. `round` makes the
/// programs new to the verdict cache. The cost is that of one pass.
fn judge(executor: &Executor, problems: &[Problem], passes: usize, round: &str) -> Result<Cost, Failure> {
    let jobs: Vec<_> = (0..passes)
        .flat_map(|pass| problems.iter().map(move |problem| job(problem, &format!("{round} {pass}"))))
        .collect();
    let (begun, cpu) = (Instant::now(), cpu_of_family()?);
    let pending: Vec<_> = jobs.into_iter().map(|job| executor.submit(job)).collect();
    for pending in pending {
        let verdict = pending.wait()?;
        if !verdict.all_passed() {
            return Err(format!("a right program does not pass: {verdict:?}").into());
        }
    }
    let wall = begun.elapsed().as_secs_f64() / passes as f64;
    Ok(Cost { wall, cpu: (cpu_of_family()? - cpu).as_secs_f64() / passes as f64 })
}

/// Rounds of half a second of arithmetic in registers, which so many threads do at once: what the machine's processors are worth together.
fn arithmetic(threads: usize) -> f64 {
    let one = || {
        let (begun, mut rounds, mut value) = (Instant::now(), 0u64, 1u64);
        while begun.elapsed() < Duration::from_millis(500) {
            for _ in 0..10_000 {
                value = black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            }
            rounds += 1;
        }
        rounds
    };
    let rounds: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().expect("arithmetic does not panic")).sum()
    });
    rounds as f64
}

/// Processor time of this process and its live children, of which the peers are some, idle while ours is measured. No worker
/// ends here.
fn cpu_of_family() -> Result<Duration, Failure> {
    let ticks: u64 = family()?.iter().map(|process| process.ticks).sum();
    Ok(Duration::from_millis(ticks * 10))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
