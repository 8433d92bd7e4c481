//! The rollout engine: what it records, and what its samples do not depend on.

use std::collections::BTreeMap;

use rltrain::policy::{Pack, Policy, logprobs_and_entropy};
use rltrain::rng::Stream;
use rltrain::rollout::{Completion, Finish, Request, Sampling, Shaping, generate};
use tch::{Device, Kind, Tensor};

use super::{logits_alone, logprobs_alone, tiny_policy};

const MAX_TOKENS: usize = 24;

fn sampling(temperature: f64) -> Sampling {
    Sampling {
        seed: 7,
        stream: Stream::Sampling,
        step: 3,
        temperature,
        max_tokens: MAX_TOKENS,
        stop: Vec::new(),
        max_batch: 64,
        ..Sampling::default()
    }
}

/// Prompts of several lengths, and unequal numbers of samples.
fn requests() -> Vec<Request> {
    let request = |task, prompt: &str, samples| Request {
        prompt: prompt.bytes().map(i64::from).collect(),
        samples,
        task,
        ..Request::default()
    };
    vec![
        request(0, "def same(x):", 9),
        request(1, "?", 4),
        request(2, "def minus(x): return 0 -", 12),
        request(3, "two", 1),
    ]
}

/// Every completion by request and sample, each exactly once.
fn sample(
    policy: &Policy,
    requests: &[Request],
    sampling: &Sampling,
) -> BTreeMap<(usize, usize), Completion> {
    let mut completions = BTreeMap::new();
    let model = tch::no_grad(|| policy.model());
    let mut on_finished = |completion: Completion| {
        let place = (completion.request, completion.sample);
        assert!(completions.insert(place, completion).is_none(), "{place:?} came twice");
    };
    generate(&model, &policy.tokenizer, requests, sampling, &mut on_finished).unwrap();
    let wanted = requests.iter().enumerate();
    let wanted: Vec<_> = wanted.flat_map(|(r, request)| (0..request.samples).map(move |s| (r, s))).collect();
    assert_eq!(completions.keys().copied().collect::<Vec<_>>(), wanted, "every sample of every request");
    completions
}

/// Same tokens and texts, and logprobs that differ by rounding alone.
#[track_caller]
fn assert_same(ours: &Completion, theirs: &Completion) {
    assert_eq!((&ours.tokens, &ours.text, ours.finish), (&theirs.tokens, &theirs.text, theirs.finish));
    for (ours, theirs) in ours.logprobs.iter().zip(&theirs.logprobs) {
        assert!((ours - theirs).abs() < 1e-5, "logprobs {ours} and {theirs}");
    }
}

/// One network, two ways through it: token by token over a cache, and packed. Observed 1e-6 nats.
#[test]
fn the_logprobs_recorded_at_sampling_are_those_that_the_update_computes() {
    let policy = tiny_policy(Kind::Float);
    let requests = requests();
    for temperature in [1.0, 0.6] {
        let completions = sample(&policy, &requests, &sampling(temperature));
        let model = tch::no_grad(|| policy.model());
        for (index, request) in requests.iter().enumerate() {
            let group: Vec<&Completion> =
                completions.values().filter(|completion| completion.request == index).collect();
            let pack = Pack::new(&request.prompt, group.iter().map(|completion| &completion.tokens[..]));
            let computed = tch::no_grad(|| {
                logprobs_and_entropy(&pack.logits(&model), &pack.targets(Device::Cpu), temperature).0
            });
            let recorded: Vec<f32> =
                group.iter().flat_map(|completion| completion.logprobs.clone()).collect();
            let difference = (computed - Tensor::from_slice(&recorded)).abs().max().double_value(&[]);
            assert!(difference <= 1e-4, "request {index} at temperature {temperature}: {difference:e} nats");
        }
    }
}

/// With one thread, products whose rows are padded to multiples of 16 round alike: not a bit of a sample depends on its
/// neighbours.
#[test]
fn not_a_bit_of_a_sample_depends_on_how_many_are_decoded_together() {
    for compute in [Kind::Float, Kind::BFloat16] {
        let policy = tiny_policy(compute);
        let together = sample(&policy, &requests(), &sampling(1.0));
        for max_batch in [1, 3, 7, 13, 25] {
            let apart = sample(&policy, &requests(), &Sampling { max_batch, ..sampling(1.0) });
            for (place, completion) in &apart {
                assert_same(completion, &together[place]);
                assert_eq!(
                    completion.logprobs, together[place].logprobs,
                    "{compute:?}, {max_batch} together"
                );
            }
        }
    }
}

