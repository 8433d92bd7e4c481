//! The toy languages: their interpreters, and their programs in real workers.

use std::sync::LazyLock;

use proptest::prelude::*;
use rltrain_executor::Outcome::{Failed, NotRun, OutOfFuel, OutputLimit, Passed, Raised, SyntaxError};
use rltrain_executor::toy::imperative::{
    self, Action, Comparison, Condition, Expression, Operator, Statement,
};
use rltrain_executor::toy::strings::{self, CONSTANTS, Class, Filter, POSITIONS, Piece, Source};
use rltrain_executor::toy::{Fault, Meter, ToyLanguage};
use rltrain_executor::{Executor, InfraError, OutcomeClass, Runtime, Verdict};

use super::{job, outcomes, start};

static STRINGS: LazyLock<Executor> = LazyLock::new(|| start(Runtime::Toy(ToyLanguage::Strings)).unwrap());
static PYTHON: LazyLock<Executor> = LazyLock::new(|| start(Runtime::Toy(ToyLanguage::Python)).unwrap());

fn judge(executor: &Executor, program: &str, tests: &[&str]) -> Verdict {
    executor.submit(job(program, tests)).wait().unwrap()
}

/// What a program in the language of texts makes of one, or the fault in words.
fn made(program: &str, input: &str) -> String {
    match strings::Program::parse(program).unwrap().run(input, &mut Meter::new(10_000)) {
        Ok(output) => output,
        Err(fault) => fault.to_string(),
    }
}

#[test]
fn texts_are_cut_changed_and_put_together() {
    let input = "ada Lovelace 1815";
    for (program, output) in [
        ("tok word 0 upper | '-' | sub -3 -1", "ADA-815"),
        ("all title", "Ada Lovelace 1815"),
        ("upto num 0 trim", "ada Lovelace"),
        ("from caps -1", "Lovelace 1815"),
        ("tok chunk 1 head lower | ' ' | tok num -1 head", "l 1"),
        ("sub 0 0", "a"),
        ("tok num 1", "IndexError: `num` 1 is out of range of 1, line 1"),
        ("sub 4 2", "IndexError: position 2 is before position 4, line 1"),
        ("upto word 0 head", "IndexError: an empty text has no first character, line 1"),
    ] {
        assert_eq!(made(program, input), output, "{program}");
    }
    assert_eq!(made("sub 3 3", "abc"), "IndexError: position 3 is out of range of 3 characters, line 1");
    assert_eq!(made("all upper", "é"), "é", "only ASCII has capitals here");
}

#[test]
fn what_is_no_program_of_texts_is_refused_with_what_was_wanted() {
    for (program, message) in [
        ("", "wanted a source, found the end, line 1"),
        ("all |", "wanted a source, found the end, line 1"),
        ("tok 0 word", "wanted a class, found `0`, line 1"),
        ("sub 0 5", "wanted a position from -3 to 4, found `5`, line 1"),
        ("all shout", "wanted a filter or `|`, found `shout`, line 1"),
        ("'-' 'x'", "`x` cannot be a constant, line 1"),
        ("'-", "wanted one character between quotation marks, line 1"),
    ] {
        assert_eq!(strings::Program::parse(program).unwrap_err().to_string(), message, "{program}");
    }
    let long = vec!["all"; 13].join(" | ");
    assert!(strings::Program::parse(&long).unwrap_err().message.contains("at most 24 tokens"));
}

const SUM: &str = "def f(n):\n total = 0\n while n > 0:\n  total += n\n  n -= 1\n return total\n";

