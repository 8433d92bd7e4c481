//! The algorithm: rewards to advantages, advantages to a loss.
//!
//! Pure functions; what they are applied to, and in which order, is in `optim` and in `train.rs`. An algorithm is a choice
//! of each of these, all of them keys of the recipe:
//!
//! ```text
//! advantage       rewards -> advantages, once per rollout                        advantage/
//! ratio           what the policy is compared with its older self by             policy_loss/mod.rs
//! policy_loss     advantages and ratios -> a loss for each token                 policy_loss/
//! masks           tokens that are left out                                       token_mask.rs
//! correction      weights for what rollout and trainer compute differently       correction.rs
//! kl              divergence from a reference, in the loss or in the reward      kl.rs
//! aggregation     losses of tokens -> the loss of the step                       aggregation.rs
//! critic          values, for `gae`                                              value_loss.rs
//! ```
//!
//! Published algorithms are named choices: `preset.rs`.

mod advantage;
mod aggregation;
mod batches;
mod choice;
mod config;
mod correction;
pub mod dueling;
mod kl;
mod needs;
mod overlong;
mod policy_loss;
mod preset;
mod reads;
mod sequence;
mod token_loss;
mod token_mask;
mod value_loss;

pub use advantage::{
    Outcomes, TokenOutcomes, ValueTargets, advantages, centre_and_scale, entropy_shaped, gae, has_signal,
    penalised, token_advantages,
};
pub use aggregation::Denominators;
pub use batches::{Refill, mini_batches};
pub use choice::{
    AdvantageEstimator, Aggregation, CorrectionKind, KlControl, KlEstimator, KlPlace, PolicyLoss,
    PreferencePairs, RatioLevel, ReferenceKind, Scale,
};
pub use config::AlgorithmConfig;
pub use correction::{Correction, correction};
pub use kl::{ReferenceUpdate, kl, kl_with_gradient_of};
pub use policy_loss::{Surrogate, weighted_nll};
pub use preset::Preset;
pub use sequence::{Sequences, sequence_of_tokens};
pub use token_loss::{TokenInputs, TokenLoss, token_loss};
pub use token_mask::{top_covariance, top_entropy};
pub use value_loss::{ValueLoss, explained_variance, value_loss};
