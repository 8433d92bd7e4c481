//! Searches with a budget: what they spend, what they find, and that the same comes out again, on a tiny model and with real executions.

use std::path::Path;

use serde_json::Value;

use crate::rltrain::expect;
use crate::tiny::{self, edit};

/// Longest program of the runs below, in tokens, and what a search may spend.
const LONGEST: usize = 40;
const BUDGET: usize = 640;

/// Evaluates the tiny model with the searches of its recipe; `more` goes into that. Returns `results.json`.
fn evaluate(folder: &Path, search: &str, more: &str) -> Value {
    make(folder, search, more);
    run(folder, &[])
}

/// The tiny model, and a recipe with searches.
fn make(folder: &Path, search: &str, more: &str) {
    tiny::make(folder);
    let names: Vec<&str> = search.split(',').collect();
    edit(folder, "[eval]\n", &format!("{more}\n[eval]\nsearch = {names:?}\n"));
}

fn run(folder: &Path, more: &[&str]) -> Value {
    let budget = format!("search.budget_tokens={BUDGET}");
    let mut arguments =
        vec!["eval", "model", "--tasks", "heldout.jsonl", "--recipe", "recipe.toml", "--json"];
    arguments.extend(["--n", "4", "--k", "1", "--max-tokens", "40", "--out", "results"]);
    arguments.extend(["--set", &budget, "--set", "search.words_tokens=12"]);
    arguments.extend(more);
    let (out, _) = expect(folder, &arguments, 0);
    serde_json::from_str(&out).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Names of the searches, and what each found.
fn found(results: &Value) -> Vec<(String, Value)> {
    let searches = results["searches"].as_array().unwrap().iter();
    searches.map(|one| (one["found"]["search"].as_str().unwrap().to_owned(), one["found"].clone())).collect()
}

/// Every search, beside plain sampling: each states what it took, and none takes more than it may.
#[test]
fn every_search_states_programs_and_tokens_and_keeps_to_its_budget() {
    let folder = tempfile::tempdir().unwrap();
    let all = "rex,seidr,scattered-forest,orps,self-edit,code-chain,incremental-tests";
    let more = "[search]\nenough = 100\nbatch = 4\n\
                [search.scattered_forest]\nask = \"Name directions.\"\n\
                [search.orps]\nsamples = 3\nbeam = 1\n\
                [search.code_chain]\nsamples = 4\nclusters = [2, 1]\n";
    let results = evaluate(folder.path(), all, more);
    let found = found(&results);
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [&["sampling"][..], &all.split(',').collect::<Vec<_>>()[..]].concat());
    for (name, found) in &found {
        let (tokens, programs) = (number(&found["tokens_per_task"]), number(&found["programs_per_task"]));
        assert_eq!(found["budget_tokens"], BUDGET, "{name}");
        assert!(tokens <= BUDGET as f64, "{name}: {tokens} tokens");
        // Nothing is left that would hold another program.
        assert!(tokens > (BUDGET - LONGEST) as f64, "{name}: {tokens} tokens");
        assert!(programs >= 4.0 && programs <= tokens, "{name}: {programs} programs of {tokens} tokens");
        assert_eq!(found["tasks"][0]["samples"], 1, "{name}");
    }
    let tokens =
        |name: &str| number(&found.iter().find(|(of, _)| of == name).unwrap().1["programs_per_task"]);
    assert!(tokens("orps") < tokens("sampling"), "critiques take tokens, and are no programs");
    let report = std::fs::read_to_string(folder.path().join("results/results.md")).unwrap();
    assert!(report.contains("Search `orps`") && report.contains("of at most 640"), "{report}");
}

/// What a search does is a function of the seed: not of what is decoded together, of what else is searched, or of the time.
#[test]
fn the_same_search_comes_out_again_whatever_is_decoded_beside_it() {
    let (first, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let more = "[search]\nenough = 3\nanswers = 2\n[search.rex]\nstrength = 10\n";
    let one = found(&evaluate(first.path(), "rex,scattered-forest", more));
    make(again.path(), "rex,scattered-forest", more);
    // What the recipe says of a search that is not made does not matter.
    let other = found(&run(again.path(), &["--search", "scattered-forest", "--max-batch", "3"]));
    let of = |all: &[(String, Value)], name: &str| all.iter().find(|(of, _)| of == name).unwrap().1.clone();
    for name in ["sampling", "scattered-forest"] {
        assert_eq!(of(&one, name), of(&other, name));
    }
    assert_eq!(of(&one, "rex")["tasks"][0]["samples"], 2);
}

/// Section 9, defect 15: a search that makes nothing of what it was told is plain sampling, to the token.
#[test]
fn trees_without_repairs_are_the_plain_sampling_that_searches_are_held_against() {
    let folder = tempfile::tempdir().unwrap();
    let more = "[search]\nbatch = 3\nenough = 100\nanswers = 3\n[search.seidr]\nwidth = 3\narity = 0\n";
    let found = found(&evaluate(folder.path(), "seidr", more));
    let [(_, sampling), (_, seidr)] = &found[..] else { panic!("{found:?}") };
    for key in ["tasks", "tokens_per_task", "programs_per_task"] {
        assert_eq!(sampling[key], seidr[key], "{key}");
    }
    let correct = |task: &Value| task["correct"].as_u64().unwrap();
    let solved: u64 = sampling["tasks"].as_array().unwrap().iter().map(correct).sum();
    assert!(solved > 0, "a test of nothing: {sampling}");
}

/// Programs are compared by what they give, and the model is asked which of it is right.
#[test]
fn answers_can_be_chosen_by_what_programs_give() {
    for choice in ["clusters", "vote", "elimination"] {
        let folder = tempfile::tempdir().unwrap();
        let inputs = if choice == "vote" { "inputs = \"hidden\"\n" } else { "" };
        let more = format!("[search]\nchoose = \"{choice}\"\nenough = 100\n{inputs}");
        let found = found(&evaluate(folder.path(), "rex", &more));
        let (sampling, rex) = (&found[0].1, &found[1].1);
        // On these tasks, what passes a public test is right.
        let mean = |found: &Value| number(&found["pass_at_k"][0]["mean"]);
        assert!(mean(sampling) > 0.0 && mean(rex) > 0.0, "{choice}: {found:?}");
    }
}

/// A run evaluates with searches as well, before and after.
#[test]
fn a_run_searches_when_it_evaluates() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "steps = 4\n", "steps = 1\n");
    edit(
        folder.path(),
        "samples = 4\nk = [1, 4]\n",
        "samples = 4\nk = [1, 4]\nsearch = [\"self-edit\"]\n[search]\nbudget_tokens = 400\n[search.self_edit]\nsamples = 3\n",
    );
    expect(folder.path(), &["recipe.toml"], 0);
    let text = std::fs::read_to_string(folder.path().join("run/evaluations.json")).unwrap();
    let evaluations: Value = serde_json::from_str(&text).unwrap();
    for evaluation in evaluations["evaluations"].as_array().unwrap() {
        let searches = evaluation["searches"].as_array().unwrap();
        let names: Vec<&str> = searches.iter().map(|found| found["search"].as_str().unwrap()).collect();
        assert_eq!(names, ["sampling", "self-edit"]);
        assert!(searches.iter().all(|found| number(&found["programs_per_task"]) >= 1.0), "{text}");
    }
}

