//! Rewards to advantages: how much better an attempt did than could be expected.
//!
//! Pure functions on numbers, in f64, once per rollout. An estimator that gives one advantage to a whole attempt is a
//! function of its group ([`advantages`]); one that tells tokens apart, or whitens over all tokens of a step, is a function
//! of the step ([`token_advantages`]). An attempt whose execution failed for reasons of the infrastructure has no reward
//! (`None`), takes part in no statistic and gets advantage 0.

mod baseline;
mod conservative;
mod entropy;
mod gae;
mod group;
mod preference;
mod rejection;
mod several_rewards;
mod token_baseline;
mod whitening;

pub use entropy::entropy_shaped;
pub use gae::{ValueTargets, gae};
pub use group::has_signal;
pub use whitening::centre_and_scale;

use super::{AdvantageEstimator, AlgorithmConfig, PreferencePairs, Scale};

/// One rollout's results, group by group. Every list has one entry per group, and of each group one per attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcomes<'a> {
    /// Total reward of each attempt; `None` if the infrastructure failed.
    pub rewards: &'a [Vec<Option<f64>>],
    /// Trained tokens of each attempt. Needed by `opo`.
    pub lengths: &'a [Vec<usize>],
    /// The parts of each attempt's reward before their weights, in one order for all attempts; `None` where a part does
    /// not apply. Needed by `gdpo`.
    pub parts: &'a [Vec<Vec<Option<f64>>>],
    /// The weight of each part.
    pub part_weights: &'a [f64],
    /// The reward of the greedy attempt at each group's task. Needed by `remax`.
    pub greedy: &'a [Option<f64>],
    /// The sum over each attempt's tokens of `logp_old - logp_reference`, in nats; anything for one without a reward.
    /// Needed by `online-dpo`.
    pub log_ratios: &'a [Vec<f64>],
}

impl<'a> Outcomes<'a> {
    /// Rewards and nothing else: enough for most estimators.
    pub fn of(rewards: &'a [Vec<Option<f64>>]) -> Self {
        Self { rewards, ..Self::default() }
    }
}

