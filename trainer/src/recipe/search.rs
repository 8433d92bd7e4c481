//! `eval.search` and `[search]`: searches that differ, that have what they search with, and numbers that they can work with.

use super::Recipe;
use super::problems::Problems;
use super::templates;
use crate::eval::{Choice, SearchConfig, SearchKind};

/// Reports searches that cannot work.
pub(super) fn check(recipe: &Recipe, problems: &mut Problems<'_>) {
    let mut distinct = recipe.eval.search.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let names: Vec<&str> = recipe.eval.search.iter().map(|search| search.name()).collect();
    let holds = distinct.len() == recipe.eval.search.len();
    problems.require_value(holds, "eval.search", format!("{names:?}"), "different ones");
    if recipe.eval.search.contains(&SearchKind::Critical) {
        critical(recipe, problems);
    }
    if let Some(search) = &recipe.search {
        numbers(search, problems);
        templates::check_search(search, problems);
    }
    if recipe.eval.search.iter().any(|search| search.has_budget()) {
        budget(recipe, problems);
    }
}

fn critical(recipe: &Recipe, problems: &mut Problems<'_>) {
    problems.require(
        recipe.verifier.is_some(),
        &["eval.search"],
        "`critical` goes on from where a verifier thinks best of a program, and there is none",
        "add a section `[verifier]`, or take \"critical\" out",
    );
    problems.require(
        recipe.episode.turns.get() == 1,
        &["eval.search", "episode.turns"],
        "`critical` goes on from single programs, and attempts have several turns",
        "set `episode.turns` to 1, or search \"best-of-n\"",
    );
    problems.require(
        recipe.rollout.grammar.is_none(),
        &["eval.search", "rollout.grammar"],
        "`critical` goes on in the middle of a program, where no grammar can be taken up",
        "take one of the two out",
    );
}

/// A budget that holds a program.
fn budget(recipe: &Recipe, problems: &mut Problems<'_>) {
    let search = recipe.search.clone().unwrap_or_default();
    let (budget, program) = (search.budget_tokens.get(), recipe.rollout.max_tokens.get());
    let asks = search.choose == Choice::Elimination;
    let questions = if asks { search.questions.get().saturating_mul(search.words_tokens.get()) } else { 0 };
    let kept = if asks { format!(", with {questions} kept back for questions,") } else { String::new() };
    problems.require(
        program.saturating_add(questions) <= budget,
        &["search.budget_tokens", "rollout.max_tokens", "eval.search"],
        format!("a budget of {budget} tokens{kept} does not hold one program of {program}"),
        "raise `search.budget_tokens`, or lower `rollout.max_tokens`",
    );
}

fn numbers(search: &SearchConfig, problems: &mut Problems<'_>) {
    let from_0 = [
        ("search.rex.strength", search.rex.strength),
        ("search.scattered_forest.exploration", search.scattered_forest.exploration),
    ];
    for (key, value) in from_0 {
        problems.require_value(value >= 0.0 && value.is_finite(), key, value, "a finite number from 0");
    }
    let shares = [
        ("search.rex.fresh_share", search.rex.fresh_share),
        ("search.scattered_forest.backup", search.scattered_forest.backup),
    ];
    for (key, value) in shares {
        problems.require_value((0.0..=1.0).contains(&value), key, value, "a number from 0 to 1");
    }
    let lists = [
        ("search.scattered_forest.seeds", &search.scattered_forest.seeds),
        ("search.scattered_forest.directions", &search.scattered_forest.directions),
    ];
    for (key, list) in lists {
        problems.require_value(!list.is_empty(), key, "[]", "at least one");
    }
}
