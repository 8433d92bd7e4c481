//! Gradient checkpointing: the same gradients, layer by layer.

use rltrain::policy::{LoraConfig, ModelConfig, Pack, Policy};
use tch::{Kind, Tensor};

use super::folders;
use super::saving::{complete, golden, load, model_config};

/// Two groups, one of them with two completions: the token before them predicts both.
fn pack() -> Pack {
    let mut pack = Pack::new(&[5, 9, 20], [&[7i64, 30, 31, 2][..], &[8, 1]]);
    pack.add(&[4], [&[6i64, 6, 60, 61, 62, 3, 3][..]]);
    pack
}

/// Every gradient of a loss of the hidden states, by name.
fn gradients(policy: &Policy) -> Vec<(String, Tensor)> {
    let model = policy.training_model(2);
    // Twice, as in an update of two packs.
    for _ in 0..2 {
        let pass = pack().pass(&model);
        let direction = Tensor::arange(pass.hidden_ne.numel() as i64, (Kind::Float, model.device()));
        let direction = direction.sin().view_as(&pass.hidden_ne).to_kind(model.kind());
        pass.backward(&direction);
    }
    let gradients = policy.weights.trained().map(|(name, weight)| (name, weight.grad())).collect();
    for (_, weight) in policy.weights.trained() {
        assert!(weight.requires_grad());
    }
    gradients
}

/// Observed: the same to the last bit but for sums of embeddings, which add up in another order.
#[track_caller]
fn assert_same(name: &str, kept: &Policy, recomputed: &Policy, bound: f64) {
    let (kept, recomputed) = (gradients(kept), gradients(recomputed));
    assert_eq!(kept.len(), recomputed.len());
    let mut defined = 0;
    for ((key, kept), (_, recomputed)) in kept.iter().zip(&recomputed) {
        assert_eq!(kept.defined(), recomputed.defined(), "{name}: {key}");
        if kept.defined() {
            let apart = (kept - recomputed).norm().double_value(&[]);
            let norm = kept.norm().double_value(&[]);
            assert!(apart <= bound * norm.max(1e-3), "{name}: {key} differs by {apart:e} of {norm:e}");
            defined += 1;
        }
    }
    assert!(defined > 2, "{name}");
}

fn policies(source: &std::path::Path, change: impl Fn(ModelConfig) -> ModelConfig) -> [Policy; 2] {
    let folder = complete(source);
    [false, true].map(|gradient_checkpointing| {
        let mut policy = load(folder.path());
        let config = ModelConfig { gradient_checkpointing, ..change(model_config(folder.path())) };
        policy.prepare(&config, 5).unwrap();
        policy
    })
}

#[test]
fn gradients_are_the_same_in_every_family() {
    for source in folders() {
        let [kept, recomputed] = policies(&source, |config| config);
        assert_same(&source.display().to_string(), &kept, &recomputed, 1e-5);
    }
}

#[test]
fn gradients_of_adapters_with_dropout_and_of_frozen_embeddings_are_the_same() {
    let lora = LoraConfig { dropout: 0.2, ..LoraConfig::default() };
    let [kept, recomputed] =
        policies(&golden("gptj"), |config| ModelConfig { lora: Some(lora.clone()), ..config });
    assert_same("adapters", &kept, &recomputed, 1e-5);
    let [kept, recomputed] =
        policies(&golden("qwen2"), |config| ModelConfig { freeze_embeddings: true, ..config });
    assert_same("frozen embeddings", &kept, &recomputed, 1e-5);
}

/// In bf16 the same roundings happen again: only the sums over tokens may differ.
#[test]
fn gradients_in_bf16_are_the_same() {
    let [mut kept, mut recomputed] = policies(&golden("gemma3"), |config| config);
    for policy in [&mut kept, &mut recomputed] {
        policy.compute = Kind::BFloat16;
    }
    assert_same("bf16", &kept, &recomputed, 1e-2);
}
