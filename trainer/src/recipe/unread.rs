//! Keys that a recipe sets and that its other choices keep from being read.

use serde::Serialize;
use toml::Table;

use super::problems::Problems;
use super::{Recipe, schema};
use crate::critic::{CriticConfig, CriticKind};
use crate::episode::{EpisodeConfig, FeedbackLevel};
use crate::eval::{Choice, SearchConfig, SearchKind};
use crate::optim::{OptimizerConfig, OptimizerKind, Schedule};
use crate::policy::LoraConfig;
use crate::rollout::RolloutConfig;
use crate::supervised::SupervisedConfig;

/// What `episode.reply` was by default in versions whose run folders are still gone on from.
const FORMER_REPLY: &str = "{% if feedback %}{{ feedback }}\n\n{% endif %}Write the whole function again, corrected. It begins with \
                            `{{ task.signature }}`.";

/// Reports every such key, with the choice that keeps it from being read. Keys of a preset are not the recipe's own, and
/// outside of `[algorithm]` a key that says what holds anyway is none to report: a resolved recipe has them all.
pub(super) fn check(recipe: &Recipe, problems: &mut Problems<'_>) {
    section("algorithm", |key| recipe.algorithm.unread(key), problems);
    let (set, default) = (&recipe.optimizer, OptimizerConfig::default());
    section("optimizer", |key| optimizer(set, key).filter(|_| differs(set, &default, key)), problems);
    let (set, default) = (&recipe.critic, CriticConfig::default());
    section("critic", |key| critic(recipe, key).filter(|_| differs(set, &default, key)), problems);
    let (set, default) = (&set.optimizer, &default.optimizer);
    section(
        "critic.optimizer",
        |key| critic_optimizer(recipe, key).filter(|_| differs(set, default, key)),
        problems,
    );
    let (set, default) = (&recipe.episode, EpisodeConfig::default());
    let is_former = |key: &str| key == "reply" && set.reply == FORMER_REPLY;
    let says_more = |key: &str| differs(set, &default, key) && !is_former(key);
    section("episode", |key| episode(recipe, key).filter(|_| says_more(key)), problems);
    if let Some(lora) = &recipe.model.lora {
        let of_folder = |key: &str| {
            let folders =
                ["rank", "alpha", "rank_stabilised", "targets"].contains(&key) && lora.path.is_some();
            folders.then(|| "path".to_owned())
        };
        let default = LoraConfig::default();
        section("model.lora", |key| of_folder(key).filter(|_| differs(lora, &default, key)), problems);
    }
    if let Some(set) = &recipe.search {
        searches(recipe, set, problems);
    }
    let (set, default) = (&recipe.rollout, RolloutConfig::default());
    section("rollout", |key| rollout(set, key).filter(|_| differs(set, &default, key)), problems);
    let (set, default) = (&recipe.supervised, SupervisedConfig::default());
    let off = |key: &str| (set.coefficient == 0.0 && key == "mode").then(|| "coefficient = 0".to_owned());
    section("supervised", |key| off(key).filter(|_| differs(set, &default, key)), problems);
}

/// Whether two sections have different values of `key`.
fn differs<S: Serialize>(one: &S, other: &S, key: &str) -> bool {
    let value = |section: &S| Table::try_from(section).ok().and_then(|mut table| table.remove(key));
    value(one) != value(other)
}

/// Reports the keys of one section for which `unread` names the choice that keeps them from being read.
fn section(name: &str, unread: impl Fn(&str) -> Option<String>, problems: &mut Problems<'_>) {
    for leaf in schema::keys(name) {
        let key = format!("{name}.{leaf}");
        if let (Some(_), Some(reason)) = (problems.value_of(&key), unread(&leaf)) {
            let message = format!("`{key}` is set, but with `{reason}` nothing reads it");
            let choice = reason.split(' ').next().unwrap_or_default();
            let choice = if choice.contains('.') { choice.to_owned() } else { format!("{name}.{choice}") };
            let help = format!("take it out, or set `{choice}` to something that does");
            // Silent where the choice itself is refused: what stands in for it is not what the user wants.
            problems.require(false, &[&key, &choice], message, help);
        }
    }
}

