use std::env;
use std::path::Path;
use std::process::Command;

use rltrain_executor::{Outcome, Verdict};

use super::*;
use crate::Task;
use crate::plugin::Skeleton;
use crate::tests::{task, verdict};

/// Says a score. Where the texts and numbers of an answer stand: at 0 whether it failed, at 8 whether there is a score, at 16 the score, or at 8
/// and 12 where the error begins and how long it is.
fn says(score: &str) -> String {
    format!("(i32.store8 (i32.const 8) (i32.const 1)) (f64.store (i32.const 16) {score})")
}

/// Length of the program, as a number.
const LENGTH: &str = "(f64.convert_i32_u (i32.load offset=72 (local.get $attempt)))";

/// A component whose `score` does `body`: `component.wasm` with another core module.
fn component(body: &str) -> Vec<u8> {
    with_module(include_bytes!("../../../golden/components/component.wasm"), "", body)
}

/// A component that scores a tenth of the bytes of the file `name`, and reports why it could not read it.
fn reader(name: &str) -> Vec<u8> {
    let read = format!(
        r#"(import "rltrain:reward/files@1.0.0" "read" (func $read (param i32 i32 i32)))
           (data (i32.const 600) "{name}")"#
    );
    let length = name.len();
    let tenths = says("(f64.div (f64.convert_i32_u (i32.load (i32.const 808))) (f64.const 10))");
    let body = format!(
        "(call $read (i32.const 600) (i32.const {length}) (i32.const 800))
         (if (i32.load8_u (i32.const 800))
           (then (i32.store8 (i32.const 0) (i32.const 1))
                 (i32.store (i32.const 8) (i32.load (i32.const 804)))
                 (i32.store (i32.const 12) (i32.load (i32.const 808))))
           (else (i32.store8 (i32.const 0) (i32.const 0)) {tenths}))"
    );
    with_module(include_bytes!("../../../golden/components/reads-files.wasm"), &read, &body)
}

/// A component with another core module in the place of its first one: `imports` and other fields, and a `score` that does `body`.
fn with_module(golden: &[u8], imports: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            {imports}
            (memory (export "memory") 1)
            (data (i32.const 512) "no model")
            (global $next (mut i32) (i32.const 1024))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
              (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
              (global.set $next (i32.add (local.get $at) (local.get 3)))
              (local.get $at))
            (func (export "rltrain:reward/reward@1.0.0#score") (param $attempt i32) (result i32)
              {body}
              (global.set $next (i32.const 1024))
              (i32.const 0)))"#
    );
    let module = wat::parse_str(text).unwrap();
    let mut at = 8;
    loop {
        let (id, (length, bytes)) = (golden[at], number(&golden[at + 1..]));
        let end = at + 1 + bytes + length;
        if id == 1 {
            return [&golden[..at], &[1], &leb128(module.len()), &module, &golden[end..]].concat();
        }
        at = end;
    }
}

/// A number as WebAssembly writes it, and how many bytes that takes.
fn number(bytes: &[u8]) -> (usize, usize) {
    let count = bytes.iter().position(|byte| byte & 128 == 0).unwrap() + 1;
    let digits = bytes[..count].iter().rev();
    (digits.fold(0, |number, byte| number << 7 | usize::from(byte & 127)), count)
}

/// A number as WebAssembly writes it: seven bits a byte, the lowest first.
fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let (low, high) = ((number & 127) as u8, number >> 7);
        bytes.push(if high > 0 { low | 128 } else { low });
        if high == 0 {
            return bytes;
        }
        number = high;
    }
}

/// What a component says of programs.
fn score_of(component: &[u8], programs: &[&str]) -> Vec<PlugInScore> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), component).unwrap();
    let config = WasmConfig { component: file.path().to_owned(), fuel: 1_000_000, ..WasmConfig::default() };
    score_with(&Wasm::new(&config).unwrap(), &task(), programs)
}

fn score_with(wasm: &Wasm, task: &Task<'_>, programs: &[&str]) -> Vec<PlugInScore> {
    let verdict: Verdict = verdict(vec![Outcome::Passed, Outcome::Failed]);
    let attempts: Vec<_> = programs.iter().map(|program| Attempt::new(task, "", program, &verdict)).collect();
    wasm.score(&attempts)
}