/// The advantage of every attempt, group by group, in the order of its rewards.
///
/// With `r` the rewards of a group that exist, `n` their number, `m` their mean and `s` their sample standard deviation
/// (`n - 1` in the denominator, as TRL and verl), and `e` the recipe's `scale_epsilon`:
///
/// ```text
/// grpo       A_i = (r_i - m) / (s + e)       Shao et al. 2024, section 4.1 (arXiv:2402.03300)
/// dr-grpo    A_i = r_i - m                   Liu et al. 2025, section 3 (arXiv:2503.20783)
/// rloo       A_i = r_i - mean of the others  Ahmadian et al. 2024, eq. 8 (arXiv:2402.14740)
///                = (r_i - m) n / (n - 1)
/// remax      A_i = r_i - r_greedy            Li et al. 2023 (arXiv:2310.10505)
/// opo        A_i = r_i - sum(l r) / sum(l)   Hao et al. 2025 (arXiv:2505.23585); l the lengths
/// gpg        A_i = a (r_i - m)               Chu et al. 2025 (arXiv:2504.02546); see below
/// max-rl     A_i = (r_i - m) / m, 0 if m <= 0     Tajwar et al. 2026 (arXiv:2602.02710)
/// pass-at-k  A_i = (r_1 - r_2) / (s + e) of the best attempt, else 0; r_1 and r_2 the two largest rewards
/// online-dpo A_i = +w of the best, -w of the worst, else 0; w by how far both are from the reference. With tiers, see `preference.rs`
/// rejection  A_i = 1 if r_i >= accept_from, at most `accept_most` of a group, else 0     expert iteration; see below
/// gdpo       each part of the reward by grpo, their weighted sum, centred and scaled over the step
/// ```
///
/// `scale = "batch"` puts the deviation of all rewards of the step in the place of `s` ("Lite PPO", Liu et al. 2025;
/// arXiv:2508.08221), `scale = "none"` the number 1 in the place of `s + e`. `a` of GPG is the number of attempts over
/// that of attempts in groups with a signal, which makes up for groups that teach nothing; verl (commit b178a3cd) takes
/// the number of rewards other than 0 instead, so that there shifting all rewards changes `a`.
///
/// `rejection` has no baseline: attempts of advantage 1 are imitated, the others are left out of the loss and of its
/// denominators, so that with `policy_loss = "reinforce"` the loss is the cross entropy of the accepted attempts, as in RFT
/// (Yuan et al. 2023, arXiv:2308.01825), ReST-EM (Singh et al. 2023, arXiv:2312.06585) and, with the best of each group, RAFT
/// (Dong et al. 2023, arXiv:2304.06767). They collect attempts over the whole task set and then train for some epochs, ReST-EM
/// from the first weights again; here each step learns from its own.
///
/// The estimators of tokens, `gae`, `reinforce-plus-plus` and `optimal-token-baseline`, have the reward itself here, and
/// `reinforce-plus-plus-baseline` has `r_i - m`: [`token_advantages`] goes on from there.
///
/// A group whose rewards are all equal gets exactly 0 everywhere, whatever rounding does to its mean; so does a group
/// with fewer than two rewards, which has nobody to compare with. (verl gives such a loner its raw reward.) `remax`, `rejection`
/// and the first three estimators of tokens do not compare within the group, so there neither holds.
///
/// # Panics
///
/// If a list that the estimator needs is missing or of another shape, which is a bug.
pub fn advantages(config: &AlgorithmConfig, outcomes: &Outcomes<'_>) -> Vec<Vec<f64>> {
    let each = |of_group: &dyn Fn(&[Option<f64>]) -> Vec<f64>| -> Vec<Vec<f64>> {
        outcomes.rewards.iter().map(|rewards| of_group(rewards)).collect()
    };
    let deviation = Deviation::of(config, outcomes.rewards);
    match config.advantage {
        AdvantageEstimator::Grpo => {
            each(&|rewards| group::centred(rewards, |_| 1.0 / deviation.divisor(rewards)))
        }
        AdvantageEstimator::DrGrpo | AdvantageEstimator::ReinforcePlusPlusBaseline => {
            each(&|rewards| group::centred(rewards, |_| 1.0))
        }
        AdvantageEstimator::Rloo => {
            each(&|rewards| group::centred(rewards, |known| known.n / (known.n - 1.0)))
        }
        AdvantageEstimator::MaxRl => each(&group::max_rl),
        AdvantageEstimator::PassAtK => each(&|rewards| group::pass_at_k(rewards, deviation.divisor(rewards))),
        AdvantageEstimator::Gpg => {
            let scale = baseline::gpg_scale(outcomes.rewards);
            each(&|rewards| group::centred(rewards, |_| scale))
        }
        AdvantageEstimator::Opo => baseline::opo(outcomes.rewards, outcomes.lengths),
        AdvantageEstimator::Remax => baseline::remax(outcomes.rewards, outcomes.greedy),
        AdvantageEstimator::Gdpo => {
            several_rewards::gdpo(outcomes.parts, outcomes.part_weights, config.scale_epsilon)
        }
        AdvantageEstimator::OnlineDpo => {
            let tier_width = (config.preference_pairs == PreferencePairs::Tiers).then_some(config.tier_width);
            preference::online_dpo(outcomes.rewards, outcomes.log_ratios, config.preference_beta, tier_width)
        }
        AdvantageEstimator::Rejection => {
            each(&|rewards| rejection::rejection(rewards, config.accept_from, config.accept_most))
        }
        AdvantageEstimator::Gae
        | AdvantageEstimator::Conservative
        | AdvantageEstimator::ReinforcePlusPlus
        | AdvantageEstimator::OptimalTokenBaseline => {
            each(&|rewards| rewards.iter().map(|reward| reward.unwrap_or(0.0)).collect())
        }
    }
}

/// What rewards are divided by after they were centred.
struct Deviation {
    scale: Scale,
    epsilon: f64,
    batch: f64,
}

impl Deviation {
    fn of(config: &AlgorithmConfig, rewards: &[Vec<Option<f64>>]) -> Self {
        let every: Vec<f64> = rewards.iter().flatten().flatten().copied().collect();
        Self { scale: config.scale, epsilon: config.scale_epsilon, batch: group::deviation(&every) }
    }

    fn divisor(&self, rewards: &[Option<f64>]) -> f64 {
        match self.scale {
            Scale::Group => {
                let known: Vec<f64> = rewards.iter().flatten().copied().collect();
                group::deviation(&known) + self.epsilon
            }
            Scale::Batch => self.batch + self.epsilon,
            Scale::None => 1.0,
        }
    }
}

/// The attempts of a step that have a reward, one after the other; every list of numbers has one per trained token.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenOutcomes<'a> {
    /// What [`advantages`] gave each attempt.
    pub sequence: &'a [f64],
    /// Trained tokens of each attempt. Tokens of an environment are not among them, so that they are no states.
    pub lengths: &'a [usize],
    /// The group of each attempt, ascending. Needed by `optimal-token-baseline`.
    pub groups: &'a [usize],
    /// What each token costs, such as its KL times the coefficient, in units of reward. Empty: nothing.
    pub penalty: &'a [f64],
    /// The critic's value before each token. Needed by `gae` and `conservative`.
    pub values: &'a [f64],
    /// How far each token is below the likeliest one, in nats, 0 or less. Needed by `conservative`.
    pub gaps: &'a [f64],
    /// How far the first policy's likeliest token is below the policy's, in the same place. Needed by `conservative`.
    pub fixed_gaps: &'a [f64],
    /// How much each token moves the weights: what `optimal-token-baseline` weighs by.
    pub energy: &'a [f64],
}

