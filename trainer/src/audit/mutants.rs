//! Wrong programs that look right: the reference with one thing changed.

use super::tokens::{Kind, Token, tokens};

/// The reference with one thing changed. A few mutants do the same as the reference; no test can tell those apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// What was changed, for people.
    pub change: String,
    /// The whole program.
    pub program: String,
}

/// What stands for each word and operator; the operators of DeMillo, Lipton and Sayward's mutation testing (1978) that Python has.
const SWAPS: [(&str, &str); 20] = [
    ("<", "<="),
    ("<=", "<"),
    (">", ">="),
    (">=", ">"),
    ("==", "!="),
    ("!=", "=="),
    ("+", "-"),
    ("-", "+"),
    ("*", "+"),
    ("//", "*"),
    ("/", "*"),
    ("%", "*"),
    ("**", "*"),
    ("and", "or"),
    ("or", "and"),
    ("True", "False"),
    ("False", "True"),
    ("min", "max"),
    ("max", "min"),
    ("not", ""),
];

/// Up to `most` mutants of a Python program, spread over it evenly. The first line, which is the signature, stays.
pub fn mutants(reference: &str, most: usize) -> Vec<Mutant> {
    let body = reference.find('\n').map_or(reference.len(), |end| end + 1);
    let found = tokens(reference);
    let body: Vec<Token<'_>> = found.into_iter().filter(|token| token.at >= body).collect();
    let all: Vec<Mutant> = body.iter().filter_map(|token| mutant(reference, *token)).collect();
    let kept = most.min(all.len());
    (0..kept).map(|index| all[index * all.len() / kept].clone()).collect()
}

/// The program with this token changed, if there is something to change it to.
fn mutant(reference: &str, token: Token<'_>) -> Option<Mutant> {
    let Token { at, text, kind } = token;
    let (end, new) = match kind {
        Kind::Number => (at + text.len(), (text.parse::<u64>().ok()?.checked_add(1)?).to_string()),
        Kind::Word if text == "return" => {
            let end = reference[at..].find('\n').map_or(reference.len(), |length| at + length);
            (end, "return None".to_owned())
        }
        _ => {
            let (_, new) = SWAPS.iter().find(|(old, _)| *old == text)?;
            (at + text.len(), (*new).to_owned())
        }
    };
    let old = &reference[at..end];
    let line = reference[..at].matches('\n').count() + 1;
    let change = if new.is_empty() {
        format!("line {line}: without `{old}`")
    } else {
        format!("line {line}: `{new}` for `{old}`")
    };
    let program = format!("{}{new}{}", &reference[..at], &reference[end..]);
    (program != reference).then_some(Mutant { change, program })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_changed_at_a_time_and_never_the_signature() {
        let reference = "def f(n=1):\n    if n < 2 and not n:  # < is right\n        return '<' * n\n";
        let changes: Vec<String> = mutants(reference, 99).into_iter().map(|mutant| mutant.change).collect();
        assert_eq!(
            changes,
            [
                "line 2: `<=` for `<`",
                "line 2: `3` for `2`",
                "line 2: `or` for `and`",
                "line 2: without `not`",
                "line 3: `return None` for `return '<' * n`",
                "line 3: `+` for `*`"
            ]
        );
        for mutant in mutants(reference, 99) {
            assert!(mutant.program.starts_with("def f(n=1):\n") && mutant.program != reference);
        }
    }

    #[test]
    fn mutants_beyond_the_most_are_left_out_evenly() {
        let reference = "def f(n):\n    return n + 1 + 2 + 3\n";
        let kept = mutants(reference, 2);
        assert_eq!(kept.len(), 2);
        assert_eq!(kept[1].change, "line 2: `-` for `+`");
        assert!(mutants(reference, 0).is_empty());
    }
}
