//! From a program to a sequence of insertions: statements are taken out at random, and with each what is wrong without it, until only the
//! signature is left; read backwards, that is how the program can be written.

use std::collections::BTreeSet;

use rltrain_rewards::{Language, Statement, Syntax};

use super::insertion::Insertion;

/// Names that Python has without anybody binding them.
const BUILT_IN: &str = "ArithmeticError AssertionError AttributeError BaseException BufferError BytesWarning DeprecationWarning EOFError \
    Ellipsis EnvironmentError Exception False FileExistsError FileNotFoundError FloatingPointError FutureWarning GeneratorExit IOError \
    ImportError ImportWarning IndentationError IndexError InterruptedError IsADirectoryError KeyError KeyboardInterrupt LookupError \
    MemoryError ModuleNotFoundError NameError None NotADirectoryError NotImplemented NotImplementedError OSError OverflowError \
    PendingDeprecationWarning PermissionError ProcessLookupError RecursionError ReferenceError ResourceWarning RuntimeError \
    RuntimeWarning StopAsyncIteration StopIteration SyntaxError SyntaxWarning SystemError SystemExit TabError TimeoutError True TypeError \
    UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError UnicodeTranslateError UnicodeWarning UserWarning ValueError \
    Warning ZeroDivisionError __build_class__ __debug__ __doc__ __import__ __loader__ __name__ __package__ __spec__ __file__ abs aiter all \
    anext any ascii bin bool breakpoint bytearray bytes callable chr classmethod compile complex copyright credits delattr dict dir divmod \
    enumerate eval exec exit filter float format frozenset getattr globals hasattr hash help hex id input int isinstance issubclass iter \
    len license list locals map max memoryview min next object oct open ord pow print property quit range repr reversed round set setattr \
    slice sorted staticmethod str sum super tuple type vars zip";

/// A sequence of insertions that makes `reference` of `signature`, which it begins with. After the insertions of each step there is no
/// syntax error and no name that nothing binds, as far as `reference` has none.
///
/// `draw` chooses a number below its argument, which is at least 1. `None` if `reference` is not in Python, does not parse, or does not
/// begin with `signature`.
pub fn sequence(
    signature: &str,
    reference: &str,
    draw: impl FnMut(usize) -> usize,
) -> Option<Vec<Insertion>> {
    let lines: Vec<&str> = reference.trim_end().lines().collect();
    let mut there: BTreeSet<usize> = (0..signature.lines().count()).collect();
    if !signature.lines().eq(lines.iter().take(there.len()).copied()) {
        return None;
    }
    let mut program = Program::parse(&lines, there.len())?;
    let mut states = vec![program.rows()];
    program.take_apart(draw, |program| states.push(program.rows()));
    let steps = states.iter().rev().map(|state| insert(&mut there, state, &lines));
    Some(steps.flatten().collect())
}

/// What brings the lines of `state` in, where those of `there` are already. Neighbours come together.
fn insert(there: &mut BTreeSet<usize>, state: &BTreeSet<usize>, lines: &[&str]) -> Vec<Insertion> {
    let mut insertions: Vec<Insertion> = Vec::new();
    let mut last = None;
    let new: Vec<usize> = state.difference(there).copied().collect();
    for row in new {
        let line = lines[row].to_owned();
        let follows = last.is_some_and(|last| there.range(last + 1..row).next().is_none());
        match insertions.last_mut().filter(|_| follows) {
            Some(insertion) => insertion.lines.push(line),
            None => insertions.push(Insertion { behind: there.range(..row).count(), lines: vec![line] }),
        }
        there.insert(row);
        last = Some(row);
    }
    insertions
}

/// A program that is being taken apart.
struct Program {
    statements: Vec<Statement>,
    /// Which of them are there.
    there: Vec<bool>,
    /// Which of them are nothing without all of their clauses.
    is_try: Vec<bool>,
    /// The statement that each line goes with.
    owners: Vec<Option<usize>>,
    /// Lines that stay.
    fixed: usize,
    /// Names that nothing binds in the whole program either.
    foreign: BTreeSet<String>,
}

