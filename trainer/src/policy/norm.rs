//! Normalisation of the last dimension.

use tch::{Kind, Tensor};

use super::architecture::Shapes;
use super::gradient::gradient_of;
use super::row_kernels;
use super::training_kernels::{self, Normed};
use super::weights::Weights;

/// Which formula, and where its weights are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Norm {
    /// Module name: `NAME.weight`, and `NAME.bias` where there is one.
    pub(super) name: String,
    /// Width of the last dimension.
    pub(super) width: i64,
    /// Added to the mean square or the variance before its root.
    pub(super) epsilon: f64,
    /// The formula.
    pub(super) formula: NormFormula,
    /// Factor of what it gives, if that is not 1.
    pub(super) factor: Option<f64>,
}

/// The formulas of normalisation. Mean, mean square and variance are summed in f32, whatever the compute dtype.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NormFormula {
    /// `w x / sqrt(mean(x^2) + epsilon)` (Zhang and Sennrich 2019, arXiv:1910.07467).
    RootMeanSquare,
    /// The same with `1 + w`, as Gemma stores it.
    RootMeanSquarePlusOne,
    /// `w (x - mean(x)) / sqrt(var(x) + epsilon) + b` (Ba et al. 2016, arXiv:1607.06450).
    Layer,
}

impl Norm {
    pub(super) fn shapes(&self, shapes: &mut Shapes) {
        shapes.add(&format!("{}.weight", self.name), &[self.width]);
        if self.formula == NormFormula::Layer {
            shapes.add(&format!("{}.bias", self.name), &[self.width]);
        }
    }

    /// Whether the kernels of training compute it.
    pub(super) fn is_plain(&self) -> bool {
        self.formula == NormFormula::RootMeanSquare
            && self.factor.is_none()
            && training_kernels::take_width(self.width)
    }

    pub(super) fn load(&self, weights: &Weights, kind: Kind) -> LoadedNorm {
        let stored = |part: &str| weights.get(&format!("{}.{part}", self.name));
        let times = |x: &Tensor| self.factor.map_or_else(|| x.shallow_clone(), |factor| x * factor);
        let weight = stored("weight");
        let master = weight.shallow_clone();
        let (weight, bias) = match self.formula {
            NormFormula::RootMeanSquare => (times(weight).to_kind(kind), None),
            // Stays f32: in bf16 `1 + w` would keep 7 bits of `w` at most.
            NormFormula::RootMeanSquarePlusOne => (times(&(weight + 1.0)), None),
            NormFormula::Layer => (times(weight).to_kind(kind), Some(times(stored("bias")).to_kind(kind))),
        };
        LoadedNorm {
            weight,
            bias,
            master,
            width: self.width,
            epsilon: self.epsilon,
            formula: self.formula,
            factor: self.factor,
        }
    }
}

/// A norm with its weights.
pub(super) struct LoadedNorm {
    weight: Tensor,
    bias: Option<Tensor>,
    /// As it is stored, f32.
    master: Tensor,
    width: i64,
    epsilon: f64,
    formula: NormFormula,
    factor: Option<f64>,
}

impl LoadedNorm {
    /// As [`LoadedNorm::apply`], for rows of a decode step.
    pub(super) fn apply_by_row(&self, x: &Tensor) -> Tensor {
        match self.formula {
            NormFormula::RootMeanSquare => row_kernels::root_mean_square_norm(x, &self.weight, self.epsilon),
            NormFormula::RootMeanSquarePlusOne | NormFormula::Layer => self.apply(x),
        }
    }

    /// Whether [`LoadedNorm::normalise`] and the functions behind it are all there is to it.
    pub(super) fn is_plain(&self) -> bool {
        self.formula == NormFormula::RootMeanSquare
            && self.factor.is_none()
            && training_kernels::take_width(self.width)
    }

    /// The norm of rows `[T, E]` on the processor. Not part of a gradient graph, as all that follow.
    pub(super) fn normalise(&self, x_te: &Tensor) -> Normed {
        training_kernels::normalise(x_te, &self.weight, self.epsilon)
    }

    /// The sum of `x` and `y`, in place of `y`, and its norm.
    pub(super) fn add_and_normalise(&self, x_te: &Tensor, y_te: Tensor) -> (Tensor, Normed) {
        training_kernels::add_and_normalise(x_te, y_te, &self.weight, self.epsilon)
    }

    /// What [`LoadedNorm::normalise`] gave, from the scales that it gave.
    pub(super) fn normalise_again(&self, x_te: &Tensor, scale_t: &Tensor) -> Tensor {
        training_kernels::normalise_again(x_te, &self.weight, scale_t)
    }

    /// Adds the gradient by `x` to `gradient_te`, given that by the norm, and that by the weight to its own.
    pub(super) fn backward(
        &self,
        x_te: &Tensor,
        scale_t: &Tensor,
        by_out_te: &Tensor,
        gradient_te: &mut Tensor,
    ) {
        let by_weight =
            training_kernels::normalise_backward(x_te, &self.weight, scale_t, by_out_te, gradient_te);
        if self.master.requires_grad() {
            let _ = gradient_of(&self.master).g_add_(&by_weight);
        }
    }

    /// Normalises the last dimension; the result has the dtype of `x`.
    pub(super) fn apply(&self, x: &Tensor) -> Tensor {
        let root_mean_square = |x: &Tensor| x.rms_norm([self.width], Some(&self.weight), self.epsilon);
        match self.formula {
            NormFormula::RootMeanSquare => root_mean_square(x),
            NormFormula::RootMeanSquarePlusOne => root_mean_square(&x.to_kind(Kind::Float)).to_kind(x.kind()),
            NormFormula::Layer => {
                x.layer_norm([self.width], Some(&self.weight), self.bias.as_ref(), self.epsilon, false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    /// In bf16 a mean over 512 numbers would stop growing long before the last one.
    #[test]
    fn in_bf16_the_sums_are_those_of_f32() {
        let wave = |n: i64, step: f64| (Tensor::arange(n, (Kind::Float, Device::Cpu)) * step).sin();
        let x = (wave(4 * 512, 0.37) * 3.0 + 0.7).view([4, 512]).to_kind(Kind::BFloat16);
        for formula in [NormFormula::RootMeanSquare, NormFormula::RootMeanSquarePlusOne, NormFormula::Layer] {
            let norm = Norm { name: "norm".to_owned(), width: 512, epsilon: 1e-6, formula, factor: None };
            // Weights that bf16 holds exactly, so that the sums are all that can differ.
            let weight = (wave(512, 0.11) * 2.0).to_kind(Kind::BFloat16).to_kind(Kind::Float);
            let named = |name: &str, tensor: &Tensor| (format!("norm.{name}"), tensor.copy());
            let weights = Weights::of([named("weight", &weight), named("bias", &(&weight * 0.5))]);
            let half = norm.load(&weights, Kind::BFloat16).apply(&x);
            assert_eq!(half.kind(), Kind::BFloat16);
            let full = norm.load(&weights, Kind::Float).apply(&x.to_kind(Kind::Float));
            let apart = ((half.to_kind(Kind::Float) - &full).abs() / (full.abs() + 1e-2)).max();
            // One rounding to 8 bits.
            assert!(apart.double_value(&[]) <= 2f64.powi(-8), "{formula:?}: {apart}");
        }
    }
}
