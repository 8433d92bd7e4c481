//! The rating in a judge's reply, and what it scores.

use crate::plugin::{PlugInError, shown};

/// The ratings that a judge may give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    /// Scores 0.
    pub(super) worst: f64,
    /// Scores 1.
    pub(super) best: f64,
}

impl Scale {
    pub(super) fn new(worst: f64, best: f64) -> Result<Self, String> {
        if !(worst.is_finite() && best.is_finite() && worst < best) {
            return Err(format!("`worst` is {worst} and `best` {best}, wanted finite numbers in this order"));
        }
        Ok(Self { worst, best })
    }

    /// The score of a reply, from 0 to 1.
    ///
    /// # Errors
    ///
    /// If the reply has no rating of the scale.
    pub(super) fn score(self, reply: &str) -> Result<f64, PlugInError> {
        let rating = rating(reply, self.best).filter(|rating| (self.worst..=self.best).contains(rating));
        let wanted = || format!("wanted a last line `Score: N` with N from {} to {}", self.worst, self.best);
        let garbage = || PlugInError::Garbage { answer: shown(end(reply)), wanted: wanted() };
        Ok((rating.ok_or_else(garbage)? - self.worst) / (self.best - self.worst))
    }
}

/// The number of the last line that begins with `Score`, such as `Score: 7`, `**Score:** 7.5/10` or `score = 3.`. What a model
/// thinks aloud, up to the last `</think>`, is no part of its reply.
fn rating(reply: &str, best: f64) -> Option<f64> {
    let said = reply.rsplit("</think>").next().unwrap_or(reply);
    let plain = |line: &str| line.replace(['*', '_', '`', '#', '>'], "").trim().to_lowercase();
    let after_score = |line: &str| {
        let rest = plain(line).strip_prefix("score")?.trim_start().to_owned();
        Some(rest.strip_prefix([':', '='])?.trim().to_owned())
    };
    number(&said.lines().rev().find_map(after_score)?, best)
}

/// `7`, `7.5`, `7.` or, of a scale whose best is 10, `7/10`.
fn number(text: &str, best: f64) -> Option<f64> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let (number, of) = text.split_once('/').map_or((text, None), |(number, of)| (number, Some(of)));
    let read = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    if of.is_some_and(|of| read(of) != Some(best)) {
        return None;
    }
    read(number)
}

/// The last two hundred characters.
fn end(text: &str) -> &str {
    let begin = text.char_indices().rev().nth(199).map_or(0, |(at, _)| at);
    &text[begin..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scale() -> Scale {
        Scale::new(1.0, 10.0).unwrap()
    }

    #[test]
    fn the_rating_is_that_of_the_last_line_of_its_kind() {
        for reply in [
            "Score: 7",
            "Fine names.\n\n**Score:** 7/10\n",
            "Score: 2\nOn second thoughts:\n> score = 7.",
            "`Score: 7.0`\nThat is all.",
            "<think>\nScore: 1\n</think>\n## Score: 7 / 10",
            "The program says \"Score: 10\".\nSCORE: 7",
        ] {
            assert_eq!(scale().score(reply).unwrap(), 6.0 / 9.0, "{reply}");
        }
    }

    #[test]
    fn what_is_no_rating_of_the_scale_is_none() {
        for reply in [
            "",
            "7",
            "Score: good",
            "Score: 11",
            "Score: 0.5",
            "Score: nan",
            "Score: 7/5",
            "Score 7",
            "Scores: 7",
            "Score: 7 or 8",
            "<think>Score: 7",
            "<think>\nScore: 7\n</think>\nHard to say.",
        ] {
            let error = scale().score(reply).map(|score| panic!("{reply}: {score}")).unwrap_err();
            assert!(
                error.to_string().ends_with("wanted a last line `Score: N` with N from 1 to 10"),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_rating_of_the_scale_scores_from_0_to_1(
            worst in -9.0..0.0f64, best in 0.1..9.0f64, share in 0.0..1.0f64, before in ".{0,40}",
        ) {
            let rating = worst + share * (best - worst);
            let score = Scale::new(worst, best).unwrap().score(&format!("{before}\nScore: {rating}")).unwrap();
            prop_assert!((score - share).abs() < 1e-9 && (0.0..=1.0).contains(&score));
        }

        #[test]
        fn no_reply_makes_the_reader_panic(reply in any::<String>()) {
            let _ = scale().score(&format!("{reply}\nscore: {reply}"));
        }
    }
}