impl Program {
    fn parse(lines: &[&str], fixed: usize) -> Option<Program> {
        let statements = Syntax::parse(&lines.join("\n"), Language::Python)?.statements()?;
        let is_try =
            statements.iter().map(|one| lines[one.rows.start].trim_start().starts_with("try")).collect();
        let (owners, there) = (owners(&statements, lines), vec![true; statements.len()]);
        let mut program = Program { statements, there, is_try, owners, fixed, foreign: BTreeSet::new() };
        let bound = program.bound();
        let reads = program.statements.iter().flat_map(|one| &one.reads);
        let foreign = reads.filter(|name| !bound.contains(name.as_str())).cloned().collect();
        program.foreign = foreign;
        Some(program)
    }

    /// Takes out one statement after the other, chosen by `draw`, with all that is wrong without it, and tells `each` after every time.
    fn take_apart(&mut self, mut draw: impl FnMut(usize) -> usize, mut each: impl FnMut(&Program)) {
        loop {
            let movable: Vec<usize> = (0..self.statements.len()).filter(|at| self.is_movable(*at)).collect();
            if movable.is_empty() {
                return;
            }
            self.take_out(movable[draw(movable.len()).min(movable.len() - 1)]);
            while let Some(wrong) = self.wrong() {
                self.take_out(wrong);
            }
            each(self);
        }
    }

    fn is_movable(&self, at: usize) -> bool {
        self.there[at] && self.statements[at].rows.start >= self.fixed
    }

    /// Takes out a statement with what stands in it.
    fn take_out(&mut self, at: usize) {
        self.there[at] = false;
        for inner in at + 1..self.statements.len() {
            // What a statement stands in comes before it.
            let within = self.statements[inner].within;
            self.there[inner] &= within.is_none_or(|within| within < at || self.there[within]);
        }
    }

    /// A statement that is wrong as things are.
    fn wrong(&self) -> Option<usize> {
        let bound = self.bound();
        (0..self.statements.len()).filter(|at| self.is_movable(*at)).find(|at| {
            let one = &self.statements[*at];
            let is_unbound = |name: &String| !bound.contains(name.as_str()) && !self.foreign.contains(name);
            let lacks_a_clause = self.is_try[*at] && self.within(*at, true).any(|inner| !self.there[inner]);
            let lacks_a_body = one.has_body && !self.within(*at, false).any(|inner| self.there[inner]);
            lacks_a_clause || lacks_a_body || one.reads.iter().any(is_unbound)
        })
    }

    /// Names that are bound as things are.
    fn bound(&self) -> BTreeSet<&str> {
        let there = self.statements.iter().zip(&self.there).filter(|(_, there)| **there);
        there.flat_map(|(one, _)| &one.binds).map(String::as_str).chain(BUILT_IN.split_whitespace()).collect()
    }

    /// The clauses of a statement, or what else stands right in it.
    fn within(&self, at: usize, clauses: bool) -> impl Iterator<Item = usize> {
        let stands_in = move |inner: &usize| {
            let inner = &self.statements[*inner];
            inner.within == Some(at) && inner.is_clause == clauses
        };
        (at + 1..self.statements.len()).filter(stands_in)
    }

    /// The lines of what is there.
    fn rows(&self) -> BTreeSet<usize> {
        let is_there =
            |row: &usize| *row < self.fixed || self.owners[*row].is_none_or(|owner| self.there[owner]);
        (0..self.owners.len()).filter(is_there).collect()
    }
}

