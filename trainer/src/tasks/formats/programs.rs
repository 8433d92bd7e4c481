//! What programs in Python say of themselves.

/// What the harnesses of function-call sets put before a solution, which therefore does not import it itself.
pub(super) const PRELUDE: &str = "import bisect\nimport collections\nimport functools\nimport heapq\nimport itertools\nimport math\n\
    import random\nimport re\nimport string\nfrom bisect import bisect_left, bisect_right\nfrom collections import Counter, OrderedDict, defaultdict, deque\n\
    from functools import cache, lru_cache, reduce\nfrom heapq import heapify, heappop, heappush\n\
    from itertools import accumulate, combinations, permutations, product\nfrom math import ceil, comb, floor, gcd, inf, sqrt\n\
    from typing import Dict, List, Optional, Set, Tuple";

/// Names of the functions that a program defines at its top level, in their order.
pub(super) fn functions(program: &str) -> Vec<&str> {
    let name = |line: &'_ str| -> Option<usize> { line.strip_prefix("def ")?.find('(') };
    program.lines().filter_map(|line| name(line).map(|end| line["def ".len()..][..end].trim())).collect()
}

/// The parameters of a function that a program defines at its top level, as they are written, such as `a, b=1`.
pub(super) fn parameters<'a>(program: &'a str, function: &str) -> Option<&'a str> {
    let head = format!("def {function}");
    let at = program
        .lines()
        .find(|line| line.strip_prefix(&head).is_some_and(|rest| rest.trim_start().starts_with('(')))?;
    let start = at.as_ptr() as usize - program.as_ptr() as usize + at.find('(')? + 1;
    let mut depth = 1;
    for (place, character) in program[start..].char_indices() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&program[start..start + place]);
        }
    }
    None
}

/// The docstring of a function in `source`, whose lines it leaves in place but for the indent that they share; `None` if it has none.
pub(super) fn docstring(source: &str, function: &str) -> Option<String> {
    let body = &source[source.rfind(&format!("def {function}("))?..];
    let quote = ["\"\"\"", "'''"].into_iter().filter_map(|quote| Some((body.find(quote)?, quote))).min()?;
    let text = &body[quote.0 + 3..];
    let text = &text[..text.find(quote.1).unwrap_or(text.len())];
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let shared =
        rest.lines().filter(|line| !line.trim().is_empty()).map(|line| indent(&line)).min().unwrap_or(0);
    let rest: Vec<&str> =
        rest.lines().map(|line| line.get(shared..).unwrap_or_default().trim_end()).collect();
    Some(format!("{}\n{}", first.trim(), rest.join("\n")).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_and_their_parameters_are_found() {
        let program = "import os\ndef f (a, b=(1, 2)) :\n    def inner(): pass\n\nclass C:\n    def g(self): pass\n\ndef h(\n    x,\n): return x\n";
        assert_eq!(functions(program), ["f", "h"]);
        assert_eq!(parameters(program, "f"), Some("a, b=(1, 2)"));
        assert_eq!(parameters(program, "h"), Some("\n    x,\n"));
        assert_eq!(parameters(program, "g"), None);
    }

    #[test]
    fn a_docstring_loses_its_indent_and_nothing_else() {
        let source = "def helper():\n    \"\"\"No.\"\"\"\n\ndef f(x):\n    ''' Adds.\n\n      More.\n    >>> f(1)\n    '''\n";
        assert_eq!(docstring(source, "f").as_deref(), Some("Adds.\n\n  More.\n>>> f(1)"));
        assert_eq!(docstring(source, "helper").as_deref(), Some("No."));
        assert_eq!(docstring("def f(x):\n    return x\n", "f"), None);
    }
}
