//! Ruby programs, judged by what they print.

use std::sync::LazyLock;

use rltrain_executor::Outcome::{
    Exited, Failed, NotRun, OutOfFuel, OutOfMemory, Passed, Raised, StackOverflow, SyntaxError,
};
use rltrain_executor::{Cause, Executor, File, InfraError, Outcome, Runtime, Verdict};

use super::{job, outcomes, short_job, start};

static RUBY: LazyLock<Option<Executor>> = LazyLock::new(|| start(Runtime::Ruby));

const SUM: &str = r#"{"kind": "stdin", "stdin": "3 4\n", "stdout": "7\n"}"#;
const SUM_OF_OTHERS: &str = r#"{"kind": "stdin", "stdin": "-1 5\n", "stdout": "4\n"}"#;
const NOTHING: &str = r#"{"kind": "stdin", "stdin": "", "stdout": ""}"#;

/// The verdict on a program that is to add two numbers; `None` where there is no Ruby.
fn judge(program: &str) -> Option<Verdict> {
    Some(RUBY.as_ref()?.submit(short_job(program, &[SUM, SUM_OF_OTHERS])).wait().unwrap())
}

/// How both tests of such a program end.
#[track_caller]
fn ends(program: &str, expected: Outcome) {
    if let Some(verdict) = judge(program) {
        assert_eq!(outcomes(&verdict), [expected; 2], "{verdict:?}");
    }
}

#[test]
fn right_programs_pass_however_they_read_and_print() {
    ends("puts gets.split.map(&:to_i).sum", Passed);
    ends("a, b = STDIN.read.split.map { |word| Integer(word) }\nprintf(\"%d\\n\", a + b)", Passed);
    ends("def main = $stdout.puts($<.each_line.first.split.sum(&:to_i))\nmain if __FILE__ == $0", Passed);
    ends(
        "require 'json'\nrequire 'set'\nputs JSON.parse(\"[#{gets.split.join(',')}]\").to_set.sum\nexit",
        Passed,
    );
}

#[test]
fn wrong_programs_fail_with_what_they_printed() {
    ends("puts 0", Failed);
    ends("", Failed);
    let Some(verdict) = judge("a, b = gets.split.map(&:to_i)\nputs a.abs + b") else { return };
    assert_eq!(outcomes(&verdict), [Passed, Failed]);
    let cause = verdict.tests[1].cause.as_ref().unwrap().to_string();
    assert_eq!(cause, r#"gave "6\n", wanted "4\n""#);
}

#[test]
fn a_program_that_does_not_compile_is_told_from_one_that_raises() {
    let Some(verdict) = judge("puts (1 +") else { return };
    assert_eq!((verdict.load.outcome, verdict.tests[0].outcome), (SyntaxError, NotRun), "{verdict:?}");
    let Some(verdict) = judge("x = 1\ndef f = raise(KeyError, 'no such thing')\nf\n") else { return };
    assert_eq!(outcomes(&verdict), [Raised; 2], "{verdict:?}");
    let cause =
        Cause::Exception { kind: "KeyError".to_owned(), message: "no such thing".to_owned(), line: Some(2) };
    assert_eq!(verdict.tests[0].cause, Some(cause));
    assert!(verdict.stderr.contains("KeyError: no such thing"), "{}", verdict.stderr);
}

#[test]
fn an_exit_code_other_than_zero_is_no_pass_and_output_before_it_counts_for_nothing() {
    ends("puts gets.split.map(&:to_i).sum\nexit 1", Exited);
    ends("puts gets.split.map(&:to_i).sum\nabort 'enough'", Exited);
    ends("puts gets.split.map(&:to_i).sum\nraise Exception", Raised);
}

#[test]
fn loops_and_memory_and_recursion_without_end_are_stopped_and_the_next_program_is_unharmed() {
    ends("while true; end", OutOfFuel);
    ends("begin; loop { }; rescue Exception; retry; ensure; loop { }; end", OutOfFuel);
    if let Some(verdict) = judge("a = []\nloop { a << 'x' * 1_000_000 }") {
        assert_eq!(outcomes(&verdict)[0], OutOfMemory, "{verdict:?}");
    }
    ends("def f(n) = f(n + 1) + 1\nf(0)", StackOverflow);
    ends("puts gets.split.map(&:to_i).sum", Passed);
}

#[test]
fn nothing_outside_is_reachable_and_attempts_are_counted() {
    let Some(verdict) = judge("File.write('/tmp/x', 'x')") else { return };
    assert!(verdict.tests.iter().all(|ending| !ending.passed()), "{verdict:?}");
    assert!(!verdict.denied.is_empty(), "{verdict:?}");
    for program in
        ["puts File.read('/etc/passwd')", "system('echo 7')", "fork", "require 'socket'", "`echo 7`"]
    {
        let Some(verdict) = judge(program) else { return };
        assert!(verdict.tests.iter().all(|ending| !ending.passed()), "{program}: {verdict:?}");
    }
}

#[test]
fn programs_start_alike_and_read_the_files_of_their_job() {
    let Some(executor) = RUBY.as_ref() else { return };
    let mut reading = job(
        "puts File.read('data/words.txt').split.length, rand(1000) == Random.rand(1000), Time.now.year",
        &[r#"{"kind": "stdin", "stdin": "", "stdout": "3\nfalse\n2026\n"}"#],
    );
    reading.files = vec![File { path: "data/words.txt".to_owned(), text: "one two three".to_owned() }];
    let verdict = executor.submit(reading.clone()).wait().unwrap();
    assert_eq!(outcomes(&verdict), [Passed], "{verdict:?}");
    reading.program.push('\n');
    let again = executor.submit(reading).wait().unwrap();
    assert!(again.fuel.abs_diff(verdict.fuel) < 10_000, "{} and {}", again.fuel, verdict.fuel);
}

#[test]
fn tests_of_another_kind_are_faulty() {
    let Some(executor) = RUBY.as_ref() else { return };
    let error = executor.submit(job("", &[NOTHING, "assert true"])).wait().unwrap_err();
    assert!(matches!(&error, InfraError::FaultyTest(why) if why.contains("stdin tests only")), "{error}");
}