#[test]
fn requests_with_the_same_prompt_are_requests_of_their_own() {
    let policy = tiny_policy(Kind::Float);
    let twice = |tasks: [u64; 2]| -> Vec<Request> {
        tasks.map(|task| Request { samples: 5, task, ..requests().remove(0) }).into()
    };
    let both = sample(&policy, &twice([0, 4]), &Sampling { max_batch: 3, ..sampling(1.0) });
    for (place, task) in [0, 4].into_iter().enumerate() {
        let alone = sample(&policy, &twice([task, 9])[..1], &sampling(1.0));
        for number in 0..5 {
            assert_same(&both[&(place, number)], &alone[&(0, number)]);
        }
    }
    assert_ne!(both[&(0, 0)].tokens, both[&(1, 0)].tokens);
}

/// 2 * 5 layers * 2 heads * 16 wide * 4 bytes = 1280 bytes a token, 48 tokens a row after rounding up: 17 rows are 1.0 MiB.
#[test]
fn memory_of_keys_and_values_bounds_how_many_are_decoded_together() {
    let policy = tiny_policy(Kind::Float);
    let many = [Request { samples: 40, ..requests().remove(0) }];
    let free = sample(&policy, &many, &sampling(1.0));
    let bounded = sample(&policy, &many, &Sampling { kv_memory_mib: Some(1), ..sampling(1.0) });
    for (place, completion) in &bounded {
        assert_same(completion, &free[place]);
    }
    let model = tch::no_grad(|| policy.model());
    let greedy = Sampling { kv_memory_mib: Some(1), max_tokens: 100, ..sampling(1.0) };
    let error = generate(&model, &policy.tokenizer, &many, &greedy, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("kv_memory_mib = 1") && error.contains("take 3 MiB"), "{error}");
}

/// Whatever shapes the distribution: what is recorded is the log-probability of the shaped one at every draw, and beside it
/// that of the model's own, which the update computes.
#[test]
fn both_logprobs_of_a_shaped_distribution_are_recorded() {
    let policy = tiny_policy(Kind::Float);
    let request = [Request { samples: 6, ..requests().remove(2) }];
    let model = tch::no_grad(|| policy.model());
    let shapings = [
        Shaping { top_k: 5, ..Shaping::default() },
        Shaping { top_p: 0.3, ..Shaping::default() },
        Shaping { min_p: 0.9, ..Shaping::default() },
        Shaping { repetition_penalty: 1.5, ..Shaping::default() },
    ];
    for shaping in shapings {
        let how = Sampling { shaping, entropy: true, ..sampling(0.7) };
        for completion in sample(&policy, &request, &how).values() {
            let own = tch::no_grad(|| logprobs_alone(&model, &request[0].prompt, &completion.tokens, 0.7));
            let own = Vec::<f32>::try_from(own).unwrap();
            let mut differs = 0;
            for (place, own) in own.iter().enumerate() {
                let (unshaped, shaped) = (completion.unshaped_logprobs[place], completion.logprobs[place]);
                assert!((own - unshaped).abs() < 1e-4, "{shaping:?}: {own} and {unshaped}");
                let entropy = completion.entropies[place];
                assert!(entropy > -1e-6 && shaped <= 0.0 && shaped.is_finite());
                if shaping.top_k == 5 {
                    assert!(entropy <= 5f32.ln() + 1e-5, "entropy of five tokens is {entropy}");
                }
                differs += usize::from((shaped - unshaped).abs() > 1e-3);
            }
            assert!(differs > 0, "{shaping:?} changed nothing");
        }
    }
    for completion in sample(&policy, &request, &sampling(0.7)).values() {
        assert_eq!(completion.logprobs, completion.unshaped_logprobs);
        assert!(completion.entropies.is_empty());
    }
}

#[test]
fn samples_do_not_depend_on_which_other_requests_there_are() {
    let policy = tiny_policy(Kind::Float);
    let together = sample(&policy, &requests(), &sampling(1.0));
    for (index, request) in requests().into_iter().enumerate() {
        let fewer = Request { samples: request.samples.min(5), ..request };
        for ((_, number), completion) in sample(&policy, &[fewer], &sampling(1.0)) {
            assert_same(&completion, &together[&(index, number)]);
        }
    }
}

