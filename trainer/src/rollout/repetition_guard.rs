//! Holds back the token that would open another copy of what a completion ends in (Dong et al. 2025, arXiv:2504.12608).
//!
//! Two kinds of copies: of tokens, and of lines whose tokens are of the same kinds, so that names and numbers may differ. The paper
//! multiplies logits, which makes those below 0 more probable; here factors are of probabilities.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Tokens, and lines, of the longest unit that is looked for.
const LONGEST_UNIT: usize = 50;

/// Factor of the end's probability for each copy, where a keyword would open the next one: the paper's 1 / 0.8.
const END_FACTOR: f64 = 1.0 / 0.8;

/// Words that open a statement, in the languages of the runtimes.
const KEYWORDS: [&str; 34] = [
    "assert", "async", "await", "break", "case", "catch", "class", "const", "continue", "def", "del", "do",
    "elif", "else", "except", "finally", "for", "from", "function", "global", "if", "import", "let", "pass",
    "print", "raise", "return", "switch", "throw", "try", "var", "while", "with", "yield",
];

/// What is added to log-probabilities.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Held {
    /// Tokens that would open another copy.
    pub(super) tokens: Vec<(i64, f64)>,
    /// Every end of a completion.
    pub(super) end: f64,
}

/// What a completion of `tokens` is held back from, at `factor` of the probability for each copy. `text` decodes the first so
/// many tokens.
pub(super) fn held<E>(
    tokens: &[i64],
    factor: f64,
    text: impl Fn(usize) -> Result<String, E>,
) -> Result<Held, E> {
    let mut held = Held::default();
    let of_copies = |copies: usize| copies as f64 * factor.ln();
    if let Some(tail) = Tail::of(tokens) {
        held.tokens.push((tokens[tokens.len() - tail.unit], of_copies(tail.copies)));
    }
    let whole = text(tokens.len())?;
    let (before, begun) = whole.rsplit_once('\n').unwrap_or(("", &whole));
    if before.is_empty() || !begun.trim().is_empty() {
        // In the middle of a line.
        return Ok(held);
    }
    let lines: Vec<(usize, &str)> = lines(before).collect();
    let kinds: Vec<u64> = lines.iter().map(|(_, line)| kinds(line)).collect();
    if let Some(tail) = Tail::of(&kinds) {
        let (place, line) = lines[lines.len() - tail.unit];
        let opening = opening_token(tokens, place + (line.len() - line.trim_start().len()), &text)?;
        if !held.tokens.iter().any(|(token, _)| *token == opening) {
            held.tokens.push((opening, of_copies(tail.copies)));
        }
        let word: String =
            line.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if KEYWORDS.contains(&&*word) {
            held.end = tail.copies as f64 * END_FACTOR.ln();
        }
    }
    Ok(held)
}

/// Copies that a list ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tail {
    /// Items of one copy.
    unit: usize,
    /// How many there are, at least two.
    copies: usize,
}

impl Tail {
    /// The longest of the tails that repeat a unit; of equal ones that of the smallest unit.
    fn of<T: PartialEq>(items: &[T]) -> Option<Tail> {
        let of_unit = |unit: usize| {
            let last = &items[items.len() - unit..];
            let copies = items.rchunks_exact(unit).take_while(|copy| *copy == last).count();
            (copies >= 2).then_some(Tail { unit, copies })
        };
        let tails = (1..=LONGEST_UNIT.min(items.len() / 2)).filter_map(of_unit);
        tails.max_by_key(|tail| (tail.unit * tail.copies, std::cmp::Reverse(tail.unit)))
    }
}

/// Lines with anything in them, and the bytes they begin at.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let begin = |line: &str| line.as_ptr() as usize - text.as_ptr() as usize;
    text.split('\n').filter(|line| !line.trim().is_empty()).map(move |line| (begin(line), line))
}

/// The token that the byte at `place` comes from.
fn opening_token<E>(
    tokens: &[i64],
    place: usize,
    text: &impl Fn(usize) -> Result<String, E>,
) -> Result<i64, E> {
    let (mut fewest, mut most) = (0, tokens.len() - 1);
    // The first of the beginnings that has the byte.
    while fewest < most {
        let middle = fewest.midpoint(most);
        if text(middle + 1)?.len() > place { most = middle } else { fewest = middle + 1 }
    }
    Ok(tokens[fewest])
}

