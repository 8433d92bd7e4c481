//! A bonus for uncertain tokens that cannot turn a bad attempt into a good one.

use tch::Tensor;

/// The advantages with a bonus for entropy that is at most a share of what they are themselves, `[N]`:
///
/// ```text
/// A' = A + min(coefficient H, |A| / limit)
/// ```
///
/// "Exploring superior function calls via reinforcement learning" (EGPO), with the formula of Cheng et al. 2025
/// (arXiv:2506.14758): with `limit` above 1 the sign of `A'` is that of `A`, and an advantage of 0 stays 0. `entropy_n` is
/// in nats; no gradient goes through the bonus.
pub fn entropy_shaped(advantages_n: &Tensor, entropy_n: &Tensor, coefficient: f64, limit: f64) -> Tensor {
    let most_n = advantages_n.abs() / limit;
    advantages_n + (entropy_n.detach() * coefficient).minimum(&most_n)
}
