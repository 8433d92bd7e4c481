//! Right and wrong JavaScript programs.

use rltrain_executor::Outcome::{self, Failed, Passed, Raised, SyntaxError};
use rltrain_executor::{Cause, InfraError, Job, Verdict};

use super::{JAVASCRIPT, job, outcomes};

/// Runs a job, unless there is no runtime.
pub(super) fn judge(job: Job) -> Option<Verdict> {
    JAVASCRIPT.as_ref().map(|executor| executor.submit(job).wait().unwrap())
}

pub(super) fn check(program: &str, cases: &[(&str, Outcome)]) {
    let tests: Vec<&str> = cases.iter().map(|(test, _)| *test).collect();
    let Some(verdict) = judge(job(program, &tests)) else { return };
    let found = outcomes(&verdict);
    for (((test, wanted), found), ending) in cases.iter().zip(found).zip(&verdict.tests) {
        assert_eq!(found, *wanted, "{test}: {:?}", ending.cause);
    }
}

const ADD: &str = "function add(a, b) { return a + b; }\nconst twice = (list) => list.map((item) => item * 2);\n\
                   class Box { constructor(item) { this.item = item; } get() { return this.item; } }\n";

#[test]
fn assertions_of_equality_are_compared_on_the_host() {
    check(
        ADD,
        &[
            ("assert.strictEqual(add(1, 2), 3)", Passed),
            ("assert.strictEqual(add(1, 2), '3')", Failed),
            ("assert.equal(add(1, 2), '3');", Passed),
            ("assert.deepStrictEqual(twice([1, 2]), [2, 4], 'message')", Passed),
            ("assert.deepStrictEqual(twice([1, 2]), ['2', '4'])", Failed),
            ("assert.deepEqual(twice([1, 2]), ['2', '4'])", Passed),
            ("assert.strictEqual(twice([]), [])", Failed),
            ("console.assert(add(1, 2) === 3)", Passed),
            ("console.assert(add(1, 2) === 4)", Failed),
            ("assert(add(0.1, 0.2) === 0.30000000000000004)", Passed),
            ("assert(add(NaN, 1) === NaN)", Failed),
            ("assert.strictEqual(add(NaN, 1), NaN)", Passed),
            ("assert.strictEqual(add(0, 0), -0)", Failed),
            ("assert(add(0, 0) === -0)", Passed),
            ("assert.strictEqual(add(1n, 2n), 3n)", Passed),
            ("assert.strictEqual(add(1n, 10n ** 30n), 1000000000000000000000000000001n)", Passed),
            ("assert.strictEqual(add('é', '\\u{1F600}\\0'), 'é😀\\0')", Passed),
            ("assert.strictEqual(add('\\ud800', ''), '\\ud800')", Passed),
            ("assert.deepStrictEqual(new Map([[1, {a: 2}]]), new Map([[1, {a: 2}]]))", Passed),
            ("assert.deepStrictEqual(new Set([1, 2]), new Set([2, 1]))", Passed),
            ("assert.deepStrictEqual(new Set([1, 2]), new Set([2, 3]))", Failed),
            ("assert.deepStrictEqual({b: 1, a: [undefined, null]}, {a: [undefined, null], b: 1})", Passed),
            ("assert.deepStrictEqual({a: undefined}, {})", Failed),
            ("assert.deepStrictEqual(new Box(1), {item: 1})", Failed),
            ("assert.deepEqual(new Box(1), {item: 1})", Passed),
            ("assert.deepStrictEqual(new Date(5), new Date(5))", Passed),
            ("assert.strictEqual(Infinity, 1 / 0)", Passed),
        ],
    );
}

#[test]
fn other_statements_pass_if_they_run_to_their_end() {
    check(
        ADD,
        &[
            (
                "const assert = require('node:assert'); let x = add(1, 2); assert.ok(x === 3); assert.equal(x, 3);",
                Passed,
            ),
            ("for (const n of [1, 2]) { assert.strictEqual(add(n, n), 2 * n); }", Passed),
            ("for (const n of [1, 2]) { console.assert(add(n, n) === 2); }", Failed),
            ("assert.throws(() => { throw new TypeError('no'); }, TypeError)", Passed),
            ("assert.throws(() => add(1, 2))", Failed),
            ("nowhere(1)", Raised),
            ("const x = ;", SyntaxError),
            ("assert.strictEqual(new Box(add(1, 1)).get(), Math.sqrt(4))", Passed),
            ("assert(add(1, 2) == 3 && twice([]).length === 0)", Passed),
            ("assert.ok(!add(1, -1))", Passed),
            ("assert.ok(add(1, -1))", Failed),
            ("assert.match('abc', /b/)", Passed),
            ("assert.notStrictEqual(add(1, 2), 4)", Passed),
        ],
    );
}

