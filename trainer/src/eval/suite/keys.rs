//! What an attempt is a function of, as a hash: whoever asks for the same again gets what is there.

use std::path::Path;

use serde_json::json;
use toml::{Table, Value};

use super::Plan;
use crate::error::TrainError;
use crate::policy::Compute;
use crate::session::model_hash;
use crate::tasks::Task;

/// Keys of sections that no attempt depends on, but for rounding.
const OF_NO_ATTEMPT: [(&str, &[&str]); 2] = [
    (
        "rollout",
        &[
            "tasks_per_step",
            "group_size",
            "group_size_min",
            "group_size_max",
            "temperature",
            "staleness",
            "max_batch",
            "kv_memory_mib",
            "truncated_ratio",
        ],
    ),
    ("tasks", &["train", "heldout", "pass_rate_visits", "curriculum"]),
];

/// Files beside the weights that decide what a model reads and when it ends.
const BESIDE: [&str; 4] =
    ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"];

/// The hashes of an evaluation.
pub(super) struct Keys {
    /// Of the model, its tokenizer and its adapter.
    pub(super) model: String,
    /// Of how it is asked, how it samples, and how programs are judged.
    pub(super) settings: String,
    /// Of each task, in the order of the file.
    pub(super) tasks: Vec<String>,
    /// Of each task's attempts.
    pub(super) attempts: Vec<String>,
    /// Of the verifier, if there is one.
    pub(super) verifier: Option<String>,
}

impl Keys {
    /// Those of a plan.
    ///
    /// # Errors
    ///
    /// If a file of the model cannot be read.
    pub(super) fn of(plan: &Plan) -> Result<Keys, TrainError> {
        let recipe = &plan.recipe;
        let model = model(plan)?;
        let (kind, _) = recipe.model.kind_and_device()?;
        let mut table = recipe.table();
        for (section, names) in OF_NO_ATTEMPT {
            if let Some(Value::Table(section)) = table.get_mut(section) {
                names.iter().for_each(|name| drop(section.remove(*name)));
            }
        }
        let section = |name: &str| table.get(name).cloned().unwrap_or_else(|| Table::new().into());
        let mut settings = json!({
            "rollout": section("rollout"), "tasks": section("tasks"), "episode": section("episode"),
            "runtime": section("executor").get("runtime"), "limits": section("executor").get("limits"),
            "rewards": section("rewards"), "temperature": recipe.eval.temperature, "seed": recipe.seed,
            "compute": Compute::from(kind),
        });
        // Servers of other makes say other things of the same program.
        if let Some(kind) = section("executor").get("remote").and_then(|remote| remote.get("kind")) {
            settings["servers"] = json!(kind);
        }
        let settings = hash(&[&settings.to_string()]);
        let tasks: Vec<String> = plan.tasks.iter().map(of_task).collect();
        let attempts = tasks.iter().map(|task| hash(&[&model, &settings, task])).collect();
        let verifier = recipe.verifier.as_ref().map(|verifier| {
            let start = verifier
                .start
                .as_ref()
                .map_or_else(|| Ok(String::new()), |start| file(&start.join("manifest.json")));
            let config = serde_json::to_string(verifier).expect("numbers and texts are JSON");
            Ok::<_, TrainError>(hash(&[&config, &start?]))
        });
        Ok(Keys { model, settings, tasks, attempts, verifier: verifier.transpose()? })
    }

    /// Names what depends on all attempts together: `what`, with `samples` attempts a task.
    pub(super) fn of_all(&self, what: &str, samples: usize) -> String {
        let verifier = self.verifier.clone().unwrap_or_default();
        let samples = samples.to_string();
        let parts =
            [&[what, &samples, &verifier][..], &self.attempts.iter().map(String::as_str).collect::<Vec<_>>()];
        hash(&parts.concat())
    }
}

/// Names the content of a task.
fn of_task(task: &Task) -> String {
    hash(&[&serde_json::to_string(task).expect("texts are JSON")])
}

/// Names a model by its content.
fn model(plan: &Plan) -> Result<String, TrainError> {
    let folder = &plan.recipe.model.path;
    let mut parts = vec![model_hash(folder)?];
    for name in BESIDE {
        if folder.join(name).is_file() {
            parts.push(format!("{name} {}", file(&folder.join(name))?));
        }
    }
    if let Some(adapter) = plan.recipe.model.lora.as_ref().and_then(|lora| lora.path.as_ref()) {
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            parts.push(file(&adapter.join(name))?);
        }
    }
    // What training has that the folder holds rounded.
    let masters =
        plan.checkpoint.as_ref().and_then(|checkpoint| checkpoint.manifest().files.get("master.safetensors"));
    parts.extend(masters.map(|record| record.blake3.clone()));
    Ok(hash(&parts.iter().map(String::as_str).collect::<Vec<_>>()))
}

fn file(path: &Path) -> Result<String, TrainError> {
    Ok(blake3::hash(&fs_err::read(path)?).to_hex().to_string())
}

/// BLAKE3 over texts, each with its length before it.
fn hash(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// The first 64 bits of a hash, which the random numbers of a task's attempts derive from: they are then the same wherever in a file
/// the task stands.
pub(super) fn counter(key: &str) -> u64 {
    key.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}
