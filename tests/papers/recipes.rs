//! Every recipe of `recipes/papers` makes two steps on the tiny model, and every one has its page.

use std::path::{Path, PathBuf};

use rltrain_executor::process::{Isolation, LayerSet};
use serde_json::{Value, json};
use toml::Table;

use crate::held::metrics;
use crate::rltrain::expect;
use crate::tiny;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Names of the recipes that train; those that search are tried in `search.rs`.
fn names() -> Vec<String> {
    let entries = root().join("recipes/papers").read_dir().unwrap().map(|entry| entry.unwrap().path());
    let is_recipe = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let searches = |path: &PathBuf| std::fs::read_to_string(path).unwrap().contains("\n[search]\n");
    let recipes = entries.filter(|path| is_recipe(path) && !searches(path));
    let mut names: Vec<String> =
        recipes.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Tasks in C that a random model solves unless it writes a line break: as those of `tiny.rs`.
fn c_tasks(folder: &Path) {
    let task = |id: &str| {
        let signature = format!("#include <stdio.h>\nint main(void) {{ puts(\"{id}\"); }} //");
        let test = json!({ "kind": "stdin", "stdin": "", "stdout": format!("{id}\n") });
        json!({ "id": id, "prompt": format!("Print {id}."), "signature": signature, "entry_point": "main",
                "reference": format!("{signature}\n"), "public_tests": [test], "hidden_tests": [test],
                "language": "c" })
        .to_string()
    };
    std::fs::write(folder.join("train.jsonl"), ["a", "b", "c"].map(task).join("\n")).unwrap();
    std::fs::write(folder.join("heldout.jsonl"), ["d", "e"].map(task).join("\n")).unwrap();
}

fn set(recipe: &mut Table, key: &str, value: impl Into<toml::Value>) {
    let (sections, last) = key.rsplit_once('.').unwrap_or(("", key));
    let sections = sections.split('.').filter(|section| !section.is_empty());
    let table = sections.fold(recipe, |table, name| {
        table.entry(name).or_insert_with(|| Table::new().into()).as_table_mut().unwrap()
    });
    table.insert(last.to_owned(), value.into());
}

/// Two steps of a recipe on the tiny model, its tasks in the place of the recipe's.
fn two_steps(name: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let shipped = root().join("recipes/papers").join(format!("{name}.toml"));
    let mut recipe: Table = std::fs::read_to_string(shipped).unwrap().parse().unwrap();
    if recipe.get("executor").and_then(|executor| executor.get("runtime")).is_some() {
        c_tasks(folder.path());
    }
    let small = |recipe: &Table, section: &str, key: &str, most: i64| {
        let found =
            recipe.get(section).and_then(|section| section.get(key)).and_then(toml::Value::as_integer);
        found.map(|found| found.min(most))
    };
    for (section, key, most) in [
        ("rollout", "group_size", 4),
        ("rollout", "tasks_per_step", 3),
        ("critic", "warmup_steps", 1),
        ("iteration", "epochs", 2),
    ] {
        if let Some(value) = small(&recipe, section, key, most) {
            set(&mut recipe, &format!("{section}.{key}"), value);
        }
    }
    for (key, value) in [
        ("run", "run"),
        ("model.path", "model"),
        ("model.device", "cpu"),
        ("model.compute", "f32"),
        ("tasks.train", "train.jsonl"),
        ("tasks.heldout", "heldout.jsonl"),
    ] {
        set(&mut recipe, key, value);
    }
    for (key, value) in [
        ("steps", 2),
        ("rollout.max_tokens", 16),
        ("optimizer.warmup_steps", 0),
        ("eval.samples", 2),
        ("eval.every", 0),
        ("checkpoint.every", 2),
    ] {
        set(&mut recipe, key, value);
    }
    set(&mut recipe, "eval.k", vec![1]);
    std::fs::write(folder.path().join("recipe.toml"), recipe.to_string()).unwrap();
    expect(folder.path(), &["recipe.toml"], 0);
    metrics(folder.path())
}

/// A metric that only the paper's own part gives, for each recipe.
const TELLING: [(&str, &str); 11] = [
    ("b-coder", "critic/vf_loss"),
    ("coderanker", "verifier/class_accuracy"),
    ("coderl", "verifier/class_accuracy"),
    ("compiler-dpo", "rewards/tiers/mean"),
    ("dr-boot", "iteration/updates"),
    ("egpo", "advantage/std"),
    ("mucode", "verifier/auroc"),
    ("ppocoder", "rewards/dataflow_match/none_rate"),
    ("prime", "verifier/auroc"),
    ("selekt", "projection/changed"),
    ("soar", "iteration/examples"),
];

fn makes_two_steps(name: &str) {
    let steps = two_steps(name);
    assert_eq!(steps.len(), 2, "{name}");
    let (_, telling) = TELLING.iter().find(|(of, _)| *of == name).unwrap();
    assert!(steps.iter().any(|step| step[telling].is_number()), "{name}, {telling}: {steps:?}");
    let moved = |step: &Value| step["grad_norm"].as_f64().is_some_and(|norm| norm > 0.0);
    assert!(steps.iter().any(moved), "{name} learnt nothing: {steps:?}");
}

macro_rules! recipes {
    ($($test:ident $name:literal)*) => {
        $(#[test]
        fn $test() {
            makes_two_steps($name);
        })*

        #[test]
        fn every_recipe_is_tried_and_has_its_page() {
            assert_eq!(names(), TELLING.map(|(name, _)| name));
            let tried = [$($name),*, "compiler-dpo"];
            for name in names() {
                assert!(tried.contains(&name.as_str()), "{name} is not tried");
                let page = std::fs::read_to_string(root().join(format!("docs/papers/{name}.md"))).unwrap();
                let link = format!("../../recipes/papers/{name}.toml");
                assert!(page.contains(&link), "docs/papers/{name}.md does not lead to {link}");
                for part in ["## The paper", "## The recipe", "## What differs", "## Result"] {
                    assert!(page.contains(part), "docs/papers/{name}.md has no `{part}`");
                }
            }
        }
    };
}

recipes! {
    b_coder_makes_two_steps "b-coder"
    coderanker_makes_two_steps "coderanker"
    coderl_makes_two_steps "coderl"
    dr_boot_makes_two_steps "dr-boot"
    egpo_makes_two_steps "egpo"
    mucode_makes_two_steps "mucode"
    ppocoder_makes_two_steps "ppocoder"
    prime_makes_two_steps "prime"
    selekt_makes_two_steps "selekt"
    soar_makes_two_steps "soar"
}

/// Where there are no namespaces or no compiler, nothing is tried.
#[test]
#[expect(clippy::print_stdout, reason = "a test that tries nothing says so")]
fn compiler_dpo_makes_two_steps() {
    let compiles = std::process::Command::new("cc").arg("--version").output().is_ok();
    if !compiles || Isolation::probe().check(LayerSet::default()).is_err() {
        println!("no host for native programs: nothing is tried");
        return;
    }
    makes_two_steps("compiler-dpo");
}
