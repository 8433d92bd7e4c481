use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn task(number: usize) -> TaskKey {
    TaskKey::named(&number.to_string())
}

/// A queue that has seen one job of each task.
fn knowing(costs: &[u64]) -> Queue<usize> {
    let mut queue = Queue::default();
    for (number, cost) in costs.iter().enumerate() {
        queue.push(task(number), number);
        let started = queue.pop().unwrap();
        queue.finished(started.ticket, *cost);
    }
    queue
}

/// Runs all that waits on `workers` machines on which a job of task `n` takes `costs[n]`. Jobs are the numbers of their
/// tasks. Returns when each job ended, with its task.
fn run(queue: &mut Queue<usize>, costs: &[u64], workers: usize) -> Vec<(u64, usize)> {
    let mut free = vec![0_u64; workers];
    let mut running: BTreeSet<(u64, u64, usize)> = BTreeSet::new();
    let mut tickets = BTreeMap::new();
    let mut ends = Vec::new();
    for number in 0_u64.. {
        free.sort_unstable();
        let now = free[0];
        while let Some(first) = running.first().copied().filter(|first| first.0 <= now) {
            running.remove(&first);
            queue.finished(tickets.remove(&first.1).unwrap(), costs[first.2]);
        }
        let Some(started) = queue.pop() else { break };
        let end = now + costs[started.job];
        running.insert((end, number, started.job));
        tickets.insert(number, started.ticket);
        free[0] = end;
        ends.push((end, started.job));
    }
    ends
}

fn makespan(ends: &[(u64, usize)]) -> u64 {
    ends.iter().map(|(end, _)| *end).max().unwrap_or(0)
}

fn last_of(ends: &[(u64, usize)], task: usize) -> u64 {
    ends.iter().filter(|(_, of)| *of == task).map(|(end, _)| *end).max().unwrap()
}

#[test]
fn unknown_tasks_take_turns_in_the_order_in_which_they_came() {
    let mut queue = Queue::default();
    for number in [0, 0, 0, 1, 2, 2] {
        queue.push(task(number), number);
    }
    let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|started| started.job).collect();
    assert_eq!(order, [0, 1, 2, 0, 2, 0]);
}

#[test]
fn many_slow_jobs_of_one_task_do_not_hold_up_another_even_on_one_worker() {
    let costs = [1_000, 1];
    let mut queue = knowing(&costs);
    for number in [vec![0; 100], vec![1; 50]].concat() {
        queue.push(task(number), number);
    }
    let ends = run(&mut queue, &costs, 1);
    // One slow job is first, being long; then its length goes to the other task.
    assert_eq!(last_of(&ends, 1), 1_050);
    assert_eq!(makespan(&ends), 100_050);
}

#[test]
fn a_slow_task_that_is_not_yet_known_to_be_slow_holds_up_another_no_longer_than_its_first_job() {
    let costs = [1_000_000_000, 5_000_000];
    let mut queue = Queue::default();
    for number in [vec![0; 100], vec![1; 50]].concat() {
        queue.push(task(number), number);
    }
    let ends = run(&mut queue, &costs, 1);
    assert!(last_of(&ends, 1) <= 3 * costs[0], "{}", last_of(&ends, 1));
}

#[test]
fn a_long_job_handed_in_last_does_not_prolong_the_step() {
    let costs = [1, 1, 1, 1, 100];
    let mut queue = knowing(&costs);
    for number in (0..100).map(|index| index % 4).chain([4]) {
        queue.push(task(number), number);
    }
    // The best there is: the long one on one worker, all others on the other.
    assert_eq!(makespan(&run(&mut queue, &costs, 2)), 100);
}

#[test]
fn a_stream_of_new_tasks_does_not_starve_an_old_one() {
    let mut queue = knowing(&[1_000, 10]);
    for number in [vec![0; 3], vec![1; 20]].concat() {
        queue.push(task(number), number);
    }
    let mut old = Vec::new();
    for turn in 0..400 {
        queue.push(task(100 + turn), 100 + turn);
        let started = queue.pop().unwrap();
        if started.job < 2 {
            old.push(started.job);
        }
    }
    assert_eq!(old.iter().filter(|job| **job == 0).count(), 3, "{old:?}");
    assert_eq!(old.iter().filter(|job| **job == 1).count(), 20, "{old:?}");
}

#[test]
fn what_is_remembered_of_tasks_is_bounded() {
    let mut costs = Costs::default();
    for number in 0..MOST_REMEMBERED + 10 {
        costs.learn(task(number), 7);
    }
    assert_eq!((costs.of_task.len(), costs.ages.len()), (MOST_REMEMBERED, MOST_REMEMBERED));
}

#[test]
fn the_mean_follows_a_task_that_changes_and_a_new_task_is_expected_to_be_like_the_others() {
    let mut costs = Costs::default();
    assert_eq!(costs.expected(task(0)), FIRST_GUESS);
    costs.learn(task(0), 100);
    assert_eq!((costs.expected(task(0)), costs.expected(task(1))), (100, 100));
    (0..200).for_each(|_| costs.learn(task(0), 1_000));
    assert!(costs.expected(task(0)) > 950);
    costs.learn(task(2), u64::MAX);
    assert_eq!(costs.expected(task(2)), u64::MAX);
}

