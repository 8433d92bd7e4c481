//! The Llama family: what its metadata mean, which tensor becomes which, and the order of rows.

use serde_json::{Value, json};

use super::ImportError;
use super::header::Gguf;
use super::tokenizer::SpecialIds;

/// What `general.architecture` says of this family.
pub(super) const ARCHITECTURE: &str = "llama";

/// Base of the rotary frequencies when a file names none.
const DEFAULT_ROPE_THETA: f64 = 10_000.0;

/// The sizes that decide the network.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sizes {
    hidden: usize,
    feed_forward: usize,
    layers: usize,
    heads: usize,
    key_value_heads: usize,
    head_dim: usize,
    vocabulary: usize,
    positions: usize,
    norm_epsilon: f64,
    rope_theta: f64,
    tied: bool,
}

/// One tensor to be written: where it comes from, what it is called, and how its rows are to be reordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedTensor {
    /// Its name in the GGUF file.
    pub(super) source: String,
    /// Its transformers name.
    pub(super) name: String,
    /// Outermost dimension first.
    pub(super) shape: Vec<usize>,
    /// The number of heads, if the rows are those of rotated heads and lie in GGUF's order.
    pub(super) rotated_heads: Option<usize>,
}

impl Sizes {
    /// Reads the sizes out of the metadata and refuses what rltrain's Llama cannot do.
    pub(super) fn read(gguf: &Gguf, vocabulary: usize) -> Result<Sizes, ImportError> {
        let hidden = gguf.size("llama.embedding_length")?;
        let heads = gguf.size("llama.attention.head_count")?;
        let key_value_heads = gguf.count("llama.attention.head_count_kv")?.unwrap_or(heads);
        if key_value_heads == 0 || !heads.is_multiple_of(key_value_heads) {
            return Err(
                gguf.wrong("llama.attention.head_count_kv", format!("a divisor of the {heads} heads"))
            );
        }
        let sizes = Sizes {
            hidden,
            feed_forward: gguf.size("llama.feed_forward_length")?,
            layers: gguf.size("llama.block_count")?,
            heads,
            key_value_heads,
            head_dim: head_dim(gguf, hidden, heads)?,
            vocabulary,
            positions: gguf.size("llama.context_length")?,
            norm_epsilon: gguf.required_positive("llama.attention.layer_norm_rms_epsilon")?,
            rope_theta: gguf.positive("llama.rope.freq_base")?.unwrap_or(DEFAULT_ROPE_THETA),
            tied: !gguf.has_tensor("output.weight"),
        };
        sizes.refuse_unsupported(gguf)?;
        Ok(sizes)
    }

    fn refuse_unsupported(&self, gguf: &Gguf) -> Result<(), ImportError> {
        for key in ["llama.rope.dimension_count", "llama.attention.value_length"] {
            if gguf.count(key)?.is_some_and(|width| width != self.head_dim) {
                return Err(gguf.wrong(key, format!("the head width {}", self.head_dim)));
            }
        }
        if gguf.count("llama.vocab_size")?.is_some_and(|size| size != self.vocabulary) {
            return Err(
                gguf.wrong("llama.vocab_size", format!("the {} tokens of the vocabulary", self.vocabulary))
            );
        }
        if let Some(kind) = gguf.text("llama.rope.scaling.type")?.filter(|kind| *kind != "none") {
            return Err(gguf.unsupported("llama.rope.scaling.type", kind, "`none`"));
        }
        // llama.cpp writes the rescaled frequencies of Llama 3.1 as a tensor.
        if gguf.has_tensor("rope_freqs.weight") {
            return Err(gguf.unsupported("rotary scaling by tensor", "rope_freqs.weight", "`none`"));
        }
        match gguf.count("llama.expert_count")? {
            None | Some(0) => Ok(()),
            Some(experts) => Err(gguf.unsupported("llama.expert_count", &experts.to_string(), "`0`")),
        }
    }

