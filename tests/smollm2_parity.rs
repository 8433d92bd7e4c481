//! The imported SmolLM2 against transformers' numbers: token ids, log-probabilities, logits, greedy
//! continuations.
//!
//! `make fetch` brings the model; `scripts/parity.py` compares the same folder from Python's side.

#![expect(clippy::print_stdout, reason = "says what was skipped and how near the numbers are")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rltrain::policy::{Network, Pack, Policy, Tokenizer, logprobs_and_entropy};
use rltrain::rng::Stream;
use rltrain::rollout::{Request, Sampling, generate};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

/// Largest difference in a log-probability that another order of summation explains.
const LOGPROBS: f64 = 1e-4;

/// A path of the repository, if this checkout has it.
fn place(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if !path.exists() {
        println!("skipped: no {}", path.display());
        return None;
    }
    Some(path)
}

fn model() -> Option<PathBuf> {
    place(".deps/models/SmolLM2-135M-Instruct/config.json")
        .and_then(|config| Some(config.parent()?.to_owned()))
}

/// CPython 3.11.7's standard library, whose files the references are about.
fn stdlib() -> Option<PathBuf> {
    let home = std::env::var_os("RLTRAIN_PYTHON_STDLIB").map(PathBuf::from);
    let pyenv =
        || Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv/versions/3.11.7/lib/python3.11"));
    let found = home.or_else(pyenv).filter(|folder| folder.exists());
    if found.is_none() {
        println!("skipped: RLTRAIN_PYTHON_STDLIB names no standard library of CPython 3.11.7");
    }
    found
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn integers(json: &Value) -> Vec<i64> {
    json.as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).collect()
}

fn floats(json: &Value) -> Tensor {
    Tensor::from_slice(
        &json.as_array().unwrap().iter().map(|n| n.as_f64().unwrap() as f32).collect::<Vec<_>>(),
    )
}

/// SHA-256, by coreutils: the references are made in Python, and nothing else here needs the function.
fn sha256(content: &[u8]) -> String {
    let mut sum = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sum.stdin.take().unwrap().write_all(content).unwrap();
    let line = String::from_utf8(sum.wait_with_output().unwrap().stdout).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

fn ids_sha256(ids: &[i64]) -> String {
    sha256(ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",").as_bytes())
}

#[test]
fn texts_and_code_are_encoded_as_by_transformers_on_the_folder() {
    let Some(folder) = model() else { return };
    let golden =
        json(&place("tests/golden/smollm2-tokens.json").expect("the golden file is part of the repository"));
    let tokenizer = Tokenizer::load(&folder).unwrap();
    for entry in golden["texts"].as_array().unwrap() {
        let text = entry["text"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text).unwrap(), integers(&entry["ids"]), "{text:?}");
    }
    let Some(stdlib) = stdlib() else { return };
    let mut lines = 0;
    for entry in golden["stdlib"].as_array().unwrap() {
        let name = entry["file"].as_str().unwrap();
        let text = std::fs::read_to_string(stdlib.join(name)).unwrap();
        if sha256(text.as_bytes()) != entry["text_sha256"].as_str().unwrap() {
            println!("skipped: {name} is another version");
            continue;
        }
        let ids = tokenizer.encode(&text).unwrap();
        assert_eq!(ids.len() as u64, entry["n"].as_u64().unwrap(), "{name}");
        assert_eq!(ids_sha256(&ids), entry["ids_sha256"].as_str().unwrap(), "{name}");
        lines += entry["lines"].as_u64().unwrap();
    }
    println!("{lines} lines of code encoded as by transformers");
}

/// transformers' own reading of the GGUF leaves out `tokenizer.ggml.pre` and with it the splitting of digits.
/// Everything else of the tokenizer is the same, which this shows by leaving the step out too;
/// `docs/results/parity.md` says why it is kept.
#[test]
fn without_the_splitting_of_digits_code_is_encoded_as_by_transformers_on_the_gguf() {
    let (Some(folder), Some(stdlib)) = (model(), stdlib()) else { return };
    let Some(reference) = place("../shared/parity/smollm2/tokenizer-stdlib.json") else { return };
    let mut step = json(&folder.join("tokenizer.json"));
    step["pre_tokenizer"] = step["pre_tokenizer"]["pretokenizers"][1].take();
    let tokenizer = tokenizers::Tokenizer::from_bytes(step.to_string()).unwrap();
    let files = ["heapq.py", "json/decoder.py", "textwrap.py", "statistics.py"];
    for (name, wanted) in files.into_iter().zip(json(&reference).as_array().unwrap()) {
        let text: String = std::fs::read_to_string(stdlib.join(name)).unwrap().chars().take(6000).collect();
        let encoding = tokenizer.encode(text, false).unwrap();
        let ids: Vec<i64> = encoding.get_ids().iter().map(|id| i64::from(*id)).collect();
        assert_eq!(ids_sha256(&ids), wanted["sha256_of_ids"].as_str().unwrap(), "{name}");
    }
}

