//! What a user sees of recipes: the reports of mistakes, the shipped files, the generated ones.

mod arbitrary;
mod keys;
mod layered;
mod looked_up;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use rltrain::algorithm::{AlgorithmConfig, Preset};
use rltrain::critic::CriticConfig;
use rltrain::recipe::{self, Recipe, RecipeError};
use rltrain::supervised::{SupervisedConfig, SupervisedMode};

use keys::{every_algorithm, full};

/// The shortest recipe there is.
const SHORTEST: &str = r#"steps = 50
run = "runs/demo"
[model]
path = "models/demo"
[tasks]
train = "train.jsonl"
heldout = "heldout.jsonl"
[rewards.all_passed]
"#;

fn render(error: &dyn Diagnostic) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut text = String::new();
    handler.render_report(&mut text, error).unwrap();
    text
}

/// What `Recipe::parse` says of the shortest recipe with `more` below it.
fn report(more: &str) -> String {
    report_text(&format!("{SHORTEST}{more}"))
}

fn report_text(text: &str) -> String {
    render(&Recipe::parse("demo.toml", text).unwrap_err())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Fails if the file at `path` differs from `expected`; rewrites it when `RLTRAIN_REGENERATE=1`.
pub(crate) fn check_generated(path: &str, expected: &str) {
    let file = root().join(path);
    if std::env::var_os("RLTRAIN_REGENERATE").is_some() {
        std::fs::write(&file, expected).unwrap();
    }
    let current = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        current == expected,
        "{path} is out of date; run the tests with RLTRAIN_REGENERATE=1 and commit the result"
    );
}

#[test]
fn the_shortest_recipe_is_a_recipe() {
    let recipe = Recipe::parse("demo.toml", SHORTEST).unwrap();
    insta::assert_snapshot!(recipe.resolved());
}

#[test]
fn misspelt_key() {
    insta::assert_snapshot!(report("[rollout]\ngroup_sise = 8\n"));
}

#[test]
fn key_in_the_wrong_section() {
    insta::assert_snapshot!(report("[eval]\nlearning_rate = 1e-5\nseed = 3\nfoo = 1\n"));
}

#[test]
fn wrong_type() {
    insta::assert_snapshot!(report(
        "[rollout]\ngroup_size = \"eight\"\nmax_tokens = 0\n[algorithm]\nadvantage = \"gropo\"\n"
    ));
}

#[test]
fn impossible_value() {
    insta::assert_snapshot!(report("[rollout]\ngroup_size = 1\n"));
}

