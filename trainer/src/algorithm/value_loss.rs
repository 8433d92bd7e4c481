//! The critic's loss, and how good a critic is.

use tch::{Kind, Tensor};

use super::AlgorithmConfig;
use super::sequence::as_number;

/// What [`value_loss`] returns, per token.
pub struct ValueLoss {
    /// The loss `[N]`, to be minimised, before any averaging.
    pub loss_n: Tensor,
    /// 1.0 where the clipped value is the worse one and cuts the gradient off.
    pub clipped_n: Tensor,
}

/// The squared error of each value, clipped around the value that the rollout's critic gave.
///
/// ```text
/// L = max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2) / 2
/// ```
///
/// The clipped value function of PPO's code (Engstrom et al. 2020, section 3; arXiv:2005.12729), as TRL, verl and
/// OpenRLHF have it, with the recipe's `value_clip`; without one it is the plain squared error. All inputs are `[N]`, in
/// units of reward; `values_n` carries the gradient. The average over tokens is that of the policy loss.
pub fn value_loss(
    config: &AlgorithmConfig,
    values_n: &Tensor,
    old_n: &Tensor,
    returns_n: &Tensor,
) -> ValueLoss {
    let free_n = (values_n - returns_n).square();
    let Some(clip) = config.value_clip else {
        return ValueLoss { clipped_n: free_n.zeros_like().detach(), loss_n: free_n * 0.5 };
    };
    let near_n = values_n.minimum(&(old_n + clip)).maximum(&(old_n - clip));
    let clipped_n = (near_n - returns_n).square();
    ValueLoss {
        clipped_n: as_number(&clipped_n.gt_tensor(&free_n), values_n),
        loss_n: free_n.maximum(&clipped_n) * 0.5,
    }
}

/// `1 - Var(returns - values) / Var(returns)`: 1 for a perfect critic, 0 for one that knows the mean and no more, below 0
/// for one that is worse than that. `None` if the returns do not vary.
pub fn explained_variance(values_n: &Tensor, returns_n: &Tensor) -> Option<f64> {
    let variance =
        |x_n: &Tensor| (x_n - x_n.mean(Kind::Double)).square().mean(Kind::Double).double_value(&[]);
    let (values_n, returns_n) = (values_n.to_kind(Kind::Double), returns_n.to_kind(Kind::Double));
    let total = variance(&returns_n);
    (total > 0.0).then(|| 1.0 - variance(&(&returns_n - values_n)) / total)
}
