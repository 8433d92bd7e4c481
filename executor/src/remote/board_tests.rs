use super::*;
use proptest::prelude::*;

const HEDGE: Duration = Duration::from_secs(2);

/// Two servers with two workers and four idle lanes each.
fn two() -> (Board<u32>, Instant) {
    let mut board = Board::new(2);
    for server in 0..2 {
        board.arrive(server, 2);
        for _ in 0..4 {
            board.rest(server, true);
        }
    }
    (board, Instant::now())
}

#[test]
fn the_server_with_less_to_do_gets_the_next_job() {
    let (mut board, now) = two();
    assert!(board.is_turn(0) && board.is_turn(1));
    board.begin(0, 1, now);
    assert!(!board.is_turn(0) && board.is_turn(1));
    board.begin(1, 2, now);
    assert!(board.is_turn(0) && board.is_turn(1));
    board.begin(1, 3, now);
    assert!(board.is_turn(0) && !board.is_turn(1));
    // One without a lane to spare does not hold the others back, nor does one that is gone.
    for _ in 0..4 {
        board.rest(0, false);
    }
    assert!(board.is_turn(1));
    board.lose(0);
    assert!(board.is_turn(1) && !board.is_turn(0));
}

#[test]
fn what_was_lost_with_a_server_goes_to_another_in_its_order() {
    let (mut board, now) = two();
    let numbers = [board.begin(0, 1, now), board.begin(0, 2, now), board.begin(1, 3, now)];
    assert_eq!(board.lose(0), (2, vec![]));
    assert_eq!(board.begin_again(0), None);
    assert_eq!(board.begin_again(1), Some(numbers[0]));
    assert_eq!(board.begin_again(1), Some(numbers[1]));
    assert_eq!(board.begin_again(1), None);
    assert_eq!(board.answer(1, numbers[1]), Some((2, false)));
    assert_eq!(board.answer(1, numbers[1]), None);
}

/// One that comes back and works is not the one that comes back and fails.
#[test]
fn an_answer_counts_until_the_server_is_lost() {
    let (mut board, now) = two();
    let number = board.begin(0, 1, now);
    assert!(!board.has_answered(0));
    board.answer(0, number);
    assert!(board.has_answered(0) && !board.has_answered(1));
    board.lose(0);
    board.arrive(0, 2);
    assert!(!board.has_answered(0));
}

#[test]
fn a_job_that_servers_do_not_survive_is_given_up() {
    let (mut board, now) = two();
    let number = board.begin(0, 7, now);
    for _ in 1..MOST_LOSSES {
        assert_eq!(board.lose(0), (1, vec![]));
        board.arrive(0, 2);
        assert_eq!(board.begin_again(0), Some(number));
    }
    assert_eq!(board.lose(0), (0, vec![7]));
}

#[test]
fn a_straggler_goes_to_one_more_server_and_the_first_answer_counts() {
    let (mut board, now) = two();
    let number = board.begin(0, 1, now);
    assert_eq!(board.next_hedge(1, HEDGE), Some(now + HEDGE));
    assert_eq!(board.next_hedge(0, HEDGE), None);
    assert_eq!(board.begin_beside(1, now + HEDGE / 2, HEDGE), None);
    assert_eq!(board.begin_beside(0, now + HEDGE, HEDGE), None);
    assert_eq!(board.begin_beside(1, now + HEDGE, HEDGE), Some(number));
    assert_eq!(board.begin_beside(1, now + HEDGE, HEDGE), None);
    // Losing one of the two loses nothing.
    assert_eq!(board.lose(0), (0, vec![]));
    assert_eq!(board.answer(1, number), Some((1, false)));
}

#[test]
fn a_sandbox_that_fails_is_followed_by_one_other() {
    let (mut board, now) = two();
    let number = board.begin(0, 1, now);
    assert_eq!(board.fault(0, number), Next::Goes);
    assert_eq!(board.begin_again(0), None);
    assert_eq!(board.begin_again(1), Some(number));
    assert_eq!(board.fault(1, number), Next::Fails(1));
    // Where there is no other, it fails at once.
    board.dismiss(1);
    let number = board.begin(0, 2, now);
    assert_eq!(board.fault(0, number), Next::Fails(2));
}

#[test]
fn what_a_full_server_gives_back_waits_for_any() {
    let (mut board, now) = two();
    let number = board.begin(0, 1, now);
    board.give_back(0, number);
    assert_eq!(board.begin_again(0), Some(number));
    board.give_back(0, number);
    assert_eq!(board.give_up(), [1]);
    assert!(board.job(number).is_none());
}

proptest! {
    /// Whatever happens, every job is answered or given up exactly once.
    #[test]
    fn no_job_is_lost_or_answered_twice(events in proptest::collection::vec((0..7_u8, 0..3_usize), 1..200)) {
        let now = Instant::now();
        let mut board = Board::new(3);
        let mut held: Vec<Vec<u64>> = vec![Vec::new(); 3];
        let (mut sent, mut done) = (0_u32, Vec::new());
        for (event, server) in events {
            match event {
                0 if !board.is_here(server) => board.arrive(server, 1),
                1 if board.is_here(server) => {
                    held[server].push(board.begin(server, sent, now));
                    sent += 1;
                }
                2 => held[server].extend(board.begin_again(server)),
                3 => held[server].extend(board.begin_beside(server, now + HEDGE, HEDGE)),
                4 => if let Some(number) = held[server].pop() {
                    done.extend(board.answer(server, number).map(|(job, _)| job));
                },
                5 => if let Some(number) = held[server].pop()
                    && let Next::Fails(job) = board.fault(server, number)
                {
                    done.push(job);
                },
                6 => {
                    held[server].clear();
                    done.extend(board.lose(server).1);
                }
                _ => {}
            }
        }
        for server in 0..3 {
            done.extend(board.lose(server).1);
        }
        done.extend(board.give_up());
        done.sort_unstable();
        prop_assert_eq!(done, (0..sent).collect::<Vec<_>>());
        prop_assert!(board.flights.is_empty());
    }
}
