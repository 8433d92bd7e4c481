//! Worked examples of the code-RL papers, by hand or in double precision.

use rltrain::algorithm::{
    AdvantageEstimator, AlgorithmConfig, KlControl, KlEstimator, KlPlace, Outcomes, ReferenceKind,
    ReferenceUpdate, Refill, Scale, TokenOutcomes, advantages, centre_and_scale, entropy_shaped, gae, kl,
    token_advantages, weighted_nll,
};
use tch::{Kind, Tensor};

use super::packed::{OneSequence, clipped, clipped_by};

fn list(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.detach()).unwrap()
}

/// To the digits that the examples are given with.
#[track_caller]
fn assert_close(ours: &[f64], wanted: &[f64]) {
    assert_eq!(ours.len(), wanted.len());
    for (ours, wanted) in ours.iter().zip(wanted) {
        assert!((ours - wanted).abs() < 6e-7, "{ours} instead of {wanted}");
    }
}

fn of_one_group(config: &AlgorithmConfig, rewards: &[f64]) -> Vec<f64> {
    let rewards = vec![rewards.iter().copied().map(Some).collect()];
    advantages(config, &Outcomes::of(&rewards)).concat()
}

fn estimator(advantage: AdvantageEstimator) -> AlgorithmConfig {
    AlgorithmConfig { advantage, scale_epsilon: 1e-12, ..AlgorithmConfig::default() }
}

/// PPOCoder: discount 1, lambda 0.95.
#[test]
fn gae_of_three_tokens_and_its_whitening() {
    let targets = gae(&[-0.01, -0.02, 0.97], &[0.2, 0.3, 0.4], &[3], 1.0, 0.95);
    assert_close(&targets.advantages, &[0.680425, 0.6215, 0.57]);
    assert_close(&targets.returns, &[0.880425, 0.9215, 0.97]);
    // The example leaves out the 1e-8 that is added to the variance, here 0.003.
    let whitened = centre_and_scale(&targets.advantages);
    for (ours, wanted) in whitened.iter().zip([1.021642, -0.044793, -0.976849]) {
        assert!((ours - wanted).abs() < 3e-6, "{ours} instead of {wanted}");
    }
}

