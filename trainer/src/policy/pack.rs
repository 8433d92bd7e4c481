//! Groups of completions as a single sequence: every prompt is computed once, and every product is one large one.

use tch::{Device, Kind, Tensor};

use super::dropout::token_key;
use super::encoder::Prompts;
use super::interjection::Continuation;
use super::network::{DirectBehind, DirectTokens, Network, Tokens};
use super::packed_attention::{PackedAttention, Stretches};

/// Prompts, each followed by completions that do not see each other.
///
/// ```text
/// tokens     p0 p1 p2 | a0 a1 a2 | b0 b1   q0 q1 | c0 c1
/// positions   0  1  2 |  3  4  5 |  3  4    0  1 |  2  3
/// ```
///
/// A completion token sees its prompt and its own completion up to itself, which is what it would see alone, so
/// logprobs and gradients are those of separate sequences (up to float rounding). Tokens that the environment put into a
/// completion are seen like the others, and predicted by none. All groups of a pack go through the
/// projections together; attention runs completion by completion, so that its cost grows with the completions and not with
/// the square of the pack.
///
/// A network with an encoder reads the prompts there, each once, and every completion begins behind one token that all of
/// its group share:
///
/// ```text
/// read        p0 p1 p2   q0 q1
/// written      s | a0 a1 a2 | b0 b1    s | c0 c1
/// positions    0 |  1  2  3 |  1  2    0 |  1  2
/// ```
#[derive(Default)]
pub struct Pack {
    tokens_t: Vec<i64>,
    positions_t: Vec<i64>,
    /// What dropout derives from: a function of the token's own sequence up to it.
    keys_t: Vec<i64>,
    /// Lengths of each group's prompt and completions.
    groups: Vec<Stretches>,
    /// For each completion token that the policy wrote, the index of the token that predicts it.
    predictor_n: Vec<i64>,
    /// Each completion token that the policy wrote.
    target_n: Vec<i64>,
}

/// A pack as far as memory depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackSize {
    /// Tokens that go through the network.
    pub tokens: usize,
    /// Completion tokens that are predicted.
    pub predicted: usize,
    /// Keys that the attention of completions reads: for each its prompt's and its own.
    pub keys: usize,
    /// Tokens of prompts among `tokens`.
    pub prompts: usize,
    /// Prompts.
    pub groups: usize,
    /// Completions.
    pub completions: usize,
    /// Sum of the squares of the prompts' lengths.
    pub prompt_squares: usize,
    /// Sum of the squares of the completions' lengths.
    pub completion_squares: usize,
}

