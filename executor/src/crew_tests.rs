use proptest::prelude::*;

use super::*;

const DEPTH: usize = 3;

/// Millisecond of a test.
fn at(millisecond: u64) -> Instant {
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *BEGIN.get_or_init(Instant::now) + Duration::from_millis(millisecond)
}

/// Hands out jobs, numbered on from `first`, until nobody can take more. Returns who got them.
fn fill(crew: &mut Crew<u32>, first: u32, now: Instant) -> Vec<usize> {
    let mut given = Vec::new();
    while let Some(turn) = crew.turn(now) {
        crew.hand(turn.worker, first + given.len() as u32, true, now);
        given.push(turn.worker);
    }
    given
}

#[test]
fn everybody_gets_a_job_before_anybody_gets_one_ahead() {
    let mut crew = Crew::new(2, DEPTH, at(0));
    assert_eq!(crew.turn(at(0)), Some(Turn { worker: 0, is_ahead: false }));
    assert_eq!(fill(&mut crew, 0, at(0)), [0, 1, 0, 1, 0, 1]);
    assert!(crew.is_ahead());
    // Who has answered most has most room.
    assert_eq!((crew.answered(1, at(1)), crew.answered(1, at(1))), (Some(1), Some(3)));
    assert_eq!(crew.turn(at(1)), Some(Turn { worker: 1, is_ahead: true }));
    assert_eq!(crew.running(1).map(|(job, since)| (*job, since)), Some((5, at(1))));
}

#[test]
fn nothing_is_handed_out_behind_a_job_that_is_long_or_has_run_for_long() {
    let mut crew = Crew::new(1, DEPTH, at(0));
    crew.hand(0, 0, false, at(0));
    assert_eq!(crew.turn(at(0)), None);
    crew.answered(0, at(1));
    crew.hand(0, 1, true, at(1));
    assert!(crew.turn(at(5)).is_some());
    assert_eq!(crew.turn(at(6)), None);
}

#[test]
fn what_waits_behind_a_slow_job_is_taken_back_and_the_answers_of_the_others_are_still_told_apart() {
    let mut crew = Crew::new(2, DEPTH, at(0));
    fill(&mut crew, 0, at(0));
    crew.answered(1, at(4));
    assert_eq!(crew.take_back(at(4)), []);
    let taken = crew.take_back(at(5));
    let expected = [(1, 2), (2, 4)].map(|(number, job)| TakenBack { worker: 0, number, job });
    assert_eq!(taken, expected);
    // The other worker has answered in time.
    assert!(crew.is_ahead() && !crew.has_plenty());
    assert_eq!(crew.take_back(at(5)), []);
    assert_eq!(crew.answered(0, at(100)), Some(0));
    // One of them had begun after all: whatever is said about it is not looked at.
    assert!(crew.running(0).is_none() && crew.is_busy(0));
    assert_eq!((crew.answered(0, at(101)), crew.answered(0, at(101))), (None, None));
    assert!(!crew.is_busy(0));
}

#[test]
fn a_worker_that_is_lost_leaves_its_jobs_and_the_next_counts_its_own_from_the_first() {
    let mut crew = Crew::new(1, DEPTH, at(0));
    fill(&mut crew, 0, at(0));
    crew.answered(0, at(1));
    assert_eq!(crew.lost(0), (Some(1), vec![2]));
    // For the place of one that is gone there is one job, for which another is started.
    crew.hand(0, 1, true, at(2));
    assert_eq!(crew.turn(at(2)), None);
    crew.replaced(0, at(90));
    assert_eq!(crew.running(0).map(|(job, since)| (*job, since)), Some((1, at(90))));
    crew.hand(0, 7, true, at(90));
    let taken = crew.take_back(at(99));
    assert_eq!(taken, [TakenBack { worker: 0, number: 1, job: 7 }]);
}

#[derive(Clone, Debug)]
enum Event {
    HandOut,
    Answer(usize),
    Lose(usize),
    Wait,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => Just(Event::HandOut),
        3 => (0..3_usize).prop_map(Event::Answer),
        1 => (0..3_usize).prop_map(Event::Lose),
        1 => Just(Event::Wait),
    ];
    proptest::collection::vec(event, 0..60)
}

proptest! {
    #[test]
    fn whatever_happens_every_job_comes_back_exactly_once(events in events()) {
        let mut crew = Crew::new(3, DEPTH, at(0));
        let mut now = 0;
        let (mut waiting, mut next, mut done) = (Vec::new(), 0_u32, Vec::new());
        for event in events {
            match event {
                Event::HandOut => {
                    if let Some(turn) = crew.turn(at(now)) {
                        prop_assert_eq!(turn.is_ahead, crew.is_busy(turn.worker));
                        let job = waiting.pop().unwrap_or_else(|| { next += 1; next - 1 });
                        crew.hand(turn.worker, job, job % 5 != 0, at(now));
                    }
                }
                Event::Answer(worker) => done.extend(crew.answered(worker, at(now))),
                Event::Lose(worker) => {
                    let (running, others) = crew.lost(worker);
                    waiting.extend(running.into_iter().chain(others));
                    crew.replaced(worker, at(now));
                }
                Event::Wait => {
                    now += 5;
                    waiting.extend(crew.take_back(at(now)).into_iter().map(|taken| taken.job));
                    prop_assert!(!crew.is_ahead());
                }
            }
        }
        for worker in 0..3 {
            let (running, others) = crew.lost(worker);
            waiting.extend(running.into_iter().chain(others));
        }
        done.extend(waiting);
        done.sort_unstable();
        prop_assert_eq!(done, (0..next).collect::<Vec<_>>());
    }
}
