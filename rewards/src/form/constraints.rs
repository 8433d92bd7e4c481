//! Style constraints that a parser can decide, and how to count them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::structure::{Node, Syntax, nests};

/// How the share of constraints that hold is counted (CodeIF, Yan et al. 2025, arXiv 2502.19166).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// SSR: the share that holds.
    #[default]
    Soft,
    /// CSR: 1 if all hold, else 0.
    Complete,
    /// RSR: the share that holds together with what it presupposes.
    Rigorous,
    /// CCSR: the longest run of constraints in a row that hold, as a share of all.
    Consistent,
}

impl Measure {
    /// The score of constraints that hold or not, with the indices of what each presupposes. At least one constraint.
    pub(super) fn of(self, holds: &[bool], presupposes: &[&[usize]]) -> f64 {
        let share = |count: usize| count as f64 / holds.len() as f64;
        match self {
            Measure::Soft => share(holds.iter().filter(|holds| **holds).count()),
            Measure::Complete => share(if holds.iter().all(|holds| *holds) { holds.len() } else { 0 }),
            Measure::Rigorous => {
                let rigorous = |index: &usize| {
                    let before = presupposes.get(*index).copied().unwrap_or_default();
                    holds[*index] && before.iter().all(|before| holds[*before])
                };
                share((0..holds.len()).filter(rigorous).count())
            }
            Measure::Consistent => share(holds.split(|holds| !holds).map(<[bool]>::len).max().unwrap_or(0)),
        }
    }
}

/// Something that a Python program can contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Construct {
    /// A `for` or `while` loop.
    Loop,
    /// A function that calls itself by name.
    Recursion,
    /// A comprehension or generator expression.
    Comprehension,
    /// An import.
    Import,
    /// A lambda.
    Lambda,
    /// A class.
    Class,
    /// A `try` statement.
    Try,
    /// A `global` or `nonlocal` statement.
    Global,
}

impl Construct {
    /// Whether the program has it.
    pub(super) fn is_in(self, syntax: &Syntax) -> bool {
        let mut found = false;
        syntax.walk(|node| found |= self.is(syntax, node));
        found
    }

    fn is(self, syntax: &Syntax, node: Node<'_>) -> bool {
        let kinds: &[&str] = match self {
            Construct::Loop => &["for_statement", "while_statement"],
            Construct::Recursion => return calls_itself(syntax, node),
            Construct::Comprehension => &[
                "list_comprehension",
                "set_comprehension",
                "dictionary_comprehension",
                "generator_expression",
            ],
            Construct::Import => &["import_statement", "import_from_statement"],
            // The keyword of the expression is a node of the same kind, without children.
            Construct::Lambda => return node.kind() == "lambda" && node.is_named(),
            Construct::Class => &["class_definition"],
            Construct::Try => &["try_statement"],
            Construct::Global => &["global_statement", "nonlocal_statement"],
        };
        kinds.contains(&node.kind())
    }
}

/// Whether a node is a function in which there is a call of its name.
fn calls_itself(syntax: &Syntax, node: Node<'_>) -> bool {
    fn calls(syntax: &Syntax, node: Node<'_>, name: &str) -> bool {
        let called = node.kind() == "call"
            && node.child_by_field_name("function").is_some_and(|function| syntax.text(function) == name);
        called || node.children().any(|child| calls(syntax, child, name))
    }
    let name = node.child_by_field_name("name").filter(|_| node.kind() == "function_definition");
    name.is_some_and(|name| calls(syntax, node, syntax.text(name)))
}

/// The deepest nesting of branches, loops and handlers.
pub(super) fn deepest_nesting(syntax: &Syntax) -> usize {
    fn below(node: Node<'_>) -> usize {
        usize::from(nests(node)) + node.children().map(below).max().unwrap_or(0)
    }
    below(syntax.root())
}

/// A function definition, as the constraints see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) parameters: Vec<&'a str>,
    pub(super) documented: bool,
    pub(super) typed: bool,
    pub(super) returns: usize,
}

/// Every function of the program, methods and inner functions included.
pub(super) fn functions(syntax: &Syntax) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    syntax.walk(|node| {
        if node.kind() == "function_definition" {
            found.extend(function(syntax, node));
        }
    });
    found
}

