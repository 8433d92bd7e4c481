//! A model of two layers, written as GGUF and imported.

use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use proptest::prelude::*;
use rltrain_checkpoints::read_safetensors;
use serde_json::json;

use super::*;

const HIDDEN: usize = 8;
const FEED_FORWARD: usize = 12;
const HEADS: usize = 2;
const KEY_VALUE_HEADS: usize = 1;
const HEAD_DIM: usize = 4;
const TOKENS: [&str; 8] = ["<|endoftext|>", "<|im_end|>", "<think>", "a", "b", "1", "Ġ", "ab"];

/// What the file will say; a test changes it before writing.
struct Tiny {
    metadata: Vec<(String, Value)>,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

fn strings(texts: &[&str]) -> Value {
    Value::Array(texts.iter().map(|text| Value::String((*text).to_owned())).collect())
}

impl Tiny {
    fn new() -> Tiny {
        let text = |text: &str| Value::String(text.to_owned());
        let count = |n: usize| Value::U32(n as u32);
        let types = [3, 3, 4, 1, 1, 1, 1, 1];
        let metadata = [
            ("general.architecture", text("llama")),
            ("llama.block_count", count(2)),
            ("llama.context_length", count(64)),
            ("llama.embedding_length", count(HIDDEN)),
            ("llama.feed_forward_length", count(FEED_FORWARD)),
            ("llama.attention.head_count", count(HEADS)),
            ("llama.attention.head_count_kv", count(KEY_VALUE_HEADS)),
            ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
            ("llama.rope.freq_base", Value::F32(5000.0)),
            ("llama.rope.dimension_count", count(HEAD_DIM)),
            ("tokenizer.ggml.model", text("gpt2")),
            ("tokenizer.ggml.pre", text("smollm")),
            ("tokenizer.ggml.tokens", strings(&TOKENS)),
            ("tokenizer.ggml.token_type", Value::Array(types.into_iter().map(Value::I32).collect())),
            ("tokenizer.ggml.merges", strings(&["a b"])),
            ("tokenizer.ggml.eos_token_id", count(0)),
            ("tokenizer.ggml.padding_token_id", count(0)),
            ("tokenizer.chat_template", text("{{ messages[0].content }}<|im_end|>")),
        ];
        let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let mut tiny = Tiny { metadata, tensors: Vec::new() };
        tiny.add("token_embd", &[TOKENS.len(), HIDDEN]);
        for layer in 0..2 {
            for (name, shape) in [
                ("attn_norm", vec![HIDDEN]),
                ("attn_q", vec![HEADS * HEAD_DIM, HIDDEN]),
                ("attn_k", vec![KEY_VALUE_HEADS * HEAD_DIM, HIDDEN]),
                ("attn_v", vec![KEY_VALUE_HEADS * HEAD_DIM, HIDDEN]),
                ("attn_output", vec![HIDDEN, HEADS * HEAD_DIM]),
                ("ffn_norm", vec![HIDDEN]),
                ("ffn_gate", vec![FEED_FORWARD, HIDDEN]),
                ("ffn_up", vec![FEED_FORWARD, HIDDEN]),
                ("ffn_down", vec![HIDDEN, FEED_FORWARD]),
            ] {
                tiny.add(&format!("blk.{layer}.{name}"), &shape);
            }
        }
        tiny.add("output_norm", &[HIDDEN]);
        tiny
    }

    /// Adds a tensor in which no two elements of the file are equal.
    fn add(&mut self, name: &str, shape: &[usize]) {
        let start = 1000 * self.tensors.len();
        let values = (0..shape.iter().product()).map(|i| (start + i) as f32 / 8.0).collect();
        self.tensors.push((format!("{name}.weight"), shape.to_vec(), values));
    }

    fn set(&mut self, key: &str, value: Value) {
        self.metadata.retain(|(known, _)| known != key);
        self.metadata.push((key.to_owned(), value));
    }

    fn without(mut self, key: &str) -> Tiny {
        self.metadata.retain(|(known, _)| known != key);
        self.tensors.retain(|(known, _, _)| known != key);
        self
    }

    fn with(mut self, key: &str, value: Value) -> Tiny {
        self.set(key, value);
        self
    }

    fn values(&self, name: &str) -> &[f32] {
        &self.tensors.iter().find(|(known, _, _)| known == name).expect("the tensor exists").2
    }

    fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("tiny.gguf");
        let tensors: Vec<(&str, QTensor)> = self
            .tensors
            .iter()
            .map(|(name, shape, values)| {
                let tensor = Tensor::from_slice(values, shape.as_slice(), &Device::Cpu).unwrap();
                (name.as_str(), QTensor::quantize(&tensor, GgmlDType::F32).unwrap())
            })
            .collect();
        let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let metadata: Vec<(&str, &Value)> =
            self.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
        gguf_file::write(&mut std::fs::File::create(&path).unwrap(), &metadata, &tensors).unwrap();
        path
    }
}

fn run(gguf: &Path, folder: &Path) -> Result<ImportReport, ImportError> {
    import(gguf, folder, &ImportOptions::default(), &mut |_| ())
}

/// Imports `tiny` into a fresh folder and gives the error's message, after checking that nothing was written.
fn refusal(tiny: &Tiny) -> String {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    let error = run(&tiny.write(place.path()), &folder).expect_err("the import is refused");
    assert!(!folder.exists(), "a refused import leaves nothing behind");
    assert!(error.is_bad_input() && error.help().is_some());
    error.to_string()
}

fn floats(folder: &Path, name: &str) -> Vec<f32> {
    let tensor = read_safetensors(&folder.join("model.safetensors")).unwrap().read(name).unwrap();
    tensor.data.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

fn json_file(folder: &Path, name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

#[test]
fn weights_come_out_under_their_transformers_names() {
    let place = tempfile::tempdir().unwrap();
    let tiny = Tiny::new();
    let folder = place.path().join("model");
    let report = run(&tiny.write(place.path()), &folder).unwrap();
    assert_eq!((report.tensors, report.vocabulary), (20, TOKENS.len()));
    for (source, name) in [
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("blk.1.attn_norm.weight", "model.layers.1.input_layernorm.weight"),
        ("blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight"),
        ("blk.0.attn_output.weight", "model.layers.0.self_attn.o_proj.weight"),
        ("blk.1.ffn_norm.weight", "model.layers.1.post_attention_layernorm.weight"),
        ("blk.1.ffn_gate.weight", "model.layers.1.mlp.gate_proj.weight"),
        ("blk.1.ffn_up.weight", "model.layers.1.mlp.up_proj.weight"),
        ("blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight"),
        ("output_norm.weight", "model.norm.weight"),
    ] {
        assert_eq!(floats(&folder, name), tiny.values(source), "{name}");
    }
    let config = json_file(&folder, "config.json");
    assert_eq!(config["tie_word_embeddings"], json!(true));
    assert_eq!(config["rms_norm_eps"], json!(1e-5));
    assert_eq!(config["rope_parameters"]["rope_theta"], json!(5000.0));
    assert_eq!((&config["head_dim"], &config["num_key_value_heads"]), (&json!(4), &json!(1)));
}

#[test]
fn rows_of_queries_and_keys_return_to_their_halves() {
    let place = tempfile::tempdir().unwrap();
    let tiny = Tiny::new();
    let folder = place.path().join("model");
    run(&tiny.write(place.path()), &folder).unwrap();
    let rows = |values: &[f32], order: &[usize]| -> Vec<f32> {
        order.iter().flat_map(|row| values[row * HIDDEN..(row + 1) * HIDDEN].to_vec()).collect()
    };
    // Two heads of width four: pairs (0, 1) and (2, 3) of a head were (0, 2) and (1, 3).
    let query = rows(tiny.values("blk.1.attn_q.weight"), &[0, 2, 1, 3, 4, 6, 5, 7]);
    let key = rows(tiny.values("blk.1.attn_k.weight"), &[0, 2, 1, 3]);
    assert_eq!(floats(&folder, "model.layers.1.self_attn.q_proj.weight"), query);
    assert_eq!(floats(&folder, "model.layers.1.self_attn.k_proj.weight"), key);
}

#[test]
fn an_output_matrix_of_its_own_is_kept() {
    let place = tempfile::tempdir().unwrap();
    let mut tiny = Tiny::new();
    tiny.add("output", &[TOKENS.len(), HIDDEN]);
    let folder = place.path().join("model");
    run(&tiny.write(place.path()), &folder).unwrap();
    assert_eq!(floats(&folder, "lm_head.weight"), tiny.values("output.weight"));
    assert_eq!(json_file(&folder, "config.json")["tie_word_embeddings"], json!(false));
}

#[test]
fn bf16_halves_the_file() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    let options = ImportOptions { dtype: WeightDtype::Bf16, overwrite: false };
    import(&Tiny::new().write(place.path()), &folder, &options, &mut |_| ()).unwrap();
    let tensor =
        read_safetensors(&folder.join("model.safetensors")).unwrap().read("model.norm.weight").unwrap();
    assert_eq!((tensor.dtype, tensor.data.len()), (rltrain_checkpoints::Dtype::BF16, 2 * HIDDEN));
    assert_eq!(json_file(&folder, "config.json")["dtype"], json!("bfloat16"));
}

#[test]
fn the_tokenizer_keeps_special_tokens_whole_and_digits_apart() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    run(&Tiny::new().write(place.path()), &folder).unwrap();
    let tokenizer = tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
    let ids = |text: &str| tokenizer.encode(text, true).unwrap().get_ids().to_vec();
    assert_eq!(ids("ab11 <|im_end|>ab<think>"), [7, 5, 5, 6, 1, 7, 2]);
    // Control tokens are no text; a token that the file calls the user's own is.
    assert_eq!(tokenizer.decode(&[7, 1, 2, 5], true).unwrap(), "ab<think>1");
    assert_eq!(json_file(&folder, "tokenizer_config.json")["eos_token"], json!("<|endoftext|>"));
    // The file names end-of-text alone, but the chat format ends a turn with another token.
    assert_eq!(json_file(&folder, "generation_config.json")["eos_token_id"], json!([0, 1]));
    let template = std::fs::read_to_string(folder.join("chat_template.jinja")).unwrap();
    assert_eq!(template, "{{ messages[0].content }}<|im_end|>");
}

