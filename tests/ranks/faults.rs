//! A process that dies ends the others in time and by name, and the run goes on from its checkpoint as if nothing had been.

use std::path::Path;
use std::time::{Duration, Instant};

use rltrain::rng::{Stream, uniform};

use crate::fleet::Fleet;
use crate::tiny::{self, edit};

/// How long the others may take to end.
const IN_TIME: Duration = Duration::from_secs(30);

fn make(folder: &Path) {
    tiny::make(folder);
    edit(folder, "steps = 4", "steps = 6");
    edit(folder, "every = 2", "every = 6");
}

fn metrics(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap()
}

/// Kills process `rank` of `world` after `after`, has the others end, starts all again, and compares with a run of `whole`.
fn killed_and_restarted(world: usize, rank: usize, after: Duration, whole: &str) {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let mut fleet = Fleet::start(folder.path(), world);
    // One that dies before the others have heard of it cannot be told from one that has not been started yet.
    let run = folder.path().join("run");
    let begun = Instant::now();
    while !run.exists() {
        assert!(begun.elapsed() < Duration::from_secs(120), "the run does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(after);
    fleet.kill(rank);
    let ended = fleet.wait(Duration::from_secs(90));
    if ended[rank].code.is_none() {
        for (other, ended) in ended.iter().enumerate().filter(|(other, _)| *other != rank) {
            let when = format!("rank {rank} killed after {after:?}: rank {other} said {:?}", ended.error);
            assert!(ended.after < IN_TIME, "{:?} {when}", ended.after);
            // It may have done all it had to do just before.
            if ended.code != Some(0) {
                assert_eq!(ended.code, Some(1), "{when}");
                assert!(ended.error.contains(&format!("rank {rank}")), "{when}");
            }
        }
    }
    Fleet::start(folder.path(), world).succeed();
    assert_eq!(metrics(folder.path()), whole, "rank {rank} killed after {after:?}");
}

/// Kills at `count` moments of runs of `world` processes, which derive from `seed`.
fn kill_at_random(world: usize, count: u64, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let (begun, run) = (Instant::now(), folder.path().join("run"));
    let fleet = Fleet::start(folder.path(), world);
    while !run.exists() && begun.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let begun = Instant::now();
    fleet.succeed();
    let takes = begun.elapsed();
    let whole = metrics(folder.path());
    for number in 0..count {
        let draw = |what| uniform(seed, Stream::Sampling, &[number, what]);
        let rank = ((draw(0) * world as f64) as usize).min(world - 1);
        killed_and_restarted(world, rank, takes.mul_f64(draw(1)), &whole);
    }
}

#[test]
fn whoever_is_killed_is_named_and_the_run_goes_on_exactly() {
    kill_at_random(2, 1, 5);
}

#[test]
#[ignore = "twenty kills take several minutes; `make verify-ranks` runs it"]
fn twenty_kills() {
    kill_at_random(3, 20, 11);
}

#[test]
fn processes_of_different_recipes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    // The second process finds that its run is another one.
    let text = std::fs::read_to_string(folder.path().join("recipe.toml")).unwrap();
    std::fs::write(folder.path().join("other.toml"), text.replace("seed = 3", "seed = 4")).unwrap();
    let ended =
        Fleet::start_each(folder.path(), &["recipe.toml", "other.toml"]).wait(Duration::from_secs(60));
    for ended in &ended {
        assert_eq!(ended.code, Some(2), "{}", ended.error);
        assert!(ended.error.contains("do not agree on the recipe"), "{}", ended.error);
    }
    assert!(!folder.path().join("run").exists(), "nothing was begun");
}

#[test]
fn one_that_is_asked_to_stop_stops_all_and_they_go_on() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    edit(folder.path(), "steps = 6", "steps = 400");
    let fleet = Fleet::start(folder.path(), 2);
    let metrics = folder.path().join("run/metrics.jsonl");
    let lines = || std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
    let begun = Instant::now();
    while lines() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(120), "the run does not begin");
        std::thread::sleep(Duration::from_millis(50));
    }
    fleet.terminate(1);
    for ended in fleet.wait(Duration::from_secs(60)) {
        assert_eq!(ended.code, Some(0), "{}", ended.error);
    }
    let done = lines();
    assert!((2..400).contains(&done));
    assert!(folder.path().join(format!("run/checkpoints/step-{done:08}/manifest.json")).exists());
}

/// Three processes on two hosts of their own, network namespaces joined by a cable that is pulled.
#[test]
#[ignore = "takes root and iproute2; `make verify-ranks` runs it"]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn one_that_is_cut_off_ends_and_so_do_the_others() {
    let Some(network) = Network::lay() else {
        eprintln!("skipped: network namespaces take root and iproute2");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    edit(folder.path(), "steps = 6", "steps = 200");
    let fleet =
        Fleet::start_on(folder.path(), &[Network::HERE, Network::HERE, Network::THERE], Network::ADDRESS);
    let metrics = folder.path().join("run/metrics.jsonl");
    let begun = Instant::now();
    while std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < 2 {
        assert!(begun.elapsed() < Duration::from_secs(120), "the run does not begin");
        std::thread::sleep(Duration::from_millis(100));
    }
    network.pull();
    let ended = fleet.wait(Duration::from_secs(90));
    for (rank, ended) in ended.iter().enumerate() {
        assert!(ended.after < IN_TIME, "rank {rank} took {:?}: {}", ended.after, ended.error);
        assert_eq!(ended.code, Some(1), "rank {rank}: {}", ended.error);
        let other = if rank == 2 { "rank 0" } else { "rank 2" };
        assert!(ended.error.contains(other), "rank {rank} names another: {}", ended.error);
        eprintln!(
            "rank {rank} ended after {:?}: {}",
            ended.after,
            ended.error.lines().last().unwrap_or_default()
        );
    }
}

/// Two hosts and a cable.
struct Network;

impl Network {
    const HERE: &str = "rltrain-here";
    const THERE: &str = "rltrain-there";
    /// Of the first host.
    const ADDRESS: &str = "10.77.0.1";

    fn ip(arguments: &str) -> bool {
        let run = std::process::Command::new("ip").args(arguments.split_whitespace()).output();
        run.is_ok_and(|output| output.status.success())
    }

    /// Lays it; `None` where that is not permitted.
    fn lay() -> Option<Network> {
        let network = Network;
        let (here, there) = (Network::HERE, Network::THERE);
        let steps = [
            format!("netns add {here}"),
            format!("netns add {there}"),
            format!("link add rlt0 netns {here} type veth peer name rlt1 netns {there}"),
            format!("-n {here} addr add {}/24 dev rlt0", Network::ADDRESS),
            format!("-n {there} addr add 10.77.0.2/24 dev rlt1"),
            format!("-n {here} link set rlt0 up"),
            format!("-n {there} link set rlt1 up"),
            format!("-n {here} link set lo up"),
            format!("-n {there} link set lo up"),
        ];
        steps.iter().all(|step| Network::ip(step)).then_some(network)
    }

    /// From now on nothing arrives.
    fn pull(&self) {
        assert!(Network::ip(&format!("-n {} link set rlt1 down", Network::THERE)));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in [Network::HERE, Network::THERE] {
            let _ = Network::ip(&format!("netns del {name}"));
        }
    }
}
