//! The machine's limit of a decode step: its products, its attention and its draw at their shapes, and nothing else.

use std::time::Instant;

use rltrain::policy::{Policy, Sizes};
use tch::{Device, Kind, Tensor};

/// Steps that are timed at once.
const STEPS: usize = 8;

/// Tensors of the shapes of a decode step.
pub(crate) struct Limit {
    /// Input and weight of every product.
    products: Vec<(Tensor, Tensor)>,
    /// Query, keys and values of every layer.
    attention: Vec<(Tensor, Tensor, Tensor)>,
    logits: Tensor,
    uniform: Tensor,
}

/// Seconds of each part of one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) products: f64,
    pub(crate) attention: f64,
    pub(crate) sampling: f64,
}

impl Parts {
    pub(crate) fn total(self) -> f64 {
        self.products + self.attention + self.sampling
    }
}

impl Limit {
    /// `rows` sequences over `context` tokens each, for a policy of the Llama family.
    pub(crate) fn new(policy: &Policy, rows: i64, context: i64) -> Limit {
        let Sizes { layers, key_value_heads, head_dim, vocab_size, .. } = policy.architecture.sizes();
        let kind = policy.compute;
        let random = |shape: &[i64], kind| Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
        // Stacked as ours stacks them: one product for queries, keys and values, and one for gate and up.
        let stacks = [
            &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"][..],
            &["self_attn.o_proj"],
            &["mlp.gate_proj", "mlp.up_proj"],
            &["mlp.down_proj"],
        ];
        let mut products = Vec::new();
        for layer in 0..layers {
            for stack in stacks {
                let size =
                    |name: &&str| policy.weights.get(&format!("model.layers.{layer}.{name}.weight")).size();
                let (outputs, inputs) = (stack.iter().map(|name| size(name)[0]).sum(), size(&stack[0])[1]);
                products.push((random(&[rows, inputs], kind), random(&[outputs, inputs], kind)));
            }
        }
        let hidden_size = policy.architecture.sizes().hidden_size;
        products.push((
            random(&[rows, hidden_size], Kind::Float),
            random(&[vocab_size, hidden_size], Kind::Float),
        ));
        let query_heads = policy.weights.get("model.layers.0.self_attn.q_proj.weight").size()[0] / head_dim;
        let attention = (0..layers)
            .map(|_| {
                let cached = || random(&[rows, key_value_heads, context, head_dim], kind);
                (
                    random(&[rows, key_value_heads, query_heads / key_value_heads, head_dim], kind),
                    cached(),
                    cached(),
                )
            })
            .collect();
        Limit {
            products,
            attention,
            logits: random(&[rows, vocab_size], Kind::Float),
            uniform: Tensor::rand([rows, 1], (Kind::Float, Device::Cpu)),
        }
    }

    /// Times one round.
    pub(crate) fn measure(&self) -> Parts {
        let _no_gradient = tch::no_grad_guard();
        Parts {
            products: time(|| {
                for (input, weight) in &self.products {
                    let _ = input.linear::<&Tensor>(weight, None);
                }
            }),
            attention: time(|| {
                for (query, key, value) in &self.attention {
                    let _ = Tensor::scaled_dot_product_attention::<&Tensor>(
                        query,
                        key,
                        value,
                        None,
                        0.0,
                        false,
                        None::<f64>,
                        false,
                    );
                }
            }),
            sampling: time(|| {
                let cumulative = self.logits.softmax(-1, Kind::Float).cumsum(-1, Kind::Float);
                let _ = cumulative.searchsorted(&self.uniform, false, false, "left", None::<&Tensor>);
            }),
        }
    }
}

/// Seconds of one call, after one that warms up.
fn time(work: impl Fn()) -> f64 {
    work();
    let begun = Instant::now();
    for _ in 0..STEPS {
        work();
    }
    begun.elapsed().as_secs_f64() / STEPS as f64
}
