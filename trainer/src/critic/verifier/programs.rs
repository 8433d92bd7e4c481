//! Programs as a verifier reads them, with what came of them.

use rltrain_executor::{Ending, OutcomeClass, Verdict};
use tch::{Device, Tensor};

use crate::algorithm::{Sequences, sequence_of_tokens};
use crate::batch::Batch;
use crate::critic::fault::{Fault, feedback, line_of};
use crate::policy::{Interjection, PolicyError, Tokenizer};
use crate::rollout::{Completion, Group};

/// What came of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// In one of four words.
    pub class: OutcomeClass,
    /// The first ending that is not a pass, if there is one.
    pub ending: Option<Ending>,
}

impl Label {
    /// Of a verdict.
    pub fn of(verdict: &Verdict) -> Label {
        Label { class: verdict.class(), ending: verdict.endings().find(|ending| !ending.passed()).cloned() }
    }

    /// Whether all tests pass.
    pub fn passed(&self) -> bool {
        self.class == OutcomeClass::PassedAll
    }

    /// What is wrong with the program.
    pub fn fault(&self) -> Fault {
        if self.passed() { Fault::None } else { Fault::of(self.ending.as_ref()) }
    }

    /// That in words.
    pub fn feedback(&self) -> String {
        feedback(self.class, self.ending.as_ref())
    }
}

/// One program.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Token ids behind the prompt; at least one.
    pub tokens: Vec<i64>,
    /// What the environment said between them.
    pub interjections: Vec<Interjection>,
    /// What came of it.
    pub label: Label,
}

/// Programs for one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// Name of the task.
    pub task: String,
    /// Lines of the task's signature that end before the programs' tokens begin.
    pub lines_before: usize,
    /// Prompt token ids; at least one.
    pub prompt: Vec<i64>,
    /// The programs.
    pub programs: Vec<Program>,
}

/// Programs laid out for the network, behind each other.
///
/// Hidden states say what comes next, so that the state that has read a program's last token is the one that predicts a
/// token behind it. Where a head reads states, every program has such a token; nothing ever reads that token itself.
pub(super) struct Layout {
    /// The programs, with that token if there is one.
    pub(super) batch: Batch,
    /// Number of each program's tokens.
    pub(super) lengths: Vec<usize>,
    /// For each token of the programs, the row of what the network gives for it: `[N]`, i64.
    row_n: Tensor,
    /// The program of each token: `[N]`, i64.
    of_token_n: Tensor,
    /// The place, among the tokens, of each program's last one: `[S]`, i64.
    pub(super) last_s: Tensor,
}

impl Layout {
    /// Of these programs. With `states`, rows are those of the states after each token, otherwise those that predict it.
    pub(super) fn new(tried: &[Tried], states: bool, most_positions: usize, device: Device) -> Layout {
        let behind = usize::from(states);
        let group = |tried: &Tried| {
            let room = most_positions.saturating_sub(tried.prompt.len() + behind).max(1);
            let completion = |program: &Program| completion(program, room, states);
            Group {
                task: 0,
                prompt: tried.prompt.clone(),
                completions: tried.programs.iter().map(completion).collect(),
            }
        };
        let batch = Batch::new(&tried.iter().map(group).collect::<Vec<_>>(), device);
        let (mut rows, mut lasts) = (Vec::new(), Vec::new());
        for sequence in &batch.sequences {
            let first = sequence.first + behind;
            rows.extend((first..first + sequence.tokens.len() - behind).map(|row| row as i64));
            lasts.push(rows.len() as i64 - 1);
        }
        let lengths: Vec<usize> = batch.lengths().into_iter().map(|length| length - behind).collect();
        let column = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        Layout {
            row_n: column(&rows),
            of_token_n: sequence_of_tokens(&lengths).to_device(device),
            last_s: column(&lasts),
            lengths,
            batch,
        }
    }

    /// Which program each token is of.
    pub(super) fn sequences(&self) -> Sequences<'_> {
        Sequences { of_token_n: &self.of_token_n, count: self.lengths.len() as i64 }
    }

    /// What the network gives for the programs' tokens, `[N, C]`, out of all its rows, `[R, C]`.
    pub(super) fn of_tokens(&self, rows_rc: &Tensor) -> Tensor {
        rows_rc.index_select(0, &self.row_n)
    }

    /// One number for each token from one for each program.
    pub(super) fn spread(&self, value_s: &Tensor) -> Tensor {
        value_s.index_select(0, &self.of_token_n)
    }
}

/// A program of at most `room` tokens, what the environment said included, with a token behind it if `states` are wanted.
fn completion(program: &Program, room: usize, states: bool) -> Completion {
    let said: usize = program.interjections.iter().map(|said| said.tokens.len()).sum();
    let mut tokens = program.tokens.clone();
    tokens.truncate(room.saturating_sub(said).max(1));
    let mut interjections = program.interjections.clone();
    interjections.retain(|said| said.after <= tokens.len());
    if states {
        // Any token would do.
        tokens.push(tokens[0]);
    }
    Completion { logprobs: vec![0.0; tokens.len()], tokens, interjections, ..Completion::default() }
}

/// The line, from 0 and counted from the program's first token, in which it went wrong, with the place of the last token of
/// each line. `None` if there is no such line among the first `length` tokens.
///
/// # Errors
///
/// If the tokenizer's decoder fails.
pub(super) fn fault_line(
    tried: &Tried,
    program: &Program,
    length: usize,
    tokenizer: &Tokenizer,
) -> Result<Option<(usize, Vec<usize>)>, PolicyError> {
    let line = line_of(program.label.ending.as_ref());
    let line = line.and_then(|line| (line as usize).checked_sub(1 + tried.lines_before));
    let wanted = program.interjections.is_empty() && program.label.fault().is_execution_error();
    let (Some(line), true) = (line, wanted) else { return Ok(None) };
    let mut breaks = Vec::with_capacity(length);
    for token in &program.tokens[..length] {
        breaks.push(tokenizer.decode(&[*token])?.matches('\n').count());
    }
    let ends = crate::critic::fault::line_ends(&breaks);
    Ok((line < ends.len()).then_some((line, ends)))
}
