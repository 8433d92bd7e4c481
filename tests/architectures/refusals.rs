//! Configurations that ask for something that is not done: refused by key and value.

use rltrain::policy::Architecture;
use serde_json::{Value, json};

use super::{folders, json as read};

/// The configuration of a golden folder.
fn config(name: &str) -> Value {
    let folder = folders().into_iter().find(|folder| folder.ends_with(name)).unwrap();
    read(&folder.join("config.json"))
}

/// What reading the configuration of `name` says when `changes` are made to it.
fn refusal(name: &str, changes: Value) -> String {
    let mut config = config(name);
    let changes = changes.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(changes);
    Architecture::from_json(&config).unwrap_err().to_string()
}

#[test]
fn an_unknown_family_is_told_the_known_ones() {
    insta::assert_snapshot!(
        refusal("llama", json!({ "model_type": "mamba" })),
        @"`config.json`: model_type `mamba` is not supported, wanted one of `codegen`, `gemma3_text`, `gpt2`, `gpt_bigcode`, `gpt_neox`, `gptj`, `llama`, `mistral`, `qwen2`, `qwen3`, `starcoder2`, `t5`"
    );
}

#[test]
fn what_is_not_done_is_refused_by_key_and_value() {
    let cases = [
        ("llama", json!({ "hidden_act": "relu6" }), "`hidden_act = \"relu6\"`"),
        (
            "llama",
            json!({ "rope_scaling": { "type": "dynamic", "factor": 2.0 } }),
            "`rope_scaling.type = \"dynamic\"`",
        ),
        (
            "llama",
            json!({ "rope_parameters": { "rope_type": "longrope" } }),
            "`rope_parameters.rope_type = \"longrope\"`",
        ),
        (
            "llama",
            json!({ "rope_parameters": { "partial_rotary_factor": 0.5 } }),
            "`partial_rotary_factor = 0.5`",
        ),
        (
            "llama",
            json!({ "rope_parameters": { "full_attention": {} } }),
            "`rope_parameters.full_attention = {}`",
        ),
        ("llama", json!({ "quantization_config": { "bits": 4 } }), "`quantization_config = {\"bits\":4}`"),
        ("llama", json!({ "num_key_value_heads": 3 }), "`num_key_value_heads = 3`"),
        ("llama", json!({ "head_dim": 5 }), "`rotary dimensions of a head = 5`"),
        ("mistral", json!({ "layer_types": ["full_attention", "full_attention"] }), "`layer_types = "),
        ("qwen2", json!({ "layer_types": ["sliding_attention", "full_attention"] }), "`layer_types = "),
        ("qwen2", json!({ "layer_types": ["full_attention"] }), "`layer_types = "),
        ("qwen3", json!({ "layer_types": ["linear_attention", "full_attention"] }), "`layer_types = "),
        ("gemma3", json!({ "final_logit_softcapping": 30.0 }), "`final_logit_softcapping = 30.0`"),
        ("gemma3", json!({ "attn_logit_softcapping": 50.0 }), "`attn_logit_softcapping = 50.0`"),
        ("gemma3", json!({ "use_bidirectional_attention": true }), "`use_bidirectional_attention = true`"),
        ("gpt2", json!({ "add_cross_attention": true }), "`add_cross_attention = true`"),
        ("gpt2", json!({ "n_head": 3 }), "`n_head = 3`"),
        ("gptj", json!({ "rotary_dim": null }), "`rotary_dim = null`"),
        ("gptj", json!({ "rotary_dim": 16 }), "`rotary dimensions of a head of width 8 = 16`"),
        ("codegen", json!({ "n_head": 2 }), "`n_head = 2`"),
    ];
    for (name, changes, wanted) in cases {
        let message = refusal(name, changes.clone());
        assert!(message.contains(wanted) && message.ends_with(" is not supported"), "{changes}: {message}");
    }
}

#[test]
fn a_key_of_another_type_is_refused() {
    let cases = [
        (json!({ "hidden_size": "16" }), "key `hidden_size` is \"16\", wanted a positive integer"),
        (json!({ "num_hidden_layers": 0 }), "key `num_hidden_layers` is 0, wanted a positive integer"),
        (json!({ "vocab_size": null }), "key `vocab_size` is null, wanted a positive integer"),
        (json!({ "tie_word_embeddings": 1 }), "key `tie_word_embeddings` is 1, wanted true or false"),
        (json!({ "rms_norm_eps": "small" }), "key `rms_norm_eps` is \"small\", wanted a number"),
        (
            json!({ "rope_parameters": { "rope_type": "linear" } }),
            "key `rope_parameters.factor` is missing, wanted a number",
        ),
    ];
    for (changes, wanted) in cases {
        let message = refusal("llama", changes);
        assert!(message.ends_with(wanted), "{message}");
    }
}
