//! How many bytes a network takes, counted from its plan: nothing is loaded.
//!
//! The counts follow the forward pass of `network.rs` operation by operation: what the gradient graph keeps of each, and what
//! one operation needs beside that. `tests/numerics/footprint.rs` compares them with what the allocator hands out.

use tch::Kind;

use super::architecture::{Architecture, Layer};
use super::config::{LoraConfig, ModelConfig};
use super::feed_forward::Activation;
use super::norm::{Norm, NormFormula};
use super::pack::PackSize;
use super::projection::{Projection, RowOrder};

/// Bytes of a master weight, a gradient or a running mean.
pub const MASTER: usize = 4;

/// What of a network is trained, and how its backward pass uses memory.
#[derive(Clone, Copy, Debug)]
pub struct Training<'a> {
    /// Whether the tables of tokens and positions stay as they are.
    pub freezes_embeddings: bool,
    /// Adapters that are trained in place of the weights.
    pub lora: Option<&'a LoraConfig>,
    /// Whether layers are computed a second time instead of being kept.
    pub recomputes: bool,
    /// Whether everything takes libtorch's gradient graph: on a graphics processor, and where a loss needs one.
    pub graph: bool,
}

impl<'a> Training<'a> {
    /// Everything, kept, with a graph: how a critic's own trunk is trained.
    pub const WHOLE: Training<'static> =
        Training { freezes_embeddings: false, lora: None, recomputes: false, graph: true };

    /// What the recipe says.
    pub fn of(config: &'a ModelConfig) -> Training<'a> {
        Training {
            freezes_embeddings: config.freeze_embeddings,
            lora: config.lora.as_ref(),
            recomputes: config.gradient_checkpointing,
            graph: config.device.is_cuda(),
        }
    }

    fn adapts(&self, module: &str) -> Option<usize> {
        let lora = self.lora?;
        let name = module.rsplit('.').next().unwrap_or(module);
        let is_target = lora.targets.is_empty() || lora.targets.iter().any(|target| target == name);
        is_target.then(|| lora.rank.get())
    }

    /// Rank of a projection's adapters together; 0 if it has none.
    fn rank(&self, projection: &Projection) -> usize {
        projection.modules.iter().filter_map(|module| self.adapts(&module.name)).sum()
    }

    /// Whether the backward pass of a projection needs its input.
    fn keeps_input(&self, projection: &Projection) -> bool {
        self.lora.is_none() || self.rank(projection) > 0
    }
}

/// Bytes of a forward pass, and of the backward pass that follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassBytes {
    /// What the graph keeps from the forward to the backward pass.
    pub kept: usize,
    /// What single operations need beside that at most.
    pub passing: usize,
}

impl PassBytes {
    /// Both together.
    pub fn peak(self) -> usize {
        self.kept + self.passing
    }
}