/// What a component that does `body` says of programs.
fn score(body: &str, programs: &[&str]) -> Vec<PlugInScore> {
    score_of(&component(body), programs)
}

fn message(body: &str) -> String {
    score(body, &["x"])[0].as_ref().unwrap_err().to_string()
}

#[test]
fn scores_come_back_in_order_from_many_instances() {
    let programs: Vec<String> = (0..300).map(|length| "x".repeat(length % 10)).collect();
    let programs: Vec<&str> = programs.iter().map(String::as_str).collect();
    let scores = score(&says(&format!("(f64.div {LENGTH} (f64.const 10))")), &programs);
    for (program, score) in programs.iter().zip(scores) {
        assert_eq!(score.unwrap(), Some(program.len() as f64 / 10.0));
    }
}

#[test]
fn a_component_may_have_nothing_to_say() {
    assert_eq!(score("", &["x"])[0].as_ref().unwrap(), &None);
}

#[test]
fn what_a_bad_component_does_is_named_and_is_no_score() {
    for (score, shown) in [("(f64.const 7)", "7"), ("(f64.const nan)", "NaN"), ("(f64.const inf)", "inf")] {
        let wanted = format!(
            "the plug-in scored attempt 0 of the batch with {shown}, wanted null or a number from -1 to 1"
        );
        assert_eq!(message(&says(score)), wanted);
    }
    let failed = "(i32.store8 (i32.const 0) (i32.const 1)) (i32.store (i32.const 8) (i32.const 512))
                  (i32.store (i32.const 12) (i32.const 8))";
    assert_eq!(message(failed), "the plug-in reports: `no model`");
    assert!(message("unreachable").starts_with("the component trapped: wasm trap: wasm `unreachable`"));
    assert!(message("(loop $again (br $again))").contains("all fuel consumed"));
    let greedy = "(if (i32.eq (memory.grow (i32.const 16384)) (i32.const -1)) (then unreachable))";
    assert!(message(greedy).contains("unreachable"));
}

#[test]
fn a_trap_costs_its_attempt_and_no_other() {
    let body = format!(
        "(if (i32.eqz (i32.load offset=72 (local.get $attempt))) (then unreachable)) {}",
        says("(f64.const 0.5)")
    );
    let scores = score(&body, &["x", "", "y", "", "z"]);
    let there: Vec<bool> = scores.iter().map(Result::is_ok).collect();
    assert_eq!(there, [true, false, true, false, true]);
}

#[test]
fn a_component_reads_the_files_that_it_is_granted_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("data")).unwrap();
    std::fs::write(at("data/words.txt"), "seven by").unwrap();
    std::fs::write(at("secret"), "x").unwrap();
    let config = WasmConfig { fuel: 1_000_000, files: vec![at("data")], ..WasmConfig::default() };
    let says = |component: &[u8], config: &WasmConfig| {
        std::fs::write(at("reward.wasm"), component).unwrap();
        let config = WasmConfig { component: at("reward.wasm"), ..config.clone() };
        score_with(&Wasm::new(&config).unwrap(), &task(), &["x"]).remove(0).map_err(|error| error.to_string())
    };
    assert_eq!(says(&reader("data/words.txt"), &config), Ok(Some(0.8)));
    for name in ["data/../secret", "secret", "/etc/passwd"] {
        let error = says(&reader(name), &config).unwrap_err();
        assert_eq!(error, format!("the plug-in reports: `no file `{name}` is granted`"));
    }
    // What is read counts as work.
    let enough = WasmConfig { fuel: 20_000, ..config.clone() };
    std::fs::write(at("data/words.txt"), "x".repeat(10)).unwrap();
    assert_eq!(says(&reader("data/words.txt"), &enough), Ok(Some(1.0)));
    std::fs::write(at("data/words.txt"), "x".repeat(30_000)).unwrap();
    assert!(says(&reader("data/words.txt"), &enough).unwrap_err().contains("all fuel consumed"));
    // A grant that nobody uses, and one that is missing.
    let none = WasmConfig { files: Vec::new(), ..config.clone() };
    let error = says(&reader("data/words.txt"), &none).unwrap_err();
    assert!(error.contains("the recipe grants it none: name them in `files`"), "{error}");
    let error = says(&component(""), &config).unwrap_err();
    assert!(error.contains("`files` grants it some, and it reads none"), "{error}");
}

