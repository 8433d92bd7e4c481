//! Who may use a server, and what it says when it is full or about to end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rltrain_executor::{Fuel, Job, Limits, RemoteConfig, Runtime};
use serde_json::Value;

use crate::jobs::{of_some_length, verdicts};
use crate::server::{Served, TOKEN, chain, connect, local, remote, rltrain, token_file};

/// Says one HTTP request to a server, and returns status and JSON.
fn say(server: &Served, request: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

fn health(server: &Served) -> (u16, Value) {
    say(server, "GET /health HTTP/1.1\nhost: here\nconnection: close\n\n")
}

fn post(server: &Served, headers: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    say(
        server,
        &format!(
            "POST /v1/judge HTTP/1.1\nhost: here\nconnection: close\ncontent-length: {length}\n{headers}\n{body}"
        ),
    )
}

/// A job that takes about as many seconds.
fn long(number: usize, seconds: u64) -> Job {
    let fuel = Fuel::try_from(seconds * 6_000_000_000).unwrap();
    let program = format!("n = {number}\nwhile True: pass");
    Job::new(program, ["assert True"], Limits { fuel, ..Limits::default() })
}

#[test]
fn a_server_is_listened_to_with_its_token_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = token_file(&folder, TOKEN);
    let server = Served::start(&["--token-file", &file]);
    let job = serde_json::to_string(&of_some_length(1)[0]).unwrap();
    assert_eq!(post(&server, "", &job), (401, Value::from("unauthorized")));
    assert_eq!(post(&server, "authorization: Bearer a-token-for-tests-alone!\n", &job).0, 401);
    let (status, answer) = post(&server, "authorization: Bearer a-token-for-tests-alone\n", &job);
    assert_eq!((status, &answer["verdict"]["load"]["outcome"]), (200, &Value::from("passed")), "{answer}");
    let (status, answer) = post(&server, "authorization: Bearer a-token-for-tests-alone\n", "{}");
    assert_eq!(status, 400, "{answer}");

    let with = |token_file: Option<String>| RemoteConfig {
        token_file: token_file.map(Into::into),
        ..remote([server.url.as_str()])
    };
    let right = connect(Runtime::Python315, with(Some(file))).unwrap();
    assert_eq!(verdicts(&right, &of_some_length(1)).len(), 1);
    let wrong = token_file(&folder, "another-token-altogether");
    let error = connect(Runtime::Python315, with(Some(wrong))).err().map(|error| chain(&error)).unwrap();
    assert!(error.contains("refuses the token"), "{error}");
    assert!(!error.contains("another-token"), "{error}");
    assert!(connect(Runtime::Python315, with(None)).is_err());
    // Probes need none.
    assert_eq!(health(&server).1["authorized"], false);
}

