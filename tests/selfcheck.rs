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

/// In bf16 every pack's gradient is rounded; opposite advantages then leave little but that of a sum.
#[test]
fn in_bf16_differences_are_within_what_was_added_up() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "compute = \"f32\"", "compute = \"bf16\"");
    edit(folder.path(), "group_size = 6\nmax_tokens = 48\n", "group_size = 12\nmax_tokens = 4\n");
    let (out, _) = expect(folder.path(), &["selfcheck", "recipe.toml"], 0);
    assert!(out.contains("of what was added up (bound 3e-2)"), "{out}");
}

#[test]
fn nor_does_that_of_an_encoder_decoder() {
    for checkpointing in ["", "gradient_checkpointing = true\n"] {
        let folder = tempfile::tempdir().unwrap();
        tiny::make(folder.path());
        tiny::make_t5(&folder.path().join("model"));
        edit(folder.path(), "max_tokens = 48\n", "max_tokens = 16\n");
        edit(folder.path(), "device = \"cpu\"\n", &format!("device = \"cpu\"\n{checkpointing}"));
        let (out, _) = expect(folder.path(), &["selfcheck", "recipe.toml"], 0);
        assert!(out.contains("each attempt alone: tensors differ by at most "), "{out}");
    }
}

#[test]
fn a_recipe_that_is_not_there_is_bad_input() {
    let folder = tempfile::tempdir().unwrap();
    let (_, error) = expect(folder.path(), &["selfcheck", "recipe.toml"], 2);
    assert!(error.contains("recipe.toml"), "{error}");
}
