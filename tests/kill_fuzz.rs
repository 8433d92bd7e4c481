//! Runs that are killed again and again, at moments seen from outside, and leave what a run leaves that was never killed.
//!
//! `make test` has ten kills. `make kill-fuzz` has sixty, and prints what each of them hit; `RLTRAIN_KILL_SEED` chooses others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rltrain::rng::{Stream, uniform};
use rltrain::telemetry::{Point, read_curves, read_lines};

use crate::first_light::{PATIENCE, contents};
use crate::rltrain::{expect, rltrain};
use crate::tiny::{self, edit};

const GRPO: &str = "[algorithm]\nrefills = 2\nepochs = 2\nmini_batches = 2\nkl_coefficient = 0.02\n";

const PPO: &str = "[algorithm]\npreset = \"ppo\"\nkl_coefficient = 0.1\nkl_place = \"reward\"\nkl_control = \"adaptive\"\nkl_target = 0.01\n\
                   mini_batches = 2\n[critic.optimizer]\nlearning_rate = 1e-3\n";

const LORA: &str = "[model.lora]\nrank = 4\ndropout = 0.1\n";

/// What is trained, and how.
const RECIPES: [(&str, &str, &str); 4] =
    [("GRPO", GRPO, ""), ("GRPO, LoRA", GRPO, LORA), ("PPO", PPO, ""), ("PPO, LoRA", PPO, LORA)];

/// A moment at which a run is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// So long after the process was started.
    Time(Duration),
    /// The live line names this.
    Phase(&'static str),
    /// The folder of samples has those of a new step, whole or not.
    Samples,
    /// `metrics.jsonl` has a new line.
    Metrics,
    /// The event file of TensorBoard grows.
    Board,
    /// An evaluation has been told of, and is about to be kept.
    Evaluation,
    /// A checkpoint is begun.
    Draft,
    /// A checkpoint has its manifest and not its name.
    Sealed,
    /// A checkpoint has its name, and `latest` names another.
    Installed,
    /// An old checkpoint is being removed.
    Pruned,
}

/// What a run folder looked like when a process was started in it.
struct Before {
    newest: u64,
    board: BTreeSet<String>,
    evaluations: usize,
}

impl Before {
    fn of(run: &Path) -> Before {
        Before { newest: newest(run), board: names(&run.join("tensorboard")), evaluations: evaluations(run) }
    }

    /// Whether the process has the run folder open: it has begun an event file of its own.
    fn is_open(&self, run: &Path) -> bool {
        names(&run.join("tensorboard")).iter().any(|name| !self.board.contains(name))
    }