impl Pack {
    /// A pack of one group, as [`Pack::add`] adds it.
    pub fn new<'a>(
        prompt: &[i64],
        completions: impl IntoIterator<Item = impl Into<Continuation<'a>>>,
    ) -> Pack {
        let mut pack = Pack::default();
        pack.add(prompt, completions);
        pack
    }

    /// Adds `completions` (each at least one token) behind their `prompt` (at least one token).
    pub fn add<'a>(
        &mut self,
        prompt: &[i64],
        completions: impl IntoIterator<Item = impl Into<Continuation<'a>>>,
    ) {
        let start = prompt.len() as i64;
        let begin = self.tokens_t.len();
        self.tokens_t.extend(prompt);
        self.positions_t.extend(0..start);
        let mut prompt_key = 0;
        for token in prompt {
            prompt_key = token_key(prompt_key, *token);
            self.keys_t.push(prompt_key);
        }
        let mut group = Stretches { prompt: start, completions: Vec::new() };
        for completion in completions {
            let first = self.tokens_t.len() as i64;
            let mut key = prompt_key;
            for (offset, (token, own)) in completion.into().read().enumerate() {
                let offset = offset as i64;
                if own {
                    let before = if offset == 0 { begin as i64 + start } else { first + offset };
                    self.predictor_n.push(before - 1);
                    self.target_n.push(token);
                }
                key = token_key(key, token);
                self.keys_t.push(key);
                self.tokens_t.push(token);
                self.positions_t.push(start + offset);
            }
            group.completions.push(self.tokens_t.len() as i64 - first);
        }
        self.groups.push(group);
    }

    /// How much there is to compute.
    pub fn size(&self) -> PackSize {
        let mut size = PackSize { tokens: self.len(), predicted: self.target_n.len(), ..PackSize::default() };
        for Stretches { prompt, completions } in &self.groups {
            let prompt = *prompt as usize;
            size.groups += 1;
            size.prompts += prompt;
            size.prompt_squares += prompt * prompt;
            for completion in completions.iter().map(|completion| *completion as usize) {
                size.completions += 1;
                size.keys += prompt + completion;
                size.completion_squares += completion * completion;
            }
        }
        size
    }

    /// Number of tokens computed.
    pub fn len(&self) -> usize {
        self.tokens_t.len()
    }

    /// Whether there is nothing to compute.
    pub fn is_empty(&self) -> bool {
        self.tokens_t.is_empty()
    }

    /// The forward pass, up to the hidden states that predict the completion tokens. On the processor, networks of the common
    /// form are computed without a gradient graph: [`Pass::backward`] is the way back, and `hidden_ne` is part of no graph.
    pub fn pass<'a>(&self, model: &'a Network) -> Pass<'a> {
        if !model.is_plain() {
            return self.pass_with_graph(model);
        }
        let device = model.device();
        let tokens = DirectTokens {
            tokens: self.tokens(device),
            ids: self.tokens_t.clone(),
            stretches: Stretches::ranges(&self.groups),
            wanted: self.predictor_n.clone(),
            wanted_n: Tensor::from_slice(&self.predictor_n).to_device(device),
        };
        let (hidden_ne, direct) = model.direct_forward(tokens, builds_graphs());
        let way = direct.map_or(Way::None, |direct| Way::Direct(Box::new(direct)));
        Pass { hidden_ne, model, way }
    }

    fn tokens(&self, device: Device) -> Tokens {
        let row = |values: &[i64]| Tensor::from_slice(values).to_device(device).unsqueeze(0);
        Tokens {
            tokens_bt: row(&self.tokens_t),
            positions_bt: row(&self.positions_t),
            keys_bt: Some(row(&self.keys_t)),
        }
    }

    /// As [`Pack::pass`], by libtorch's gradient graph whatever the network.
    pub fn pass_with_graph<'a>(&self, model: &'a Network) -> Pass<'a> {
        match model.start() {
            None => self.pass_behind(model, None),
            Some(start) => {
                let (prompts, written) = self.apart(start);
                written.pass_behind(model, Some(prompts))
            }
        }
    }

    /// The prompts, and the completions behind the token `start` in place of their prompts.
    fn apart(&self, start: i64) -> (Prompts, Pack) {
        let (mut prompts, mut written) = (Prompts::default(), Pack::default());
        // Where each token of this pack is in the other; for a token of a prompt, where what stands for it is.
        let mut moved = Vec::with_capacity(self.tokens_t.len());
        let mut from = 0;
        for Stretches { prompt, completions } in &self.groups {
            let behind = from + *prompt as usize;
            let end = behind + completions.iter().sum::<i64>() as usize;
            prompts.add(&self.tokens_t[from..behind]);
            let place = written.tokens_t.len() as i64;
            written.tokens_t.push(start);
            written.tokens_t.extend(&self.tokens_t[behind..end]);
            written.positions_t.push(0);
            written.positions_t.extend(self.positions_t[behind..end].iter().map(|place| place - prompt + 1));
            written.keys_t.push(self.keys_t[behind - 1]);
            written.keys_t.extend(&self.keys_t[behind..end]);
            written.groups.push(Stretches { prompt: 1, completions: completions.clone() });
            moved.extend(std::iter::repeat_n(place, *prompt as usize));
            moved.extend(place + 1..written.tokens_t.len() as i64);
            from = end;
        }
        written.predictor_n = self.predictor_n.iter().map(|place| moved[*place as usize]).collect();
        written.target_n.clone_from(&self.target_n);
        (prompts, written)
    }

    /// The forward pass behind `prompts`, where an encoder reads those.
    fn pass_behind<'a>(&self, model: &'a Network, prompts: Option<Prompts>) -> Pass<'a> {
        let tokens = self.tokens(model.device());
        let predictor_n = Tensor::from_slice(&self.predictor_n).to_device(model.device());
        let attention = PackedAttention::new(self.groups.clone());
        let (hidden_bte, again) = if model.recomputes() {
            let (read, prompts) = prompts
                .map(|prompts| {
                    let (read, inputs) = model.read_and_inputs(&prompts);
                    (read, (prompts, inputs))
                })
                .unzip();
            let mut attention = attention.looking_at(read);
            let (hidden_bte, inputs) = model.hidden_and_inputs(&tokens, &mut attention);
            (hidden_bte, Some((attention, inputs, prompts)))
        } else {
            let mut attention = attention.looking_at(prompts.map(|prompts| model.read(&prompts)));
            (model.hidden_of(&tokens, &mut attention), None)
        };
        let hidden_ne = hidden_bte.squeeze_dim(0).index_select(0, &predictor_n);
        let way = again.map_or(Way::Graph, |(attention, inputs, prompts)| {
            Way::Again(Box::new(Again { tokens, attention, inputs, predictor_n, prompts }))
        });
        Pass { hidden_ne, model, way }
    }

    /// Final hidden states `[N, E]`, in the compute dtype, that predict the `N` completion tokens, in the order of
    /// completions. Part of a gradient graph unless gradients are off.
    pub fn hidden(&self, model: &Network) -> Tensor {
        if builds_graphs() { self.pass_with_graph(model).hidden_ne } else { self.pass(model).hidden_ne }
    }

    /// Logits `[N, V]`, f32, that predict the completion tokens: all of them at once, which takes more memory than
    /// everything else. Training goes through [`super::token_logprobs`].
    pub fn logits(&self, model: &Network) -> Tensor {
        model.logits(&self.hidden(model))
    }

    /// The completion tokens `[N]`, i64.
    pub fn targets(&self, device: Device) -> Tensor {
        Tensor::from_slice(&self.target_n).to_device(device)
    }
}

