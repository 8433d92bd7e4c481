//! AdamW, clipping and the schedule: `torch.optim`, `torch.nn.utils`.

use rltrain::optim::{
    Optimizer, OptimizerConfig, OptimizerKind, Schedule, clip_factor, gradient_norm, learning_rate,
};
use rltrain::policy::Weights;
use tch::{Device, Kind, Tensor};

use super::{assert_near, golden, golden_path};

const STEPS: u64 = 10;

fn config() -> OptimizerConfig {
    OptimizerConfig {
        learning_rate: 2e-2,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-6,
        weight_decay: 0.3,
        warmup_steps: 3,
        schedule: Schedule::Cosine,
        max_gradient_norm: 1.0,
        ..OptimizerConfig::default()
    }
}

/// Follows the ten updates that `tests/golden/FOLDER.py` wrote down.
///
/// Ten f32 updates of about 1e-2 each, in another order of operations: 5e-7 of a weight's norm leaves room for four
/// roundings. Observed at most 3e-8.
fn follow(folder: &str, shapes: &[(&str, &[i64])], config: &OptimizerConfig) {
    let expected = golden(&format!("{folder}/expected.safetensors"));
    let shapes: Vec<_> = shapes.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect();
    let weights = Weights::load(&golden_path(folder), &shapes, Device::Cpu).unwrap();
    let mut optimizer = Optimizer::new(config.kind, &weights);
    for step in 0..STEPS {
        // The gradient of sum(w * g) is g.
        let products: Vec<Tensor> = weights
            .iter()
            .map(|(name, weight)| (weight * &expected[&format!("gradient/{step}/{name}")]).sum(Kind::Float))
            .collect();
        Tensor::stack(&products, 0).sum(Kind::Float).backward();

        let norm = gradient_norm(&weights);
        let theirs = expected["norms"].double_value(&[step as i64]);
        assert!((norm / theirs - 1.0).abs() < 1e-6, "step {step}: norm {norm}, PyTorch has {theirs}");
        let rate = learning_rate(config, step, STEPS);
        let theirs = expected["rates"].double_value(&[step as i64]);
        assert!(
            (rate / theirs - 1.0).abs() < 1e-12,
            "step {step}: learning rate {rate}, PyTorch has {theirs}"
        );

        optimizer.step(&weights, config, rate, clip_factor(norm, config.max_gradient_norm));
        for (name, weight) in weights.iter() {
            let theirs = &expected[&format!("weight/{step}/{name}")];
            assert_near(&format!("{name} after step {step}"), weight, theirs, 5e-7);
        }
    }
    assert_eq!(optimizer.updates, STEPS);
}

#[test]
fn ten_steps_are_those_of_torch_adamw_with_its_clipping_and_schedule() {
    follow("adamw", &[("matrix", &[7, 5]), ("norm", &[5]), ("wide.matrix", &[2, 33])], &config());
}

#[test]
fn ten_steps_are_those_of_torch_sgd_with_momentum() {
    let config = OptimizerConfig {
        kind: OptimizerKind::Sgd,
        momentum: 0.8,
        weight_decay: 0.0,
        schedule: Schedule::Constant,
        ..config()
    };
    follow("sgd", &[("matrix", &[7, 5]), ("norm", &[5])], &config);
}

#[test]
fn a_gradient_within_the_limit_is_not_scaled_and_one_beyond_ends_at_it() {
    assert_eq!(clip_factor(0.999, 1.0), 1.0);
    assert_eq!(clip_factor(0.0, 1.0), 1.0);
    for norm in [1.1, 30.0, 1e9] {
        let clipped = norm * clip_factor(norm, 1.0);
        assert!(clipped <= 1.0 && clipped > 1.0 - 1e-5, "{norm} became {clipped}");
    }
}

#[test]
fn every_schedule_rises_to_its_peak_after_the_warm_up_and_ends_where_it_says() {
    let at =
        |schedule, update| learning_rate(&OptimizerConfig { schedule, ..config() }, update, STEPS) / 2e-2;
    for schedule in [Schedule::Constant, Schedule::Linear, Schedule::Cosine] {
        let rise: Vec<f64> = (0..=3).map(|update| at(schedule, update)).collect();
        for (rate, wanted) in rise.iter().zip([0.25, 0.5, 0.75, 1.0]) {
            assert!((rate - wanted).abs() < 1e-12, "{schedule:?}: {rise:?}");
        }
        assert!(
            (3..STEPS).all(|update| at(schedule, update + 1) <= at(schedule, update)),
            "{schedule:?} rises again"
        );
    }
    assert_eq!(at(Schedule::Constant, STEPS), 1.0);
    assert_eq!(at(Schedule::Linear, STEPS), 0.0);
    assert!((at(Schedule::Linear, 9) - 1.0 / 7.0).abs() < 1e-12);
    assert!(at(Schedule::Cosine, STEPS).abs() < 1e-12);
}

#[test]
fn warm_up_stable_decay_falls_at_the_end_only_and_a_final_share_is_where_every_fall_ends() {
    let config = |schedule| OptimizerConfig { schedule, decay_steps: 4, final_share: 0.1, ..config() };
    let at = |schedule, update| learning_rate(&config(schedule), update, STEPS) / 2e-2;
    let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-12, "{found}, wanted {wanted}");
    for (update, wanted) in [(3, 1.0), (6, 1.0), (7, 0.775), (8, 0.55), (9, 0.325), (10, 0.1)] {
        near(at(Schedule::Wsd, update), wanted);
    }
    for schedule in [Schedule::Linear, Schedule::Cosine] {
        near(at(schedule, STEPS), 0.1);
    }
}
