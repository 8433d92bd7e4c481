//! JavaScript programs that want more than they should have.

use rltrain_executor::Outcome::{
    self, Exited, Failed, NotRun, OutOfFuel, OutOfMemory, OutOfTime, OutputLimit, Passed, Raised,
    StackOverflow,
};

use super::javascript::{check, judge};
use super::short_job;

#[test]
fn what_uses_everything_up_is_stopped() {
    let cases: &[(&str, &[Outcome])] = &[
        ("while (true) {}", &[OutOfFuel]),
        ("for (;;) { try { throw 1 } catch {} }", &[OutOfFuel]),
        ("/^(a+)+$/.test('a'.repeat(60) + 'b')", &[OutOfFuel]),
        ("'x'.repeat(1 << 29).split('').sort()", &[OutOfFuel, OutOfMemory]),
        ("const all = []; while (true) all.push(new Uint8Array(1 << 20))", &[OutOfMemory]),
        ("let s = 'x'; while (true) s += s", &[OutOfMemory, Raised]),
        ("new ArrayBuffer(2 ** 33)", &[OutOfMemory, Raised]),
        ("new Uint8Array(300 << 20)", &[OutOfMemory]),
        ("function f() { return f() + 1 } f()", &[StackOverflow]),
        ("const f = () => [1].map(f); f()", &[StackOverflow]),
        ("JSON.parse('['.repeat(1000000))", &[StackOverflow]),
        ("eval('('.repeat(1000000))", &[StackOverflow]),
        (
            "let deep = []; for (let i = 0; i < 1e5; i++) deep = [deep]; JSON.stringify(deep)",
            &[StackOverflow, OutOfFuel],
        ),
        ("const p = {}; p.toString = () => String(p); String(p)", &[StackOverflow]),
        ("console.log('x'.repeat(1e6))", &[OutputLimit]),
        ("for (;;) console.log('more')", &[OutputLimit]),
        ("for (;;) console.error('more')", &[OutputLimit]),
        ("setTimeout(() => {}, 1e9)", &[OutOfTime]),
        ("setInterval(() => {}, 1000)", &[OutOfTime]),
        ("(function again() { Promise.resolve().then(again) })()", &[OutOfFuel]),
        ("(function again() { setTimeout(again, 0) })()", &[OutOfFuel, OutOfTime]),
        ("2n ** (2n ** 40n)", &[OutOfMemory, OutOfFuel, Raised]),
        ("process.exit(0)", &[Exited]),
        ("throw null", &[Raised]),
        ("throw new Proxy({}, { get() { throw 1 } })", &[Raised]),
        ("throw { get name() { throw 1 }, toString() { throw 2 } }", &[Raised]),
        ("throw { toString() { for (;;) {} } }", &[OutOfFuel]),
        (
            "const e = new Error(); Object.defineProperty(e, 'message', { get() { throw e } }); throw e",
            &[Raised],
        ),
        ("new Function('while (1) {}')()", &[OutOfFuel]),
    ];
    for (program, wanted) in cases {
        let Some(verdict) = judge(short_job(program, &["assert(true)"])) else { return };
        assert!(wanted.contains(&verdict.load.outcome), "{program}: {:?}, wanted {wanted:?}", verdict.load);
        assert_eq!(verdict.tests[0], NotRun);
        let Some(canary) = judge(short_job("const f = (n) => n + 1", &["assert(f(1) === 2)"])) else {
            return;
        };
        assert!(canary.all_passed(), "after {program}: {canary:?}");
    }
}

#[test]
fn what_reaches_for_the_host_finds_nothing() {
    for program in [
        "require('child_process')",
        "require('fs').readFileSync('/etc/passwd')",
        "require('fs').writeFileSync('/tmp/x', '1')",
        "require('net')",
        "import net from 'net';",
        "import x from './x.js'; export const y = x;",
        "std.open('/etc/passwd', 'r')",
        "os.exec(['sh'])",
        "fetch('http://localhost')",
        "WebAssembly.instantiate",
        "new Worker('x')",
        "process.kill(1)",
        "process.env.PATH.length",
    ] {
        let Some(verdict) = judge(short_job(program, &["assert(true)"])) else { return };
        let ended = verdict.load.outcome;
        assert!(matches!(ended, Raised | Outcome::Forbidden), "{program}: {verdict:?}");
    }
    let Some(verdict) = judge(short_job(
        "let why; import('net').catch((error) => { why = String(error) });",
        &["assert(why.length > 0)"],
    )) else {
        return;
    };
    assert!(verdict.all_passed(), "{verdict:?}");
    assert_eq!(verdict.denied.get("import"), Some(&1), "{verdict:?}");
}

