//! Logprobs of what sampling leaves of a distribution: in the update as they were recorded, with the gradient of the definition.

use rltrain::batch::{Batch, pass};
use rltrain::policy::{Pack, token_logprobs};
use rltrain::rollout::{Completion, Request, Sampling, Shaping, collect, generate};
use tch::{Device, Kind, Tensor};

use super::{assert_near, take_gradient, tiny_policy};

/// Observed 2e-6 nats.
#[test]
fn the_update_compares_with_what_was_recorded_where_ratios_are_truncated() {
    let mut policy = tiny_policy(Kind::Float);
    let off = Shaping::default();
    for shaping in [Shaping { top_k: 5, ..off }, Shaping { top_p: 0.6, ..off }, Shaping { min_p: 0.9, ..off }]
    {
        policy.truncation = Some(shaping);
        let model = tch::no_grad(|| policy.model());
        let prompt: Vec<i64> = "def same(x):".bytes().map(i64::from).collect();
        let requests = vec![Request { prompt, samples: 8, ..Request::default() }];
        let sampling = Sampling { shaping, temperature: 0.9, max_tokens: 20, ..Sampling::default() };
        let mut completions: Vec<Completion> = Vec::new();
        generate(&model, &policy.tokenizer, &requests, &sampling, &mut |completion| {
            completions.push(completion)
        })
        .unwrap();
        let batch = Batch::new(&collect(&[0], requests, completions), Device::Cpu);
        let own = pass(&model, &batch, &batch.members(), 4096, 0.9).logprobs_n;
        let apart = (&own - &batch.sampled_n).abs().max().double_value(&[]);
        assert!(apart < 1e-4, "{shaping:?}: {apart:e} nats");
        assert!(
            batch.sampled_n.exp().mean(Kind::Double).double_value(&[]) > 1.0 / 200.0,
            "nothing was truncated"
        );
    }
}

/// Masked logits, a softmax over what is left, and autograd. Observed 4e-7.
#[test]
fn the_gradient_is_that_of_a_softmax_over_what_is_left() {
    let mut policy = tiny_policy(Kind::Float);
    policy.truncation = Some(Shaping { top_k: 40, ..Shaping::default() });
    // The second target is hardly among the forty most probable ones of each place: it counts all the same.
    let pack = Pack::new(&[60, 61, 62], [&[65i64, 1, 200, 90][..], &[7, 250]]);
    let target_n = pack.targets(Device::Cpu);
    let weight_n = Tensor::from_slice(&[0.5f32, -1.0, 2.0, 0.7, -0.3, 1.1]);

    let model = policy.training_model(0);
    let pass = pack.pass(&model);
    let forward = token_logprobs::forward(&model, &pass.hidden_ne, &target_n, 0.8);
    let by =
        token_logprobs::Gradients { logprobs_n: weight_n.shallow_clone(), entropy_n: None, log_sum_n: None };
    let gradient_ne = token_logprobs::backward(&model, &pass.hidden_ne, &target_n, 0.8, &forward, &by);
    pass.backward(&gradient_ne);
    let ours = take_gradient(&policy.weights);

    let logits = pack.logits(&policy.model()) / 0.8;
    let least = logits.detach().topk(40, -1, true, true).0.narrow(-1, 39, 1);
    let is_target = Tensor::zeros_like(&logits.detach()).scatter_value(-1, &target_n.unsqueeze(-1), 1.0);
    let dropped = logits.detach().lt_tensor(&least).logical_and(&is_target.eq(0.0));
    assert!(is_target.logical_and(&logits.detach().lt_tensor(&least)).any().int64_value(&[]) == 1);
    let left = logits.masked_fill(&dropped, f64::NEG_INFINITY).log_softmax(-1, Kind::Float);
    let logprobs_n = left.gather(-1, &target_n.unsqueeze(-1), false).squeeze_dim(-1);
    assert_near("logprobs", &forward.logprobs_n, &logprobs_n, 1e-5);
    (logprobs_n * weight_n).sum(Kind::Float).backward();
    assert_near("gradient", &ours, &take_gradient(&policy.weights), 1e-4);
}
