//! What a recipe says that cannot work, whatever machine it runs on.

use rltrain_checkpoints::Remote;
use rltrain_executor::RemoteError;
use rltrain_rewards::{RewardSet, RewardsError};

use super::problems::Problems;
use super::{Recipe, algorithm, iteration, projection, schema, search, servers, templates, unread, verifier};
use crate::algorithm::{PolicyLoss, ReferenceKind};
use crate::optim::{OptimizerConfig, Schedule};
use crate::rollout::{GroupSizes, Shaping};
use crate::tasks::default_visits;

/// Reports impossible values, and combinations of values.
pub(super) fn check(recipe: &Recipe, problems: &mut Problems<'_>) {
    numbers(recipe, problems);
    model(recipe, problems);
    unread::check(recipe, problems);
    algorithm::check(recipe, problems);
    problems.require_value(recipe.steps >= 1, "steps", recipe.steps, "at least 1");
    paths(recipe, problems);
    templates::check(recipe, problems);
    rollout(recipe, problems);
    servers::check(recipe, problems);
    visits(recipe, problems);
    rewards(recipe, problems);
    optimizer(recipe, problems);
    eval(recipe, problems);
    checkpoint(recipe, problems);
    servers(recipe, problems);
    verifier::check(recipe, problems);
    search::check(recipe, problems);
    projection::check(recipe, problems);
    iteration::check(recipe, problems);
}

/// Numbers with a range of their own.
fn numbers(recipe: &Recipe, problems: &mut Problems<'_>) {
    let temperature = recipe.rollout.temperature;
    let holds = temperature > 0.0 && temperature.is_finite();
    problems.require_value(holds, "rollout.temperature", temperature, "a finite number above 0");
    let from_0 = [
        ("eval.temperature", recipe.eval.temperature),
        ("critic.coefficient", recipe.critic.coefficient),
        ("supervised.coefficient", recipe.supervised.coefficient),
    ];
    for (key, value) in from_0 {
        problems.require_value(value >= 0.0 && value.is_finite(), key, value, "a finite number from 0");
    }
    optimizer_numbers("optimizer", &recipe.optimizer, problems);
    optimizer_numbers("critic.optimizer", &recipe.critic.optimizer, problems);
    if let Some(verifier) = &recipe.verifier {
        optimizer_numbers("verifier.optimizer", &verifier.optimizer, problems);
    }
}

/// Numbers of a section about gradients.
fn optimizer_numbers(section: &str, optimizer: &OptimizerConfig, problems: &mut Problems<'_>) {
    let mut require = |name: &str, value: f64, holds: bool, wanted: &str| {
        problems.require_value(holds, &format!("{section}.{name}"), value, wanted);
    };
    let above_0 = [
        ("learning_rate", optimizer.learning_rate),
        ("epsilon", optimizer.epsilon),
        ("max_gradient_norm", optimizer.max_gradient_norm),
    ];
    for (name, value) in above_0 {
        require(name, value, value > 0.0 && value.is_finite(), "a finite number above 0");
    }
    let shares = [("beta1", optimizer.beta1), ("beta2", optimizer.beta2), ("momentum", optimizer.momentum)];
    for (name, value) in shares {
        require(name, value, (0.0..1.0).contains(&value), "a number from 0, below 1");
    }
    let (decay, share) = (optimizer.weight_decay, optimizer.final_share);
    require("weight_decay", decay, decay >= 0.0 && decay.is_finite(), "a finite number from 0");
    require("final_share", share, (0.0..=1.0).contains(&share), "a number from 0 to 1");
}

/// What is trained of the model.
fn model(recipe: &Recipe, problems: &mut Problems<'_>) {
    let Some(lora) = &recipe.model.lora else { return };
    let (alpha, dropout) = (lora.alpha, lora.dropout);
    let holds = alpha > 0.0 && alpha.is_finite();
    problems.require_value(holds, "model.lora.alpha", alpha, "a finite number above 0");
    let holds = (0.0..1.0).contains(&dropout);
    problems.require_value(holds, "model.lora.dropout", dropout, "a number from 0, below 1");
    problems.require(
        !recipe.model.freeze_embeddings,
        &["model.freeze_embeddings", "model.lora"],
        "`[model.lora]` trains nothing but adapters, so there are no embeddings to freeze",
        "remove one of the two",
    );
}

