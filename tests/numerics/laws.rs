//! What holds of every loss and every estimator, whatever the numbers.

use std::num::NonZeroUsize;

use proptest::prelude::*;
use rltrain::algorithm::AdvantageEstimator::{
    DrGrpo, Gdpo, Gpg, Grpo, MaxRl, OnlineDpo, Opo, OptimalTokenBaseline, PassAtK, ReinforcePlusPlus,
    ReinforcePlusPlusBaseline, Rloo,
};
use rltrain::algorithm::{
    AdvantageEstimator, Aggregation, AlgorithmConfig, CorrectionKind, KlEstimator, Outcomes, PolicyLoss,
    Preset, RatioLevel, Scale, Sequences, TokenInputs, TokenOutcomes, advantages, entropy_shaped, kl,
    mini_batches, sequence_of_tokens, token_advantages, token_loss, top_covariance, top_entropy,
};
use tch::{Kind, Tensor};

use super::packed::{Outcome, Padded};

/// Longest row of a batch here, and length of the constant-length mean.
const LONGEST: usize = 5;
const KL: f64 = 0.3;

/// Numbers of one token.
#[derive(Clone, Debug)]
struct Token {
    logprob: f64,
    moved: f64,
    sampled: f64,
    reference: f64,
    entropy: f64,
}

/// Rows of a batch, each with an advantage.
type Rows = Vec<(f64, Vec<Token>)>;

fn rows() -> impl Strategy<Value = Rows> {
    let token = (-4.0..-0.01f64, -0.6..0.6f64, -0.3..0.3f64, -0.5..0.5f64, 0.0..3.0f64).prop_map(
        |(logprob, moved, sampled, reference, entropy)| Token { logprob, moved, sampled, reference, entropy },
    );
    let row = (-2.0..2.0f64, prop::collection::vec(token, 1..=LONGEST));
    prop::collection::vec(row, 2..6)
}

/// Every loss, level, mean and correction in some combination, with everything that can be added switched on.
fn settings() -> impl Strategy<Value = AlgorithmConfig> {
    let levels = vec![RatioLevel::Token, RatioLevel::Sequence, RatioLevel::SequenceProduct];
    let means = vec![
        Aggregation::TokenMean,
        Aggregation::SequenceMeanTokenMean,
        Aggregation::SequenceMeanTokenSum,
        Aggregation::ConstantLength,
    ];
    let corrections = vec![
        CorrectionKind::None,
        CorrectionKind::TokenTis,
        CorrectionKind::SequenceTis,
        CorrectionKind::Icepop,
        CorrectionKind::SequenceMask,
        CorrectionKind::GeometricRejection,
    ];
    let presets = Preset::EVERY.to_vec();
    let chosen = (
        prop::sample::select(presets),
        prop::sample::select(levels),
        prop::sample::select(means),
        prop::sample::select(corrections),
        any::<bool>(),
    );
    chosen.prop_map(|(preset, ratio, aggregation, correction, all)| {
        let off = AlgorithmConfig { ratio, aggregation, correction, ..preset.config() };
        if !all {
            return off;
        }
        AlgorithmConfig {
            dual_clip: Some(1.5),
            entropy_shaping: 0.4,
            top_entropy_share: 0.6,
            off_policy_threshold: Some(0.1),
            kl_importance: true,
            entropy_coefficient: 0.1,
            correction_low: 0.8,
            correction_high: 1.2,
            covariance_share: 0.3,
            ..off
        }
    })
}

/// The rows side by side; slots behind a row's end hold `junk`.
fn batch(rows: &Rows, width: usize, junk: f64) -> Padded {
    let table = |value: &dyn Fn(f64, &Token) -> f64, junk: f64| {
        let slots = rows.iter().flat_map(|(advantage, tokens)| {
            let tokens = tokens.iter().map(|token| value(*advantage, token));
            tokens.chain(std::iter::repeat(junk)).take(width).collect::<Vec<f64>>()
        });
        let slots: Vec<f64> = slots.collect();
        Tensor::from_slice(&slots).view([rows.len() as i64, width as i64])
    };
    Padded {
        logprobs: table(&|_, token| token.logprob, junk),
        old: table(&|_, token| token.logprob + token.moved, -junk),
        advantages: table(&|advantage, _| advantage, junk),
        mask: table(&|_, _| 1.0, 0.0),
        sampled: Some(table(&|_, token| token.logprob + token.moved + token.sampled, junk)),
        reference: Some(table(&|_, token| token.logprob + token.reference, junk)),
        entropy: Some(table(&|_, token| token.entropy, junk)),
    }
}