    /// Whether the moment has come, in a process that has the run folder open.
    fn has_come(&self, moment: Moment, run: &Path) -> bool {
        let checkpoints = run.join("checkpoints");
        let drafts = || names(&checkpoints).into_iter().filter_map(|name| partial(&name));
        match moment {
            Moment::Time(_) | Moment::Phase(_) => false,
            Moment::Samples => {
                let next = format!("step-{:08}", self.newest + 1);
                names(&run.join("samples")).iter().any(|name| name.starts_with(&next))
            }
            Moment::Metrics => lines(run) as u64 > self.newest,
            Moment::Board => names(&run.join("tensorboard")).iter().any(|name| {
                let file = run.join("tensorboard").join(name);
                !self.board.contains(name) && file.metadata().is_ok_and(|file| file.len() > 200)
            }),
            Moment::Evaluation => {
                run.join("evaluations.json.partial").exists() || evaluations(run) > self.evaluations
            }
            Moment::Draft => drafts().any(|step| step > self.newest),
            Moment::Sealed => drafts().any(|step| {
                let manifest = format!("step-{step:08}.partial/manifest.json");
                step > self.newest && checkpoints.join(manifest).exists()
            }),
            Moment::Installed => newest(run) > self.newest && latest(run) != newest(run),
            Moment::Pruned => drafts().any(|step| step <= self.newest),
        }
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// The step of a checkpoint that is being written or removed.
fn partial(name: &str) -> Option<u64> {
    name.strip_prefix("step-")?.strip_suffix(".partial")?.parse().ok()
}

/// The step of the newest checkpoint that has its name.
fn newest(run: &Path) -> u64 {
    let steps = names(&run.join("checkpoints"));
    steps.iter().filter_map(|name| name.strip_prefix("step-")?.parse().ok()).max().unwrap_or(0)
}

fn latest(run: &Path) -> u64 {
    let text = std::fs::read_to_string(run.join("checkpoints/latest")).unwrap_or_default();
    text.trim().strip_prefix("step-").and_then(|step| step.parse().ok()).unwrap_or(0)
}

fn lines(run: &Path) -> usize {
    std::fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |text| text.matches('\n').count())
}

/// Evaluations that have been told of.
fn evaluations(run: &Path) -> usize {
    let text = std::fs::read_to_string(run.join("timings.jsonl")).unwrap_or_default();
    text.matches("time/evaluation_seconds").count()
}

/// Evaluations that are kept.
fn kept(run: &Path) -> usize {
    std::fs::read_to_string(run.join("evaluations.json")).map_or(0, |text| text.matches("\"step\"").count())
}

/// What a killed process left, in a few words.
fn left(run: &Path) -> String {
    let (newest, checkpoints) = (newest(run), names(&run.join("checkpoints")));
    let mut found = Vec::new();
    if checkpoints.iter().filter_map(|name| partial(name)).any(|step| step > newest) {
        let is_sealed = |name: &String| run.join("checkpoints").join(name).join("manifest.json").exists();
        let sealed = checkpoints.iter().any(|name| partial(name).is_some() && is_sealed(name));
        found.push(if sealed { "a sealed draft" } else { "a draft" });
    }
    if checkpoints.iter().filter_map(|name| partial(name)).any(|step| step < newest) {
        found.push("half a pruned checkpoint");
    }
    if newest > latest(run) {
        found.push("a checkpoint that is not `latest`");
    }
    if lines(run) as u64 > newest {
        found.push("metrics ahead of the checkpoint");
    }
    if evaluations(run) > kept(run) {
        found.push("an evaluation that is not kept");
    }
    let points = read_curves(&run.join("tensorboard")).unwrap();
    let shown = points.get("reward").map_or(0, Vec::len) as u64;
    if shown < newest {
        found.push("TensorBoard behind the checkpoint");
    }
    if found.is_empty() { "nothing unfinished".to_owned() } else { found.join(", ") }
}

/// Everything that a run leaves behind and that is a function of its recipe.
struct Behind {
    files: BTreeMap<String, Vec<u8>>,
    /// The curves of TensorBoard; of those that the machine decides only the steps.
    curves: BTreeMap<String, Vec<(u64, Option<u32>)>>,
    /// The steps of the lines of timings, and whether they are of evaluations.
    timings: Vec<(u64, bool)>,
}

impl Behind {
    fn of(run: &Path) -> Behind {
        let mut files = contents(run);
        // Who started it and when, the lock, and what the machine decides.
        let of_process = |name: &str| ["timings.jsonl", "run.lock", "provenance.json"].contains(&name);
        files.retain(|name, _| !of_process(name) && !name.starts_with("tensorboard/"));
        let timings = read_lines(&run.join("timings.jsonl")).unwrap();
        let of_machine: BTreeSet<&str> =
            timings.iter().flat_map(|line| line.metrics.iter().map(|(name, _)| name)).collect();
        let points = |tag: &String, points: Vec<Point>| -> Vec<(u64, Option<u32>)> {
            let value = |point: &Point| (!of_machine.contains(&tag[..])).then(|| point.value.to_bits());
            points.iter().map(|point| (point.step, value(point))).collect()
        };
        let curves = read_curves(&run.join("tensorboard")).unwrap();
        let curves = curves.into_iter().map(|(tag, all)| (tag.clone(), points(&tag, all))).collect();
        let is_evaluation =
            |line: &rltrain::telemetry::Line| line.metrics.get("time/evaluation_seconds").is_some();
        let timings = timings.iter().map(|line| (line.step, is_evaluation(line))).collect();
        Behind { files, curves, timings }
    }

    #[track_caller]
    fn assert_is(&self, whole: &Behind, killed: &[String]) {
        let names = |behind: &Behind| behind.files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(self), names(whole), "the files differ: {killed:#?}");
        for (name, content) in &self.files {
            assert!(*content == whole.files[name], "`{name}` differs: {killed:#?}");
        }
        assert_eq!(self.timings, whole.timings, "timings.jsonl differs: {killed:#?}");
        assert_eq!(self.curves.keys().collect::<Vec<_>>(), whole.curves.keys().collect::<Vec<_>>());
        for (tag, points) in &self.curves {
            assert_eq!(points, &whole.curves[tag], "the curve `{tag}` differs: {killed:#?}");
        }
    }
}