impl Architecture {
    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.shapes().iter().map(|(_, shape)| shape.iter().product::<i64>() as usize).sum()
    }

    /// Number of trained parameters.
    pub fn trained_parameters(&self, training: Training<'_>) -> usize {
        if training.lora.is_some() {
            let modules = self.projections().flat_map(|projection| {
                projection.modules.iter().map(|module| (module, projection.columns as usize))
            });
            return modules
                .filter_map(|(module, columns)| {
                    Some(training.adapts(&module.name)? * (module.rows as usize + columns))
                })
                .sum();
        }
        let frozen = if training.freezes_embeddings { self.embeddings() } else { Vec::new() };
        let shapes = self.shapes().into_iter().filter(|(name, _)| !frozen.contains(name));
        shapes.map(|(_, shape)| shape.iter().product::<i64>() as usize).sum()
    }

    /// Bytes of a [`Network`](super::Network) beside the master weights: what is stacked, reordered or cast.
    /// `learns` is whether a backward pass follows: adapters are folded into the weights where none does.
    pub fn network_bytes(&self, kind: Kind, lora: Option<&LoraConfig>, learns: bool) -> usize {
        let training = Training { lora, ..Training::WHOLE };
        let of_projection = |projection: &Projection| {
            let elements = projection.rows() * projection.columns as usize;
            let folds = training.rank(projection) > 0 && !learns;
            match kind {
                Kind::Float if projection.is_alias() && !folds => 0,
                _ => elements * kind.elt_size_in_bytes(),
            }
        };
        self.projections().map(of_projection).sum()
    }

    /// The largest matrix product's weights as one, f32: the gradient of a stacked matrix exists as a whole before it is added to
    /// those of its parts.
    pub fn largest_matrix_bytes(&self) -> usize {
        let elements = self.projections().map(|projection| projection.rows() * projection.columns as usize);
        elements.max().unwrap_or(0) * MASTER
    }

    /// Bytes of a pass over a pack with its backward pass, up to the final hidden states.
    pub fn training_bytes(&self, pack: PackSize, kind: Kind, training: Training<'_>) -> PassBytes {
        let size = kind.elt_size_in_bytes();
        let width = self.sizes.hidden_size as usize;
        let hidden = pack.tokens * width * size;
        if self.is_direct(training) {
            return self.direct_bytes(pack, kind, training);
        }
        let layers = self.layers.iter().map(|layer| layer.kept(pack, kind, training));
        let backward = self.layers.iter().map(|layer| layer.backward(pack, kind)).max().unwrap_or(0);
        // The hidden states that predict are gathered out of what the final norm gives.
        let gathered = pack.predicted * width * size;
        if training.recomputes {
            let kept = (self.layers.len() + 1) * hidden + gathered;
            return PassBytes { kept, passing: layers.max().unwrap_or(0) + backward };
        }
        let last = pack.tokens * self.final_norm.kept(size, training) + gathered;
        PassBytes { kept: layers.sum::<usize>() + last, passing: backward }
    }

    /// Whether the pass over a pack is computed without a graph: see `network/direct.rs`.
    pub fn is_direct(&self, training: Training<'_>) -> bool {
        let positions = self.embedding.positions.is_none() && self.embedding.scale.is_none();
        let plain = positions && self.final_norm.is_plain() && self.layers.iter().all(Layer::is_plain);
        plain && !training.graph && training.lora.is_none()
    }

    /// As [`Architecture::training_bytes`], without a graph.
    fn direct_bytes(&self, pack: PackSize, kind: Kind, training: Training<'_>) -> PassBytes {
        let size = kind.elt_size_in_bytes();
        let hidden = pack.tokens * self.sizes.hidden_size as usize * size;
        let layers = self.layers.iter().map(|layer| layer.directly_kept(pack, kind));
        // The rows that the final norm reads, and what it gives.
        let last = 2 * pack.predicted * self.sizes.hidden_size as usize * size + pack.predicted * MASTER;
        let backward = self.layers.iter().map(|layer| layer.direct_backward(pack, kind)).max().unwrap_or(0);
        if training.recomputes {
            let kept = self.layers.len() * hidden + last;
            return PassBytes { kept, passing: layers.max().unwrap_or(0) + backward };
        }
        PassBytes { kept: layers.sum::<usize>() + last, passing: backward }
    }

    /// Bytes that a pass over `tokens` without a gradient needs at most.
    pub fn inference_bytes(&self, pack: PackSize, kind: Kind) -> usize {
        self.layers.iter().map(|layer| layer.inference(pack, kind)).max().unwrap_or(0)
    }
}

impl Projection {
    fn rows(&self) -> usize {
        self.modules.iter().map(|module| module.rows as usize).sum()
    }

    /// Whether the f32 network multiplies with the master weight itself.
    fn is_alias(&self) -> bool {
        self.modules.len() == 1 && self.order == RowOrder::Whole && self.neighbours.is_none()
    }
}

impl Norm {
    /// Bytes that the graph keeps of one token. Root mean squares are computed in f32, and keep what they read in that, and what
    /// the weight is multiplied with where the weight is trained.
    fn kept(&self, size: usize, training: Training<'_>) -> usize {
        let width = self.width as usize;
        match self.formula {
            NormFormula::Layer => width * size,
            _ => width * MASTER * if training.lora.is_none() { 2 } else { 1 },
        }
    }
}

/// Widths of a layer, in elements a token.
struct Widths {
    /// The residual stream.
    hidden: usize,
    /// All query heads.
    query: usize,
    /// All key heads; as many are values.
    key: usize,
    /// What the feed-forward part multiplies up to, the gate included.
    up: usize,
    /// What it multiplies down from.
    inner: usize,
}

impl Layer {
    fn widths(&self) -> Widths {
        let attention = &self.attention;
        Widths {
            hidden: attention.qkv.columns as usize,
            query: (attention.heads * attention.head_dim) as usize,
            key: (attention.key_value_heads * attention.head_dim) as usize,
            up: self.feed.up.rows(),
            inner: self.feed.down.columns as usize,
        }
    }

