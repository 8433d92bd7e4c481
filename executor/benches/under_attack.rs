//! Ten thousand programs of which a quarter attack, while workers are killed in turn. `make bench-attack` runs it.
//!
//! A tenth loops, a tenth fills memory, a twentieth crashes the interpreter; each program has an answer of its own, so that a
//! verdict that is lost or mixed up with another is noticed. The lower bound is arithmetic: what each kind costs alone on one
//! worker, times how many there are, divided by the cores.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod support;

use std::num::NonZeroUsize;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rltrain_executor::{Executor, Job, Limits, Outcome, Pending};

use support::{Failure, cores, family, start};

const PROGRAMS: usize = 10_000;

/// Programs of each kind that its cost is measured with.
const SAMPLE: usize = 200;

/// Fuel of a job: a loop ends after about ten milliseconds.
const FUEL: u64 = 100_000_000;

/// Time between two kills.
const KILL_EVERY: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Honest,
    Loops,
    FillsMemory,
    Crashes,
}

const KINDS: [Kind; 4] = [Kind::Honest, Kind::Loops, Kind::FillsMemory, Kind::Crashes];

impl Kind {
    /// Of twenty programs: two loop, two fill memory, one crashes. Strides keep kinds from coming in blocks.
    fn of(index: usize) -> Kind {
        match index * 7 % 20 {
            0 | 1 => Kind::Loops,
            2 | 3 => Kind::FillsMemory,
            4 => Kind::Crashes,
            _ => Kind::Honest,
        }
    }

    /// A program whose `f` gives `index`, unless it attacks instead.
    fn program(self, index: usize, round: &str) -> String {
        let attack = match self {
            Kind::Honest => "pass",
            Kind::Loops => "while True: pass",
            Kind::FillsMemory => "[0] * 10 ** 9",
            Kind::Crashes => "__import__('os').abort()",
        };
        format!("# {round}\ndef f():\n    {attack}\n    return {index}\n")
    }

    fn outcomes(self) -> [Outcome; 2] {
        match self {
            Kind::Honest => [Outcome::Passed, Outcome::Failed],
            Kind::Loops => [Outcome::OutOfFuel; 2],
            Kind::FillsMemory => [Outcome::OutOfMemory; 2],
            Kind::Crashes => [Outcome::Crashed; 2],
        }
    }
}

fn main() -> Result<(), Failure> {
    let cores = cores();
    let before = alone("before")?;
    let all = start(cores)?;
    let stop = AtomicBool::new(false);
    let kills = AtomicUsize::new(0);
    let begun = Instant::now();
    let lost = std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0.. {
                std::thread::sleep(KILL_EVERY);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                kills.fetch_add(usize::from(kill_a_worker(turn, cores.get())), Ordering::Relaxed);
            }
        });
        let checked = submit_all(&all, PROGRAMS, Kind::of, "together").and_then(check);
        stop.store(true, Ordering::Relaxed);
        checked
    })?;
    let took = begun.elapsed().as_secs_f64();
    let statistics = all.statistics();
    drop(all);
    let after = alone("after")?;
    let mut bound = 0.0;
    for ((kind, before), after) in KINDS.into_iter().zip(before).zip(after) {
        let count = (0..PROGRAMS).filter(|index| Kind::of(*index) == kind).count();
        let each = before.min(after);
        bound += each * count as f64 / cores.get() as f64;
        println!("{kind:?}: {:.2} ms each alone, {count} programs", each * 1e3);
    }
    println!(
        "{PROGRAMS} programs on {cores} workers, {} of which were killed on the way: {took:.1} s, lower bound {bound:.1} s, {:.2}x",
        kills.load(Ordering::Relaxed),
        took / bound
    );
    println!(
        "every verdict is the one of its program; {} workers were lost, {} jobs run again, {lost} lost two workers in turn and were reported as such",
        statistics.workers_lost, statistics.retries
    );
    Ok(())
}

/// Seconds that a program of each kind takes on a worker that it has for itself. Measured before and after the attack, and the
/// smaller one counts: whatever else the machine does makes it longer.
fn alone(round: &str) -> Result<[f64; KINDS.len()], Failure> {
    let one = start(NonZeroUsize::MIN)?;
    let mut each = [0.0; KINDS.len()];
    for (kind, each) in KINDS.into_iter().zip(&mut each) {
        let begun = Instant::now();
        if check(submit_all(&one, SAMPLE, |_| kind, round)?)? > 0 {
            return Err("a job was lost although no worker was killed".into());
        }
        *each = begun.elapsed().as_secs_f64() / SAMPLE as f64;
    }
    Ok(each)
}

/// Hands in `count` programs, each of the kind that `kind_of` says. `round` makes them new to the verdict cache.
fn submit_all(
    executor: &Executor,
    count: usize,
    kind_of: impl Fn(usize) -> Kind,
    round: &str,
) -> Result<Vec<(usize, Kind, Pending)>, Failure> {
    let limits = Limits { fuel: FUEL.try_into()?, ..Limits::default() };
    let submit = |index| {
        let kind = kind_of(index);
        let tests = [format!("assert f() == {index}"), format!("assert f() == {}", index + 1)];
        (index, kind, executor.submit(Job::new(kind.program(index, round), tests, limits)))
    };
    Ok((0..count).map(submit).collect())
}

/// Waits for all verdicts and compares each with its own answer. Returns how many jobs the infrastructure lost.
fn check(jobs: Vec<(usize, Kind, Pending)>) -> Result<usize, Failure> {
    let mut lost = 0;
    for (index, kind, pending) in jobs {
        match pending.wait() {
            Ok(verdict) if verdict.load == Outcome::Passed && verdict.tests == kind.outcomes() => {}
            Ok(verdict) => return Err(format!("program {index}, {kind:?}, got {verdict:?}").into()),
            Err(_) => lost += 1,
        }
    }
    Ok(lost)
}

/// Kills one of this process's workers: of those that have worked most, the next in turn, so that none is spared because it is
/// only kept ready. Returns whether there was one.
fn kill_a_worker(turn: usize, count: usize) -> bool {
    let Ok(family) = family() else { return false };
    let mut workers: Vec<_> =
        family.iter().filter(|process| process.name.starts_with("rltrain-exec")).collect();
    workers.sort_unstable_by_key(|process| std::cmp::Reverse(process.ticks));
    workers.truncate(count);
    let Some(worker) = workers.get(turn % workers.len().max(1)) else { return false };
    Command::new("kill").args(["-9", &worker.id.to_string()]).status().is_ok_and(|status| status.success())
}
