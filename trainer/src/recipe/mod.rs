//! The recipe: everything that decides what a run does, in one TOML file.
//!
//! [`Recipe`] only composes: each section is a struct that lives beside the code that reads it, and its doc
//! comments are the manual, the editor's tooltips and the help of error messages at once. Reading a recipe
//! reports every mistake in it together, each at its line:
//!
//! 1. `layers`: files, and changes from the command line, to one tree; `reading`: that to [`Recipe`]; unknown keys, wrong types and missing keys.
//! 2. `scaffold`: the prompt templates of a file that it names take their place. `check`, and `algorithm` for that section: values, and combinations of values, that cannot work.
//! 3. `disk`: files that the recipe names and that are not there; `inputs`: rewards that the tasks give nothing to score.

mod algorithm;
mod change;
mod check;
mod checkpoint;
mod disk;
mod error;
mod grammar;
mod inputs;
mod iteration;
mod layers;
mod problems;
mod projection;
mod reading;
mod rewards_file;
mod scaffold;
mod schema;
mod search;
mod servers;
mod templates;
mod unread;
mod verifier;

use std::path::{Component, Path, PathBuf};

pub use change::{Difference, Drift, MAY_CHANGE, differences, drift, refused_changes};
pub use checkpoint::{CheckpointConfig, pass_at};
pub use error::{InvalidRecipe, Problem, RecipeError};
use fs_err as fs;
use layers::Layers;
use problems::Problems;
pub use rewards_file::RewardsFile;
use rltrain_executor::ExecutorConfig;
use rltrain_rewards::RewardsConfig;
pub use schema::{leaves, manual, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::algorithm::AlgorithmConfig;
use crate::critic::CriticConfig;
use crate::critic::verifier::VerifierConfig;
use crate::episode::EpisodeConfig;
use crate::eval::{EvalConfig, SearchConfig};
use crate::iteration::IterationConfig;
use crate::optim::OptimizerConfig;
use crate::policy::ModelConfig;
use crate::projection::ProjectionConfig;
use crate::rollout::RolloutConfig;
use crate::supervised::SupervisedConfig;
use crate::tasks::TasksConfig;
use crate::telemetry::{Parameter, TelemetryConfig};

/// A recipe: everything that decides what a run does.
///
/// Two runs of one recipe take the same steps, on machines that round alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Where every random choice of the run derives from. Default 1. Another seed is another draw of tasks
    /// and attempts.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Optimizer steps of the run, at least 1. A run that was stopped goes on to this number.
    #[schemars(range(min = 1))]
    pub steps: u64,
    /// Folder for everything the run writes: checkpoints, metrics, samples. It is made if it is not there; a
    /// run that it already holds is resumed. A relative path is relative to the recipe.
    pub run: PathBuf,
    /// Which network is trained, and with what arithmetic.
    pub model: ModelConfig,
    /// What is trained on, what is evaluated on, and how the model is asked.
    pub tasks: TasksConfig,
    /// How attempts are sampled.
    #[serde(default)]
    pub rollout: RolloutConfig,
    /// Attempts of several turns.
    #[serde(default)]
    pub episode: EpisodeConfig,
    /// How programs are run, and what they may use up.
    #[serde(default)]
    pub executor: ExecutorConfig,
    /// What a good attempt is: one table per reward, at least one with a weight other than 0.
    pub rewards: RewardsConfig,
    /// What counts as better, and how far one step may go.
    #[serde(default)]
    pub algorithm: AlgorithmConfig,
    /// Learning from the tasks' own solutions.
    #[serde(default)]
    pub supervised: SupervisedConfig,
    /// Expert iteration with a data set that grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iteration: Option<IterationConfig>,
    /// Who says what can be expected, where the algorithm asks.
    #[serde(default)]
    pub critic: CriticConfig,
    /// A model that learns to foretell verdicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<VerifierConfig>,
    /// How gradients change the weights.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// How few of the weights may differ from the model that the run starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<ProjectionConfig>,
    /// How good the policy is on tasks that it does not train on.
    #[serde(default)]
    pub eval: EvalConfig,
    /// What searches may spend on a held-out task, and how each of them goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchConfig>,
    /// How often the run is saved, and how much of the past is kept.
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    /// What the run tells beside its metrics.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
}