#[test]
fn nobody_but_this_machine_is_listened_to_without_a_token() {
    let output = rltrain().args(["executor", "--workers", "1", "--listen", "0.0.0.0:0"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("without a token"), "{error}");
    // No flag takes one.
    let output = rltrain().args(["executor", "--listen", "127.0.0.1:0", "--token", "x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn tls_is_spoken_with_who_trusts_the_certificate() {
    let tls = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/remote_execution/tls"));
    let file = |name: &str| tls.join(name).display().to_string();
    let server = Served::start(&["--tls-certificate", &file("server.pem"), "--tls-key", &file("server.key")]);
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    let config = remote([server.url.as_str()]);
    let trusting = RemoteConfig { ca_file: Some(tls.join("ca.pem")), ..config.clone() };
    let away = connect(Runtime::Python315, trusting).unwrap();
    let jobs = of_some_length(4);
    assert_eq!(verdicts(&away, &jobs), verdicts(&local(Runtime::Python315), &jobs));
    let error = connect(Runtime::Python315, config).err().map(|error| chain(&error)).unwrap();
    assert!(error.contains("invalid peer certificate"), "{error}");
}

#[test]
fn a_server_that_judges_otherwise_is_refused() {
    let server = Served::start(&["--lang", "javascript"]);
    let error = connect(Runtime::Python315, remote([server.url.as_str()])).err();
    let error = error.map(|error| chain(&error)).unwrap();
    assert!(
        error.contains("has runtime `javascript`") && error.contains("wanted runtime `python-3.15`"),
        "{error}"
    );
    // Behind one address there may be several servers, so that each job says what it takes the server for.
    let job = serde_json::to_string(&of_some_length(1)[0]).unwrap();
    let (status, answer) = post(&server, "rltrain-identity: 0/0\n", &job);
    assert_eq!((status, answer["other-identity"]["runtime"].as_str()), (409, Some("javascript")));
}

#[test]
fn a_server_that_cannot_be_reached_is_an_error_with_its_cause() {
    let start = Instant::now();
    let error = connect(Runtime::Python315, remote(["http://127.0.0.1:1"])).err();
    let error = error.map(|error| chain(&error)).unwrap();
    assert!(error.contains("cannot connect to `http://127.0.0.1:1`: Connection refused"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_full_server_says_so_and_clients_come_again() {
    let server = Served::start(&["--most-jobs", "2"]);
    let config =
        RemoteConfig { most_at_once: std::num::NonZeroUsize::new(8), ..remote([server.url.as_str()]) };
    let away = connect(Runtime::Python315, config).unwrap();
    let (_, idle) = health(&server);
    assert_eq!((&idle["free"], &idle["workers"], &idle["draining"]), (&2.into(), &1.into(), &false.into()));
    let slow: Vec<_> = (0..2).map(|number| away.submit(long(number, 1))).collect();
    let start = Instant::now();
    while health(&server).1["free"] != 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "the jobs do not arrive");
        std::thread::sleep(Duration::from_millis(5));
    }
    let jobs = of_some_length(20);
    let body = serde_json::to_string(&jobs[0]).unwrap();
    assert_eq!(post(&server, "", &body), (503, Value::from("busy")));
    assert_eq!(verdicts(&away, &jobs), verdicts(&local(Runtime::Python315), &jobs));
    for pending in slow {
        assert_eq!(pending.wait().unwrap().load, rltrain_executor::Outcome::OutOfFuel);
    }
    assert_eq!(away.statistics().failures, 0);
}

#[test]
fn a_server_that_is_told_to_end_finishes_what_it_has_and_takes_no_more() {
    let mut server = Served::start(&[]);
    let other = Served::start(&[]);
    let away = connect(Runtime::Python315, remote([server.url.as_str(), other.url.as_str()])).unwrap();
    let slow: Vec<_> = (0..2).map(|number| away.submit(long(number, 1))).collect();
    let start = Instant::now();
    while health(&server).1["free"] == 256 {
        assert!(start.elapsed() < Duration::from_secs(10), "the job does not arrive");
        std::thread::sleep(Duration::from_millis(5));
    }
    server.signal("-TERM");
    std::thread::sleep(Duration::from_millis(200));
    let (status, said) = health(&server);
    assert_eq!((status, &said["draining"]), (503, &Value::from(true)));
    let jobs = of_some_length(10);
    let body = serde_json::to_string(&jobs[0]).unwrap();
    assert_eq!(post(&server, "", &body), (503, Value::from("draining")));
    // What comes now goes to the other one; what the server has, it ends.
    assert_eq!(verdicts(&away, &jobs), verdicts(&local(Runtime::Python315), &jobs));
    for pending in slow {
        assert_eq!(pending.wait().unwrap().load, rltrain_executor::Outcome::OutOfFuel);
    }
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(away.statistics().retries, 0, "{:?}", away.statistics());

    // Time that is up is up.
    let mut hasty = Served::start(&["--drain-s", "0"]);
    let away =
        connect(Runtime::Python315, RemoteConfig { give_up_s: 1, ..remote([hasty.url.as_str()]) }).unwrap();
    let pending = away.submit(long(7, 10));
    while health(&hasty).1["free"] == 256 {
        std::thread::sleep(Duration::from_millis(5));
    }
    hasty.signal("-TERM");
    assert_eq!(hasty.exit_code(), Some(1));
    let error = chain(&pending.wait().unwrap_err());
    assert!(
        error.starts_with("no server of `executor.remote` could be reached for 1 s: cannot connect"),
        "{error}"
    );
}