/// Why a component is refused.
fn refused(component: &[u8]) -> String {
    score_of(component, &["x"])[0].as_ref().unwrap_err().to_string()
}

#[test]
fn a_component_that_wants_more_than_an_attempt_is_refused() {
    let error = refused(include_bytes!("../../../golden/components/wants-clock.wasm"));
    assert!(
        error.contains("it wants `rltrain:reward/clock@1.0.0`, and a reward is given nothing but files"),
        "{error}"
    );
}

#[test]
fn what_is_no_component_of_the_interface_is_refused() {
    let other = refused(include_bytes!("../../../golden/components/other-version.wasm"));
    assert!(other.contains("it has no `score` of the interface `rltrain:reward/reward@1.0.0`"), "{other}");
    let fewer = refused(include_bytes!("../../../golden/components/fewer-fields.wasm"));
    assert!(
        fewer.contains("its `score` takes or gives something else than rewards/wit/reward.wit says"),
        "{fewer}"
    );
    assert!(refused(b"nonsense").starts_with("cannot start `"));
    let missing = WasmConfig { component: PathBuf::from("/no/such/file.wasm"), ..WasmConfig::default() };
    let scores = score_with(&Wasm::new(&missing).unwrap(), &task(), &["x"]);
    assert!(scores[0].as_ref().unwrap_err().to_string().starts_with("cannot start `/no/such/file.wasm`: "));
}

#[test]
fn a_table_that_cannot_work_is_refused() {
    let good = WasmConfig { component: PathBuf::from("a.wasm"), ..WasmConfig::default() };
    let refused = |config: WasmConfig| Wasm::new(&config).err().unwrap();
    assert!(refused(WasmConfig::default()).contains("`component` is empty"));
    assert!(refused(WasmConfig { fuel: 0, ..good.clone() }).contains("`fuel` is 0"));
    assert!(refused(WasmConfig { memory_mib: 0, ..good.clone() }).contains("`memory_mib` is 0"));
    assert!(refused(WasmConfig { least: 2.0, ..good }).contains("in this order"));
}

/// The search path with the tools that build components, if they were fetched.
fn tools() -> Option<String> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps/wasm-tools/bin");
    let tools = env::var_os("RLTRAIN_WASM_TOOLS").map_or(fetched, PathBuf::from);
    if !tools.join("wasm-tools").exists() {
        #[expect(clippy::print_stderr, reason = "a test that does not run says so")]
        {
            eprintln!("skipped: {} has no wasm-tools; `make wasm-tools` fetches them", tools.display());
        }
        return None;
    }
    Some(format!("{}:{}", tools.display(), env::var("PATH").unwrap_or_default()))
}

/// Runs a command that must succeed.
fn run(path: &str, folder: &Path, command: &str) {
    let output =
        Command::new("sh").args(["-c", command]).current_dir(folder).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{command}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// That a component likes short programs, as every example does.
fn likes_short_lines(component: &Path) {
    let config = WasmConfig { component: component.to_owned(), ..WasmConfig::default() };
    let task = Task { reference: Some("y = 1\n"), ..task() };
    let long = "x = 1\n\n".repeat(20);
    let scores = score_with(&Wasm::new(&config).unwrap(), &task, &["x = 1\n", "", "a\n  b\r\n\n", &long]);
    let scores: Vec<Option<f64>> = scores.into_iter().map(Result::unwrap).collect();
    assert_eq!(scores, [Some(1.0), None, Some(1.0 - 1.0 / 19.0), Some(0.0)]);
}

#[test]
fn the_example_in_c_is_built_and_scores() {
    let Some(path) = tools() else { return };
    let folder = tempfile::tempdir().unwrap();
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/wasm-c/build.sh");
    run(&path, folder.path(), &format!("sh {} .", build.display()));
    likes_short_lines(&folder.path().join("short_lines.wasm"));
}

#[test]
fn a_new_component_in_python_passes_its_test_is_built_and_scores() {
    let folder = tempfile::tempdir().unwrap();
    let skeleton = Skeleton::wasm("brief", "brief").unwrap();
    for (name, text) in &skeleton.files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let path = env::var("PATH").unwrap();
    run(&path, folder.path(), &skeleton.commands[0].0);
    let Some(path) = tools() else { return };
    run(&path, folder.path(), &skeleton.commands[1].0);
    likes_short_lines(&folder.path().join("brief.wasm"));
}
