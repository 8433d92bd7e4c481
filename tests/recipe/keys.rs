//! Recipes with every key set: what the schema, the resolved recipe and the code say of each.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

use rltrain::algorithm::{
    AdvantageEstimator, AlgorithmConfig, CorrectionKind, KlControl, KlEstimator, PolicyLoss, PreferencePairs,
    Preset, ReferenceKind,
};
use rltrain::critic::CriticKind;
use rltrain::critic::verifier::VerifierConfig;
use rltrain::eval::SearchConfig;
use rltrain::fleet::{RemoteConfig, RolloutEngine};
use rltrain::iteration::IterationConfig;
use rltrain::policy::LoraConfig;
use rltrain::projection::ProjectionConfig;
use rltrain::recipe::{self, Recipe};
use rltrain::rollout::grammar::{GrammarConfig, GrammarMethod, GrammarNotation};
use rltrain::tasks::CurriculumConfig;
use rltrain_executor::{RemoteConfig as ExecutorRemote, RemoteKind};
use rltrain_rewards::RewardsConfig;

use super::{SHORTEST, root};

/// Every key that a recipe can have, set.
pub(super) fn full() -> Recipe {
    let mut recipe = Recipe::parse("demo.toml", SHORTEST).unwrap();
    recipe.executor.workers = NonZeroUsize::new(2);
    recipe.rollout.kv_memory_mib = NonZeroUsize::new(512);
    recipe.rollout.group_size_min = NonZeroUsize::new(2);
    recipe.rollout.group_size_max = NonZeroUsize::new(1000);
    recipe.tasks.curriculum = Some(CurriculumConfig::default());
    recipe.tasks.scaffold = Some("prompts/chat.jinja".into());
    recipe.rollout.grammar = Some(GrammarConfig {
        notation: GrammarNotation::Regex,
        text: "[a-z]*".to_owned(),
        method: GrammarMethod::Asap,
    });
    recipe.executor.most_waiting = NonZeroUsize::new(100);
    recipe.executor.verdict_cache = Some("verdicts".into());
    recipe.executor.remote = Some(ExecutorRemote {
        kind: RemoteKind::SandboxFusion,
        token_file: Some("token".into()),
        ca_file: Some("ca.pem".into()),
        most_at_once: NonZeroUsize::new(4),
        ..ExecutorRemote::new(["http://127.0.0.1:8080"])
    });
    recipe.executor.process = serde_json::from_str(r#"{"accept_missing": ["landlock"]}"#).unwrap();
    recipe.eval.every = 20;
    recipe.search = Some(SearchConfig::default());
    recipe.checkpoint.keep_every = NonZeroU64::new(100);
    recipe.checkpoint.keep_best = Some("eval/pass@1".to_owned());
    recipe.checkpoint.remote = Some("s3://bucket/run".to_owned());
    recipe.critic.kind = CriticKind::Separate;
    recipe.critic.path = Some("critic".into());
    recipe.verifier = Some(VerifierConfig {
        path: Some("verifier".into()),
        start: Some("verifier/step-00000001".into()),
        ..VerifierConfig::default()
    });
    recipe.rewards = every_reward();
    recipe.model.lora = Some(LoraConfig { path: Some("adapter".into()), ..LoraConfig::default() });
    recipe
}

/// The keys that go with servers and not with everything else.
fn elsewhere() -> Recipe {
    let mut recipe = Recipe::parse("demo.toml", SHORTEST).unwrap();
    recipe.rollout.engine = RolloutEngine::Sglang;
    recipe.rollout.servers = vec!["http://127.0.0.1:30000".to_owned()];
    recipe.algorithm = AlgorithmConfig {
        advantage: AdvantageEstimator::Conservative,
        policy_loss: PolicyLoss::Dueling,
        ..AlgorithmConfig::default()
    };
    recipe.iteration = Some(IterationConfig {
        most_failures: NonZeroUsize::new(3),
        most_per_task: NonZeroUsize::new(50),
        ..IterationConfig::default()
    });
    recipe.projection = Some(ProjectionConfig::default());
    recipe.rollout.remote = RemoteConfig {
        weights: Some("weights".into()),
        key_variable: "KEY".to_owned(),
        ..RemoteConfig::default()
    };
    recipe
}

/// Every preset with everything that can be added to it.
pub(super) fn every_algorithm() -> [AlgorithmConfig; 27] {
    Preset::EVERY.map(|preset| AlgorithmConfig {
        accept_most: NonZeroUsize::new(2),
        preference_pairs: PreferencePairs::Tiers,
        dual_clip: Some(3.0),
        ratio_cap: Some(5.0),
        off_policy_threshold: Some(0.1),
        kl_coefficient: 0.1,
        kl_gradient: Some(KlEstimator::K2),
        kl_control: KlControl::Adaptive,
        reference: ReferenceKind::Ema,
        correction: CorrectionKind::Icepop,
        overlong_buffer: 0.2,
        value_clip: Some(0.2),
        ..preset.config()
    })
}

/// Every reward with every key that a recipe may leave out.
fn every_reward() -> RewardsConfig {
    let leaves = recipe::leaves();
    let names: BTreeSet<&str> =
        leaves.iter().filter_map(|key| key.strip_prefix("rewards.")?.strip_suffix(".only_if")).collect();
    let table = |name: &str| format!("[{name}]\nonly_if = \"all_passed\"\nmin = -1.0\nmax = 1.0\n");
    let text: String = names.into_iter().map(table).collect();
    let mut rewards: RewardsConfig = toml::from_str(&text).unwrap();
    rewards.all_passed.as_mut().unwrap().only_if = Some("tests_passed >= 0.5".parse().unwrap());
    rewards.process.get_mut("NAME").unwrap().command = vec!["judge".to_owned()];
    rewards.http.get_mut("NAME").unwrap().url = "http://127.0.0.1/".to_owned();
    rewards.wasm.get_mut("NAME").unwrap().component = "reward.wasm".into();
    let judge = rewards.judge.get_mut("NAME").unwrap();
    (judge.url, judge.model) = ("http://127.0.0.1/".to_owned(), "small".to_owned());
    judge.rubric = "Is it short?".to_owned();
    // No two rewards of a recipe have one name.
    rewards.http = renamed(rewards.http, "http");
    rewards.wasm = renamed(rewards.wasm, "wasm");
    rewards.judge = renamed(rewards.judge, "judge");
    rewards.style.as_mut().unwrap().docstrings = true;
    rewards
}

/// The table `NAME` under another name.
fn renamed<T>(tables: BTreeMap<String, T>, name: &str) -> BTreeMap<String, T> {
    tables.into_values().map(|table| (name.to_owned(), table)).collect()
}

#[test]
fn schema_and_resolved_recipe_have_the_same_keys() {
    fn keys(table: &toml::Table, section: &str, found: &mut Vec<String>) {
        for (name, value) in table {
            let any = ["rewards.http.", "rewards.judge.", "rewards.wasm."].contains(&section);
            let name = if any { "NAME" } else { name.as_str() };
            match value {
                toml::Value::Table(inner) => keys(inner, &format!("{section}{name}."), found),
                _ => found.push(format!("{section}{name}")),
            }
        }
    }
    // No recipe has every key of `[algorithm]`: each has those that its choices read.
    let mut resolved = Vec::new();
    for algorithm in every_algorithm() {
        keys(&Recipe { algorithm, ..full() }.table(), "", &mut resolved);
    }
    keys(&elsewhere().table(), "", &mut resolved);
    let mut leaves = recipe::leaves();
    leaves.sort_unstable();
    resolved.sort_unstable();
    resolved.dedup();
    assert_eq!(leaves, resolved);
}

/// Every `.rs` file below `folder`, without what only describes or checks recipes.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension() == Some(OsStr::new("rs")) {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            found.push((path, code.collect::<Vec<_>>().join("\n")));
        }
    }
    found
}