#[test]
fn numbers_are_pythons() {
    let value = |expression: &str| {
        let program = imperative::Program::parse(&format!("def f(a, b):\n return {expression}\n")).unwrap();
        program.call(&[7, -2], &mut Meter::new(1000), 0).map(|called| called.returned.unwrap())
    };
    for (expression, wanted) in [
        ("a // b", -4),
        ("a % b", -1),
        ("-a // 2", -4),
        ("-a % 2", 1),
        ("a - b - 1", 8),
        ("a - (b - 1)", 10),
        ("a + b * 3", 1),
        ("(a + b) * 3", 15),
        ("--a", 7),
        ("(0 - 9223372036854775807 - 1) % -1", 0),
    ] {
        assert_eq!(value(expression), Ok(wanted), "{expression}");
    }
    let kind = |expression| match value(expression) {
        Err(Fault::Raised { kind, line, .. }) => (kind, line),
        other => panic!("{other:?}"),
    };
    assert_eq!(kind("a // (b + 2)"), ("ZeroDivisionError", 2));
    assert_eq!(kind("9223372036854775807 + a"), ("OverflowError", 2));
    assert_eq!(kind("c"), ("NameError", 2));
}

#[test]
fn what_is_no_function_of_numbers_is_refused_at_its_line() {
    for (program, message) in [
        ("", "wanted a function, line 1"),
        ("def f(a, a):\n return a", "wanted different parameters, line 1"),
        ("def f(a):\nreturn a", "wanted an indented block, line 1"),
        ("def f(a):\n b = 1\n  return a", "the indent is that of no block, line 3"),
        ("def f(a):\n if a:\n  return a", "wanted a comparison, line 2"),
        ("def f(a):\n return a\nprint(1)", "wanted nothing behind the function, line 3"),
        ("def f(a):\n return 99999999999999999999", "`99999999999999999999` is too large, line 2"),
        ("def f(a):\n a = 1;", "invalid character `;`, line 2"),
        ("def f(a):\n while = 1", "wanted a number, line 2"),
    ] {
        assert_eq!(imperative::Program::parse(program).unwrap_err().to_string(), message, "{program}");
    }
    let nested: String = (1..20).map(|depth| format!("{:depth$}if 1 < 2:\n", "")).collect();
    let error = imperative::Program::parse(&format!("def f():\n{nested}{:20}return 1", "")).unwrap_err();
    assert!(error.message.contains("too many blocks"), "{error}");
}