impl Recipe {
    /// Reads the recipe at `path`, and those that it extends, checks it and the files that it names, and makes its paths absolute.
    ///
    /// Loads no model and writes nothing.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or with every problem in it.
    pub fn load(path: &Path) -> Result<Recipe, RecipeError> {
        Recipe::load_with(path, &[]).map(|(recipe, _)| recipe)
    }

    /// As [`Recipe::load`], with changes `KEY=VALUE` on top; also returns what the recipe was made of, by name, if that is more than
    /// one file.
    ///
    /// # Errors
    ///
    /// As there; a problem with a change is shown in the change.
    pub fn load_with(path: &Path, set: &[String]) -> Result<(Recipe, Vec<String>), RecipeError> {
        let layers = Layers::read(path, set)?;
        let file =
            fs::canonicalize(path).map_err(|source| RecipeError::Read { path: path.to_owned(), source })?;
        let folder = file.parent().expect("a file that was read has a folder");
        Ok((Recipe::of_layers(&layers, folder)?, layers.names()))
    }

    /// Reads a recipe out of `text` and does everything else that [`Recipe::load_with`] does; relative paths start at `folder`, and
    /// `name` stands for the file in error messages.
    ///
    /// # Errors
    ///
    /// With every problem in the text.
    pub fn read(name: &str, text: &str, folder: &Path, set: &[String]) -> Result<Recipe, RecipeError> {
        Recipe::of_layers(&Layers::of_text(name, text).with(set), folder)
    }

    fn of_layers(layers: &Layers, folder: &Path) -> Result<Recipe, RecipeError> {
        let mut problems = Problems::new(layers);
        let recipe = reading::read(&mut problems).map(|mut recipe| {
            scaffold::fill(&mut recipe, folder, &mut problems);
            check::check(&recipe, &mut problems);
            let recipe = recipe.resolve(folder);
            disk::check(&recipe, &mut problems);
            inputs::check(&recipe, &mut problems);
            grammar::check(&recipe, &mut problems);
            recipe
        });
        problems.finish(recipe)
    }

    /// Reads a recipe out of `text`, checks it, and leaves its paths as they are. Touches no disk; `name`
    /// stands for the file in error messages.
    ///
    /// # Errors
    ///
    /// With every problem in the text.
    pub fn parse(name: &str, text: &str) -> Result<Recipe, RecipeError> {
        Recipe::parse_with(name, text, &[])
    }

