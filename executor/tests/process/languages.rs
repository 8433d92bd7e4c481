//! Jobs in every language that this host has a toolchain for.

use rltrain_executor::process::{Language, ProgramWorker, Surroundings, Toolchain, View};
use rltrain_executor::{CallTest, Cause, Job, Limits, Outcome, StdinTest, Test, TextComparison, Verdict};

use super::{is_possible, ordinary_user, say, worker_command};

/// Starts a worker for the language as this user, and has it face the test; with `as_both`, one as an ordinary user too.
pub(crate) fn judges(language: Language, as_both: bool, face: impl Fn(&mut ProgramWorker)) {
    if !is_possible() {
        return;
    }
    let toolchain = match Toolchain::find(language) {
        Ok(toolchain) => toolchain,
        Err(error) => {
            say(&format!("skipped: {error}"));
            return;
        }
    };
    let view = View::of_system_and(&toolchain.folders).unwrap();
    let surroundings = Surroundings { view, accept_missing: Default::default() };
    face(&mut ProgramWorker::start(&worker_command(), &surroundings, &toolchain).unwrap());
    if !as_both {
        return;
    }
    if let Some(command) = ordinary_user() {
        match ProgramWorker::start(&command, &surroundings, &toolchain) {
            Ok(mut worker) => face(&mut worker),
            // A toolchain in the home folder of root, say.
            Err(error) => {
                assert!(error.to_string().contains("cannot show"), "{error}");
                say(&format!("not tried as an ordinary user: {error}"));
            }
        }
    }
}

pub(crate) fn limits() -> Limits {
    Limits { timeout_ms: 3000.try_into().unwrap(), ..Limits::default() }
}

fn stdin(stdin: &str, stdout: &str) -> Test {
    Test::Stdin(StdinTest {
        stdin: stdin.to_owned(),
        stdout: stdout.to_owned(),
        compare: TextComparison::Tokens,
    })
}

fn judge(worker: &mut ProgramWorker, program: &str, tests: Vec<Test>) -> Verdict {
    worker.judge(&Job::new(program, tests, limits())).unwrap()
}

fn outcomes(verdict: &Verdict) -> Vec<Outcome> {
    verdict.tests.iter().map(|ending| ending.outcome).collect()
}

/// Programs of one language.
struct Sample {
    language: Language,
    /// Doubles the number on stdin.
    doubles: &'static str,
    /// Is not of the language.
    broken: &'static str,
    /// Fails while it runs, and how.
    fails: (&'static str, Outcome, &'static str),
    /// Never ends.
    endless: &'static str,
    /// Uses up memory.
    hungry: &'static str,
}

const SAMPLES: [Sample; 6] = [
    Sample {
        language: Language::C,
        doubles: "#include <stdio.h>\nint main(void) { long n; scanf(\"%ld\", &n); printf(\"%ld\\n\", 2 * n); }",
        broken: "int main(void) { return x; }",
        fails: ("int main(void) { return *(volatile int *)0; }", Outcome::Crashed, "signal 11 SIGSEGV"),
        endless: "int main(void) { for (volatile int i = 0;;) i = 1; }",
        hungry: "#include <stdlib.h>\n#include <string.h>\nint main(void) { for (;;) { char *p = malloc(1 << 20); if (!p) return 1; memset(p, 1, 1 << 20); } }",
    },
    Sample {
        language: Language::Cpp,
        doubles: "#include <iostream>\nint main() { long n; std::cin >> n; std::cout << 2 * n << std::endl; }",
        broken: "int main() { std::cout << 1; }",
        fails: (
            "#include <stdexcept>\nint main() { throw std::runtime_error(\"no\"); }",
            Outcome::Raised,
            "std::runtime_error: no",
        ),
        endless: "int main() { for (volatile int i = 0;;) i = 1; }",
        hungry: "#include <vector>\nint main() { std::vector<long> v; for (;;) v.push_back(1); }",
    },
    Sample {
        language: Language::Rust,
        doubles: "fn main() { let mut s = String::new(); std::io::stdin().read_line(&mut s).unwrap(); println!(\"{}\", 2 * s.trim().parse::<i64>().unwrap()); }",
        broken: "fn main() { x }",
        fails: ("fn main() { panic!(\"no\") }", Outcome::Raised, "panic: no"),
        endless: "fn main() { loop { std::hint::black_box(0); } }",
        hungry: "fn main() { let mut v: Vec<Vec<u8>> = Vec::new(); loop { v.push(vec![1; 1 << 20]); } }",
    },
    Sample {
        language: Language::Java,
        doubles: "import java.util.*;\npublic class Main { public static void main(String[] a) { System.out.println(2 * new Scanner(System.in).nextLong()); } }",
        broken: "public class Main { int x = \"\"; }",
        fails: (
            "public class Main { public static void main(String[] a) { System.out.println(1 / (a.length)); } }",
            Outcome::Raised,
            "java.lang.ArithmeticException: / by zero",
        ),
        endless: "public class Main { public static void main(String[] a) { for (;;); } }",
        hungry: "import java.util.*;\npublic class Main { public static void main(String[] a) { List<byte[]> l = new ArrayList<>(); for (;;) l.add(new byte[1 << 20]); } }",
    },
    Sample {
        language: Language::JavaScript,
        doubles: "console.log(2 * Number(require('fs').readFileSync(0, 'utf8')))",
        broken: "let = = 1",
        fails: ("undefinedName()", Outcome::Raised, "ReferenceError: undefinedName is not defined"),
        endless: "for (;;);",
        hungry: "const kept = []; for (;;) kept.push(new Array(100000).fill(1.5))",
    },
    Sample {
        language: Language::Python,
        doubles: "print(2 * int(input()))",
        broken: "def",
        fails: ("x = 1\nraise ValueError('no')", Outcome::Raised, "ValueError: no, line 2"),
        endless: "while True: pass",
        hungry: "kept = []\nwhile True: kept.append(bytearray(1 << 20))",
    },
];

