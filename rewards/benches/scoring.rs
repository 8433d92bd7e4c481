//! What scoring costs: ten thousand attempts with every static signal, with a plug-in process in batches, and with a component. `make bench-rewards`.
//!
//! Prints one line per measurement: what, how many attempts, seconds, attempts per second, processor time per attempt.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rltrain_executor::{Outcome, Verdict, WallTime};
use rltrain_rewards::{Attempt, Length, ReferenceRun, RewardSet, RewardsConfig, Task};

const ATTEMPTS: usize = 10_000;

/// The best time of these counts: other programs only ever slow it down.
const ROUNDS: usize = 5;

/// Every reward that looks at texts and verdicts only.
const STATIC: &str = "
[tests_passed]
[all_passed]
[outcome_table]
[tiers]
[ast_match]
[dataflow_match]
[codebleu]
[efficiency]
[memory]
[orps]
[format]
[brevity]
[overlong]
[repetition]
[style]
docstrings = true
type_hints = true
most_nesting = 3
";

const REFERENCE: &str = "def merge(first, second):
    \"\"\"Merge two sorted lists.\"\"\"
    merged = []
    i = j = 0
    while i < len(first) and j < len(second):
        if first[i] <= second[j]:
            merged.append(first[i])
            i += 1
        else:
            merged.append(second[j])
            j += 1
    merged.extend(first[i:])
    merged.extend(second[j:])
    return merged
";

/// Twenty lines that differ from attempt to attempt.
fn program(index: usize) -> String {
    format!(
        "def merge(first, second):
    merged = []
    rest = list(second)
    for value in first:
        while rest and rest[0] < value + {index}:
            smallest = rest.pop(0)
            merged.append(smallest)
        if value > {index}:
            merged.append(value)
        elif value == {index}:
            merged = merged + [value]
        else:
            merged.append(value - {index} + {index})
    for value in rest:
        merged.append(value)
    total = sum(merged)
    if total < 0:
        return sorted(merged)
    return merged
"
    )
}

fn main() {
    let verdict = Verdict {
        load: Outcome::Passed.into(),
        tests: vec![Outcome::Passed.into(); 8],
        public: 0,
        fuel: 1_000_000,
        peak_memory_bytes: 45 << 20,
        wall: WallTime::default(),
        stdout: String::new(),
        stderr: String::new(),
        denied: BTreeMap::new(),
    };
    let task = Task {
        id: "merge",
        signature: "def merge(first, second):",
        entry_point: "merge",
        reference: Some(REFERENCE),
        reference_run: Some(ReferenceRun { fuel: 900_000, peak_memory_bytes: 44 << 20 }),
        ..Task::default()
    };
    let programs: Vec<String> = (0..ATTEMPTS).map(program).collect();
    measure("static signals", STATIC, &task, &programs, &verdict);
    let script = "import json, sys\\nsys.stdin.readline()\\n\
                  print('{\\\"protocol\\\": \\\"rltrain-reward\\\", \\\"version\\\": 1}', flush=True)\\n\
                  for line in sys.stdin:\\n    batch = json.loads(line)\\n    \
                  print(json.dumps({'id': batch['id'], 'scores': [0.5] * len(batch['attempts'])}), flush=True)\\n";
    let process = format!("[process.constant]\ncommand = [\"python3\", \"-c\", \"{script}\"]\n");
    measure("plug-in process", &process, &task, &programs, &verdict);
    match component() {
        Some(folder) => {
            let component = folder.path().join("short_lines.wasm");
            let table = format!("[wasm.short_lines]\ncomponent = {component:?}\n");
            measure("plug-in component", &table, &task, &programs, &verdict);
        }
        None => say("plug-in component: not measured; `make wasm-tools` fetches what builds it"),
    }
}

/// The example in C, built into a folder of its own; `None` without the tools for it.
fn component() -> Option<tempfile::TempDir> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fetched = crate_folder.join("../.deps/wasm-tools/bin");
    let tools = std::env::var_os("RLTRAIN_WASM_TOOLS").map_or(fetched, PathBuf::from);
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    let folder = tempfile::tempdir().ok()?;
    let build = crate_folder.join("examples/wasm-c/build.sh");
    let built = Command::new("sh").arg(build).arg(folder.path()).env("PATH", path).status().ok()?;
    built.success().then_some(folder)
}

#[expect(clippy::print_stdout, reason = "the measurement is this program's output")]
fn say(line: &str) {
    println!("{line}");
}

/// Seconds of processor time that this process has taken, and those that it started and that have ended.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells what a process took");
    // After the name, which may have blanks in it: the fields 3 and on, of which 14 to 17 are times in hundredths of a second.
    let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
    let ticks = fields.split_whitespace().skip(11).take(4).map(|field| field.parse::<f64>().unwrap_or(0.0));
    ticks.sum::<f64>() / 100.0
}

/// Scores all programs [`ROUNDS`] times.
fn measure(what: &str, rewards: &str, task: &Task<'_>, programs: &[String], verdict: &Verdict) {
    let config: RewardsConfig = toml::from_str(rewards).expect("the bench's own table is one");
    let rewards = RewardSet::build(&config).expect("the bench's own rewards can be built");
    let (mut best, begun) = (f64::INFINITY, processor_seconds());
    for _ in 0..ROUNDS {
        let length = Some(Length { tokens: 200, most: 256, truncated: false });
        let attempts: Vec<_> = programs
            .iter()
            .map(|program| Attempt { length, ..Attempt::new(task, program, program, verdict) })
            .collect();
        let begin = Instant::now();
        let scored = rewards.score_all(&attempts);
        best = begin.elapsed().as_secs_f64().min(best);
        assert!(scored.iter().all(Result::is_ok), "{:?}", scored.iter().find(|scored| scored.is_err()));
    }
    // A plug-in process ends with the rewards, and what it took is known then.
    drop(rewards);
    let each = (processor_seconds() - begun) / (ROUNDS * programs.len()) as f64;
    say(&format!(
        "{what:<18} {:>6} attempts {best:>8.3} s {:>10.0} attempts/s {:>8.1} µs of processor time each",
        programs.len(),
        programs.len() as f64 / best,
        1e6 * each,
    ));
}