/// Keep and covariance marks of a step, as lists that can be cut.
fn marks(config: &AlgorithmConfig, batch: &Padded) -> [Option<Tensor>; 2] {
    let entropy_n = batch.pick(batch.entropy.as_ref().unwrap());
    let (advantages_n, old_n) = (batch.pick(&batch.advantages), batch.pick(&batch.old));
    let keep_n = (config.top_entropy_share < 1.0).then(|| top_entropy(&entropy_n, config.top_entropy_share));
    let covariant_n = (config.policy_loss == PolicyLoss::KlCov)
        .then(|| top_covariance(&advantages_n, &old_n, config.covariance_share));
    [keep_n, covariant_n]
}

fn whole(config: &AlgorithmConfig, batch: &Padded) -> Outcome {
    let [keep_n, covariant_n] = marks(config, batch);
    batch.masked_loss(config, batch.denominators(LONGEST), KL, keep_n.as_ref(), covariant_n.as_ref())
}

fn list(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.flatten(0, -1)).unwrap()
}

/// Relative to the largest number, or absolute below 1: sums in another order.
fn same(ours: &[f64], wanted: &[f64]) -> Result<(), TestCaseError> {
    prop_assert_eq!(ours.len(), wanted.len());
    let size = wanted.iter().fold(1.0f64, |most, value| most.max(value.abs()));
    for (ours, wanted) in ours.iter().zip(wanted) {
        prop_assert!((ours - wanted).abs() <= 1e-12 * size, "{} instead of {}", ours, wanted);
    }
    Ok(())
}