/// What cannot work is shown at its line, before anything is loaded.
#[test]
fn searches_that_cannot_work_are_refused_at_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let flat = |text: &str| text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    for (search, more, wanted, line) in [
        (
            "rex",
            "[search]\nbudget_tokens = 9\n",
            "a budget of 9 tokens does not hold one program of 48",
            "budget_tokens = 9",
        ),
        (
            "rex",
            "[search]\nbudget_tokens = 300\nchoose = \"elimination\"\n",
            "a budget of 300 tokens, with 512 kept back for questions, does not hold",
            "budget_tokens = 300",
        ),
        (
            "rex",
            "[search.rex]\nfresh_share = 1.5\n",
            "`search.rex.fresh_share` is 1.5, wanted a number from 0 to 1",
            "fresh_share = 1.5",
        ),
        ("scattered-forest", "[search.scattered_forest]\nseeds = []\n", "wanted at least one", "seeds = []"),
        (
            "rex",
            "[search]\nprompt = \"{{ task.hidden_tests }}\"\n",
            "`search.prompt` uses `task.hidden_tests`, which a prompt does not have",
            "prompt =",
        ),
        (
            "orps",
            "[search.orps]\ncritique = \"{{ words }}\"\n",
            "`search.orps.critique` uses `words`",
            "critique =",
        ),
        (
            "seidr",
            "[search.rex]\nstrength = 3\n",
            "`search.rex` is set, but with `eval.search without \"rex\"` nothing reads it",
            "[search.rex]",
        ),
        (
            "rex",
            "[search]\nquestions = 3\n",
            "`search.questions` is set, but with `choose = \"tests\"` nothing reads it",
            "questions = 3",
        ),
        ("rex", "[search.rex]\nstrenght = 3\n", "did you mean `strength`?", "strenght = 3"),
    ] {
        tiny::make(folder.path());
        let named = format!("[eval]\nsearch = [\"{search}\"]\n");
        edit(folder.path(), "[eval]\n", &format!("{more}{named}"));
        let (_, error) = expect(folder.path(), &["check", "recipe.toml"], 2);
        assert!(flat(&error).contains(wanted) && error.contains(line), "{more}: no `{wanted}` in\n{error}");
    }
}

/// Every recipe of a search, on the tiny model: it is one, and it spends what it may.
#[test]
fn the_recipes_of_searches_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let recipes = [
        ("soar-search", "rex"),
        ("orps", "orps"),
        ("scattered-forest", "scattered-forest"),
        ("seidr", "seidr"),
        ("self-edit", "self-edit"),
        ("codechain", "code-chain"),
    ];
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    for (name, search) in recipes {
        let recipe = root.join(format!("recipes/papers/{name}.toml"));
        let page = root.join(format!("docs/papers/{name}.md"));
        assert!(std::fs::read_to_string(&page).unwrap().contains(&format!("recipes/papers/{name}.toml")));
        let mut arguments =
            vec!["eval", "model", "--tasks", "heldout.jsonl", "--recipe", recipe.to_str().unwrap()];
        arguments.extend([
            "--n",
            "2",
            "--k",
            "1",
            "--max-tokens",
            "40",
            "--max-batch",
            "12",
            "--out",
            name,
            "--json",
        ]);
        arguments.extend(["--set", "search.budget_tokens=200", "--set", "search.words_tokens=8"]);
        // As the other tests have it: what the recipes leave to the machine can be slow for a model without any size.
        arguments.extend(["--set", "model.compute=f32", "--set", "model.device=cpu"]);
        let (out, _) = expect(folder.path(), &arguments, 0);
        let found = found(&serde_json::from_str(&out).unwrap());
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["sampling", search]);
        assert!(found.iter().all(|(_, found)| number(&found["tokens_per_task"]) <= 200.0), "{found:?}");
    }
}
