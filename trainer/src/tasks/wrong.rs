//! Programs that do nothing of what a task asks: no test may let them pass.

use rltrain_rewards::Language;

use super::Task;

/// A program that is no solution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WrongProgram {
    /// What it does, as the end of a sentence that begins with "it".
    pub(super) what: &'static str,
    /// The whole program.
    pub(super) source: String,
}

/// Bodies of functions in Python, and what each does.
const PYTHON_BODIES: [(&str, &str); 10] = [
    ("does nothing", "pass"),
    ("returns None", "return None"),
    ("returns 0", "return 0"),
    ("returns an empty text", "return ''"),
    ("returns an empty list", "return []"),
    ("returns True", "return True"),
    ("returns False", "return False"),
    ("raises an exception", "raise ValueError('wrong')"),
    ("calls sys.exit(0)", "import sys; sys.exit(0)"),
    ("calls os._exit(0)", "import os; os._exit(0)"),
];

/// Scripts in Python.
const PYTHON_SCRIPTS: [(&str, &str); 8] = [
    ("does nothing", "pass"),
    ("prints 0", "print(0)"),
    ("prints 1", "print(1)"),
    ("prints YES", "print('YES')"),
    ("prints NO", "print('NO')"),
    ("prints what it reads", "import sys\nprint(sys.stdin.read(), end='')"),
    ("raises an exception", "raise ValueError('wrong')"),
    ("calls os._exit(0)", "import os\nos._exit(0)"),
];

/// Bodies of functions in JavaScript, whose signature ends in a brace.
const JAVASCRIPT_BODIES: [(&str, &str); 8] = [
    ("does nothing", ""),
    ("returns null", "return null;"),
    ("returns 0", "return 0;"),
    ("returns an empty text", "return '';"),
    ("returns an empty list", "return [];"),
    ("returns true", "return true;"),
    ("returns false", "return false;"),
    ("throws an exception", "throw new Error('wrong');"),
];

/// Whole programs in the other languages that read nothing and print nothing.
const IDLE: [(Language, &str); 6] = [
    (Language::C, "int main(void) { return 0; }"),
    (Language::Cpp, "int main() { return 0; }"),
    (Language::Rust, "fn main() {}"),
    (Language::Go, "package main\n\nfunc main() {}"),
    (Language::Java, "public class Main { public static void main(String[] arguments) {} }"),
    (Language::Ruby, "nil"),
];

/// Wrong programs for a task, one of which never ends if `endless` is asked for; none where its language, or the form of its
/// signature, is not one for which there are any.
pub(super) fn wrong_programs(task: &Task, endless: bool) -> Vec<WrongProgram> {
    let wrong = |(what, source)| WrongProgram { what, source };
    let whole = |(what, source): (&'static str, &str)| wrong((what, format!("{source}\n")));
    let Task { signature, entry_point, language, .. } = task;
    match (language, entry_point.is_empty()) {
        (Language::Python, true) => {
            let forever = endless.then_some(("never ends", "while True: pass"));
            PYTHON_SCRIPTS.into_iter().chain(forever).map(whole).collect()
        }
        (Language::Python, false) => {
            let forever = endless.then_some(("never ends", "while True: pass"));
            let bodies = PYTHON_BODIES.into_iter().chain(forever).map(|(what, body)| (what, body.to_owned()));
            let first = match begins_function(task) {
                true => first_parameter(task),
                false => Some("arguments[0]"),
            };
            let first = first.map(|name| ("returns its first argument", format!("return {name}")));
            bodies.chain(first).map(|(what, body)| wrong((what, python_function(task, &body)))).collect()
        }
        (Language::JavaScript, false) if signature.ends_with('{') => {
            let program = |body| format!("{signature}\n    {body}\n}}\n");
            JAVASCRIPT_BODIES.into_iter().map(|(what, body)| wrong((what, program(body)))).collect()
        }
        (Language::JavaScript, false) if signature.is_empty() => {
            let program = |body| format!("function {entry_point}(...given) {{\n    {body}\n}}\n");
            JAVASCRIPT_BODIES.into_iter().map(|(what, body)| wrong((what, program(body)))).collect()
        }
        (Language::JavaScript, true) => {
            let scripts =
                [("does nothing", ""), ("prints 0", "console.log(0)"), ("prints YES", "console.log('YES')")];
            scripts.into_iter().map(whole).collect()
        }
        _ => {
            let idle = IDLE.iter().filter(|(of, _)| signature.is_empty() && of == language);
            idle.map(|(_, source)| whole(("does nothing", source))).collect()
        }
    }
}

/// A program in Python that does nothing.
pub fn idle_program(task: &Task) -> String {
    if task.entry_point.is_empty() { "pass\n".to_owned() } else { python_function(task, "pass") }
}

/// The function that a task asks for, with a body of one line.
fn python_function(task: &Task, body: &str) -> String {
    if begins_function(task) {
        let indent = " ".repeat(body_indent(task));
        return format!("{}\n{indent}{body}\n", task.signature);
    }
    let gap = if task.signature.is_empty() { "" } else { "\n\n\n" };
    let begin = format!("{}{gap}", task.signature);
    match task.entry_point.split_once("().") {
        Some((class, method)) => {
            format!("{begin}class {class}:\n    def {method}(self, *arguments, **named):\n        {body}\n")
        }
        None => format!("{begin}def {}(*arguments, **named):\n    {body}\n", task.entry_point),
    }
}

/// Whether the signature begins the function that tests call, rather than no more than imports what it takes.
fn begins_function(task: &Task) -> bool {
    task.signature.contains(&head(task))
}

/// Width of the indent that a body has behind a signature in Python: that of what the signature has of the body, such as a
/// docstring, or else four more than the function's own.
pub(super) fn body_indent(task: &Task) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = task.signature.lines().collect();
    let head = head(task);
    let Some(head) = lines.iter().rposition(|line| line.contains(&head)) else { return 4 };
    let end = (head..lines.len()).find(|line| lines[*line].trim_end().ends_with(':')).unwrap_or(head);
    let inside = lines[end + 1..].iter().find(|line| !line.trim().is_empty()).map(|line| indent(line));
    inside.filter(|inside| *inside > indent(lines[head])).unwrap_or(indent(lines[head]) + 4)
}

