//! `tasks.scaffold`: the three prompt templates of a recipe in a file of their own.

use std::path::Path;

use fs_err as fs;

use super::problems::Problems;
use super::templates::{Flaw, Template};
use super::{Recipe, join};

const KEY: &str = "tasks.scaffold";

/// Puts the templates of the file that the recipe names into the recipe, in place of those that it does not say itself. Reports what
/// is wrong with the file; its line is named.
pub(super) fn fill(recipe: &mut Recipe, folder: &Path, problems: &mut Problems<'_>) {
    let Some(path) = recipe.tasks.scaffold.take() else { return };
    let file = join(folder, &path);
    let name = path.display();
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) => {
            let help = "a relative path is relative to the recipe; recipes/prompts has scaffolds";
            problems.require(false, &[KEY], format!("`{KEY}`: {error}"), help);
            return;
        }
    };
    let blocks = match blocks(&text) {
        Ok(blocks) => blocks,
        Err(Flaw { what, help, line }) => {
            let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
            problems.require(false, &[KEY], format!("`{name}`{line}: {what}"), help);
            return;
        }
    };
    for Block { template, line, source } in blocks {
        match template.check(&source) {
            Ok(()) if problems.value_of(template.key()).is_none() => *template.of(recipe) = source,
            Ok(()) => {}
            Err(flaw) => {
                let line = line + flaw.line.unwrap_or(1);
                let message =
                    format!("`{name}`, line {line}: the block `{}` {}", template.block(), flaw.what);
                problems.require(false, &[KEY], message, flaw.help);
            }
        }
    }
}

/// A template in a scaffold.
struct Block {
    template: Template,
    /// The line of its head.
    line: usize,
    source: String,
}

/// The blocks of a scaffold: what stands between `{% block NAME %}` and `{% endblock %}`, each on a line of its own.
fn blocks(text: &str) -> Result<Vec<Block>, Flaw> {
    let flaw = |line: usize, what: String| {
        let names: Vec<String> =
            Template::ALL.iter().map(|template| format!("`{}`", template.block())).collect();
        let help = format!(
            "a scaffold has the blocks {}, each between lines `{{% block NAME %}}` and `{{% endblock %}}`, and comments around them",
            names.join(", ")
        );
        Flaw { what, help, line: Some(line) }
    };
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<(Template, usize, Vec<&str>)> = None;
    let mut comment = false;
    for (number, line) in text.lines().enumerate().map(|(place, line)| (place + 1, line)) {
        let tag = line.trim().strip_prefix("{%").and_then(|rest| rest.strip_suffix("%}"));
        let words: Vec<&str> =
            tag.unwrap_or_default().split([' ', '-']).filter(|word| !word.is_empty()).collect();
        match (words[..].split_first(), &mut open) {
            (Some((&"block", [name])), None) => {
                let template = Template::ALL.into_iter().find(|template| template.block() == *name);
                let template =
                    template.ok_or_else(|| flaw(number, format!("no block is called `{name}`")))?;
                if found.iter().any(|block| block.template == template) {
                    return Err(flaw(number, format!("the block `{name}` is there twice")));
                }
                open = Some((template, number, Vec::new()));
            }
            (Some((&"endblock", _)), Some(_)) => {
                if let Some((template, line, lines)) = open.take() {
                    found.push(Block { template, line, source: lines.join("\n") });
                }
            }
            (_, Some((_, _, lines))) => lines.push(line),
            (_, None) => {
                comment |= line.trim_start().starts_with("{#");
                if !comment && !line.trim().is_empty() {
                    return Err(flaw(number, "found text outside of blocks".to_owned()));
                }
                comment &= !line.trim_end().ends_with("#}");
            }
        }
    }
    match open {
        Some((template, line, _)) => Err(flaw(line, format!("the block `{}` has no end", template.block()))),
        None if found.is_empty() => Err(flaw(1, "found no block".to_owned())),
        None => Ok(found),
    }
}
