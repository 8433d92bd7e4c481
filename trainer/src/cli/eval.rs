//! `rltrain eval MODEL --tasks FILE` and `rltrain eval --compare A B`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::changes::Changes;
use super::failure::Failure;
use super::subject::Subject;
use super::{print_line, tell};
use crate::eval::suite::{Plan, compare, read_results};
use crate::eval::{SearchConfig, SearchKind};
use crate::recipe::Recipe;
use crate::stop::StopFlag;
use crate::tasks::TaskSet;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A Hugging Face folder, an adapter in PEFT's layout, a checkpoint, a run (its newest checkpoint), or `RUN@STEP`
    #[arg(value_name = "MODEL", required_unless_present = "compare", requires = "tasks")]
    model: Option<PathBuf>,
    /// The task file
    #[arg(long, value_name = "FILE")]
    tasks: Option<PathBuf>,
    /// Compare two folders of results over the same tasks, and print what changed
    #[arg(long, value_names = ["A", "B"], num_args = 2, conflicts_with_all = ["model", "tasks"])]
    compare: Vec<PathBuf>,
    /// Attempts at each task [default: what the recipe says, or 20]
    #[arg(long, value_name = "NUMBER")]
    n: Option<NonZeroUsize>,
    /// The k of each measure, with commas between [default: what the recipe says, or 1,5,10]
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    k: Vec<NonZeroUsize>,
    /// Sampling temperature; 0 is greedy, with `--n 1` [default: what the recipe says, or 0.8]
    #[arg(long, value_name = "NUMBER")]
    temperature: Option<f64>,
    /// Longest completion, in tokens [default: what the recipe says, or 512]
    #[arg(long, value_name = "TOKENS")]
    max_tokens: Option<NonZeroUsize>,
    /// Most attempts decoded together [default: what the recipe says, or 64]
    #[arg(long, value_name = "NUMBER")]
    max_batch: Option<NonZeroUsize>,
    /// Seed of the random numbers [default: what the recipe says, or 1]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Folder of the results; attempts that are there already are not made again [default: evaluations/MODEL-TASKS]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// The recipe that says how tasks are put, attempts sampled and programs judged [default: that of the checkpoint's run]
    #[arg(long, value_name = "RECIPE")]
    recipe: Option<PathBuf>,
    /// The model that an adapter was trained on, if it is not where the adapter says
    #[arg(long, value_name = "FOLDER")]
    base: Option<PathBuf>,
    /// A checkpoint of a verifier, such as one that `rltrain critic` has made, to choose among attempts by
    #[arg(long, value_name = "CHECKPOINT")]
    verifier: Option<PathBuf>,
    /// Other ways to spend tokens, with commas between: `critical`, `best-of-n`, `sampling`, `rex`, `seidr`, `scattered-forest`, `orps`,
    /// `self-edit`, `code-chain`, `incremental-tests`
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    search: Vec<String>,
    #[command(flatten)]
    changes: Changes,
    /// Print the results as one JSON object
    #[arg(long)]
    json: bool,
}

/// What holds where no recipe says anything.
const DEFAULTS: &str = r#"steps = 1
run = "evaluation"
[model]
path = "model"
[tasks]
train = "no tasks to train on"
heldout = "tasks"
[rollout]
max_tokens = 512
stop = ["\n```", "\ndef ", "\nclass ", "\nif __name__", "\nprint(", "\nassert ", "\n#"]
[rewards.all_passed]
[eval]
samples = 20
k = [1, 5, 10]
"#;

/// Sections and keys of a run's recipe that an evaluation has no use for.
const OF_TRAINING: [&str; 14] = [
    "extends",
    "steps",
    "algorithm",
    "supervised",
    "critic",
    "optimizer",
    "checkpoint",
    "tasks.curriculum",
    "tasks.pass_rate_visits",
    "rollout.group_size_min",
    "rollout.group_size_max",
    "rollout.staleness",
    "rollout.truncated_ratio",
    "telemetry",
];

/// Evaluates, or compares, and prints what came out.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let [a, b] = &arguments.compare[..] {
        let compared = compare(&read_results(a)?, &read_results(b)?)?;
        print_line(match arguments.json {
            true => serde_json::to_string(&compared).map_err(Failure::world)?,
            false => compared.to_string().trim_end().to_owned(),
        });
        return Ok(());
    }
    let (Some(model), Some(tasks)) = (&arguments.model, &arguments.tasks) else {
        unreachable!("clap demands both where nothing is compared")
    };
    let subject = Subject::find(model, arguments.base.as_deref())?;
    let out = arguments.out.clone().unwrap_or_else(|| default_out(model, tasks));
    let out = std::path::absolute(out).map_err(Failure::world)?;
    let recipe = recipe(arguments, &subject, tasks, &out)?;
    let set = TaskSet::load(tasks).map_err(Failure::input)?;
    let plan = Plan { recipe, checkpoint: subject.checkpoint, name: model.display().to_string(), tasks: set };
    let stop = StopFlag::new();
    let announce = || tell("\nfinishing these attempts and keeping them; Ctrl-C again stops at once");
    stop.listen(announce).map_err(Failure::world)?;
    let Some(results) = plan.evaluate(&out, &stop, &tell)? else {
        tell("stopped; the same command goes on from here");
        return Ok(());
    };
    print_line(match arguments.json {
        true => serde_json::to_string(&results).map_err(Failure::world)?,
        false => results.to_string().trim_end().to_owned(),
    });
    tell(&format!("results are in {}", out.display()));
    Ok(())
}

