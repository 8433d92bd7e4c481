//! Networks of two stacks: an encoder reads the prompt, a decoder writes the completion and looks at what was read.
//!
//! Shape suffixes: `b` sequences, `s` prompt tokens, `t` completion tokens, `h` heads, `d` head width, `e` hidden width, `v`
//! vocabulary.

use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::architecture::Shapes;
use super::attention::{additive_mask, attend_under};
use super::config_json::ConfigJson;
use super::error::PolicyError;
use super::families;
use super::feed_forward::{FeedForward, LoadedFeedForward};
use super::norm::{LoadedNorm, Norm};
use super::projection::{LoadedProjection, Projection};
use super::weights::Weights;

/// What `config.json` says about a network of two stacks.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderDecoderPlan {
    pub(super) heads: i64,
    pub(super) head_dim: i64,
    pub(super) hidden_size: i64,
    pub(super) vocab_size: i64,
    /// Name of the table that both stacks read, `[V, E]`.
    pub(super) embedding: String,
    pub(super) encoder: Stack,
    pub(super) decoder: Stack,
    /// Name of the output matrix; none if it is the embedding's.
    pub(super) head: Option<String>,
    /// Whether the final hidden states are multiplied by `1 / sqrt(E)`.
    pub(super) scales_output: bool,
    /// The token that every completion begins behind.
    pub(super) start: i64,
}

/// Blocks and what they share.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stack {
    pub(super) blocks: Vec<Block>,
    pub(super) positions: RelativePositions,
    pub(super) final_norm: Norm,
}

/// One block: self-attention, in a decoder cross-attention, and a feed-forward part, each behind a norm and added.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    pub(super) attention_norm: Norm,
    pub(super) attention: Projections,
    pub(super) cross: Option<(Norm, Projections)>,
    pub(super) feed_norm: Norm,
    pub(super) feed: FeedForward,
}

/// The matrices of one attention, whose queries and keys may come from different stacks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Projections {
    pub(super) query: Projection,
    /// Keys and values stacked.
    pub(super) key_value: Projection,
    pub(super) output: Projection,
}

/// A bias of the scores that is a function of the distance, by head; all blocks of a stack share it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RelativePositions {
    /// Name of the table `[buckets, H]`.
    pub(super) table: String,
    pub(super) buckets: i64,
    /// Distance from which on all fall into the last bucket.
    pub(super) furthest: i64,
    /// Whether keys behind the query have buckets of their own.
    pub(super) bidirectional: bool,
}

impl EncoderDecoderPlan {
    /// Reads a parsed `config.json`, if it is one of such a network.
    ///
    /// # Errors
    ///
    /// If a key has the wrong type, or asks for something that is not done here.
    pub fn from_json(json: &Value) -> Result<Option<EncoderDecoderPlan>, PolicyError> {
        families::read_encoder_decoder(ConfigJson(json))
    }

    /// Every tensor, by its transformers name, with its shape. Tied weights appear once.
    pub fn shapes(&self) -> Vec<(String, Vec<i64>)> {
        let mut shapes = Shapes::default();
        shapes.add(&self.embedding, &[self.vocab_size, self.hidden_size]);
        for stack in [&self.encoder, &self.decoder] {
            shapes.add(&stack.positions.table, &[stack.positions.buckets, self.heads]);
            stack.final_norm.shapes(&mut shapes);
            for block in &stack.blocks {
                block.shapes(&mut shapes);
            }
        }
        if let Some(head) = &self.head {
            shapes.add(head, &[self.vocab_size, self.hidden_size]);
        }
        shapes.into_list()
    }
}

impl Block {
    fn shapes(&self, shapes: &mut Shapes) {
        self.attention_norm.shapes(shapes);
        self.attention.shapes(shapes);
        if let Some((norm, cross)) = &self.cross {
            norm.shapes(shapes);
            cross.shapes(shapes);
        }
        self.feed_norm.shapes(shapes);
        self.feed.shapes(shapes);
    }
}

impl Projections {
    fn shapes(&self, shapes: &mut Shapes) {
        for projection in [&self.query, &self.key_value, &self.output] {
            projection.shapes(shapes);
        }
    }
}

/// A network of two stacks with its weights in the compute dtype.
pub struct EncoderDecoder {
    plan: EncoderDecoderPlan,
    kind: Kind,
    embedding_ve: Tensor,
    head_ve: Tensor,
    encoder: LoadedStack,
    decoder: LoadedStack,
}

struct LoadedStack {
    blocks: Vec<LoadedBlock>,
    positions: RelativePositions,
    /// `[buckets, H]`.
    table: Tensor,
    final_norm: LoadedNorm,
}

struct LoadedBlock {
    attention_norm: LoadedNorm,
    attention: LoadedProjections,
    cross: Option<(LoadedNorm, LoadedProjections)>,
    feed_norm: LoadedNorm,
    feed: LoadedFeedForward,
}

