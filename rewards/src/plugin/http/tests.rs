use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rltrain_executor::{Outcome, Verdict};

use super::*;
use crate::tests::{task, verdict};

/// An HTTP server in Python, a process of its own. Killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Serves on `port`, or on a free one for 0. For each POST `body` runs, which finds the bytes in `data` and what they say in
    /// `said`, and answers with `send(status, text)`; `count` is how often it was asked, `headers` are those of the request.
    pub(crate) fn start_on(port: u16, body: &str) -> Server {
        let body = body.replace('\n', "\n        ");
        let script = format!(
            "import http.server, json, os, sys, threading, time
asked = [0]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *_): pass
    def do_POST(self):
        data = self.rfile.read(int(self.headers['content-length']))
        said, headers = json.loads(data), self.headers
        asked[0] += 1
        count = asked[0]
        def send(status, text, **more):
            text = text.encode() if isinstance(text, str) else json.dumps(text).encode()
            self.send_response(status)
            for name, value in more.items(): self.send_header(name.replace('_', '-'), value)
            self.send_header('content-length', len(text))
            self.end_headers()
            self.wfile.write(text)
        {body}
server = http.server.ThreadingHTTPServer(('127.0.0.1', {port}), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"
        );
        let mut child = Command::new("python3").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Server { child, port: line.trim().parse().unwrap() }
    }

    pub(crate) fn start(body: &str) -> Server {
        Self::start_on(0, body)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/score", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A server that greets as it must, and then does `body`.
fn polite(body: &str) -> Server {
    Server::start(&format!(
        "if 'protocol' in said: return send(200, {{'protocol': 'rltrain-reward', 'version': 1}})\n{body}"
    ))
}

fn config(server: &Server) -> HttpConfig {
    HttpConfig { url: server.url(), timeout_ms: 5000, retries: 1, ..HttpConfig::default() }
}

fn score(config: &HttpConfig, programs: &[&str]) -> Result<Vec<Option<f64>>, PlugInError> {
    score_with(&Http::new("judge", config).unwrap(), programs).into_iter().collect()
}

fn score_with(http: &Http, programs: &[&str]) -> Vec<PlugInScore> {
    let (task, verdict): (_, Verdict) = (task(), verdict(vec![Outcome::Passed]));
    let attempts: Vec<_> =
        programs.iter().map(|program| Attempt::new(&task, "", program, &verdict)).collect();
    http.score(&attempts)
}

const LENGTHS: &str = "send(200, {'id': said['id'], 'scores': \
                       [min(1, len(a['program']) / 10) if a['program'] else None for a in said['attempts']]})";

#[test]
fn scores_come_back_in_order_whatever_the_batches() {
    let server = polite(LENGTHS);
    for (batch, concurrency) in [(1, 1), (2, 3), (64, 4)] {
        let config = HttpConfig { batch, concurrency, ..config(&server) };
        let scores = score(&config, &["a", "bb", "", "dddd", "eeeee"]).unwrap();
        assert_eq!(scores, [Some(0.1), Some(0.2), None, Some(0.4), Some(0.5)], "batches of {batch}");
    }
}

#[test]
fn no_more_batches_are_out_than_may_be() {
    let most = |concurrency| {
        let server = polite(
            "asked.append(1)\ntime.sleep(0.05)\nnow = len(asked) - 1\nasked.pop()\n\
             send(200, {'id': said['id'], 'scores': [now / 100]})",
        );
        let config = HttpConfig { batch: 1, concurrency, ..config(&server) };
        let scores = score(&config, &["x"; 24]).unwrap();
        scores.into_iter().flatten().fold(0.0, f64::max)
    };
    assert_eq!(most(1), 0.01);
    let several = most(3);
    assert!(several > 0.01 && several <= 0.03, "{several}");
}

#[test]
fn what_a_bad_endpoint_does_is_named_and_is_no_score() {
    let message = |body: &str| score(&config(&polite(body)), &["a", "b"]).unwrap_err().to_string();
    let answers = |scores: &str| message(&format!("send(200, {{'id': said['id'], 'scores': {scores}}})"));
    assert_eq!(answers("[0.5]"), "the plug-in gave 1 scores for 2 attempts");
    assert_eq!(
        answers("[0, 1.5]"),
        "the plug-in scored attempt 1 of the batch with 1.5, wanted null or a number from -1 to 1"
    );
    for garbage in ["send(200, 'hello')", "send(200, {'id': 99, 'scores': [0, 0]})", "send(200, '')"] {
        assert!(message(garbage).starts_with("the plug-in answered `"), "{garbage}");
    }
    assert!(answers("[0, float('nan')]").starts_with("the plug-in answered `"));
    assert_eq!(
        message("send(200, {'id': said['id'], 'error': 'no memory'})"),
        "the plug-in reports: `no memory`"
    );
    assert_eq!(message("send(503, 'busy')"), "the endpoint answered with status 503: `busy`");
    let elsewhere = message("send(302, '', location='http://127.0.0.1:9/')");
    assert_eq!(elsewhere, "the endpoint answered with status 302: ``");
    for crash in ["os._exit(1)", "self.connection.shutdown(2)", "self.wfile.write(b'nonsense\\r\\n\\r\\n')"] {
        let error = message(crash);
        assert!(error.starts_with("cannot reach `http://127.0.0.1:"), "{crash}: {error}");
    }
    let endless =
        message("self.send_response(200); self.end_headers()\nwhile True: self.wfile.write(b'x' * 65536)");
    assert!(endless.starts_with("cannot reach `http://127.0.0.1:"), "{endless}");
}

#[test]
fn one_that_does_not_speak_the_protocol_is_refused() {
    let message = |body: &str| score(&config(&Server::start(body)), &["a"]).unwrap_err().to_string();
    assert!(message("send(200, {})").starts_with("the plug-in answered `{}`; wanted {\"protocol\": "));
    assert_eq!(
        message("send(200, {'protocol': 'rltrain-reward', 'version': 7})"),
        "the plug-in speaks version 7 of the protocol, wanted 1"
    );
}

#[test]
fn one_that_hangs_or_drips_is_given_up_in_time() {
    let begin = Instant::now();
    for body in [
        "time.sleep(60)",
        "self.send_response(200); self.send_header('content-length', 1000); self.end_headers()\n\
         while True: self.wfile.write(b' '); self.wfile.flush(); time.sleep(0.05)",
    ] {
        let server = polite(body);
        let error = score(&HttpConfig { timeout_ms: 300, ..config(&server) }, &["a"]).unwrap_err();
        assert!(matches!(error, PlugInError::Hung(_)), "{error}");
    }
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_batch_that_fails_leaves_the_others_their_scores() {
    let server =
        polite(&format!("if said['attempts'][0]['program'] == 'bad': return send(500, 'no')\n{LENGTHS}"));
    let http = Http::new("judge", &HttpConfig { batch: 1, retries: 0, ..config(&server) }).unwrap();
    let scores = score_with(&http, &["a", "bad", "ccc"]);
    assert_eq!(scores[0].as_ref().unwrap(), &Some(0.1));
    assert!(matches!(scores[1], Err(PlugInError::Status { status: 500, .. })));
    assert_eq!(scores[2].as_ref().unwrap(), &Some(0.3));
}

#[test]
fn it_is_asked_again_where_that_may_help_and_only_there() {
    let flaky = polite(&format!("if count <= 3: return send(503, 'busy', retry_after='1')\n{LENGTHS}"));
    let begin = Instant::now();
    assert_eq!(score(&HttpConfig { retries: 2, ..config(&flaky) }, &["a"]).unwrap(), [Some(0.1)]);
    // Two waits, each of the second that was asked for.
    assert!(begin.elapsed() >= Duration::from_secs(2));
    let wrong = polite("send(404, 'attempt %d' % count)");
    let error = score(&HttpConfig { retries: 9, ..config(&wrong) }, &["a"]).unwrap_err();
    // The hello was the first.
    assert_eq!(error.to_string(), "the endpoint answered with status 404: `attempt 2`");
}

#[test]
fn one_that_was_away_is_greeted_anew() {
    let body = format!(
        "if 'protocol' in said: return send(200, {{'protocol': 'rltrain-reward', 'version': 1}})\n{LENGTHS}"
    );
    let server = Server::start(&body);
    let port = server.port;
    let http = Http::new("judge", &HttpConfig { retries: 0, ..config(&server) }).unwrap();
    assert_eq!(score_with(&http, &["a"])[0].as_ref().unwrap(), &Some(0.1));
    drop(server);
    assert!(matches!(score_with(&http, &["a"])[0], Err(PlugInError::Unreachable { .. })));
    let other = Server::start_on(port, "send(200, {'protocol': 'rltrain-reward', 'version': 7})");
    assert!(matches!(score_with(&http, &["a"])[0], Err(PlugInError::Version { .. })));
    drop(other);
    let _server = Server::start_on(port, &body);
    assert_eq!(score_with(&http, &["bb"])[0].as_ref().unwrap(), &Some(0.2));
}

#[test]
fn the_key_comes_from_the_environment() {
    let server = polite(
        "send(200, {'id': said['id'], 'scores': [1.0 if headers['authorization'].startswith('Bearer /') else 0.0]})",
    );
    let keyed = |variable: &str| HttpConfig { key_variable: variable.to_owned(), ..config(&server) };
    assert_eq!(score(&keyed("PATH"), &["a"]).unwrap(), [Some(1.0)]);
    let error = score(&keyed("RLTRAIN_NO_SUCH_KEY"), &["a"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the environment variable `RLTRAIN_NO_SUCH_KEY`, which `key_variable` names, is not set"
    );
}

#[test]
fn a_table_that_cannot_work_is_refused() {
    let good = HttpConfig { url: "https://example.org/score".to_owned(), ..HttpConfig::default() };
    assert!(Http::new("judge", &good).is_ok());
    let refused = |config: HttpConfig| Http::new("judge", &config).err().unwrap();
    for url in ["", "example.org", "ftp://example.org/", "http://", "http://a b/"] {
        let error = refused(HttpConfig { url: url.to_owned(), ..good.clone() });
        assert!(error.starts_with(&format!("`url` is `{url}`, ")), "{error}");
    }
    assert!(refused(HttpConfig { concurrency: 65, ..good.clone() }).contains("wanted from 1 to 64"));
    assert!(refused(HttpConfig { batch: 0, ..good.clone() }).contains("`batch` is 0"));
    assert!(refused(HttpConfig { timeout_ms: 0, ..good.clone() }).contains("`timeout_ms` is 0"));
    assert!(refused(HttpConfig { least: 2.0, ..good }).contains("in this order"));
}
