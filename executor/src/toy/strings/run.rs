//! What a program makes of a text.

use std::ops::Range;

use super::super::{Fault, Meter};
use super::{Class, Filter, Program, Source};

pub(super) fn program(program: &Program, input: &str, meter: &mut Meter) -> Result<String, Fault> {
    meter.take(input.len())?;
    let input: Vec<char> = input.chars().collect();
    let mut output = String::new();
    for piece in &program.pieces {
        meter.take(1)?;
        let mut text = cut(piece.source, &input, meter)?;
        for filter in &piece.filters {
            meter.take(1 + text.len())?;
            text = filtered(*filter, text)?;
        }
        meter.take(text.len())?;
        output.extend(text);
    }
    Ok(output)
}

fn cut(source: Source, input: &[char], meter: &mut Meter) -> Result<Vec<char>, Fault> {
    let range = match source {
        Source::Constant(character) => return Ok(vec![character]),
        Source::All => 0..input.len(),
        Source::Between(from, to) => {
            let (from, to) = (position(from, input.len())?, position(to, input.len())?);
            if from > to {
                return Err(out_of_range(format!("position {to} is before position {from}")));
            }
            from..to + 1
        }
        Source::Token(class, place) => run_of(class, place, input, meter)?,
        Source::UpTo(class, place) => 0..run_of(class, place, input, meter)?.start,
        Source::From(class, place) => run_of(class, place, input, meter)?.start..input.len(),
    };
    meter.take(range.len())?;
    Ok(input[range].to_vec())
}

/// A position from the beginning.
fn position(written: i8, length: usize) -> Result<usize, Fault> {
    let steps = usize::from(written.unsigned_abs());
    let found = if written < 0 { length.checked_sub(steps) } else { Some(steps) };
    found
        .filter(|position| *position < length)
        .ok_or_else(|| out_of_range(format!("position {written} is out of range of {length} characters")))
}

/// Where a run of characters of a class is.
fn run_of(class: Class, place: i8, input: &[char], meter: &mut Meter) -> Result<Range<usize>, Fault> {
    meter.take(input.len())?;
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (at, character) in input.iter().enumerate() {
        match runs.last_mut() {
            _ if !class.has(*character) => {}
            Some(last) if last.end == at => last.end += 1,
            _ => runs.push(at..at + 1),
        }
    }
    let steps = usize::from(place.unsigned_abs());
    let found = if place < 0 { runs.len().checked_sub(steps) } else { Some(steps) };
    found
        .and_then(|found| runs.get(found).cloned())
        .ok_or_else(|| out_of_range(format!("`{}` {place} is out of range of {}", class.name(), runs.len())))
}

fn filtered(filter: Filter, mut text: Vec<char>) -> Result<Vec<char>, Fault> {
    match filter {
        Filter::Upper => text.iter_mut().for_each(|character| character.make_ascii_uppercase()),
        Filter::Lower => text.iter_mut().for_each(|character| character.make_ascii_lowercase()),
        Filter::Title => {
            let mut is_inside = false;
            for character in &mut text {
                if is_inside {
                    character.make_ascii_lowercase();
                } else {
                    character.make_ascii_uppercase();
                }
                is_inside = character.is_ascii_alphabetic();
            }
        }
        Filter::Trim => {
            let is_text = |character: &char| *character != ' ';
            let end = text.iter().rposition(is_text).map_or(0, |last| last + 1);
            text.truncate(end);
            let begin = text.iter().position(is_text).unwrap_or(0);
            text.drain(..begin);
        }
        Filter::Head if text.is_empty() => return Err(out_of_range("an empty text has no first character")),
        Filter::Head => text.truncate(1),
    }
    Ok(text)
}

fn out_of_range(message: impl Into<String>) -> Fault {
    Fault::raised("IndexError", message, 1)
}