/// Tokens of each row.
fn lengths(rows: &Rows) -> Vec<i64> {
    rows.iter().map(|(_, tokens)| tokens.len() as i64).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn loss_and_gradient_do_not_depend_on_how_a_step_is_cut(
        rows in rows(), config in settings(), cut in any::<prop::sample::Index>(),
    ) {
        let step = batch(&rows, LONGEST, 0.0);
        let together = whole(&config, &step);
        let [keep_n, covariant_n] = marks(&config, &step);
        let cut = cut.index(rows.len() - 1) + 1;
        let tokens = lengths(&rows);
        let border: i64 = tokens[..cut].iter().sum();
        let (mut loss, mut gradient) = (0.0, Vec::new());
        for (part, start, count) in [
            (rows[..cut].to_vec(), 0, border),
            (rows[cut..].to_vec(), border, tokens[cut..].iter().sum()),
        ] {
            let of_part = |marks: &Option<Tensor>| marks.as_ref().map(|marks| marks.narrow(0, start, count));
            let (keep_n, covariant_n) = (of_part(&keep_n), of_part(&covariant_n));
            let part = batch(&part, LONGEST, 0.0).masked_loss(
                &config, step.denominators(LONGEST), KL, keep_n.as_ref(), covariant_n.as_ref(),
            );
            loss += part.loss;
            gradient.extend(list(&part.gradient));
        }
        same(&[loss], &[together.loss])?;
        same(&gradient, &list(&together.gradient))?;
    }

    #[test]
    fn loss_and_gradient_do_not_depend_on_the_order_of_rows(rows in rows(), config in settings()) {
        let forward = whole(&config, &batch(&rows, LONGEST, 0.0));
        let reversed: Rows = rows.iter().rev().cloned().collect();
        let backward = whole(&config, &batch(&reversed, LONGEST, 0.0));
        same(&[backward.loss], &[forward.loss])?;
        same(&list(&backward.gradient.flip([0])), &list(&forward.gradient))?;
    }

    #[test]
    fn what_lies_in_padding_reaches_neither_loss_nor_gradient(
        rows in rows(), config in settings(), wider in 0..3usize,
        junk in prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e30, -1e30]),
    ) {
        let clean = whole(&config, &batch(&rows, LONGEST, 0.0));
        let padded = whole(&config, &batch(&rows, LONGEST + wider, junk));
        same(&[padded.loss], &[clean.loss])?;
        let inside = padded.gradient.narrow(1, 0, LONGEST as i64);
        let outside = padded.gradient.narrow(1, LONGEST as i64, wider as i64);
        same(&list(&inside), &list(&clean.gradient))?;
        prop_assert!(list(&outside).iter().all(|slot| *slot == 0.0));
    }

    #[test]
    fn at_ratio_one_every_loss_has_the_gradient_of_reinforce(rows in rows(), preset in prop::sample::select(Preset::EVERY.to_vec())) {
        let unmoved: Rows = rows
            .iter()
            .map(|(advantage, tokens)| {
                let stays = |token: &Token| Token { moved: 0.0, sampled: 0.0, ..token.clone() };
                (*advantage, tokens.iter().map(stays).collect())
            })
            .collect();
        let config = AlgorithmConfig {
            aggregation: Aggregation::SequenceMeanTokenMean,
            entropy_shaping: 0.0,
            covariance_coefficient: 0.0,
            ..preset.config()
        };
        let mut step = batch(&unmoved, LONGEST, 0.0);
        step.reference = None;
        let denominators = step.denominators(LONGEST);
        let ours = step.loss(&config, denominators, 0.0);
        let reinforce = AlgorithmConfig { policy_loss: PolicyLoss::Reinforce, ..config };
        same(&list(&ours.gradient), &list(&step.loss(&reinforce, denominators, 0.0).gradient))?;
        let wanted = unmoved.iter().flat_map(|(advantage, tokens)| {
            let factor = denominators.factor(config.aggregation, tokens.len());
            (0..LONGEST).map(move |t| if t < tokens.len() { -advantage * factor } else { 0.0 })
        });
        same(&list(&ours.gradient), &wanted.collect::<Vec<f64>>())?;
    }

    #[test]
    fn without_a_difference_there_is_nothing_to_correct(rows in rows(), config in settings()) {
        let mut step = batch(&rows, LONGEST, 0.0);
        step.sampled = Some(step.old.copy());
        let corrected = whole(&config, &step);
        step.sampled = None;
        let plain = whole(&config, &step);
        same(&list(&corrected.gradient), &list(&plain.gradient))?;
    }

    #[test]
    fn a_bonus_for_entropy_never_changes_a_sign(
        advantage in -5.0..5.0f64, entropy in 0.0..20.0f64, coefficient in 0.0..10.0f64, limit in 1.001..10.0f64,
    ) {
        let of = |value: f64| Tensor::from_slice(&[value]);
        let shaped = entropy_shaped(&of(advantage), &of(entropy), coefficient, limit).double_value(&[0]);
        prop_assert!(shaped * advantage >= 0.0 && (shaped == 0.0) == (advantage == 0.0));
        prop_assert!(shaped >= advantage);
        prop_assert_eq!(entropy_shaped(&of(0.0), &of(entropy), coefficient, limit).double_value(&[0]), 0.0);
    }

    #[test]
    fn divergence_is_zero_where_nothing_moved_and_else_above(logprob in -9.0..0.0f64, moved in -3.0..3.0f64) {
        for estimator in [KlEstimator::K2, KlEstimator::K3, KlEstimator::Abs] {
            let at = |reference: f64| {
                let logprobs = Tensor::from_slice(&[logprob]).set_requires_grad(true);
                let value = kl(estimator, &logprobs, &Tensor::from_slice(&[reference]));
                value.sum(Kind::Double).backward();
                (value.double_value(&[0]), logprobs.grad().double_value(&[0]))
            };
            prop_assert_eq!(at(logprob), (0.0, 0.0));
            let (value, gradient) = at(logprob + moved);
            prop_assert!(value >= 0.0 && gradient * moved <= 0.0, "{:?}: {} {}", estimator, value, gradient);
        }
    }

    #[test]
    fn every_group_is_learnt_from_once_in_each_epoch(
        groups in 0..40usize, epochs in 1..4usize, parts in 1..6usize, seed in any::<u64>(),
    ) {
        let number = |count| NonZeroUsize::new(count).unwrap();
        let config =
            AlgorithmConfig { epochs: number(epochs), mini_batches: number(parts), ..AlgorithmConfig::default() };
        let batches = mini_batches(&config, groups, seed, 7);
        prop_assert_eq!(&batches, &mini_batches(&config, groups, seed, 7));
        let mut seen = batches.concat();
        seen.sort_unstable();
        let wanted: Vec<usize> = (0..groups).flat_map(|group| std::iter::repeat_n(group, epochs)).collect();
        prop_assert_eq!(seen, wanted);
        let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
        if let (Some(most), Some(least)) = (sizes.iter().max(), sizes.iter().min()) {
            prop_assert!(most - least <= 1 && *least > 0, "{:?}", sizes);
        }
    }
}