#[test]
fn every_number_out_of_its_range() {
    insta::assert_snapshot!(report(
        "weight = inf
[rollout]
temperature = 0
stop = [\"\"]
top_p = 0
min_p = 1
repetition_penalty = 0.9
[algorithm]
clip_low = 1.0
clip_high = -0.2
scale_epsilon = 0
[optimizer]
learning_rate = -1e-5
beta1 = 1
beta2 = nan
epsilon = 0
weight_decay = -1
max_gradient_norm = 0
[eval]
k = [1, 1]
temperature = -1
[executor.limits]
fuel = 1
[model.lora]
alpha = 0
dropout = 1
"
    ));
}

#[test]
fn keys_that_the_chosen_variants_do_not_read() {
    insta::assert_snapshot!(report(
        "[algorithm]
policy_loss = \"reinforce\"
advantage = \"rloo\"
clip_low = 0.3
scale = \"none\"
kl = \"k1\"
overlong_penalty = 2.0
"
    ));
}

#[test]
fn an_algorithm_that_cannot_work() {
    insta::assert_snapshot!(report(
        "[rollout]
tasks_per_step = 2
[algorithm]
policy_loss = \"cispo-capped\"
kl_coefficient = 0.1
kl = \"k1\"
correction = \"icepop\"
correction_low = 1.5
correction_high = 0.5
mini_batches = 3
preset = \"dappo\"
"
    ));
}

/// No number of an algorithm may be -1, and none may be no number.
#[test]
fn every_number_of_an_algorithm_has_a_range() {
    let mut refused = std::collections::BTreeSet::new();
    for algorithm in every_algorithm() {
        let recipe = Recipe { algorithm, critic: CriticConfig::default(), ..full() };
        Recipe::parse("demo.toml", &recipe.resolved()).unwrap_or_else(|error| panic!("{}", render(&error)));
        let table = recipe.table();
        let section = table["algorithm"].as_table().unwrap();
        for (key, _) in section.iter().filter(|(_, value)| value.is_float()) {
            // A reward may be any number.
            let wrong: &[f64] = if key == "accept_from" { &[f64::NAN] } else { &[-1.0, f64::NAN] };
            for wrong in wrong.iter().copied() {
                let mut table = table.clone();
                table["algorithm"][key] = wrong.into();
                let text = report_text(&toml::to_string(&table).unwrap());
                assert!(text.contains(&format!("`algorithm.{key}` is {wrong}")), "{key} = {wrong}: {text}");
            }
            refused.insert(key.clone());
        }
    }
    assert_eq!(refused.len(), 36, "{refused:?}");
}

#[test]
fn a_preset_is_what_it_stands_for() {
    let read = |text: &str| Recipe::parse("demo.toml", &format!("{SHORTEST}[algorithm]\n{text}"));
    for preset in Preset::EVERY {
        let name = toml::Value::try_from(preset).unwrap();
        let recipe = read(&format!("preset = {name}")).unwrap_or_else(|error| panic!("{}", render(&error)));
        assert_eq!(recipe.algorithm, preset.config(), "{name}");
        let supervised: SupervisedConfig = toml::from_str(preset.supervised_keys()).unwrap();
        assert_eq!(recipe.supervised, supervised, "{name}");
        // Said out, it is the same, and every key of it is read.
        let said = read(preset.keys()).unwrap_or_else(|error| panic!("{name}: {}", render(&error)));
        assert_eq!(AlgorithmConfig { preset: Some(preset), ..said.algorithm }, recipe.algorithm, "{name}");
        let again = Recipe::parse("resolved.toml", &recipe.resolved()).unwrap();
        assert_eq!(again, recipe, "{name}");
    }
    let names: std::collections::BTreeSet<String> =
        Preset::EVERY.iter().map(|preset| toml::Value::try_from(preset).unwrap().to_string()).collect();
    assert_eq!(names.len(), Preset::EVERY.len());
}

#[test]
fn a_preset_of_references_gives_way_to_what_the_recipe_says_of_them() {
    let text = format!("{SHORTEST}[supervised]\ncoefficient = 0.5\n[algorithm]\npreset = \"code-rl\"\n");
    let recipe = Recipe::parse("demo.toml", &text).unwrap();
    assert_eq!((recipe.supervised.coefficient, recipe.supervised.mode), (0.5, SupervisedMode::Alternating));
    assert_eq!(Recipe::parse("resolved.toml", &recipe.resolved()).unwrap(), recipe);
}

#[test]
fn visits_that_cannot_be() {
    insta::assert_snapshot!(report(
        "[tasks.curriculum]
least_weight = 0
drop_after = 9
[rollout]
group_size_min = 1
group_size_max = 4
staleness = 2
"
    ));
}

#[test]
fn a_reference_without_adapters_needs_adapters() {
    let section = "[algorithm]\nkl_coefficient = 0.1\nreference = \"lora-off\"\n";
    let said = report(section);
    assert!(said.contains("`algorithm.reference = \"lora-off\"` without adapters"), "{said}");
    let adapted = SHORTEST.replace("[tasks]\n", "[model.lora]\nrank = 8\n[tasks]\n");
    assert!(Recipe::parse("demo.toml", &format!("{adapted}{section}")).is_ok());
}

#[test]
fn bounds_of_group_sizes_come_in_pairs_and_pass_rates_have_a_reader() {
    let said = report("[rollout]\ngroup_size_min = 4\n");
    assert!(said.contains("one bound of the group size without the other"), "{said}");
    let said = report("[rollout]\ngroup_size_min = 1\ngroup_size_max = 16\n");
    assert!(said.contains("a group of one has no siblings"), "{said}");
    let visits = SHORTEST.replace("[tasks]\n", "[tasks]\npass_rate_visits = 7\n");
    let said = report_text(&visits);
    assert!(said.contains("nothing is decided by pass rates"), "{said}");
    for reader in ["[tasks.curriculum]\n", "[rollout]\ngroup_size_min = 4\ngroup_size_max = 16\n"] {
        let recipe = Recipe::parse("demo.toml", &format!("{visits}{reader}")).unwrap();
        assert_eq!(recipe.tasks.pass_rate_visits.get(), 7);
    }
}

/// A loss without a ratio takes older weights for the present ones, unless it imitates whoever wrote the attempt.
#[test]
fn stale_attempts_need_a_ratio_or_a_correction() {
    for (algorithm, is_fine) in [
        ("preset = \"grpo\"", true),
        ("preset = \"rloo\"", false),
        ("preset = \"rloo\"\ncorrection = \"token-tis\"", true),
        ("preset = \"rejection-sampling\"", true),
    ] {
        let text = format!("{SHORTEST}[rollout]\nstaleness = 1\n[algorithm]\n{algorithm}\n");
        match Recipe::parse("demo.toml", &text) {
            Ok(_) => assert!(is_fine, "{algorithm}"),
            Err(error) => {
                let said = render(&error);
                assert!(
                    !is_fine && said.contains("nothing makes up for the difference"),
                    "{algorithm}: {said}"
                );
            }
        }
    }
}

#[test]
fn what_a_recipe_sets_itself_wins_over_its_preset() {
    let text =
        format!("{SHORTEST}[algorithm]\npolicy_loss = \"reinforce\"\npreset = \"dapo\"\nrefills = 9\n");
    let recipe = Recipe::parse("demo.toml", &text).unwrap();
    assert_eq!((recipe.algorithm.refills, recipe.algorithm.overlong_buffer), (9, 0.2));
    // DAPO's clip is not the recipe's own, so that it is no mistake that nothing reads it.
    insta::assert_snapshot!(toml::to_string(&recipe.algorithm).unwrap());
    assert_eq!(Recipe::parse("resolved.toml", &recipe.resolved()).unwrap(), recipe);
}

#[test]
fn impossible_combinations() {
    insta::assert_snapshot!(report(
        "[optimizer]\nwarmup_steps = 51\n[eval]\nk = [1, 16]\ntemperature = 0\n[model.x]\n"
    ));
}

#[test]
fn adapters_beside_frozen_embeddings() {
    let frozen = SHORTEST.replace("[model]\n", "[model]\nfreeze_embeddings = true\n");
    insta::assert_snapshot!(report_text(&format!("{frozen}[model.lora]\nrank = 8\n")));
}

#[test]
fn a_shaped_distribution_has_no_ratio() {
    let shaped = "[rollout]\ntop_p = 0.95\nmin_p = 0.05\n";
    insta::assert_snapshot!(report(shaped));
    let without = format!("{SHORTEST}{shaped}[algorithm]\npolicy_loss = \"reinforce\"\n");
    assert!(Recipe::parse("demo.toml", &without).is_ok());
}

#[test]
fn an_episode_of_one_turn_reads_nothing_else_and_no_reply_has_hidden_tests() {
    let said = report("[episode]\nfeedback = \"verdict\"\n");
    assert!(said.contains("`episode.feedback` is set, but with `turns = 1` nothing reads it"), "{said}");
    let said = report("[episode]\nturns = 2\nfeedback = \"none\"\nfeedback_characters = 9\n");
    assert!(said.contains("`episode.feedback_characters` is set, but with `feedback = \"none\"`"), "{said}");
    let said = report("[episode]\nturns = 2\nreply = \"{{ task.hidden_tests }}\"\n");
    assert!(
        said.contains("`episode.reply` uses `task.hidden_tests`, which a prompt does not have"),
        "{said}"
    );
    assert!(said.contains("`feedback`"), "{said}");
}

#[test]
fn a_choice_that_is_refused_is_no_reason_to_refuse_other_keys() {
    for (more, refused) in [
        ("[episode]\nturns = 0\nfeedback = \"verdict\"\nfeedback_characters = 9\n", "`episode.turns`"),
        ("[algorithm]\npolicy_loss = \"clop\"\nsoft_clip_positive = 2.0\n", "`algorithm.policy_loss`"),
        ("[optimizer]\nkind = \"adam\"\nmomentum = 0.8\n", "`optimizer.kind`"),
    ] {
        let said = report(more);
        assert!(said.contains(refused) && !said.contains("nothing reads it"), "{said}");
    }
}

#[test]
fn several_problems_at_once() {
    insta::assert_snapshot!(report_text(
        "seed = -1
steps = 0
runs = \"x\"

[model]
path = 3
device = \"gpu\"
fast_matmul = \"yes\"

[tasks]
train = \"same.jsonl\"
heldout = \"same.jsonl\"
prompt = \"{{ task.reference }}\"
prefill = \"{% if %}\"

[rollout]
temperature = 0
group_sise = 4

[rewards.all_passed]
weight = 0

[checkpoint]
every = 99999999999999999999
"
    ));
}

#[test]
fn nothing_at_all() {
    insta::assert_snapshot!(report_text(""));
}

#[test]
fn not_toml() {
    insta::assert_snapshot!(report_text("steps = 50\nthis is not TOML\n[model\npath = \"x\n"));
}

#[test]
fn missing_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("demo.toml", &SHORTEST.replace("runs/demo", "demo.toml").replace("models/demo", "."));
    write("config.json", "{}");
    let error = Recipe::load(&folder.path().join("demo.toml")).unwrap_err();
    let canonical = folder.path().canonicalize().unwrap();
    insta::assert_snapshot!(render(&error).replace(canonical.to_str().unwrap(), "FOLDER"));
}