/// A process in a run folder, and what its live line says if it has a terminal.
struct Running {
    child: Child,
    pid: u32,
    said: Arc<Mutex<String>>,
}

impl Running {
    fn start(folder: &Path) -> Running {
        let child =
            rltrain(folder).arg("recipe.toml").stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        Running { child, pid, said: Arc::default() }
    }

    /// As [`Running::start`] on a terminal, which `script` of util-linux makes; `None` if there is no such program.
    fn on_a_terminal(folder: &Path) -> Option<Running> {
        let file = folder.join("pid");
        let _ = std::fs::remove_file(&file);
        let line = format!(
            "stty cols 120 rows 40; echo $$ >pid; exec '{}' recipe.toml",
            env!("CARGO_BIN_EXE_rltrain")
        );
        let mut child = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"])
            .current_dir(folder)
            .env("OMP_NUM_THREADS", "1")
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let said = Arc::new(Mutex::new(String::new()));
        let (mut from, to) = (child.stdout.take().unwrap(), Arc::clone(&said));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = std::io::Read::read(&mut from, &mut buffer) {
                to.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        let start = Instant::now();
        let pid = loop {
            if let Some(pid) = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()) {
                break pid;
            }
            assert!(start.elapsed() < PATIENCE, "`script` started nothing");
            std::thread::sleep(Duration::from_millis(1));
        };
        Some(Running { child, pid, said })
    }

    /// Waits for the moment and kills the process. Returns whether it still ran.
    fn kill_at(mut self, moment: Moment, before: &Before, run: &Path, delay: Duration) -> bool {
        let start = Instant::now();
        let mut is_open = false;
        loop {
            assert!(start.elapsed() < PATIENCE, "{moment:?} never came");
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            is_open = is_open || before.is_open(run);
            let has_come = match moment {
                Moment::Time(time) => start.elapsed() >= time,
                // What it says last: the line is drawn anew many times a second.
                Moment::Phase(name) => self.said.lock().unwrap().contains(name),
                _ => is_open && before.has_come(moment, run),
            };
            // A moment that was too short to be seen is not waited for until the run is over.
            if has_come || is_open && newest(run) > before.newest + 2 {
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(delay);
        let killed =
            Command::new("kill").args(["-KILL", &self.pid.to_string()]).stderr(Stdio::null()).status();
        self.child.wait().unwrap();
        killed.unwrap().success()
    }
}

fn make(folder: &Path, (_, algorithm, lora): (&str, &str, &str), steps: u64) {
    tiny::make(folder);
    edit(folder, "steps = 4\n", &format!("steps = {steps}\n"));
    edit(folder, "max_tokens = 48\n", "max_tokens = 16\n");
    edit(folder, "samples = 4\nk = [1, 4]\n", "samples = 1\nk = [1]\n");
    edit(folder, "every = 1\n", "every = 1\nkeep_last = 1\n");
    edit(folder, "\n[tasks]\n", &format!("{lora}\n[tasks]\n"));
    edit(folder, "[optimizer]\n", &format!("{algorithm}\n[optimizer]\n"));
}

/// Runs a recipe to its end in `folder`, and takes away what it left.
fn whole(folder: &Path) -> Behind {
    expect(folder, &["recipe.toml"], 0);
    let whole = Behind::of(&folder.join("run"));
    std::fs::remove_dir_all(folder.join("run")).unwrap();
    whole
}

/// Kills a run of `recipe` so many milliseconds after each of `moments`, and compares what it leaves with what a run leaves that was
/// never killed.
fn killed(recipe: (&str, &str, &str), moments: &[(Moment, u64)]) {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), recipe, 6);
    let run = folder.path().join("run");
    let whole = whole(folder.path());
    let mut log = Vec::new();
    for (moment, delay) in moments {
        let before = Before::of(&run);
        let running = Running::start(folder.path());
        let still_ran = running.kill_at(*moment, &before, &run, Duration::from_millis(*delay));
        assert!(still_ran, "the run was over before it was killed: {log:?}, {moment:?}");
        log.push(format!("{moment:?}: {}", left(&run)));
    }
    let (_, error) = expect(folder.path(), &["recipe.toml"], 0);
    assert!(error.contains("resuming"), "{log:?}: {error}");
    Behind::of(&run).assert_is(&whole, &log);
}

