//! The optimizer: gradients of the weights in, changed weights out, with the running means that it remembers between.

use std::collections::BTreeMap;

use rltrain_checkpoints::TensorFile;
use tch::{Kind, Tensor};

use super::config::{OptimizerConfig, OptimizerKind};
use super::share::Means;
use super::{adamw, sgd};
use crate::policy::{PolicyError, Weights, load_tensor};
use crate::ranks::{Lane, Ranks, RanksError};
use crate::record::{Gradient, hashes};

/// Elements that a CPU updates together: with gradient, moments and a temporary they take 2.5 MB and stay in its cache
/// from one operation to the next, so that memory is read and written once an update instead of a dozen times.
const CHUNK: i64 = 1 << 17;

/// One weight, or a piece of it, in the middle of an update: flat views, changed in place.
pub(super) struct Piece<'a> {
    pub(super) weight: Tensor,
    /// Already scaled by the clipping factor.
    pub(super) gradient: Tensor,
    /// The running means, in the order of [`OptimizerKind::means`].
    pub(super) means: Vec<Tensor>,
    /// Number of this update, from 1.
    pub(super) update: u64,
    pub(super) learning_rate: f64,
    /// Share of the weight that decay takes away: `learning_rate * weight_decay`, or 0 where decay does not apply.
    pub(super) decay: f64,
    pub(super) config: &'a OptimizerConfig,
}

/// The rule of `[optimizer] kind`, and what it remembers of each weight, f32.
pub struct Optimizer {
    /// Updates applied so far.
    pub updates: u64,
    /// The gradient of every update applied since somebody asked for it; `None` while nobody does.
    pub watched: Option<Vec<Gradient>>,
    pub(super) kind: OptimizerKind,
    pub(super) means: Means,
    /// Who keeps the means of each weight, where processes share them out.
    pub(super) owners: Option<BTreeMap<String, usize>>,
    /// Whether a weight's owner alone has its gradient, and nobody has any between updates.
    pub(super) shares_gradients: bool,
    /// Whether in an update a layer's weights are with their owners alone, but while the layer is computed.
    pub(super) shares_weights: bool,
}

impl Optimizer {
    /// Zero means for every weight.
    pub fn new(kind: OptimizerKind, weights: &Weights) -> Optimizer {
        let zeros = |weight: &Tensor| kind.means().iter().map(|_| weight.detach().zeros_like()).collect();
        let means = weights.trained().map(|(name, weight)| (name, zeros(weight))).collect();
        Optimizer {
            updates: 0,
            watched: None,
            kind,
            means,
            owners: None,
            shares_gradients: false,
            shares_weights: false,
        }
    }

    /// The state that a checkpoint holds: `updates`, and for every weight one tensor `MEAN/NAME` per mean, as
    /// [`Optimizer::state`] names them.
    ///
    /// # Errors
    ///
    /// If a tensor is missing, has another shape than its weight, or cannot be read.
    pub fn restored(
        kind: OptimizerKind,
        updates: u64,
        weights: &Weights,
        file: &TensorFile,
    ) -> Result<Optimizer, PolicyError> {
        Optimizer::restored_of(kind, updates, weights, file, |_| true)
    }