#[test]
fn the_policy_loss_is_reported_without_what_is_added_to_it() {
    let of = |values: &[f64]| Tensor::from_slice(values);
    let (logprobs_n, old_n, advantages_n) = (of(&[-1.0, -2.0]), of(&[-1.1, -1.9]), of(&[0.5, -0.5]));
    let (entropy_n, reference_n, sequence_n) = (of(&[1.0, 2.0]), of(&[-3.0, -1.0]), sequence_of_tokens(&[2]));
    let sequences = Sequences { of_token_n: &sequence_n, count: 1 };
    let bare = TokenInputs {
        logprobs_n: &logprobs_n,
        old_n: &old_n,
        advantages_n: &advantages_n,
        sequences,
        sampled_n: None,
        reference_n: None,
        entropy_n: None,
        log_sum_n: None,
        keep_n: None,
        covariant_n: None,
        kl_coefficient: 0.1,
    };
    let log_sum_n = of(&[2.0, -3.0]);
    let config =
        AlgorithmConfig { entropy_coefficient: 0.01, z_loss_coefficient: 0.02, ..AlgorithmConfig::default() };
    let plain = token_loss(&config, &bare);
    let with = TokenInputs {
        reference_n: Some(&reference_n),
        entropy_n: Some(&entropy_n),
        log_sum_n: Some(&log_sum_n),
        ..bare
    };
    let more = token_loss(&config, &with);
    same(&list(&more.surrogate.loss_n), &list(&plain.loss_n)).unwrap();
    let added = more.kl_n.unwrap() * 0.1 - &entropy_n * 0.01 + of(&[0.08, 0.18]);
    same(&list(&more.loss_n), &list(&(plain.loss_n + added))).unwrap();
}

const GROUPED: [AdvantageEstimator; 9] = [Grpo, DrGrpo, Rloo, Opo, Gpg, MaxRl, PassAtK, Gdpo, OnlineDpo];
const TOKENS: [AdvantageEstimator; 3] = [ReinforcePlusPlus, ReinforcePlusPlusBaseline, OptimalTokenBaseline];

/// A step of groups: rewards and lengths.
fn groups() -> impl Strategy<Value = Vec<Vec<(f64, usize)>>> {
    let rewards = prop::sample::select(vec![-1.0, 0.0, 0.25, 0.5, 1.0]);
    prop::collection::vec(prop::collection::vec((rewards, 1..6usize), 2..6), 1..5)
}

/// The advantages of all attempts, or of all tokens, end to end.
fn estimate(config: &AlgorithmConfig, groups: &[Vec<(f64, usize)>], shift: f64) -> Vec<f64> {
    let of = |value: &dyn Fn(&(f64, usize)) -> Option<f64>| -> Vec<Vec<Option<f64>>> {
        groups.iter().map(|group| group.iter().map(value).collect()).collect()
    };
    let rewards = of(&|(reward, _)| Some(reward + shift));
    let lengths: Vec<Vec<usize>> =
        groups.iter().map(|group| group.iter().map(|(_, length)| *length).collect()).collect();
    let parts: Vec<Vec<Vec<Option<f64>>>> = rewards
        .iter()
        .map(|group| group.iter().map(|reward| vec![*reward, reward.map(|r| -3.0 * r)]).collect())
        .collect();
    let log_ratios: Vec<Vec<f64>> =
        lengths.iter().map(|group| group.iter().map(|length| 0.3 * *length as f64).collect()).collect();
    let outcomes = Outcomes {
        rewards: &rewards,
        lengths: &lengths,
        parts: &parts,
        part_weights: &[1.0, 0.2],
        greedy: &[],
        log_ratios: &log_ratios,
    };
    let sequence = advantages(config, &outcomes).concat();
    if !config.advantage.is_per_token() {
        return sequence;
    }
    let lengths = lengths.concat();
    let of_group: Vec<usize> =
        groups.iter().enumerate().flat_map(|(at, group)| std::iter::repeat_n(at, group.len())).collect();
    let energy: Vec<f64> = (0..lengths.iter().sum()).map(|t| 0.1 + (t % 3) as f64).collect();
    let outcomes = TokenOutcomes {
        sequence: &sequence,
        lengths: &lengths,
        groups: &of_group,
        energy: &energy,
        ..TokenOutcomes::default()
    };
    token_advantages(config, &outcomes).advantages
}