#[test]
fn grpo_killed_three_times() {
    killed(RECIPES[0], &[(Moment::Draft, 0), (Moment::Evaluation, 0), (Moment::Installed, 0)]);
}

#[test]
fn grpo_of_adapters_killed_twice() {
    killed(RECIPES[1], &[(Moment::Metrics, 0), (Moment::Pruned, 0)]);
}

#[test]
fn ppo_killed_three_times() {
    killed(RECIPES[2], &[(Moment::Installed, 0), (Moment::Board, 5), (Moment::Sealed, 0)]);
}

/// A while after a checkpoint, the next step samples, executes or learns.
#[test]
fn ppo_of_adapters_killed_twice() {
    killed(RECIPES[3], &[(Moment::Installed, 250), (Moment::Samples, 0)]);
}

/// Kills of each recipe in the long form.
const KILLS: u64 = 15;

/// The moments of the long form for one recipe, in an order that the seed decides: each kind once, the rest at any time. `pace` is what
/// a step takes.
fn moments(seed: u64, recipe: u64, pace: Duration) -> Vec<(Moment, Duration)> {
    let random = |number: u64, what: u64| uniform(seed, Stream::Sampling, &[recipe, number, what]);
    let phases = ["rollout", "execution", "update", "checkpoint", "evaluation"].map(Moment::Phase);
    let files = [Moment::Samples, Moment::Metrics, Moment::Board, Moment::Evaluation, Moment::Draft];
    let rare = [Moment::Sealed, Moment::Installed, Moment::Pruned];
    let kinds: Vec<Moment> = phases.into_iter().chain(files).chain(rare).collect();
    let moment = |number: u64| {
        let (place, delay) = (random(number, 0), random(number, 1));
        let moment = kinds.get(number as usize).copied();
        match moment.unwrap_or_else(|| Moment::Time(pace.mul_f64(3.0 * place))) {
            phase @ Moment::Phase("rollout" | "update" | "evaluation") => (phase, pace.mul_f64(0.3 * delay)),
            moment @ Moment::Time(_) => (moment, Duration::ZERO),
            moment => (moment, Duration::from_secs_f64(0.003 * delay)),
        }
    };
    let mut order: Vec<u64> = (0..KILLS).collect();
    order.sort_by(|one, other| random(*one, 2).total_cmp(&random(*other, 2)));
    order.into_iter().map(moment).collect()
}

#[test]
#[ignore = "minutes; `make kill-fuzz` runs it"]
#[expect(clippy::print_stdout, reason = "what was hit is what `make kill-fuzz` is for")]
fn sixty_kills() {
    let seed = std::env::var("RLTRAIN_KILL_SEED").map_or(1, |seed| seed.parse().expect("a whole number"));
    println!("| recipe | killed at | after | what the process left |\n|---|---|---:|---|");
    for (place, recipe) in RECIPES.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), recipe, 8);
        let run = folder.path().join("run");
        let start = Instant::now();
        let whole = whole(folder.path());
        let mut moments = moments(seed, place as u64, start.elapsed() / 8).into_iter().peekable();
        while moments.peek().is_some() {
            let mut log = Vec::new();
            while let Some((moment, delay)) = moments.peek().copied() {
                let before = Before::of(&run);
                let running = Running::on_a_terminal(folder.path());
                let running = running.unwrap_or_else(|| Running::start(folder.path()));
                if !running.kill_at(moment, &before, &run, delay) {
                    // The run is over; what is left is for another one.
                    break;
                }
                moments.next();
                let (name, left) = (recipe.0, left(&run));
                println!("| {name} | {moment:?} + {delay:.1?} | step {} | {left} |", newest(&run));
                log.push(format!("{moment:?}: {left}"));
            }
            expect(folder.path(), &["recipe.toml"], 0);
            Behind::of(&run).assert_is(&whole, &log);
            std::fs::remove_dir_all(&run).unwrap();
        }
    }
}
