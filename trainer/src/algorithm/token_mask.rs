//! Which tokens of a step are trained on, out of those that could be.
//!
//! A mask multiplies the policy loss, not the KL term, and leaves the denominators of the aggregation as they are: a token
//! that is masked out counts with loss 0.

use tch::{Kind, Tensor};

use super::sequence::Sequences;

/// True for the tokens whose entropy is among the `share` largest of the step: `[N]`, Bool.
///
/// "Beyond the 80/20 rule", Wang et al. 2025 (arXiv:2506.01939): the tokens at which a text forks carry the
/// learning. The threshold is the `1 - share` quantile of `entropy_n`, interpolated linearly, and tokens on it are in.
/// The quantile is that of the whole step: call this once per optimizer step, not per micro-batch. `share` is above 0, at
/// most 1. No token, no mask: an empty tensor gives an empty one.
pub fn top_entropy(entropy_n: &Tensor, share: f64) -> Tensor {
    let count = entropy_n.size()[0];
    if count == 0 || share >= 1.0 {
        return entropy_n.ones_like().to_kind(Kind::Bool);
    }
    let (sorted_n, _) = entropy_n.detach().sort(0, false);
    let place = (1.0 - share) * (count - 1) as f64;
    let below = place.floor() as i64;
    let (low, high) = (sorted_n.get(below), sorted_n.get((below + 1).min(count - 1)));
    let threshold = &low + (high - &low) * (place - place.floor());
    entropy_n.detach().ge_tensor(&threshold)
}

/// True for the tokens of the `share` largest covariances between logprob and advantage: `[N]`, Bool, at least one.
///
/// ```text
/// covariance_t = (logp_t - mean logp) (A_t - mean A)
/// ```
///
/// KL-Cov, Cui et al. 2025 (arXiv:2505.22617): a few tokens, likely already and rewarded again, make the
/// entropy collapse. Means and ranks are of the whole step: call this once per optimizer step. `logprobs_n` are those of
/// the policy that the step starts with. Tokens that tie with the last one are all marked, so that the marks do not
/// depend on the order of rows; verl marks a batch's, and breaks ties by place.
pub fn top_covariance(advantages_n: &Tensor, logprobs_n: &Tensor, share: f64) -> Tensor {
    let count = logprobs_n.size()[0];
    if count == 0 {
        return logprobs_n.ones_like().to_kind(Kind::Bool);
    }
    let kind = logprobs_n.kind();
    let centred = |value_n: &Tensor| value_n.detach() - value_n.detach().mean(kind);
    let covariance_n = centred(advantages_n) * centred(logprobs_n);
    let marked = ((count as f64 * share) as i64).max(1);
    let (largest, _) = covariance_n.topk(marked, 0, true, true);
    covariance_n.ge_tensor(&largest.get(marked - 1))
}

/// True for the tokens of sequences that the policy may still learn from: `[N]`, Bool.
///
/// ```text
/// keep if A >= 0 or mean over the sequence of (logp_sampled - logp) <= threshold
/// ```
///
/// Off-policy sequence masking of DeepSeek-V3.2 (arXiv:2512.02556, eq. 9): a bad attempt that the policy would no
/// longer make has nothing more to teach. `advantages_n` and the result are per token, the mean per sequence, in nats.
pub(super) fn on_policy_enough(
    logprobs_n: &Tensor,
    sampled_n: &Tensor,
    advantages_n: &Tensor,
    sequences: Sequences<'_>,
    threshold: f64,
) -> Tensor {
    let drift_n = sequences.mean_n(&(sampled_n.detach() - logprobs_n.detach()));
    advantages_n.ge(0.0).logical_or(&drift_n.le(threshold))
}
