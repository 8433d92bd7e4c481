//! Batches as other trainers hold them, padded and masked, taken apart into packed tokens.

use rltrain::algorithm::{
    AlgorithmConfig, Denominators, Sequences, Surrogate, TokenInputs, TokenLoss, sequence_of_tokens,
    token_loss,
};
use tch::{Kind, Tensor};

/// One batch: every tensor `[B, T]`, f64.
pub(super) struct Padded {
    pub(super) logprobs: Tensor,
    pub(super) old: Tensor,
    pub(super) advantages: Tensor,
    /// 1 where a token is trained.
    pub(super) mask: Tensor,
    pub(super) sampled: Option<Tensor>,
    pub(super) reference: Option<Tensor>,
    pub(super) entropy: Option<Tensor>,
}

/// Loss of a batch, and its gradient `[B, T]` towards logprobs and entropies.
pub(super) struct Outcome {
    pub(super) loss: f64,
    pub(super) gradient: Tensor,
    pub(super) entropy_gradient: Option<Tensor>,
}

impl Padded {
    /// A batch with nothing but what every loss needs; `advantages` may be `[B]`.
    pub(super) fn new(logprobs: Tensor, old: Tensor, advantages: &Tensor, mask: Tensor) -> Self {
        let advantages = if advantages.dim() == 1 { advantages.unsqueeze(1) } else { advantages.copy() };
        let advantages = advantages.expand(mask.size(), false).contiguous();
        Self { logprobs, old, advantages, mask, sampled: None, reference: None, entropy: None }
    }

    /// Trained tokens of each row.
    pub(super) fn lengths(&self) -> Vec<usize> {
        let lengths = Vec::<f64>::try_from(self.mask.sum_dim_intlist(1, false, Kind::Double)).unwrap();
        lengths.into_iter().map(|length| length as usize).collect()
    }

    /// The tokens of `tensor` that are trained: `[N]`.
    pub(super) fn pick(&self, tensor: &Tensor) -> Tensor {
        tensor.masked_select(&self.mask.to_kind(Kind::Bool))
    }

    /// What the step's loss is divided by, for completions of at most `longest` tokens.
    pub(super) fn denominators(&self, longest: usize) -> Denominators {
        Denominators::of(self.lengths(), longest)
    }

    /// The loss as the update computes it: packed, times the factors of the aggregation, summed.
    pub(super) fn loss(&self, config: &AlgorithmConfig, denominators: Denominators, kl: f64) -> Outcome {
        self.masked_loss(config, denominators, kl, None, None)
    }

    /// The same with `keep_n` and `covariant_n`.
    pub(super) fn masked_loss(
        &self,
        config: &AlgorithmConfig,
        denominators: Denominators,
        kl: f64,
        keep_n: Option<&Tensor>,
        covariant_n: Option<&Tensor>,
    ) -> Outcome {
        let lengths = self.lengths();
        let sequence_n = sequence_of_tokens(&lengths);
        let logprobs = self.logprobs.copy().set_requires_grad(true);
        let entropy = self.entropy.as_ref().map(|entropy| entropy.copy().set_requires_grad(true));
        let picked = |tensor: &Option<Tensor>| tensor.as_ref().map(|tensor| self.pick(tensor));
        let (sampled_n, reference_n, entropy_n) =
            (picked(&self.sampled), picked(&self.reference), picked(&entropy));
        let inputs = TokenInputs {
            logprobs_n: &self.pick(&logprobs),
            old_n: &self.pick(&self.old),
            advantages_n: &self.pick(&self.advantages),
            sequences: Sequences { of_token_n: &sequence_n, count: lengths.len() as i64 },
            sampled_n: sampled_n.as_ref(),
            reference_n: reference_n.as_ref(),
            entropy_n: entropy_n.as_ref(),
            log_sum_n: None,
            keep_n,
            covariant_n,
            kl_coefficient: kl,
        };
        let of_tokens = token_loss(config, &inputs);
        let factors: Vec<f64> = lengths
            .iter()
            .flat_map(|length| std::iter::repeat_n(denominators.factor(config.aggregation, *length), *length))
            .collect();
        let loss = (of_tokens.loss_n * Tensor::from_slice(&factors)).sum(Kind::Double);
        loss.backward();
        let entropy_gradient = entropy.map(|entropy| entropy.grad()).filter(Tensor::defined);
        Outcome { loss: loss.double_value(&[]), gradient: logprobs.grad(), entropy_gradient }
    }
}

/// What the loss of one sequence may be given besides what every loss needs.
#[derive(Default)]
pub(super) struct OneSequence<'a> {
    pub(super) reference_n: Option<&'a Tensor>,
    pub(super) kl_coefficient: f64,
}

impl OneSequence<'_> {
    /// The loss of the tokens `[N]` of one sequence.
    pub(super) fn loss(
        &self,
        config: &AlgorithmConfig,
        logprobs_n: &Tensor,
        old_n: &Tensor,
        advantages_n: &Tensor,
    ) -> TokenLoss {
        let sequence_n = sequence_of_tokens(&[logprobs_n.numel()]);
        let inputs = TokenInputs {
            logprobs_n,
            old_n,
            advantages_n,
            sequences: Sequences { of_token_n: &sequence_n, count: 1 },
            sampled_n: None,
            reference_n: self.reference_n,
            entropy_n: None,
            log_sum_n: None,
            keep_n: None,
            covariant_n: None,
            kl_coefficient: self.kl_coefficient,
        };
        token_loss(config, &inputs)
    }
}

/// The policy loss of the tokens `[N]` of one sequence and nothing besides.
pub(super) fn clipped_by(
    config: &AlgorithmConfig,
    logprobs_n: &Tensor,
    old_n: &Tensor,
    advantages_n: &Tensor,
) -> Surrogate {
    OneSequence::default().loss(config, logprobs_n, old_n, advantages_n).surrogate
}

/// The same with these two bounds.
pub(super) fn clipped(
    logprobs_n: &Tensor,
    old_n: &Tensor,
    advantages_n: &Tensor,
    (clip_low, clip_high): (f64, f64),
) -> Surrogate {
    let config = AlgorithmConfig { clip_low, clip_high, ..AlgorithmConfig::default() };
    clipped_by(&config, logprobs_n, old_n, advantages_n)
}

/// Fails if loss or gradient differ by more than the absolute bounds, at magnitudes of about 1.
#[track_caller]
pub(super) fn assert_same(what: &str, ours: &Outcome, loss: f64, gradient: &Tensor, bounds: (f64, f64)) {
    let difference = (ours.loss - loss).abs();
    assert!(difference <= bounds.0, "{what}: the loss is {}, theirs {loss}", ours.loss);
    let difference = (&ours.gradient - gradient).abs().max().double_value(&[]);
    assert!(difference <= bounds.1, "{what}: the gradient differs by {difference:e}");
}
