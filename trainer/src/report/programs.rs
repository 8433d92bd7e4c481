//! The programs of a run, as many as a page has room for.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::advantages::{Advantages, Worth};
use super::content::rounded;
use super::tallies::class;
use super::{MOST_TEXT, ReportError};
use crate::journal::Line;

/// Programs with what came of them. Texts that many attempts share are there once.
#[derive(Debug, Default, Serialize)]
pub struct Programs {
    /// Attempts of the run.
    pub all: usize,
    /// Every how many steps they are shown: 1 for all of them.
    pub every: usize,
    /// Ids of tasks.
    pub tasks: Vec<String>,
    /// Names of the parts of rewards.
    pub parts: Vec<String>,
    /// Programs, completions, prompts and messages.
    pub texts: Vec<String>,
    /// The attempts.
    pub attempts: Vec<Shown>,
}

/// One attempt; numbers name places in the lists of [`Programs`]. Short keys: there are tens of thousands of them.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Step.
    s: u64,
    /// Task.
    t: usize,
    /// Number in its group.
    n: usize,
    /// Whether it was decoded greedily.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    g: bool,
    /// Reward.
    r: Option<f64>,
    /// Place of its end in [`CLASSES`](super::tallies::CLASSES).
    o: usize,
    /// Program.
    p: usize,
    /// Prompt.
    q: usize,
    /// Completion.
    c: usize,
    /// Tokens.
    k: usize,
    /// Whether it was cut off.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    x: bool,
    /// For each test what came of it: a message, or -1 for one that passed.
    e: Vec<i64>,
    /// What kept the program from loading, or failed in the infrastructure.
    #[serde(skip_serializing_if = "Option::is_none")]
    l: Option<usize>,
    /// Parts of the reward: name, raw, shaped, effective.
    a: Vec<(usize, Option<f64>, Option<f64>, f64)>,
    /// Turns before the last: program and what the model was told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    b: Vec<(usize, usize)>,
    /// Whether it has no place in the loss.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    y: bool,
    /// What its tokens were worth to the update, turn by turn; empty if that is not known, or nothing was learnt from it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    v: Vec<Painted>,
}

/// The advantages of the tokens of one turn.
#[derive(Debug, Serialize)]
struct Painted {
    /// What was written in it.
    c: usize,
    /// The advantage that is farthest from zero; where there are no pieces, that of every token.
    m: f64,
    /// Pieces of the text one after the other: UTF-16 units, and the advantage in [`SHADES`](super::advantages::SHADES) parts of `m`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    p: Vec<(usize, i8)>,
}

/// Programs while the log is read.
pub(super) struct ProgramsDraft {
    programs: Programs,
    advantages: Advantages,
    shown: BTreeMap<u64, bool>,
    texts: HashMap<String, usize>,
    tasks: HashMap<String, usize>,
    parts: HashMap<String, usize>,
}

impl ProgramsDraft {
    /// Nothing yet, of these files. Steps are left out if their files, which texts are the most of, are too large together.
    ///
    /// # Errors
    ///
    /// If a file cannot be looked at.
    pub(super) fn of(
        logged: &[(u64, PathBuf)],
        advantages: Advantages,
    ) -> Result<ProgramsDraft, ReportError> {
        let size = |path: &Path| fs_err::metadata(path).map(|metadata| metadata.len() as usize);
        let sizes = logged.iter().map(|(_, path)| size(path)).collect::<Result<Vec<usize>, _>>()?;
        let every = sizes.iter().sum::<usize>().div_ceil(MOST_TEXT).max(1);
        let is_shown = |place: usize| place.is_multiple_of(every) || place + 1 == logged.len();
        Ok(ProgramsDraft {
            advantages,
            programs: Programs { every, ..Programs::default() },
            shown: logged.iter().enumerate().map(|(place, (step, _))| (*step, is_shown(place))).collect(),
            texts: HashMap::new(),
            tasks: HashMap::new(),
            parts: HashMap::new(),
        })
    }

    /// # Errors
    ///
    /// If the record of the step is damaged.
    pub(super) fn add(&mut self, step: u64, lines: &[Line]) -> Result<(), ReportError> {
        self.programs.all += lines.len();
        if self.shown.get(&step).is_none_or(|shown| !shown) {
            return Ok(());
        }
        for (line, worth) in lines.iter().zip(self.advantages.of_step(step, lines)?) {
            let shown = self.shown_of(step, line, worth.unwrap_or_default());
            self.programs.attempts.push(shown);
        }
        Ok(())
    }

    fn shown_of(&mut self, step: u64, line: &Line, worth: Worth) -> Shown {
        let verdict = line.verdict.as_ref();
        let not_loaded = verdict.map(|verdict| &verdict.load).filter(|load| !load.passed());
        let lost = not_loaded.map(|load| load.reason()).or_else(|| line.error.clone());
        let hidden = verdict.map_or(&[][..], |verdict| verdict.hidden_tests());
        let texts = (&mut self.texts, &mut self.programs.texts);
        let (known, list) = texts;
        let mut text = |text: &str| place(known, list, text);
        Shown {
            s: step,
            n: line.sample,
            g: line.greedy,
            r: line.reward.map(rounded),
            o: class(verdict),
            p: text(&line.program),
            q: text(&line.prompt),
            c: text(&line.completion),
            k: line.tokens,
            x: line.truncated,
            e: hidden
                .iter()
                .map(|ending| if ending.passed() { -1 } else { text(&ending.reason()) as i64 })
                .collect(),
            l: lost.map(|reason| text(&reason)),
            y: worth.excluded,
            v: worth
                .turns
                .into_iter()
                .map(|turn| Painted { c: text(&turn.text), m: rounded(turn.farthest), p: turn.pieces })
                .collect(),
            b: line.earlier.iter().map(|turn| (text(&turn.program), text(&turn.feedback))).collect(),
            t: place(&mut self.tasks, &mut self.programs.tasks, &line.task),
            a: line
                .parts
                .iter()
                .map(|part| {
                    let name = place(&mut self.parts, &mut self.programs.parts, &part.name);
                    (name, part.raw.map(rounded), part.shaped.map(rounded), rounded(part.effective))
                })
                .collect(),
        }
    }

    pub(super) fn finish(self) -> Programs {
        self.programs
    }
}

/// The place of `text` in `list`, where it is put if it is new.
fn place(known: &mut HashMap<String, usize>, list: &mut Vec<String>, text: &str) -> usize {
    if let Some(place) = known.get(text) {
        return *place;
    }
    list.push(text.to_owned());
    known.insert(text.to_owned(), list.len() - 1);
    list.len() - 1
}
