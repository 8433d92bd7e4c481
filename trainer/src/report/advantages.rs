//! What each token of an attempt was worth to the update, as the records of steps have it.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use rltrain_checkpoints::Store;
use toml::{Table, Value};

use super::ReportError;
use crate::algorithm::AlgorithmConfig;
use crate::journal::Line;
use crate::policy::Tokenizer;
use crate::record::{Columns, Record, RecordError, read_record};
use crate::rollout::{Completion, Transcript};
use crate::session::CHECKPOINTS;

/// Shades of a colour: advantages are shown to this fraction of the one that is farthest from zero.
pub(super) const SHADES: f64 = 50.0;

/// Advantages of a run's attempts.
pub(super) struct Advantages {
    run: PathBuf,
    /// Says which groups are learnt from.
    algorithm: AlgorithmConfig,
    /// Folders that may have the tokenizer, the best one first.
    models: Vec<PathBuf>,
    /// Only read if tokens of one attempt have different advantages: otherwise it matters to nobody where they end.
    tokenizer: OnceCell<Option<Tokenizer>>,
}

/// What one attempt was worth.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Worth {
    /// Whether it has no place in the loss: it was cut off, or rejected.
    pub(super) excluded: bool,
    /// Its turns in order.
    pub(super) turns: Vec<Turn>,
}

/// What the tokens of one turn were worth.
#[derive(Debug, PartialEq)]
pub(super) struct Turn {
    /// What was written.
    pub(super) text: String,
    /// The advantage that is farthest from zero; where there are no pieces, that of every token.
    pub(super) farthest: f64,
    /// Pieces of the text: UTF-16 units, as browsers count, and advantages in fractions of `farthest`. One of no unit at the end stands
    /// for a token behind the text, such as the end of a message.
    pub(super) pieces: Vec<(usize, i8)>,
}

impl Advantages {
    /// Of the run in the folder `run` whose resolved recipe is `recipe`.
    pub(super) fn of(run: &Path, recipe: &str) -> Advantages {
        let recipe: Table = recipe.parse().unwrap_or_default();
        let algorithm = recipe.get("algorithm").cloned().map(Value::try_into);
        let checkpoints = Store::open_read_only(&run.join(CHECKPOINTS));
        let newest = checkpoints.steps().unwrap_or_default().last().map(|step| checkpoints.path_of(*step));
        let start = recipe.get("model").and_then(|model| model.get("path")).and_then(Value::as_str);
        let models = newest.map(|folder| folder.join("model")).into_iter();
        Advantages {
            run: run.to_owned(),
            algorithm: algorithm.and_then(Result::ok).unwrap_or_default(),
            models: models.chain(start.map(|path| run.join(path))).collect(),
            tokenizer: OnceCell::new(),
        }
    }

    /// What each of the attempts `lines` of step `step` was worth; `None` for those of which that is not known.
    ///
    /// # Errors
    ///
    /// If the record of the step is damaged, or of another version.
    pub(super) fn of_step(&self, step: u64, lines: &[Line]) -> Result<Vec<Option<Worth>>, ReportError> {
        let unknown = || lines.iter().map(|_| None).collect();
        let record = match read_record(&self.run, step) {
            Ok(record) => record,
            Err(RecordError::Missing { .. }) => return Ok(unknown()),
            Err(error) => return Err(error.into()),
        };
        let Some(rows) = record.learnt.columns.as_ref().and_then(|columns| self.rows(&record, columns))
        else {
            return Ok(unknown());
        };
        let mut rows = rows.into_iter();
        let of_line = |line: &Line| {
            // Greedy attempts are in no batch.
            let (completion, row) = if line.greedy { None } else { rows.next() }?;
            if completion.text == line.completion { self.worth(completion, row?) } else { None }
        };
        Ok(lines.iter().map(of_line).collect())
    }

    /// Every attempt of a step with its advantages, if it has any; `None` if the two do not belong together.
    fn rows<'a>(&self, record: &'a Record, columns: &'a Columns) -> Option<Vec<Attempt<'a>>> {
        let attempts = &record.attempts;
        let mut known = columns.lengths.iter().zip(&columns.excluded);
        let (mut rows, mut rest) = (Vec::new(), &columns.advantages[..]);
        for (group, rewards) in attempts.groups.iter().zip(&attempts.scores.rewards) {
            let is_learnt = self.algorithm.refills == 0 || self.algorithm.teaches(rewards);
            for (completion, reward) in group.completions.iter().zip(rewards) {
                if !is_learnt || reward.is_none() {
                    rows.push((completion, None));
                    continue;
                }
                let (length, excluded) = known.next()?;
                let (own, behind) = rest.split_at_checked(*length)?;
                if *length != completion.tokens.len() {
                    return None;
                }
                rows.push((completion, Some((*excluded, own))));
                rest = behind;
            }
        }
        (known.next().is_none() && rest.is_empty()).then_some(rows)
    }

