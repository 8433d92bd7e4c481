//! Programs of texts, and inputs for them.

use rltrain_executor::toy::Meter;
use rltrain_executor::toy::strings::{
    CONSTANTS, Class, Filter, MOST_TOKENS, POSITIONS, Piece, Program, Source,
};
use rltrain_executor::{StdinTest, Test, TextComparison};

use super::{Candidate, Draws, GenerateOptions, named};

/// Steps of a program on one input: many times what the largest one takes.
const STEPS: u64 = 10_000;

/// Inputs that tell functions apart.
const PROBES: usize = 48;

/// Longest output: prompts stay short.
const MOST_OUTPUT: usize = 16;

/// A part of an input.
#[derive(Clone, Copy)]
enum Field {
    /// A word with a capital, without one, or of capitals.
    Word(Case),
    /// A number of one to three digits.
    Number,
}

#[derive(Clone, Copy)]
enum Case {
    Lower,
    Title,
    Upper,
}

/// What the inputs of a task have in common: fields with a character between them.
struct Form {
    fields: Vec<Field>,
    separators: Vec<char>,
}

/// Draws a task; `None` if the program does not suit the inputs.
pub(super) fn draw(options: &GenerateOptions, draws: &mut Draws) -> Option<Candidate> {
    let form = Form::draw(draws);
    let program = draw_program(options.size, draws);
    if program.tokens() > MOST_TOKENS {
        return None;
    }
    let mut cases: Vec<(String, String)> = Vec::new();
    let wanted = options.shown + options.hidden;
    for _ in 0..4 * wanted {
        let input = form.input(draws);
        if cases.iter().all(|(known, _)| *known != input) {
            let output = output(&program, &input)?;
            if output.is_empty()
                || output.len() > MOST_OUTPUT
                || output.starts_with(' ')
                || output.ends_with(' ')
            {
                return None;
            }
            cases.push((input, output));
        }
        if cases.len() == wanted {
            break;
        }
    }
    if cases.len() < wanted
        || cases.iter().all(|(_, output)| *output == cases[0].1)
        || cases.iter().all(|(input, output)| input == output)
        || !is_terse(&program, &cases)
    {
        return None;
    }
    let lines: Vec<String> =
        cases[..options.shown].iter().map(|(input, output)| format!("{input}>{output}")).collect();
    let test = |(input, output): &(String, String)| {
        Test::Stdin(StdinTest {
            stdin: input.clone(),
            stdout: output.clone(),
            compare: TextComparison::Exact,
        })
    };
    Some(Candidate {
        function: function(&program),
        prompt: lines.join("\n"),
        signature: String::new(),
        entry_point: String::new(),
        reference: format!("{program}\n"),
        public_tests: cases[..options.shown].iter().map(test).collect(),
        hidden_tests: cases[options.shown..].iter().map(test).collect(),
    })
}

fn output(program: &Program, input: &str) -> Option<String> {
    program.run(input, &mut Meter::new(STEPS)).ok()
}

/// Names what a program does with inputs of every form.
fn function(program: &Program) -> [u8; 32] {
    named((0..PROBES as u64).map(|probe| {
        let mut draws = Draws { seed: 0, task: probe, drawn: 0 };
        let input = Form::draw(&mut draws).input(&mut draws);
        program.run(&input, &mut Meter::new(STEPS)).unwrap_or_else(|_| "\n".to_owned())
    }))
}

/// Whether no filter can be left out, and no piece cut shorter is the whole.
fn is_terse(program: &Program, cases: &[(String, String)]) -> bool {
    let is_same =
        |other: &Program| cases.iter().all(|(input, wanted)| output(other, input).as_ref() == Some(wanted));
    for (place, piece) in program.pieces.iter().enumerate() {
        for filter in 0..piece.filters.len() {
            let mut shorter = program.clone();
            shorter.pieces[place].filters.remove(filter);
            if is_same(&shorter) {
                return false;
            }
        }
        if piece.source != Source::All {
            let mut whole = program.clone();
            whole.pieces[place].source = Source::All;
            if is_same(&whole) {
                return false;
            }
        }
    }
    true
}

fn draw_program(size: usize, draws: &mut Draws) -> Program {
    // Large programs suit fewer inputs, so more of them are drawn.
    let count = 1 + draws.below(size.max(1)).max(draws.below(size.max(1)));
    let mut pieces: Vec<Piece> = Vec::with_capacity(count);
    while pieces.len() < count {
        let is_constant = |piece: &Piece| matches!(piece.source, Source::Constant(_));
        // A constant stands between two pieces, or behind one.
        let may_be_constant = pieces.last().is_some_and(|last| !is_constant(last));
        let piece = match may_be_constant && draws.happens(0.4) {
            true => Piece { source: Source::Constant(draws.of(&CONSTANTS)), filters: Vec::new() },
            false => Piece { source: draw_source(draws), filters: draw_filters(draws) },
        };
        pieces.push(piece);
    }
    Program { pieces }
}

fn draw_source(draws: &mut Draws) -> Source {
    let position = |draws: &mut Draws| draws.of(&POSITIONS);
    let (class, near) = (draws.of(&Class::ALL), draws.of(&[0, 0, 1, 1, -1, -1, 2, -2]));
    match draws.below(10) {
        0 => Source::All,
        1 | 2 => Source::Between(position(draws), position(draws)),
        3 => Source::UpTo(class, near),
        4 => Source::From(class, near),
        _ => Source::Token(class, near),
    }
}

fn draw_filters(draws: &mut Draws) -> Vec<Filter> {
    let count = draws.of(&[0, 0, 0, 0, 0, 1, 1, 1, 1, 2]);
    (0..count).map(|_| draws.of(&Filter::ALL)).collect()
}

impl Form {
    fn draw(draws: &mut Draws) -> Form {
        let count = draws.of(&[1, 2, 2, 3]);
        let field = |draws: &mut Draws| match draws.below(6) {
            0 | 1 => Field::Word(Case::Lower),
            2 => Field::Word(Case::Title),
            3 => Field::Word(Case::Upper),
            _ => Field::Number,
        };
        let fields = (0..count).map(|_| field(draws)).collect();
        let separators = (1..count).map(|_| draws.of(&CONSTANTS)).collect();
        Form { fields, separators }
    }

    fn input(&self, draws: &mut Draws) -> String {
        let mut input = String::new();
        for (place, field) in self.fields.iter().enumerate() {
            if place > 0 {
                input.push(self.separators[place - 1]);
            }
            match field {
                Field::Number => {
                    let digits = 1 + draws.below(3);
                    input.extend((0..digits).map(|_| draws.of(b"0123456789") as char));
                }
                Field::Word(case) => {
                    let length = 2 + draws.below(3);
                    for letter in 0..length {
                        let drawn = draws.of(b"abcdefghijklmnopqrstuvwxyz") as char;
                        let is_capital =
                            matches!(case, Case::Upper) || matches!(case, Case::Title) && letter == 0;
                        input.push(if is_capital { drawn.to_ascii_uppercase() } else { drawn });
                    }
                }
            }
        }
        input
    }
}
