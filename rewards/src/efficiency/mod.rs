//! Rewards for programs that are right and take little.

mod fuel;
mod memory;
mod orps;

pub use fuel::{Efficiency, EfficiencyConfig, Level};
pub use memory::{Memory, MemoryConfig};
pub use orps::{Orps, OrpsConfig};

/// How much better than the limit something is, relative to the reference: 1 for as much as the reference, more for less, 0 from
/// the limit on (ENAMEL, Qiu et al. 2024, arXiv 2406.06647, equation 2). `limit` is above `reference`.
fn relative(limit: f64, reference: f64, used: f64) -> f64 {
    (limit - used).max(0.0) / (limit - reference)
}

/// Why `slack` cannot be the limit in units of the reference; `None` if it can.
fn slack_problem(slack: f64) -> Option<String> {
    let holds = (1.01..=100.0).contains(&slack);
    (!holds).then(|| format!("`slack` is {slack}, wanted a number from 1.01 to 100"))
}

/// The most that `relative` can be, where nothing is used: `slack / (slack − 1)`.
fn greatest(slack: f64) -> f64 {
    slack / (slack - 1.0)
}
