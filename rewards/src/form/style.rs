//! `style`: the program keeps to rules of form.

use super::constraints::{Construct, Function, Measure, deepest_nesting, functions};
use crate::structure::{Language, Syntax};
use crate::term::reward_config;
use crate::{Attempt, Input, Reward};

reward_config! {
    /// `[rewards.style]`: the share of the rules set here that a Python program keeps, from 0 to 1. A program that does not parse keeps
    /// none.
    ///
    /// Programs in other languages have no score.
    pub struct StyleConfig for "style" {
        /// How rules are counted: `soft` (the share that holds), `complete` (1 if all hold), `rigorous` (the share that holds together
        /// with what it presupposes) or `consistent` (the longest run that holds). Default `soft`.
        pub measure: Measure = Measure::Soft,
        /// The function that the task asks for is there, with the parameters of its signature. Default false.
        pub names: bool = false,
        /// Every function has a docstring. Default false.
        pub docstrings: bool = false,
        /// Every function has type hints for all parameters and its result. Default false.
        pub type_hints: bool = false,
        /// Names of functions and parameters are in snake case. Default false.
        pub snake_case: bool = false,
        /// No function has more than one `return`. Default false.
        pub single_return: bool = false,
        /// Deepest nesting of branches, loops and handlers; 0 for no limit. Default 0.
        pub most_nesting: usize = 0,
        /// Most lines of code, without blank ones, comments and docstrings; 0 for no limit. Default 0.
        pub most_lines: usize = 0,
        /// What the program must contain: `loop`, `recursion`, `comprehension`, `import`, `lambda`, `class`, `try` or `global`.
        /// Default: nothing.
        pub required: Vec<Construct> = Vec::new(),
        /// What the program must not contain; as for `required`. Default: nothing.
        pub forbidden: Vec<Construct> = Vec::new(),
    }
}

/// Rule-checkable constraints of CodeIF (arXiv 2502.19166), IFEvalCode and MultiCodeIF.
#[derive(Clone, Debug)]
pub struct Style {
    config: StyleConfig,
}

/// A rule, and whether it holds.
struct Rule {
    title: String,
    holds: bool,
}

impl Style {
    pub(crate) fn new(config: &StyleConfig) -> Result<Self, String> {
        let style = Self { config: config.clone() };
        let example = Syntax::parse("pass\n", Language::Python);
        let rules = example.map_or(0, |example| style.rules(&example, "", "").len());
        if rules == 0 {
            return Err("it sets no rule; set one, such as `docstrings = true`".to_owned());
        }
        if let Some(both) = config.required.iter().find(|construct| config.forbidden.contains(construct)) {
            return Err(format!("`{both:?}` is both required and forbidden"));
        }
        Ok(style)
    }

    /// The rules that are set, in the order of the table.
    fn rules(&self, syntax: &Syntax, signature: &str, entry_point: &str) -> Vec<Rule> {
        let config = &self.config;
        let functions = functions(syntax);
        let every = |holds: &dyn Fn(&Function<'_>) -> bool| functions.iter().all(holds);
        let any = !functions.is_empty();
        let snake = |function: &Function<'_>| {
            is_snake_case(function.name) && function.parameters.iter().all(|name| is_snake_case(name))
        };
        let mut rules = Vec::new();
        let mut rule =
            |set: bool, title: String, holds: bool| rules.extend(set.then_some(Rule { title, holds }));
        let named = config.names && has_signature(&functions, signature, entry_point);
        rule(config.names, "names".into(), named);
        rule(config.docstrings, "docstrings".into(), any && every(&|function| function.documented));
        rule(config.type_hints, "type hints".into(), any && every(&|function| function.typed));
        rule(config.snake_case, "snake case".into(), every(&snake));
        rule(config.single_return, "single return".into(), every(&|function| function.returns <= 1));
        let nesting = config.most_nesting;
        rule(nesting > 0, format!("nesting ≤ {nesting}"), nesting == 0 || deepest_nesting(syntax) <= nesting);
        let lines = config.most_lines;
        rule(lines > 0, format!("lines ≤ {lines}"), syntax.complexity().lines as usize <= lines);
        for construct in &config.required {
            rule(true, format!("{construct:?}").to_lowercase(), construct.is_in(syntax));
        }
        for construct in &config.forbidden {
            rule(true, format!("no {construct:?}").to_lowercase(), !construct.is_in(syntax));
        }
        rules
    }

    fn checked(&self, attempt: &Attempt<'_>) -> Option<Vec<Rule>> {
        let syntax =
            attempt.parsed.get(attempt.program, attempt.task.language).filter(|syntax| !syntax.broken())?;
        Some(self.rules(syntax, attempt.task.signature, attempt.task.entry_point))
    }
}

