//! What optimizer steps did, for the metrics.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::algorithm::{TokenLoss, ValueLoss};

/// What the optimizer steps of one rollout did. Means and shares are over the trained tokens; what is said of gradients is
/// the mean over the steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateReport {
    /// Optimizer steps, skipped ones included.
    pub updates: usize,
    /// Optimizer steps that were skipped because a gradient was not finite.
    pub skipped: usize,
    /// Loss of a step over its global denominator, the critic's left out; mean over the steps.
    pub loss: f64,
    /// L2 norm of the policy's gradient before clipping.
    pub gradient_norm: f64,
    /// Tokens that a gradient was computed for.
    pub trained_tokens: usize,
    /// Tokens that went through the network, prompts included, packed.
    pub computed_tokens: usize,
    /// Sums and extremes over the trained tokens.
    pub tokens: TokenReport,
    /// What the critic did, if there is one.
    pub critic: Option<CriticReport>,
    /// Cross entropy of reference solutions, in nats a token, times its coefficient, where it counts; mean over the steps.
    pub supervised: Option<f64>,
}

/// Means over the trained tokens of all optimizer steps, and extremes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenReport {
    /// The policy loss of a token before aggregation.
    pub policy_loss: f64,
    /// Entropy of the next-token distribution, in nats.
    pub entropy: f64,
    /// Share of tokens that the lower bound acted on.
    pub clip_low: f64,
    /// Share of tokens that the upper bound acted on.
    pub clip_high: f64,
    /// Importance ratio.
    pub ratio_mean: f64,
    /// Smallest importance ratio.
    pub ratio_min: f64,
    /// Largest importance ratio.
    pub ratio_max: f64,
    /// Divergence from the reference, in nats, where it is part of the loss.
    pub kl: f64,
    /// Weight of the rollout-to-trainer correction; 1 without one.
    pub correction_mean: f64,
    /// Largest weight of the correction.
    pub correction_max: f64,
    /// Share of tokens whose correction a bound changed.
    pub correction_bounded: f64,
    /// Mean of `|x|`, with `x` the update's logprob less the one recorded at sampling, in nats. In the first update after
    /// a rollout this is what rollout and trainer compute differently; later the policy has moved as well.
    pub drift: f64,
    /// Largest `|x|`.
    pub drift_max: f64,
    /// Mean of `-x`: an estimate of the divergence of the rollout's policy from the trainer's (k1).
    pub drift_k1: f64,
    /// Mean of `exp(x) - x - 1`: another one, never negative (k3).
    pub drift_k3: f64,
}

/// What the critic's optimizer steps did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CriticReport {
    /// Mean value loss of a token.
    pub loss: f64,
    /// Share of tokens whose value loss the clip acted on.
    pub clipped: f64,
    /// L2 norm of the gradient of the critic's own weights before clipping; mean over the steps.
    pub gradient_norm: f64,
}

/// Largest difference of logprobs that is exponentiated, in nats.
const MAX_DRIFT: f64 = 20.0;

impl UpdateReport {
    /// What processes did that computed the gradient of one step together, each that of its share.
    pub fn of_shares(shares: &[UpdateReport]) -> UpdateReport {
        let losses = || shares.iter().filter_map(|share| share.supervised);
        UpdateReport {
            // Both have the denominators of the whole step.
            loss: shares.iter().map(|share| share.loss).sum(),
            supervised: losses().next().map(|_| losses().sum()),
            ..UpdateReport::together(shares)
        }
    }

    /// The steps of one rollout as one: tokens weigh means over tokens, steps weigh means over steps.
    pub fn together(updates: &[UpdateReport]) -> UpdateReport {
        let tokens: usize = updates.iter().map(|update| update.trained_tokens).sum();
        let steps = updates.iter().filter(|update| update.updates > 0).count().max(1) as f64;
        let over_steps = |of: &dyn Fn(&UpdateReport) -> f64| updates.iter().map(of).sum::<f64>() / steps;
        let over_tokens = |of: &dyn Fn(&UpdateReport) -> f64| {
            let weighted = updates.iter().map(|update| of(update) * update.trained_tokens as f64);
            weighted.sum::<f64>() / tokens.max(1) as f64
        };
        let trained =
            || updates.iter().filter(|update| update.trained_tokens > 0).map(|update| &update.tokens);
        let most = |of: fn(&TokenReport) -> f64| trained().map(of).fold(0.0, f64::max);
        UpdateReport {
            updates: updates.iter().map(|update| update.updates).sum(),
            skipped: updates.iter().map(|update| update.skipped).sum(),
            loss: over_steps(&|update| update.loss),
            gradient_norm: over_steps(&|update| update.gradient_norm),
            trained_tokens: tokens,
            computed_tokens: updates.iter().map(|update| update.computed_tokens).sum(),
            tokens: TokenReport {
                policy_loss: over_tokens(&|update| update.tokens.policy_loss),
                entropy: over_tokens(&|update| update.tokens.entropy),
                clip_low: over_tokens(&|update| update.tokens.clip_low),
                clip_high: over_tokens(&|update| update.tokens.clip_high),
                ratio_mean: over_tokens(&|update| update.tokens.ratio_mean),
                ratio_min: trained().map(|tokens| tokens.ratio_min).reduce(f64::min).unwrap_or(0.0),
                ratio_max: most(|tokens| tokens.ratio_max),
                kl: over_tokens(&|update| update.tokens.kl),
                correction_mean: over_tokens(&|update| update.tokens.correction_mean),
                correction_max: most(|tokens| tokens.correction_max),
                correction_bounded: over_tokens(&|update| update.tokens.correction_bounded),
                drift: over_tokens(&|update| update.tokens.drift),
                drift_max: most(|tokens| tokens.drift_max),
                drift_k1: over_tokens(&|update| update.tokens.drift_k1),
                drift_k3: over_tokens(&|update| update.tokens.drift_k3),
            },
            supervised: updates.iter().any(|update| update.supervised.is_some()).then(|| {
                let steps: Vec<f64> = updates.iter().filter_map(|update| update.supervised).collect();
                steps.iter().sum::<f64>() / steps.len() as f64
            }),
            critic: updates.iter().any(|update| update.critic.is_some()).then(|| CriticReport {
                loss: over_tokens(&|update| update.critic.as_ref().map_or(0.0, |critic| critic.loss)),
                clipped: over_tokens(&|update| update.critic.as_ref().map_or(0.0, |critic| critic.clipped)),
                gradient_norm: over_steps(&|update| {
                    update.critic.as_ref().map_or(0.0, |critic| critic.gradient_norm)
                }),
            }),
        }
    }
}

