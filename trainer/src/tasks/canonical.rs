//! What is left of a Python program when names and layout do not count.

use std::collections::HashMap;

/// Words that mean something by themselves: keywords, and builtins that references use.
const KEPT: &str = "False None True and as assert async await break class continue def del elif else except finally for from \
    global if import in is lambda nonlocal not or pass raise return try while with yield abs all any bin \
    bool bytes callable chr complex dict divmod enumerate filter float format frozenset getattr hasattr hash \
    hex int isinstance issubclass iter len list map max min next object oct ord pow print range repr \
    reversed round set setattr slice sorted str sum super tuple type zip";

/// The tokens of `program`, separated by spaces: identifiers become `v0`, `v1`, … in the order in which they first
/// appear; comments, docstrings, blank lines and the width of indents are gone. Keywords, builtins, literals and
/// the names of attributes stay.
///
/// Two programs that differ only in the names they chose become equal. This is a comparison, not a parser: text
/// that is not Python gives some tokens too.
pub(super) fn canonical(program: &str) -> String {
    let mut tokens = Vec::new();
    let mut names = HashMap::new();
    let mut indents = vec![0];
    let mut previous = "";
    for (indent, line) in logical_lines(program) {
        if let [only] = line[..]
            && is_string(only)
        {
            continue;
        }
        while indents.len() > 1 && indents.last().is_some_and(|last| *last > indent) {
            indents.pop();
            tokens.push("DEDENT".to_owned());
        }
        if indents.last().is_some_and(|last| *last < indent) {
            indents.push(indent);
            tokens.push("INDENT".to_owned());
        }
        for token in line {
            let is_name =
                token.starts_with(is_name_character) && !token.starts_with(|c: char| c.is_ascii_digit());
            if is_name && !is_string(token) && previous != "." && !KEPT.split(' ').any(|kept| kept == token) {
                let next = names.len();
                tokens.push(format!("v{}", names.entry(token).or_insert(next)));
            } else {
                tokens.push(token.to_owned());
            }
            previous = token;
        }
        tokens.push("NEWLINE".to_owned());
    }
    tokens.join(" ")
}

fn is_string(token: &str) -> bool {
    token.ends_with(['"', '\''])
}

fn is_name_character(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Logical lines as the width of their indent and their tokens; what is in brackets is on one line.
fn logical_lines(program: &str) -> Vec<(usize, Vec<&str>)> {
    let mut lines = Vec::new();
    let (mut indent, mut line, mut depth) = (0, Vec::new(), 0usize);
    let mut at_start = true;
    let mut rest = program;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\n' => {
                if depth == 0 {
                    if !line.is_empty() {
                        lines.push((indent, std::mem::take(&mut line)));
                    }
                    at_start = true;
                }
                1
            }
            '\\' if rest[1..].starts_with('\n') => 2,
            '#' => rest.find('\n').unwrap_or(rest.len()),
            _ if first.is_whitespace() => {
                let length = rest.find(|c: char| !c.is_whitespace() || c == '\n').unwrap_or(rest.len());
                if at_start {
                    indent = length;
                    at_start = false;
                }
                length
            }
            _ => {
                if at_start {
                    indent = 0;
                    at_start = false;
                }
                let length = token_length(rest);
                match first {
                    '(' | '[' | '{' => depth += 1,
                    ')' | ']' | '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                line.push(&rest[..length]);
                length
            }
        };
        rest = &rest[length..];
    }
    if !line.is_empty() {
        lines.push((indent, line));
    }
    lines
}

/// Bytes of the token that `text` begins with; `text` begins with none of whitespace and `#`.
fn token_length(text: &str) -> usize {
    let word = text.find(|c: char| !is_name_character(c)).unwrap_or(text.len());
    let is_prefix = word <= 2 && text[..word].chars().all(|c| "rRbBuUfFtT".contains(c));
    if is_prefix && text[word..].starts_with(['"', '\'']) {
        return word + string_length(&text[word..]);
    }
    if word > 0 {
        // The fraction of a number belongs to it; an attribute does not.
        let is_number = text.starts_with(|c: char| c.is_ascii_digit());
        if is_number && text[word..].starts_with('.') {
            let fraction = &text[word + 1..];
            return word + 1 + fraction.find(|c: char| !is_name_character(c)).unwrap_or(fraction.len());
        }
        return word;
    }
    text.chars().next().map_or(0, char::len_utf8)
}

/// Bytes of the string literal that `text` begins with, quotes included.
fn string_length(text: &str) -> usize {
    let one = &text[..1];
    let triple = one.repeat(3);
    let quote = if text.starts_with(&triple) { triple.as_str() } else { one };
    let mut place = quote.len();
    while place < text.len() {
        let rest = &text[place..];
        if rest.starts_with(quote) {
            return place + quote.len();
        }
        let mut characters = rest.chars();
        let first = characters.next().map_or(0, char::len_utf8);
        let escaped = if rest.starts_with('\\') { characters.next().map_or(0, char::len_utf8) } else { 0 };
        place += first + escaped;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_layout_comments_and_docstrings_do_not_count() {
        let one = "    total = 0\n    for n in numbers:\n        total += n  # add\n    return total\n";
        let other =
            "  \"\"\"Adds\n  up.\"\"\"\n\n  acc=0\n  for item in values :\n    acc += item\n  return acc";
        assert_eq!(canonical(one), canonical(other));
        assert_eq!(
            canonical(one),
            "INDENT v0 = 0 NEWLINE for v1 in v2 : NEWLINE INDENT v0 + = v1 NEWLINE DEDENT return v0 NEWLINE"
        );
    }

    #[test]
    fn methods_builtins_literals_and_structure_count() {
        let different = [
            "return text.upper()",
            "return text.lower()",
            "return len(text)",
            "return sum(text)",
            "return text[1]",
            "return text[2]",
            "return text + 'a'",
            "return text + 'b'",
            "return a - b - a",
            "return a - b - b",
            "if a:\n  b()\nc()",
            "if a:\n  b()\n  c()",
        ];
        for (place, one) in different.iter().enumerate() {
            for other in &different[place + 1..] {
                assert_ne!(canonical(one), canonical(other));
            }
        }
    }

    #[test]
    fn strings_are_one_token_whatever_they_hold() {
        assert_eq!(
            canonical("x = f'# {a}' + r\"\\\" # text\" # comment"),
            "v0 = f'# {a}' + r\"\\\" # text\" NEWLINE"
        );
        assert_eq!(canonical("x = '''a\n'b' ''' \\\n + b'c'"), "v0 = '''a\n'b' ''' + b'c' NEWLINE");
        assert_eq!(canonical("f(1.5,\n  x.y)"), "v0 ( 1.5 , v1 . y ) NEWLINE");
    }

    proptest! {
        #[test]
        fn any_text_has_tokens(text in "[a-z0-9 \\n\\\\'\"#.(){}é-]{0,80}") {
            canonical(&text);
        }

        #[test]
        fn renaming_every_name_changes_nothing(shift in 1usize..26) {
            let program = |shift: usize| {
                let name = |place: usize| char::from(b'a' + ((place + shift) % 26) as u8).to_string().repeat(3);
                let [one, two, three] = [name(0), name(7), name(12)];
                format!("    {one} = {two}({three}, 2)\n    return {one}.items() + {three}")
            };
            prop_assert_eq!(canonical(&program(0)), canonical(&program(shift)));
        }
    }
}
