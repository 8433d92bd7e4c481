//! Whether the grammar is one, as the run's own engine reads it for the model's tokenizer.

use std::ops::Range;

use toml::Spanned;

use super::Recipe;
use super::problems::Problems;
use crate::policy::PolicyError;
use crate::rollout::grammar::CompiledGrammar;

const TEXT: &str = "rollout.grammar.text";

/// Reports a grammar that does not compile, at the line that the engine names. The paths of `recipe` are absolute; of the model,
/// the tokenizer alone is read, and one that cannot be read is reported by who needs it.
pub(super) fn check(recipe: &Recipe, problems: &mut Problems<'_>) {
    let Some(config) = &recipe.rollout.grammar else { return };
    let Err(PolicyError::Grammar(error)) = CompiledGrammar::for_model(config, &recipe.model.path) else {
        return;
    };
    let (line, said) = located(&error.0);
    let value = problems.value_of(TEXT).map(Spanned::span);
    let line_of = |value: Range<usize>, line| line_of(problems.text_at(&value), value, line);
    let place = value.clone().zip(line).and_then(|(value, line)| line_of(value, line)).or(value);
    let message = format!("`{TEXT}` cannot be followed: {said}");
    let help = "docs/rollout.md shows a grammar; the notation is llguidance's, whose Lark differs from the original in places";
    problems.report(TEXT, place, message, Some(help.to_owned()));
}

/// The line that the engine's message begins with, from 1, if it names one, and what it says, without the drawing of the place that
/// it adds: there is one already.
fn located(message: &str) -> (Option<usize>, String) {
    let bare = message.strip_prefix("at ").unwrap_or(message);
    let parts =
        bare.split_once('(').and_then(|(line, rest)| Some((line.parse().ok()?, rest.split_once("): ")?)));
    let (line, said) = match parts {
        Some((line, (_, said))) => (Some(line), said),
        None => (None, message),
    };
    let is_drawn = |line: &&str| {
        let numbered =
            line.split_once(" | ").is_some_and(|(number, _)| number.trim().parse::<usize>().is_ok());
        numbered || line.trim().chars().all(|character| character == '^')
    };
    let words: Vec<&str> = said.lines().filter(|line| !is_drawn(line)).collect();
    (line, words.join("\n"))
}

/// The bytes of a line, from 1, of the text that the TOML value at `value` is, where lines of one are lines of the other.
fn line_of(recipe: &str, value: Range<usize>, line: usize) -> Option<Range<usize>> {
    let raw = recipe.get(value.clone())?;
    let inside = raw.strip_prefix("'''").or_else(|| raw.strip_prefix("\"\"\""))?;
    // TOML leaves out a line break right behind the quotes.
    let first = inside.strip_prefix('\n').or_else(|| inside.strip_prefix("\r\n")).unwrap_or(inside);
    let wanted = first.lines().nth(line.checked_sub(1)?)?;
    let text = wanted.trim_end_matches(['\'', '"']).trim_end();
    let start = value.start + (wanted.as_ptr() as usize - raw.as_ptr() as usize);
    (!text.is_empty()).then(|| start..start + text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_its_line_or_none() {
        let said = |message| {
            let (line, said) = located(message);
            format!("{line:?} {said}")
        };
        assert_eq!(said("2(7): lexer error\n   2 | a ?\n         ^\n"), "Some(2) lexer error");
        assert_eq!(said("at 13(1): unknown name: b\n  13 | b"), "Some(13) unknown name: b");
        assert_eq!(
            said("at 1(1): regex error:\n  (a\n  ^\nerror: unclosed"),
            "Some(1) regex error:\n  (a\nerror: unclosed"
        );
        assert_eq!(said("at EOF: expecting rule"), "None at EOF: expecting rule");
    }

    #[test]
    fn a_line_of_the_text_is_found_in_the_recipe() {
        let recipe = "text = '''\nstart: a\na: b'''\n";
        let value = 7..recipe.len() - 1;
        assert_eq!(line_of(recipe, value.clone(), 1).map(|place| &recipe[place]), Some("start: a"));
        assert_eq!(line_of(recipe, value.clone(), 2).map(|place| &recipe[place]), Some("a: b"));
        assert_eq!(line_of(recipe, value.clone(), 0), None);
        assert_eq!(line_of(recipe, value, 3), None);
        assert_eq!(line_of("text = \"start: a\"", 7..17, 1), None);
    }
}