/// The statement that each line goes with: the innermost one that it is of. Comments and blank lines between statements go with what
/// follows, or at the end with what is before.
fn owners(statements: &[Statement], lines: &[&str]) -> Vec<Option<usize>> {
    let mut owners = vec![None; lines.len()];
    for (at, one) in statements.iter().enumerate() {
        owners[one.rows.start..one.rows.end.min(lines.len())].fill(Some(at));
    }
    let is_between = |row: usize, owner: Option<usize>| {
        let line = lines[row].trim();
        (line.is_empty() || line.starts_with('#')) && owner.is_none_or(|owner| statements[owner].has_body)
    };
    let mut next = None;
    for row in (0..lines.len()).rev() {
        if !is_between(row, owners[row]) {
            next = owners[row];
        } else if next.is_some() {
            owners[row] = next;
        }
    }
    for row in 1..lines.len() {
        owners[row] = owners[row].or(owners[row - 1]);
    }
    owners
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::{apply, text};
    use super::*;
    use crate::tasks::TaskSet;

    /// Draws that depend on nothing but `seed`.
    fn draws(seed: u64) -> impl FnMut(usize) -> usize {
        let mut count = 0;
        move |bound| {
            count += 1;
            let draw = crate::rng::uniform(seed, crate::rng::Stream::EditSequence, &[count]);
            (draw * bound as f64) as usize
        }
    }

    #[test]
    fn statements_come_before_what_needs_them_and_not_after() {
        let reference = "def f(xs):\n    total = 0\n    for x in xs:\n        total += x\n    return total\n";
        for seed in 0..20 {
            let insertions = sequence("def f(xs):", reference, draws(seed)).unwrap();
            // Without its first line, none of the others would be right.
            assert_eq!(insertions[0].behind, 1, "{insertions:?}");
            assert_eq!(insertions[0].lines[0], "    total = 0", "{insertions:?}");
            assert_eq!(apply("def f(xs):", &text(&insertions)).unwrap(), reference.trim_end());
        }
        let sequences: BTreeSet<String> =
            (0..20).map(|seed| text(&sequence("def f(xs):", reference, draws(seed)).unwrap())).collect();
        assert!(sequences.len() > 2, "{sequences:?}");
    }

    #[test]
    fn a_try_is_there_with_all_of_its_clauses() {
        let reference = "def f(x):\n    try:\n        y = int(x)\n    except ValueError:\n        # Bad.\n        y = 0\n    finally:\n        print(x)\n    return y\n";
        for seed in 0..20 {
            let mut program = Program::parse(&reference.trim_end().lines().collect::<Vec<_>>(), 1).unwrap();
            program.take_apart(draws(seed), |program| {
                let rows = program.rows();
                let clauses = [1, 3, 6].map(|row| rows.contains(&row));
                assert!(clauses == [true; 3] || clauses == [false; 3], "{rows:?}");
                assert_eq!(rows.contains(&4), rows.contains(&5), "a comment is there without its line");
            });
        }
    }

    #[test]
    fn there_is_none_for_what_cannot_be_taken_apart() {
        assert_eq!(sequence("def f(x):", "def g(x):\n    return x\n", draws(1)), None);
        assert_eq!(sequence("def f(x):", "def f(x):\n    return (\n", draws(1)), None);
        // Nothing to take out is an empty sequence.
        assert_eq!(sequence("x = 1", "x = 1\n", draws(1)), Some(Vec::new()));
    }

    /// Every program on the way is one: our own tasks' references, by any order of taking them apart.
    #[test]
    fn every_state_of_a_real_program_is_free_of_errors() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes/tasks/python-basics/train.jsonl");
        let tasks = TaskSet::load(&file).unwrap();
        let mut steps = 0;
        for (seed, task) in tasks.iter().enumerate() {
            let insertions = sequence(&task.signature, &task.reference, draws(seed as u64)).unwrap();
            let whole = apply(&task.signature, &text(&insertions)).unwrap();
            assert_eq!(whole, task.reference.trim_end(), "{}", task.id);
            let lines: Vec<&str> = whole.lines().collect();
            let mut program = Program::parse(&lines, task.signature.lines().count()).unwrap();
            program.take_apart(draws(seed as u64), |program| {
                let rows = program.rows();
                let state: Vec<&str> = rows.iter().map(|row| lines[*row]).collect();
                let state = state.join("\n");
                // The signature alone has no body.
                if rows.len() > program.fixed {
                    let syntax = Syntax::parse(&state, Language::Python).unwrap();
                    assert!(!syntax.broken(), "{}: {state}", task.id);
                    steps += 1;
                }
            });
        }
        assert!(steps > 10, "{steps} steps of {} tasks", tasks.len());
    }

    proptest! {
        #[test]
        fn applying_a_sequence_gives_the_program(
            body in prop::collection::vec("( {4}){1,3}(if a:|else:|b = \\(1,|2\\)|for c in d:|e = 1; f = e|try:|finally:|# g||return b)", 1..12),
            seed in 0..1000u64,
        ) {
            let reference = format!("def a():\n{}", body.join("\n"));
            if let Some(insertions) = sequence("def a():", &reference, draws(seed)) {
                prop_assert_eq!(apply("def a():", &text(&insertions)).unwrap(), reference.trim_end());
            }
        }
    }
}