fn paths(recipe: &Recipe, problems: &mut Problems<'_>) {
    let tasks = &recipe.tasks;
    let paths = [
        ("run", &recipe.run),
        ("model.path", &recipe.model.path),
        ("tasks.train", &tasks.train),
        ("tasks.heldout", &tasks.heldout),
    ];
    for (key, path) in paths {
        problems.require_value(!path.as_os_str().is_empty(), key, "empty", "a path");
    }
    problems.require(
        tasks.train != tasks.heldout,
        &["tasks.heldout", "tasks.train"],
        "the held-out tasks are the training tasks",
        "a policy that is evaluated on what it trains on always looks good; split the file in two",
    );
}

/// Servers that run programs have addresses, and run such programs.
fn servers(recipe: &Recipe, problems: &mut Problems<'_>) {
    let Some(remote) = &recipe.executor.remote else { return };
    if let Err(error) = remote.check(recipe.executor.runtime) {
        let key = match error {
            RemoteError::NotPython { .. } => "executor.remote.kind",
            _ => "executor.remote.servers",
        };
        let help = schema::description(key).unwrap_or_default();
        problems.require(false, &[key], error.to_string(), help);
    }
}

/// The store is one, and the best checkpoint is the best by something that evaluations measure, at steps that have a checkpoint.
fn checkpoint(recipe: &Recipe, problems: &mut Problems<'_>) {
    let remote = recipe.checkpoint.remote.as_deref();
    if let Some(url) = remote.filter(|url| !url.contains("://")) {
        problems.require_value(false, "checkpoint.remote", format!("`{url}`"), "an address with `://`");
    } else if let Some(Err(error)) = remote.map(Remote::check) {
        let help = schema::description("checkpoint.remote").unwrap_or_default();
        problems.require(false, &["checkpoint.remote"], error.to_string(), help);
    }
    let Some(best) = &recipe.checkpoint.keep_best else { return };
    let measured: Vec<String> = recipe.eval.k.iter().map(|k| format!("`eval/pass@{k}`")).collect();
    let holds = recipe.checkpoint.best_of().is_some_and(|k| recipe.eval.k.contains(&k));
    problems.require(
        holds,
        &["checkpoint.keep_best"],
        format!("no evaluation measures `{best}`"),
        format!("with this `eval.k`, evaluations measure {}", measured.join(", ")),
    );
    problems.require(
        recipe.eval.every > 0,
        &["checkpoint.keep_best", "eval.every"],
        "no checkpoint has an evaluation before the last step, so that none can be the best",
        "set `eval.every` to a multiple of `checkpoint.every`",
    );
}

fn rollout(recipe: &Recipe, problems: &mut Problems<'_>) {
    problems.require(
        recipe.rollout.stop.iter().all(|stop| !stop.is_empty()),
        &["rollout.stop"],
        "an empty stop text ends every completion before its first token",
        "leave it out; without stop texts, completions end with the model's own end token",
    );
    shaping(recipe, problems);
}

/// Which tasks are visited, with how many attempts, and of which weights.
fn visits(recipe: &Recipe, problems: &mut Problems<'_>) {
    let (rollout, tasks) = (&recipe.rollout, &recipe.tasks);
    let both = rollout.group_size_min.is_some() == rollout.group_size_max.is_some();
    let bounds = ["rollout.group_size_min", "rollout.group_size_max"];
    let help = "groups differ in size where both are set, and have `group_size` attempts where neither is";
    problems.require(both, &bounds, "one bound of the group size without the other", help);
    if let Some(GroupSizes { least, most }) = rollout.group_sizes() {
        let mean = rollout.group_size.get();
        problems.require(
            least <= mean && mean <= most,
            &["rollout.group_size_min", "rollout.group_size_max", "rollout.group_size"],
            format!("the mean group size, {mean}, is not from {least} to {most}"),
            "`group_size` lies between `group_size_min` and `group_size_max`",
        );
        problems.require(
            least >= 2 || !recipe.algorithm.advantage.needs_siblings(),
            &["rollout.group_size_min"],
            "a group of one has no siblings to compare with",
            "with one attempt per task every advantage is zero; use 2 or more",
        );
    }
    let visits = tasks.pass_rate_visits;
    problems.require(
        recipe.reads_pass_rates() || visits == default_visits(),
        &["tasks.pass_rate_visits"],
        "`tasks.pass_rate_visits` is set, and nothing is decided by pass rates",
        "take it out, or add `[tasks.curriculum]` or bounds of `rollout.group_size`",
    );
    if let Some(curriculum) = &tasks.curriculum {
        let weight = curriculum.least_weight;
        let holds = weight > 0.0 && weight <= 1.0;
        problems.require_value(holds, "tasks.curriculum.least_weight", weight, "a number above 0, at most 1");
        problems.require(
            curriculum.drop_after <= visits.get(),
            &["tasks.curriculum.drop_after", "tasks.pass_rate_visits"],
            format!("{} visits are not remembered, {visits} are", curriculum.drop_after),
            "set `tasks.pass_rate_visits` to `drop_after` or more",
        );
    }
    let staleness = rollout.staleness;
    problems.require_value(staleness <= 1, "rollout.staleness", staleness, "0 or 1");
    problems.require(
        staleness == 0 || recipe.algorithm.bears_staleness(),
        &["rollout.staleness", "algorithm.policy_loss", "algorithm.correction"],
        "attempts of older weights, and a loss without a ratio: nothing makes up for the difference",
        "set `algorithm.correction = \"token-tis\"`, or take a `policy_loss` that has a ratio",
    );
}

