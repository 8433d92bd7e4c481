//! A peer in a Python process of its own, which answers each line of JSON with what it took.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::{Cost, Failure, root};

/// How a peer's libtorch is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    /// As it is installed.
    Stock,
    /// With oneMKL's fast kernels on every processor, and an allocator that keeps large blocks.
    Tuned,
}

impl Setting {
    pub(crate) const ALL: [Setting; 2] = [Setting::Stock, Setting::Tuned];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Setting::Stock => "stock",
            Setting::Tuned => "same MKL path",
        }
    }
}

/// A peer that is ready.
pub(crate) struct Peer {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts `script` of the folder `scripts` with `arguments`.
    pub(crate) fn start(script: &str, arguments: &[&str], setting: Setting) -> Result<Peer, Failure> {
        let python = python();
        let mut command = Command::new(&python);
        command.arg(root().join("scripts").join(script)).args(arguments);
        // This process has settings of its own; the peer gets its own too, or none.
        command.env_remove("GLIBC_TUNABLES").env_remove("GOMP_SPINCOUNT");
        if setting == Setting::Tuned {
            command
                .env("LD_PRELOAD", mkl_fast_path()?)
                .env("MALLOC_MMAP_THRESHOLD_", "33554432")
                .env("MALLOC_TRIM_THRESHOLD_", "34359738368")
                .env("MALLOC_TOP_PAD_", "268435456");
        }
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().map_err(
                |error| {
                    format!(
                        "cannot start `{}`: {error}; `make bench-rollout` and `make bench-update` install it",
                        python.display()
                    )
                },
            )?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("the peer has no pipes".into());
        };
        Ok(Peer { process, input: Some(input), output: BufReader::new(output) })
    }

    /// Has one round done.
    pub(crate) fn run(&mut self, request: &Value) -> Result<Cost, Failure> {
        let reply = self.ask(request)?;
        match (reply["wall"].as_f64(), reply["cpu"].as_f64()) {
            (Some(wall), Some(cpu)) => Ok(Cost { wall, cpu }),
            _ => Err(format!("the peer said `{reply}`").into()),
        }
    }

    /// Its answer to one line.
    pub(crate) fn ask(&mut self, request: &Value) -> Result<Value, Failure> {
        let input = self.input.as_mut().ok_or("the peer has ended")?;
        writeln!(input, "{request}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|error| format!("the peer said `{line}`: {error}").into())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends with its input; a peer that does not is not worth a failure here.
        self.input.take();
        let _ = self.process.wait();
    }
}

/// `RLTRAIN_BENCH_PYTHON`, or what the make targets install.
fn python() -> PathBuf {
    std::env::var_os("RLTRAIN_BENCH_PYTHON")
        .map_or_else(|| root().join(".deps/bench-python-torch/bin/python"), PathBuf::from)
}

/// The library to preload, compiled with the system's C compiler.
fn mkl_fast_path() -> Result<PathBuf, Failure> {
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mkl_fast_path.so");
    let source = root().join("scripts/mkl_fast_path.c");
    let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status()?;
    if status.success() { Ok(library) } else { Err("cc cannot compile scripts/mkl_fast_path.c".into()) }
}