#[test]
fn another_seed_step_task_or_sample_draws_other_tokens() {
    let policy = tiny_policy(Kind::Float);
    let request = Request { samples: 2, ..requests().remove(0) };
    let first = |request: &Request, sampling: &Sampling| {
        sample(&policy, std::slice::from_ref(request), sampling)[&(0, 0)].tokens.clone()
    };
    let base = sampling(1.0);
    let tokens = first(&request, &base);
    assert_ne!(tokens, sample(&policy, std::slice::from_ref(&request), &base)[&(0, 1)].tokens);
    assert_ne!(tokens, first(&Request { task: 9, ..request.clone() }, &base));
    for other in [
        Sampling { seed: 8, ..base.clone() },
        Sampling { step: 4, ..base.clone() },
        Sampling { stream: Stream::Evaluation, ..base.clone() },
    ] {
        assert_ne!(tokens, first(&request, &other));
    }
}

#[test]
fn greedy_decoding_over_the_cache_is_greedy_decoding_from_scratch() {
    let policy = tiny_policy(Kind::Float);
    let model = tch::no_grad(|| policy.model());
    let requests: Vec<Request> =
        requests().into_iter().map(|request| Request { samples: 1, ..request }).collect();
    let completions = sample(&policy, &requests, &sampling(0.0));
    for (index, request) in requests.iter().enumerate() {
        let mut tokens = request.prompt.clone();
        loop {
            let logits = tch::no_grad(|| logits_alone(&model, &tokens));
            let token = logits.select(0, -1).argmax(-1, false).int64_value(&[]);
            tokens.push(token);
            if policy.tokenizer.stop_ids.contains(&token) || tokens.len() == request.prompt.len() + MAX_TOKENS
            {
                break;
            }
        }
        assert_eq!(completions[&(index, 0)].tokens, tokens[request.prompt.len()..], "request {index}");
    }
}

#[test]
fn a_completion_ends_at_its_first_stop_id_or_after_the_most_tokens_allowed() {
    let policy = tiny_policy(Kind::Float);
    let stops = |token: &i64| policy.tokenizer.stop_ids.contains(token);
    let mut ends = [0, 0];
    // A nearly uniform model draws one of the two stop ids once in 130 tokens.
    for completion in sample(&policy, &requests(), &Sampling { max_tokens: 60, ..sampling(1.0) }).values() {
        let (last, before) = completion.tokens.split_last().unwrap();
        assert!(!before.iter().any(stops), "went on after a stop id: {completion:?}");
        let stopped = completion.finish == Finish::Stop;
        assert_eq!(stopped, stops(last), "{completion:?}");
        assert!(stopped || completion.tokens.len() == 60, "{completion:?}");
        assert_eq!(completion.tokens.len(), completion.logprobs.len());
        assert_eq!(completion.text, policy.tokenizer.decode(&completion.tokens).unwrap());
        ends[usize::from(stopped)] += 1;
    }
    assert!(ends.iter().all(|count| *count > 0), "one kind of end never came: {ends:?}");
}

#[test]
fn a_completion_ends_with_the_token_that_completes_a_stop_text_which_is_cut() {
    let policy = tiny_policy(Kind::Float);
    let free = sample(&policy, &requests(), &sampling(1.0));
    // Two ASCII characters that some completion has side by side, in its middle.
    let pair = |completion: &Completion| {
        let text = completion.text.get(4..)?;
        let place = text.as_bytes().windows(2).position(|pair| pair.is_ascii())?;
        Some(text[place..place + 2].to_owned())
    };
    let stop: Vec<String> = free.values().filter_map(pair).take(3).collect();
    assert_eq!(stop.len(), 3);
    let mut cut = 0;
    for (place, completion) in sample(&policy, &requests(), &Sampling { stop: stop.clone(), ..sampling(1.0) })
    {
        let without = &free[&place];
        assert_eq!(
            completion.tokens,
            without.tokens[..completion.tokens.len()],
            "stopping changed what is sampled"
        );
        let found = stop.iter().filter_map(|stop| without.text.find(stop)).min();
        let Some(end) = found else {
            assert_same(&completion, without);
            continue;
        };
        assert_eq!((completion.finish, &completion.text[..]), (Finish::Stop, &without.text[..end]));
        let (_, before) = completion.tokens.split_last().unwrap();
        let earlier = policy.tokenizer.decode(before).unwrap();
        assert!(!stop.iter().any(|stop| earlier.contains(stop)), "went on after a stop text");
        cut += 1;
    }
    assert!(cut >= 3);
}
