//! Servers as processes, and executors that use them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rltrain::execution::dependencies_folder;
use rltrain_executor::{
    Executor, ExecutorConfig, InfraError, ModuleCache, RemoteConfig, Runtime, RuntimeFiles, StartOptions,
    WorkerCommand,
};

/// What servers of these tests want to be shown.
pub(crate) const TOKEN: &str = "a-token-for-tests-alone";

/// Where tests of a token find one: `text` in a file of its own.
pub(crate) fn token_file(folder: &tempfile::TempDir, text: &str) -> String {
    let path = folder.path().join(format!("token-{}", text.len()));
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// `rltrain` as a child, without a token in its environment.
pub(crate) fn rltrain() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rltrain"));
    command.env("NO_COLOR", "1").env("OMP_NUM_THREADS", "1").env_remove("RLTRAIN_EXECUTOR_TOKEN");
    command
}

/// A server that listens. Killed when dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) url: String,
}

impl Served {
    /// Starts one on any port of this machine.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", arguments)
    }

    /// Starts one at this address, and waits until it listens.
    pub(crate) fn start_at(address: &str, arguments: &[&str]) -> Self {
        let mut child = rltrain()
            .args(["executor", "--workers", "1", "--listen", address])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http"), "the server did not start: {url:?}");
        Self { child, url: url.trim().to_owned() }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Kills it at once.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The exit code that it ends with by itself.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server does not end");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What uses the servers at these addresses, before anything is changed.
pub(crate) fn remote<'a>(urls: impl IntoIterator<Item = &'a str>) -> RemoteConfig {
    RemoteConfig::new(urls)
}

/// An executor whose programs run on servers.
pub(crate) fn connect(runtime: Runtime, remote: RemoteConfig) -> Result<Executor, InfraError> {
    let config = ExecutorConfig { runtime, ..ExecutorConfig::default() };
    Executor::connect(&config, &remote, &mut |_| {})
}

/// An executor whose programs run here.
pub(crate) fn local(runtime: Runtime) -> Executor {
    let config = ExecutorConfig { runtime, ..ExecutorConfig::default() };
    let worker = WorkerCommand {
        program: env!("CARGO_BIN_EXE_rltrain").into(),
        arguments: vec!["exec-worker".into()],
    };
    let options = StartOptions { cache: ModuleCache::of_user().unwrap(), worker };
    Executor::start_with(&config, &RuntimeFiles::in_folder(&dependencies_folder()), &options, &mut |_| {})
        .unwrap()
}

/// An error and its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