#[test]
fn the_four_cases_of_ppos_clip() {
    let ratios: Tensor = Tensor::from_slice(&[1.5, 1.5, 0.5, 0.5]);
    let advantages = Tensor::from_slice(&[1.0, -1.0, 1.0, -1.0]);
    let ours = clipped(&ratios.log(), &ratios.zeros_like(), &advantages, (0.2, 0.2));
    assert_close(&list(&ours.loss_n), &[-1.2, 1.5, -0.5, 0.8]);
    assert_eq!(list(&ours.clipped_high_n), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(list(&ours.clipped_low_n), [0.0, 0.0, 0.0, 1.0]);
}

/// One token with ratio 5 and advantage -1: PPO has no bound there, the dual clip bounds the loss, the cap the ratio.
#[test]
fn two_more_bounds_for_bad_attempts_with_a_large_ratio() {
    let of = |value: f64| Tensor::from_slice(&[value]);
    let loss = |config: AlgorithmConfig, advantage: f64, ratio: f64| {
        let loss_n = clipped_by(&config, &of(ratio.ln()), &of(0.0), &of(advantage)).loss_n;
        loss_n.double_value(&[0])
    };
    let plain = AlgorithmConfig::default();
    let dual = AlgorithmConfig { dual_clip: Some(3.0), ..plain };
    let capped = AlgorithmConfig { ratio_cap: Some(2.0), ..plain };
    let losses = |ratio| [plain, dual, capped].map(|config| loss(config, -1.0, ratio));
    assert_close(&losses(5.0), &[5.0, 3.0, 2.0]);
    assert_close(&losses(1.5), &[1.5; 3]);
    assert_close(&[plain, dual, capped].map(|config| loss(config, 1.0, 5.0)), &[-1.28; 3]);
}

#[test]
fn a_divergence_in_the_reward_is_not_in_the_loss_and_a_gradient_may_be_anothers() {
    let reference = Tensor::from_slice(&[-1.5f64]);
    let of = |config: AlgorithmConfig| {
        let logprob = Tensor::from_slice(&[-1.0f64]).set_requires_grad(true);
        let inputs = OneSequence { reference_n: Some(&reference), kl_coefficient: 2.0 };
        let loss = inputs.loss(&config, &logprob, &logprob.detach(), &Tensor::from_slice(&[0.0f64])).loss_n;
        loss.sum(Kind::Double).backward();
        [loss.double_value(&[0]), logprob.grad().double_value(&[0])]
    };
    let (k3, slope) = (0.106_530_7, 1.0 - (-0.5f64).exp());
    assert_close(&of(AlgorithmConfig::default()), &[2.0 * k3, 2.0 * slope]);
    let by_k2 = AlgorithmConfig { kl_gradient: Some(KlEstimator::K2), ..AlgorithmConfig::default() };
    assert_close(&of(by_k2), &[2.0 * k3, 2.0 * 0.5]);
    let paid = AlgorithmConfig { kl_place: KlPlace::Reward, ..AlgorithmConfig::default() };
    assert_close(&of(paid), &[0.0, 0.0]);
}

/// Rewards on the last token, a penalty on each, and half of what comes later: returns 0.15, 0.5 and -1.2, whitened.
#[test]
fn reinforce_plus_plus_discounts_what_comes_later() {
    let config = AlgorithmConfig { discount: 0.5, ..estimator(AdvantageEstimator::ReinforcePlusPlus) };
    let outcomes = TokenOutcomes {
        sequence: &[1.0, -1.0],
        lengths: &[2, 1],
        penalty: &[0.1, 0.5, 0.2],
        ..TokenOutcomes::default()
    };
    let ours = token_advantages(&config, &outcomes).advantages;
    assert_close(&ours, &centre_and_scale(&[0.15, 0.5, -1.2]));
}

#[test]
fn three_estimators_of_a_divergence() {
    let (logprob, reference): (Tensor, Tensor) = (Tensor::from_slice(&[-1.0]), Tensor::from_slice(&[-1.5]));
    for (estimator, wanted) in
        [(KlEstimator::K1, 0.5), (KlEstimator::K2, 0.125), (KlEstimator::K3, 0.106_530_7)]
    {
        assert_close(&list(&kl(estimator, &logprob, &reference)), &[wanted]);
    }
}

#[test]
fn an_adaptive_coefficient_follows_the_divergence_by_a_fifth_at_most() {
    let adaptive =
        AlgorithmConfig { kl_control: KlControl::Adaptive, kl_target: 1.0, ..AlgorithmConfig::default() };
    assert_close(&[adaptive.next_kl_coefficient(0.1, 3.0, 32)], &[0.100_064]);
    assert_close(&[adaptive.next_kl_coefficient(0.1, 0.5, 32)], &[0.099_936]);
    assert_close(&[AlgorithmConfig::default().next_kl_coefficient(0.1, 3.0, 32)], &[0.1]);
}

#[test]
fn a_reference_follows_the_policy_when_it_is_due() {
    let of = |reference| AlgorithmConfig { reference, ..AlgorithmConfig::default() };
    let updates = |config: AlgorithmConfig| [63, 64, 65].map(|step| config.reference_update(step));
    const KEEP: ReferenceUpdate = ReferenceUpdate::Keep;
    assert_eq!(updates(of(ReferenceKind::Frozen)), [KEEP; 3]);
    assert_eq!(updates(of(ReferenceKind::LoraOff)), [KEEP; 3]);
    assert_eq!(updates(of(ReferenceKind::Sync)), [KEEP, ReferenceUpdate::Copy, KEEP]);
    assert_eq!(updates(of(ReferenceKind::Ema)), [KEEP, ReferenceUpdate::Blend { decay: 0.4 }, KEEP]);
}

#[test]
fn a_group_of_five_with_two_solutions() {
    let rewards = [1.0, 0.0, 0.0, 1.0, 0.0];
    let (up, down) = (1.095_445_1, -0.730_296_7);
    assert_close(&of_one_group(&estimator(AdvantageEstimator::Grpo), &rewards), &[up, down, down, up, down]);
    let rloo = of_one_group(&estimator(AdvantageEstimator::Rloo), &rewards);
    assert_close(&rloo, &[0.75, -0.5, -0.5, 0.75, -0.5]);
    let max_rl = of_one_group(&estimator(AdvantageEstimator::MaxRl), &rewards);
    assert_close(&max_rl, &[1.5, -1.0, -1.0, 1.5, -1.0]);
    // Two are best: nobody leads.
    assert_eq!(of_one_group(&estimator(AdvantageEstimator::PassAtK), &rewards), [0.0; 5]);
    let lead = AlgorithmConfig { scale: Scale::None, ..estimator(AdvantageEstimator::PassAtK) };
    assert_eq!(of_one_group(&lead, &[0.25, 1.0, 0.5]), [0.0, 0.5, 0.0]);
}

#[test]
fn a_mean_that_is_not_above_zero_is_no_divisor() {
    assert_eq!(of_one_group(&estimator(AdvantageEstimator::MaxRl), &[-1.0, 0.5]), [0.0, 0.0]);
}

/// EGPO, with advantages by the population's deviation.
#[test]
fn a_bonus_for_entropy_is_at_most_half_the_advantage() {
    let (up, down) = (1.224_744_9, -0.816_496_6);
    let advantages = Tensor::from_slice(&[up, down, down, up, down]);
    let entropy = Tensor::from_slice(&[0.5, 1.5, 4.0, 2.0, 8.0]);
    let ours = entropy_shaped(&advantages, &entropy, 0.4, 2.0);
    let half = down / 2.0;
    assert_close(&list(&ours), &[1.424_744_9, half, half, 1.837_117_3, half]);
}

/// CodeRL: the reward is 0.3 above the greedy attempt's, the paper averages over tokens.
#[test]
fn a_critics_credit_weighs_the_tokens() {
    let logprobs: Tensor = Tensor::from_slice(&[-1.0, -2.0, -0.5]).set_requires_grad(true);
    let credit = Tensor::from_slice(&[0.7, 0.5, 0.9]);
    let loss = weighted_nll(&logprobs, &(credit.ones_like() * 0.3), &credit).mean(Kind::Double);
    loss.backward();
    assert_close(&[loss.double_value(&[])], &[0.215]);
    assert_close(&list(&logprobs.grad()), &[-0.07, -0.05, -0.09]);
}

/// DPO's loss at `z = 0.15`, and its gradient towards the log-ratios of the pair by autograd.
#[test]
fn online_dpo_has_the_gradient_of_dpo() {
    let better = Tensor::from_slice(&[2.5]).set_requires_grad(true);
    let worse = Tensor::from_slice(&[1.0]).set_requires_grad(true);
    let loss = -((&better - &worse) * 0.1).log_sigmoid();
    assert_close(&list(&loss), &[0.620_957_0]);
    loss.sum(Kind::Double).backward();
    let rewards = [vec![Some(0.5), Some(0.0), None, Some(1.0), Some(0.0)]];
    let log_ratios = [vec![7.0, 1.0, 0.0, 2.5, 9.0]];
    let outcomes = Outcomes { log_ratios: &log_ratios, ..Outcomes::of(&rewards) };
    let ours = advantages(&estimator(AdvantageEstimator::OnlineDpo), &outcomes).concat();
    let (up, down) = (-better.grad().double_value(&[0]), -worse.grad().double_value(&[0]));
    assert_close(&ours, &[0.0, down, 0.0, up, 0.0]);
    assert!(up > 0.0 && down == -up);
}

#[test]
fn the_penalty_for_length_falls_over_the_last_fifth() {
    let config =
        AlgorithmConfig { overlong_buffer: 0.2, overlong_penalty: 0.5, ..AlgorithmConfig::default() };
    let penalties = [0, 80, 90, 100, 200].map(|length| config.length_penalty(length, 100));
    assert_close(&penalties, &[0.0, 0.0, -0.25, -0.5, -0.5]);
    assert_eq!(AlgorithmConfig::default().length_penalty(100, 100), 0.0);
    let filter = AlgorithmConfig { overlong_filter: true, ..AlgorithmConfig::default() };
    assert!(filter.filters(true) && !filter.filters(false) && !config.filters(true));
}

#[test]
fn a_step_is_refilled_with_what_is_missing_and_not_for_ever() {
    let config = AlgorithmConfig { refills: 2, ..AlgorithmConfig::default() };
    assert_eq!(config.refill(5, 8, 0), Refill::Sample(3));
    assert_eq!(config.refill(7, 8, 1), Refill::Sample(1));
    assert_eq!(config.refill(7, 8, 2), Refill::Learn);
    assert_eq!(config.refill(8, 8, 0), Refill::Learn);
    assert_eq!(config.refill(9, 8, 0), Refill::Learn);
    assert_eq!(AlgorithmConfig::default().refill(0, 8, 0), Refill::Learn);
}
