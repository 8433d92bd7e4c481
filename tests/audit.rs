//! `rltrain audit-reward`: nothing of the zoo is rewarded on our own tasks, and what is rewarded elsewhere is shown.

use std::path::Path;

use rltrain::audit::{Blanks, cheats_in};
use rltrain::execution::dependencies_folder;
use rltrain_executor::process::{Isolation, LayerSet, Toolchain};
use rltrain_executor::{
    Executor, ExecutorConfig, Fuel, Job, Limits, ModuleCache, Runtime, RuntimeFiles, StartOptions, Test,
    TimeoutMs, Verdict, WorkerCommand,
};
use rltrain_rewards::{Attempt, Language, RewardSet, RewardsConfig, Task};
use serde_json::Value;

use crate::rltrain::{expect, run};
use crate::tiny;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Every program of an audit, as `--json` prints them.
fn trials(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A fifth of them, spread over the files: the cheats know nothing of the task, and each is run for every one.
#[test]
fn no_cheat_is_rewarded_on_our_own_tasks() {
    assert_that_none_is_rewarded(5);
}

#[test]
#[ignore = "some minutes; after a change of the tasks, the tests, the zoo or the rewards"]
fn no_cheat_is_rewarded_on_any_of_our_own_tasks() {
    assert_that_none_is_rewarded(1);
}

/// On every `nth` task.
fn assert_that_none_is_rewarded(nth: usize) {
    let folder = tempfile::tempdir().unwrap();
    for file in ["train", "heldout"] {
        let all = std::fs::read_to_string(root().join(format!("recipes/tasks/python-basics/{file}.jsonl")))
            .unwrap();
        let some: Vec<&str> = all.lines().step_by(nth).collect();
        let tasks = folder.path().join("tasks.jsonl");
        std::fs::write(&tasks, some.join("\n") + "\n").unwrap();
        let recipe = root().join("recipes/quickstart.toml");
        let (tasks, recipe) = (tasks.to_str().unwrap(), recipe.to_str().unwrap());
        let output = run(root(), &["audit-reward", tasks, "--rewards", recipe, "--mutants", "0", "--json"]);
        let out = String::from_utf8(output.stdout).unwrap();
        let rewarded: Vec<Value> =
            trials(&out).into_iter().filter(|trial| trial["accepted"] == true).collect();
        assert!(rewarded.is_empty(), "{} rewarded, such as {:#}", rewarded.len(), rewarded[0]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{error}");
        assert!(
            trials(&out).len() >= 50 * some.len(),
            "{} programs for {} tasks",
            trials(&out).len(),
            some.len()
        );
    }
}

#[test]
fn a_reward_that_can_be_had_for_nothing_is_shown_with_the_program_that_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let heldout = std::fs::read_to_string(root().join("recipes/tasks/python-basics/heldout.jsonl")).unwrap();
    let tasks: String = heldout.lines().take(2).map(|line| format!("{line}\n")).collect();
    std::fs::write(folder.path().join("tasks.jsonl"), tasks).unwrap();
    // Whoever writes a docstring earns something, right or wrong.
    std::fs::write(folder.path().join("open.toml"), "[rewards.style]\ndocstrings = true\n").unwrap();
    let (out, error) = expect(folder.path(), &["audit-reward", "tasks.jsonl", "--rewards", "open.toml"], 2);
    assert!(out.contains("mutants of references that pass all tests"), "{out}");
    assert!(out.contains("`: docstring (a docstring for a body) earns 1.0000; "), "{out}");
    assert!(out.contains("    \"\"\"Returns the right answer.\"\"\"\n"), "{out}");
    assert!(error.contains("cheating programs are rewarded; mend the tests or the rewards"), "{error}");

    let closed = "[rewards.all_passed]\n[rewards.style]\ndocstrings = true\nonly_if = \"all_passed\"\n";
    std::fs::write(folder.path().join("closed.toml"), closed).unwrap();
    let (out, _) = expect(folder.path(), &["audit-reward", "tasks.jsonl", "--rewards", "closed.toml"], 0);
    assert!(out.contains("cheating programs that are rewarded       0 of "), "{out}");
}

/// A task in another language: task files are of Python so far.
struct Other {
    runtime: Runtime,
    language: Language,
    blanks: Blanks<'static>,
    /// Does nothing.
    idle: &'static str,
    /// Is right.
    reference: &'static str,
    tests: Vec<Test>,
}

impl Other {
    fn javascript() -> Other {
        let tests = ["assert.strictEqual(double(3), 6)", "assert.deepStrictEqual(double(-4), -8)"];
        let call = r#"{"kind": "call", "function": "double", "arguments": [5], "expected": 10}"#;
        Other {
            runtime: Runtime::JavaScript,
            language: Language::JavaScript,
            blanks: Blanks {
                signature: "function double(n) {",
                entry_point: "double",
                examples: "    case \"2\": return 4;\n",
            },
            idle: "function double(n) {\n}\n",
            reference: "function double(n) {\n    return 2 * n;\n}\n",
            tests: tests.into_iter().map(Test::from).chain([serde_json::from_str(call).unwrap()]).collect(),
        }
    }

    fn cpp() -> Other {
        let test =
            |n: i32| format!("{{\"kind\": \"stdin\", \"stdin\": \"{n}\\n\", \"stdout\": \"{}\\n\"}}", 2 * n);
        Other {
            runtime: Runtime::named("native-cpp").unwrap(),
            language: Language::Cpp,
            blanks: Blanks {
                signature: "",
                entry_point: "main",
                examples: "    if (std::strcmp(input, \"2\\n\") == 0) std::puts(\"4\");\n",
            },
            idle: "int main() {}\n",
            reference: "#include <cstdio>\nint main() { long n; std::scanf(\"%ld\", &n); std::printf(\"%ld\\n\", 2 * n); }\n",
            tests: [3, -4, 5].map(|n| serde_json::from_str(&test(n)).unwrap()).into(),
        }
    }

    /// Verdicts of the program that does nothing, the reference, and every cheat.
    fn verdicts(&self, programs: &[String]) -> Vec<Verdict> {
        let limits = Limits {
            fuel: Fuel::try_from(150_000_000).unwrap(),
            timeout_ms: TimeoutMs::try_from(1000).unwrap(),
            ..Limits::default()
        };
        let config = ExecutorConfig { runtime: self.runtime, limits, ..ExecutorConfig::default() };
        let worker = WorkerCommand {
            program: env!("CARGO_BIN_EXE_rltrain").into(),
            arguments: vec!["exec-worker".into()],
        };
        let options = StartOptions { cache: ModuleCache::of_user().unwrap(), worker };
        let files = RuntimeFiles::in_folder(&dependencies_folder());
        let executor = Executor::start_with(&config, &files, &options, &mut |_| {}).unwrap();
        let job = |program: &String| executor.submit(Job::new(program.clone(), self.tests.clone(), limits));
        let pending: Vec<_> = programs.iter().map(job).collect();
        pending.into_iter().map(|pending| pending.wait().unwrap()).collect()
    }

    /// That no cheat earns more than a program that does nothing.
    fn rewards_no_cheat(&self) {
        let cheats = cheats_in(self.language, self.blanks);
        let whole = [self.idle, self.reference].map(str::to_owned).into_iter();
        let programs: Vec<String> = whole.chain(cheats.iter().map(|cheat| cheat.program.clone())).collect();
        let verdicts = self.verdicts(&programs);
        let config: RewardsConfig = toml::from_str("[tests_passed]\nweight = 0.1\n[all_passed]\n").unwrap();
        let rewards = RewardSet::build(&config).unwrap();
        let task = Task { language: self.language, ..Task::default() };
        let earns = |place: usize| {
            rewards.score(&Attempt::new(&task, "", &programs[place], &verdicts[place])).unwrap().total
        };
        assert_eq!((earns(0), earns(1)), (0.0, 1.1), "{:?}, {:?}", verdicts[0], verdicts[1]);
        for (place, cheat) in (2..).zip(&cheats) {
            assert_eq!(earns(place), 0.0, "{}: {:?}", cheat.name, verdicts[place]);
        }
    }
}

#[test]
fn no_cheat_in_javascript_is_rewarded() {
    Other::javascript().rewards_no_cheat();
}

#[test]
fn no_cheat_in_cpp_is_rewarded() {
    let possible = Isolation::probe().check(LayerSet::default()).map_err(|error| error.to_string());
    let toolchain =
        Toolchain::find(rltrain_executor::process::Language::Cpp).map_err(|error| error.to_string());
    if let Err(error) = possible.and(toolchain) {
        #[expect(clippy::print_stderr, reason = "a test that does not run says so")]
        {
            eprintln!("skipped: {error}");
        }
        return;
    }
    Other::cpp().rewards_no_cheat();
}

#[test]
fn what_cannot_be_audited_is_said_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let audit = |rewards: &str| {
        std::fs::write(folder.path().join("rewards.toml"), rewards).unwrap();
        expect(folder.path(), &["audit-reward", "train.jsonl", "--rewards", "rewards.toml"], 2).1
    };
    assert!(audit("[rewards.all_pased]\n").contains("did you mean `all_passed`?"));
    assert!(audit("steps = 3\n").contains("the section `[rewards]` is missing"));
    let other = audit("[rewards.all_passed]\n[executor]\nruntime = \"ruby\"\n");
    assert!(
        other.contains("the zoo is written in Python, and the runtime `ruby` runs something else"),
        "{other}"
    );
}
