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

    /// Bytes of the output matrix, f32.
    fn head_bytes(&self) -> usize {
        (self.sizes.vocab_size * self.sizes.hidden_size) as usize * MASTER
    }

    /// What a rounded output layer makes of its matrix, in the network's dtype, each time it multiplies with it.
    pub fn rounded_head_bytes(&self, kind: Kind) -> usize {
        if kind == Kind::BFloat16 { self.head_bytes() / MASTER * kind.elt_size_in_bytes() } else { 0 }
    }

    /// Bytes of a pass over a pack with its backward pass, up to the final hidden states.
    pub fn training_bytes(&self, pack: PackSize, kind: Kind, training: Training<'_>) -> PassBytes {
        let size = kind.elt_size_in_bytes();
        let width = self.sizes.hidden_size as usize;
        if self.is_direct(training) {
            return self.direct_bytes(pack, kind, training);
        }
        // The hidden states that predict are gathered out of what the final norm gives.
        let gathered = PassBytes { kept: pack.predicted * width * size, passing: 0 };
        let (written, read) = self.parts(pack);
        let stack = |layers: &[Layer], final_norm: &Norm, tokens: &Tokens| {
            let each = layers.iter().map(|layer| layer.kept(tokens, kind, training));
            let backward = layers.iter().map(|layer| layer.backward(tokens, kind)).max().unwrap_or(0);
            if training.recomputes {
                let kept = (layers.len() + 1) * tokens.count * width * size;
                return PassBytes { kept, passing: each.max().unwrap_or(0) + backward };
            }
            let last = tokens.count * final_norm.kept(size, training);
            PassBytes { kept: each.sum::<usize>() + last, passing: backward }
        };
        let decoder = stack(&self.layers, &self.final_norm, &written);
        let encoder = self.encoder.as_ref().zip(read);
        let encoder = encoder.map(|(encoder, read)| stack(&encoder.layers, &encoder.final_norm, &read));
        [gathered, decoder].into_iter().chain(encoder).fold(PassBytes::default(), |sum, part| PassBytes {
            kept: sum.kept + part.kept,
            // One layer at a time.
            passing: sum.passing.max(part.passing),
        })
    }

    /// Whether the pass over a pack is computed without a graph: see `network/direct.rs`.
    pub fn is_direct(&self, training: Training<'_>) -> bool {
        let positions = self.embedding.positions.is_none() && self.embedding.scale.is_none();
        let plain = positions
            && self.encoder.is_none()
            && self.final_norm.is_plain()
            && self.layers.iter().all(Layer::is_plain);
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
        let (written, read) = self.parts(pack);
        let most = |layers: &[Layer], tokens: &Tokens| {
            layers.iter().map(|layer| layer.inference(tokens, kind)).max().unwrap_or(0)
        };
        let encoder = self.encoder.as_ref().zip(read);
        let encoder = encoder.map_or(0, |(encoder, read)| {
            // What was read stays while the other layers write.
            let kept = read.count * self.sizes.hidden_size as usize * kind.elt_size_in_bytes();
            most(&encoder.layers, &read).max(kept)
        });
        most(&self.layers, &written) + encoder
    }

    /// What goes through the layers, and, where there is an encoder, through that.
    fn parts(&self, pack: PackSize) -> (Tokens, Option<Tokens>) {
        if self.encoder.is_none() {
            return (Tokens { count: pack.tokens, keys: pack.keys, ..Tokens::default() }, None);
        }
        let own = pack.tokens - pack.prompts;
        let written = Tokens {
            count: own + pack.groups,
            // Each completion has its own keys and that of the token that all begin behind.
            keys: own + pack.completions,
            scores: pack.completion_squares + own,
            read: pack.prompts,
        };
        let read = Tokens { count: pack.prompts, scores: pack.prompt_squares, ..Tokens::default() };
        (written, Some(read))
    }
}