#[test]
fn missing_recipe() {
    let error = Recipe::load(Path::new("no/such/recipe.toml")).unwrap_err();
    assert!(matches!(error, RecipeError::Read { .. }));
    insta::assert_snapshot!(render(&error));
}

#[test]
fn a_misspelt_key_hides_no_other_problem() {
    let error = Recipe::parse("demo.toml", &format!("{SHORTEST}[eval]\nsampels = 1\nsamples = 2\nk = [4]"))
        .unwrap_err();
    let RecipeError::Invalid(invalid) = error else { panic!("not about the text") };
    assert_eq!(invalid.problems.len(), 2);
}

#[test]
fn paths_start_at_the_recipe_and_come_out_absolute() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let recipes = folder.join("recipes");
    std::fs::create_dir(&recipes).unwrap();
    for name in
        ["config.json", "model.safetensors", "tokenizer.json", "recipes/train.jsonl", "recipes/heldout.jsonl"]
    {
        std::fs::write(folder.join(name), "").unwrap();
    }
    let text = SHORTEST.replace("models/demo", "..").replace("runs/demo", "../runs/demo");
    std::fs::write(recipes.join("demo.toml"), text).unwrap();
    let recipe = Recipe::load(&recipes.join("demo.toml")).unwrap();
    assert_eq!(recipe.model.path, folder.join(""));
    assert_eq!(recipe.run, folder.join("runs/demo"));
    assert_eq!(recipe.tasks.train, recipes.join("train.jsonl"));
    assert!(!recipe.run.exists(), "checking a recipe made its run folder");
}

