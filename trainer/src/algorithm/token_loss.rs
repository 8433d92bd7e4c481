//! Everything that one token contributes to the loss, put together in one order.
//!
//! ```text
//! loss_t = policy_loss_t * keep_t * on_policy_enough_t * correction_t + beta_kl KL_t - beta_entropy H_t + beta_z (log Z_t)^2
//! ```
//!
//! with `Z_t` the denominator of the softmax that the token was drawn from; the last term is PaLM's z-loss (Chowdhery et al. 2022,
//! arXiv:2204.02311, section 5).
//!
//! As in TRL, the masks and the correction weigh the policy loss alone, and VESPO, whose weight has the correction in it,
//! is not corrected again. Unlike TRL, the entropy bonus is averaged as the loss is (verl does so too), where TRL always
//! takes the token mean of the micro-batch.

use tch::Tensor;

use super::advantage::entropy_shaped;
use super::correction::{Correction, correction};
use super::kl::kl_loss;
use super::policy_loss::{PolicyInputs, Surrogate, policy_loss, ratio};
use super::sequence::Sequences;
use super::token_mask::on_policy_enough;
use super::{AlgorithmConfig, KlPlace, PolicyLoss};

/// The tokens of some whole sequences: every tensor is `[N]`, f32 or f64, nats.
#[derive(Clone, Copy)]
pub struct TokenInputs<'a> {
    /// Logprobs of the policy that learns; they carry the gradient.
    pub logprobs_n: &'a Tensor,
    /// Logprobs that the ratio compares with: the trainer's own, of the policy at the start of the rollout, or the rollout
    /// engine's, if the trainer does not compute its own.
    pub old_n: &'a Tensor,
    /// Advantages.
    pub advantages_n: &'a Tensor,
    /// Which tokens belong together.
    pub sequences: Sequences<'a>,
    /// Logprobs recorded by the rollout engine, if they are not `old_n`. Without them nothing is corrected.
    pub sampled_n: Option<&'a Tensor>,
    /// Logprobs of the reference. Without them there is no KL.
    pub reference_n: Option<&'a Tensor>,
    /// Entropy of the next-token distribution; it carries a gradient if there is a bonus.
    pub entropy_n: Option<&'a Tensor>,
    /// Logarithm of the softmax's denominator; it carries a gradient if there is a z-loss.
    pub log_sum_n: Option<&'a Tensor>,
    /// Bool: tokens that the policy loss keeps, such as those of [`top_entropy`](super::top_entropy). The others stay in
    /// their sequence's ratio and in the denominators.
    pub keep_n: Option<&'a Tensor>,
    /// Bool marks of [`top_covariance`](super::top_covariance).
    pub covariant_n: Option<&'a Tensor>,
    /// The coefficient of the KL term: the recipe's, or what an adaptive one has become.
    pub kl_coefficient: f64,
}

/// What [`token_loss`] returns, per token.
pub struct TokenLoss {
    /// The whole loss `[N]`, to be minimised; times its factor of the aggregation and summed, that of the step.
    pub loss_n: Tensor,
    /// The policy loss alone and its diagnostics.
    pub surrogate: Surrogate,
    /// The KL term before its coefficient, without gradient.
    pub kl_n: Option<Tensor>,
    /// What the rollout-to-trainer correction did.
    pub correction: Option<Correction>,
}

/// The loss of each token.
///
/// There are no padded slots among the inputs: packing takes the trained tokens out of whatever they lay in, so that what
/// lies beside them, NaN included, reaches neither loss nor gradient. A trained token that is not a number does, and the
/// update is then skipped and counted.
pub fn token_loss(config: &AlgorithmConfig, inputs: &TokenInputs<'_>) -> TokenLoss {
    let advantages_n = match inputs.entropy_n {
        Some(entropy_n) if config.entropy_shaping > 0.0 => entropy_shaped(
            inputs.advantages_n,
            entropy_n,
            config.entropy_shaping,
            config.entropy_shaping_limit,
        ),
        _ => inputs.advantages_n.shallow_clone(),
    };
    let policy = PolicyInputs {
        logprobs_n: inputs.logprobs_n,
        old_n: inputs.old_n,
        advantages_n: &advantages_n,
        sequences: inputs.sequences,
        covariant_n: inputs.covariant_n,
        sampled_n: inputs.sampled_n,
    };
    let surrogate = policy_loss(config, &policy);
    let correction =
        inputs.sampled_n.and_then(|sampled_n| correction(config, inputs.old_n, sampled_n, inputs.sequences));
    let weight_n = correction.as_ref().map(|correction| &correction.weight_n);
    let kept_n = kept(config, inputs, &advantages_n, &surrogate.loss_n);
    let policy_n = match weight_n {
        Some(weight_n) if config.policy_loss != PolicyLoss::Vespo => kept_n * weight_n,
        _ => kept_n,
    };
    let kl_n = match (inputs.reference_n, config.kl_place) {
        (Some(reference_n), KlPlace::Loss) => {
            let ratio_n = config.kl_importance.then(|| ratio(config, &policy));
            Some(kl_loss(config, inputs.logprobs_n, reference_n, ratio_n.as_ref()))
        }
        _ => None,
    };
    let held_n = match &kl_n {
        Some(kl_n) => policy_n + kl_n * inputs.kl_coefficient,
        None => policy_n,
    };
    let trying_n = match inputs.entropy_n {
        Some(entropy_n) if config.trains_entropy() => held_n - entropy_n * config.entropy_coefficient,
        _ => held_n,
    };
    let loss_n = match inputs.log_sum_n {
        Some(log_sum_n) if config.trains_log_sum() => {
            trying_n + log_sum_n.square() * config.z_loss_coefficient
        }
        _ => trying_n,
    };
    TokenLoss { loss_n, surrogate, kl_n: kl_n.map(|kl_n| kl_n.detach()), correction }
}

/// The policy loss with 0 at the tokens that a mask leaves out.
fn kept(
    config: &AlgorithmConfig,
    inputs: &TokenInputs<'_>,
    advantages_n: &Tensor,
    loss_n: &Tensor,
) -> Tensor {
    let kept_n = match inputs.keep_n {
        Some(keep_n) => loss_n.masked_fill(&keep_n.logical_not(), 0.0),
        None => loss_n.shallow_clone(),
    };
    let Some(threshold) = config.off_policy_threshold else { return kept_n };
    let sampled_n = inputs.sampled_n.unwrap_or(inputs.old_n);
    let enough = on_policy_enough(inputs.logprobs_n, sampled_n, advantages_n, inputs.sequences, threshold);
    kept_n.masked_fill(&enough.logical_not(), 0.0)
}