fn estimator(advantage: AdvantageEstimator) -> AlgorithmConfig {
    AlgorithmConfig { advantage, ..AlgorithmConfig::default() }
}

proptest! {
    #[test]
    fn a_group_that_agrees_teaches_exactly_nothing(
        reward in -1e6..1e6f64, sizes in prop::collection::vec(1..9usize, 1..4),
    ) {
        let groups: Vec<Vec<(f64, usize)>> =
            sizes.iter().map(|size| (0..*size).map(|attempt| (reward, 1 + attempt % 3)).collect()).collect();
        for advantage in GROUPED.into_iter().chain(TOKENS) {
            for scale in [Scale::Group, Scale::Batch, Scale::None] {
                let ours = estimate(&AlgorithmConfig { scale, ..estimator(advantage) }, &groups, 0.0);
                prop_assert!(ours.iter().all(|a| *a == 0.0), "{:?}: {:?}", advantage, ours);
            }
        }
    }

    #[test]
    fn a_group_that_agrees_teaches_nothing_beside_one_that_does_not(mut groups in groups(), reward in -1.0..1.0f64) {
        let loner = groups.len();
        groups.push(vec![(reward, 2); 3]);
        for advantage in [Grpo, DrGrpo, Rloo, Opo, Gpg, MaxRl, PassAtK, OnlineDpo] {
            let ours = estimate(&estimator(advantage), &groups, 0.0);
            let before: usize = groups[..loner].iter().map(Vec::len).sum();
            prop_assert!(ours[before..].iter().all(|a| *a == 0.0), "{:?}: {:?}", advantage, ours);
        }
    }

    #[test]
    fn shifting_every_reward_changes_nothing(groups in groups(), shift in -10.0..10.0f64) {
        for advantage in [Grpo, DrGrpo, Rloo, Opo, Gpg, PassAtK, Gdpo, OnlineDpo].into_iter().chain(TOKENS) {
            for scale in [Scale::Group, Scale::Batch, Scale::None] {
                let config = AlgorithmConfig { scale, ..estimator(advantage) };
                let (before, after) = (estimate(&config, &groups, 0.0), estimate(&config, &groups, shift));
                // The baselines of tokens add 1e-8 to what they divide by, times a reward of up to 11.
                for (before, after) in before.iter().zip(&after) {
                    prop_assert!((before - after).abs() < 1e-5, "{:?}: {} and {}", advantage, before, after);
                }
            }
        }
    }

    #[test]
    fn advantages_of_a_group_sum_to_zero(groups in groups()) {
        for advantage in [Grpo, DrGrpo, Rloo, Gpg, MaxRl] {
            let of_attempts = estimate(&estimator(advantage), &groups, 0.0);
            let mut rest = &of_attempts[..];
            for group in &groups {
                let (own, behind) = rest.split_at(group.len());
                prop_assert!(own.iter().sum::<f64>().abs() < 1e-9, "{:?}: {:?}", advantage, own);
                rest = behind;
            }
        }
    }

    #[test]
    fn an_attempt_without_a_reward_is_as_if_it_were_not_there(groups in groups(), place in any::<prop::sample::Index>()) {
        let rewards: Vec<Vec<Option<f64>>> =
            groups.iter().map(|group| group.iter().map(|(reward, _)| Some(*reward)).collect()).collect();
        let at = place.index(rewards.len());
        let mut with_gap = rewards.clone();
        with_gap[at].insert(1, None);
        for advantage in [Grpo, DrGrpo, Rloo, Gpg, MaxRl, PassAtK] {
            let config = estimator(advantage);
            let wanted = advantages(&config, &Outcomes::of(&rewards));
            let mut ours = advantages(&config, &Outcomes::of(&with_gap));
            prop_assert_eq!(ours[at].remove(1), 0.0);
            prop_assert_eq!(ours, wanted);
        }
    }
}