/// Tokens of a pass through some layers.
#[derive(Clone, Copy, Default)]
struct Tokens {
    count: usize,
    /// Keys that are joined out of a prompt's and a completion's own.
    keys: usize,
    /// Pairs of a query and a key whose distance adds to the score.
    scores: usize,
    /// Tokens that an encoder has read for these.
    read: usize,
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
    /// Bytes that the graph keeps of one row. Root mean squares are computed in f32, and keep what they read in that, the inverse
    /// root, and what the weight is multiplied with where the weight is trained.
    fn kept(&self, size: usize, training: Training<'_>) -> usize {
        let width = self.width as usize;
        match self.formula {
            NormFormula::Layer => width * size + 2 * MASTER,
            _ => MASTER + width * MASTER * if training.lora.is_none() { 2 } else { 1 },
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
    fn kept(&self, tokens: &Tokens, kind: Kind, training: Training<'_>) -> usize {
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
        let mut of_norms: usize = norms.map(|norm| norm.kept(size, training)).sum();
        let mut elements = keeps(&self.attention.qkv, hidden);
        // Values are cut out of the product, which lives as long as they do; where heads share them, they are copied.
        elements += if grouped { 2 * query } else { query + 2 * key };
        // Queries and keys after they turned; queries are cut out of it.
        elements += query + key;
        if let Some((of_query, of_key)) = &self.attention.query_and_key_norm {
            let (heads, shared) = (self.attention.heads as usize, self.attention.key_value_heads as usize);
            of_norms += heads * of_query.kept(size, training) + shared * of_key.kept(size, training);
            if kind == Kind::Float {
                // What they read is cut out of the product, which then lives as long.
                of_norms -= (query + key) * MASTER;
                elements += if grouped { query + 2 * key } else { 0 };
            }
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
        let heads = self.attention.heads as usize;
        // The softmax's denominators are f32. Where distances add to the scores, all weights are kept.
        let denominators = tokens.count * heads * MASTER;
        let weights = tokens.scores * heads * size;
        if let Some(cross) = &self.cross {
            // What its norm gives, the queries, what they attended to by prompt and together, and for what was read keys and values.
            of_norms += cross.norm.kept(size, training) + heads * MASTER;
            elements += keeps(&cross.query, hidden) + 2 * query + keeps(&cross.output, query);
        }
        let of_read = if self.cross.is_some() { tokens.read * 2 * query * size } else { 0 };
        let of_tokens = (tokens.count * elements + tokens.keys * of_keys) * size + tokens.count * of_norms;
        of_tokens + denominators + weights + of_read
    }

    /// Whether it has the form that is computed without a graph.
    pub(super) fn is_plain(&self) -> bool {
        let norms = self.input_norm.is_plain() && self.feed_norm.as_ref().is_some_and(Norm::is_plain);
        let attention = &self.attention;
        let projections = [&attention.qkv, &attention.output, &self.feed.up, &self.feed.down];
        norms
            && projections.iter().all(|projection| projection.is_in_order())
            && attention.query_and_key_norm.is_none()
            && attention.relative.is_none()
            && self.cross.is_none()
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
    fn backward(&self, tokens: &Tokens, kind: Kind) -> usize {
        let Widths { hidden, query, key, up, inner } = self.widths();
        let feed = hidden + 2 * up + inner;
        let attention = hidden + 3 * query + 2 * (query + 2 * key);
        let weights = 2 * tokens.scores * self.attention.heads as usize;
        let of_read = if self.cross.is_some() { tokens.read * 4 * query } else { 0 };
        let elements = tokens.count * feed.max(attention) + tokens.keys * 2 * query + weights + of_read;
        elements * kind.elt_size_in_bytes()
    }

    /// Bytes of this layer alone, without a gradient.
    fn inference(&self, tokens: &Tokens, kind: Kind) -> usize {
        let Widths { hidden, query, key, up, inner } = self.widths();
        let feed = 3 * hidden + up + 2 * inner;
        let attention = 2 * hidden + (query + 2 * key) + (query + key) + 4 * query;
        let turning = 2 * hidden + (query + 2 * key) + 4 * (query + key);
        let longest = attention.max(turning).max(feed);
        tokens.count * longest * kind.elt_size_in_bytes()
    }
}
