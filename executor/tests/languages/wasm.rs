//! Programs that are WebAssembly modules.

use std::sync::LazyLock;

use rltrain_executor::Outcome::{
    Crashed, Exited, Failed, NotRun, OutOfFuel, OutOfMemory, OutOfTime, OutputLimit, Passed, StackOverflow,
    SyntaxError,
};
use rltrain_executor::{Executor, File, InfraError, Job, Runtime, Verdict};

use super::{job, outcomes, short_job, start};

static WASM: LazyLock<Executor> = LazyLock::new(|| start(Runtime::Wasm).unwrap());

fn judge(job: Job) -> Verdict {
    WASM.submit(job).wait().unwrap()
}

/// A job whose budget an interpreter uses up in about a second.
fn cheap_job(program: &str) -> Job {
    let mut job = short_job(program, &[STDIN]);
    job.limits.fuel = 100_000_000.try_into().unwrap();
    job
}

const STDIN: &str = r#"{"kind": "stdin", "stdin": "hello\n", "stdout": "hello\n", "compare": "exact"}"#;

/// A command with `body` in its start function; reads and writes through the buffers at 0 and 16.
fn command(body: &str) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "\00\10\00\00\00\80\00\00")
  (data (i32.const 64) "hello\n")
  (data (i32.const 80) "data/words.txt")
  (func $echo
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 16) (i32.const 4096))
    (i32.store (i32.const 20) (i32.load (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24))))
  (func $deep (result i32) (i32.add (call $deep) (i32.const 1)))
  (func (export "_start") {body}))"#
    )
}

#[test]
fn a_command_is_judged_by_what_it_prints() {
    let wrong = r#"{"kind": "stdin", "stdin": "bye\n", "stdout": "hello\n"}"#;
    let verdict = judge(job(&command("(call $echo)"), &[STDIN, wrong]));
    assert_eq!(outcomes(&verdict), [Passed, Failed], "{verdict:?}");
    let verdict = judge(job(&command(""), &[STDIN]));
    assert_eq!(outcomes(&verdict), [Failed]);
    let verdict = judge(job(&command("(call $echo) (call $exit (i32.const 0))"), &[STDIN]));
    assert_eq!(outcomes(&verdict), [Passed]);
    let verdict = judge(job(&command("(call $echo) (call $exit (i32.const 3))"), &[STDIN]));
    assert_eq!(outcomes(&verdict), [Exited], "{verdict:?}");
    assert_eq!(verdict.tests[0].cause.as_ref().unwrap().to_string(), "ended with exit code 3");
}

#[test]
fn a_binary_module_in_base64_is_the_same_program() {
    // `(module (memory (export "memory") 1) (func (export "_start")))`
    let binary = "AGFzbQEAAAABBAFgAAADAgEABQMBAAEHEwIGbWVtb3J5AgAGX3N0YXJ0AAAKBAECAAs=";
    let silent = r#"{"kind": "stdin", "stdin": "", "stdout": ""}"#;
    let verdict = judge(job(binary, &[silent]));
    assert_eq!(outcomes(&verdict), [Passed], "{verdict:?}");
}

#[test]
fn files_can_be_read_and_not_written() {
    let read = "(drop (call $open (i32.const 3) (i32.const 0) (i32.const 80) (i32.const 14) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 32)))\
                (drop (call $read (i32.load (i32.const 32)) (i32.const 0) (i32.const 1) (i32.const 8)))\
                (i32.store (i32.const 16) (i32.const 4096)) (i32.store (i32.const 20) (i32.load (i32.const 8)))\
                (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))";
    let mut reading = job(&command(read), &[STDIN]);
    reading.files = vec![File { path: "data/words.txt".into(), text: "hello\n".into() }];
    assert_eq!(outcomes(&judge(reading)), [Passed]);
    let verdict = judge(job(
        &command(&read.replacen("(i32.const 0) (i64.const 2)", "(i32.const 9) (i64.const 66)", 1)),
        &[STDIN],
    ));
    assert_eq!(verdict.denied.get("path_open"), Some(&1), "{verdict:?}");
}

