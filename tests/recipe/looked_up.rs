//! What a recipe names is looked up before anything runs, and shown at its line.

use rltrain::recipe::Recipe;

use super::{SHORTEST, render, report};

#[test]
fn a_component_that_is_not_there_is_shown_at_its_line_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("demo.toml");
    std::fs::write(&recipe, format!("{SHORTEST}\n[rewards.wasm.short]\ncomponent = \"short.wasm\"\n"))
        .unwrap();
    let report = render(&Recipe::load(&recipe).unwrap_err());
    assert!(report.contains("there is no component `"), "{report}");
    assert!(report.contains("component = \"short.wasm\""), "{report}");
}

#[test]
fn every_path_of_a_recipe_is_looked_up_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("demo.toml");
    let sections = "[rewards.process.short]\ncommand = [\"true\"]\ndirectory = \"away\"\n\
                    [rewards.wasm.brief]\ncomponent = \"demo.toml\"\nfiles = [\"demo.toml\", \"words.txt\"]\n\
                    [verifier]\npath = \"nowhere\"\nstart = \".\"\n";
    std::fs::write(&recipe, format!("{SHORTEST}\n{sections}")).unwrap();
    let report = render(&Recipe::load(&recipe).unwrap_err());
    let canonical = folder.path().canonicalize().unwrap();
    let report = report.replace(canonical.to_str().unwrap(), "FOLDER");
    let words = report.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    for (message, line) in [
        ("there is no model folder `FOLDER/nowhere`", "path = \"nowhere\""),
        ("there is no checkpoint of a verifier in `FOLDER/.`", "start = \".\""),
        ("there is no folder `FOLDER/away` to start the plug-in in", "directory = \"away\""),
        ("there is no `FOLDER/words.txt` that the component could read", "files = ["),
    ] {
        assert!(words.contains(message) && report.contains(line), "{message}\n{report}");
    }
}

#[test]
fn searches_that_cannot_work_are_refused() {
    let critical = "[eval]\nsearch = [\"critical\"]\n";
    for (more, message) in [
        ("[eval]\nsearch = [\"best-of-n\", \"best-of-n\"]\n".to_owned(), "wanted different ones"),
        (critical.to_owned(), "goes on from where a verifier thinks best of a program, and there is none"),
        (
            format!("[verifier]\n[episode]\nturns = 2\n{critical}"),
            "`critical` goes on from single programs, and attempts have several turns",
        ),
    ] {
        let report = report(&more);
        assert!(report.contains(message), "{message}\n{report}");
    }
}