    /// Bytes that the graph of this layer keeps.
    fn kept(&self, pack: PackSize, kind: Kind, training: Training<'_>) -> usize {
        let Widths { hidden, query, key, up, inner } = self.widths();
        let grouped = key < query;
        let keeps = |projection: &Projection, width: usize| {
            let adapters = training.rank(projection);
            let dropped = training.lora.is_some_and(|lora| lora.dropout > 0.0) && adapters > 0;
            let input = if training.keeps_input(projection) { width } else { 0 };
            input + adapters + if dropped { 2 * width } else { 0 }
        };
        let size = kind.elt_size_in_bytes();
        let outputs = self.output_norms.iter().flat_map(|(attention, feed)| [attention, feed]);
        let norms = std::iter::once(&self.input_norm).chain(&self.feed_norm).chain(outputs);
        let of_norms: usize = norms.map(|norm| norm.kept(size, training)).sum();
        let mut elements = keeps(&self.attention.qkv, hidden);
        // Values are cut out of the product, which lives as long as they do; where heads share them, they are copied.
        elements += if grouped { 2 * query } else { query + 2 * key };
        // Queries and keys after they turned; queries are cut out of it.
        elements += query + key;
        if self.attention.query_and_key_norm.is_some() {
            elements += query + key + if grouped { query + 2 * key } else { 0 };
        }
        // What each stretch attended to, and all of it in the order of the output's product.
        elements += query + keeps(&self.attention.output, query);
        if self.feed_norm.is_some() {
            elements += keeps(&self.feed.up, hidden);
        }
        // The activation keeps what it reads, and the gate's product both of its factors.
        elements += up + if self.feed.gated { inner } else { 0 } + keeps(&self.feed.down, inner);
        // Every completion's keys and values are its prompt's and its own in one piece.
        let of_keys = 2 * query;
        // The softmax's denominators are f32.
        let denominators = pack.tokens * self.attention.heads as usize * MASTER;
        (pack.tokens * elements + pack.keys * of_keys) * size + pack.tokens * of_norms + denominators
    }

    /// Whether it has the form that is computed without a graph.
    fn is_plain(&self) -> bool {
        let norms = self.input_norm.is_plain() && self.feed_norm.as_ref().is_some_and(Norm::is_plain);
        let attention = &self.attention;
        let projections = [&attention.qkv, &attention.output, &self.feed.up, &self.feed.down];
        norms
            && projections.iter().all(|projection| projection.is_in_order())
            && attention.query_and_key_norm.is_none()
            && self.feed.gated
            && self.feed.activation == Activation::Silu
            && self.output_norms.is_none()
            && !self.parallel
    }

    /// Bytes that are kept of this layer where there is no graph: its input, and the sum after the attention, with the scales of their
    /// norms; queries, keys and values; what was attended to, with the softmax's denominators; what the gate reads.
    fn directly_kept(&self, pack: PackSize, kind: Kind) -> usize {
        let Widths { hidden, query, key, up, .. } = self.widths();
        let elements = 2 * hidden + (query + 2 * key) + query + up;
        pack.tokens * (elements * kind.elt_size_in_bytes() + (2 + self.attention.heads as usize) * MASTER)
    }

    /// Bytes that the backward pass of this layer needs beside, with the gradient that goes through.
    fn direct_backward(&self, pack: PackSize, kind: Kind) -> usize {
        let Widths { hidden, query, key, inner, .. } = self.widths();
        let size = kind.elt_size_in_bytes();
        let feed = pack.tokens * (3 * hidden + inner) * size;
        // Every completion's share of the gradients of the keys and values that it sees is f32, and a prompt's own is as well.
        let shares = (pack.keys + pack.tokens) * 2 * key * MASTER;
        let attention = pack.tokens * (3 * hidden + query + (query + 2 * key)) * size + shares;
        feed.max(attention)
    }

    /// Bytes that the backward pass of this layer needs beside what the graph keeps.
    fn backward(&self, pack: PackSize, kind: Kind) -> usize {
        let Widths { hidden, query, key, up, inner } = self.widths();
        let feed = hidden + 2 * up + inner;
        let attention = hidden + 3 * query + 2 * (query + 2 * key);
        let elements = pack.tokens * feed.max(attention) + pack.keys * 2 * query;
        elements * kind.elt_size_in_bytes()
    }

    /// Bytes of this layer alone, without a gradient.
    fn inference(&self, pack: PackSize, kind: Kind) -> usize {
        let Widths { hidden, query, key, up, inner } = self.widths();
        let feed = 3 * hidden + up + 2 * inner;
        let attention = 2 * hidden + (query + 2 * key) + (query + key) + 4 * query;
        let turning = 2 * hidden + (query + 2 * key) + 4 * (query + key);
        let longest = attention.max(turning).max(feed);
        pack.tokens * longest * kind.elt_size_in_bytes()
    }
}
