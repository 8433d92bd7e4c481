//! The forward and backward pass over packs: transformers, and separate sequences.

use rltrain::policy::token_logprobs::Gradients;
use rltrain::policy::{Architecture, Network, Pack, Weights, logprobs_and_entropy, token_logprobs};
use tch::{Device, Kind, Tensor};

use super::{
    assert_near, golden, golden_path, logprobs_alone, relative_difference, take_gradient, tiny_policy,
};

/// The random Llama that transformers made, with what it computed.
fn transformers_llama() -> (Architecture, Weights) {
    let folder = golden_path("llama_tiny");
    let json = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let config = Architecture::from_json(&json).unwrap();
    let weights = Weights::load(&folder, &config.shapes(), Device::Cpu).unwrap();
    (config, weights)
}

fn ids(tensor: &Tensor) -> Vec<i64> {
    Vec::try_from(tensor).unwrap()
}

/// Logprobs of a pack's completion tokens at temperature 1.
fn packed_logprobs(model: &Network, pack: &Pack) -> Tensor {
    logprobs_and_entropy(&pack.logits(model), &pack.targets(Device::Cpu), 1.0).0
}

/// Both are f32 on the same products; observed at most 1e-6.
#[test]
fn logits_are_those_of_transformers() {
    let expected = golden("llama_tiny/expected.safetensors");
    let (config, weights) = transformers_llama();
    let model = tch::no_grad(|| Network::new(&config, &weights, Kind::Float));
    for index in 0..3 {
        let mut tokens = ids(&expected[&format!("prompt/{index}")]);
        // One token more, so that the logits after the last one are among those that predict something.
        tokens.push(0);
        for border in [1, tokens.len().div_ceil(2)] {
            let pack = Pack::new(&tokens[..border], [&tokens[border..]]);
            let theirs = expected[&format!("logits/{index}")].slice(0, border as i64 - 1, None, 1);
            let ours = tch::no_grad(|| pack.logits(&model));
            assert_near(&format!("prompt {index} packed from {border}"), &ours, &theirs, 1e-5);
        }
    }
}

/// Observed at most 2e-6 for a parameter.
#[test]
fn the_gradient_of_a_packed_group_is_that_of_transformers_on_separate_sequences() {
    let expected = golden("llama_tiny/expected.safetensors");
    let (config, weights) = transformers_llama();
    let completions: Vec<Vec<i64>> =
        (0..2).map(|index| ids(&expected[&format!("completion/{index}")])).collect();
    let pack = Pack::new(&ids(&expected["prompt/0"]), completions.iter().map(Vec::as_slice));
    let logprobs = packed_logprobs(&Network::new(&config, &weights, Kind::Float), &pack);
    logprobs.sum(Kind::Float).backward();
    let theirs = Tensor::cat(&[&expected["logprobs/0"], &expected["logprobs/1"]], 0);
    assert_near("logprobs", &logprobs, &theirs, 1e-5);
    for (name, weight) in weights.iter() {
        assert_near(name, &weight.grad(), &expected[&format!("gradient/{name}")], 1e-5);
    }
}

/// A prompt and completions of several lengths, one of a single token, two with a common beginning.
fn group() -> (Vec<i64>, Vec<Vec<i64>>) {
    let text = |text: &str| text.bytes().map(i64::from).collect::<Vec<i64>>();
    let completions = ["\n    return x + 1\n", "\n    return x", "?", "\n    y = x * x\n    return y\n"];
    (text("def next(x):"), completions.map(text).to_vec())
}

/// Observed 7e-8 for logprobs and 4e-7 for the gradient.
#[test]
fn a_packed_group_has_the_logprobs_and_the_gradient_of_separate_sequences() {
    let policy = tiny_policy(Kind::Float);
    let (prompt, completions) = group();
    let packed = packed_logprobs(&policy.model(), &Pack::new(&prompt, completions.iter().map(Vec::as_slice)));
    // Unequal weights, so that gradients of tokens cannot be confused with each other.
    let weight_n = (Tensor::arange(packed.size()[0], (Kind::Float, Device::Cpu)) * 0.7).sin();
    (&packed * &weight_n).sum(Kind::Float).backward();
    let packed_gradient = take_gradient(&policy.weights);

    let model = policy.model();
    let alone = completions.iter().map(|completion| logprobs_alone(&model, &prompt, completion, 1.0));
    let alone = Tensor::cat(&alone.collect::<Vec<_>>(), 0);
    (&alone * &weight_n).sum(Kind::Float).backward();
    assert_near("logprobs", &packed, &alone, 1e-5);
    assert_near("the gradient", &packed_gradient, &take_gradient(&policy.weights), 1e-5);
}

