//! What differs between two recipes, and which differences a resumed run may have.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// Keys, and sections, that may change when a run is resumed; `*` stands for any name. Each leaves the steps as they would have been,
/// up to float rounding:
///
/// - `steps`: a run may be made longer or shorter, if `optimizer.schedule` is `constant`; the others depend
///   on where the end is. Not with `rollout.staleness`: before its last step, a run samples nothing ahead.
/// - `run`, `model.path`: the folder may have moved, and the weights come from the checkpoint.
/// - `tasks.train`, `tasks.heldout`: the files may have moved; a checkpoint knows their hashes.
/// - `model.device`, `model.fast_matmul`, `model.gradient_checkpointing`, `executor.workers`, `executor.most_waiting`,
///   `executor.verdict_cache`, `rollout.max_batch`, `rollout.servers`, `rollout.remote`, `optimizer.micro_batch_tokens`,
///   `optimizer.sharding`: what the machine at hand has and bears, and who helps it.
/// - of `executor.remote`, all but `kind`: `rltrain executor` says the same on any machine.
/// - `eval.every`, `checkpoint`, `telemetry`: when to look, when to save, and what to tell.
/// - of `rewards.process`, `rewards.http` and `rewards.judge`, for plug-ins and judges of any name: where they are, how many are asked
///   at once, and for what price. A server may have moved.
///
/// What evaluations sample may not change, for before and after would not be comparable.
pub const MAY_CHANGE: [&str; 36] = [
    "steps",
    "run",
    "model.path",
    "tasks.train",
    "tasks.heldout",
    "model.device",
    "model.fast_matmul",
    "model.gradient_checkpointing",
    "executor.workers",
    "executor.most_waiting",
    "executor.verdict_cache",
    "executor.remote.servers",
    "executor.remote.token_file",
    "executor.remote.ca_file",
    "executor.remote.most_at_once",
    "executor.remote.hedge_ms",
    "executor.remote.give_up_s",
    "rollout.max_batch",
    "rollout.servers",
    "rollout.remote",
    "optimizer.micro_batch_tokens",
    "optimizer.sharding",
    "eval.every",
    "checkpoint",
    "telemetry",
    "rewards.process.*.directory",
    "rewards.process.*.copies",
    "rewards.http.*.url",
    "rewards.http.*.key_variable",
    "rewards.http.*.concurrency",
    "rewards.judge.*.url",
    "rewards.judge.*.key_variable",
    "rewards.judge.*.concurrency",
    "rewards.judge.*.most_requests",
    "rewards.judge.*.most_tokens",
    "rewards.judge.*.folder",
];

/// Why changes of a key, or of a section, leave the steps as they would have been. The first that fits counts.
const HARMLESS: [(&str, &str); 16] = [
    ("steps", "the run ends elsewhere"),
    ("run", "the folder may have moved"),
    ("model.path", "the files may have moved"),
    ("tasks", "the files may have moved; their content is compared"),
    ("eval.every", "it says when to look"),
    ("checkpoint", "it says when to save, and what is kept"),
    ("telemetry", "it says what is told"),
    ("rewards", "it says where a plug-in or judge is, and how it is asked"),
    ("executor.remote", "verdicts are the same wherever they come from"),
    ("model.device", "the same steps up to rounding"),
    ("model", "the same steps up to rounding"),
    ("rollout.max_batch", "the same steps up to rounding"),
    ("rollout.servers", "it says who samples, and not what"),
    ("rollout.remote", "it says how servers are asked"),
    ("optimizer.micro_batch_tokens", "the same steps up to rounding"),
    ("optimizer.sharding", "it says which process keeps what"),
];

