//! What a recipe names on disk and that is not there, or is something else.

use std::path::Path;

use super::Recipe;
use super::problems::Problems;

/// Files without which a model folder is none; of each line, one suffices. Large models come in shards with
/// an index.
const MODEL_FILES: [&[&str]; 3] =
    [&["config.json"], &["model.safetensors", "model.safetensors.index.json"], &["tokenizer.json"]];

/// Reports files that are missing. The paths of `recipe` are absolute.
pub(super) fn check(recipe: &Recipe, problems: &mut Problems<'_>) {
    problems.require(
        !recipe.run.exists() || recipe.run.is_dir(),
        &["run"],
        format!("`{}` is a file, wanted a folder or nothing", recipe.run.display()),
        "the run folder is made when the run starts; choose another name, or move the file away",
    );
    model("model.path", &recipe.model.path, problems);
    let of_critic = recipe.critic.path.iter().map(|path| ("critic.path", path));
    let of_verifier = recipe.verifier.iter().flat_map(|verifier| &verifier.path);
    for (key, path) in of_critic.chain(of_verifier.map(|path| ("verifier.path", path))) {
        model(key, path, problems);
    }
    if let Some(start) = recipe.verifier.as_ref().and_then(|verifier| verifier.start.as_ref()) {
        problems.require(
            start.join("verifier.json").is_file(),
            &["verifier.start"],
            format!("there is no checkpoint of a verifier in `{}`", start.display()),
            "name a folder that `rltrain critic` has made, such as `RUN/verifier/step-00000040`",
        );
    }
    rewards(recipe, problems);
    if let Some(folder) = recipe.model.lora.as_ref().and_then(|lora| lora.path.as_ref()) {
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            problems.require(
                folder.join(file).is_file(),
                &["model.lora.path"],
                format!("the folder of adapters `{}` has no `{file}`", folder.display()),
                "name a folder in PEFT's layout, such as the `adapter` folder of a checkpoint",
            );
        }
    }
    for (key, path) in [("tasks.train", &recipe.tasks.train), ("tasks.heldout", &recipe.tasks.heldout)] {
        let (what, help) = if path.is_dir() {
            ("a folder, wanted a file", "task files are JSON lines, one task a line, in one file")
        } else {
            (
                "not there",
                "relative paths start at the recipe's folder; recipes/README.md describes task files",
            )
        };
        problems.require(path.is_file(), &[key], format!("`{}` is {what}", path.display()), help);
    }
}

/// What plug-ins are made of, and what they are granted.
fn rewards(recipe: &Recipe, problems: &mut Problems<'_>) {
    for (name, process) in &recipe.rewards.process {
        let key = format!("rewards.process.{name}");
        problems.require(
            process.directory.is_dir(),
            &[&format!("{key}.directory"), &key],
            format!("there is no folder `{}` to start the plug-in in", process.directory.display()),
            "relative paths start at the recipe's folder; `rltrain reward new NAME` writes a plug-in to begin with",
        );
    }
    for (name, wasm) in &recipe.rewards.wasm {
        let key = format!("rewards.wasm.{name}");
        problems.require(
            wasm.component.is_file(),
            &[&format!("{key}.component"), &key],
            format!("there is no component `{}`", wasm.component.display()),
            "relative paths start at the recipe's folder; `rltrain reward new NAME --kind wasm` writes one to begin with",
        );
        for path in &wasm.files {
            problems.require(
                path.exists(),
                &[&format!("{key}.files")],
                format!("there is no `{}` that the component could read", path.display()),
                "relative paths start at the recipe's folder; name files and folders that are there",
            );
        }
    }
}

/// A model folder that the recipe names in `key`.
fn model(key: &str, folder: &Path, problems: &mut Problems<'_>) {
    let help = "name a folder in the Hugging Face layout; `rltrain import MODEL.gguf FOLDER` makes one out of \
                a GGUF file, and `make quickstart` fetches and imports the quickstart's";
    let shown = folder.display();
    if problems.require(folder.is_dir(), &[key], format!("there is no model folder `{shown}`"), help) {
        for files in MODEL_FILES {
            let there = files.iter().any(|file| folder.join(file).is_file());
            let message = format!("the model folder `{shown}` has no `{}`", files[0]);
            problems.require(there, &[key], message, help);
        }
    }
}