#[test]
fn numbers_and_continuations_are_those_of_transformers() {
    let Some(folder) = model() else { return };
    let Some(reference) = place("../shared/parity/smollm2/expected.json") else { return };
    let reference = json(&reference);
    let prompts = reference["prompts"].as_array().unwrap();
    let policy = Policy::load(&folder, Kind::Float, Device::Cpu).unwrap();
    let model = tch::no_grad(|| policy.model());
    for (number, prompt) in prompts.iter().enumerate() {
        let ids = integers(&prompt["ids"]);
        assert_eq!(
            policy.tokenizer.encode(prompt["prompt"].as_str().unwrap()).unwrap(),
            ids,
            "prompt {number}"
        );
        let _no_gradient = tch::no_grad_guard();
        // One more token, whatever it is, makes the last one of the prompt a predictor too.
        let pack = Pack::new(&ids[..1], [[&ids[1..], &[0]].concat().as_slice()]);
        let logits = pack.logits(&model);
        let count = ids.len() as i64 - 1;
        let targets = pack.targets(Device::Cpu).narrow(0, 0, count);
        let logprobs = logprobs_and_entropy(&logits.narrow(0, 0, count), &targets, 1.0).0;
        let top = logits.get(-1).index_select(0, &Tensor::from_slice(&integers(&prompt["top8_last"]["ids"])));
        let furthest =
            |found: &Tensor, wanted: &Value| (found - floats(wanted)).abs().max().double_value(&[]);
        let apart = furthest(&logprobs, &prompt["logprob_of_prompt_tokens"]);
        let top_apart = furthest(&top, &prompt["top8_last"]["logits"]);
        println!("prompt {number}: logprobs within {apart:.1e}, largest logits within {top_apart:.1e}");
        assert!(apart < LOGPROBS && top_apart < LOGPROBS, "prompt {number}: {apart} {top_apart}");
    }

    let requests: Vec<Request> = (0u64..)
        .zip(prompts)
        .map(|(task, prompt)| Request {
            prompt: integers(&prompt["ids"]),
            samples: 1,
            task,
            ..Request::default()
        })
        .collect();
    let wanted: Vec<Vec<i64>> = prompts
        .iter()
        .map(|prompt| {
            let mut ids = integers(&prompt["greedy"]);
            let stop = ids.iter().position(|id| policy.tokenizer.stop_ids.contains(id));
            ids.truncate(stop.map_or(ids.len(), |place| place + 1));
            ids
        })
        .collect();
    for max_batch in [1, requests.len()] {
        let greedy = Sampling {
            stream: Stream::Evaluation,
            temperature: 0.0,
            max_tokens: prompts[0]["greedy"].as_array().unwrap().len(),
            max_batch,
            ..Sampling::default()
        };
        let mut finished = 0;
        generate(&model, &policy.tokenizer, &requests, &greedy, &mut |completion| {
            assert_eq!(completion.tokens, wanted[completion.request], "{max_batch} together over a cache");
            finished += 1;
        })
        .unwrap();
        assert_eq!(finished, prompts.len());
    }
    // Without a cache, alone and beside the others: each token is the likeliest behind those before it.
    let mut together = Pack::default();
    for (request, wanted) in requests.iter().zip(&wanted) {
        together.add(&request.prompt, [&wanted[..]]);
        let alone = Pack::new(&request.prompt, [&wanted[..]]);
        assert_eq!(likeliest(&alone, &model), *wanted, "alone without a cache");
    }
    assert_eq!(likeliest(&together, &model), wanted.concat(), "together without a cache");
}

/// The likeliest token in the place of each of a pack's completion tokens.
fn likeliest(pack: &Pack, model: &Network) -> Vec<i64> {
    Vec::try_from(tch::no_grad(|| pack.logits(model).argmax(-1, false))).unwrap()
}
