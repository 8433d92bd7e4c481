//! Stochastic gradient descent with momentum.

use super::optimizer::Piece;

/// One update of a piece of a weight.
///
/// ```text
/// m <- momentum m + g
/// w <- w - lr decay w - lr m
/// ```
///
/// `torch.optim.SGD` without dampening and Nesterov; the decay is decoupled (Loshchilov and Hutter 2019, algorithm 1;
/// arXiv:1711.05101), where PyTorch adds it to the gradient before the momentum.
pub(super) fn update(piece: &mut Piece<'_>) {
    let [momentum] = &mut piece.means[..] else { unreachable!("SGD remembers one mean") };
    let _ = momentum.g_mul_scalar_(piece.config.momentum).g_add_(&piece.gradient);
    if piece.decay != 0.0 {
        let _ = piece.weight.g_mul_scalar_(1.0 - piece.decay);
    }
    let _ = piece.weight.g_add_(&(&*momentum * -piece.learning_rate));
}
