//! The same verdicts wherever programs run.

use rltrain_executor::{Fuel, InfraError, Job, Limits, Outcome, Runtime, Test};

use crate::jobs::{assert_same, judge, of_every_kind, of_tasks, verdicts};
use crate::server::{Served, connect, local, remote};

#[test]
fn programs_of_every_kind_get_the_verdicts_that_they_get_here() {
    let servers = [Served::start(&[]), Served::start(&[])];
    let away = connect(Runtime::Python315, remote(servers.iter().map(|server| server.url.as_str()))).unwrap();
    let here = local(Runtime::Python315);
    let mut jobs = of_every_kind();
    jobs.extend(of_tasks("python-basics/heldout.jsonl"));
    let wanted = verdicts(&here, &jobs);
    assert_same(&jobs, &verdicts(&away, &jobs), &wanted);
    // The jobs are of many kinds indeed.
    for outcome in
        [Outcome::Passed, Outcome::Failed, Outcome::Raised, Outcome::SyntaxError, Outcome::OutOfFuel]
    {
        let has = |verdict: &rltrain_executor::Verdict| verdict.endings().any(|ending| *ending == outcome);
        assert!(wanted.iter().any(has), "{outcome}");
    }
    assert!(wanted.iter().all(|verdict| verdict.fuel > 0));
    let statistics = away.statistics();
    assert_eq!((statistics.failures, statistics.workers_lost), (0, 0), "{statistics:?}");
}

#[test]
fn another_language_and_jobs_without_a_verdict_are_as_they_are_here() {
    let server = Served::start(&["--lang", "javascript"]);
    let away = connect(Runtime::JavaScript, remote([server.url.as_str()])).unwrap();
    let here = local(Runtime::JavaScript);
    let call = serde_json::json!({ "kind": "call", "function": "double", "arguments": [2], "expected": 4 });
    let limits = Limits { fuel: Fuel::try_from(500_000_000).unwrap(), ..Limits::default() };
    let jobs = [
        Job::new("function double(n) { return 2 * n }", [crate::jobs::test(call.clone())], limits),
        Job::new("function double(n) { while (true); }", [crate::jobs::test(call)], limits),
        Job::new("", Vec::<Test>::new(), limits),
    ];
    let said = |result: Result<_, InfraError>| result.map_err(|error| error.to_string());
    let found: Vec<_> = judge(&away, &jobs).into_iter().map(said).collect();
    let wanted: Vec<_> = judge(&here, &jobs).into_iter().map(said).collect();
    assert_eq!(found, wanted);
    assert!(found[0].as_ref().unwrap().all_passed() && found[2].is_err());
}
