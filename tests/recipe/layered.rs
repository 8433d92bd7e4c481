//! Recipes out of several files, and what the command line sets.

use std::path::Path;

use rltrain::recipe::Recipe;

use super::render;
use crate::rltrain::expect;
use crate::tiny;

/// A tiny recipe in a folder of its own, extended by one beside it.
fn layered(folder: &Path, above: &str) {
    let base = folder.join("base");
    tiny::make(&base);
    std::fs::write(
        folder.join("above.toml"),
        format!("extends = \"base/recipe.toml\"\nrun = \"runs/above\"\n{above}"),
    )
    .unwrap();
}

fn load(folder: &Path, set: &[&str]) -> Result<(Recipe, Vec<String>), String> {
    let set: Vec<String> = set.iter().map(|set| (*set).to_owned()).collect();
    Recipe::load_with(&folder.join("above.toml"), &set).map_err(|error| render(&error))
}

#[test]
fn what_is_said_above_replaces_what_is_said_below_key_by_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    layered(&path, "[rollout]\ngroup_size = 4\n");
    let (recipe, names) =
        load(&path, &["rollout.stop=[\"END\"]", "rewards.all_passed=", "seed=9", "eval.k=[1]"]).unwrap();
    assert_eq!(recipe.rollout.group_size.get(), 4, "of the file above");
    assert_eq!(recipe.rollout.max_tokens.get(), 48, "of the file below");
    assert_eq!(
        (recipe.seed, &recipe.rollout.stop[..], &recipe.eval.k[..]),
        (9, &["END".to_owned()][..], &[1][..])
    );
    assert!(recipe.rewards.all_passed.is_none() && recipe.rewards.tests_passed.is_some());
    // Each path starts at the file that says it.
    assert_eq!(recipe.model.path, path.join("base/model"));
    assert_eq!(recipe.run, path.join("runs/above"));
    assert_eq!(names.len(), 6, "{names:?}");
    assert!(names[0].ends_with("above.toml") && names[1].ends_with("base/recipe.toml"), "{names:?}");
    assert_eq!(&names[2..4], ["--set rollout.stop=[\"END\"]", "--set rewards.all_passed="]);
}

#[test]
fn a_mistake_is_shown_in_the_text_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    layered(folder.path(), "[rollout]\ngroup_sise = 4\n");
    tiny::edit(&folder.path().join("base"), "samples = 4", "sampels = 4");
    let report = load(folder.path(), &["optimizer.learning_rate=fast", "steps.x=1"]).unwrap_err();
    for (text, message) in [
        ("above.toml:4:", "did you mean `group_size`?"),
        ("base/recipe.toml:30:", "did you mean `samples`?"),
        ("--set:1:", "optimizer.learning_rate = \"fast\""),
        ("--set:1:", "steps.x = 1"),
    ] {
        assert!(report.contains(text) && report.contains(message), "{text} {message}\n{report}");
    }
}

#[test]
fn a_change_without_a_value_is_shown_as_it_was_typed() {
    let folder = tempfile::tempdir().unwrap();
    layered(folder.path(), "");
    let report = load(folder.path(), &["tasks"]).unwrap_err();
    assert!(report.contains("--set:1:") && report.contains("`--set tasks` has no `=`"), "{report}");
}

#[test]
fn files_that_are_not_there_or_extend_each_other_are_refused_where_they_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (extends, wanted) in [("nowhere.toml", "cannot be read"), ("above.toml", "extends this one in turn")]
    {
        std::fs::write(folder.path().join("above.toml"), format!("steps = 1\nextends = \"{extends}\"\n"))
            .unwrap();
        let report = load(folder.path(), &[]).unwrap_err();
        let words = report.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(report.contains("above.toml:2:") && words.contains(wanted), "{report}");
    }
    std::fs::write(folder.path().join("above.toml"), "extends = 3\n").unwrap();
    assert!(load(folder.path(), &[]).unwrap_err().contains("wanted the path of a recipe"));
    let text = "extends = \"base.toml\"\n";
    assert!(render(&Recipe::parse("text.toml", text).unwrap_err()).contains("unknown key `extends`"));
}

#[test]
fn a_dry_run_prints_the_recipe_with_its_changes_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    layered(folder.path(), "");
    let arguments = ["above.toml", "--set", "optimizer.learning_rate=2e-3", "--dry-run"];
    let (out, error) = expect(folder.path(), &arguments, 0);
    assert!(out.contains("learning_rate = 0.002") && error.is_empty(), "{out}{error}");
    assert!(!folder.path().join("runs").exists());
    let recipe = Recipe::parse("printed", &out).unwrap();
    assert_eq!(recipe, load(folder.path(), &["optimizer.learning_rate=2e-3"]).unwrap().0);
    let (out, _) = expect(folder.path(), &["check", "above.toml", "--set", "seed=5", "--resolved"], 0);
    assert!(out.starts_with("seed = 5\n"), "{out}");
    let (few, _) =
        expect(folder.path(), &["plan", "above.toml", "--set", "optimizer.micro_batch_tokens=64"], 0);
    assert_ne!(few, expect(folder.path(), &["plan", "above.toml"], 0).0);
    // A run notes what its recipe was made of.
    expect(folder.path(), &["above.toml", "--set", "steps=1", "--set", "eval.samples=4"], 0);
    let noted = std::fs::read_to_string(folder.path().join("runs/above/provenance.json")).unwrap();
    let noted: serde_json::Value = serde_json::from_str(&noted).unwrap();
    assert_eq!(noted["starts"][0]["layers"][2], "--set steps=1", "{noted}");
}

/// Recipes that are shipped, as far as what they name was fetched.
#[test]
fn every_shipped_recipe_runs_dry() {
    let recipes = super::root().join("recipes");
    for entry in std::fs::read_dir(&recipes).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let model = text
            .lines()
            .find_map(|line| line.strip_prefix("path = \""))
            .and_then(|rest| rest.split('"').next());
        if model.is_none_or(|model| !recipes.join(model).join("model.safetensors").exists()) {
            let mut standard_error = std::io::stderr();
            let _ = std::io::Write::write_all(
                &mut standard_error,
                format!("skipped {}: its model is not there\n", path.display()).as_bytes(),
            );
            continue;
        }
        let (out, _) = expect(&recipes, &[path.to_str().unwrap(), "--dry-run"], 0);
        Recipe::parse("printed", &out).unwrap();
    }
}