struct LoadedProjections {
    heads: i64,
    head_dim: i64,
    query: LoadedProjection,
    key_value: LoadedProjection,
    output: LoadedProjection,
}

/// Keys and values, `[B, H, L, D]` each.
type KeyValue = (Tensor, Tensor);

/// What a decoder looks back at: the prompts, and what it has written so far.
pub struct Memory {
    /// Keys and values of the prompt, by block.
    prompt: Vec<KeyValue>,
    /// Added to the scores of prompt tokens, `[B, 1, 1, S]`: minus infinity where a prompt is over.
    prompt_mask: Tensor,
    /// Keys and values of the completion so far, by block.
    own: Vec<Option<KeyValue>>,
    /// Tokens of the completion so far.
    length: i64,
}

impl EncoderDecoder {
    /// Casts the master weights to `kind`, as [`Network::new`](super::Network::new) does.
    pub fn new(plan: &EncoderDecoderPlan, weights: &Weights, kind: Kind) -> EncoderDecoder {
        let embedding_ve = weights.get(&plan.embedding).shallow_clone();
        let head_ve = plan.head.as_ref().map_or(&plan.embedding, |head| head);
        EncoderDecoder {
            kind,
            head_ve: weights.get(head_ve).shallow_clone(),
            embedding_ve,
            encoder: LoadedStack::new(plan, &plan.encoder, weights, kind),
            decoder: LoadedStack::new(plan, &plan.decoder, weights, kind),
            plan: plan.clone(),
        }
    }

    /// The device of the weights.
    pub fn device(&self) -> Device {
        self.embedding_ve.device()
    }

    /// The token that every completion begins behind.
    pub fn start(&self) -> i64 {
        self.plan.start
    }

    /// Reads prompts, `tokens_bs` i64, of which the first `lengths` tokens count.
    pub fn read(&self, tokens_bs: &Tensor, lengths: &[i64]) -> Memory {
        let (device, longest) = (tokens_bs.device(), tokens_bs.size()[1]);
        let place_s = Tensor::arange(longest, (Kind::Int64, device));
        let length_b1 = Tensor::from_slice(lengths).to_device(device).unsqueeze(1);
        let counts = place_s.unsqueeze(0).lt_tensor(&length_b1).unsqueeze(1).unsqueeze(1);
        let prompt_mask = additive_mask(&counts, self.kind);

        let mut x_bse = self.embed(tokens_bs);
        let mask = self.encoder.bias(&place_s, &place_s, self.kind) + &prompt_mask;
        for block in &self.encoder.blocks {
            let normed = block.attention_norm.apply(&x_bse);
            let key_value = block.attention.key_value(&normed);
            x_bse = &x_bse + block.attention.attend(&normed, &key_value, &mask);
            x_bse = &x_bse + block.feed.apply(&block.feed_norm.apply(&x_bse), None, 0);
        }
        let read_bse = self.encoder.final_norm.apply(&x_bse);
        let crossing = self.decoder.blocks.iter().filter_map(|block| block.cross.as_ref());
        let prompt = crossing.map(|(_, cross)| cross.key_value(&read_bse)).collect();
        Memory { prompt, prompt_mask, own: self.decoder.blocks.iter().map(|_| None).collect(), length: 0 }
    }

    /// Final hidden states `[B, T, E]` after `tokens_bt` (i64), which come behind what `memory` holds and are added to it.
    /// The first token of a completion is [`EncoderDecoder::start`].
    pub fn write(&self, tokens_bt: &Tensor, memory: &mut Memory) -> Tensor {
        let (before, new) = (memory.length, tokens_bt.size()[1]);
        memory.length += new;
        let key_place = Tensor::arange(memory.length, (Kind::Int64, tokens_bt.device()));
        let query_place = key_place.narrow(0, before, new);
        let visible = key_place.unsqueeze(0).le_tensor(&query_place.unsqueeze(1));
        let mask =
            self.decoder.bias(&query_place, &key_place, self.kind) + additive_mask(&visible, self.kind);

        let mut x_bte = self.embed(tokens_bt);
        for (index, block) in self.decoder.blocks.iter().enumerate() {
            let normed = block.attention_norm.apply(&x_bte);
            let key_value = joined(memory.own[index].take(), block.attention.key_value(&normed));
            x_bte = &x_bte + block.attention.attend(&normed, &key_value, &mask);
            memory.own[index] = Some(key_value);
            if let Some((norm, cross)) = &block.cross {
                let seen = cross.attend(&norm.apply(&x_bte), &memory.prompt[index], &memory.prompt_mask);
                x_bte = &x_bte + seen;
            }
            x_bte = &x_bte + block.feed.apply(&block.feed_norm.apply(&x_bte), None, 0);
        }
        self.decoder.final_norm.apply(&x_bte)
    }

