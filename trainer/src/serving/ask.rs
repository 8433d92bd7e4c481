//! What is asked of the engine, and how its keys are read out of JSON.

use axum::http::HeaderMap;
use serde_json::Value;

use super::refusal::Refusal;
use crate::policy::Tokenizer;
use crate::rng::Stream;
use crate::rollout::{Request, Sampling};

/// Header in which a trainer says what the random numbers of a sample derive from, `STREAM.SEED.STEP.TASK.SAMPLE.DRAWN`: with it, a
/// sample is the one that the trainer's own engine would have drawn. It counts for a request of one prompt.
pub const DRAWS_HEADER: &str = "x-rltrain-draws";

/// Most samples of one prompt.
const MOST_SAMPLES: u64 = 128;

/// Most texts, or tokens, that end a completion.
const MOST_STOPS: usize = 64;

/// Prompts, and how each is sampled.
pub(super) struct Ask {
    /// Token ids of each prompt.
    pub(super) prompts: Vec<Vec<i64>>,
    /// Samples of each.
    pub(super) samples: usize,
    /// How.
    pub(super) sampling: Sampling,
    /// Whether each token is told of as it is drawn.
    pub(super) streams: bool,
    /// What the random numbers derive from, if the trainer says so.
    pub(super) draws: Option<Request>,
}

/// The names that an API has for the same things.
pub(super) struct Names {
    /// Most tokens.
    pub(super) max_tokens: &'static [&'static str],
    /// Seed.
    pub(super) seed: &'static str,
}

/// Reads how to sample; `most` tokens where the request does not say.
pub(super) fn sampling(body: &Value, names: &Names, most: usize) -> Result<Sampling, Refusal> {
    let mut sampling = Sampling { stream: Stream::Serving, max_tokens: most, ..Sampling::default() };
    for name in names.max_tokens {
        if let Some(tokens) = whole(body, name)? {
            if tokens == 0 {
                return Err(Refusal::of(name, format!("`{name}` is 0, wanted at least 1")));
            }
            sampling.max_tokens = usize::try_from(tokens).unwrap_or(usize::MAX);
            break;
        }
    }
    sampling.temperature = number(body, "temperature", 1.0)?;
    require(sampling.temperature >= 0.0, "temperature", "a number from 0")?;
    sampling.shaping.top_p = number(body, "top_p", 1.0)?;
    require(
        sampling.shaping.top_p > 0.0 && sampling.shaping.top_p <= 1.0,
        "top_p",
        "a number above 0, at most 1",
    )?;
    sampling.shaping.min_p = number(body, "min_p", 0.0)?;
    require((0.0..1.0).contains(&sampling.shaping.min_p), "min_p", "a number from 0, below 1")?;
    let top_k = number(body, "top_k", 0.0)?;
    require(top_k >= -1.0 && top_k.fract() == 0.0, "top_k", "a whole number from 1, or -1 for all")?;
    sampling.shaping.top_k = if top_k > 0.0 { top_k as usize } else { 0 };
    sampling.seed = match whole(body, names.seed)? {
        Some(seed) => seed,
        None => random_seed()?,
    };
    sampling.stop = texts(body, "stop")?;
    sampling.stop_ids =
        body.get("stop_token_ids").map_or(Ok(Vec::new()), |ids| tokens(ids, "stop_token_ids"))?;
    let few = sampling.stop.len().max(sampling.stop_ids.len()) <= MOST_STOPS;
    require(
        few && sampling.stop.iter().all(|text| !text.is_empty()),
        "stop",
        "up to 64 texts that are not empty",
    )?;
    Ok(sampling)
}

/// Samples wanted of each prompt.
pub(super) fn samples(body: &Value) -> Result<usize, Refusal> {
    let samples = whole(body, "n")?.unwrap_or(1);
    require((1..=MOST_SAMPLES).contains(&samples), "n", "a whole number from 1 to 128")?;
    Ok(samples as usize)
}