/// Why changes of a key, or of a section, make another experiment of a run. The first that fits counts.
const HARMFUL: [(&str, &str); 16] = [
    ("seed", "every random choice derives from it"),
    ("steps", "what a schedule, or sampling ahead, does depends on where the end is"),
    ("model.compute", "the arithmetic of every step would be another"),
    ("model", "the network, or what is trained of it, would be another"),
    ("tasks", "other tasks would be drawn, or be put otherwise"),
    ("rollout", "attempts would be sampled otherwise"),
    ("episode", "attempts would have other turns"),
    ("executor", "verdicts could be others"),
    ("rewards", "attempts would be scored otherwise"),
    ("eval", "evaluations before and after could not be compared"),
    ("search", "evaluations before and after could not be compared"),
    ("algorithm", "what counts as better would change"),
    ("iteration", "what is learnt from would change"),
    ("supervised", "what is learnt from would change"),
    ("projection", "the weights would be held to their beginning otherwise"),
    ("optimizer", "the same gradient would lead elsewhere"),
];

/// A change, and what it does to a run that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    /// What changed.
    pub difference: Difference,
    /// Whether the run would no longer be the one that was started.
    pub breaks: bool,
    /// Why it is, or is not.
    pub why: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = if self.breaks { "breaks continuity" } else { "passes" };
        write!(f, "{} ({effect}: {})", self.difference, self.why)
    }
}

impl Drift {
    /// Whether one of `keys` names this key, or a section that it is in.
    pub fn is_named_by(&self, keys: &[String]) -> bool {
        keys.iter().any(|key| is_in(&self.difference.key, key))
    }
}

/// Whether `key` is `section`, or is in it.
fn is_in(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Every difference between two resolved recipes, in the order of keys, and what it does to a run that goes on as `new`.
pub fn drift(old: &Table, new: &Table) -> Vec<Drift> {
    let effect = |difference: Difference| {
        let breaks = !may_change(&difference.key, new);
        let (reasons, other): (&[(&str, &str)], &str) = if breaks {
            (&HARMFUL, "what is learnt would be another thing")
        } else {
            (&HARMLESS, "it says what the machine bears")
        };
        let fits = |(section, _): &&(&str, &str)| is_in(&difference.key, section);
        let why = reasons.iter().find(fits).map_or(other, |(_, why)| why).to_owned();
        Drift { difference, breaks, why }
    };
    differences(old, new).into_iter().map(effect).collect()
}

/// One key that two recipes give different values; `None` where a recipe does not have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// The key, as a dotted path.
    pub key: String,
    /// Its old value, as TOML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// Its new value, as TOML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        write!(f, "`{}` was {}, is {}", self.key, value(&self.old), value(&self.new))
    }
}

/// Every key that differs between two resolved recipes, in the order of keys.
pub fn differences(old: &Table, new: &Table) -> Vec<Difference> {
    let (old, new) = (flatten(old), flatten(new));
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let difference = |key: &String| Difference {
        key: key.clone(),
        old: old.get(key).cloned(),
        new: new.get(key).cloned(),
    };
    keys.into_iter().map(difference).filter(|difference| difference.old != difference.new).collect()
}

/// The [`differences`] that keep a run from being resumed: those that [`MAY_CHANGE`] does not allow.
pub fn refused_changes(old: &Table, new: &Table) -> Vec<Difference> {
    differences(old, new).into_iter().filter(|difference| !may_change(&difference.key, new)).collect()
}

/// Whether `key` may change in a run that goes on as the resolved recipe `new`.
pub(super) fn may_change(key: &str, new: &Table) -> bool {
    let is_constant = |optimizer: Option<&toml::Value>| {
        optimizer
            .is_none_or(|section| section.get("schedule").and_then(toml::Value::as_str) == Some("constant"))
    };
    let critic = || new.get("critic").and_then(|critic| critic.get("optimizer"));
    let constant =
        || new.contains_key("optimizer") && is_constant(new.get("optimizer")) && is_constant(critic());
    let names = |allowed: &str| {
        let mut parts = key.split('.');
        allowed.split('.').all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part))
    };
    let ahead = new.get("rollout").and_then(|rollout| rollout.get("staleness"));
    let is_ahead = ahead.and_then(toml::Value::as_integer).is_some_and(|staleness| staleness > 0);
    MAY_CHANGE.into_iter().any(names) && (key != "steps" || (constant() && !is_ahead))
}