    /// Every tensor of the model, checked to be in the file with the right shape and all its bytes, in the
    /// order of the layers; and nothing else in the file.
    pub(super) fn plan(&self, gguf: &Gguf) -> Result<Vec<PlannedTensor>, ImportError> {
        let (e, f) = (self.hidden, self.feed_forward);
        let (q, k) = (self.heads * self.head_dim, self.key_value_heads * self.head_dim);
        let mut plan = Vec::new();
        // Checked one by one, so that a file which claims a billion layers ends at the first that is not
        // there.
        let mut add = |source: String, name: String, shape: &[usize], rotated_heads| {
            gguf.check_tensor(&source, shape)?;
            plan.push(PlannedTensor { source, name, shape: shape.to_vec(), rotated_heads });
            Ok(())
        };
        add("token_embd.weight".into(), "model.embed_tokens.weight".into(), &[self.vocabulary, e], None)?;
        for layer in 0..self.layers {
            let mut layer_add = |source: &str, name: &str, shape: &[usize], rotated_heads| {
                let source = format!("blk.{layer}.{source}.weight");
                add(source, format!("model.layers.{layer}.{name}.weight"), shape, rotated_heads)
            };
            layer_add("attn_norm", "input_layernorm", &[e], None)?;
            layer_add("attn_q", "self_attn.q_proj", &[q, e], Some(self.heads))?;
            layer_add("attn_k", "self_attn.k_proj", &[k, e], Some(self.key_value_heads))?;
            layer_add("attn_v", "self_attn.v_proj", &[k, e], None)?;
            layer_add("attn_output", "self_attn.o_proj", &[e, q], None)?;
            layer_add("ffn_norm", "post_attention_layernorm", &[e], None)?;
            layer_add("ffn_gate", "mlp.gate_proj", &[f, e], None)?;
            layer_add("ffn_up", "mlp.up_proj", &[f, e], None)?;
            layer_add("ffn_down", "mlp.down_proj", &[e, f], None)?;
        }
        add("output_norm.weight".into(), "model.norm.weight".into(), &[e], None)?;
        if !self.tied {
            add("output.weight".into(), "lm_head.weight".into(), &[self.vocabulary, e], None)?;
        }
        refuse_leftovers(gguf, &plan)?;
        Ok(plan)
    }

    /// `config.json` of the folder, in the form of transformers 5.
    ///
    /// `rope_theta` is written twice: nested as version 5 does, and at the top where version 4 and inference
    /// servers look for it.
    pub(super) fn config(&self, special: &SpecialIds, dtype: &str) -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": ARCHITECTURE,
            "dtype": dtype,
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.feed_forward,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.positions,
            "rms_norm_eps": self.norm_epsilon,
            "rope_theta": self.rope_theta,
            "rope_parameters": { "rope_type": "default", "rope_theta": self.rope_theta },
            "hidden_act": "silu",
            "attention_bias": false,
            "mlp_bias": false,
            "tie_word_embeddings": self.tied,
            "use_cache": true,
            "bos_token_id": special.bos,
            "eos_token_id": special.eos_json(),
            "pad_token_id": special.pad,
        })
    }
}

fn head_dim(gguf: &Gguf, hidden: usize, heads: usize) -> Result<usize, ImportError> {
    let key = "llama.attention.key_length";
    let width = gguf.count(key)?;
    if width.is_none() && !hidden.is_multiple_of(heads) {
        return Err(gguf.wrong("llama.embedding_length", format!("a multiple of the {heads} heads")));
    }
    let (named, width) = (width.is_some(), width.unwrap_or(hidden / heads));
    if width >= 2 && width.is_multiple_of(2) {
        return Ok(width);
    }
    let key = if named { key } else { "llama.embedding_length" };
    Err(gguf.wrong(key, "something that makes heads of an even width"))
}

fn refuse_leftovers(gguf: &Gguf, plan: &[PlannedTensor]) -> Result<(), ImportError> {
    let mut planned: Vec<&str> = plan.iter().map(|tensor| tensor.source.as_str()).collect();
    planned.sort_unstable();
    let mut leftovers = gguf.tensor_names();
    leftovers.retain(|name| planned.binary_search(name).is_err());
    match leftovers.first() {
        None => Ok(()),
        Some(first) => Err(ImportError::UnknownTensors {
            file: gguf.path().to_owned(),
            count: leftovers.len(),
            name: (*first).to_owned(),
            architecture: ARCHITECTURE.to_owned(),
        }),
    }
}

/// Undoes GGUF's order of the rows of a query or key matrix.
///
/// transformers rotates coordinate `i` of a head together with `i + D/2`, llama.cpp `2i` together with `2i +
/// 1`. So the converter to GGUF interleaves the two halves of each head:
///
/// ```text
/// gguf[h * D + 2 i + s] = transformers[h * D + s * D/2 + i]        s = 0, 1    i = 0 .. D/2
/// ```
///
/// `values` is `[heads * D, columns]`, row-major.
pub(super) fn uninterleave_rows(values: &[f32], heads: usize, columns: usize) -> Vec<f32> {
    let head_dim = values.len() / columns / heads;
    let half = head_dim / 2;
    let mut rows = Vec::with_capacity(values.len());
    for head in values.chunks_exact(head_dim * columns) {
        for row in (0..2).flat_map(|side| (0..half).map(move |i| 2 * i + side)) {
            rows.extend_from_slice(&head[row * columns..(row + 1) * columns]);
        }
    }
    rows
}
