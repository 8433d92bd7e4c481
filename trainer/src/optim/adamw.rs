//! AdamW: Adam with decoupled weight decay.

use super::config::OptimizerConfig;
use super::optimizer::Piece;

/// One update of a piece of a weight.
///
/// ```text
/// m <- b1 m + (1 - b1) g          v <- b2 v + (1 - b2) g^2
/// w <- w - lr decay w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)
/// ```
///
/// Loshchilov and Hutter 2019, algorithm 2 (arXiv:1711.05101), as `torch.optim.AdamW` computes it.
pub(super) fn update(piece: &mut Piece<'_>) {
    let OptimizerConfig { beta1, beta2, epsilon, .. } = *piece.config;
    let t = piece.update as f64;
    let (correction1, correction2) = (1.0 - beta1.powf(t), 1.0 - beta2.powf(t));
    let [first, second] = &mut piece.means[..] else { unreachable!("AdamW remembers two means") };
    let gradient = &piece.gradient;
    let _ = first.lerp_(gradient, 1.0 - beta1);
    let _ = second.g_mul_scalar_(beta2);
    let _ = second.addcmul_(gradient, &(gradient * (1.0 - beta2)));
    if piece.decay != 0.0 {
        let _ = piece.weight.g_mul_scalar_(1.0 - piece.decay);
    }
    let mut denominator = second.sqrt();
    let _ = denominator.g_div_scalar_(correction2.sqrt()).g_add_scalar_(epsilon);
    let _ = denominator.reciprocal_().g_mul_(first);
    let _ = piece.weight.g_add_(&denominator.g_mul_scalar_(-piece.learning_rate / correction1));
}
