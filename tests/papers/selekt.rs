//! SeleKT: weights that are held to a sparse change, in training and in what checkpoints show.

use std::path::Path;

use rltrain::recipe::Recipe;

use crate::held::{checkpoint, files, metric, refused, resumed_ends_as_whole, run, tensors};

const ALPHA: f64 = 0.05;

/// Of each tensor, how many entries it has and how many of them differ from the model that the run started from.
fn changes(folder: &Path, weights: &Path) -> Vec<(String, usize, usize)> {
    let base = tensors(&folder.join("model/model.safetensors"));
    let found = tensors(weights);
    assert_eq!(base.len(), found.len());
    let of = |(name, base): (String, Vec<f32>)| {
        let changed = base.iter().zip(&found[&name]).filter(|(one, other)| one != other).count();
        (name, base.len(), changed)
    };
    base.into_iter().map(of).collect()
}

fn assert_sparse(folder: &Path, weights: &Path) {
    let changes = changes(folder, weights);
    for (name, elements, changed) in &changes {
        assert!(*changed <= (ALPHA * *elements as f64).floor() as usize, "{name}: {changed} of {elements}");
    }
    assert!(changes.iter().any(|(_, _, changed)| *changed > 0), "nothing was learnt");
}

/// Trap 19: in the authors' release the projection is written to disk, and training seems to go on from the weights before it. Here the
/// weights that train are the projected ones: after every step few differ, the next step begins from those, and its numbers are
/// others than those of a dense run.
///
/// Where checkpoints alone are to show projected weights, they do, and the run goes on from the others: it is the dense run, bit for bit,
/// stopped and resumed or not.
#[test]
fn trap_19_the_projection_reaches_the_weights_that_train() {
    let in_loop = run("[projection]\nevery = 1", "");
    for step in 1..=4 {
        assert_sparse(in_loop.path(), &checkpoint(in_loop.path(), step).join("model/model.safetensors"));
    }
    let changed = metric(in_loop.path(), "projection/changed");
    assert!(changed.iter().all(|changed| *changed > 0.0 && *changed <= ALPHA), "{changed:?}");

    let dense = run("", "");
    let entropies = |folder: &Path| metric(folder, "entropy");
    let (held, free) = (entropies(in_loop.path()), entropies(dense.path()));
    assert_eq!(held[0], free[0], "the first step begins from the same weights");
    assert_ne!(held[1], free[1], "the second begins from projected ones");

    let at_save = resumed_ends_as_whole("[projection]\nmode = \"at-save\"", "", 2);
    let shown = checkpoint(at_save.path(), 4);
    assert_sparse(at_save.path(), &shown.join("model/model.safetensors"));
    let behind = tensors(&shown.join("unprojected.safetensors"));
    let trained = checkpoint(dense.path(), 4);
    assert!(behind == tensors(&trained.join("model/model.safetensors")), "training saw the projection");
    let optimizer = |folder: &Path| files(folder)["optimizer.safetensors"].clone();
    assert!(optimizer(&shown) == optimizer(&trained), "so did the optimizer");
    assert!(metric(at_save.path(), "projection/changed")[3] > 0.5, "what trains is dense");
}

/// Every other optimizer step, and over all tensors: as many weights may change together, and where is another matter.
#[test]
fn a_global_projection_comes_when_it_is_due_and_counts_over_all_tensors() {
    let folder = run("[projection]\nevery = 2\nscope = \"global\"\nmode = \"both\"", "");
    let changes = changes(folder.path(), &checkpoint(folder.path(), 4).join("model/model.safetensors"));
    let elements: usize = changes.iter().map(|(_, elements, _)| elements).sum();
    let changed: usize = changes.iter().map(|(_, _, changed)| changed).sum();
    assert!(changed > 0 && changed <= (ALPHA * elements as f64).floor() as usize, "{changed} of {elements}");
    assert!(
        changes.iter().any(|(_, elements, changed)| *changed as f64 > ALPHA * *elements as f64),
        "every tensor changed as little as if it had been alone"
    );
    let changed = metric(folder.path(), "projection/changed");
    for (step, changed) in (1..).zip(&changed) {
        assert_eq!(*changed <= ALPHA, step % 2 == 0, "after step {step}: {changed}");
    }
    let text = std::fs::read_to_string(folder.path().join("run/recipe.toml")).unwrap();
    let pinned = Recipe::parse("recipe.toml", &text).unwrap();
    assert_eq!(pinned.projection.unwrap().every.get(), 2);
}

#[test]
fn impossible_projections_are_refused_at_their_line() {
    let error = refused("[projection]\nalpha = 1.5");
    assert!(error.contains("`projection.alpha` is 1.5") && error.contains("recipe.toml:"), "{error}");
    let error = refused("[projection]\nmode = \"at-save\"\nevery = 3");
    assert!(error.contains("with `mode = \"at-save\"` nothing reads it"), "{error}");
    let error = refused("[projection]\n[model.lora]");
    assert!(error.contains("with `[model.lora]` they never leave it"), "{error}");
}
