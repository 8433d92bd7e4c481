//! The same job, the same verdict.

use super::{job, start};
use rltrain_executor::{Job, Verdict};

/// Jobs whose results would differ wherever a clock, an address or a random number came from outside.
fn jobs() -> Vec<Job> {
    let programs = [
        "import random\nx = [random.random() for _ in range(1000)]\nprint(x[0])",
        "import time\nprint(time.time(), time.perf_counter())\ntime.sleep(0.5)\nprint(time.time())",
        "print(hash('abc'), id(object()), {str(i) for i in range(20)})",
        "import os, uuid, secrets\nprint(os.urandom(8), uuid.uuid4(), secrets.token_hex())",
        "import numpy\nprint(numpy.random.rand(3), numpy.ones(2))",
        "def f():\n    return sum(i * i for i in range(100000))\nf()",
        "x = []\nwhile True: x.append('a' * 100000)",
        "1 / 0",
    ];
    programs
        .iter()
        .map(|program| job(program, &["assert 1 == 1", "import datetime\nprint(datetime.datetime.now())"]))
        .collect()
}

fn verdicts(workers: usize, order: impl Fn(usize) -> usize) -> Vec<Verdict> {
    let executor = start(workers, "determinism");
    let jobs = jobs();
    let count = jobs.len();
    let mut pending: Vec<_> =
        (0..count).map(|index| (order(index), executor.submit(jobs[order(index)].clone()))).collect();
    pending.sort_by_key(|(index, _)| *index);
    pending.into_iter().map(|(_, pending)| pending.wait().unwrap()).collect()
}

#[test]
fn verdict_output_and_fuel_do_not_depend_on_workers_order_or_load() {
    let alone = verdicts(1, |index| index);
    let crowded = verdicts(3, |index| jobs().len() - 1 - index);
    assert_eq!(alone, crowded);
    assert!(alone[..6].iter().all(|verdict| verdict.all_passed()), "{alone:?}");
    // Nor are they the same because there is nothing to see.
    assert!(alone[..5].iter().all(|verdict| verdict.stdout.len() > 40), "{alone:?}");
}