/// Every value of a table by its dotted path, as TOML. A section without keys is a value, so that it is not
/// lost.
pub(super) fn flatten(table: &Table) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) if !inner.is_empty() => {
                flat.extend(flatten(inner).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)));
            }
            value => {
                flat.insert(key.clone(), value.to_string());
            }
        }
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn every_changed_added_and_removed_key_is_listed() {
        let old =
            table("seed = 1\nsteps = 50\n[rollout]\nstop = [\"a\"]\n[rewards.all_passed]\nweight = 1.0");
        let new = table(
            "seed = 2\nsteps = 50\n[rollout]\nstop = [\"a\", \"b\"]\n[rewards.tests_passed]\nweight = 1.0",
        );
        let listed: Vec<String> = differences(&old, &new).iter().map(Difference::to_string).collect();
        assert_eq!(
            listed,
            [
                "`rewards.all_passed.weight` was 1.0, is not set",
                "`rewards.tests_passed.weight` was not set, is 1.0",
                "`rollout.stop` was [\"a\"], is [\"a\", \"b\"]",
                "`seed` was 1, is 2",
            ]
        );
    }

    #[test]
    fn what_does_not_touch_the_steps_may_change() {
        let old = table(
            "seed = 1\nrun = \"a\"\n[checkpoint]\nevery = 10\n[executor]\nruntime = \"r\"\nworkers = 2",
        );
        let new = table("seed = 1\nrun = \"b\"\n[checkpoint]\nevery = 20\n[executor]\nruntime = \"r\"");
        assert_eq!(differences(&old, &new).len(), 3);
        assert_eq!(refused_changes(&old, &new), []);
    }

    #[test]
    fn the_end_may_move_unless_the_learning_rate_falls_towards_it() {
        for (schedule, refused) in [("constant", 0), ("linear", 1), ("cosine", 1)] {
            let with = |steps| table(&format!("steps = {steps}\n[optimizer]\nschedule = \"{schedule}\""));
            assert_eq!(refused_changes(&with(50), &with(90)).len(), refused, "{schedule}");
        }
    }

    #[test]
    fn the_end_may_not_move_where_sampling_runs_ahead_of_it() {
        for (staleness, refused) in [(0, 0), (1, 1)] {
            let with = |steps| {
                let rollout = format!("[rollout]\nstaleness = {staleness}\n");
                table(&format!("steps = {steps}\n{rollout}[optimizer]\nschedule = \"constant\""))
            };
            assert_eq!(refused_changes(&with(50), &with(90)).len(), refused, "{staleness}");
        }
    }

    #[test]
    fn drift_says_what_it_does_and_is_named_by_its_key_or_section() {
        let old =
            table("seed = 1\nsteps = 50\n[optimizer]\nschedule = \"constant\"\n[rollout]\nmax_tokens = 4");
        let new =
            table("seed = 1\nsteps = 60\n[optimizer]\nschedule = \"constant\"\n[rollout]\nmax_tokens = 8");
        let found = drift(&old, &new);
        let told: Vec<String> = found.iter().map(Drift::to_string).collect();
        assert_eq!(
            told,
            [
                "`rollout.max_tokens` was 4, is 8 (breaks continuity: attempts would be sampled otherwise)",
                "`steps` was 50, is 60 (passes: the run ends elsewhere)",
            ]
        );
        let named = |key: &str| found[0].is_named_by(&[key.to_owned()]);
        assert!(named("rollout.max_tokens") && named("rollout") && !named("roll") && !named("rollout.max"));
    }

    #[test]
    fn a_key_is_allowed_by_its_whole_name_or_its_section() {
        let allowed = |key| may_change(key, &Table::new());
        assert!(allowed("checkpoint.keep_last") && allowed("model.path"));
        assert!(allowed("optimizer.sharding") && !allowed("optimizer"));
        assert!(!allowed("runs") && !allowed("rollout.max_tokens") && !allowed("eval"));
        assert!(allowed("rewards.http.style.url") && allowed("rewards.judge.style.folder"));
        assert!(!allowed("rewards.http.style.least") && !allowed("rewards.judge.style.model"));
    }
}