/// What the trainer says of the random numbers; the seed, stream and step go into `sampling`.
pub(super) fn draws(headers: &HeaderMap, sampling: &mut Sampling) -> Result<Option<Request>, Refusal> {
    let Some(value) = headers.get(DRAWS_HEADER) else { return Ok(None) };
    let numbers: Option<Vec<u64>> =
        value.to_str().ok().and_then(|text| text.split('.').map(|part| part.parse().ok()).collect());
    let stream = |number: u64| {
        [Stream::Sampling, Stream::Evaluation].into_iter().find(|stream| *stream as u64 == number)
    };
    let wrong = || Refusal::Wrong { key: None, message: format!("the header `{DRAWS_HEADER}` is none") };
    let numbers = numbers.ok_or_else(wrong)?;
    let [number, seed, step, task, sample, drawn] = numbers[..] else { return Err(wrong()) };
    (sampling.stream, sampling.seed, sampling.step) = (stream(number).ok_or_else(wrong)?, seed, step);
    let place = |number: u64| u32::try_from(number).map(|number| number as usize).map_err(|_| wrong());
    Ok(Some(Request { task, first_sample: place(sample)?, drawn: place(drawn)?, ..Request::default() }))
}

/// A prompt, or several, as texts or as token ids.
pub(super) fn prompts(
    value: &Value,
    key: &'static str,
    tokenizer: &Tokenizer,
) -> Result<Vec<Vec<i64>>, Refusal> {
    let wrong = || Refusal::of(key, format!("`{key}`: wanted a text, token ids, or a list of either"));
    let one = |value: &Value| match value {
        Value::String(text) => encoded(text, tokenizer),
        Value::Array(_) => tokens(value, key),
        _ => Err(wrong()),
    };
    match value {
        Value::Array(items) if items.iter().all(Value::is_number) && !items.is_empty() => {
            Ok(vec![one(value)?])
        }
        Value::Array(items) if !items.is_empty() => items.iter().map(one).collect(),
        Value::String(_) => Ok(vec![one(value)?]),
        _ => Err(wrong()),
    }
}

/// The token ids of a prompt.
pub(super) fn encoded(text: &str, tokenizer: &Tokenizer) -> Result<Vec<i64>, Refusal> {
    tokenizer.encode_prompt(text).map_err(|error| Refusal::Failed(super::worker::with_causes(&error)))
}

/// Refuses the keys that change what is sampled and that this engine does not follow; each beside the value that changes nothing.
pub(super) fn refuse_others(body: &Value, keys: &[(&'static str, Value)]) -> Result<(), Refusal> {
    for (key, neutral) in keys {
        let same = |found: &Value| {
            found == neutral || found.as_f64().is_some_and(|number| Some(number) == neutral.as_f64())
        };
        let is_empty = |found: &Value| {
            found.as_array().is_some_and(Vec::is_empty)
                || found.as_object().is_some_and(|found| found.is_empty())
        };
        match body.get(key) {
            None | Some(Value::Null) => {}
            Some(found) if same(found) || is_empty(found) => {}
            Some(_) => return Err(Refusal::of(key, format!("`{key}` is not supported here"))),
        }
    }
    Ok(())
}

pub(super) fn require(holds: bool, key: &'static str, wanted: &str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::of(key, format!("`{key}`: wanted {wanted}"))) }
}

fn number(body: &Value, key: &'static str, default: f64) -> Result<f64, Refusal> {
    match body.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value
            .as_f64()
            .filter(|number| number.is_finite())
            .ok_or_else(|| Refusal::of(key, format!("`{key}`: wanted a number"))),
    }
}

/// A whole number from 0, if there is one.
pub(super) fn whole(body: &Value, key: &'static str) -> Result<Option<u64>, Refusal> {
    match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| Refusal::of(key, format!("`{key}`: wanted a whole number from 0"))),
    }
}

pub(super) fn flag(body: &Value, key: &'static str) -> Result<bool, Refusal> {
    match body.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(value) => {
            value.as_bool().ok_or_else(|| Refusal::of(key, format!("`{key}`: wanted true or false")))
        }
    }
}

fn texts(body: &Value, key: &'static str) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::of(key, format!("`{key}`: wanted a text or a list of texts"));
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(wrong);
    match body.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items.iter().map(text).collect(),
        Some(value) => Ok(vec![text(value)?]),
    }
}

fn tokens(value: &Value, key: &'static str) -> Result<Vec<i64>, Refusal> {
    let wrong = || Refusal::of(key, format!("`{key}`: wanted a list of token ids"));
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items.iter().map(|item| item.as_i64().ok_or_else(wrong)).collect(),
        _ => Err(wrong()),
    }
}

fn random_seed() -> Result<u64, Refusal> {
    getrandom::u64().map_err(|error| Refusal::Failed(error.to_string()))
}