    fn worth(&self, completion: &Completion, (excluded, bits): (bool, &[u32])) -> Option<Worth> {
        let advantages: Vec<f64> = bits.iter().map(|bits| f64::from(f32::from_bits(*bits))).collect();
        let ends = completion.interjections.iter().map(|said| said.after).chain([completion.tokens.len()]);
        let texts = completion.earlier.iter().map(|earlier| &earlier.text).chain([&completion.text]);
        let mut first = 0;
        let turns = ends.zip(texts).map(|(end, text)| {
            let range = first..end;
            first = end;
            self.turn(completion.tokens.get(range.clone())?, advantages.get(range)?, text)
        });
        Some(Worth { excluded, turns: turns.collect::<Option<Vec<Turn>>>()? })
    }

    fn turn(&self, tokens: &[i64], advantages: &[f64], text: &str) -> Option<Turn> {
        let farthest = advantages.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()))?;
        if !farthest.is_finite() {
            return None;
        }
        let (text, is_one) = (text.to_owned(), advantages.iter().all(|advantage| *advantage == farthest));
        if is_one {
            return Some(Turn { text, farthest, pieces: Vec::new() });
        }
        let units = units(self.tokenizer()?, tokens, &text)?;
        let pieces = pieces(&units, advantages, farthest.abs());
        Some(Turn { text, farthest: farthest.abs(), pieces })
    }

    fn tokenizer(&self) -> Option<&Tokenizer> {
        let load = || self.models.iter().find_map(|folder| Tokenizer::load(folder).ok());
        self.tokenizer.get_or_init(load).as_ref()
    }
}

/// An attempt, and whether it has no place in the loss, with the bits of its advantages.
type Attempt<'a> = (&'a Completion, Option<(bool, &'a [u32])>);

/// How many UTF-16 units of `text` each of `tokens` adds; `None` if they do not make this text. A stop text that was cut off is not
/// in `text`: its tokens add nothing.
fn units(tokenizer: &Tokenizer, tokens: &[i64], text: &str) -> Option<Vec<usize>> {
    let mut transcript = Transcript::default();
    let mut ends = Vec::with_capacity(tokens.len());
    for count in 1..=tokens.len() {
        transcript.grow(&tokens[..count], tokenizer).ok()?;
        ends.push(transcript.text().len().min(text.len()));
    }
    // What is not a whole character at the end only shows in the text of all tokens.
    if let Some(last) = ends.last_mut()
        && text.starts_with(transcript.text())
    {
        *last = text.len();
    } else if !transcript.text().starts_with(text) {
        return None;
    }
    let mut start = 0;
    let piece = |end: usize| {
        let piece = text.get(start..end)?.encode_utf16().count();
        start = end;
        Some(piece)
    };
    ends.into_iter().map(piece).collect()
}

/// Tokens of one shade that follow each other, as one piece.
fn pieces(units: &[usize], advantages: &[f64], farthest: f64) -> Vec<(usize, i8)> {
    let mut pieces: Vec<(usize, i8)> = Vec::new();
    for (place, (units, advantage)) in units.iter().zip(advantages).enumerate() {
        let shade = (advantage / farthest * SHADES).round() as i8;
        let is_end = *units == 0 && place + 1 == advantages.len();
        match pieces.last_mut() {
            _ if *units == 0 && !is_end => {}
            Some((length, before)) if *before == shade && !is_end => *length += units,
            _ => pieces.push((*units, shade)),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_shade_are_one_piece_and_the_end_stands_alone() {
        let units = [2, 0, 1, 3, 0, 0];
        let advantages = [0.5, 0.1, 0.501, -1.0, 0.3, -1.0];
        assert_eq!(pieces(&units, &advantages, 1.0), [(3, 25), (3, -50), (0, -50)]);
        assert_eq!(pieces(&[4, 4], &[-2.0, 0.0], 2.0), [(4, -50), (4, 0)]);
    }
}
