//! A real S3 server on loopback: `s3s-fs`, which `make s3-server` compiles.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const KEY: &str = "rltrain-tests";
const SECRET: &str = "not-a-secret";

/// A server with one empty bucket, `bucket`, until dropped.
pub(super) struct S3 {
    folder: TempDir,
    child: Child,
    pub(super) port: u16,
}

impl S3 {
    /// The folder that its buckets are in.
    pub(super) fn buckets(&self) -> &Path {
        self.folder.path()
    }

    /// Has `command` use the server behind `port`.
    pub(super) fn environment(&self, command: &mut Command, port: u16) {
        let endpoint = format!("http://127.0.0.1:{port}");
        command
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ENDPOINT", endpoint);
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, if it was compiled.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("RLTRAIN_S3_SERVER").map(PathBuf::from);
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps/s3-server/bin/s3s-fs");
    named.or(Some(ours)).filter(|program| program.is_file())
}

/// Starts one; none, and a word about it, where the program is missing.
pub(super) fn server() -> Option<S3> {
    let Some(program) = program() else {
        #[expect(clippy::print_stderr, reason = "says what was not tested")]
        {
            eprintln!("skipped: wants `make s3-server`, or the path of `s3s-fs` in RLTRAIN_S3_SERVER");
        }
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bucket")).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new(program)
        .args(["--access-key", KEY, "--secret-key", SECRET, "--host", "127.0.0.1", "--port"])
        .arg(port.to_string())
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let s3 = S3 { folder, child, port };
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(60), "the server does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(s3)
}
