//! Attempts of several turns: what the environment said is read, and nothing else.

use rltrain::algorithm::AlgorithmConfig;
use rltrain::batch::Batch;
use rltrain::critic::CriticConfig;
use rltrain::optim::{OptimizerConfig, accumulate};
use rltrain::policy::{Continuation, Interjection, Pack, logprobs_and_entropy};
use rltrain::rollout::{Completion, Finish, Group, Histories, Request, Sampling, generate, generate_from};
use tch::{Device, Kind, Tensor};

use super::{assert_near, logprobs_alone, settings, take_gradient, tiny_policy};

fn bytes(text: &str) -> Vec<i64> {
    text.bytes().map(i64::from).collect()
}

/// Two turns with a reply between them, as the policy's tokens and what was said.
fn two_turns() -> (Vec<i64>, Vec<Interjection>) {
    let own = bytes("x + 2\nx + 1\n");
    (own, vec![Interjection { after: 6, tokens: bytes("# wrong, again: ") }])
}

/// The tokens of both turns as one sequence, and which of them are the policy's.
fn as_read() -> (Vec<i64>, Vec<i64>) {
    let (tokens, interjections) = two_turns();
    let read = Continuation { tokens: &tokens, interjections: &interjections }.read();
    let (mut all, mut own) = (Vec::new(), Vec::new());
    for (place, (token, is_own)) in read.enumerate() {
        all.push(token);
        own.extend(is_own.then_some(place as i64));
    }
    (all, own)
}

#[test]
fn a_turn_is_predicted_from_all_that_was_said_before_it() {
    let policy = tiny_policy(Kind::Float);
    let model = policy.model();
    let prompt = bytes("def next(x): return ");
    let (tokens, interjections) = two_turns();
    let plain = bytes("x\n");
    let pack = Pack::new(
        &prompt,
        [Continuation { tokens: &tokens, interjections: &interjections }, (&plain[..]).into()],
    );
    let packed = logprobs_and_entropy(&pack.logits(&model), &pack.targets(Device::Cpu), 1.0).0;
    let (all, own) = as_read();
    let first = logprobs_alone(&model, &prompt, &all, 1.0).index_select(0, &Tensor::from_slice(&own));
    let second = logprobs_alone(&model, &prompt, &plain, 1.0);
    assert_near("logprobs", &packed, &Tensor::cat(&[first, second], 0), 1e-5);
}

/// The loss by its formula over the policy's own tokens of one long sequence: what was said is in no term and in no
/// denominator.
#[test]
fn what_the_environment_said_is_in_no_loss_and_no_denominator() {
    let policy = tiny_policy(Kind::Float);
    let prompt = bytes("def next(x): return ");
    let (tokens, interjections) = two_turns();
    let logprobs = vec![-5.5; tokens.len()];
    let count = tokens.len();
    let completion = Completion { tokens, interjections, logprobs, ..Completion::default() };
    let groups = [Group { task: 0, prompt: prompt.clone(), completions: vec![completion] }];
    let (optimizer, critic) = (OptimizerConfig::default(), CriticConfig::default());
    let algorithm = AlgorithmConfig::default();
    let batch = Batch::new(&groups, Device::Cpu).with_advantages([0.7]);
    assert_eq!(batch.sampled_n.size(), [count as i64]);
    let how = settings(&algorithm, &optimizer, &critic);
    let report = accumulate(&policy, None, &batch, &batch.members(), &how, 0);
    let ours = take_gradient(&policy.weights);
    assert_eq!(report.trained_tokens, count);

    let (all, own) = as_read();
    let own_n =
        logprobs_alone(&policy.model(), &prompt, &all, 1.0).index_select(0, &Tensor::from_slice(&own));
    let ratio_n = (own_n + 5.5).exp();
    let clipped_n = ratio_n.clamp(1.0 - algorithm.clip_low, 1.0 + algorithm.clip_high);
    let loss = -(ratio_n * 0.7).minimum(&(clipped_n * 0.7)).sum(Kind::Float) / count as f64;
    loss.backward();
    assert!((report.loss - loss.double_value(&[])).abs() < 1e-5);
    assert_near("the gradient", &ours, &take_gradient(&policy.weights), 1e-4);
}

/// What a turn draws is what one long completion would have drawn there: random numbers go on where the turn before ended.
#[test]
fn random_numbers_go_on_from_turn_to_turn() {
    let policy = tiny_policy(Kind::Float);
    let model = tch::no_grad(|| policy.model());
    let sampling = Sampling { seed: 5, step: 2, max_tokens: 24, ..Sampling::default() };
    let sample = |request: &Request| {
        let mut completions = Vec::new();
        let requests = std::slice::from_ref(request);
        generate(&model, &policy.tokenizer, requests, &sampling, &mut |done| completions.push(done)).unwrap();
        completions.sort_by_key(|completion| completion.sample);
        completions
    };
    let whole = Request { prompt: bytes("def f(x):"), samples: 4, task: 3, ..Request::default() };
    let mut compared = 0;
    for completion in sample(&whole) {
        let drawn = 10;
        let Some(rest) = completion.tokens.get(drawn..) else { continue };
        let request = Request {
            prompt: [&whole.prompt[..], &completion.tokens[..drawn]].concat(),
            samples: 1,
            first_sample: completion.sample,
            drawn,
            ..whole.clone()
        };
        let tokens = sample(&request).remove(0).tokens;
        assert_eq!(tokens[..rest.len()], *rest, "sample {}", completion.sample);
        let other = Request { first_sample: completion.sample + 1, ..request };
        assert_ne!(sample(&other)[0].tokens, tokens);
        compared += 1;
    }
    assert!(compared >= 2);
}

