//! Rollouts beside transformers' `generate`, on the same weights, prompts, token counts, threads and dtype. `make bench-rollout`
//! runs it.
//!
//! 64 sequences, eight samples of each of eight prompts of 64 tokens, 128 new tokens each, at temperature 1. All sides take
//! turns for several rounds, and medians are printed. The machine's limit is measured in the same rounds: what the products,
//! the attention and the draw of the decode steps cost alone.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod support;

use std::path::Path;
use std::sync::Arc;

use rltrain::policy::{Compute, Policy};
use rltrain::rng::{Stream, uniform};
use rltrain::rollout::{self, Request, Sampling};
use serde_json::json;
use tch::Kind;

use support::limit::{Limit, Parts};
use support::models::{compute, load, models, rounds};
use support::peer::{Peer, Setting};
use support::{Cost, Failure, THREADS, machine, measure, median, root};

/// Prompts, samples of each, and their lengths in tokens.
const PROMPTS: usize = 8;
const SAMPLES: usize = 8;
const PROMPT_TOKENS: usize = 64;
const NEW_TOKENS: usize = 128;

/// Rounds of each side; `RLTRAIN_BENCH_ROUNDS` asks for another number.
const ROUNDS: usize = 5;

fn main() -> Result<(), Failure> {
    rltrain::cli::startup::settle();
    tch::set_num_threads(THREADS);
    let compute = compute();
    let rounds = rounds(ROUNDS)?;
    println!("{}", machine());
    println!(
        "{PROMPTS} prompts of {PROMPT_TOKENS} tokens, {SAMPLES} samples of each, {NEW_TOKENS} new tokens, {THREADS} threads, \
         {rounds} rounds in turns, medians"
    );
    println!(
        "| model | dtype | ours tokens/s | ours wall / cpu s | stock wall / cpu s | same MKL path wall / cpu s | to stock | to \
         same path | limit tokens/s | of the limit | limit: products, attention, draw ms |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (name, folder) in models(&root()) {
        report(&name, &folder, compute, rounds)?;
    }
    println!("load afterwards: {}", machine());
    Ok(())
}

fn report(name: &str, folder: &Path, compute: Compute, rounds: usize) -> Result<(), Failure> {
    let mut policy = load(folder, compute)?;
    // Both sides sample to the full length.
    let tokenizer = Arc::get_mut(&mut policy.tokenizer).expect("nobody else has it yet");
    tokenizer.stop_ids.clear();
    let dtype = if policy.compute == Kind::BFloat16 { "bf16" } else { "f32" };
    let path = folder.to_string_lossy();
    let mut peers = Vec::new();
    if std::env::var_os("RLTRAIN_BENCH_ALONE").is_none() {
        for setting in Setting::ALL {
            peers.push(Peer::start("bench_generate.py", &[&path, dtype, &THREADS.to_string()], setting)?);
        }
    }
    let requests = requests(policy.architecture.sizes().vocab_size);
    let prompts: Vec<&[i64]> = requests
        .iter()
        .flat_map(|request| std::iter::repeat_n(&request.prompt[..], request.samples))
        .collect();
    let asked = json!({ "prompts": prompts, "new": NEW_TOKENS });
    let limit = Limit::new(&policy, prompts.len() as i64, (PROMPT_TOKENS + NEW_TOKENS / 2) as i64);

    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    let mut theirs = vec![Vec::new(); peers.len()];
    // The first round warms up.
    for round in 0..=rounds {
        let own = sample(&policy, &requests)?;
        let alone = limit.measure();
        for (peer, costs) in peers.iter_mut().zip(&mut theirs) {
            let cost = peer.run(&asked)?;
            if round > 0 {
                costs.push(cost);
            }
        }
        if round > 0 {
            ours.push(own);
            limits.push(alone);
        }
    }
    print(name, dtype, &ours, &theirs, &limits);
    Ok(())
}

fn print(name: &str, dtype: &str, ours: &[Cost], theirs: &[Vec<Cost>], limits: &[Parts]) {
    let tokens = (PROMPTS * SAMPLES * NEW_TOKENS) as f64;
    let wall = |costs: &[Cost]| median(costs.iter().map(|cost| cost.wall));
    let cpu = |costs: &[Cost]| median(costs.iter().map(|cost| cost.cpu));
    let own = wall(ours);
    let part = |of: fn(&Parts) -> f64| median(limits.iter().map(of));
    let limit = (PROMPTS * SAMPLES) as f64 / part(|parts| parts.total());
    let shown: Vec<String> =
        theirs.iter().map(|costs| format!("{:.2} / {:.2}", wall(costs), cpu(costs))).collect();
    let ratios: Vec<String> = theirs.iter().map(|costs| format!("{:.2}x", wall(costs) / own)).collect();
    println!(
        "| {name} | {dtype} | {:.0} | {own:.2} / {:.2} | {} | {} | {limit:.0} | {:.0} % | {:.2}, {:.2}, {:.2} |",
        tokens / own,
        cpu(ours),
        shown.join(" | "),
        ratios.join(" | "),
        100.0 * tokens / own / limit,
        part(|parts| parts.products) * 1e3,
        part(|parts| parts.attention) * 1e3,
        part(|parts| parts.sampling) * 1e3,
    );
}

/// Prompts of arbitrary tokens.
fn requests(vocabulary: i64) -> Vec<Request> {
    let token = |task, place| (uniform(0, Stream::TaskOrder, &[task, place]) * vocabulary as f64) as i64;
    (0..PROMPTS as u64)
        .map(|task| Request {
            prompt: (0..PROMPT_TOKENS as u64).map(|place| token(task, place)).collect(),
            samples: SAMPLES,
            task,
            ..Request::default()
        })
        .collect()
}

fn sample(policy: &Policy, requests: &[Request]) -> Result<Cost, Failure> {
    let sampling = Sampling {
        seed: 0,
        stream: Stream::Sampling,
        step: 0,
        temperature: 1.0,
        max_tokens: NEW_TOKENS,
        stop: Vec::new(),
        max_batch: PROMPTS * SAMPLES,
        ..Sampling::default()
    };
    let mut tokens = 0;
    let ((), cost) = measure(|| {
        let model = tch::no_grad(|| policy.model());
        let mut count = |completion: rollout::Completion| tokens += completion.tokens.len();
        Ok(rollout::generate(&model, &policy.tokenizer, requests, &sampling, &mut count)?)
    })?;
    if tokens == PROMPTS * SAMPLES * NEW_TOKENS {
        Ok(cost)
    } else {
        Err(format!("sampled {tokens} tokens").into())
    }
}
