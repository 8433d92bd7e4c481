//! Servers that are killed, stopped and started again: what was lost goes elsewhere, and no verdict changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rltrain_executor::{Job, Limits, RemoteConfig, Runtime};

use crate::jobs::{assert_same, of_every_kind, of_some_length, of_tasks, verdicts};
use crate::server::{Served, connect, local, remote};

/// Three servers, one of which is killed every `pause` and started again, while all jobs are judged. Returns how many were killed.
fn kill_while_judging(jobs: &[Job], pause: Duration) -> usize {
    let mut servers: Vec<Served> = (0..3).map(|_| Served::start(&[])).collect();
    let away = connect(Runtime::Python315, remote(servers.iter().map(|server| server.url.as_str()))).unwrap();
    let is_over = AtomicBool::new(false);
    let (found, kills) = std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut kills = 0;
            loop {
                let start = Instant::now();
                while start.elapsed() < pause {
                    if is_over.load(Ordering::Relaxed) {
                        return kills;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                let server = &mut servers[kills % 3];
                server.kill();
                kills += 1;
                let address = server.address().to_owned();
                *server = Served::start_at(&address, &[]);
            }
        });
        let found = verdicts(&away, jobs);
        is_over.store(true, Ordering::Relaxed);
        (found, killer.join().unwrap())
    });
    let statistics = away.statistics();
    assert!(statistics.workers_lost >= kills as u64 / 2, "{kills} kills, {statistics:?}");
    assert!(statistics.retries > 0, "no job was under way at any of {kills} kills: {statistics:?}");
    assert_same(jobs, &found, &verdicts(&local(Runtime::Python315), jobs));
    kills
}

#[test]
fn servers_that_are_killed_change_no_verdict() {
    let kills = kill_while_judging(&of_some_length(120), Duration::from_millis(250));
    assert!(kills >= 2, "{kills} kills");
}

#[test]
#[ignore = "minutes; `make verify-remote-execution` runs it"]
fn five_thousand_programs_on_servers_that_are_killed_every_few_seconds() {
    let mut jobs = of_every_kind();
    jobs.extend(of_tasks("python-basics/heldout.jsonl"));
    jobs.extend(of_tasks("python-basics/train.jsonl"));
    jobs.extend(of_some_length(5_000 - jobs.len()));
    let start = Instant::now();
    let kills = kill_while_judging(&jobs, Duration::from_secs(2));
    let line =
        format!("{} programs, {kills} servers killed, {:.0} s", jobs.len(), start.elapsed().as_secs_f64());
    std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes()).unwrap();
    assert!(kills >= 10, "{line}");
}

/// A server that is stopped holds its connections and says nothing: only a second copy elsewhere gets its programs judged.
#[test]
fn what_a_server_does_not_answer_is_asked_of_another_one() {
    let (stopped, other) = (Served::start(&[]), Served::start(&[]));
    let config = RemoteConfig { hedge_ms: 300, ..remote([stopped.url.as_str(), other.url.as_str()]) };
    let away = connect(Runtime::Python315, config).unwrap();
    let jobs = of_some_length(12);
    stopped.signal("-STOP");
    let start = Instant::now();
    let found = verdicts(&away, &jobs);
    let took = start.elapsed();
    stopped.signal("-CONT");
    assert_same(&jobs, &found, &verdicts(&local(Runtime::Python315), &jobs));
    assert!(took >= Duration::from_millis(300), "{took:?}: the stopped server had nothing to do");
    assert!(took < Duration::from_secs(4), "{took:?}: nothing but the next look at the server has helped");
    assert_eq!(away.statistics().failures, 0);
}

#[test]
fn a_run_begins_with_the_servers_that_are_there_and_others_join() {
    let first = Served::start(&[]);
    let address = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let late = format!("http://{address}");
    let config = rltrain_executor::ExecutorConfig::default();
    let mut told = Vec::new();
    let away =
        rltrain_executor::Executor::connect(&config, &remote([first.url.as_str(), &late]), &mut |text| {
            told.push(text.to_owned());
        });
    let away = away.unwrap();
    assert!(told.len() == 1 && told[0].contains(&late) && told[0].contains("Connection refused"), "{told:?}");
    let second = Served::start_at(&address, &[]);
    // With the first one gone, there is the second.
    drop(first);
    let job = Job::new("n = 1", ["assert n == 1"], Limits::default());
    assert!(away.submit(job).wait().unwrap().all_passed());
    drop(second);
}