#[test]
fn a_file_that_asks_for_it_gets_a_token_before_every_text() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    let mut tiny = Tiny::new().with("tokenizer.ggml.add_bos_token", Value::Bool(true));
    assert!(refusal(&tiny).contains("`tokenizer.ggml.add_bos_token` is true"), "{}", refusal(&tiny));
    tiny.set("tokenizer.ggml.bos_token_id", Value::U32(2));
    run(&tiny.write(place.path()), &folder).unwrap();
    let tokenizer = tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
    assert_eq!(tokenizer.encode("a", true).unwrap().get_ids(), [2, 3]);
    assert_eq!(tokenizer.encode("a", false).unwrap().get_ids(), [3]);
}

#[test]
fn importing_again_gives_the_same_bytes() {
    let place = tempfile::tempdir().unwrap();
    let gguf = Tiny::new().write(place.path());
    let folder = place.path().join("model");
    let content = || {
        let mut files: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect::<Vec<_>>()
    };
    run(&gguf, &folder).unwrap();
    let first = content();
    assert_eq!(first.len(), 7);
    run(&gguf, &folder).unwrap();
    assert_eq!(content(), first);
}

#[test]
fn a_folder_with_anything_else_in_it_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let gguf = Tiny::new().write(place.path());
    let folder = place.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("notes.txt"), "mine").unwrap();
    let error = run(&gguf, &folder).unwrap_err();
    assert!(matches!(&error, ImportError::Occupied { found, .. } if found == "notes.txt"), "{error}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);

    // Trained weights look like imported ones, but for the mark in their metadata.
    std::fs::remove_file(folder.join("notes.txt")).unwrap();
    run(&gguf, &folder).unwrap();
    let tensor =
        read_safetensors(&folder.join("model.safetensors")).unwrap().read("model.norm.weight").unwrap();
    let trained = [("model.norm.weight".to_owned(), tensor)];
    rltrain_checkpoints::write_safetensors(&folder.join("model.safetensors"), trained, &BTreeMap::new())
        .unwrap();
    let error = run(&gguf, &folder).unwrap_err();
    assert!(matches!(&error, ImportError::Occupied { found, .. } if found == "model.safetensors"), "{error}");
    let overwrite = ImportOptions { overwrite: true, ..ImportOptions::default() };
    import(&gguf, &folder, &overwrite, &mut |_| ()).unwrap();
    assert_eq!(read_safetensors(&folder.join("model.safetensors")).unwrap().names().len(), 20);
}

