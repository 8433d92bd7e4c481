//! The learning rate of a step: a pure function.

use super::config::{OptimizerConfig, Schedule};

/// Learning rate of update `update` (from 0) out of `total`.
///
/// Linear warm-up over `warmup_steps` updates, from `1 / (warmup + 1)` of the peak (so that the first update is not
/// wasted), then constant, or down to 0 at `total`, linearly or along half a cosine.
pub fn learning_rate(config: &OptimizerConfig, update: u64, total: u64) -> f64 {
    let warmup = config.warmup_steps as u64;
    if update < warmup {
        return config.learning_rate * (update + 1) as f64 / (warmup + 1) as f64;
    }
    let progress = (update - warmup) as f64 / total.saturating_sub(warmup).max(1) as f64;
    let progress = progress.min(1.0);
    let factor = match config.schedule {
        Schedule::Constant => 1.0,
        Schedule::Linear => 1.0 - progress,
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
    };
    config.learning_rate * factor
}
