//! AdamW: Adam with decoupled weight decay.

use std::collections::BTreeMap;

use rltrain_checkpoints::TensorFile;
use tch::{Kind, Tensor};

use super::config::OptimizerConfig;
use crate::policy::{PolicyError, Weights, load_tensor};

/// Elements that a CPU updates together: with gradient, moments and a temporary they take 2.5 MB and stay in its cache
/// from one operation to the next, so that memory is read and written once an update instead of a dozen times.
const CHUNK: i64 = 1 << 17;

/// Moments of one parameter, f32, shaped like it.
pub struct Moments {
    /// Running mean of the gradient.
    pub first: Tensor,
    /// Running mean of the squared gradient.
    pub second: Tensor,
}

/// The optimizer's state.
pub struct AdamW {
    /// Updates applied so far.
    pub updates: u64,
    moments: BTreeMap<String, Moments>,
}

impl AdamW {
    /// Zero moments for every weight.
    pub fn new(weights: &Weights) -> AdamW {
        let zero = |tensor: &Tensor| tensor.detach().zeros_like();
        let moments = weights
            .iter()
            .map(|(name, tensor)| (name.to_owned(), Moments { first: zero(tensor), second: zero(tensor) }))
            .collect();
        AdamW { updates: 0, moments }
    }

    /// The state that a checkpoint holds: `updates`, and for every weight the tensors `first/NAME` and `second/NAME`.
    ///
    /// # Errors
    ///
    /// If a tensor is missing, has another shape than its weight, or cannot be read.
    pub fn restored(updates: u64, weights: &Weights, file: &TensorFile) -> Result<AdamW, PolicyError> {
        let mut moments = BTreeMap::new();
        for (name, weight) in weights.iter() {
            let read = |which: &str| {
                load_tensor(file, &format!("{which}/{name}"), &weight.size())
                    .map(|t| t.to_device(weight.device()))
            };
            moments.insert(name.to_owned(), Moments { first: read("first")?, second: read("second")? });
        }
        Ok(AdamW { updates, moments })
    }

    /// Moments by weight name, in the order of names.
    pub fn moments(&self) -> impl Iterator<Item = (&str, &Moments)> {
        self.moments.iter().map(|(name, moments)| (name.as_str(), moments))
    }

    /// One update from the gradients of the weights, in place; gradients are multiplied by `gradient_scale` (the
    /// clipping factor) on the way and zeroed afterwards.
    ///
    /// ```text
    /// m <- b1 m + (1 - b1) g          v <- b2 v + (1 - b2) g^2
    /// w <- w - lr decay w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)
    /// ```
    ///
    /// Loshchilov and Hutter 2019, algorithm 2 (arXiv:1711.05101), as `torch.optim.AdamW` computes it. Decay applies
    /// to matrices only: norms are left alone.
    pub fn step(
        &mut self,
        weights: &Weights,
        config: &OptimizerConfig,
        learning_rate: f64,
        gradient_scale: f64,
    ) {
        let _no_gradient = tch::no_grad_guard();
        self.updates += 1;
        let t = self.updates as f64;
        let OptimizerConfig { beta1, beta2, epsilon, weight_decay, .. } = *config;
        let (correction1, correction2) = (1.0 - beta1.powf(t), 1.0 - beta2.powf(t));
        for (name, weight) in weights.iter() {
            let gradient = weight.grad();
            if !gradient.defined() {
                continue;
            }
            let Moments { first, second } = self.moments.get(name).expect("moments exist for every weight");
            let decay = if weight.dim() > 1 { learning_rate * weight_decay } else { 0.0 };
            let flat = [&weight.detach(), &gradient, first, second].map(|tensor| tensor.view([-1]));
            let elements = weight.numel() as i64;
            let chunk = if weight.device().is_cuda() { elements } else { CHUNK };
            for start in (0..elements).step_by(chunk.max(1) as usize) {
                let cut = |tensor: &Tensor| tensor.narrow(0, start, chunk.min(elements - start));
                let [mut weight, mut gradient, mut first, mut second] = flat.each_ref().map(cut);
                let _ = gradient.g_mul_scalar_(gradient_scale);
                let _ = first.lerp_(&gradient, 1.0 - beta1);
                let _ = second.g_mul_scalar_(beta2);
                let _ = second.addcmul_(&gradient, &(&gradient * (1.0 - beta2)));
                if decay != 0.0 {
                    let _ = weight.g_mul_scalar_(1.0 - decay);
                }
                let mut denominator = second.sqrt();
                let _ = denominator.g_div_scalar_(correction2.sqrt()).g_add_scalar_(epsilon);
                let _ = denominator.reciprocal_().g_mul_(&first);
                let _ = weight.g_add_(&denominator.g_mul_scalar_(-learning_rate / correction1));
                let _ = gradient.zero_();
            }
        }
    }
}

/// The global L2 norm of all gradients: `sqrt(sum g^2)`, summed in f64. Infinite or NaN if any entry is.
pub fn gradient_norm(weights: &Weights) -> f64 {
    let _no_gradient = tch::no_grad_guard();
    let mut total = 0.0;
    for (_, weight) in weights.iter() {
        let gradient = weight.grad();
        if gradient.defined() {
            total += gradient.norm().to_kind(Kind::Double).double_value(&[]).powi(2);
        }
    }
    total.sqrt()
}

/// The factor that brings a gradient of norm `norm` down to at most `max_norm`; 1 if it is there already.
///
/// `max_norm / (norm + 1e-6)`, as `torch.nn.utils.clip_grad_norm_`.
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    (max_norm / (norm + 1e-6)).min(1.0)
}