/// Whether the function that is asked for is there, with the parameters of its signature.
fn has_signature(functions: &[Function<'_>], signature: &str, entry_point: &str) -> bool {
    let wanted = Syntax::parse(&format!("{signature}\n    pass\n"), Language::Python);
    let wanted = wanted.as_ref().and_then(|wanted| super::constraints::functions(wanted).into_iter().next());
    functions.iter().any(|function| {
        let parameters = wanted.as_ref().is_none_or(|wanted| wanted.parameters == function.parameters);
        function.name == entry_point && parameters
    })
}

fn is_snake_case(name: &str) -> bool {
    name.chars().all(|c| c.is_lowercase() || c.is_ascii_digit() || c == '_' || !c.is_alphabetic())
}

impl Reward for Style {
    fn name(&self) -> &str {
        "style"
    }

    fn inputs(&self) -> &'static [Input] {
        &[Input::Python]
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        if attempt.task.language != Language::Python {
            return None;
        }
        let Some(rules) = self.checked(attempt) else { return Some(0.0) };
        let config = &self.config;
        let holds: Vec<bool> = rules.iter().map(|rule| rule.holds).collect();
        // Whatever is said of functions presupposes the function that was asked for.
        let presupposes: Vec<&[usize]> = (0..rules.len())
            .map(|index| if config.names && index > 0 { &[0][..] } else { &[][..] })
            .collect();
        Some(config.measure.of(&holds, &presupposes))
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        let Some(rules) = self.checked(attempt) else {
            return "the program does not parse".to_owned();
        };
        let broken: Vec<&str> =
            rules.iter().filter(|rule| !rule.holds).map(|rule| rule.title.as_str()).collect();
        match broken[..] {
            [] => format!("all {} rules kept", rules.len()),
            _ => format!("broken: {}", broken.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Task;
    use crate::tests::verdict;

    fn style(change: impl FnOnce(&mut StyleConfig)) -> Style {
        let mut config = StyleConfig::default();
        change(&mut config);
        Style::new(&config).unwrap()
    }

    fn score(style: &Style, program: &str) -> Option<f64> {
        let task = Task { signature: "def add(a, b):", entry_point: "add", ..Task::default() };
        style.score(&Attempt::new(&task, "", program, &verdict(vec![])))
    }

    #[test]
    fn each_rule_is_kept_or_broken() {
        type Case = (fn(&mut StyleConfig), &'static str, &'static str);
        let cases: [Case; 9] = [
            (|c| c.names = true, "def add(a, b):\n    return a\n", "def add(x, y):\n    return x\n"),
            (|c| c.docstrings = true, "def f():\n    'Doc.'\n", "def f():\n    pass\n"),
            (|c| c.type_hints = true, "def f() -> int:\n    return 1\n", "def f():\n    return 1\n"),
            (|c| c.snake_case = true, "def a_b(c_1):\n    pass\n", "def aB():\n    pass\n"),
            (
                |c| c.single_return = true,
                "def f():\n    return 1\n",
                "def f(x):\n    if x:\n        return 1\n    return 2\n",
            ),
            (|c| c.most_nesting = 1, "if x:\n    pass\n", "if x:\n    if y:\n        pass\n"),
            (|c| c.most_lines = 1, "# Why.\n\nx = 1\n", "x = 1\ny = 2\n"),
            (|c| c.required = vec![Construct::Loop], "for x in y:\n    pass\n", "x = 1\n"),
            (|c| c.forbidden = vec![Construct::Import], "x = 1\n", "import os\n"),
        ];
        for (set, kept, broken) in cases {
            assert_eq!(score(&style(set), kept), Some(1.0), "{kept}");
            assert_eq!(score(&style(set), broken), Some(0.0), "{broken}");
        }
    }

    #[test]
    fn what_does_not_parse_keeps_no_rule() {
        assert_eq!(score(&style(|config| config.forbidden = vec![Construct::Import]), "def (:\n"), Some(0.0));
    }

    #[test]
    fn rules_presuppose_the_function_that_was_asked_for() {
        let set = |measure| {
            style(|config| (config.measure, config.names, config.docstrings) = (measure, true, true))
        };
        let program = "def other():\n    'Doc.'\n";
        assert_eq!(score(&set(Measure::Soft), program), Some(0.5));
        assert_eq!(score(&set(Measure::Rigorous), program), Some(0.0));
    }

    #[test]
    fn a_table_without_a_rule_or_with_contradictions_is_refused() {
        assert!(Style::new(&StyleConfig::default()).is_err());
        let both = vec![Construct::Loop];
        let config = StyleConfig { required: both.clone(), forbidden: both, ..StyleConfig::default() };
        assert_eq!(Style::new(&config).unwrap_err(), "`Loop` is both required and forbidden");
    }
}