#[test]
fn an_interrupted_import_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let gguf = Tiny::new().write(place.path());
    let folder = place.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("model.safetensors.partial"), "cut short").unwrap();
    run(&gguf, &folder).unwrap();
    std::fs::remove_file(folder.join("config.json")).unwrap();
    run(&gguf, &folder).unwrap();
    assert!(folder.join("config.json").exists() && !folder.join("model.safetensors.partial").exists());
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let text = |text: &str| Value::String(text.to_owned());
    for (key, value, found) in [
        ("general.architecture", text("mamba"), "`mamba` is not supported, wanted one of `llama`"),
        ("tokenizer.ggml.model", text("llama"), "`llama` is not supported, wanted one of `gpt2`"),
        ("tokenizer.ggml.pre", text("tekken"), "`tekken` is not supported, wanted one of `smollm`, "),
        ("llama.rope.scaling.type", text("yarn"), "`yarn` is not supported, wanted one of `none`"),
        ("llama.expert_count", Value::U32(8), "`8` is not supported, wanted one of `0`"),
        ("llama.attention.head_count_kv", Value::U32(3), "is 3, wanted a divisor of the 2 heads"),
        ("llama.attention.head_count", Value::U32(0), "is 0, wanted a positive whole number"),
        ("llama.block_count", Value::F32(2.0), "is 2, wanted a whole number below 2^32"),
        ("llama.block_count", Value::U32(u32::MAX), "has no tensor `blk.2.attn_norm.weight`"),
        ("llama.block_count", Value::U32(1), "has 9 tensors that a `llama` model has no place for"),
        (
            "llama.feed_forward_length",
            Value::U32(u32::MAX),
            "has shape [12, 8], its metadata need [4294967295, 8]",
        ),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(f32::NAN), "is NaN, wanted a positive number"),
        ("llama.rope.dimension_count", Value::U32(2), "is 2, wanted the head width 4"),
        ("llama.vocab_size", Value::U32(9), "is 9, wanted the 8 tokens of the vocabulary"),
        ("tokenizer.ggml.eos_token_id", Value::U32(8), "is 8, wanted the id of one of 8 tokens"),
        ("tokenizer.ggml.tokens", text("a"), "is \"a\", wanted a list of texts"),
        (
            "tokenizer.ggml.tokens",
            strings(&["a"; 8]),
            "tokenizer.ggml.tokens[1] is \"a\", wanted a token that",
        ),
        ("tokenizer.ggml.merges", strings(&["a 1"]), "is \"a 1\", wanted two tokens that join to a third"),
        (
            "tokenizer.ggml.token_type",
            Value::Array(vec![Value::I32(1)]),
            "is a list of 1, wanted one number for each",
        ),
        ("general.alignment", Value::U32(0), "is damaged or of an unknown kind"),
    ] {
        let message = refusal(&Tiny::new().with(key, value));
        assert!(message.contains(found), "{key}: {message}");
    }
}

#[test]
fn what_is_missing_is_named() {
    for key in [
        "general.architecture",
        "llama.block_count",
        "llama.context_length",
        "llama.attention.layer_norm_rms_epsilon",
        "tokenizer.ggml.model",
        "tokenizer.ggml.pre",
        "tokenizer.ggml.merges",
    ] {
        let message = refusal(&Tiny::new().without(key));
        assert!(message.contains(&format!("has no metadata key `{key}`, wanted a ")), "{message}");
    }
    let message = refusal(&Tiny::new().without("blk.1.ffn_up.weight"));
    assert!(message.ends_with("has no tensor `blk.1.ffn_up.weight`"), "{message}");
}

#[test]
fn a_file_that_is_no_gguf_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    let path = place.path().join("weights.gguf");
    let error = run(&path, &folder).unwrap_err();
    assert!(matches!(error, ImportError::Read { .. }) && error.is_bad_input());
    for (content, found) in [(&b""[..], "nothing"), (b"GG", "`GG`"), (b"\x80\0{}", "`\\x80\\x00{}`")] {
        std::fs::write(&path, content).unwrap();
        let message = run(&path, &folder).unwrap_err().to_string();
        assert!(message.ends_with(&format!("it begins with {found}, wanted `GGUF`")), "{message}");
    }
    assert!(!folder.exists());
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let whole = std::fs::read(Tiny::new().write(place.path())).unwrap();
    let (path, folder) = (place.path().join("cut.gguf"), place.path().join("model"));
    // The last tensor is followed by padding, which nothing needs.
    for length in (0..whole.len() - 32).step_by(23) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = run(&path, &folder).expect_err("a cut file is refused");
        assert!(error.is_bad_input() && error.help().is_some());
        assert!(!folder.exists(), "cut at {length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Damage anywhere in the header ends in an import or in an error.
    #[test]
    fn a_damaged_header_never_panics(place in 4usize..2000, byte in any::<u8>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = Tiny::new().write(folder.path());
        let mut content = std::fs::read(&path).unwrap();
        content[place] = byte;
        std::fs::write(&path, &content).unwrap();
        let _ = run(&path, &folder.path().join("model"));
    }
}
