//! Programs on a server that speaks as SandboxFusion documents it, and runs them with this machine's `python3`. The real one is not run.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rltrain_executor::{
    Executor, Fuel, Job, Limits, Outcome, OutputBytes, RemoteConfig, RemoteKind, Runtime, Test, TimeoutMs,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::jobs::{judge, of_tasks, test, verdicts};
use crate::server::{connect, local, remote};

/// The documented request. Keys that are not documented are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunCodeRequest {
    #[serde(default = "ten")]
    #[expect(dead_code, reason = "Python is not compiled")]
    compile_timeout: f64,
    #[serde(default = "ten")]
    run_timeout: f64,
    #[serde(default, rename = "memory_limit_MB")]
    #[expect(dead_code, reason = "the interpreter of this machine is not bounded")]
    memory_limit_mb: i64,
    code: String,
    #[serde(default)]
    stdin: Option<String>,
    language: String,
    #[serde(default)]
    files: BTreeMap<String, Option<String>>,
    #[serde(default)]
    #[expect(dead_code, reason = "nothing fetches files")]
    fetch_files: Vec<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "nothing runs pytest")]
    args: Vec<String>,
}

fn ten() -> f64 {
    10.0
}

/// Serves for as long as the tests run. Returns the address.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            // A client that goes away ends its thread.
            std::thread::spawn(move || answer_all(&stream));
        }
    });
    format!("http://{address}")
}

fn answer_all(stream: &TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            if header.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let (status, said) = match line.split(' ').take(2).collect::<Vec<_>>()[..] {
            ["GET", "/v1/ping"] => ("200 OK", json!("pong")),
            ["POST", "/run_code"] => match serde_json::from_slice(&body) {
                Ok(request) => ("200 OK", run_code(request)),
                Err(error) => ("422 Unprocessable Entity", json!({ "detail": error.to_string() })),
            },
            _ => ("404 Not Found", json!({ "detail": "Not Found" })),
        };
        let said = said.to_string();
        let mut stream = stream;
        write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{said}",
            said.len()
        )?;
    }
}

/// Runs a file in a folder of its own, as the documented server does, and says so in its words.
fn run_code(request: RunCodeRequest) -> Value {
    assert_eq!(request.language, "python");
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in &request.files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, STANDARD.decode(content.as_ref().unwrap()).unwrap()).unwrap();
    }
    if request.code.contains("SANDBOX FAILS") {
        return json!({ "status": "SandboxError", "message": "no room on the disk", "run_result": null });
    }
    std::fs::write(folder.path().join("main.py"), &request.code).unwrap();
    let file = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
    let mut child = Command::new("python3")
        .arg("main.py")
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(file("stdout"))
        .stderr(file("stderr"))
        .spawn()
        .unwrap();
    let start = Instant::now();
    // A program need not read it.
    let _ = child.stdin.take().unwrap().write_all(request.stdin.unwrap_or_default().as_bytes());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if start.elapsed().as_secs_f64() > request.run_timeout {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let text =
        |name: &str| String::from_utf8_lossy(&std::fs::read(folder.path().join(name)).unwrap()).into_owned();
    let ended = if status.is_some() { "Finished" } else { "TimeLimitExceeded" };
    let is_success = status.is_some_and(|status| status.success());
    json!({
        "status": if is_success { "Success" } else { "Failed" }, "message": "", "compile_result": null,
        "run_result": {
            "status": ended, "execution_time": start.elapsed().as_secs_f64(),
            "return_code": status.map(|status| status.code().unwrap_or(-9)),
            "stdout": text("stdout"), "stderr": text("stderr"),
        },
        "executor_pod_name": null, "files": {},
    })
}

fn fusion() -> Executor {
    let url = serve();
    // Time on the wall decides here, so that few interpreters are to start at a time.
    let most_at_once = NonZeroUsize::new(3);
    let kind = RemoteKind::SandboxFusion;
    let config = RemoteConfig { kind, most_at_once, ..remote([url.as_str()]) };
    connect(Runtime::Python315, config).unwrap()
}

fn limits() -> Limits {
    Limits {
        output_bytes: OutputBytes::try_from(4096).unwrap(),
        fuel: Fuel::try_from(400_000_000).unwrap(),
        ..Limits::default()
    }
}

/// Outcomes are those of our own sandbox; fuel and memory are not known.
#[test]
fn tasks_come_out_as_they_do_in_a_sandbox_of_our_own() {
    let jobs: Vec<Job> = of_tasks("python-basics/heldout.jsonl").into_iter().take(24).collect();
    let (found, wanted) = (verdicts(&fusion(), &jobs), verdicts(&local(Runtime::Python315), &jobs));
    for ((job, found), wanted) in jobs.iter().zip(&found).zip(&wanted) {
        assert_eq!((&found.load, &found.tests), (&wanted.load, &wanted.tests), "{}", job.program);
        assert_eq!((found.fuel, found.peak_memory_bytes, found.public), (0, 0, wanted.public));
    }
    assert!(wanted.iter().any(|verdict| verdict.all_passed()));
}

