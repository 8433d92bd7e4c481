//! Processes of one run, with what torchrun puts into their environment.

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::rltrain::rltrain;

/// One process of a fleet.
struct Process {
    child: Child,
    told: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts `command` as process `rank` of `world` with the store at `store`.
    fn start(mut command: Command, (rank, world): (usize, usize), store: (&str, u16)) -> Process {
        command
            .env("RANK", rank.to_string())
            .env("WORLD_SIZE", world.to_string())
            .env("LOCAL_RANK", rank.to_string())
            .env("LOCAL_WORLD_SIZE", world.to_string())
            .env("MASTER_ADDR", store.0)
            .env("MASTER_PORT", store.1.to_string());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let told = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        Process { child, told: Some(told) }
    }
}

/// Processes that train together.
pub(crate) struct Fleet(Vec<Process>);

/// How one of them ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit code; none if it was killed.
    pub(crate) code: Option<i32>,
    /// What it wrote to standard error.
    pub(crate) error: String,
    /// How long after the wait began.
    pub(crate) after: Duration,
}

/// A port that nobody uses.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Fleet {
    /// Starts `world` processes of the recipe in `folder`.
    pub(crate) fn start(folder: &Path, world: usize) -> Fleet {
        let recipes = vec!["recipe.toml"; world];
        Fleet::start_each(folder, &recipes)
    }

    /// Starts one process for each of these recipes.
    pub(crate) fn start_each(folder: &Path, recipes: &[&str]) -> Fleet {
        let port = free_port();
        let start = |(rank, recipe): (usize, &&str)| {
            let mut command = rltrain(folder);
            command.arg(recipe).env("GLOO_SOCKET_IFNAME", "lo");
            Process::start(command, (rank, recipes.len()), ("127.0.0.1", port))
        };
        Fleet(recipes.iter().enumerate().map(start).collect())
    }

    /// Starts one process in each of these network namespaces; the first has the address `address`.
    pub(crate) fn start_on(folder: &Path, namespaces: &[&str], address: &str) -> Fleet {
        let start = |(rank, namespace): (usize, &&str)| {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_rltrain"), "recipe.toml"]);
            command.current_dir(folder).env("NO_COLOR", "1").env("OMP_NUM_THREADS", "1");
            let interface = if *namespace == namespaces[0] { "rlt0" } else { "rlt1" };
            command.env("GLOO_SOCKET_IFNAME", interface);
            Process::start(command, (rank, namespaces.len()), (address, 29_500))
        };
        Fleet(namespaces.iter().enumerate().map(start).collect())
    }

    /// Kills one, as the kernel does when memory runs out.
    pub(crate) fn kill(&mut self, rank: usize) {
        // It may have ended by itself.
        let _ = self.0[rank].child.kill();
    }

    /// Asks one to stop in good order.
    pub(crate) fn terminate(&self, rank: usize) {
        let id = self.0[rank].child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Waits for all, at most `patience`; whoever has not ended then is killed, and has no exit code.
    pub(crate) fn wait(mut self, patience: Duration) -> Vec<Ended> {
        let begun = Instant::now();
        let mut ended: Vec<Option<(Option<i32>, Duration)>> = self.0.iter().map(|_| None).collect();
        while begun.elapsed() < patience && ended.iter().any(Option::is_none) {
            for (process, ended) in self.0.iter_mut().zip(&mut ended) {
                if let (None, Some(status)) = (&ended, process.child.try_wait().unwrap()) {
                    *ended = Some((status.code(), begun.elapsed()));
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let rest = self.0.drain(..).zip(ended);
        let end = |(mut process, ended): (Process, Option<_>)| {
            let (code, after) = ended.unwrap_or_else(|| {
                let _ = process.child.kill();
                let _ = process.child.wait();
                (None, patience)
            });
            let error = process.told.take().map(|told| told.join().unwrap()).unwrap_or_default();
            Ended { code, error, after }
        };
        rest.map(end).collect()
    }

    /// Waits for all, and demands that they succeed.
    #[track_caller]
    pub(crate) fn succeed(self) {
        for (rank, ended) in self.wait(Duration::from_secs(240)).iter().enumerate() {
            assert_eq!(ended.code, Some(0), "rank {rank}: {}", ended.error);
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}
