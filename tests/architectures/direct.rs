//! The pass without a gradient graph: the hidden states and gradients of the pass with one.

use rltrain::policy::{ModelConfig, Pack, Pass, Policy};
use serde_json::Value;
use tch::{Kind, Tensor};

use super::saving::{complete, golden, load, model_config};
use super::{folders, json as read};

/// Two groups, one of them with several completions: the token before them predicts all.
fn pack() -> Pack {
    let long: Vec<i64> = (0..20).map(|n| (n * 37 + 11) % 90).collect();
    let mut pack = Pack::new(&[5, 9, 20], [&[7i64, 30, 31, 2][..], &[8, 1], &long]);
    pack.add(&[4], [&[6i64, 6, 60, 61, 62, 3, 3][..]]);
    pack
}

/// The hidden states, and every gradient of a loss of them, by name, of two packs.
fn gradients(
    policy: &Policy,
    pass: for<'a> fn(&Pack, &'a rltrain::policy::Network) -> Pass<'a>,
) -> (Tensor, Vec<(String, Tensor)>) {
    let model = policy.training_model(2);
    policy.weights.zero_gradients();
    let mut hidden_ne = Tensor::new();
    for _ in 0..2 {
        let pass = pass(&pack(), &model);
        hidden_ne = pass.hidden_ne.detach().to_kind(Kind::Float).copy();
        let direction = Tensor::arange(hidden_ne.numel() as i64, (Kind::Float, model.device()));
        pass.backward(&direction.sin().view_as(&hidden_ne).to_kind(model.kind()));
    }
    let gradients = policy.weights.trained().filter(|(_, weight)| weight.grad().defined());
    (hidden_ne, gradients.map(|(name, weight)| (name, weight.grad().copy())).collect())
}

#[track_caller]
fn assert_same(name: &str, policy: &Policy, bound: f64) {
    let (wanted_hidden, wanted) = gradients(policy, Pack::pass_with_graph);
    let (hidden, found) = gradients(policy, Pack::pass);
    let apart = (&hidden - &wanted_hidden).norm().double_value(&[]);
    assert!(
        apart <= bound * wanted_hidden.norm().double_value(&[]),
        "{name}: hidden states differ by {apart:e}"
    );
    assert!(wanted.len() > 2 && wanted.len() == found.len(), "{name}");
    for ((key, wanted), (_, found)) in wanted.iter().zip(&found) {
        let apart = (wanted - found).norm().double_value(&[]);
        let norm = wanted.norm().double_value(&[]);
        assert!(apart <= bound * norm.max(1e-3), "{name}: {key} differs by {apart:e} of {norm:e}");
    }
}

fn policy(source: &std::path::Path, change: impl Fn(ModelConfig) -> ModelConfig) -> Policy {
    let folder = complete(source);
    let mut policy = load(folder.path());
    policy.prepare(&change(model_config(folder.path())), 5).unwrap();
    policy
}

/// Families of another form take the graph both times.
#[test]
fn hidden_states_and_gradients_are_those_of_the_graph_in_every_family() {
    let mut direct = 0;
    for source in folders() {
        let config = read(&source.join("config.json"));
        if config["is_encoder_decoder"] == Value::Bool(true) {
            continue;
        }
        let policy = policy(&source, |config| config);
        direct += usize::from(!pack().pass(&policy.training_model(0)).hidden_ne.requires_grad());
        assert_same(&source.display().to_string(), &policy, 1e-5);
    }
    assert!(direct >= 8, "only {direct} models were computed without a graph");
}

#[test]
fn gradients_are_the_same_where_layers_are_computed_again_or_embeddings_are_frozen() {
    let recomputed =
        policy(&golden("qwen2"), |config| ModelConfig { gradient_checkpointing: true, ..config });
    assert_same("recomputed", &recomputed, 1e-5);
    let frozen = policy(&golden("llama"), |config| ModelConfig { freeze_embeddings: true, ..config });
    assert_same("frozen embeddings", &frozen, 1e-5);
}

/// Neither way is the right one in bf16: both are off from f32's gradients by its roundings, and this one by no more than the other.
#[test]
fn in_bf16_it_is_as_near_to_f32_as_the_graph_is() {
    let mut policy = policy(&golden("llama"), |config| config);
    let (_, exact) = gradients(&policy, Pack::pass_with_graph);
    policy.compute = Kind::BFloat16;
    let (_, graph) = gradients(&policy, Pack::pass_with_graph);
    let (_, direct) = gradients(&policy, Pack::pass);
    assert!(exact.len() > 2 && exact.len() == graph.len() && exact.len() == direct.len());
    let off = |found: &[(String, Tensor)]| -> f64 {
        let of_each = found.iter().zip(&exact).map(|((_, found), (_, exact))| {
            (found - exact).norm().double_value(&[]) / exact.norm().double_value(&[]).max(1e-3)
        });
        of_each.sum::<f64>() / exact.len() as f64
    };
    let (graph, direct) = (off(&graph), off(&direct));
    assert!(direct < 0.05 && direct < 1.25 * graph, "on average {direct:e}, and {graph:e} with a graph");
}
