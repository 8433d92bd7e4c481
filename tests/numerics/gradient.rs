//! The gradient of a whole step: independent of how it is cut, and equal to the direct computation.

use std::num::NonZeroUsize;

use rltrain::algorithm::{Aggregation, AlgorithmConfig};
use rltrain::batch::Batch;
use rltrain::critic::CriticConfig;
use rltrain::optim::{OptimizerConfig, Settings, UpdateReport, accumulate};
use rltrain::policy::Policy;
use rltrain::rng::{Stream, uniform};
use rltrain::rollout::{Completion, Finish, Group};
use tch::{Device, Kind, Tensor};

use super::{assert_near, logits_alone, logprobs_alone, settings, take_gradient, tiny_policy};

/// The stated bound of invariant 4, relative to the gradient's norm, in f32: sums of the same terms in another order.
/// Observed at most 8e-7.
const BOUND: f64 = 1e-5;

const EVERY: [Aggregation; 4] = [
    Aggregation::TokenMean,
    Aggregation::SequenceMeanTokenMean,
    Aggregation::SequenceMeanTokenSum,
    Aggregation::ConstantLength,
];

/// A group of made-up completions with made-up advantages. Sampled logprobs scatter around those of the nearly uniform
/// tiny model, so that ratios lie inside and outside the clip range.
fn group(task: usize, prompt: usize, completions: &[(usize, f64)]) -> (Group, Vec<f64>) {
    let draw = |what, row: usize, place: usize| {
        uniform(5, Stream::Sampling, &[what, task as u64, row as u64, place as u64])
    };
    let byte = |what, row, place| (draw(what, row, place) * 256.0) as i64;
    let completion = |(sample, (length, _)): (usize, &(usize, f64))| Completion {
        request: task,
        sample,
        tokens: (0..*length).map(|place| byte(0, sample, place)).collect(),
        logprobs: (0..*length).map(|place| (-5.55 + 0.8 * (draw(1, sample, place) - 0.5)) as f32).collect(),
        finish: Finish::Length,
        ..Completion::default()
    };
    let group = Group {
        task,
        prompt: (0..prompt).map(|place| byte(2, 0, place)).collect(),
        completions: completions.iter().enumerate().map(completion).collect(),
    };
    (group, completions.iter().map(|(_, advantage)| *advantage).collect())
}

/// Three groups: uneven lengths, an attempt without a reward (advantage 0) among others, a group without a signal.
fn step() -> Vec<(Group, Vec<f64>)> {
    vec![
        group(0, 9, &[(3, -0.9), (20, 1.1), (7, -0.2)]),
        group(1, 4, &[(12, 0.0), (5, 0.0), (1, 0.0)]),
        group(2, 17, &[(1, 1.4), (16, -0.7), (9, 0.0), (11, -0.7)]),
    ]
}

fn gradient(
    policy: &Policy,
    step: &[(Group, Vec<f64>)],
    aggregation: Aggregation,
    micro_batch_tokens: usize,
    temperature: f64,
) -> (Tensor, UpdateReport) {
    gradient_of(
        policy,
        step,
        &AlgorithmConfig { aggregation, ..AlgorithmConfig::default() },
        micro_batch_tokens,
        temperature,
    )
}

fn gradient_of(
    policy: &Policy,
    step: &[(Group, Vec<f64>)],
    algorithm: &AlgorithmConfig,
    micro_batch_tokens: usize,
    temperature: f64,
) -> (Tensor, UpdateReport) {
    let (groups, advantages): (Vec<Group>, Vec<Vec<f64>>) = step.iter().cloned().unzip();
    let micro_batch_tokens = NonZeroUsize::new(micro_batch_tokens).unwrap();
    let optimizer = OptimizerConfig { micro_batch_tokens, ..OptimizerConfig::default() };
    let critic = CriticConfig::default();
    let settings = Settings { temperature, ..settings(algorithm, &optimizer, &critic) };
    let batch = Batch::new(&groups, Device::Cpu).with_advantages(advantages.concat());
    let report = accumulate(policy, None, &batch, &batch.members(), &settings, 0);
    (take_gradient(&policy.weights), report)
}