/// Ranges of what shapes the distribution, and that no ratio compares the shaped distribution with the whole one.
fn shaping(recipe: &Recipe, problems: &mut Problems<'_>) {
    let shaping = recipe.rollout.shaping();
    let Shaping { repetition_penalty, top_p, min_p, .. } = shaping;
    let key = |name: &str| format!("rollout.{name}");
    let holds = top_p > 0.0 && top_p <= 1.0;
    problems.require_value(holds, &key("top_p"), top_p, "a number above 0, at most 1");
    problems.require_value((0.0..1.0).contains(&min_p), &key("min_p"), min_p, "a number from 0, below 1");
    let holds = repetition_penalty >= 1.0 && repetition_penalty.is_finite();
    problems.require_value(holds, &key("repetition_penalty"), repetition_penalty, "a finite number from 1");
    let guard = recipe.rollout.repetition_guard;
    let holds = guard > 0.0 && guard <= 1.0;
    problems.require_value(holds, &key("repetition_guard"), guard, "a number above 0, at most 1");
    let has_ratio = recipe.algorithm.policy_loss != PolicyLoss::Reinforce;
    let off = Shaping::default();
    let truncated = recipe.rollout.truncated_ratio;
    for (name, is_off, is_compared) in [
        ("top_k", shaping.top_k == off.top_k, truncated),
        ("top_p", top_p == off.top_p, truncated),
        ("min_p", min_p == off.min_p, truncated),
        ("repetition_penalty", repetition_penalty == off.repetition_penalty, false),
        ("repetition_guard", recipe.rollout.repetition_guard == 1.0, false),
    ] {
        problems.require(
            is_off || !has_ratio || is_compared,
            &[&key(name), "algorithm.policy_loss"],
            format!("`rollout.{name}` samples from another distribution than the one that is trained"),
            "the importance ratio would compare the two, and is far from 1 before anything is learnt; leave the key out, set \
             `policy_loss = \"reinforce\"`, which has no ratio, or for `top_k`, `top_p` and `min_p` `truncated_ratio = true`",
        );
    }
    truncation(recipe, problems);
}

/// A ratio of truncated distributions has something to truncate, and nothing else that compares with the whole.
fn truncation(recipe: &Recipe, problems: &mut Problems<'_>) {
    if !recipe.rollout.truncated_ratio {
        return;
    }
    let keys = |other| ["rollout.truncated_ratio", other];
    let Shaping { repetition_penalty, .. } = Shaping::default();
    let truncates = Shaping { repetition_penalty, ..recipe.rollout.shaping() } != Shaping::default();
    problems.require(
        truncates,
        &keys("rollout.top_p"),
        "`rollout.truncated_ratio` is set, but nothing is truncated",
        "take it out, or set `top_k`, `top_p` or `min_p`",
    );
    problems.require(
        recipe.algorithm.policy_loss != PolicyLoss::Reinforce,
        &keys("algorithm.policy_loss"),
        "`rollout.truncated_ratio` is set, but `policy_loss = \"reinforce\"` has no ratio",
        "take it out",
    );
    problems.require(
        !recipe.algorithm.needs_reference(),
        &keys("algorithm.kl_coefficient"),
        "`rollout.truncated_ratio` with a reference: the divergence would be of what is left of one distribution from the whole \
         of another",
        "set `kl_coefficient = 0`, or sample from the whole distribution",
    );
}

