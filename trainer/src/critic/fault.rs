//! What a fault-aware ranker is taught: not only that a program is wrong, but how, where, and in which words.
//!
//! Classes and the line after CodeRanker (Inala et al. 2022, arXiv:2206.03865), words after RankEF (Sun et al. 2024,
//! arXiv:2408.13976).

use rltrain_executor::{Cause, Ending, Outcome, OutcomeClass};
use tch::{Kind, Tensor};

/// Names of exceptions that have a class of their own: those that models' programs raise most. The others share one.
const EXCEPTIONS: [&str; 8] = [
    "NameError",
    "TypeError",
    "ValueError",
    "IndexError",
    "KeyError",
    "AttributeError",
    "ZeroDivisionError",
    "RecursionError",
];

/// Number of classes.
pub const FAULTS: i64 = 5 + EXCEPTIONS.len() as i64;

/// What is wrong with a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing: it passes all tests.
    None,
    /// It runs, and gives something else than it should.
    WrongAnswer,
    /// It cannot be parsed.
    Syntax,
    /// It used up time, fuel, memory or output, or the interpreter ended otherwise than by an exception.
    Limit,
    /// An exception without a class of its own.
    OtherException,
    /// One of the exceptions with a class of its own, by its place among them.
    Exception(usize),
}

impl Fault {
    /// The fault of a program whose first ending that is not a pass is `ending`.
    pub fn of(ending: Option<&Ending>) -> Fault {
        let Some(ending) = ending.filter(|ending| !ending.passed()) else { return Fault::None };
        match (ending.outcome, &ending.cause) {
            (Outcome::Failed, _) => Fault::WrongAnswer,
            (Outcome::SyntaxError, _) => Fault::Syntax,
            (Outcome::StackOverflow, _) => Fault::of_exception("RecursionError"),
            (Outcome::Raised | Outcome::Forbidden, Some(Cause::Exception { kind, .. })) => {
                Fault::of_exception(kind)
            }
            (Outcome::Raised | Outcome::Forbidden, _) => Fault::OtherException,
            _ => Fault::Limit,
        }
    }

    fn of_exception(kind: &str) -> Fault {
        let place = EXCEPTIONS.iter().position(|known| *known == kind);
        place.map_or(Fault::OtherException, Fault::Exception)
    }

    /// Place of its logit, from 0, below [`FAULTS`].
    pub fn place(self) -> i64 {
        match self {
            Fault::None => 0,
            Fault::WrongAnswer => 1,
            Fault::Syntax => 2,
            Fault::Limit => 3,
            Fault::OtherException => 4,
            Fault::Exception(place) => 5 + place as i64,
        }
    }

    /// Whether the program was stopped by an error, which has a line, and not by a wrong answer.
    pub fn is_execution_error(self) -> bool {
        self > Fault::WrongAnswer
    }
}

/// The line of the program, from 1, in which it went wrong, if its ending knows one.
pub fn line_of(ending: Option<&Ending>) -> Option<u32> {
    match ending?.cause.as_ref()? {
        Cause::Exception { line, .. } => *line,
        Cause::WrongAnswer { .. } | Cause::Note(_) => None,
    }
}

/// The words that a ranker learns to say of a program. Of expected values of hidden tests nothing is in them.
pub fn feedback(class: OutcomeClass, ending: Option<&Ending>) -> String {
    let line = |line: &Option<u32>| line.map_or(String::new(), |line| format!(" at line {line}"));
    match (class, ending.and_then(|ending| ending.cause.as_ref())) {
        (OutcomeClass::PassedAll, _) => "The program passes all tests.".to_owned(),
        (_, Some(Cause::Exception { kind, message, line: at })) if message.is_empty() => {
            format!("The program raises {kind}{}.", line(at))
        }
        (_, Some(Cause::Exception { kind, message, line: at })) => {
            format!("The program raises {kind}{}: {message}", line(at))
        }
        (OutcomeClass::FailedTest, Some(Cause::WrongAnswer { actual, .. })) => {
            format!("The program gives a wrong answer: {actual}")
        }
        (OutcomeClass::FailedTest, _) => "The program gives a wrong answer.".to_owned(),
        (_, _) => match ending.map(|ending| ending.outcome) {
            Some(outcome) => format!("The program is stopped: {outcome}."),
            None => "The program is stopped.".to_owned(),
        },
    }
}

/// How much each class counts, so that all of them together count alike: `1 / (classes present · share of the class)`, 0 for
/// classes that are absent. The mean over the programs is 1.
pub fn class_weights(places: &[i64], classes: i64) -> Vec<f64> {
    let mut counts = vec![0usize; classes as usize];
    for place in places {
        counts[*place as usize] += 1;
    }
    let present = counts.iter().filter(|count| **count > 0).count();
    let weight = |count: &usize| match count {
        0 => 0.0,
        count => places.len() as f64 / (present * count) as f64,
    };
    counts.iter().map(weight).collect()
}

