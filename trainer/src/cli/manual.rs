//! `docs/cli.md`: the manual of the command line, out of what `--help` says.

use clap::{Arg, Command, CommandFactory};

use super::Cli;

/// What stands before the commands.
const HEAD: &str = "# The command line

<!-- Generated from trainer/src/cli; `RLTRAIN_REGENERATE=1 cargo test --release --workspace` makes it anew. -->

Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 the world failed (disk, device, sandbox, or \
what was checked does not hold), 2 bad input: what was typed, a recipe, a task file, a folder that is not what it was taken for; 130 a \
second Ctrl-C. `NO_COLOR` is respected, and where standard error is no terminal, progress is plain lines.
";

/// Every command with its arguments, as Markdown.
pub fn manual() -> String {
    let mut command = Cli::command();
    command.build();
    let mut text = HEAD.to_owned();
    append(&command, &mut text);
    text
}

fn append(command: &Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage: Vec<&str> =
        usage.trim_start_matches("Usage:").lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    text.push_str(&format!("\n## `{name}`\n\n{about}.\n\n```text\n{}\n```\n", usage.join("\n")));
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let lines: String = shown
        .filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()))
        .map(line)
        .collect();
    if !lines.is_empty() {
        text.push_str(&format!("\n{lines}"));
    }
    let inner = command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help");
    inner.for_each(|inner| append(inner, text));
}

/// One argument, its possible values and its default.
fn line(argument: &Arg) -> String {
    let values: Vec<String> =
        argument.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>")).collect();
    let takes = argument.get_action().takes_values() && !values.is_empty();
    let values = if takes { values.join(" ") } else { String::new() };
    let name = match argument.get_long() {
        Some(long) => format!("--{long} {values}"),
        None => values,
    };
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut notes = Vec::new();
    let possible = argument.get_possible_values();
    if takes && !possible.is_empty() {
        let names = possible
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| format!("`{}`", value.get_name()));
        notes.push(format!("one of {}", names.collect::<Vec<_>>().join(", ")));
    }
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| format!("`{}`", value.display())).collect();
    if takes && !defaults.is_empty() && defaults != ["``"] {
        notes.push(format!("default {}", defaults.join(" ")));
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
    format!("- `{}`: {}{notes}\n", name.trim(), help.replace('\n', " "))
}