#[test]
fn promises_and_timers_are_waited_for() {
    let program = "const later = (value, ms) => new Promise((done) => setTimeout(() => done(value), ms));\n\
                   async function slow(n) { await later(0, 1000); return [await later(n, 5)]; }\n\
                   async function fails() { await null; throw new RangeError('far'); }\n\
                   let ready = false; setTimeout(() => { ready = true; }, 50);\n";
    check(
        program,
        &[
            ("assert(ready === true)", Passed),
            ("assert.deepStrictEqual(await slow(3), [3])", Passed),
            ("assert.deepStrictEqual(slow(3), [3])", Passed),
            ("const got = await slow(4); assert.deepStrictEqual(got, [5]);", Failed),
            ("await assert.rejects(fails(), RangeError)", Passed),
            ("await assert.rejects(() => slow(1))", Failed),
            ("assert.strictEqual(await fails(), 1)", Raised),
            ("assert.strictEqual(await new Promise(() => {}), 1)", Failed),
            (r#"{"kind": "call", "function": "slow", "arguments": [7], "expected": [7]}"#, Passed),
        ],
    );
}

#[test]
fn calls_are_judged_by_what_they_return() {
    let program = "function echo(value) { return value; }\n\
                   const shop = { items: 3, count(more) { return this.items + more; } };\n\
                   function pairs() { return [[2, 1], [1, 2]]; }\n\
                   function third() { return 1 / 3; }\nfunction big() { return 2n ** 60n; }\nfunction nothing() {}\n";
    check(
        program,
        &[
            (
                r#"{"kind": "call", "function": "echo", "arguments": [{"a": [1, null, "é\u0000"]}], "expected": {"a": [1.0, null, "é\u0000"]}}"#,
                Passed,
            ),
            (r#"{"kind": "call", "function": "echo", "arguments": [1], "expected": true}"#, Failed),
            (r#"{"kind": "call", "function": "echo", "arguments": ["1"], "expected": 1}"#, Failed),
            (r#"{"kind": "call", "function": "shop.count", "arguments": [4], "expected": 7}"#, Passed),
            (r#"{"kind": "call", "function": "nothing", "expected": null}"#, Passed),
            (r#"{"kind": "call", "function": "pairs", "expected": [[1, 2], [2, 1]]}"#, Failed),
            (
                r#"{"kind": "call", "function": "pairs", "expected": [[1, 2], [2, 1]], "compare": "unordered"}"#,
                Passed,
            ),
            (
                r#"{"kind": "call", "function": "third", "expected": 0.3333333, "compare": {"close": {"relative": 1e-6}}}"#,
                Passed,
            ),
            (r#"{"kind": "call", "function": "third", "expected": 0.3333333}"#, Failed),
            (r#"{"kind": "call", "function": "big", "expected": 1152921504606846976}"#, Passed),
            (r#"{"kind": "call", "function": "missing", "expected": 1}"#, Raised),
            (
                r#"{"kind": "differential", "before": "function echo() {}", "test": "assert(echo(1) === 1)"}"#,
                Passed,
            ),
            (
                r#"{"kind": "differential", "before": "function echo() { return 1; }", "test": "assert(echo(1) === 1)"}"#,
                Failed,
            ),
        ],
    );
}

const SUM: &str = r#"{"kind": "stdin", "stdin": "3\n1 2 3\n", "stdout": "6\n"}"#;

#[test]
fn scripts_read_stdin_in_every_way_that_is_usual() {
    let sum = "numbers.reduce((a, b) => a + b, 0)";
    let programs = [
        format!(
            "const lines = require('fs').readFileSync(0, 'utf8').split('\\n'); const numbers = lines[1].split(' ').map(Number); console.log({sum});"
        ),
        format!(
            "const text = require('fs').readFileSync('/dev/stdin').toString(); const numbers = text.trim().split(/\\s+/).map(Number).slice(1); console.log(String({sum}));"
        ),
        format!(
            "let text = ''; process.stdin.setEncoding('utf8'); process.stdin.on('data', (part) => text += part); process.stdin.on('end', () => {{ const numbers = text.split(/\\s+/).slice(1).map(Number); process.stdout.write({sum} + '\\n'); }});"
        ),
        format!(
            "const rl = require('readline').createInterface({{ input: process.stdin }}); const lines = []; rl.on('line', (line) => lines.push(line)).on('close', () => {{ const numbers = lines[1].split(' ').map(Number); console.log({sum}); process.exit(0); }});"
        ),
        format!(
            "const rl = require('readline').createInterface({{ input: process.stdin }}); (async () => {{ const lines = []; for await (const line of rl) lines.push(line); const numbers = lines[1].split(' ').map(Number); console.log({sum}); }})();"
        ),
        format!(
            "const rl = require('readline').createInterface({{ input: process.stdin, output: process.stdout }}); rl.question('', () => rl.question('', (line) => {{ const numbers = line.split(' ').map(Number); console.log({sum}); rl.close(); }}));"
        ),
        format!(
            "import fs, {{ readFileSync }} from 'node:fs'; const numbers = readFileSync(0, 'utf8').split('\\n')[1].split(' ').map(Number); if (fs.readFileSync) console.log({sum});"
        ),
        format!(
            "function main() {{ const numbers = require('fs').readFileSync(0, 'utf-8').split('\\n')[1].split(' ').map(Number); console.log({sum}); }}\nif (require.main === module) main();"
        ),
    ];
    for program in programs {
        let Some(verdict) = judge(job(&program, &[SUM])) else { return };
        assert_eq!(outcomes(&verdict), [Passed], "{program}\n{verdict:?}");
    }
    let Some(verdict) = judge(job("console.log(7);", &[SUM])) else { return };
    assert_eq!(outcomes(&verdict), [Failed]);
    assert_eq!(
        verdict.tests[0].cause,
        Some(Cause::WrongAnswer { actual: "\"7\\n\"".to_owned(), expected: "\"6\\n\"".to_owned() })
    );
}

#[test]
fn exports_and_modules_can_be_tested() {
    for program in [
        "module.exports = { f: (n) => n + 1 };",
        "exports.f = (n) => n + 1;",
        "function f(n) { return n + 1; }\nmodule.exports = f;",
        "export function f(n) { return n + 1; }",
        "export default function f(n) { return n + 1; }",
        "const one = await Promise.resolve(1);\nexport const f = (n) => n + one;",
    ] {
        let Some(verdict) =
            judge(job(program, &["assert.strictEqual(f(1), 2)", "assert.strictEqual(f(1), 3)"]))
        else {
            return;
        };
        assert_eq!(outcomes(&verdict), [Passed, Failed], "{program}\n{verdict:?}");
    }
}

#[test]
fn failures_say_what_and_where() {
    let program = "function fail(n) {\n    if (n > 1) {\n        throw new RangeError(`no ${n}`);\n    }\n    return [n];\n}\n";
    let Some(verdict) = judge(job(
        program,
        &["assert.deepStrictEqual(fail(2), [2])", "assert.deepStrictEqual(fail(1), [{a: 'x'}])"],
    )) else {
        return;
    };
    let exception = Cause::Exception { kind: "RangeError".into(), message: "no 2".into(), line: Some(3) };
    assert_eq!(verdict.tests[0].cause, Some(exception));
    let wrong = Cause::WrongAnswer { actual: "[1]".into(), expected: "[{a: \"x\"}]".into() };
    assert_eq!(verdict.tests[1].cause, Some(wrong));
    let Some(verdict) = judge(job("let x = 1;\nlet x = 2;", &["assert(x)"])) else { return };
    assert_eq!(verdict.load.outcome, SyntaxError, "{verdict:?}");
    let Some(verdict) = judge(job("null.x", &["assert(x)"])) else { return };
    assert_eq!(verdict.load.outcome, Raised, "{verdict:?}");
    let Some(verdict) = judge(job("Promise.reject(new Error('lost'))", &["assert(true)"])) else { return };
    assert_eq!(verdict.load.outcome, Raised, "{verdict:?}");
}

#[test]
fn kinds_that_javascript_lacks_are_refused() {
    let Some(executor) = JAVASCRIPT.as_ref() else { return };
    for test in [
        r#"{"kind": "suite", "source": "def test(): pass"}"#,
        r#"{"kind": "property", "function": "f", "inputs": "a", "holds": "b"}"#,
        r#"{"kind": "call", "function": "f", "keywords": {"a": 1}, "expected": 1}"#,
        r#"{"kind": "call", "function": "f", "expected": 1, "compare": {"custom": "def accepts(a, b): return True"}}"#,
    ] {
        let result = executor.submit(job("function f() {}", &[test])).wait();
        assert!(matches!(result, Err(InfraError::FaultyTest(_))), "{test}: {result:?}");
    }
}

#[test]
fn the_same_job_costs_the_same_and_sees_the_same_world() {
    let program = "const seen = [Math.random(), Date.now(), new Date().toString(), performance.now()].join();\nconsole.log(seen);";
    let mut verdicts = Vec::new();
    for spacing in ["", " ", "  "] {
        // Another text, so that it is not answered from the cache of verdicts.
        let Some(verdict) = judge(job(program, &[&format!("assert(seen.length > 0){spacing}")])) else {
            return;
        };
        assert_eq!(outcomes(&verdict), [Passed]);
        verdicts.push((verdict.fuel, verdict.stdout, verdict.peak_memory_bytes));
    }
    assert_eq!(verdicts[0], verdicts[1]);
    assert_eq!(verdicts[0], verdicts[2]);
    assert!(verdicts[0].1.contains("Thu Jan 01 2026"), "{:?}", verdicts[0]);
}