#[test]
fn what_uses_everything_up_is_stopped() {
    for (body, wanted) in [
        ("(loop $again (br $again))", OutOfFuel),
        ("(drop (call $deep))", StackOverflow),
        (
            "(loop $again (call $echo) (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 24))) (br $again))",
            OutputLimit,
        ),
        ("unreachable", Crashed),
        ("(drop (i32.load (i32.const -8)))", Crashed),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", Crashed),
        ("(if (i32.eq (memory.grow (i32.const 60000)) (i32.const -1)) (then unreachable))", OutOfMemory),
    ] {
        let verdict = judge(cheap_job(&command(body)));
        assert_eq!(outcomes(&verdict), [wanted], "{body}: {verdict:?}");
        let canary = judge(short_job(&command("(call $echo)"), &[STDIN]));
        assert!(canary.all_passed(), "after {body}: {canary:?}");
    }
    let large = command("").replace("\"memory\") 2", "\"memory\") 60000");
    assert_eq!(outcomes(&judge(short_job(&large, &[STDIN]))), [OutOfMemory]);
}

#[test]
fn what_is_no_command_is_a_syntax_error() {
    for (program, wanted) in [
        ("", "unexpected end-of-file"),
        ("AGFzbQEAAAA=", "exports no function `_start`"),
        ("print('hello')", "neither text that begins with `(module` nor base64"),
        ("(module (func (export \"_start\") i32.add))", "type mismatch"),
        (
            "(module (memory (export \"memory\") 1) (func (export \"_start\") (param i32)))",
            "exports no function `_start`",
        ),
        (
            "(module (import \"env\" \"system\" (func (param i32))) (memory (export \"memory\") 1) (func (export \"_start\")))",
            "imports `system` from `env`",
        ),
        (
            "(module (import \"wasi_snapshot_preview1\" \"memory\" (memory 1)) (func (export \"_start\")))",
            "imports `memory`",
        ),
        ("(module (memory (export \"memory\") 1) (memory 1) (func (export \"_start\")))", "multi"),
        ("(module (memory (export \"memory\") i64 1) (func (export \"_start\")))", "memory64"),
    ] {
        let verdict = judge(job(program, &[STDIN]));
        assert_eq!(
            (verdict.load.outcome, verdict.tests[0].outcome),
            (SyntaxError, NotRun),
            "{program}: {verdict:?}"
        );
        let why = verdict.load.cause.unwrap().to_string();
        assert!(why.contains(wanted), "{program}: {why}");
    }
}

#[test]
fn modules_beyond_the_bounds_are_not_compiled() {
    let long = command(&"(drop (i32.const 1))".repeat(100_000));
    let many = format!("(func (local{}))", " i32".repeat(40_000)).repeat(26);
    let locals = command("").replace("(func $deep", &format!("{many}(func $deep"));
    let functions = command("").replace("(func $deep", &format!("{}(func $deep", "(func)".repeat(20_001)));
    for (program, wanted) in
        [(long, "bytes of one function"), (functions, "functions"), (locals, "local variables")]
    {
        let verdict = judge(job(&program, &[STDIN]));
        assert_eq!(verdict.load.outcome, SyntaxError);
        assert!(verdict.load.cause.unwrap().to_string().contains(wanted));
    }
}

#[test]
fn a_module_that_takes_too_long_to_compile_gets_a_verdict() {
    // Each target of each table passes a thousand values on.
    let results = " i32".repeat(900);
    let targets = " 0".repeat(8_000);
    let block = format!(
        "(block (result{results}) {} (i32.const 0) (br_table{targets})) {}",
        "(i32.const 1)".repeat(900),
        "drop ".repeat(900)
    );
    let mut bomb = job(&command(&block.repeat(12)), &[STDIN]);
    bomb.limits.timeout_ms = 300.try_into().unwrap();
    let verdict = judge(bomb);
    assert!(matches!(verdict.load.outcome, OutOfTime | Passed), "{verdict:?}");
    let canary = judge(job(&command("(call $echo)"), &[STDIN]));
    assert!(canary.all_passed(), "{canary:?}");
}

#[test]
fn other_kinds_of_test_are_refused() {
    for test in ["assert(1)", r#"{"kind": "call", "function": "f", "expected": 1}"#] {
        let result = WASM.submit(job(&command(""), &[test])).wait();
        assert!(matches!(result, Err(InfraError::FaultyTest(_))), "{result:?}");
    }
}

#[test]
fn the_same_module_costs_the_same() {
    let fuel: Vec<u64> = ["", " ", "  "]
        .iter()
        .map(|spacing| judge(job(&format!("{}{spacing}", command("(call $echo)")), &[STDIN])).fuel)
        .collect();
    assert!(fuel[0] > 0 && fuel[0] == fuel[1] && fuel[0] == fuel[2], "{fuel:?}");
}
