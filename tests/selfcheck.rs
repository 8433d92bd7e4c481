//! `rltrain selfcheck` on the tiny model.

use crate::rltrain::expect;
use crate::tiny::{self, edit};

#[test]
fn the_gradient_of_the_first_batch_does_not_depend_on_how_it_is_computed() {
    for sections in ["", "[algorithm]\npreset = \"gspo\"\n", "[model.lora]\nrank = 4\n"] {
        let folder = tempfile::tempdir().unwrap();
        tiny::make(folder.path());
        edit(folder.path(), "max_tokens = 48\n", "max_tokens = 16\n");
        edit(folder.path(), "[optimizer]\n", &format!("{sections}\n[optimizer]\n"));
        let (out, _) = expect(folder.path(), &["selfcheck", "recipe.toml"], 0);
        for way in ["in micro-batches", "each attempt alone", "groups in reversed order"] {
            assert!(out.contains(&format!("{way}: tensors differ by at most ")), "{sections}: {out}");
        }
        assert!(!folder.path().join("run").exists(), "nothing is left behind");
    }
}

#[test]
fn a_recipe_that_is_not_there_is_bad_input() {
    let folder = tempfile::tempdir().unwrap();
    let (_, error) = expect(folder.path(), &["selfcheck", "recipe.toml"], 2);
    assert!(error.contains("recipe.toml"), "{error}");
}
