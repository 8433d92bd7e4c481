//! B-Coder: the gradient of its loss on a network, and runs that are stopped and resumed.

use rltrain::algorithm::{AdvantageEstimator, AlgorithmConfig, PolicyLoss, dueling};
use rltrain::batch::{Batch, plans};
use rltrain::critic::CriticConfig;
use rltrain::optim::{OptimizerConfig, Settings, accumulate};
use rltrain::policy::{Policy, Weights};
use rltrain::ranks::Ranks;
use rltrain::rollout::{Completion, Group};
use tch::{Device, Kind, Tensor};

use crate::held::{metric, metrics, refused, resumed_ends_as_whole};
use crate::tiny;

/// All gradients end to end, f64; they are zero afterwards.
fn taken(weights: &Weights) -> Tensor {
    let parts: Vec<Tensor> =
        weights.iter().map(|(_, weight)| weight.grad().to_kind(Kind::Double).flatten(0, -1)).collect();
    let all = Tensor::cat(&parts, 0);
    weights.zero_gradients();
    all
}

/// Two tasks, uneven lengths, bytes of no meaning.
fn batch() -> Batch {
    let completion = |first: i64, length: i64| Completion {
        tokens: (0..length).map(|place| (first + 37 * place) % 256).collect(),
        logprobs: vec![-5.5; length as usize],
        ..Completion::default()
    };
    let group = |task: usize, completions| Group { task, prompt: vec![7 + task as i64, 40, 41], completions };
    let groups = [
        group(0, vec![completion(3, 9), completion(90, 4)]),
        group(1, vec![completion(11, 1), completion(5, 6)]),
    ];
    Batch::new(&groups, Device::Cpu).with_advantages([-0.3, 0.8, 0.4, -1.1])
}

/// The gradient goes through the chosen token and through the likeliest one, as that of the formula on all logits does.
#[test]
fn the_gradient_is_that_of_the_formula() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make_model(folder.path());
    let policy = Policy::load(folder.path(), Kind::Float, Device::Cpu).unwrap();
    for (policy_loss, dueling_alpha) in
        [(PolicyLoss::Dueling, 1.0), (PolicyLoss::Dueling, 0.3), (PolicyLoss::Gap, 1.0)]
    {
        let algorithm = AlgorithmConfig {
            advantage: AdvantageEstimator::Conservative,
            policy_loss,
            dueling_alpha,
            ..AlgorithmConfig::default()
        };
        let (optimizer, critic, ranks) =
            (OptimizerConfig::default(), CriticConfig::default(), Ranks::alone());
        let settings = Settings {
            algorithm: &algorithm,
            optimizer: &optimizer,
            critic: &critic,
            learning_rate: Some(1.0),
            critic_learning_rate: 1.0,
            temperature: 1.0,
            longest: 16,
            kl_coefficient: 0.0,
            references: None,
            ranks: &ranks,
        };
        let batch = batch();
        let report = accumulate(&policy, None, &batch, &batch.members(), &settings, 0);
        let found = taken(&policy.weights);

        let (model, mut losses) = (policy.model(), Vec::new());
        for plan in plans(&batch, &batch.members(), 4096) {
            let logits_nv = plan.pack.logits(&model);
            let advantages_nv = dueling::action_advantages(&logits_nv, dueling_alpha);
            let gap_n = dueling::of_actions(&advantages_nv, &plan.pack.targets(Device::Cpu));
            let advantage_n = plan.cut(&batch.advantages_n);
            losses.push(match policy_loss {
                PolicyLoss::Dueling => (gap_n - advantage_n).square(),
                _ => -(gap_n * advantage_n),
            });
        }
        let loss = Tensor::cat(&losses, 0).mean(Kind::Float);
        loss.backward();
        let wanted = taken(&policy.weights);
        assert!((report.loss - loss.double_value(&[])).abs() < 1e-5, "{policy_loss:?}: {}", report.loss);
        let (apart, size) = ((&found - &wanted).norm().double_value(&[]), wanted.norm().double_value(&[]));
        assert!(size > 0.0 && apart < 1e-4 * size, "{policy_loss:?}: {apart} of {size}");
    }
}

const SECTIONS: &str = "[algorithm]\nadvantage = \"conservative\"\npolicy_loss = \"dueling\"\ndiscount = 0.999\nreference_gap = 0.2\n\
                        [supervised]\ncoefficient = 0.5\n[critic]\nkind = \"separate\"\nwarmup_steps = 2\n\
                        [critic.optimizer]\nlearning_rate = 1e-3\n";

/// The first stage moves the value alone, the second the model too.
#[test]
fn the_value_learns_first_and_a_stopped_run_goes_on() {
    let folder = resumed_ends_as_whole(SECTIONS, "", 2);
    let rates = metric(folder.path(), "learning_rate");
    assert_eq!((rates[0], rates[1]), (0.0, 0.0));
    assert!(rates[2] > 0.0 && rates[3] > 0.0);
    let values = metric(folder.path(), "critic/vpred_mean");
    assert!(values[0] == 0.0 && values[1] > 0.0, "it expects nothing at first: {values:?}");
    // In the first stage the model is the first one, bit for bit, and so is its likeliest token.
    let kl = metric(folder.path(), "kl");
    assert!(kl[0].abs() < 1e-6 && kl[1].abs() < 1e-6 && kl[3] > kl[1], "{kl:?}");
    assert!(metrics(folder.path())[3]["supervised_loss"].as_f64().unwrap() > 0.0);
}

#[test]
fn halves_of_it_are_refused() {
    let error = refused("[algorithm]\nadvantage = \"conservative\"\n");
    assert!(error.contains("two halves of one thing"), "{error}");
    let error = refused("[algorithm]\npolicy_loss = \"gap\"\nentropy_coefficient = 0.1\n");
    assert!(error.contains("`algorithm.entropy_coefficient` is set, and a loss of gaps"), "{error}");
    let both = "[algorithm]\nadvantage = \"conservative\"\npolicy_loss = \"dueling\"\n";
    let error = refused(&format!("{both}reference_gap = 0.2\n"));
    assert!(error.contains("with `supervised.coefficient = 0` nothing reads it"), "{error}");
    let error = refused(&format!("{both}dueling_alpha = 0.0\n"));
    assert!(error.contains("`algorithm.dueling_alpha` is 0"), "{error}");
}