/// Where the tables of rewards stand: those of plug-ins and judges have names of the user's.
const REWARDS: [&str; 5] = ["rewards.process", "rewards.http", "rewards.wasm", "rewards.judge", "rewards"];

/// The rewards can be built.
pub(super) fn rewards(recipe: &Recipe, problems: &mut Problems<'_>) {
    let Err(error) = RewardSet::build(&recipe.rewards) else { return };
    let (named, help) = match &error {
        RewardsError::Invalid { reward, .. } | RewardsError::UnknownGate { reward, .. } => {
            (Some(reward), "recipes/README.md says what the keys of this table mean")
        }
        _ => (None, "add a table, such as `[rewards.all_passed]` with `weight = 1.0`"),
    };
    let tables = named.into_iter().flat_map(|name| REWARDS.map(|section| format!("{section}.{name}")));
    let place = tables.into_iter().find(|key| problems.value_of(key).is_some());
    problems.require(false, &[place.as_deref().unwrap_or("rewards")], error.to_string(), help);
}

/// Schedules that fit into the run.
fn optimizer(recipe: &Recipe, problems: &mut Problems<'_>) {
    schedule("optimizer", &recipe.optimizer, recipe.steps, problems);
    schedule("critic.optimizer", &recipe.critic.optimizer, recipe.steps, problems);
    problems.require(
        recipe.algorithm.reference != ReferenceKind::LoraOff
            || recipe.model.lora.is_some()
            || !recipe.algorithm.needs_reference(),
        &["algorithm.reference", "model.lora"],
        "`algorithm.reference = \"lora-off\"` without adapters",
        "add `[model.lora]`, or take the `frozen` first policy as the reference",
    );
}

fn schedule(section: &str, optimizer: &OptimizerConfig, steps: u64, problems: &mut Problems<'_>) {
    let key = |name: &str| format!("{section}.{name}");
    let (warmup, decay) = (optimizer.warmup_steps as u64, optimizer.decay_steps as u64);
    problems.require(
        warmup <= steps,
        &[&key("warmup_steps"), "steps"],
        format!("the warm-up takes {warmup} steps, the whole run {steps}"),
        "the learning rate would never reach its peak; warm up over a tenth of the run or less",
    );
    problems.require(
        decay == 0 || warmup.saturating_add(decay) <= steps,
        &[&key("decay_steps"), &key("warmup_steps"), "steps"],
        format!("warm-up and decay take {warmup} and {decay} steps, the whole run {steps}"),
        "the learning rate cannot rise and fall at once; decay over a fifth of the run or less",
    );
    let wsd = optimizer.schedule == Schedule::Wsd;
    problems.require(
        wsd == (decay > 0),
        &[&key("decay_steps"), &key("schedule")],
        if wsd {
            format!("`{section}.schedule` is `wsd`, which never falls over 0 steps")
        } else {
            format!("`{section}.decay_steps` is {decay}, and the schedule is not `wsd`")
        },
        "`decay_steps` is how long `schedule = \"wsd\"` falls at the end: set both, or neither",
    );
}

fn eval(recipe: &Recipe, problems: &mut Problems<'_>) {
    let eval = &recipe.eval;
    let samples = eval.samples.get();
    let mut sorted = eval.k.clone();
    sorted.sort_unstable();
    let distinct = sorted.windows(2).all(|pair| pair[0] < pair[1]);
    let k = || format!("{:?}", eval.k);
    let holds = !sorted.is_empty() && distinct && sorted[0] >= 1;
    if problems.require_value(holds, "eval.k", k(), "one or more different numbers, each from 1") {
        let most = sorted[sorted.len() - 1];
        problems.require(
            most <= samples,
            &["eval.k", "eval.samples"],
            format!("pass@{most} cannot be estimated from {samples} samples"),
            format!("set `eval.samples` to {most} or more, or take {most} out of `eval.k`"),
        );
    }
    problems.require(
        eval.temperature != 0.0 || samples == 1,
        &["eval.samples", "eval.temperature"],
        format!("at temperature 0 all {samples} samples of a task are the same"),
        "set `eval.samples` to 1 and `eval.k` to [1], or `eval.temperature` to 0.8",
    );
}
