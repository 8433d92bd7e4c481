//! Runs of the program itself, two beside each other, each on one thread.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Failure;
use super::rows::{Row, SEEDS};

/// Runs beside each other: products of tiny models are too small to share.
const AT_ONCE: usize = 2;

/// Whether all was run that was to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Whole,
    CutOff,
}

/// When no run is started any more.
pub(crate) struct Clock {
    end: Option<Instant>,
}

impl Clock {
    pub(crate) fn from_environment() -> Result<Clock, Failure> {
        let seconds = std::env::var("RLTRAIN_PAPERS_SECONDS").ok().map(|text| text.parse()).transpose()?;
        Ok(Clock { end: seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds)) })
    }

    fn is_up(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }
}

/// Runs every variant of a row with every seed.
pub(crate) fn run(row: &Row, folder: &Path, clock: &Clock) -> Result<Done, Failure> {
    let mut waiting = Vec::new();
    for seed in SEEDS {
        for variant in &row.variants {
            let name = format!("{}-{}-{seed}", row.id, variant.name);
            let recipe = row.recipe(variant, seed, &name);
            let runs = folder.join("runs");
            fs::create_dir_all(&runs)?;
            prepare(&runs, &name, &recipe)?;
            if !is_done(&runs.join(&name), row.steps) {
                waiting.push(name);
            }
        }
    }
    waiting.reverse();
    let mut running: Vec<(String, Child)> = Vec::new();
    loop {
        while running.len() < AT_ONCE && !clock.is_up() {
            let Some(name) = waiting.pop() else { break };
            println!("{name}");
            let child = start(&folder.join("runs"), &name, 1)?;
            running.push((name, child));
        }
        if running.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
        let mut still = Vec::new();
        for (name, mut child) in running {
            match child.try_wait()? {
                None if clock.is_up() => interrupt(&mut child)?,
                None => still.push((name, child)),
                Some(status) if status.success() => {}
                Some(status) => {
                    return Err(format!("{name} ended with {status}: {}", last_words(folder, &name)).into());
                }
            }
        }
        running = still;
    }
    let whole = SEEDS.iter().all(|seed| {
        row.variants.iter().all(|variant| {
            let name = format!("{}-{}-{seed}", row.id, variant.name);
            is_done(&folder.join("runs").join(name), row.steps)
        })
    });
    Ok(if whole { Done::Whole } else { Done::CutOff })
}

/// Runs one recipe to its end, on all threads.
pub(crate) fn to_end(
    place: &Path,
    name: &str,
    recipe: &str,
    steps: u64,
    clock: &Clock,
) -> Result<Done, Failure> {
    prepare(place, name, recipe)?;
    if is_done(&place.join(name), steps) {
        return Ok(Done::Whole);
    }
    println!("{name}");
    let mut child = start(place, name, AT_ONCE)?;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(Done::Whole),
            Some(status) => return Err(format!("{name} ended with {status}").into()),
            None if clock.is_up() => {
                interrupt(&mut child)?;
                return Ok(Done::CutOff);
            }
            None => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// Writes the recipe. A run that another recipe has begun is begun anew.
fn prepare(place: &Path, name: &str, recipe: &str) -> Result<(), Failure> {
    let path = place.join(format!("{name}.toml"));
    if fs::read_to_string(&path).is_ok_and(|written| written == recipe) {
        return Ok(());
    }
    match fs::remove_dir_all(place.join(name)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    fs::write(path, recipe)?;
    Ok(())
}

fn start(place: &Path, name: &str, threads: usize) -> Result<Child, Failure> {
    let log = fs::File::options().create(true).append(true).open(place.join(format!("{name}.log")))?;
    let child = Command::new(env!("CARGO_BIN_EXE_rltrain"))
        .arg(format!("{name}.toml"))
        .current_dir(place)
        .env("NO_COLOR", "1")
        .env("OMP_NUM_THREADS", threads.to_string())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?;
    Ok(child)
}

/// Has a run save and end, as Ctrl-C does.
fn interrupt(child: &mut Child) -> Result<(), Failure> {
    let id = child.id().to_string();
    Command::new("kill").args(["-INT", &id]).status()?;
    child.wait()?;
    Ok(())
}

fn last_words(folder: &Path, name: &str) -> String {
    let log = fs::read_to_string(folder.join("runs").join(format!("{name}.log"))).unwrap_or_default();
    log.lines().rev().take(12).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
}

fn is_done(run: &Path, steps: u64) -> bool {
    evaluations(run).is_ok_and(|all| all.last().is_some_and(|last| last["step"].as_u64() == Some(steps)))
}

/// The evaluations of a run, in the order of their steps.
pub(crate) fn evaluations(run: &Path) -> Result<Vec<Value>, Failure> {
    let file: Value = serde_json::from_str(&fs::read_to_string(run.join("evaluations.json"))?)?;
    Ok(file["evaluations"].as_array().cloned().unwrap_or_default())
}

/// The lines of `metrics.jsonl` of steps.
pub(crate) fn metrics(run: &Path) -> Result<Vec<Value>, Failure> {
    let text = fs::read_to_string(run.join("metrics.jsonl"))?;
    let lines = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    Ok(lines.into_iter().filter(|line| line.get("reward").is_some() || line.get("loss").is_some()).collect())
}