/// The advantage of every trained token, and the returns that a critic is trained towards (empty for the others).
///
/// ```text
/// gae                           GAE(discount, gae_lambda), whitened        Schulman et al. 2015 (arXiv:1506.02438)
/// conservative                  see `conservative.rs`                      Yu et al. 2024 (arXiv:2310.03173)
/// reinforce-plus-plus           return to go, whitened                     Hu 2025 (arXiv:2501.03262)
/// reinforce-plus-plus-baseline  the same of rewards less the group's mean
/// optimal-token-baseline        return to go less the baseline of least variance at the same place
/// every other                   the attempt's advantage, at each of its tokens
/// ```
///
/// The reward of an attempt lies on its last token, the penalty on each; for the others a penalty belongs into the
/// attempt's reward, before it is compared ([`penalised`]). Whitening is over all tokens of the step: mean 0, sample
/// variance 1.
pub fn token_advantages(config: &AlgorithmConfig, outcomes: &TokenOutcomes<'_>) -> ValueTargets {
    let to_go = || {
        let rewards = gae::token_rewards(outcomes.sequence, outcomes.penalty, outcomes.lengths);
        gae::returns_to_go(&rewards, outcomes.lengths, config.discount)
    };
    match config.advantage {
        AdvantageEstimator::Gae => {
            let rewards = gae::token_rewards(outcomes.sequence, outcomes.penalty, outcomes.lengths);
            let targets =
                gae(&rewards, outcomes.values, outcomes.lengths, config.discount, config.gae_lambda);
            ValueTargets { advantages: centre_and_scale(&targets.advantages), returns: targets.returns }
        }
        AdvantageEstimator::Conservative => {
            let rewards = gae::token_rewards(outcomes.sequence, outcomes.penalty, outcomes.lengths);
            conservative::targets(config, &rewards, outcomes)
        }
        AdvantageEstimator::ReinforcePlusPlus | AdvantageEstimator::ReinforcePlusPlusBaseline => {
            ValueTargets { advantages: centre_and_scale(&to_go()), returns: Vec::new() }
        }
        AdvantageEstimator::OptimalTokenBaseline => {
            let advantages = token_baseline::optimal_token_baseline(
                &to_go(),
                outcomes.energy,
                outcomes.lengths,
                outcomes.groups,
            );
            ValueTargets { advantages, returns: Vec::new() }
        }
        _ => {
            let repeat = |(advantage, length): (&f64, &usize)| std::iter::repeat_n(*advantage, *length);
            let advantages = outcomes.sequence.iter().zip(outcomes.lengths).flat_map(repeat).collect();
            ValueTargets { advantages, returns: Vec::new() }
        }
    }
}

/// The rewards of attempts after a penalty on their tokens, summed over each: `r - sum_t penalty_t`.
///
/// For the KL in the reward of estimators that compare whole attempts (TRL's RLOO): `penalty` is the coefficient times
/// the divergence of each token, flat, attempts one after the other.
pub fn penalised(rewards: &[Option<f64>], penalty: &[f64], lengths: &[usize]) -> Vec<Option<f64>> {
    let sums = gae::each_sequence(penalty, lengths).map(|part| part.iter().sum::<f64>());
    rewards.iter().zip(sums).map(|(reward, sum)| reward.map(|reward| reward - sum)).collect()
}

impl AlgorithmConfig {
    /// Whether `rejection` imitates an attempt of this reward.
    pub fn accepts(&self, reward: f64) -> bool {
        rejection::is_accepted(Some(reward), self.accept_from)
    }

    /// Whether a group of these rewards teaches anything: because they differ or, where good attempts are imitated, because
    /// one is good enough.
    pub fn teaches(&self, rewards: &[Option<f64>]) -> bool {
        match self.advantage {
            AdvantageEstimator::Rejection => {
                rewards.iter().any(|reward| rejection::is_accepted(*reward, self.accept_from))
            }
            AdvantageEstimator::OnlineDpo if self.preference_pairs == PreferencePairs::Tiers => {
                preference::has_tiers(rewards, self.tier_width)
            }
            _ => has_signal(rewards),
        }
    }
}

impl AdvantageEstimator {
    /// Whether tokens of one attempt may get different advantages, or an attempt of advantage 0 may get another one:
    /// [`token_advantages`] must then be asked, and no attempt left out before.
    pub fn is_per_token(self) -> bool {
        matches!(
            self,
            Self::Gae
                | Self::Conservative
                | Self::ReinforcePlusPlus
                | Self::ReinforcePlusPlusBaseline
                | Self::OptimalTokenBaseline
        )
    }

    /// Whether an attempt is compared with its siblings, so that a group of one teaches nothing.
    pub fn needs_siblings(self) -> bool {
        let alone = [Self::Gae, Self::Conservative, Self::ReinforcePlusPlus, Self::Remax, Self::Rejection];
        !alone.contains(&self)
    }

    /// Whether a critic says what can be expected.
    pub fn needs_critic(self) -> bool {
        matches!(self, Self::Gae | Self::Conservative)
    }
}