fn function<'a>(syntax: &'a Syntax, node: Node<'a>) -> Option<Function<'a>> {
    let name = syntax.text(node.child_by_field_name("name")?);
    let body = node.child_by_field_name("body")?;
    let parameters: Vec<Node<'_>> = node
        .child_by_field_name("parameters")?
        .children()
        .filter(|parameter| parameter.is_named() && parameter.kind() != "ERROR")
        .collect();
    let names: Vec<&str> = parameters.iter().map(|parameter| parameter_name(syntax, *parameter)).collect();
    let own = |name: &&str| matches!(*name, "self" | "cls" | "*" | "/");
    let hinted = parameters
        .iter()
        .zip(&names)
        .all(|(parameter, name)| own(name) || parameter.kind().contains("typed"));
    Some(Function {
        name,
        typed: hinted && node.child_by_field_name("return_type").is_some(),
        documented: body.first_named_child().is_some_and(is_docstring),
        returns: returns(body),
        parameters: names,
    })
}

fn is_docstring(node: Node<'_>) -> bool {
    node.is_remark() && node.kind() == "expression_statement"
}

/// `x` of `x`, `x: int`, `x=1`, `*x` and `x: int = 1`.
fn parameter_name<'a>(syntax: &'a Syntax, parameter: Node<'a>) -> &'a str {
    let named = parameter.child_by_field_name("name").or_else(|| match parameter.kind() {
        "typed_parameter" | "list_splat_pattern" | "dictionary_splat_pattern" => {
            parameter.first_named_child()
        }
        _ => None,
    });
    named.map_or_else(|| syntax.text(parameter), |inner| parameter_name(syntax, inner))
}

/// Return statements of a body, without those of inner functions.
fn returns(node: Node<'_>) -> usize {
    match node.kind() {
        "return_statement" => 1,
        "function_definition" | "lambda" => 0,
        _ => node.children().map(returns).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::Language;

    fn parse(program: &str) -> Syntax {
        Syntax::parse(program, Language::Python).unwrap()
    }

    #[test]
    fn measures_are_those_of_codeif() {
        let holds = [true, true, false, true, true, true, false, true];
        let mut presupposes: [&[usize]; 8] = [&[]; 8];
        (presupposes[3], presupposes[5], presupposes[7]) = (&[2], &[3, 4], &[0]);
        let score = |measure: Measure| measure.of(&holds, &presupposes);
        assert_eq!(score(Measure::Complete), 0.0);
        assert_eq!(score(Measure::Soft), 0.75);
        assert_eq!(score(Measure::Rigorous), 0.625);
        assert_eq!(score(Measure::Consistent), 0.375);
        for measure in [Measure::Complete, Measure::Soft, Measure::Rigorous, Measure::Consistent] {
            assert_eq!((measure.of(&[true; 3], &[]), measure.of(&[false; 3], &[])), (1.0, 0.0));
        }
    }

    #[test]
    fn constructs_are_found_where_they_are() {
        use Construct::*;
        let all = [Loop, Recursion, Comprehension, Import, Lambda, Class, Try, Global];
        let programs = [
            "while x:\n    pass\n",
            "def f(n):\n    return f(n - 1)\n",
            "y = [a for a in b]\n",
            "from a import b\n",
            "y = lambda a: a\n",
            "class A:\n    pass\n",
            "try:\n    pass\nexcept E:\n    pass\n",
            "def f():\n    global x\n",
        ];
        for (index, program) in programs.iter().enumerate() {
            let found: Vec<Construct> =
                all.into_iter().filter(|construct| construct.is_in(&parse(program))).collect();
            assert_eq!(found, [all[index]], "{program}");
        }
        assert!(!Recursion.is_in(&parse("def f(n):\n    return g(n)\ndef g(n):\n    return n\n")));
    }

    #[test]
    fn functions_are_read_with_their_parameters() {
        let text = "def f(self, a, b: int, c=1, d: int = 2, *e, **g) -> int:\n    \"\"\"Doc.\"\"\"\n    def h():\n        return 1\n    return 2\n";
        let syntax = parse(text);
        let [outer, inner] = &functions(&syntax)[..] else { panic!("wanted two functions") };
        assert_eq!((outer.name, &outer.parameters[..]), ("f", &["self", "a", "b", "c", "d", "e", "g"][..]));
        assert_eq!((outer.documented, outer.typed, outer.returns), (true, false, 1));
        assert_eq!((inner.documented, inner.typed, inner.returns), (false, false, 1));
        let typed = |text: &str| functions(&parse(text))[0].typed;
        assert!(typed("def f(self, a: int, b: int = 1) -> int:\n    return a\n"));
        assert!(typed("def f() -> int:\n    return 1\n") && !typed("def f(a: int):\n    return a\n"));
    }

    #[test]
    fn nesting_is_counted_in_blocks() {
        assert_eq!(deepest_nesting(&parse("x = 1\n")), 0);
        assert_eq!(deepest_nesting(&parse("for a in b:\n    if a:\n        pass\nif c:\n    pass\n")), 2);
    }
}