#[test]
fn programs_of_texts_are_judged_by_workers() {
    let test = |stdin: &str, stdout: &str| {
        format!(r#"{{"kind": "stdin", "stdin": "{stdin}", "stdout": "{stdout}", "compare": "exact"}}"#)
    };
    let (right, wrong, short) = (test("ab cd", "cd"), test("ab cd", "ab"), test("ab", ""));
    let verdict = judge(&STRINGS, "tok word 1", &[&right, &wrong, &short]);
    assert_eq!(outcomes(&verdict), [Passed, Failed, Raised]);
    assert_eq!(verdict.tests[1].reason(), r#"gave "cd", wanted "ab""#);
    assert_eq!(verdict.class(), OutcomeClass::RuntimeError);
    let verdict = judge(&STRINGS, "tok word", &[&right]);
    assert_eq!((verdict.load.outcome, verdict.tests[0].outcome), (SyntaxError, NotRun));
    assert_eq!(verdict.class(), OutcomeClass::CompileError);
    let error = STRINGS.submit(job("all", &["assert f(1) == 1"])).wait().unwrap_err();
    assert!(matches!(&error, InfraError::FaultyTest(message) if message.contains("wanted stdin")), "{error}");
    let differential = format!(r#"{{"kind": "differential", "before": "all", "test": {right}}}"#);
    assert_eq!(outcomes(&judge(&STRINGS, "tok word 1", &[&differential])), [Passed]);
    let useless = differential.replace("\"all\"", "\"sub -2 -1\"");
    assert_eq!(outcomes(&judge(&STRINGS, "tok word 1", &[&useless])), [Failed]);
}

#[test]
fn functions_of_numbers_are_judged_by_workers_and_endless_ones_run_out_of_fuel() {
    let test = |n: i64, expected: i64| {
        format!(r#"{{"kind": "call", "function": "f", "arguments": [{n}], "expected": {expected}}}"#)
    };
    let (right, wrong) = (test(4, 10), test(3, 7));
    let verdict = judge(&PYTHON, SUM, &[&right, &wrong]);
    assert_eq!(outcomes(&verdict), [Passed, Failed]);
    let again = judge(&PYTHON, &format!("{SUM}\n"), &[&right, &wrong]);
    assert_eq!((verdict.fuel, verdict.fuel > 0), (again.fuel, true), "steps are counted, not time");
    let verdict = judge(&PYTHON, "def f(n):\n while 0 < 1:\n  n += 1\n", &[&right, &right]);
    assert_eq!(outcomes(&verdict), [Raised, OutOfFuel].map(|_| OutOfFuel));
    let verdict = judge(&PYTHON, "def f(n):\n while 0 < 1:\n  print(n)\n", &[&right]);
    assert_eq!(outcomes(&verdict), [OutputLimit]);
    assert!(verdict.stdout.starts_with("4\n4\n"));
    let verdict = judge(&PYTHON, "def g(n):\n return n // 0\n", &[&right]);
    assert_eq!(outcomes(&verdict), [Raised]);
    assert!(verdict.tests[0].reason().contains("name 'f' is not defined"));
    let verdict = judge(&PYTHON, "def f(n):\n n = 1\n", &[&right]);
    assert_eq!(verdict.tests[0].reason(), "gave None, wanted 10");
}

/// How fast programs are judged through workers, a test being one execution. A floor that a loaded machine holds as well.
#[test]
fn executions_are_cheap() {
    let test = r#"{"kind": "call", "function": "f", "arguments": [4], "expected": 10}"#;
    let begin = std::time::Instant::now();
    let pending: Vec<_> = (0..2000)
        .map(|number| PYTHON.submit(job(&format!("{SUM}{}", "\n".repeat(number % 1000)), &[test; 10])))
        .collect();
    assert!(pending.into_iter().all(|pending| pending.wait().unwrap().all_passed()));
    let rate = 20_000.0 / begin.elapsed().as_secs_f64();
    assert!(rate > 5_000.0, "{rate:.0} executions a second");
}

fn piece() -> impl Strategy<Value = Piece> {
    let position = || prop::sample::select(POSITIONS.to_vec());
    let run = || (prop::sample::select(Class::ALL.to_vec()), position());
    let source = prop_oneof![
        prop::sample::select(CONSTANTS.to_vec()).prop_map(Source::Constant),
        Just(Source::All),
        (position(), position()).prop_map(|(from, to)| Source::Between(from, to)),
        run().prop_map(|(class, place)| Source::Token(class, place)),
        run().prop_map(|(class, place)| Source::UpTo(class, place)),
        run().prop_map(|(class, place)| Source::From(class, place)),
    ];
    let filters = prop::collection::vec(prop::sample::select(Filter::ALL.to_vec()), 0..3);
    (source, filters).prop_map(|(source, filters)| Piece { source, filters })
}

fn text_program() -> impl Strategy<Value = strings::Program> {
    prop::collection::vec(piece(), 1..4).prop_map(|pieces| strings::Program { pieces })
}

fn expression() -> impl Strategy<Value = Expression> {
    let leaf = prop_oneof![(0i64..1000).prop_map(Expression::Number), "[abc]".prop_map(Expression::Name),];
    leaf.prop_recursive(4, 12, 2, |inner| {
        let operator = prop::sample::select(Operator::ALL.to_vec());
        prop_oneof![
            inner.clone().prop_map(|inner| Expression::Negated(Box::new(inner))),
            (inner.clone(), operator, inner).prop_map(|(left, operator, right)| Expression::Binary(
                left.into(),
                operator,
                right.into()
            )),
        ]
    })
}

fn statement() -> impl Strategy<Value = Statement> {
    let condition = || {
        (expression(), prop::sample::select(Comparison::ALL.to_vec()), expression())
            .prop_map(|(left, comparison, right)| Condition { left, comparison, right })
    };
    let simple = prop_oneof![
        4 => ("[abc]", prop::option::of(prop::sample::select(Operator::ALL.to_vec())), expression())
            .prop_map(|(name, operator, value)| Action::Assign(name, operator, value)),
        1 => expression().prop_map(Action::Return),
        1 => expression().prop_map(Action::Print),
    ];
    simple.prop_map(Statement::from).prop_recursive(3, 12, 3, move |inner| {
        let block = |least| prop::collection::vec(inner.clone(), least..3);
        prop_oneof![
            (condition(), block(1), block(0))
                .prop_map(|(condition, then, otherwise)| Action::If(condition, then, otherwise)),
            (condition(), block(1)).prop_map(|(condition, body)| Action::While(condition, body)),
        ]
        .prop_map(Statement::from)
    })
}

fn function() -> impl Strategy<Value = imperative::Program> {
    prop::collection::vec(statement(), 1..4).prop_map(|body| imperative::Program {
        name: "f".to_owned(),
        parameters: vec!["a".to_owned(), "b".to_owned()],
        body,
    })
}

const STEPS: u64 = 3000;

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same_program(program in text_program()) {
        prop_assume!(program.tokens() <= strings::MOST_TOKENS);
        let text = program.to_string();
        prop_assert_eq!(program.tokens(), text.replace("' '", "_").split(' ').count());
        prop_assert_eq!(strings::Program::parse(&text).unwrap(), program);
    }

    #[test]
    fn a_printed_function_is_read_as_the_same(program in function()) {
        let text = program.to_string();
        let read = imperative::Program::parse(&text).unwrap();
        prop_assert_eq!(&read.to_string(), &text);
        // Lines are all that the two differ by, so they do the same with the same steps.
        let call = |program: &imperative::Program| {
            let mut meter = Meter::new(STEPS);
            let called = program.call(&[3, -5], &mut meter, 100);
            let called = called.map_err(|fault| match fault { Fault::Raised { kind, .. } => kind, _ => "limit" });
            (called, meter.left())
        };
        prop_assert_eq!(call(&program), call(&read));
    }

    #[test]
    fn the_output_is_bounded_by_the_steps_and_more_steps_change_nothing_but_that(
        program in text_program(), input in "\\PC{0,60}", steps in 0..4 * STEPS,
    ) {
        let few = program.run(&input, &mut Meter::new(steps));
        let many = program.run(&input, &mut Meter::new(1 << 40));
        if let Ok(output) = &few {
            prop_assert!(output.chars().count() as u64 <= steps);
        }
        if few != Err(Fault::OutOfSteps) {
            prop_assert_eq!(few, many);
        }
    }

    /// Texts near the languages, and any bytes at all: there is a program or a refusal, and whatever it is comes to an end.
    #[test]
    fn no_text_makes_an_interpreter_panic_or_go_on_for_ever(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        words in prop::collection::vec(prop::sample::select(
            "| all sub tok upto from word num upper head 0 -1 '-' ' ' def f ( a b , ) : \n while if else return print = + - * // % < == 9 é"
                .split(' ').collect::<Vec<_>>()), 0..60),
        input in "\\PC{0,30}",
    ) {
        let near = words.join(" ");
        for text in [String::from_utf8_lossy(&bytes).into_owned(), near.clone(), format!("def f(a):\n {near}\n")] {
            if let Ok(program) = strings::Program::parse(&text) {
                let _ = program.run(&input, &mut Meter::new(STEPS));
            }
            if let Ok(program) = imperative::Program::parse(&text) {
                let arguments = vec![i64::MIN; program.parameters.len()];
                let _ = program.call(&arguments, &mut Meter::new(STEPS), 100);
            }
        }
    }

    #[test]
    fn deep_texts_are_refused_and_long_ones_take_no_stack(depth in 1usize..20_000, sign in "[-+*(]") {
        let deep = sign.repeat(depth);
        let tail = if sign == "(" { format!("1{}", ")".repeat(depth)) } else { "1".to_owned() };
        let text = match sign.as_str() {
            "+" | "*" => format!("def f():\n return 1{}\n", format!("{sign}1").repeat(depth)),
            _ => format!("def f():\n return {deep}{tail}\n"),
        };
        if let Ok(program) = imperative::Program::parse(&text) {
            prop_assert!(depth <= imperative::MOST_DEPTH);
            prop_assert!(program.call(&[], &mut Meter::new(STEPS), 0).is_ok());
        }
    }
}