#[test]
fn entropy_and_logprobs_are_those_of_the_tempered_distribution() {
    let logits = Tensor::from_slice2(&[[0.0f32, 1.0, 2.0], [-40.0, 0.0, 40.0]]);
    let target = Tensor::from_slice(&[1i64, 2]);
    for temperature in [0.5, 1.0, 2.0] {
        let (logprobs, entropy) = logprobs_and_entropy(&logits, &target, temperature);
        let probability = (logits.to_kind(Kind::Double) / temperature).softmax(-1, Kind::Double);
        let wanted = probability.gather(1, &target.unsqueeze(1), false).squeeze_dim(1).log();
        assert!(logprobs.to_kind(Kind::Double).allclose(&wanted, 1e-6, 1e-6, false), "{logprobs} {wanted}");
        let wanted = -(&probability * (&probability + 1e-300).log()).sum_dim_intlist(-1, false, Kind::Double);
        assert!(entropy.to_kind(Kind::Double).allclose(&wanted, 1e-5, 1e-6, false), "{entropy} {wanted}");
    }
}

/// Sums of the same f32 terms in another order; observed at most 4e-7.
#[test]
fn logprobs_in_pieces_have_the_values_and_the_gradients_of_all_logits_at_once() {
    let policy = tiny_policy(Kind::Float);
    let (prompt, completions) = group();
    let pack = Pack::new(&prompt, completions.iter().map(Vec::as_slice));
    let target_n = pack.targets(Device::Cpu);
    let wave = |step: f64| (Tensor::arange(target_n.numel() as i64, (Kind::Float, Device::Cpu)) * step).sin();
    let (logprob_gradient_n, entropy_gradient_n, log_sum_gradient_n) = (wave(0.7), wave(0.3), wave(0.9));
    for (temperature, bonus) in [(1.0, false), (0.7, true), (1.3, true)] {
        let model = policy.model();
        let scaled = pack.logits(&model) / temperature;
        let log_softmax = scaled.log_softmax(-1, Kind::Float);
        let log_sum = scaled.logsumexp(-1, false);
        let logprobs = log_softmax.gather(-1, &target_n.unsqueeze(-1), false).squeeze_dim(-1);
        let entropy = -(log_softmax.exp() * &log_softmax).sum_dim_intlist(-1, false, Kind::Float);
        let mut loss = (&logprobs * &logprob_gradient_n).sum(Kind::Float);
        if bonus {
            loss += (&entropy * &entropy_gradient_n + &log_sum * &log_sum_gradient_n).sum(Kind::Float);
        }
        loss.backward();
        let whole = take_gradient(&policy.weights);

        let model = policy.model();
        let hidden_ne = pack.hidden(&model);
        let forward = token_logprobs::forward(&model, &hidden_ne, &target_n, temperature);
        assert_near("logprobs", &forward.logprobs_n, &logprobs, 1e-5);
        assert_near("entropy", &forward.entropy_n, &entropy, 1e-5);
        assert_near("denominator", &forward.log_sum_n, &log_sum, 1e-5);
        let gradients = Gradients {
            logprobs_n: logprob_gradient_n.shallow_clone(),
            entropy_n: bonus.then(|| entropy_gradient_n.shallow_clone()),
            log_sum_n: bonus.then(|| log_sum_gradient_n.shallow_clone()),
        };
        let gradient_ne =
            token_logprobs::backward(&model, &hidden_ne, &target_n, temperature, &forward, &gradients);
        (hidden_ne * gradient_ne).sum(Kind::Float).backward();
        let what =
            format!("the gradient at temperature {temperature}, with entropy and denominator: {bonus}");
        assert_near(&what, &take_gradient(&policy.weights), &whole, 1e-5);
    }
}

/// bf16 keeps 8 bits: about 1 % of error per value, most of which cancels. Observed: cosine 0.99997, difference 8e-3.
#[test]
fn the_gradient_in_bf16_points_where_that_in_f32_points() {
    let mut policy = tiny_policy(Kind::Float);
    let (prompt, completions) = group();
    let pack = Pack::new(&prompt, completions.iter().map(Vec::as_slice));
    let mut gradient = |compute| {
        policy.compute = compute;
        packed_logprobs(&policy.model(), &pack).mean(Kind::Float).backward();
        take_gradient(&policy.weights)
    };
    let (full, half) = (gradient(Kind::Float), gradient(Kind::BFloat16));
    let cosine = (full.dot(&half) / full.norm() / half.norm()).double_value(&[]);
    assert!(cosine > 0.99, "cosine {cosine}");
    let difference = relative_difference(&half, &full);
    assert!(difference > 1e-5 && difference < 0.1, "bf16 differs by {difference:e}");
}