/// A number that lines have in common whose tokens are of the same kinds: names, numbers, texts, lists and comments are kinds,
/// keywords and operators are themselves.
fn kinds(line: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut rest = line.trim();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '#' => {
                "comment".hash(&mut hasher);
                rest.len()
            }
            '"' | '\'' => {
                "text".hash(&mut hasher);
                rest[1..].find(first).map_or(rest.len(), |end| end + 2)
            }
            '[' if rest.contains(']') => {
                "list".hash(&mut hasher);
                rest.find(']').map_or(rest.len(), |end| end + 1)
            }
            _ if first.is_ascii_digit() => {
                "number".hash(&mut hasher);
                length_of(rest, |c| c.is_ascii_alphanumeric() || c == '.' || c == '_')
            }
            _ if first.is_alphabetic() || first == '_' => {
                let length = length_of(rest, |c| c.is_alphanumeric() || c == '_');
                let word = &rest[..length];
                if KEYWORDS.contains(&word) { word } else { "name" }.hash(&mut hasher);
                length
            }
            _ => {
                first.hash(&mut hasher);
                first.len_utf8()
            }
        };
        rest = rest[length..].trim_start();
    }
    hasher.finish()
}

/// Bytes of the characters at the beginning that `belongs` holds of.
fn length_of(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// Bytes as tokens.
    fn of(text: &str) -> Held {
        let tokens: Vec<i64> = text.bytes().map(i64::from).collect();
        let decode = |count: usize| {
            Ok::<_, Infallible>(String::from_utf8_lossy(&text.as_bytes()[..count]).into_owned())
        };
        held(&tokens, 0.9, decode).unwrap()
    }

    /// The specification's numbers for three copies.
    #[test]
    fn the_token_that_opens_a_fourth_copy_loses_a_factor_for_each() {
        let held = of("x = ab-ab-ab-");
        assert_eq!(held.tokens.len(), 1);
        let (token, weight) = held.tokens[0];
        assert_eq!(token, i64::from(b'a'));
        assert!((weight - -0.316_082).abs() < 1e-6, "{weight}");
        assert_eq!(of("x = ab-ab-").tokens[0].1, 2.0 * 0.9f64.ln());
        assert_eq!(of("no copies"), Held::default());
    }

    #[test]
    fn lines_of_the_same_kinds_are_copies_and_a_keyword_lets_the_end_come() {
        let held = of("y = 0\nif x == 1: return 2\nif z == 30: return 4\nif y == 5: return 71\n");
        assert_eq!(held.tokens, [(i64::from(b'i'), 3.0 * 0.9f64.ln())]);
        assert!((held.end - 0.669_431).abs() < 1e-6, "{}", held.end);
        let names = of("x = f(1)\ny = g(2)\n");
        assert_eq!((names.tokens, names.end), (vec![(i64::from(b'y'), 2.0 * 0.9f64.ln())], 0.0));
    }

    #[test]
    fn lines_are_looked_at_where_one_begins() {
        assert_eq!(of("if x == 1: return 2\nif y == 3: return 4\nif"), Held::default());
        let indented = of("  if x == 1: return 2\n  if y == 3: return 4\n  ");
        assert!(indented.tokens.iter().any(|(token, _)| *token == i64::from(b'i')), "{indented:?}");
        assert!(indented.end > 0.0);
    }

    proptest! {
        #[test]
        fn copies_are_found_and_cover_as_much_as_was_put_there(
            before in prop::collection::vec(0u8..3, 0..10), unit in prop::collection::vec(0u8..3, 1..6), copies in 2usize..5,
        ) {
            let items = [before, unit.repeat(copies)].concat();
            let tail = Tail::of(&items).unwrap();
            prop_assert!(tail.unit * tail.copies >= unit.len() * copies);
            let last = &items[items.len() - tail.unit..];
            prop_assert!(items.ends_with(&last.repeat(tail.copies)));
        }
    }
}
