//! A running `rltrain serve`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::rltrain::rltrain;

/// A server process, killed when it is dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) url: String,
}

/// Status, `Retry-After` if there is one, and the body.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) text: String,
}

impl Reply {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Server {
    /// Serves `folder`/model as `tiny`, at a port that is free unless `more` says which.
    pub(crate) fn start(folder: &Path, more: &[&str]) -> Server {
        let mut command = rltrain(folder);
        command.args(["serve", "model", "--name", "tiny"]);
        if !more.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut child = command.args(more).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.trim().rsplit_once("http://").unwrap_or_else(|| panic!("no address in {line:?}")).1;
        Server { url: format!("http://{address}"), child }
    }

    /// `ADDRESS:PORT`.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_with(path, body, None)
    }

    /// The reply, unless the connection was closed before there was one.
    pub(crate) fn try_post(&self, path: &str, body: &Value) -> Option<Reply> {
        let request = agent().post(format!("{}{path}", self.url)).content_type("application/json");
        request.send(body.to_string()).ok().map(read)
    }

    pub(crate) fn post_with(&self, path: &str, body: &Value, header: Option<(&str, &str)>) -> Reply {
        let mut request = agent().post(format!("{}{path}", self.url)).content_type("application/json");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        read(request.send(body.to_string()).unwrap())
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        read(agent().get(format!("{}{path}", self.url)).call().unwrap())
    }

    /// Lines of server-sent events, as they come.
    pub(crate) fn stream(&self, path: &str, body: &Value) -> impl Iterator<Item = String> + use<> {
        let request = agent().post(format!("{}{path}", self.url)).content_type("application/json");
        let response = request.send(body.to_string()).unwrap();
        assert_eq!(response.status().as_u16(), 200);
        let reader = BufReader::new(response.into_body().into_reader());
        let lines = reader.lines().map(Result::unwrap);
        lines.filter_map(|line| line.strip_prefix("data: ").map(str::to_owned))
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Reply {
    let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    let mut text = String::new();
    response.body_mut().as_reader().read_to_string(&mut text).unwrap();
    Reply { status: response.status().as_u16(), retry_after, text }
}