/// Loss and gradient of the step by the formula: every completion, those with advantage 0 too, as a sequence of its own,
/// and every mean over the whole step.
fn direct(
    policy: &Policy,
    step: &[(Group, Vec<f64>)],
    aggregation: Aggregation,
    temperature: f64,
) -> (Tensor, f64) {
    let model = policy.model();
    let completions = step.iter().flat_map(|(group, _)| &group.completions);
    let tokens: usize = completions.clone().map(|completion| completion.tokens.len()).sum();
    let sequences = completions.count();
    let AlgorithmConfig { clip_low, clip_high, .. } = AlgorithmConfig::default();
    let mut terms = Vec::new();
    for (group, advantages) in step {
        for (completion, advantage) in group.completions.iter().zip(advantages) {
            let logprobs = logprobs_alone(&model, &group.prompt, &completion.tokens, temperature);
            let ratio = (logprobs - Tensor::from_slice(&completion.logprobs)).exp();
            let clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high);
            let loss = -(ratio * *advantage).minimum(&(clipped * *advantage)).sum(Kind::Float);
            terms.push(match aggregation {
                Aggregation::TokenMean => loss / tokens as f64,
                Aggregation::SequenceMeanTokenMean => {
                    loss / completion.tokens.len() as f64 / sequences as f64
                }
                Aggregation::SequenceMeanTokenSum => loss / sequences as f64,
                Aggregation::ConstantLength => loss / 16.0 / sequences as f64,
            });
        }
    }
    let loss = Tensor::stack(&terms, 0).sum(Kind::Float);
    loss.backward();
    (take_gradient(&policy.weights), loss.double_value(&[]))
}

#[test]
fn the_gradient_of_a_step_is_the_direct_one_over_global_denominators() {
    let policy = tiny_policy(Kind::Float);
    for aggregation in EVERY {
        for temperature in [1.0, 0.7] {
            let (ours, report) = gradient(&policy, &step(), aggregation, 4096, temperature);
            let (wanted, loss) = direct(&policy, &step(), aggregation, temperature);
            assert_near(&format!("{aggregation:?}"), &ours, &wanted, BOUND);
            assert!(
                (report.loss - loss).abs() < 1e-6,
                "{aggregation:?}: loss {} instead of {loss}",
                report.loss
            );
            assert!(
                report.tokens.clip_low > 0.0 && report.tokens.clip_high > 0.0,
                "nothing was clipped: {report:?}"
            );
            assert!(
                report.tokens.clip_low + report.tokens.clip_high < 0.5,
                "too much was clipped: {report:?}"
            );
        }
    }
}

/// Of attempts without an advantage it is all there is: the mean over tokens of the squared logarithm of the softmax's
/// denominator, at the sampling temperature.
#[test]
fn the_z_loss_of_a_step_is_the_direct_one() {
    let policy = tiny_policy(Kind::Float);
    let mut silent = step();
    silent.iter_mut().flat_map(|(_, advantages)| advantages).for_each(|advantage| *advantage = 0.0);
    let algorithm = AlgorithmConfig { z_loss_coefficient: 0.3, ..AlgorithmConfig::default() };
    for temperature in [1.0, 0.7] {
        let (ours, report) = gradient_of(&policy, &silent, &algorithm, 40, temperature);
        let model = policy.model();
        let mut squares = Vec::new();
        for (group, _) in &silent {
            for Completion { tokens, .. } in &group.completions {
                let logits = logits_alone(&model, &[&group.prompt[..], tokens].concat());
                let (start, count) = (group.prompt.len() as i64, tokens.len() as i64);
                let log_sum = (logits.narrow(0, start - 1, count) / temperature).logsumexp(-1, false);
                squares.push(&log_sum * &log_sum);
            }
        }
        let loss = Tensor::cat(&squares, 0).mean(Kind::Float) * 0.3;
        loss.backward();
        let wanted = take_gradient(&policy.weights);
        assert_near("z-loss", &ours, &wanted, BOUND);
        let loss = loss.double_value(&[]);
        assert!((report.loss - loss).abs() < 1e-5 * loss, "loss {} instead of {loss}", report.loss);
        assert!(loss > 5.0, "the logarithm of 259 equal terms, squared, is above 30: {loss}");
    }
}