    /// As [`Optimizer::restored`], with the means of those weights only whose names `keeps` says yes to.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn restored_of(
        kind: OptimizerKind,
        updates: u64,
        weights: &Weights,
        file: &TensorFile,
        keeps: impl Fn(&str) -> bool,
    ) -> Result<Optimizer, PolicyError> {
        let mut means = BTreeMap::new();
        for (name, weight) in weights.trained().filter(|(name, _)| keeps(name)) {
            let read = |mean: &&str| {
                load_tensor(file, &format!("{mean}/{name}"), &weight.size())
                    .map(|tensor| tensor.to_device(weight.device()))
            };
            means.insert(name.clone(), kind.means().iter().map(read).collect::<Result<_, _>>()?);
        }
        Ok(Optimizer {
            updates,
            watched: None,
            kind,
            means,
            owners: None,
            shares_gradients: false,
            shares_weights: false,
        })
    }

    /// What a checkpoint has to hold besides `updates`: `(MEAN/NAME, tensor)`. Where processes share the means out, of those of this
    /// one.
    pub fn state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        self.state_of(&self.means)
    }

    /// As [`Optimizer::state`], of means that were put together.
    pub fn state_of<'a>(&self, means: &'a Means) -> impl Iterator<Item = (String, &'a Tensor)> {
        let kind = self.kind;
        means.iter().flat_map(move |(name, means)| {
            kind.means().iter().zip(means).map(move |(mean, tensor)| (format!("{mean}/{name}"), tensor))
        })
    }

    /// Takes note of the gradients that are about to be applied, if somebody wants to know them. Where processes share them out, of
    /// those of all.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub(super) fn watch(&mut self, weights: &Weights, ranks: &Ranks) -> Result<(), RanksError> {
        let Some(watched) = &mut self.watched else { return Ok(()) };
        let mut hashes = hashes(weights);
        if self.shares_gradients {
            let all = ranks.gather(Lane::Learning, "the hashes of gradients", hashes)?;
            let mut all: BTreeMap<String, String> = all.into_iter().flatten().collect();
            hashes = weights.trained().filter_map(|(name, _)| all.remove_entry(&name)).collect();
        }
        watched.push(Gradient::of(&hashes));
        Ok(())
    }

    /// The [`gradient_norm`] of `weights`, of the gradients of all processes where they share them out: the same everywhere, and the
    /// same bit for bit as of one that has them all.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub(super) fn gradient_norm(&self, weights: &Weights, ranks: &Ranks) -> Result<f64, RanksError> {
        if !self.shares_gradients {
            return Ok(gradient_norm(weights));
        }
        let _no_gradient = tch::no_grad_guard();
        let squares = weights.trained().map(|(_, weight)| match weight.grad() {
            gradient if gradient.defined() => square(&gradient),
            _ => Tensor::zeros([], (Kind::Double, weight.device())),
        });
        let squares = Tensor::stack(&squares.collect::<Vec<_>>(), 0);
        Ok(length(&ranks.sum_column(Lane::Learning, &squares)?))
    }

    /// One update from the gradients of the weights, in place; gradients are multiplied by `gradient_scale` (the
    /// clipping factor) on the way and zeroed afterwards.
    ///
    /// Weight decay is decoupled, and applies to matrices only: norms and biases are left alone.
    pub fn step(
        &mut self,
        weights: &Weights,
        config: &OptimizerConfig,
        learning_rate: f64,
        gradient_scale: f64,
    ) {
        let _no_gradient = tch::no_grad_guard();
        self.updates += 1;
        for (name, weight) in weights.trained() {
            let gradient = weight.grad();
            if !gradient.defined() {
                continue;
            }
            let Some(means) = self.means.get(&name) else {
                // Another process updates it.
                let _ = weight.grad().zero_();
                continue;
            };
            let decay = if weight.dim() > 1 { learning_rate * config.weight_decay } else { 0.0 };
            let flat = |tensor: &Tensor| tensor.view([-1]);
            let (weight, gradient) = (flat(&weight.detach()), flat(&gradient));
            let means: Vec<Tensor> = means.iter().map(flat).collect();
            let elements = weight.numel() as i64;
            let chunk = if weight.device().is_cuda() { elements } else { CHUNK };
            for start in (0..elements).step_by(chunk.max(1) as usize) {
                let cut = |tensor: &Tensor| tensor.narrow(0, start, chunk.min(elements - start));
                let mut gradient = cut(&gradient);
                let _ = gradient.g_mul_scalar_(gradient_scale);
                let mut piece = Piece {
                    weight: cut(&weight),
                    gradient: gradient.shallow_clone(),
                    means: means.iter().map(cut).collect(),
                    update: self.updates,
                    learning_rate,
                    decay,
                    config,
                };
                match self.kind {
                    OptimizerKind::AdamW => adamw::update(&mut piece),
                    OptimizerKind::Sgd => sgd::update(&mut piece),
                }
                let _ = gradient.zero_();
            }
        }
    }
}

/// The global L2 norm of all gradients: `sqrt(sum g^2)`, summed in f64. Infinite or NaN if any entry is.
pub fn gradient_norm(weights: &Weights) -> f64 {
    let _no_gradient = tch::no_grad_guard();
    let squares: Vec<Tensor> = weights
        .trained()
        .map(|(_, weight)| weight.grad())
        .filter(Tensor::defined)
        .map(|gradient| square(&gradient))
        .collect();
    // One transfer for all weights.
    if squares.is_empty() { 0.0 } else { length(&Tensor::stack(&squares, 0)) }
}

/// The squared L2 norm of one gradient, f64.
fn square(gradient: &Tensor) -> Tensor {
    gradient.norm().to_kind(Kind::Double).square()
}

/// The norm of everything together, of which `squares` has the parts.
fn length(squares: &Tensor) -> f64 {
    squares.sum(Kind::Double).sqrt().double_value(&[])
}

/// The factor that brings a gradient of norm `norm` down to at most `max_norm`; 1 if it is there already.
///
/// `max_norm / (norm + 1e-6)`, as `torch.nn.utils.clip_grad_norm_`.
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    (max_norm / (norm + 1e-6)).min(1.0)
}