/// Programs that do not compute anything, and whatever they try, do not pass.
#[test]
fn verdicts_that_are_not_earned_are_not_given() {
    let attempts = [
        "Object.is = () => true; Array.isArray = () => true; Reflect.ownKeys = () => [];",
        "JSON.stringify = () => '3'; Object.prototype.toJSON = () => 3; Object.prototype.valueOf = () => 3;",
        "Object.prototype.toString = () => '3'; Number.prototype.valueOf = () => 3; Function.prototype.call = () => 3;",
        "Object.defineProperty(Object.prototype, 'value', { get() { return 3 } }); Array.prototype.map = () => [3];",
        "globalThis.assert = Object.assign(() => {}, { strictEqual() {}, deepStrictEqual() {}, ok() {}, equal() {} });",
        "var assert = Object.assign(() => {}, { strictEqual() {}, deepStrictEqual() {}, ok() {}, equal() {} });",
        "const assert = Object.assign(() => {}, { strictEqual() {}, deepStrictEqual() {}, ok() {}, equal() {} });",
        "console.assert = () => {}; const require = () => ({ strictEqual() {}, ok() {}, equal() {} });",
        "try { require('assert').strictEqual = () => {} } catch {} try { assert.AssertionError.prototype.constructor = null } catch {}",
        "globalThis.AssertionError = Error; Error.prepareStackTrace = () => 'passed'; Error.stackTraceLimit = Infinity;",
        "Promise.prototype.then = function (f) { return this }; Symbol.hasInstance = 1;",
        "Object.setPrototypeOf(Object.prototype, null); Object.freeze(Array.prototype);",
        "RegExp.prototype.exec = () => ['x']; RegExp.prototype.test = () => true; String.prototype.includes = () => true;",
        "Array.prototype[Symbol.iterator] = function* () {}; Map.prototype.forEach = () => {}; Set.prototype.has = () => true;",
        "Object.prototype.then = (done) => done(3);",
        "console.log('passed'); console.log(JSON.stringify({ load: 'passed', tests: ['passed'] }));",
    ];
    let functions = [
        "function add() { return undefined }",
        "function add() { return NaN }",
        "function add() { return { valueOf: () => 3, toString: () => '3', toJSON: () => 3, [Symbol.toPrimitive]: () => 3 } }",
        "function add() { return new Proxy({}, { get: () => 3, has: () => true, ownKeys: () => [], getPrototypeOf: () => Number.prototype }) }",
        "function add() { return new Proxy(() => 3, { get: () => add, apply: () => 3 }) }",
        "function add() { return Promise.resolve(undefined) }",
        "function add() { return Promise.reject(3) }",
        "function add() { return document.all }",
        "function add() { throw null }",
        "function add() { throw new assert.AssertionError({ message: 'passed' }) }",
        "function add() { process.exit(0) }",
        "function add() { return [3] }",
        "function add() { return Object(3) }",
        "function add() { const a = []; a.push(a); return a }",
        "function* add() { yield 3 }",
    ];
    let tests = [
        "assert.strictEqual(add(1, 2), 3)",
        "assert.deepStrictEqual(add(1, 2), 3)",
        "assert(add(1, 2) === 3)",
        "const sum = add(1, 2); assert.strictEqual(sum, 3);",
        "const assert = require('assert'); assert.deepStrictEqual(add(1, 2), 3); assert.strictEqual(add(1, 2), 3);",
        "for (const n of [3]) console.assert(add(1, 2) === 3);",
        r#"{"kind": "call", "function": "add", "arguments": [1, 2], "expected": 3}"#,
    ];
    for attempt in attempts {
        for function in functions {
            let program = format!("{function}\n{attempt}\n");
            let Some(verdict) = judge(short_job(&program, &tests)) else { return };
            assert_eq!(verdict.passed(), 0, "{program}{verdict:?}");
        }
    }
}

#[test]
fn honest_programs_pass_beside_odd_values() {
    check(
        "let reads = 0; const odd = { get a() { reads++; return 1 } }; const proxy = new Proxy([1, 2], {});\n\
         Object.prototype.extra = 1; const bare = Object.create(null); bare.x = 1; const list = [1, 2]; list.name = 'x';",
        &[
            ("assert.deepStrictEqual(odd, {a: 1})", Passed),
            ("assert.deepStrictEqual(proxy, [1, 2])", Passed),
            ("assert.deepStrictEqual(bare, {x: 1})", Passed),
            ("assert.strictEqual(reads, 1)", Passed),
            ("const cycle = []; cycle.push(cycle); assert.deepStrictEqual(cycle, cycle)", Passed),
            (
                "assert.deepStrictEqual((() => { const cycle = []; cycle.push(cycle); return cycle })(), [1])",
                Failed,
            ),
            ("assert.deepStrictEqual(new Array(2e6).fill(0), [1])", Failed),
            ("assert.deepStrictEqual(new Array(1e4).fill(0).length, 10000)", Passed),
        ],
    );
}

#[test]
fn recursion_goes_about_as_deep_as_in_node() {
    check(
        "function depth(n) { return n === 0 ? 0 : 1 + depth(n - 1) }\n\
         function caught() { try { return caught() } catch (error) { return error instanceof RangeError } }",
        &[
            ("assert.strictEqual(depth(9000), 9000)", Passed),
            ("assert.strictEqual(caught(), true)", Passed),
            ("assert.strictEqual(depth(1e6), 1e6)", StackOverflow),
            ("assert.strictEqual(depth(10), 10)", Passed),
        ],
    );
}

#[test]
fn source_of_every_kind_gets_a_verdict() {
    let long = format!("const list = [{}];", "1,".repeat(100_000));
    for (program, wanted) in [
        ("", Passed),
        ("\0", Outcome::SyntaxError),
        ("'\0'.length", Passed),
        ("/* \u{feff}\u{2028}é😀 */", Passed),
        ("\u{feff}let a = 1", Passed),
        ("#!/usr/bin/env node\nlet a = 1", Passed),
        ("<!-- html", Passed),
        ("'use strict'; with ({}) {}", Outcome::SyntaxError),
        ("return 1", Outcome::SyntaxError),
        ("def f(): pass", Outcome::SyntaxError),
        (long.as_str(), Passed),
    ] {
        let Some(verdict) = judge(short_job(program, &["assert(true)"])) else { return };
        let shown: String = program.chars().take(40).collect();
        assert_eq!(verdict.load.outcome, wanted, "{shown:?}: {:?}", verdict.load);
    }
}