/// Whether `code` has `words` as a whole: no longer name begins or ends with it.
fn has(code: &str, words: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(words).any(|(start, _)| {
        let (before, after) = (&code[..start], &code[start + words.len()..]);
        !before.ends_with(part_of_name) && !after.starts_with(part_of_name)
    })
}

#[test]
fn every_key_is_read() {
    let mut code = Vec::new();
    for member in ["trainer", "executor", "rewards"] {
        code.extend(sources(&root().join(member).join("src")));
    }
    for key in recipe::leaves() {
        // Read before there is a recipe: `a_preset_is_what_it_stands_for`, `every_scaffold_is_rendered_as_it_was`.
        if ["algorithm.preset", "tasks.scaffold"].contains(&key.as_str()) {
            continue;
        }
        let (section, name) = key.rsplit_once('.').unwrap_or(("recipe", &key));
        let owner = section.rsplit('.').next().unwrap();
        let methods = format!("impl {}{}Config", owner[..1].to_uppercase(), &owner[1..]);
        // A section's struct is called after the section, or `config`; its own methods call it `self`.
        let read = code.iter().any(|(path, code)| {
            let path = path.to_str().unwrap();
            let describes = path.ends_with("/config.rs") || path.ends_with("/recipe/checkpoint.rs");
            if describes {
                return has(code, &format!("self.{name}"));
            }
            if path.ends_with("/algorithm/reads.rs") {
                return false;
            }
            if code.contains(&methods) && has(code, &format!("self.{name}")) {
                return true;
            }
            let taken_apart = |line: &str| line.contains("Config {") && line.contains("*") && has(line, name);
            !path.contains("/recipe/")
                && (has(code, &format!("{owner}.{name}"))
                    || has(code, &format!("config.{name}"))
                    || code.lines().any(taken_apart))
        });
        assert!(read, "nothing reads `{key}`: a recipe that sets it would silently do something else");
    }
}