#[test]
fn every_shipped_recipe_is_one() {
    let folder = root().join("recipes");
    let mut shipped = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() != Some(OsStr::new("toml")) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("#:schema ./recipe.schema.json\n"), "{} names no schema", path.display());
        let recipe =
            Recipe::parse(path.to_str().unwrap(), &text).unwrap_or_else(|error| panic!("{}", render(&error)));
        for tasks in [&recipe.tasks.train, &recipe.tasks.heldout] {
            assert!(folder.join(tasks).is_file(), "{} has no `{}`", path.display(), tasks.display());
        }
        shipped += 1;
    }
    assert!(shipped > 0);
}

#[test]
fn a_plug_in_that_cannot_work_is_shown_at_its_table() {
    let report = report("[rewards.http.style]\nurl = \"ftp://example.org/\"\n");
    assert!(report.contains("`rewards.style` cannot work: `url` is `ftp://example.org/`"), "{report}");
    // The line after those of the shortest recipe.
    assert!(report.contains("[demo.toml:9:"), "{report}");
}

#[test]
fn the_schema_is_up_to_date() {
    check_generated("recipes/recipe.schema.json", &recipe::schema());
}

#[test]
fn the_manual_is_up_to_date() {
    const GENERATED: &str = "makes it anew. -->\n";
    let readme = std::fs::read_to_string(root().join("recipes/README.md")).unwrap();
    let end = readme.find(GENERATED).expect("README.md marks what is generated") + GENERATED.len();
    check_generated("recipes/README.md", &format!("{}{}", &readme[..end], recipe::manual()));
    for key in recipe::MAY_CHANGE {
        assert!(readme[..end].contains(key), "recipes/README.md does not say that `{key}` may change");
    }
}

#[test]
fn the_hash_names_the_experiment_and_not_the_machine() {
    let recipe = full();
    let mut elsewhere = recipe.clone();
    elsewhere.run = PathBuf::from("/other/place");
    elsewhere.steps += 10;
    elsewhere.executor.workers = None;
    assert_eq!(elsewhere.hash(), recipe.hash());
    assert_eq!(recipe::refused_changes(&recipe.table(), &elsewhere.table()), []);
    let mut other = recipe.clone();
    other.seed += 1;
    assert_ne!(other.hash(), recipe.hash());
    assert_eq!(recipe::refused_changes(&recipe.table(), &other.table()).len(), 1);
}

#[test]
fn the_manual_of_the_command_line_is_up_to_date() {
    check_generated("docs/cli.md", &rltrain::cli::manual());
}