    /// As [`Recipe::parse`], with changes `KEY=VALUE` on top.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn parse_with(name: &str, text: &str, set: &[String]) -> Result<Recipe, RecipeError> {
        let layers = Layers::of_text(name, text).with(set);
        let mut problems = Problems::new(&layers);
        let recipe = reading::read(&mut problems).inspect(|recipe| check::check(recipe, &mut problems));
        problems.finish(recipe)
    }

    /// Reads the recipe that a run has pinned in its folder, whose paths are absolute. What it names need not be there any more.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is not what a run writes.
    pub fn load_pinned(path: &Path) -> Result<Recipe, RecipeError> {
        let text =
            fs::read_to_string(path).map_err(|source| RecipeError::Read { path: path.to_owned(), source })?;
        Recipe::parse(&path.display().to_string(), &text)
    }

    /// The recipe as TOML, with every default written out. [`Recipe::parse`] reads it back as the same
    /// recipe.
    pub fn resolved(&self) -> String {
        toml::to_string(self).expect("numbers, texts and tables have a TOML form")
    }

    /// What [`Recipe::resolved`] says, as a table.
    ///
    /// # Panics
    ///
    /// If a whole number is beyond what TOML can say, which [`Recipe::parse`] refuses.
    pub fn table(&self) -> toml::Table {
        toml::Table::try_from(self).expect("a recipe that was read fits into TOML")
    }

    /// Every key with its value, for a page of hyperparameters; without paths, which differ for other reasons.
    pub fn parameters(&self) -> Vec<(String, Parameter)> {
        let table = self.clone().with_paths(|_| PathBuf::new()).table();
        let parameter = |(key, text): (String, String)| {
            let value = match (text.parse::<f64>(), text.as_str()) {
                (Ok(number), _) => Parameter::Number(number),
                (Err(_), "true" | "false") => Parameter::Flag(text == "true"),
                (Err(_), "\"\"") => return None,
                (Err(_), words) => Parameter::Text(words.trim_matches('"').to_owned()),
            };
            Some((key, value))
        };
        change::flatten(&table).into_iter().filter_map(parameter).collect()
    }

    /// Names what the recipe trains: the BLAKE3 hash, in hexadecimal, of [`Recipe::table`] without the keys
    /// in [`MAY_CHANGE`]. A run may be resumed as a recipe of the same hash.
    pub fn hash(&self) -> String {
        let (mut identity, table) = (String::new(), self.table());
        for (key, value) in change::flatten(&table) {
            if !change::may_change(&key, &table) {
                identity.extend([&key, "=", &value, "\n"]);
            }
        }
        blake3::hash(identity.as_bytes()).to_hex().to_string()
    }

    /// Most tokens that an attempt can sample, all its turns together.
    pub fn longest_attempt(&self) -> usize {
        self.rollout.max_tokens.get().saturating_mul(self.episode.turns.get())
    }

    /// Whether anything is decided by how often tasks are solved.
    pub fn reads_pass_rates(&self) -> bool {
        self.tasks.curriculum.is_some() || self.rollout.group_sizes().is_some()
    }

    /// Makes relative paths absolute, as seen from `folder`.
    fn resolve(self, folder: &Path) -> Recipe {
        self.with_paths(|path| join(folder, path))
    }

    /// The recipe of a run whose folder was moved or copied to `run`: what was in the folder is in the new one.
    #[must_use]
    pub fn moved_to(self, run: &Path) -> Recipe {
        let old = self.run.clone();
        self.with_paths(|path| match path.strip_prefix(&old) {
            Ok(rest) if rest.as_os_str().is_empty() => run.to_owned(),
            Ok(rest) => run.join(rest),
            Err(_) => path.to_owned(),
        })
    }

    /// The recipe with every path as seen from the run folder, so that runs that differ in nothing but where they are have the
    /// same one.
    #[must_use]
    pub fn seen_from_run(&self) -> Recipe {
        let run = self.run.clone();
        self.clone().with_paths(|path| seen_from(&run, path))
    }

    /// The recipe with `place` of every path that it has.
    fn with_paths(mut self, place: impl Fn(&Path) -> PathBuf) -> Recipe {
        let paths = [&mut self.run, &mut self.model.path, &mut self.tasks.train, &mut self.tasks.heldout];
        let optional = self.executor.verdict_cache.iter_mut().chain(&mut self.critic.path);
        let of_servers = self.executor.remote.iter_mut();
        let optional = optional
            .chain(of_servers.flat_map(|remote| remote.token_file.iter_mut().chain(&mut remote.ca_file)));
        let optional = optional.chain(self.model.lora.iter_mut().flat_map(|lora| &mut lora.path));
        let optional = optional.chain(&mut self.rollout.remote.weights);
        let of_verifier = self.verifier.iter_mut();
        let of_verifier =
            of_verifier.flat_map(|verifier| verifier.path.iter_mut().chain(&mut verifier.start));
        for path in paths.into_iter().chain(optional).chain(of_verifier) {
            *path = place(path);
        }
        self.rewards.place_paths(&self.run, place);
        self
    }
}

/// `path` as seen from `folder`: with `..` where they part. Both are absolute; otherwise `path` stays as it is.
fn seen_from(folder: &Path, path: &Path) -> PathBuf {
    if !folder.is_absolute() || !path.is_absolute() {
        return path.to_owned();
    }
    let common = folder.components().zip(path.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(common).map(|_| Component::ParentDir);
    let seen: PathBuf = up.chain(path.components().skip(common)).collect();
    if seen.as_os_str().is_empty() { PathBuf::from(".") } else { seen }
}

/// `folder/path`, without `..` at its seam: `folder` is canonical, so that its parent is where `..` leads.
fn join(folder: &Path, path: &Path) -> PathBuf {
    let (mut folder, mut path) = (folder, path);
    while let (Ok(rest), Some(parent)) = (path.strip_prefix(".."), folder.parent()) {
        (folder, path) = (parent, rest);
    }
    folder.join(path)
}

fn default_seed() -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_as_seen_from_a_folder_leads_back_to_it() {
        let folder = Path::new("/a/run");
        for (path, wanted) in [
            ("/a/run", "."),
            ("/a/run/judges/x", "judges/x"),
            ("/a/model", "../model"),
            ("/b/c", "../../b/c"),
        ] {
            let seen = seen_from(folder, Path::new(path));
            assert_eq!(seen, Path::new(wanted));
        }
        assert_eq!(seen_from(folder, Path::new("beside")), Path::new("beside"));
    }
}