#[test]
fn programs_that_fail_in_every_way_are_told_apart() {
    let script =
        |stdin: &str, stdout: &str| test(json!({ "kind": "stdin", "stdin": stdin, "stdout": stdout }));
    let call = |compare: Value| {
        test(
            json!({ "kind": "call", "function": "f", "arguments": [2], "expected": [2, 1], "compare": compare }),
        )
    };
    let all = |program: &str, tests: Vec<Test>| Job::new(program, tests, limits());
    let short = |program: &str, tests: Vec<Test>| {
        Job::new(program, tests, Limits { timeout_ms: TimeoutMs::try_from(3000).unwrap(), ..limits() })
    };
    let cases: Vec<(Job, Outcome, Vec<Outcome>)> = {
        use Outcome::{Exited, Failed, NotRun, OutOfTime, OutputLimit, Passed, Raised, SyntaxError};
        vec![
            (
                all("f = lambda n: [1, n]", vec![call(json!("exact")), call(json!("unordered"))]),
                Passed,
                vec![Failed, Passed],
            ),
            (all("def f(: pass", vec!["assert f(1) == 1".into()]), SyntaxError, vec![NotRun]),
            (all("raise KeyError('k')", vec!["assert f(1) == 1".into()]), Raised, vec![NotRun]),
            (all("import sys\nsys.exit(0)", vec!["assert f(1) == 1".into()]), Exited, vec![NotRun]),
            (
                all(
                    "def f(n):\n    import os\n    if n == 1: os._exit(0)\n    return n",
                    vec!["assert f(0) == 0".into(), "assert f(1) == 1".into(), "assert f(2) == 2".into()],
                ),
                Passed,
                vec![Passed, Exited, Passed],
            ),
            (
                short(
                    "def f(n):\n    while n: pass\n    return n",
                    vec!["assert f(0) == 0".into(), "assert f(1) == 1".into(), "assert f(0) == 0.0".into()],
                ),
                Passed,
                vec![Passed, OutOfTime, OutOfTime],
            ),
            // What is equal to everything is not equal to what never entered the interpreter.
            (
                all(
                    "class Yes:\n    def __eq__(self, other): return True\ndef f(n): return Yes()",
                    vec!["assert f(1) == 1".into(), call(json!("exact"))],
                ),
                Passed,
                vec![Failed, Failed],
            ),
            // Nor is a program heard that prints what the driver would.
            (
                all(
                    "print('\\nrltrain-0 {\"at\": 1, \"ending\": {\"outcome\": \"passed\"}}')\ndef f(n): return 3",
                    vec!["assert f(1) == 1".into()],
                ),
                Passed,
                vec![Failed],
            ),
            (
                all(
                    "print(2 * int(input()))",
                    vec![script("3\n", "6\n"), script("x\n", "6\n"), script("4\n", "6\n")],
                ),
                Passed,
                vec![Passed, Raised, Failed],
            ),
            (all("print(", vec![script("3\n", "6\n")]), SyntaxError, vec![NotRun]),
            (
                all(
                    "import sys\nprint(6)\nsys.exit(int(input()))",
                    vec![script("0\n", "6\n"), script("3\n", "6\n")],
                ),
                Passed,
                vec![Passed, Exited],
            ),
            (all("print('x' * 9999)", vec![script("", "x")]), Passed, vec![OutputLimit]),
        ]
    };
    let jobs: Vec<Job> = cases.iter().map(|(job, ..)| job.clone()).collect();
    let found = verdicts(&fusion(), &jobs);
    for ((job, load, tests), found) in cases.iter().zip(&found) {
        let outcomes: Vec<Outcome> = found.tests.iter().map(|ending| ending.outcome).collect();
        assert_eq!((found.load.outcome, &outcomes), (*load, tests), "{}: {found:?}", job.program);
    }
    let stopping = Job { stop_at_failure: true, ..jobs[0].clone() };
    let found = verdicts(&fusion(), &[stopping]);
    assert_eq!((found[0].tests[0].outcome, found[0].tests[1].outcome), (Outcome::Failed, Outcome::NotRun));
}

#[test]
fn what_the_server_cannot_do_is_an_error_and_never_a_score() {
    let suite = test(json!({ "kind": "suite", "source": "def test_f(): pass" }));
    let jobs = [
        Job::new("n = 1", [suite], limits()),
        Job::new("n = 1", [test(json!({ "kind": "stdin", "stdin": "", "stdout": "" }))], limits()),
        Job::new("# SANDBOX FAILS", [test(json!({ "kind": "stdin", "stdin": "", "stdout": "" }))], limits()),
    ];
    let found: Vec<Result<_, String>> =
        judge(&fusion(), &jobs).into_iter().map(|found| found.map_err(|error| error.to_string())).collect();
    let error = |place: usize| found[place].as_ref().unwrap_err().clone();
    assert!(error(0).contains("and not suites"), "{}", error(0));
    assert!(found[1].as_ref().unwrap().all_passed());
    assert!(error(2).contains("no room on the disk"), "{}", error(2));
    let config = RemoteConfig { kind: RemoteKind::SandboxFusion, ..remote(["http://127.0.0.1:1"]) };
    let error = connect(Runtime::Ruby, config).err().unwrap();
    assert!(crate::server::chain(&error).contains("`executor.runtime` is `ruby`"), "{error}");
}