#[test]
fn the_gradient_does_not_depend_on_how_the_step_is_cut_into_packs() {
    let policy = tiny_policy(Kind::Float);
    for aggregation in EVERY {
        let (whole, report) = gradient(&policy, &step(), aggregation, 4096, 1.0);
        assert_eq!(report.trained_tokens, 58);
        assert_eq!(
            report.computed_tokens,
            9 + 30 + 17 + 28,
            "every prompt once, and no token of the group without a signal"
        );
        // From one attempt a pack over groups cut in two to whole groups, apart (83) and together (84).
        for (micro_batch_tokens, computed) in [
            (1, 3 * 9 + 30 + 3 * 17 + 28),
            (35, 2 * 9 + 30 + 2 * 17 + 28),
            (40, 9 + 30 + 2 * 17 + 28),
            (83, 9 + 30 + 17 + 28),
            (84, 9 + 30 + 17 + 28),
        ] {
            let (cut, report) = gradient(&policy, &step(), aggregation, micro_batch_tokens, 1.0);
            assert_eq!(
                (report.trained_tokens, report.computed_tokens),
                (58, computed),
                "at {micro_batch_tokens}"
            );
            assert_near(&format!("{aggregation:?} at {micro_batch_tokens}"), &cut, &whole, BOUND);
        }
    }
}

#[test]
fn the_gradient_does_not_depend_on_the_order_of_groups_or_of_attempts() {
    let policy = tiny_policy(Kind::Float);
    let mut reversed = step();
    reversed.reverse();
    for (group, advantages) in &mut reversed {
        group.completions.reverse();
        advantages.reverse();
    }
    for aggregation in EVERY {
        let (forward, _) = gradient(&policy, &step(), aggregation, 4096, 1.0);
        let (backward, _) = gradient(&policy, &reversed, aggregation, 4096, 1.0);
        assert_near(&format!("{aggregation:?}"), &backward, &forward, BOUND);
    }
}

#[test]
fn a_group_without_a_signal_only_counts_in_the_denominators() {
    let policy = tiny_policy(Kind::Float);
    let mut without = step();
    without.remove(1);
    // All tokens are 30 + 18 + 37, all attempts 3 + 3 + 4.
    for (aggregation, share) in
        [(Aggregation::TokenMean, 67.0 / 85.0), (Aggregation::SequenceMeanTokenMean, 7.0 / 10.0)]
    {
        let (with, report) = gradient(&policy, &step(), aggregation, 4096, 1.0);
        let (alone, report_alone) = gradient(&policy, &without, aggregation, 4096, 1.0);
        assert_near(&format!("{aggregation:?}"), &with, &(alone * share), BOUND);
        assert_eq!(report.computed_tokens, report_alone.computed_tokens);
    }
}

#[test]
fn a_step_without_any_signal_changes_nothing() {
    let policy = tiny_policy(Kind::Float);
    let before: Vec<Tensor> = policy.weights.iter().map(|(_, weight)| weight.detach().copy()).collect();
    let (groups, advantages): (Vec<Group>, Vec<Vec<f64>>) =
        [group(1, 4, &[(12, 0.0), (5, 0.0)])].into_iter().unzip();
    let (algorithm, optimizer, critic) =
        (AlgorithmConfig::default(), OptimizerConfig::default(), CriticConfig::default());
    let settings = settings(&algorithm, &optimizer, &critic);
    let mut adamw = rltrain::optim::Optimizer::new(rltrain::optim::OptimizerKind::AdamW, &policy.weights);
    let batch = Batch::new(&groups, Device::Cpu).with_advantages(advantages.concat());
    let report = rltrain::optim::apply(&policy, &mut adamw, None, &batch, &batch.members(), &settings);
    assert_eq!((report.trained_tokens, report.computed_tokens, adamw.updates), (0, 0, 0));
    for ((name, weight), before) in policy.weights.iter().zip(&before) {
        assert!(weight.equal(before), "{name} changed");
    }
}
