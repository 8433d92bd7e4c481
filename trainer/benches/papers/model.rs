//! Models that know nothing, for programs in the toy languages. The tests use them as well.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rltrain::policy::Architecture;
use rltrain::rng::{Stream, uniform};
use rltrain_checkpoints::{Dtype, OwnedTensor, write_safetensors};
use rltrain_executor::toy::strings::{CONSTANTS, TOKENS};
use serde_json::{Map, Value, json};

type Failure = Box<dyn std::error::Error>;

const END: &str = "<end>";
const UNKNOWN: &str = "<unknown>";

/// Tokens of a model, and where text is cut into them.
pub(crate) struct Vocabulary {
    tokens: Vec<String>,
    /// What is one token, as a regular expression.
    pattern: &'static str,
}

impl Vocabulary {
    /// Characters of examples, and tokens of string programs with the space before them, or without one where a program begins: behind
    /// `=`. Examples have no spaces but `~`.
    pub(crate) fn of_strings() -> Vocabulary {
        let characters = ('a'..='z').chain('A'..='Z').chain('0'..='9');
        let shown = CONSTANTS.into_iter().filter(|constant| *constant != ' ').chain("~>=\n".chars());
        let begins =
            |token: &&&str| token.starts_with('\'') || ["all", "sub", "tok", "upto", "from"].contains(*token);
        let tokens = characters
            .chain(shown)
            .map(String::from)
            .chain(TOKENS.iter().map(|token| format!(" {token}")))
            .chain(TOKENS.iter().filter(begins).map(|token| (*token).to_owned()))
            .collect();
        Vocabulary { tokens, pattern: r" ' '| [^ ]+|(?<==)' '|(?<==)[^ ]+|[\s\S]" }
    }

    /// Digits, names, signs with the spaces around them, and line breaks with the indent behind them.
    #[allow(dead_code, reason = "the tests make no model for functions")]
    pub(crate) fn of_functions() -> Vocabulary {
        let signs =
            ["+", "-", "*", "//", "%", "=", "+=", "-=", "*=", "//=", "%=", "<", "<=", ">", ">=", "==", "!="];
        let tokens = "abcf0123456789,():- >"
            .chars()
            .map(String::from)
            .chain(signs.map(|sign| format!(" {sign} ")))
            .chain(["def ", "while ", "if ", "return ", "else"].map(str::to_owned))
            .chain((0..4).map(|indent| format!("\n{:indent$}", "")))
            .collect();
        Vocabulary { tokens, pattern: r"\n *| [-+*/%<>=!]+ |def |while |if |return |else|[\s\S]" }
    }
}

/// Writes a Llama of 0.9 million parameters with random weights, in the layout of Hugging Face.
pub(crate) fn make_model(folder: &Path, vocabulary: &Vocabulary) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    let Vocabulary { tokens, pattern } = vocabulary;
    let (unknown, end) = (tokens.len(), tokens.len() + 1);
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": end + 1, "hidden_size": 128,
        "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": true, "bos_token_id": end, "eos_token_id": end, "dtype": "float32",
    });
    let special = |id: usize, content: &str| {
        json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    };
    let mut ids: Map<String, Value> =
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    ids.insert(UNKNOWN.to_owned(), json!(unknown));
    ids.insert(END.to_owned(), json!(end));
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [special(unknown, UNKNOWN), special(end, END)],
        "pre_tokenizer": {
            "type": "Split", "behavior": "Isolated", "invert": false, "pattern": { "Regex": pattern },
        },
        "decoder": { "type": "Fuse" },
        "model": { "type": "WordLevel", "vocab": ids, "unk_token": UNKNOWN },
    });
    let write = |name: &str, value: &Value| fs::write(folder.join(name), value.to_string());
    write("config.json", &config)?;
    write("generation_config.json", &json!({ "eos_token_id": end }))?;
    write(
        "tokenizer_config.json",
        &json!({ "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END }),
    )?;
    write("tokenizer.json", &tokenizer)?;
    let shapes = Architecture::from_json(&config)?.shapes();
    let tensors = shapes.iter().zip(0..).map(|((name, shape), index)| (name.clone(), random(index, shape)));
    write_safetensors(&folder.join("model.safetensors"), tensors, &BTreeMap::new())?;
    Ok(())
}

/// Norms are ones; everything else is uniform with standard deviation 0.04.
fn random(index: u64, shape: &[i64]) -> OwnedTensor {
    let count = shape.iter().product::<i64>().unsigned_abs();
    let value = |n| (uniform(17, Stream::Sampling, &[index, n]) - 0.5) as f32 * 0.04 * 12_f32.sqrt();
    let data =
        (0..count).flat_map(|n| if shape.len() == 1 { 1.0_f32 } else { value(n) }.to_le_bytes()).collect();
    OwnedTensor { dtype: Dtype::F32, shape: shape.iter().map(|n| *n as usize).collect(), data }
}