/// Cross entropy `[S]` of each program's class logits `[S, C]` with its class (i64, `[S]`), times the class's weight (f32,
/// `[C]`), in nats.
pub fn class_loss(logits_sc: &Tensor, class_s: &Tensor, weight_c: &Tensor) -> Tensor {
    let log_probability = logits_sc.log_softmax(-1, Kind::Float);
    let chosen_s = log_probability.gather(-1, &class_s.unsqueeze(-1), false).squeeze_dim(-1);
    -chosen_s * weight_c.index_select(0, class_s)
}

/// Cross entropy of one program's line scores `[L]` with the line in which it went wrong, from 0: a scalar, in nats.
pub fn line_loss(score_l: &Tensor, line: usize) -> Tensor {
    -score_l.log_softmax(-1, Kind::Float).select(0, line as i64)
}

/// For each line of a program of which tokens can be read, the place of its last token: the score there has read the whole
/// line. `breaks` says how many lines end in each token; a token that ends several is the last one of the first of them.
pub fn line_ends(breaks: &[usize]) -> Vec<usize> {
    let mut ends = Vec::new();
    for (place, breaks) in breaks.iter().enumerate() {
        ends.extend(std::iter::repeat_n(place, *breaks));
    }
    if breaks.last().is_some_and(|last| *last == 0) {
        ends.push(breaks.len() - 1);
    }
    ends
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exception(kind: &str, line: Option<u32>) -> Ending {
        Ending::because(Outcome::Raised, Cause::Exception { kind: kind.into(), message: "no".into(), line })
    }

    #[test]
    fn every_ending_has_a_fault() {
        let wrong = Ending::because(
            Outcome::Failed,
            Cause::WrongAnswer { actual: "3".into(), expected: "the secret".into() },
        );
        let endings = [
            (Ending::PASSED, Fault::None, "The program passes all tests."),
            (wrong.clone(), Fault::WrongAnswer, "The program gives a wrong answer: 3"),
            (
                exception("KeyError", Some(2)),
                Fault::Exception(4),
                "The program raises KeyError at line 2: no",
            ),
            (exception("MyError", None), Fault::OtherException, "The program raises MyError: no"),
            (Outcome::OutOfFuel.into(), Fault::Limit, "The program is stopped: out of fuel."),
            (Outcome::StackOverflow.into(), Fault::Exception(7), "The program is stopped: stack overflow."),
            (Outcome::SyntaxError.into(), Fault::Syntax, "The program is stopped: syntax error."),
        ];
        for (ending, fault, words) in endings {
            let class = match fault {
                Fault::None => OutcomeClass::PassedAll,
                Fault::WrongAnswer => OutcomeClass::FailedTest,
                _ => OutcomeClass::RuntimeError,
            };
            assert_eq!(Fault::of(Some(&ending)), fault);
            assert_eq!(feedback(class, Some(&ending)), words);
            assert!((0..FAULTS).contains(&fault.place()));
        }
        assert!(!feedback(OutcomeClass::FailedTest, Some(&wrong)).contains("secret"));
        assert_eq!(line_of(Some(&exception("KeyError", Some(2)))), Some(2));
        assert!(Fault::Syntax.is_execution_error() && !Fault::WrongAnswer.is_execution_error());
    }

    #[test]
    fn every_line_ends_somewhere() {
        assert_eq!(line_ends(&[0, 1, 0, 0]), [1, 3]);
        assert_eq!(line_ends(&[0, 1, 0, 2]), [1, 3, 3]);
        assert_eq!(line_ends(&[0, 0]), [1]);
        assert_eq!(line_ends(&[]), [0usize; 0]);
    }

    #[test]
    fn losses_are_cross_entropies() {
        let class_s = Tensor::from_slice(&[0i64, 2]);
        let loss_s = class_loss(
            &Tensor::zeros([2, 4], tch::kind::FLOAT_CPU),
            &class_s,
            &Tensor::from_slice(&[2.0f32, 1.0, 0.5, 1.0]),
        );
        let wanted = [2.0 * 4f64.ln(), 0.5 * 4f64.ln()];
        for (place, wanted) in wanted.into_iter().enumerate() {
            assert!((loss_s.double_value(&[place as i64]) - wanted).abs() < 1e-6);
        }
        // log(1 + 2 exp(-1)), of scores 1, 0, 0.
        let loss = line_loss(&Tensor::from_slice(&[1.0f32, 0.0, 0.0]), 0).double_value(&[]);
        assert!((loss - 0.551_444_7).abs() < 1e-6, "{loss}");
    }

    proptest! {
        #[test]
        fn classes_count_alike_together(places in prop::collection::vec(0..5i64, 1..30)) {
            let weights = class_weights(&places, 5);
            let total = |class: i64| places.iter().filter(|place| **place == class).map(|place| weights[*place as usize]).sum::<f64>();
            let totals: Vec<f64> = (0..5).map(total).filter(|total| *total > 0.0).collect();
            prop_assert!(totals.iter().all(|total| (total - totals[0]).abs() < 1e-9));
            prop_assert!((totals.iter().sum::<f64>() - places.len() as f64).abs() < 1e-9);
        }
    }
}
