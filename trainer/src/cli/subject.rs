//! Models as `rltrain eval` names them: a Hugging Face folder, an adapter, or a checkpoint of a run.

use std::path::{Path, PathBuf};

use fs_err as fs;
use rltrain_checkpoints::Checkpoint;
use serde_json::Value;
use thiserror::Error;

use super::failure::Failure;
use super::run_folder::{checkpoint, recipe_of};
use crate::policy::{Adapter, Policy};
use crate::recipe::Recipe;

/// What a name stands for.
pub(super) struct Subject {
    /// Folder of the model.
    pub(super) model: PathBuf,
    /// Folder of the adapter on it, if there is one.
    pub(super) adapter: Option<PathBuf>,
    /// The checkpoint that it is of, if it is of one.
    pub(super) checkpoint: Option<Checkpoint>,
    /// The recipe of its run, if it is of one.
    pub(super) recipe: Option<Recipe>,
}

/// Why a name stands for nothing.
#[derive(Debug, Error)]
pub(super) enum NoSubject {
    #[error(
        "`{}` is no model: wanted a Hugging Face folder, an adapter in PEFT's layout, a checkpoint, a run (its newest checkpoint), or `RUN@STEP`",
        .0.display()
    )]
    Unknown(PathBuf),
    #[error("the adapter `{}` was trained on `{found}`, which is no folder here; name it with `--base FOLDER`", adapter.display())]
    Base { adapter: PathBuf, found: String },
}

impl Subject {
    /// What `name` stands for; `base` is the model of an adapter, where that is not where the adapter says.
    pub(super) fn find(name: &Path, base: Option<&Path>) -> Result<Subject, Failure> {
        if name.join("adapter_config.json").is_file() {
            let model = base.map_or_else(|| base_of(name), |base| Ok(base.to_owned()))?;
            return Ok(Subject { model, adapter: Some(name.to_owned()), checkpoint: None, recipe: None });
        }
        if name.join("config.json").is_file() {
            return Ok(Subject { model: name.to_owned(), adapter: None, checkpoint: None, recipe: None });
        }
        let is_run = name.join("recipe.toml").is_file() || name.join("checkpoints").is_dir();
        let is_named = name.to_str().is_some_and(|name| name.contains('@'));
        if !is_run && !is_named && !name.join("manifest.json").is_file() {
            return Err(Failure::plain_input(NoSubject::Unknown(name.to_owned())));
        }
        Subject::of_checkpoint(checkpoint(name)?, base)
    }

    fn of_checkpoint(checkpoint: Checkpoint, base: Option<&Path>) -> Result<Subject, Failure> {
        // `RUN/checkpoints/step-N`; one that was copied elsewhere has no run.
        let path = fs::canonicalize(checkpoint.path()).map_err(Failure::world)?;
        let run = path.ancestors().nth(2).filter(|run| run.join("recipe.toml").is_file());
        let recipe = run.map(recipe_of).transpose()?;
        let adapter = Adapter::folder_in(&path);
        let model = match (Policy::model_in(&path), base, &recipe, &adapter) {
            (Some(model), ..) => model,
            (None, Some(base), ..) => base.to_owned(),
            (None, None, Some(recipe), _) => recipe.model.path.clone(),
            (None, None, None, Some(adapter)) => base_of(adapter)?,
            (None, None, None, None) => return Err(Failure::plain_input(NoSubject::Unknown(path))),
        };
        Ok(Subject { model, adapter, checkpoint: Some(checkpoint), recipe })
    }
}

/// The model that an adapter names, if it is a folder here.
fn base_of(adapter: &Path) -> Result<PathBuf, Failure> {
    let text = fs::read_to_string(adapter.join("adapter_config.json")).map_err(Failure::world)?;
    let config: Value = serde_json::from_str(&text).unwrap_or_default();
    let found = config["base_model_name_or_path"].as_str().unwrap_or_default().to_owned();
    let places = [PathBuf::from(&found), adapter.join(&found)];
    let folder = places.into_iter().find(|folder| !found.is_empty() && folder.join("config.json").is_file());
    folder.ok_or_else(|| Failure::plain_input(NoSubject::Base { adapter: adapter.to_owned(), found }))
}