#[derive(Clone, Debug)]
enum Act {
    Push(usize),
    Pop,
    Remove(usize),
    Finish(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..6_usize).prop_map(Act::Push),
        3 => Just(Act::Pop),
        1 => any::<usize>().prop_map(Act::Remove),
        2 => (0..u64::MAX).prop_map(Act::Finish),
    ];
    proptest::collection::vec(act, 0..200)
}

proptest! {
    /// Whatever happens in whatever order, a job comes out exactly once, in its task's order, and the indices agree.
    #[test]
    fn every_job_leaves_exactly_once(acts in acts()) {
        let mut queue = Queue::default();
        let mut inside: Vec<(usize, usize, Place)> = Vec::new();
        let mut tickets = Vec::new();
        for (number, act) in acts.into_iter().enumerate() {
            match act {
                Act::Push(of) => inside.push((number, of, queue.push(task(of), number))),
                Act::Pop => match queue.pop() {
                    None => prop_assert!(inside.is_empty()),
                    Some(Started { job, ticket }) => {
                        let at = inside.iter().position(|(number, ..)| *number == job).unwrap();
                        let (_, of, place) = inside.remove(at);
                        prop_assert!(inside.iter().all(|(later, other, _)| *other != of || *later > job));
                        prop_assert_eq!(queue.remove(place), None);
                        tickets.push(ticket);
                    }
                },
                Act::Remove(which) => if !inside.is_empty() {
                    let (job, _, place) = inside.remove(which % inside.len());
                    prop_assert_eq!(queue.remove(place), Some(job));
                    prop_assert_eq!(queue.remove(place), None);
                },
                Act::Finish(fuel) => if let Some(ticket) = tickets.pop() {
                    queue.finished(ticket, fuel);
                },
            }
            prop_assert_eq!(queue.len(), inside.len());
            prop_assert_eq!((queue.by_cost.len(), queue.by_service.len()), (queue.tasks.len(), queue.tasks.len()));
        }
        prop_assert_eq!(queue.drain().len(), inside.len());
    }

    /// The guarantee in the head of the file: of all work handed out while it had jobs waiting, a task got half of an even
    /// share, give or take two of the longest jobs.
    #[test]
    fn no_task_gets_less_than_half_of_an_even_share(costs in proptest::collection::vec(1..1_000_u64, 1..8)) {
        let mut queue = knowing(&costs);
        for (number, _) in costs.iter().enumerate() {
            (0..2_000).for_each(|_| _ = queue.push(task(number), number));
        }
        let (count, longest) = (costs.len() as u64, costs.iter().copied().max().unwrap());
        let (mut given, mut total) = (vec![0; costs.len()], 0);
        for _ in 0..2_000 {
            let started = queue.pop().unwrap();
            given[started.job] += costs[started.job];
            total += costs[started.job];
            for given in &given {
                prop_assert!(given + 2 * longest >= total / (2 * count), "{given:?} of {total}");
            }
        }
    }

    /// No worker idles while jobs wait, so the step is at most one longest job longer than work divided by workers.
    #[test]
    fn the_makespan_of_a_step_is_near_the_best(
        costs in proptest::collection::vec(prop_oneof![5 => 1..20_u64, 1 => 100..400_u64], 1..20),
        jobs in 1..9_usize,
        workers in 1..5_usize,
    ) {
        let mut queue = knowing(&costs);
        for number in (0..costs.len()).flat_map(|number| vec![number; jobs]) {
            queue.push(task(number), number);
        }
        let found = makespan(&run(&mut queue, &costs, workers));
        let total = costs.iter().sum::<u64>() * jobs as u64;
        let longest = costs.iter().copied().max().unwrap();
        let bound = longest.max(total.div_ceil(workers as u64));
        prop_assert!(found <= total / workers as u64 + longest);
        prop_assert!(found >= bound);
    }
}

#[test]
fn a_job_that_is_put_back_stands_where_it_stood_and_nobody_has_paid_for_it() {
    let mut untouched = knowing(&[900, 100, 100]);
    let mut queue = knowing(&[900, 100, 100]);
    for (number, task_number) in [0, 1, 1, 2, 0, 2].into_iter().enumerate() {
        for queue in [&mut queue, &mut untouched] {
            queue.push(task(task_number), number);
        }
    }
    let out: Vec<_> = (0..4).map(|_| queue.pop().unwrap()).collect();
    for started in out.into_iter().rev() {
        queue.put_back(started);
    }
    let order = |queue: &mut Queue<usize>| -> Vec<usize> {
        std::iter::from_fn(|| queue.pop()).map(|started| started.job).collect()
    };
    assert_eq!(queue.len(), 6);
    assert_eq!(order(&mut queue), order(&mut untouched));
}

#[test]
fn a_job_that_is_put_back_can_be_taken_out_and_one_of_a_task_known_to_be_long_is_not_short() {
    let mut queue = knowing(&[FIRST_GUESS + 1]);
    queue.push(task(0), 0);
    assert!(queue.pop_short(true).is_none());
    let started = queue.pop().unwrap();
    assert!(!started.ticket.is_short);
    let place = queue.put_back(started);
    assert_eq!((queue.len(), queue.remove(place), queue.len()), (1, Some(0), 0));
    queue.push(task(1), 1);
    // Nothing is known of this task, whatever others took.
    assert!(queue.pop_short(false).is_none());
    assert!(queue.pop_short(true).unwrap().ticket.is_short);
}