    /// Logits, f32, of final hidden states `[.., E]`.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        let scale = if self.plan.scales_output { (self.plan.hidden_size as f64).powf(-0.5) } else { 1.0 };
        (hidden.to_kind(Kind::Float) * scale).linear::<&Tensor>(&self.head_ve, None)
    }

    fn embed(&self, tokens: &Tensor) -> Tensor {
        Tensor::embedding(&self.embedding_ve, tokens, -1, false, false).to_kind(self.kind)
    }
}

impl LoadedStack {
    fn new(plan: &EncoderDecoderPlan, stack: &Stack, weights: &Weights, kind: Kind) -> LoadedStack {
        let block = |block: &Block| LoadedBlock {
            attention_norm: block.attention_norm.load(weights, kind),
            attention: LoadedProjections::new(plan, &block.attention, weights, kind),
            cross: block.cross.as_ref().map(|(norm, cross)| {
                (norm.load(weights, kind), LoadedProjections::new(plan, cross, weights, kind))
            }),
            feed_norm: block.feed_norm.load(weights, kind),
            feed: block.feed.load(weights, kind),
        };
        LoadedStack {
            blocks: stack.blocks.iter().map(block).collect(),
            table: weights.get(&stack.positions.table).shallow_clone(),
            positions: stack.positions.clone(),
            final_norm: stack.final_norm.load(weights, kind),
        }
    }

    /// The bias of keys at `key_l` for queries at `query_t`, `[1, H, T, L]`.
    fn bias(&self, query_t: &Tensor, key_l: &Tensor, kind: Kind) -> Tensor {
        let bucket_tl = self.positions.bucket(&(key_l.unsqueeze(0) - query_t.unsqueeze(1)));
        let bias_tlh = Tensor::embedding(&self.table, &bucket_tl, -1, false, false);
        bias_tlh.permute([2, 0, 1]).unsqueeze(0).to_kind(kind)
    }
}

impl RelativePositions {
    /// The bucket of each distance `key - query`.
    ///
    /// Small distances have a bucket each; larger ones share buckets whose borders grow as powers up to `furthest`.
    fn bucket(&self, distance: &Tensor) -> Tensor {
        let (count, offset, distance) = if self.bidirectional {
            let half = self.buckets / 2;
            (half, distance.gt(0).to_kind(Kind::Int64) * half, distance.abs())
        } else {
            (self.buckets, distance.zeros_like(), -distance.clamp_max(0))
        };
        let exact = count / 2;
        let growth = (self.furthest as f64 / exact as f64).ln();
        // f32, as in transformers: at a border the last bit decides. The logarithm of 0 is never looked at.
        let power = (distance.to_kind(Kind::Float) / exact as f64).log() / growth * (count - exact) as f64;
        let shared = (power.clamp_min(0.0).to_kind(Kind::Int64) + exact).clamp_max(count - 1);
        distance.where_self(&distance.lt(exact), &shared) + offset
    }
}

impl LoadedProjections {
    fn new(
        plan: &EncoderDecoderPlan,
        attention: &Projections,
        weights: &Weights,
        kind: Kind,
    ) -> LoadedProjections {
        LoadedProjections {
            heads: plan.heads,
            head_dim: plan.head_dim,
            query: attention.query.load(weights, kind),
            key_value: attention.key_value.load(weights, kind),
            output: attention.output.load(weights, kind),
        }
    }

    fn key_value(&self, x_ble: &Tensor) -> KeyValue {
        let stacked = self.split(&self.key_value.apply(x_ble, None, 0), 2 * self.heads);
        (stacked.narrow(1, 0, self.heads), stacked.narrow(1, self.heads, self.heads))
    }

    /// Attends from `x_bte`; scores are not scaled.
    fn attend(&self, x_bte: &Tensor, (key, value): &KeyValue, mask: &Tensor) -> Tensor {
        let query = self.split(&self.query.apply(x_bte, None, 0), self.heads);
        let attended = attend_under(&query, key, value, mask, 1.0).transpose(1, 2);
        let (b, t, _) = x_bte.size3().expect("hidden states have three dimensions by contract");
        self.output.apply(&attended.reshape([b, t, self.heads * self.head_dim]), None, 0)
    }

    /// `[B, T, H D]` to `[B, H, T, D]`.
    fn split(&self, x: &Tensor, heads: i64) -> Tensor {
        let (b, t, _) = x.size3().expect("hidden states have three dimensions by contract");
        x.view([b, t, heads, self.head_dim]).transpose(1, 2)
    }
}

fn joined(before: Option<KeyValue>, (key, value): KeyValue) -> KeyValue {
    match before {
        None => (key, value),
        Some((old_key, old_value)) => (Tensor::cat(&[old_key, key], 2), Tensor::cat(&[old_value, value], 2)),
    }
}