/// What the evaluation is told by: the recipe with the arguments on top.
fn recipe(arguments: &Arguments, subject: &Subject, tasks: &Path, out: &Path) -> Result<Recipe, Failure> {
    let here = std::env::current_dir().map_err(Failure::world)?;
    let (name, text) = match (&arguments.recipe, &subject.recipe) {
        // Read twice: what is wrong with it is shown in it, and with what is set here in that.
        (Some(path), _) => {
            (path.display().to_string(), Recipe::load_with(path, &[]).map_err(Failure::input)?.0.resolved())
        }
        (None, Some(recipe)) => ("the recipe of the run".to_owned(), recipe.resolved()),
        (None, None) => ("what `rltrain eval` does by default".to_owned(), DEFAULTS.to_owned()),
    };
    let path = |path: &Path| toml::Value::String(path.display().to_string()).to_string();
    let mut set: Vec<String> = OF_TRAINING.iter().map(|key| format!("{key}=")).collect();
    // Losses with a ratio do not go with everything that sampling may do.
    set.extend(
        ["steps=1", "algorithm.policy_loss=reinforce", "rewards=", "rewards.all_passed={}"]
            .map(str::to_owned),
    );
    set.push(format!("run={}", path(out)));
    set.push(format!("model.path={}", path(&subject.model)));
    // Rank and strength of an adapter are its folder's.
    set.push("model.lora=".to_owned());
    set.extend(subject.adapter.as_ref().map(|adapter| format!("model.lora.path={}", path(adapter))));
    set.push(format!("tasks.heldout={}", path(tasks)));
    // There are none, but every recipe names a file of them.
    set.push(format!("tasks.train={}", path(&subject.model.join("config.json"))));
    set.extend(verifier(arguments, subject)?);
    if !arguments.search.is_empty() {
        // What the recipe says of searches that are not made is nothing that is read.
        let is_named = |kind: &SearchKind| arguments.search.iter().any(|name| name == kind.name());
        let unnamed = SearchKind::ALL.into_iter().filter(|kind| !is_named(kind));
        set.extend(unnamed.filter_map(SearchConfig::table_of).map(|table| format!("search.{table}=")));
        if !SearchKind::ALL.iter().any(|kind| kind.has_budget() && is_named(kind)) {
            set.push("search=".to_owned());
        }
    }
    set.extend(arguments.changes.set.iter().cloned());
    let mut number =
        |key: &str, value: Option<String>| set.extend(value.map(|value| format!("{key}={value}")));
    number("eval.samples", arguments.n.map(|n| n.to_string()));
    number("eval.temperature", arguments.temperature.map(|number| format!("{number:?}")));
    number("rollout.max_tokens", arguments.max_tokens.map(|number| number.to_string()));
    number("rollout.max_batch", arguments.max_batch.map(|number| number.to_string()));
    number("seed", arguments.seed.map(|number| number.to_string()));
    if !arguments.search.is_empty() {
        number("eval.search", Some(format!("{:?}", arguments.search)));
    }
    if !arguments.k.is_empty() {
        number("eval.k", Some(format!("{:?}", arguments.k)));
    } else if let Some(n) = arguments.n {
        let of_text = text.parse::<toml::Table>().ok().and_then(|table| table.get("eval")?.get("k").cloned());
        let ks = of_text.and_then(|ks| ks.try_into::<Vec<usize>>().ok()).unwrap_or_default();
        let mut ks: Vec<usize> = ks.into_iter().filter(|k| *k <= n.get()).collect();
        if ks.is_empty() {
            ks.push(1);
        }
        number("eval.k", Some(format!("{ks:?}")));
    }
    let mut recipe = Recipe::read(&name, &text, &here, &set).map_err(Failure::input)?;
    if recipe.executor.counts_fuel() {
        recipe.rewards.efficiency = Some(rltrain_rewards::EfficiencyConfig::default());
    }
    Ok(recipe)
}

/// What says which verifier chooses, if one does.
fn verifier(arguments: &Arguments, subject: &Subject) -> Result<Vec<String>, Failure> {
    let of_run = subject.checkpoint.as_ref().map(|checkpoint| checkpoint.path().to_owned());
    let of_run = of_run.filter(|path| path.join("verifier.json").is_file());
    let Some(start) = arguments.verifier.clone().or(of_run) else { return Ok(Vec::new()) };
    let start = std::path::absolute(start).map_err(Failure::world)?;
    let mut set = vec![format!("verifier.start={}", toml::Value::String(start.display().to_string()))];
    let state = fs_err::read_to_string(start.join("verifier.json")).ok();
    let state = state.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    if let Some(objective) = state.as_ref().and_then(|state| state["objective"].as_str()) {
        set.push(format!("verifier.objective={objective}"));
    }
    Ok(set)
}

/// `evaluations/MODEL-TASKS`.
fn default_out(model: &Path, tasks: &Path) -> PathBuf {
    let parts: Vec<String> =
        model.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let last = parts[parts.len().saturating_sub(2)..].join("-");
    let plain = |c: char| if c.is_alphanumeric() || "-_.@".contains(c) { c } else { '-' };
    let model: String = last.trim_matches(['.', '/', '-']).chars().map(plain).collect();
    let tasks = tasks.file_stem().unwrap_or_default().to_string_lossy();
    Path::new("evaluations").join(format!("{model}-{tasks}"))
}