/// Number of sums in [`Sums`].
const SUMS: usize = 13;

/// Adds up what a report is made of, pack by pack.
#[derive(Default)]
pub(super) struct Sums {
    loss: f64,
    tokens: f64,
    /// In the order of [`Sums::add`].
    sums: [f64; SUMS],
    least_ratio: Option<f64>,
    most: [f64; 3],
}

impl Sums {
    /// Adds a pack: the loss that went backward, what it was made of, the entropy of each token, and the difference between
    /// its logprob and the one recorded at sampling.
    pub(super) fn add(&mut self, loss: &Tensor, parts: &TokenLoss, entropy_n: &Tensor, drift_n: &Tensor) {
        let _no_gradient = tch::no_grad_guard();
        let zero_n = entropy_n.zeros_like();
        let (weight_n, bounded_n) =
            parts.correction.as_ref().map_or((zero_n.ones_like(), zero_n.shallow_clone()), |correction| {
                (correction.weight_n.shallow_clone(), correction.bounded_n.shallow_clone())
            });
        let surrogate = &parts.surrogate;
        let (distance_n, opposite_n) = (drift_n.abs(), -drift_n);
        let k3_n = drift_n.clamp(-MAX_DRIFT, MAX_DRIFT).exp() - drift_n - 1.0;
        let columns = [
            &surrogate.loss_n,
            entropy_n,
            &surrogate.clipped_low_n,
            &surrogate.clipped_high_n,
            &surrogate.ratio_n,
            parts.kl_n.as_ref().unwrap_or(&zero_n),
            &weight_n,
            &bounded_n,
            &distance_n,
            &opposite_n,
            &k3_n,
        ];
        let mut totals = vec![loss.detach()];
        totals.extend(columns.iter().map(|column_n| column_n.sum(Kind::Float)));
        totals.extend([surrogate.ratio_n.min(), surrogate.ratio_n.max(), weight_n.max(), distance_n.max()]);
        // One transfer for the whole pack.
        let totals = Vec::<f32>::try_from(Tensor::stack(&totals, 0)).expect("totals are a vector of f32");
        let mut totals = totals.into_iter().map(f64::from);
        let mut next = || totals.next().expect("as many totals as were stacked");
        self.loss += next();
        for sum in &mut self.sums[..columns.len()] {
            *sum += next();
        }
        let least = next();
        self.least_ratio = Some(self.least_ratio.map_or(least, |known| known.min(least)));
        for most in &mut self.most {
            *most = most.max(next());
        }
        self.tokens += entropy_n.numel() as f64;
    }

    /// Adds the value loss of a pack.
    pub(super) fn add_values(&mut self, parts: &ValueLoss) {
        let totals = [parts.loss_n.detach().sum(Kind::Float), parts.clipped_n.sum(Kind::Float)];
        let totals = Vec::<f32>::try_from(Tensor::stack(&totals, 0)).expect("totals are a vector of f32");
        for (sum, total) in self.sums[SUMS - 2..].iter_mut().zip(totals) {
            *sum += f64::from(total);
        }
    }

    /// The step's loss.
    pub(super) fn loss(&self) -> f64 {
        self.loss
    }

    /// Means over the tokens added so far.
    pub(super) fn tokens(&self) -> TokenReport {
        let mean = |index: usize| self.sums[index] / self.tokens.max(1.0);
        TokenReport {
            policy_loss: mean(0),
            entropy: mean(1),
            clip_low: mean(2),
            clip_high: mean(3),
            ratio_mean: mean(4),
            ratio_min: self.least_ratio.unwrap_or(0.0),
            ratio_max: self.most[0],
            kl: mean(5),
            correction_mean: mean(6),
            correction_bounded: mean(7),
            correction_max: self.most[1],
            drift: mean(8),
            drift_k1: mean(9),
            drift_k3: mean(10),
            drift_max: self.most[2],
        }
    }

    /// `(mean value loss, share clipped)` over `tokens` tokens.
    pub(super) fn values(&self, tokens: usize) -> (f64, f64) {
        let tokens = tokens.max(1) as f64;
        (self.sums[SUMS - 2] / tokens, self.sums[SUMS - 1] / tokens)
    }
}