/// A forward pass over a pack, to go back from.
pub struct Pass<'a> {
    /// Final hidden states `[N, E]`, in the compute dtype, that predict the `N` completion tokens, in the order of
    /// completions.
    pub hidden_ne: Tensor,
    model: &'a Network,
    way: Way,
}

/// How a gradient goes back.
enum Way {
    /// Along the graph of the hidden states.
    Graph,
    /// Layer by layer, each computed again with a graph of its own.
    Again(Box<Again>),
    /// Without a graph.
    Direct(Box<DirectBehind>),
    /// Not at all: nothing was kept, since gradients were off.
    None,
}

/// What the layers are computed again from.
struct Again {
    tokens: Tokens,
    attention: PackedAttention,
    inputs: Vec<Tensor>,
    predictor_n: Tensor,
    /// The prompts that an encoder has read, and the inputs of its layers.
    prompts: Option<(Prompts, Vec<Tensor>)>,
}

impl Pass<'_> {
    /// Adds the gradients of the weights below the hidden states, given the gradient `[N, E]` of those. A network that
    /// keeps its graph follows it; one that recomputes does so layer by layer, with the same result up to rounding.
    ///
    /// # Panics
    ///
    /// If gradients were off in the forward pass.
    pub fn backward(self, gradient_ne: &Tensor) {
        self.backward_by_layer(gradient_ne, &mut |_| ());
    }

    /// As [`Pass::backward`]; `after_layer` hears the number of each layer, from 0, whose own weights have got all that they get from
    /// this pass. A network that follows its graph says nothing.
    pub(crate) fn backward_by_layer(self, gradient_ne: &Tensor, after_layer: &mut dyn FnMut(usize)) {
        match self.way {
            Way::Graph => (self.hidden_ne * gradient_ne).sum(Kind::Float).backward(),
            Way::Direct(direct) => self.model.direct_backward(*direct, gradient_ne, after_layer),
            Way::Again(again) => {
                let Again { tokens, mut attention, inputs, predictor_n, prompts } = *again;
                let last = inputs.last().expect("the final norm has an input");
                // Completions of one prompt share the token that predicts their first one: their gradients add up.
                let mut gradient_te = last.squeeze_dim(0).zeros_like();
                let _ = gradient_te.index_add_(0, &predictor_n, &gradient_ne.to_kind(last.kind()));
                let gradient_bte = gradient_te.unsqueeze(0);
                self.model.backward_from(inputs, &gradient_bte, &tokens, &mut attention, after_layer);
                if let (Some((prompts, inputs)), Some(read)) = (prompts, attention.read()) {
                    self.model.backward_from_read(inputs, &read.states_1se.grad(), &prompts);
                }
            }
            Way::None => panic!("a pass without gradients has no way back"),
        }
    }
}

/// Whether operations build a gradient graph here and now.
fn builds_graphs() -> bool {
    // libtorch's switch cannot be read through `tch`; what it does can.
    let leaf = Tensor::zeros([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    leaf.neg().requires_grad()
}

/// Log-probabilities `[N]` (nats, f32) of `target_n` under `softmax(logits / temperature)`, and the entropy `[N]` of
/// that distribution, which carries no gradient.
pub fn logprobs_and_entropy(logits_nv: &Tensor, target_n: &Tensor, temperature: f64) -> (Tensor, Tensor) {
    let scaled = if temperature == 1.0 { logits_nv.shallow_clone() } else { logits_nv / temperature };
    let log_softmax = scaled.log_softmax(-1, Kind::Float);
    let logprobs = log_softmax.gather(-1, &target_n.unsqueeze(-1), false).squeeze_dim(-1);
    let entropy = tch::no_grad(|| {
        let detached = log_softmax.detach();
        -(detached.exp() * detached).sum_dim_intlist(-1, false, Kind::Float)
    });
    (logprobs, entropy)
}