/// What is written already is part of the completion: it is handed over, counts towards the longest and is searched for stop texts,
/// and the random numbers are those of the tokens behind it.
#[test]
fn a_completion_goes_on_from_any_of_its_tokens_to_the_same_end() {
    let policy = tiny_policy(Kind::Float);
    let model = tch::no_grad(|| policy.model());
    let stop = ["q", "zz"].map(str::to_owned).to_vec();
    let sampling = Sampling { seed: 5, step: 2, max_tokens: 24, stop, ..Sampling::default() };
    let sample = |requests: &[Request]| {
        let mut completions = Vec::new();
        generate(&model, &policy.tokenizer, requests, &sampling, &mut |done| completions.push(done)).unwrap();
        completions.sort_by_key(|completion| (completion.request, completion.sample));
        completions
    };
    let whole = Request { prompt: bytes("def f(x):"), samples: 8, task: 3, ..Request::default() };
    let completions = sample(std::slice::from_ref(&whole));
    let request = |completion: &Completion, written: usize| Request {
        prompt: [&whole.prompt[..], &completion.tokens[..written]].concat(),
        samples: 1,
        first_sample: completion.sample,
        written,
        begun: written,
        ..whole.clone()
    };
    let written = |completion: &Completion| (completion.sample * 3).min(completion.tokens.len() - 1);
    let requests: Vec<Request> =
        completions.iter().map(|completion| request(completion, written(completion))).collect();
    let again = sample(&requests);
    for (completion, again) in completions.iter().zip(&again) {
        assert_eq!((&again.tokens, &again.text), (&completion.tokens, &completion.text));
        assert_eq!((again.finish, again.logprobs.len()), (completion.finish, completion.tokens.len()));
        let written = written(completion);
        assert!(again.logprobs[..written].iter().all(|logprob| *logprob == 0.0));
        let near = |(one, other): (&f32, &f32)| (one - other).abs() < 1e-4;
        assert!(again.logprobs[written..].iter().zip(&completion.logprobs[written..]).all(near));
    }
    assert!(completions.iter().any(|completion| completion.finish == Finish::Length));
    assert!(completions.iter().any(|completion| completion.finish == Finish::Stop));
    // A prompt that is as long without being written is another request.
    let other = Request { written: 0, begun: 0, ..requests[4].clone() };
    assert_ne!(sample(&[other])[0].tokens.len(), 0);
    assert!(
        !sample(&[Request { written: 0, begun: 0, ..requests[4].clone() }])[0]
            .tokens
            .starts_with(&completions[4].tokens[..12])
    );
}

/// The second turn of attempts whose first turn is kept, and of the same attempts computed anew. Keys and values of sampled
/// tokens were computed one by one, those of a prompt together, and differ by rounding; observed 5e-7 nats.
#[test]
fn a_turn_draws_the_same_tokens_from_kept_keys_and_values_as_from_new_ones() {
    let policy = tiny_policy(Kind::Float);
    let model = tch::no_grad(|| policy.model());
    let stop = ["q", "z", "k", "w", "a", "e", "i"].map(str::to_owned).to_vec();
    let sampling = Sampling { seed: 9, max_tokens: 40, max_batch: 5, stop, ..Sampling::default() };
    let prompts = ["def same(x):", "def other(x): return"];
    let request = |(task, prompt): (u64, &&str)| Request {
        prompt: bytes(prompt),
        samples: 9,
        task,
        ..Request::default()
    };
    let first: Vec<Request> = (0..).zip(&prompts).map(request).collect();
    let run = |histories: &mut Histories<'_>, requests: &[Request]| {
        let mut completions = Vec::new();
        let mut on_finished = |completion: Completion| completions.push(completion);
        generate_from(histories, &policy.tokenizer, requests, &sampling, &mut on_finished).unwrap();
        completions.sort_by_key(|completion| (completion.request, completion.sample));
        completions
    };
    let (mut kept, mut off) = (Histories::new(&model), Histories::off(&model));
    let attempts = run(&mut kept, &first);
    let second: Vec<Request> = attempts
        .iter()
        .filter(|attempt| attempt.finish == Finish::Stop)
        .map(|attempt| {
            let before = &first[attempt.request];
            Request {
                prompt: [&before.prompt[..], &attempt.tokens, &bytes(" # again: ")].concat(),
                samples: 1,
                first_sample: attempt.sample,
                drawn: attempt.tokens.len(),
                ..before.clone()
            }
        })
        .collect();
    assert!(second.len() >= 5);
    let before = kept.prefill;
    kept.keep(false);
    let (ours, theirs) = (run(&mut kept, &second), run(&mut off, &second));
    let mut apart = 0f32;
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours.tokens, theirs.tokens);
        let pairs = ours.logprobs.iter().zip(&theirs.logprobs);
        apart = pairs.map(|(one, other)| (one - other).abs()).fold(apart, f32::max);
    }
    assert!(apart < 1e-5, "{apart:e} nats");
    // All but the last token of each first turn was there.
    let whole: usize = second.iter().map(|request| request.prompt.len()).sum();
    let reply = bytes(" # again: ").len() + 1;
    assert_eq!(kept.prefill.computed - before.computed, second.len() * reply);
    assert_eq!(kept.prefill.reused - before.reused, whole - second.len() * reply);
    assert_eq!(off.prefill.reused, 0);
}
