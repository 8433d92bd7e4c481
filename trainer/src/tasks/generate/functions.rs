//! Functions of whole numbers.

use rltrain_executor::toy::Meter;
use rltrain_executor::toy::imperative::{
    Action, Comparison, Condition, Expression, Operator, Program, Statement,
};
use rltrain_executor::{CallTest, Test, ValueComparison};
use serde_json::Map;

use super::{Candidate, Draws, GenerateOptions, named};

/// Steps of a call: many times what a loop over a small number takes.
const STEPS: u64 = 10_000;

/// Arguments that tell functions apart.
const PROBES: usize = 48;

/// Results beyond this are left out: they are hard to read off.
const MOST: i64 = 999;

/// Draws a task; `None` if the function is a dull one.
pub(super) fn draw(options: &GenerateOptions, draws: &mut Draws) -> Option<Candidate> {
    let parameters: Vec<String> =
        ["a", "b"][..1 + draws.below(2)].iter().map(|name| (*name).to_owned()).collect();
    let program =
        Program { body: draw_body(options.size, &parameters, draws), name: "f".to_owned(), parameters };
    let mut cases: Vec<(Vec<i64>, i64)> = Vec::new();
    let wanted = options.shown + options.hidden;
    for _ in 0..8 * wanted {
        let arguments = draw_arguments(&program, draws);
        if cases.iter().all(|(known, _)| *known != arguments) {
            let result = result(&program, &arguments).filter(|result| result.abs() <= MOST)?;
            cases.push((arguments, result));
        }
        if cases.len() == wanted {
            break;
        }
    }
    let results: std::collections::BTreeSet<i64> = cases.iter().map(|(_, result)| *result).collect();
    let first = |(arguments, result): &(Vec<i64>, i64)| arguments[0] == *result;
    if cases.len() < wanted || results.len() < 3 || cases.iter().all(first) {
        return None;
    }
    let text = program.to_string();
    let (signature, _) = text.split_once('\n')?;
    let line = |(arguments, result): &(Vec<i64>, i64)| {
        let arguments: Vec<String> = arguments.iter().map(i64::to_string).collect();
        format!("{}>{result}", arguments.join(","))
    };
    let lines: Vec<String> = cases[..options.shown].iter().map(line).collect();
    let test = |(arguments, result): &(Vec<i64>, i64)| {
        Test::Call(CallTest {
            function: "f".to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).into()).collect(),
            keywords: Map::new(),
            expected: (*result).into(),
            compare: ValueComparison::Exact,
        })
    };
    Some(Candidate {
        function: function(&program),
        prompt: lines.join("\n"),
        signature: signature.to_owned(),
        entry_point: "f".to_owned(),
        public_tests: cases[..options.shown].iter().map(test).collect(),
        hidden_tests: cases[options.shown..].iter().map(test).collect(),
        reference: text,
    })
}

fn result(program: &Program, arguments: &[i64]) -> Option<i64> {
    program.call(arguments, &mut Meter::new(STEPS), 0).ok()?.returned
}

fn draw_arguments(program: &Program, draws: &mut Draws) -> Vec<i64> {
    program.parameters.iter().map(|_| draws.below(12) as i64).collect()
}

/// Names what a function gives.
fn function(program: &Program) -> [u8; 32] {
    let parameters = program.parameters.len().to_string();
    let results = (0..PROBES as u64).map(|probe| {
        let mut draws = Draws { seed: 0, task: probe, drawn: 0 };
        let arguments = draw_arguments(program, &mut draws);
        result(program, &arguments).map_or_else(String::new, |result| result.to_string())
    });
    named(std::iter::once(parameters).chain(results))
}

fn draw_body(size: usize, parameters: &[String], draws: &mut Draws) -> Vec<Statement> {
    let known: Vec<&str> = parameters.iter().map(String::as_str).collect();
    let body: Vec<Action> = match draws.below(size.clamp(1, 3)) {
        0 => vec![Action::Return(draw_expression(&known, 2, draws))],
        1 => {
            let condition = Condition {
                left: Expression::Name(draws.of(&known).to_owned()),
                comparison: draws.of(&Comparison::ALL),
                right: draw_leaf(&known, draws),
            };
            let early = Action::Return(draw_expression(&known, 1, draws));
            let late = Action::Return(draw_expression(&known, 1, draws));
            vec![Action::If(condition, vec![early.into()], Vec::new()), late]
        }
        _ => {
            let begin = Action::Assign("c".to_owned(), None, draw_leaf(&known, draws));
            let condition = Condition {
                left: Expression::Name("a".to_owned()),
                comparison: Comparison::Greater,
                right: Expression::Number(draws.below(2) as i64),
            };
            let inside = [&known[..], &["c"]].concat();
            let operator = draws.of(&[Operator::Add, Operator::Add, Operator::Subtract, Operator::Multiply]);
            let change = Action::Assign("c".to_owned(), Some(operator), draw_leaf(&inside, draws));
            let step = Expression::Number(1 + draws.below(2) as i64);
            let down = Action::Assign("a".to_owned(), Some(Operator::Subtract), step);
            let round = Action::While(condition, vec![change.into(), down.into()]);
            vec![begin, round, Action::Return(Expression::Name("c".to_owned()))]
        }
    };
    body.into_iter().map(Statement::from).collect()
}

fn draw_leaf(known: &[&str], draws: &mut Draws) -> Expression {
    match draws.happens(0.6) {
        true => Expression::Name(draws.of(known).to_owned()),
        false => Expression::Number(draws.below(10) as i64),
    }
}

/// An expression with one to `most` operators.
fn draw_expression(known: &[&str], most: usize, draws: &mut Draws) -> Expression {
    let mut expression = draw_leaf(known, draws);
    for _ in 0..1 + draws.below(most) {
        let operator = draws.of(&Operator::ALL);
        expression = Expression::Binary(expression.into(), operator, draw_leaf(known, draws).into());
    }
    expression
}
