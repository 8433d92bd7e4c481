//! `rltrain preview RECIPE`: one attempt from prompt to reward, before any training.

use std::path::PathBuf;

use clap::Args;
use rltrain_executor::Ending;
use serde::Serialize;
use thiserror::Error;

use super::changes::Changes;
use super::failure::Failure;
use super::print_line;
use crate::attempts::Attempts;
use crate::execution::program;
use crate::journal::LinePart;
use crate::policy::Tokenizer;
use crate::recipe::Recipe;
use crate::rollout::Finish;
use crate::session::{Session, Start};
use crate::step_metrics::StepTimes;
use crate::telemetry::Phases;

/// Tokens that are shown on each side of where the prompt ends.
const AROUND: usize = 12;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The recipe; the first task that it would train on is attempted
    #[arg(value_name = "RECIPE")]
    recipe: PathBuf,
    #[command(flatten)]
    changes: Changes,
    /// Print everything as one JSON object
    #[arg(long)]
    json: bool,
}

/// A token by its number, and as its tokenizer writes it.
#[derive(Serialize)]
struct Token {
    id: i64,
    text: String,
}

/// One attempt.
#[derive(Serialize)]
struct Preview {
    task: String,
    prompt: String,
    prompt_tokens: usize,
    /// The last tokens of the prompt.
    before: Vec<Token>,
    /// The first tokens of the completion.
    after: Vec<Token>,
    /// Tokens that end a completion.
    stop_tokens: Vec<Token>,
    /// Texts that end it.
    stop_texts: Vec<String>,
    completion: String,
    completion_tokens: usize,
    /// Whether the token limit cut it off.
    truncated: bool,
    program: String,
    /// How the program ended, and each of its hidden tests; absent if the sandbox lost it.
    load: Option<String>,
    tests: Vec<String>,
    fuel: Option<u64>,
    error: Option<String>,
    parts: Vec<LinePart>,
    reward: Option<f64>,
    /// Attempts at the task, of which this is the first: rewards may compare them.
    siblings: usize,
}

/// A recipe that attempts nothing.
#[derive(Debug, Error)]
#[error(
    "with `supervised.mode = \"alone\"` nothing is attempted, so that there is nothing to preview; `--set supervised.mode=mixed` previews what attempts would be"
)]
struct NoAttempts;

/// Attempts, prints, and leaves nothing behind.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (mut recipe, _) = arguments.changes.load(&arguments.recipe)?;
    if recipe.supervised.is_alone() {
        return Err(Failure::plain_input(NoAttempts));
    }
    let folder = tempfile::tempdir().map_err(Failure::world)?;
    recipe.run = folder.path().join("run");
    recipe.rollout.tasks_per_step = std::num::NonZeroUsize::MIN;
    (recipe.rollout.group_size_min, recipe.rollout.group_size_max) = (None, None);
    recipe.algorithm.refills = 0;
    let mut session = Session::start_or_resume(&recipe, &Start::default())?;
    let mut times = StepTimes::start(Phases::default());
    let attempts = session.actor().attempt(&recipe, 0, &mut times)?;
    let preview = preview(&session, &recipe, &attempts)?;
    if arguments.json {
        print_line(serde_json::to_string(&preview).map_err(Failure::world)?);
    } else {
        print(&preview);
    }
    Ok(())
}

fn preview(session: &Session, recipe: &Recipe, attempts: &Attempts) -> Result<Preview, Failure> {
    let (policy, environment) = (&session.learner.policy, &session.environment);
    let tokenizer = &policy.tokenizer;
    let group = &attempts.groups[0];
    let completion = &group.completions[0];
    let task = &environment.tasks[group.task];
    let tokens = |ids: &[i64]| ids.iter().map(|id| token(tokenizer, *id)).collect::<Vec<_>>();
    let stop_ids: Vec<i64> = tokenizer.stop_ids.iter().copied().collect();
    let verdict = &attempts.verdicts.groups[0][0];
    let ended = |ending: &Ending| {
        if ending.passed() { "passed".to_owned() } else { format!("{}: {}", ending.outcome, ending.reason()) }
    };
    let judged = verdict.as_ref().ok();
    Ok(Preview {
        task: task.id.clone(),
        prompt: environment.prompter.text(task, tokenizer)?,
        prompt_tokens: group.prompt.len(),
        before: tokens(&group.prompt[group.prompt.len().saturating_sub(AROUND)..]),
        after: tokens(&completion.tokens[..completion.tokens.len().min(AROUND)]),
        stop_tokens: tokens(&stop_ids),
        stop_texts: recipe.rollout.stop.clone(),
        completion: completion.text.clone(),
        completion_tokens: completion.tokens.len(),
        truncated: completion.finish == Finish::Length,
        program: program(task, &completion.text),
        load: judged.map(|verdict| ended(&verdict.load)),
        tests: judged.map(|verdict| verdict.tests.iter().map(ended).collect()).unwrap_or_default(),
        fuel: judged.map(|verdict| verdict.fuel),
        error: verdict.as_ref().err().map(ToString::to_string),
        parts: attempts.scores.parts[0][0].iter().map(LinePart::from).collect(),
        reward: attempts.scores.rewards[0][0],
        siblings: group.completions.len(),
    })
}

fn token(tokenizer: &Tokenizer, id: i64) -> Token {
    Token { id, text: tokenizer.name(id).unwrap_or_default() }
}

fn print(preview: &Preview) {
    let Preview { task, prompt, prompt_tokens, before, after, stop_tokens, stop_texts, .. } = preview;
    let indented = |text: &str| {
        text.lines().for_each(|line| print_line(format_args!("    {line}").to_string().trim_end()))
    };
    print_line(format_args!("task `{task}`: a prompt of {prompt_tokens} tokens"));
    indented(prompt);
    print_line("\nwhere the prompt ends and the completion begins");
    before.iter().for_each(|Token { id, text }| print_line(format_args!("    {id:>8}  {text}")));
    print_line("    --------");
    after.iter().for_each(|Token { id, text }| print_line(format_args!("    {id:>8}  {text}")));
    let ids: Vec<String> = stop_tokens.iter().map(|Token { id, text }| format!("{id} {text}")).collect();
    print_line(format_args!("\na completion ends with: {}", ids.join(", ")));
    if !stop_texts.is_empty() {
        print_line(format_args!("or with a text: {stop_texts:?}"));
    }
    let cut = if preview.truncated { ", cut off there by `rollout.max_tokens`" } else { "" };
    print_line(format_args!(
        "\nthe program, after a completion of {} tokens{cut}",
        preview.completion_tokens
    ));
    indented(&preview.program);
    print_line("\nwhat came of it");
    for line in preview.load.iter().map(|load| format!("program: {load}")).chain(preview.error.clone()) {
        print_line(format_args!("    {line}"));
    }
    for (number, test) in (1..).zip(&preview.tests) {
        print_line(format_args!("    hidden test {number}: {test}"));
    }
    if let Some(fuel) = preview.fuel {
        print_line(format_args!("    fuel: {fuel}"));
    }
    print_line(format_args!("\nwhat it earns, as the first of {} attempts", preview.siblings));
    print_line(format_args!("    {:<24}{:>12}{:>12}{:>12}", "", "raw", "shaped", "effective"));
    let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
    for LinePart { name, raw, shaped, effective } in &preview.parts {
        print_line(format_args!("    {name:<24}{:>12}{:>12}{effective:>12.4}", shown(*raw), shown(*shaped)));
    }
    print_line(format_args!("    {:<48}{:>12}", "reward", shown(preview.reward)));
}