fn optimizer(config: &OptimizerConfig, key: &str) -> Option<String> {
    let unless = |read: bool, reason: &str| (!read).then(|| reason.to_owned());
    match key {
        "beta1" | "beta2" | "epsilon" => unless(config.kind == OptimizerKind::AdamW, "kind = \"sgd\""),
        "momentum" => unless(config.kind == OptimizerKind::Sgd, "kind = \"adamw\""),
        "final_share" => unless(config.schedule != Schedule::Constant, "schedule = \"constant\""),
        _ => None,
    }
}

/// Servers without an engine that asks them, and memory of an engine that is elsewhere.
fn rollout(config: &RolloutConfig, key: &str) -> Option<String> {
    let is_of_servers = key == "servers" || key == "remote";
    if is_of_servers && config.engine.is_local() {
        return Some("engine = \"local\"".to_owned());
    }
    (key == "kv_memory_mib" && !config.engine.is_local()).then(|| "rollout.servers".to_owned())
}

/// One turn, no reader, but for what searches say of a program; and no feedback, no limit of it.
fn episode(recipe: &Recipe, key: &str) -> Option<String> {
    let config = &recipe.episode;
    let repairs = recipe.eval.search.contains(&SearchKind::Critical) && key != "stop_on_public_pass";
    let tells = recipe.eval.search.iter().any(|search| search.has_budget()) && key.starts_with("feedback");
    if config.turns.get() == 1 && key != "turns" && !repairs && !tells {
        return Some("turns = 1".to_owned());
    }
    let is_silent = config.feedback == FeedbackLevel::None && key == "feedback_characters";
    is_silent.then(|| "feedback = \"none\"".to_owned())
}

/// What no search that the recipe names reads.
fn searches(recipe: &Recipe, set: &SearchConfig, problems: &mut Problems<'_>) {
    let default = SearchConfig::default();
    let named = &recipe.eval.search;
    let elsewhere = || Some("eval.search without any that has a budget".to_owned());
    let compares = set.choose != Choice::Tests;
    let unread = |key: &str| {
        let is_of_comparison = ["inputs", "most_inputs"].contains(&key) && !compares;
        let is_of_questions = ["question", "questions"].contains(&key) && set.choose != Choice::Elimination;
        let of = SearchKind::ALL.into_iter().find(|kind| SearchConfig::table_of(*kind) == Some(key));
        match of.filter(|kind| !named.contains(kind)) {
            _ if !named.iter().any(|search| search.has_budget()) => elsewhere(),
            Some(kind) => Some(format!("eval.search without \"{}\"", kind.name())),
            None => (is_of_comparison || is_of_questions).then(|| {
                format!(
                    "choose = {}",
                    toml::Value::try_from(set.choose).map(|name| name.to_string()).unwrap_or_default()
                )
            }),
        }
    };
    section("search", |key| unread(key).filter(|_| differs(set, &default, key)), problems);
}

/// No critic, no reader.
fn without_critic(recipe: &Recipe) -> Option<String> {
    let advantage = recipe.algorithm.advantage;
    (!advantage.needs_critic()).then(|| {
        let name = toml::Value::try_from(advantage).map(|name| name.to_string()).unwrap_or_default();
        format!("algorithm.advantage = {name}")
    })
}

fn critic(recipe: &Recipe, key: &str) -> Option<String> {
    if key == "optimizer" {
        // A table: its keys are reported one by one.
        return None;
    }
    without_critic(recipe).or_else(|| match (key, recipe.critic.kind) {
        ("path", CriticKind::Head) => Some("kind = \"head\"".to_owned()),
        ("coefficient", CriticKind::Separate) => Some("kind = \"separate\"".to_owned()),
        _ => None,
    })
}

fn critic_optimizer(recipe: &Recipe, key: &str) -> Option<String> {
    // The policy's micro-batches and patience are the critic's too.
    let shared = ["micro_batch_tokens", "max_skipped"].contains(&key).then(|| format!("optimizer.{key}"));
    without_critic(recipe).or(shared).or_else(|| optimizer(&recipe.critic.optimizer, key))
}
