//! A random model of a million parameters, three tasks, and a recipe that takes a minute at most.

use std::collections::BTreeMap;
use std::path::Path;

use rltrain::policy::Architecture;
use rltrain::rng::{Stream, uniform};
use rltrain_checkpoints::{Dtype, OwnedTensor, write_safetensors};
use serde_json::{Map, Value, json};

/// Ids after the 256 bytes: end of text, begin and end of a turn.
const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// Makes `folder`/model, `folder`/tasks and `folder`/recipe.toml.
pub(crate) fn make(folder: &Path) {
    make_model(&folder.join("model"));
    make_tasks(folder);
    std::fs::write(folder.join("recipe.toml"), RECIPE).unwrap();
}

const RECIPE: &str = r#"seed = 3
steps = 4
run = "run"

[model]
path = "model"
compute = "f32"
device = "cpu"

[tasks]
train = "train.jsonl"
heldout = "heldout.jsonl"

[rollout]
tasks_per_step = 3
group_size = 6
max_tokens = 48
max_batch = 12

[rewards.tests_passed]
weight = 0.5

[rewards.all_passed]

[optimizer]
learning_rate = 1e-3

[eval]
every = 2
samples = 4
k = [1, 4]

[checkpoint]
every = 1
"#;

/// A Llama of 1.0 million parameters with random weights and a byte-level tokenizer.
pub(crate) fn make_model(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 259, "hidden_size": 128,
        "intermediate_size": 384, "num_hidden_layers": 5, "num_attention_heads": 8, "num_key_value_heads": 2,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": true, "bos_token_id": 257, "eos_token_id": 258, "dtype": "float32",
    });
    write_json(&folder.join("config.json"), &config);
    write_json(&folder.join("generation_config.json"), &json!({ "eos_token_id": [256, 258] }));
    let template = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>\n{% endfor %}";
    write_json(
        &folder.join("tokenizer_config.json"),
        &json!({ "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template, "eos_token": "<|im_end|>" }),
    );
    write_json(&folder.join("tokenizer.json"), &tokenizer(&Value::Null));
    write_weights(folder, &config);
}

/// A T5 of 0.9 million parameters with random weights in the same folder, whose tokenizer ends what an encoder reads.
pub(crate) fn make_t5(folder: &Path) {
    make_model(folder);
    let config = json!({
        "architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "is_encoder_decoder": true,
        "vocab_size": 259, "d_model": 128, "d_kv": 16, "num_heads": 8, "d_ff": 256, "num_layers": 2,
        "num_decoder_layers": 3, "relative_attention_num_buckets": 16, "relative_attention_max_distance": 64,
        "feed_forward_proj": "relu", "layer_norm_epsilon": 1e-6, "tie_word_embeddings": true,
        "scale_decoder_outputs": false, "decoder_start_token_id": 256, "pad_token_id": 256, "eos_token_id": 258,
        "dtype": "float32",
    });
    write_json(&folder.join("config.json"), &config);
    let end = SPECIAL[2];
    let token = json!({ "SpecialToken": { "id": end, "type_id": 0 } });
    let sequence = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    let ending = json!({
        "type": "TemplateProcessing", "single": [sequence("A"), &token],
        "pair": [sequence("A"), &token, sequence("B"), &token],
        "special_tokens": { end: { "id": end, "ids": [258], "tokens": [end] } },
    });
    write_json(&folder.join("tokenizer.json"), &tokenizer(&ending));
    write_weights(folder, &config);
}

fn write_weights(folder: &Path, config: &Value) {
    let shapes = Architecture::from_json(config).unwrap().shapes();
    let tensors =
        shapes.iter().enumerate().map(|(index, (name, shape))| (name.clone(), random(index as u64, shape)));
    write_safetensors(&folder.join("model.safetensors"), tensors, &BTreeMap::new()).unwrap();
}

/// Norms are ones; everything else is uniform with standard deviation 0.02.
fn random(index: u64, shape: &[i64]) -> OwnedTensor {
    let count = shape.iter().product::<i64>() as u64;
    let value = |n| (uniform(11, Stream::Sampling, &[index, n]) - 0.5) as f32 * 0.02 * 12f32.sqrt();
    let data =
        (0..count).flat_map(|n| if shape.len() == 1 { 1.0f32 } else { value(n) }.to_le_bytes()).collect();
    OwnedTensor { dtype: Dtype::F32, shape: shape.iter().map(|n| *n as usize).collect(), data }
}

/// `post_processor` says what is put around a text where special tokens are wanted.
fn tokenizer(post_processor: &Value) -> Value {
    let mut vocabulary = Map::new();
    for byte in 0..=255u8 {
        vocabulary.insert(byte_level(byte).to_string(), json!(byte));
    }
    let special: Vec<Value> = SPECIAL
        .iter()
        .zip(256..)
        .map(|(content, id)| {
            json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true })
        })
        .collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": special, "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "post_processor": post_processor,
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                   "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                   "vocab": vocabulary, "merges": [] },
    })
}

/// GPT-2's printable stand-in for a byte: printable Latin-1 stands for itself, the others follow from U+0100 on.
fn byte_level(byte: u8) -> char {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if printable(byte) {
        return char::from(byte);
    }
    let place = (0..byte).filter(|b| !printable(*b)).count() as u32;
    char::from_u32(0x100 + place).unwrap()
}

/// Random bytes are hardly ever a Python function. Behind a comment sign they are, unless a line ends or a null byte
/// comes: some attempts pass and some fail, so that there is something to learn.
fn make_tasks(folder: &Path) {
    let task = |id: &str, body: &str, tests: [&str; 4]| {
        let signature = format!("def {id}(x): return {body} #:");
        json!({ "id": id, "prompt": format!("Write {id}."), "signature": signature, "entry_point": id,
                "reference": format!("{signature}\n"), "public_tests": [tests[0], tests[1]],
                "hidden_tests": [tests[2], tests[3]] })
        .to_string()
    };
    let train = [
        task(
            "same",
            "x",
            ["assert same(1) == 1", "assert same(2) == 2", "assert same(3) == 3", "assert same(4) == 4"],
        ),
        task(
            "next",
            "x + 1",
            ["assert next(1) == 2", "assert next(2) == 3", "assert next(3) == 4", "assert next(9) == 10"],
        ),
        task(
            "half",
            "x // 2",
            ["assert half(1) == 0", "assert half(2) == 1", "assert half(4) == 2", "assert half(9) == 4"],
        ),
    ];
    let heldout = [
        task(
            "twice",
            "2 * x",
            ["assert twice(1) == 2", "assert twice(2) == 4", "assert twice(3) == 6", "assert twice(4) == 8"],
        ),
        task(
            "minus",
            "-x",
            [
                "assert minus(1) == -1",
                "assert minus(2) == -2",
                "assert minus(3) == -3",
                "assert minus(0) == 0",
            ],
        ),
    ];
    std::fs::write(folder.join("train.jsonl"), train.join("\n") + "\n").unwrap();
    std::fs::write(folder.join("heldout.jsonl"), heldout.join("\n") + "\n").unwrap();
}

fn write_json(path: &Path, value: &Value) {
    std::fs::write(path, serde_json::to_string_pretty(value).unwrap()).unwrap();
}

/// Replaces one text in the recipe of `folder`.
#[track_caller]
pub(crate) fn edit(folder: &Path, from: &str, to: &str) {
    let path = folder.join("recipe.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}
