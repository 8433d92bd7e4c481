//! The learning rate of a step: a pure function.

use super::config::{OptimizerConfig, Schedule};

/// Learning rate of step `step` (from 0) out of `total`.
///
/// Linear warm-up over `warmup_steps`, from `1 / (warmup + 1)` of the peak (so that the first update is not wasted);
/// then, with `f` the `final_share` and `p` the share of the falling steps that are over,
///
/// ```text
/// constant   1
/// linear     1 - (1 - f) p                    falling from the warm-up to the end
/// cosine     f + (1 - f) (1 + cos(pi p)) / 2  falling from the warm-up to the end
/// wsd        1 - (1 - f) p                    falling over the last `decay_steps`, 1 before
/// ```
///
/// of the peak. "Warm-up, stable, decay": Hu et al. 2024, section 4 (arXiv:2404.06395).
pub fn learning_rate(config: &OptimizerConfig, step: u64, total: u64) -> f64 {
    let warmup = config.warmup_steps as u64;
    if step < warmup {
        return config.learning_rate * (step + 1) as f64 / (warmup + 1) as f64;
    }
    let fall = match config.schedule {
        Schedule::Wsd => warmup.max(total.saturating_sub(config.decay_steps as u64)),
        Schedule::Constant | Schedule::Linear | Schedule::Cosine => warmup,
    };
    let progress = step.saturating_sub(fall) as f64 / total.saturating_sub(fall).max(1) as f64;
    let progress = progress.min(1.0);
    let above_final = match config.schedule {
        Schedule::Constant => return config.learning_rate,
        Schedule::Linear | Schedule::Wsd => 1.0 - progress,
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
    };
    config.learning_rate * (config.final_share + (1.0 - config.final_share) * above_final)
}