/// How the definition of the function begins that tests call.
fn head(task: &Task) -> String {
    let name = task.entry_point.rsplit('.').next().unwrap_or_default();
    format!("def {name}(")
}

/// Name of the first parameter of a signature, if it has one that a body can return.
fn first_parameter(task: &Task) -> Option<&str> {
    let head = head(task);
    let parameters = &task.signature[task.signature.rfind(&head)? + head.len()..];
    let name =
        parameters.trim_start().strip_prefix("self,").unwrap_or(parameters).trim_start_matches([' ', '*']);
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (end > 0).then_some(&name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(signature: &str, entry_point: &str) -> Task {
        Task { signature: signature.to_owned(), entry_point: entry_point.to_owned(), ..Task::default() }
    }

    #[test]
    fn the_first_parameter_is_found_whatever_stands_around_it() {
        let cases = [
            ("def f(x):", Some("x")),
            ("def f(first_name, y=1) -> str:", Some("first_name")),
            ("def f(n: int = 3):", Some("n")),
            ("def f( *args):", Some("args")),
            ("def f(*, key):", None),
            ("def f():", None),
            ("class Solution:\n    def f(self, nums: List[int]) -> int:", Some("nums")),
            ("def helper(a):\n    return a\n\n\ndef f(b):\n    \"\"\"Calls helper(a).\"\"\"", Some("b")),
        ];
        for (signature, wanted) in cases {
            assert_eq!(first_parameter(&task(signature, "f")), wanted, "{signature}");
        }
    }

    #[test]
    fn bodies_stand_where_the_signature_has_its_own() {
        let cases = [
            ("def f(x):", 4),
            ("class Solution:\n    def f(self, x):", 8),
            ("import math\n\n\ndef f(\n    x,\n) -> int:\n  \"\"\" Adds:\n    def g(): pass\n  \"\"\"", 2),
            ("def f(x):\n\n\t\"\"\"Text.\n\"\"\"", 1),
        ];
        for (signature, wanted) in cases {
            let found = body_indent(&task(signature, "f"));
            assert_eq!(found, wanted, "{signature}");
        }
    }

    #[test]
    fn each_form_of_a_task_has_wrong_programs_of_its_form() {
        let programs = |task: &Task| wrong_programs(task, false);
        let function = programs(&task("def double(n):", "double"));
        assert_eq!(function.len(), 11);
        assert!(function.iter().all(|program| program.source.starts_with("def double(n):\n    ")));
        assert!(function.iter().any(|program| program.source.ends_with("    return n\n")));
        assert_eq!(wrong_programs(&task("def double(n):", "double"), true).len(), 12);

        let imports = programs(&task("import math\nimport re", "f"));
        let source = &imports[0].source;
        assert!(source.starts_with("import math\nimport re\n\n\ndef f(*arguments"), "{source}");
        let whole = programs(&task("", "Solution().f"));
        assert!(
            whole[0].source.starts_with("class Solution:\n    def f(self, *arguments"),
            "{}",
            whole[0].source
        );
        assert!(programs(&task("", ""))[1].source.starts_with("print(0)"));
        let javascript = Task { language: Language::JavaScript, ..task("function f(n) {", "f") };
        assert!(programs(&javascript)[2].source.starts_with("function f(n) {\n    return 0;\n}"));
        for language in Language::ALL {
            let script = Task { language, ..Task::default() };
            assert_eq!(programs(&script).is_empty(), language == Language::Sql, "{language:?}");
        }
    }
}