fn sample(language: Language) {
    let sample = SAMPLES.iter().find(|sample| sample.language == language).unwrap();
    judges(language, true, |worker| {
        let verdict =
            judge(worker, sample.doubles, vec![stdin("21", "42"), stdin("-1", "-2"), stdin("1", "3")]);
        assert_eq!(outcomes(&verdict), [Outcome::Passed, Outcome::Passed, Outcome::Failed], "{verdict:?}");
        let cause = verdict.tests[2].cause.as_ref().unwrap().to_string();
        assert_eq!(cause, r#"gave "2\n", wanted "3""#);
        // An innocent program tries nothing that is refused.
        assert!(verdict.denied.is_empty(), "{:?}", verdict.denied);
        assert!(verdict.peak_memory_bytes > 1000 && verdict.fuel == 0);

        let verdict = judge(worker, sample.broken, vec![stdin("", "")]);
        assert_eq!((verdict.load.outcome, outcomes(&verdict)), (Outcome::SyntaxError, vec![Outcome::NotRun]));
        assert!(verdict.load.cause.is_some());

        let (program, outcome, cause) = sample.fails;
        let verdict = judge(worker, program, vec![stdin("", "")]);
        assert_eq!(outcomes(&verdict), [outcome], "{verdict:?}");
        assert_eq!(verdict.tests[0].cause.as_ref().unwrap().to_string(), cause);

        let verdict = judge(worker, sample.endless, vec![stdin("", ""), stdin("", "")]);
        assert_eq!(outcomes(&verdict), [Outcome::OutOfTime, Outcome::OutOfTime], "{verdict:?}");

        let verdict = judge(worker, sample.hungry, vec![stdin("", "")]);
        assert_eq!(outcomes(&verdict), [Outcome::OutOfMemory], "{verdict:?}");
    });
}

#[test]
fn c() {
    sample(Language::C);
}

#[test]
fn cpp() {
    sample(Language::Cpp);
}

#[test]
fn rust() {
    sample(Language::Rust);
}

#[test]
fn java() {
    sample(Language::Java);
}

#[test]
fn javascript() {
    sample(Language::JavaScript);
}

#[test]
fn python() {
    sample(Language::Python);
}

#[test]
fn python_functions_are_called_and_their_values_compared_outside() {
    judges(Language::Python, false, |worker| {
        let call = |function: &str, arguments, expected| {
            let test = CallTest {
                function: function.to_owned(),
                arguments,
                keywords: Default::default(),
                expected,
                compare: Default::default(),
            };
            Test::Call(test)
        };
        let program = "class Same:\n    def __eq__(self, other): return True\ndef f(n): return [n, (n, None)] if n else Same()\nclass S:\n    def g(self, **k): return {'a': 1.5, **k}\ndef h(): raise KeyError('x')\nprint('noise')\n";
        let one = serde_json::json!(1);
        let verdict = judge(
            worker,
            program,
            vec![
                call("f", vec![one.clone()], serde_json::json!([1, [1, null]])),
                call("f", vec![one.clone()], serde_json::json!([2, [1, null]])),
                call("f", vec![serde_json::json!(0)], one.clone()),
                call("S().g", vec![], serde_json::json!({"a": 1.5})),
                call("h", vec![], one),
                "assert f(3) == [3, (3, None)]".into(),
                "assert f(0) == 5".into(),
                "assert f(3)[0] > 2".into(),
                "assert f(3)[0] > 3".into(),
                "assert f(3) ==".into(),
                "import sys; sys.exit(0)".into(),
            ],
        );
        use Outcome::{Exited, Failed, Passed, Raised, SyntaxError};
        let wanted =
            [Passed, Failed, Failed, Passed, Raised, Passed, Failed, Passed, Failed, SyntaxError, Exited];
        assert_eq!(outcomes(&verdict), wanted, "{verdict:#?}");
        let Some(Cause::Exception { kind, line, .. }) = &verdict.tests[4].cause else {
            panic!("{verdict:?}")
        };
        assert_eq!((kind.as_str(), *line), ("KeyError", Some(6)));
    });
}

#[test]
fn what_is_refused_is_forbidden_and_counted() {
    judges(Language::Python, false, |worker| {
        let verdict = judge(worker, "import socket\nsocket.socket()", vec!["assert True".into()]);
        assert_eq!(verdict.load.outcome, Outcome::Forbidden, "{verdict:?}");
        assert_eq!(verdict.denied["socket"], 1);
    });
}

#[test]
fn files_of_a_job_are_in_the_working_folder() {
    judges(Language::C, false, |worker| {
        let program = "#include <stdio.h>\nint main(void) { char t[9]; FILE *f = fopen(\"data/in.txt\", \"r\"); fgets(t, 9, f); fputs(t, stdout); return 0; }";
        let mut job = Job::new(program, [stdin("", "here")], limits());
        job.files = vec![rltrain_executor::File { path: "data/in.txt".into(), text: "here".into() }];
        assert!(worker.judge(&job).unwrap().all_passed());
        job.files[0].path = "../../etc/x".into();
        assert!(worker.judge(&job).unwrap_err().to_string().contains("is no path within a folder"));
    });
}

#[test]
fn tests_of_another_kind_are_faulty() {
    judges(Language::C, false, |worker| {
        let error = worker.judge(&Job::new("int main(void) {}", ["assert 1"], limits())).unwrap_err();
        assert!(error.to_string().contains("wanted stdin or differential"), "{error}");
    });
}

#[test]
fn a_differential_test_fails_if_it_passed_before() {
    judges(Language::C, false, |worker| {
        let program = |n: u32| format!("#include <stdio.h>\nint main(void) {{ puts(\"{n}\"); return 0; }}");
        let test = |before: u32| {
            Test::Differential(rltrain_executor::DifferentialTest {
                before: program(before),
                test: Box::new(stdin("", "1")),
            })
        };
        let verdict = judge(worker, &program(1), vec![test(2), test(1)]);
        assert_eq!(outcomes(&verdict), [Outcome::Passed, Outcome::Failed]);
    });
}

#[test]
fn limits_are_over_all_tests_together() {
    judges(Language::Python, false, |worker| {
        let mut job = Job::new("import time\ntime.sleep(0.3)", vec![stdin("", ""); 4], limits());
        job.limits.timeout_ms = 800.try_into().unwrap();
        let verdict = worker.judge(&job).unwrap();
        assert_eq!(outcomes(&verdict)[0], Outcome::Passed, "{verdict:?}");
        assert_eq!(outcomes(&verdict)[3], Outcome::OutOfTime, "{verdict:?}");
    });
}

#[test]
fn a_missing_toolchain_is_named_with_a_remedy() {
    if let Err(error) = Toolchain::find(Language::Go) {
        assert!(
            error.to_string().contains("Go programs take `go` on PATH: apt install golang-go"),
            "{error}"
        );
    }
    assert_eq!(Language::ALL.map(|language| serde_json::to_value(language).unwrap())[4], "java");
}
