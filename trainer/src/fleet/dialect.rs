//! What is sent and what comes back, in SGLang's words and in vLLM's.
//!
//! SGLang: `POST /generate` with `input_ids` and `return_logprob`; `POST /update_weights_from_disk` and `/flush_cache`.
//! vLLM: `POST /v1/completions` with token ids and `return_token_ids`; `POST /collective_rpc` with `reload_weights` and
//! `/reset_prefix_cache`, which are there with `VLLM_SERVER_DEV_MODE=1`.

use serde_json::{Value, json};

use super::config::RolloutEngine;
use super::error::ServerError;
use crate::policy::Tokenizer;
use crate::rng::{Stream, uniform};
use crate::rollout::{Request, Sampling};
use crate::serving::DRAWS_HEADER;

/// Stop texts that vLLM takes (0.32 refuses more); what comes behind others is cut off here.
const VLLM_STOPS: usize = 4;

/// A family of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sglang,
    Vllm,
}

/// One sample to ask for.
#[derive(Clone, Copy)]
pub(super) struct Wish<'a> {
    pub(super) request: &'a Request,
    /// Its number in the request.
    pub(super) sample: usize,
    pub(super) sampling: &'a Sampling,
}

/// What came back.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) tokens: Vec<i64>,
    pub(super) logprobs: Vec<f32>,
    /// What the server calls its weights, if it says so.
    pub(super) weights: Option<String>,
}

/// A path, and what is posted there.
pub(super) type Post = (&'static str, Value);

impl Dialect {
    /// The family that an engine is of; none where attempts are sampled here.
    pub(super) fn of(engine: RolloutEngine) -> Option<Dialect> {
        match engine {
            RolloutEngine::Local => None,
            RolloutEngine::Sglang => Some(Dialect::Sglang),
            RolloutEngine::Vllm => Some(Dialect::Vllm),
        }
    }

    /// Requests that have a server take up the weights in `folder`, in their order.
    pub(super) fn load(self, folder: &str, label: &str) -> [Post; 2] {
        match self {
            Dialect::Sglang => [
                ("/update_weights_from_disk", json!({ "model_path": folder, "weight_version": label })),
                ("/flush_cache", json!({})),
            ],
            Dialect::Vllm => [
                (
                    "/collective_rpc",
                    json!({ "method": "reload_weights", "kwargs": { "weights_path": folder } }),
                ),
                ("/reset_prefix_cache", json!({})),
            ],
        }
    }

    /// Whether the answer to a request of [`Dialect::load`] says that it failed, whatever its status.
    pub(super) fn denies(self, answer: &str) -> Option<String> {
        let answer: Value = serde_json::from_str(answer).ok()?;
        let said = || answer["message"].as_str().unwrap_or("`success` is false").to_owned();
        (answer["success"] == false).then(said)
    }

    /// The request for a sample. `model` is what a vLLM server calls its model.
    pub(super) fn ask(self, wish: Wish<'_>, model: &str, tokenizer: &Tokenizer) -> Post {
        let Wish { request, sampling, .. } = wish;
        let stop_ids: Vec<i64> = tokenizer.stop_ids.iter().copied().collect();
        // The whole distribution, whatever the model's folder proposes.
        let mut how = json!({
            "temperature": sampling.temperature, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0,
            "stop": sampling.stop, "stop_token_ids": stop_ids,
        });
        match self {
            Dialect::Sglang => {
                how["max_new_tokens"] = json!(sampling.max_tokens);
                how["sampling_seed"] = json!(seed(wish));
                let body =
                    json!({ "input_ids": request.prompt, "sampling_params": how, "return_logprob": true });
                ("/generate", body)
            }
            Dialect::Vllm => {
                how["model"] = json!(model);
                how["prompt"] = json!(request.prompt);
                how["max_tokens"] = json!(sampling.max_tokens);
                how["seed"] = json!(seed(wish));
                how["stop"] = json!(sampling.stop[..sampling.stop.len().min(VLLM_STOPS)]);
                how["logprobs"] = json!(1);
                how["return_token_ids"] = json!(true);
                how["return_tokens_as_token_ids"] = json!(true);
                ("/v1/completions", how)
            }
        }
    }

    /// Reads the answer to [`Dialect::ask`].
    pub(super) fn read(self, answer: &str) -> Result<Answer, ServerError> {
        let wrong = |what: &str| ServerError::Answer(what.to_owned());
        let answer: Value = serde_json::from_str(answer).map_err(|error| wrong(&error.to_string()))?;
        match self {
            Dialect::Sglang => read_sglang(&answer),
            Dialect::Vllm => read_vllm(&answer),
        }
    }
}

/// `meta_info.output_token_logprobs` has `[logprob, token id, text or null]` for each token.
fn read_sglang(answer: &Value) -> Result<Answer, ServerError> {
    let wrong = |what: &str| ServerError::Answer(what.to_owned());
    let meta = &answer["meta_info"];
    if meta["finish_reason"]["type"] == "abort" {
        return Err(wrong("the request was aborted"));
    }
    let pairs = meta["output_token_logprobs"].as_array();
    let pairs = pairs.ok_or_else(|| wrong("it has no `meta_info.output_token_logprobs`"))?;
    let pair = |pair: &Value| Some((pair[1].as_i64()?, pair[0].as_f64()? as f32));
    let read: Option<Vec<(i64, f32)>> = pairs.iter().map(pair).collect();
    let (tokens, logprobs) = read
        .ok_or_else(|| wrong("`output_token_logprobs` is not of pairs of a logprob and a token"))?
        .into_iter()
        .unzip();
    Ok(Answer { tokens, logprobs, weights: meta["weight_version"].as_str().map(str::to_owned) })
}

/// `choices[0].token_ids`, or the tokens of `logprobs` as `token_id:NUMBER`, beside `logprobs.token_logprobs`.
fn read_vllm(answer: &Value) -> Result<Answer, ServerError> {
    let wrong = |what: &str| ServerError::Answer(what.to_owned());
    let choice = &answer["choices"][0];
    let numbers = |value: &Value| value.as_array()?.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>();
    let named = |value: &Value| {
        let id = |name: &Value| name.as_str()?.strip_prefix("token_id:")?.parse().ok();
        value.as_array()?.iter().map(id).collect::<Option<Vec<i64>>>()
    };
    let tokens = numbers(&choice["token_ids"]).or_else(|| named(&choice["logprobs"]["tokens"]));
    let tokens = tokens.ok_or_else(|| wrong("it has no `token_ids`, nor tokens as `token_id:NUMBER`"))?;
    let logprobs = choice["logprobs"]["token_logprobs"].as_array();
    let logprobs: Option<Vec<f32>> =
        logprobs.and_then(|all| all.iter().map(|one| Some(one.as_f64()? as f32)).collect());
    let logprobs = logprobs.ok_or_else(|| wrong("it has no `logprobs.token_logprobs`"))?;
    Ok(Answer { tokens, logprobs, weights: None })
}

/// The seed of a sample, of 53 bits, which JSON's readers have in common: the same whoever is asked, and asked again.
fn seed(Wish { request, sample, sampling }: Wish<'_>) -> u64 {
    let sample = (request.first_sample + sample) as u64;
    let counters = [sampling.stream as u64, sampling.step, request.task, sample, request.drawn as u64];
    (uniform(sampling.seed, Stream::ServerSeed, &counters) * (1u64 << 53) as f64) as u64
}

/// The header that has `rltrain serve` draw what the trainer's own engine would have drawn. Other servers pass it over.
pub(super) fn draws(Wish { request, sample, sampling }: Wish<'_>) -> (&'static str, String) {
    let Sampling { stream, seed, step, .. } = *sampling;
    let (task, sample) = (request.task, request.first_sample + sample);
    (DRAWS_HEADER, format!("{}.{seed}.{step}.{task}.{sample}.{}", stream as u64, request.drawn))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sglang_answers_as_its_documentation_has_it() {
        let answer = r#"{"text": " a", "output_ids": [12, 7], "meta_info": {"id": "0", "finish_reason": {"type": "stop",
            "matched": 7}, "prompt_tokens": 3, "weight_version": "default", "completion_tokens": 2, "cached_tokens": 0,
            "output_token_logprobs": [[-0.5, 12, null], [-1.25, 7, null]]}}"#;
        let weights = Some("default".to_owned());
        let wanted = Answer { tokens: vec![12, 7], logprobs: vec![-0.5, -1.25], weights };
        assert_eq!(Dialect::Sglang.read(answer).unwrap(), wanted);
        let aborted =
            r#"{"text": "", "meta_info": {"finish_reason": {"type": "abort", "message": "paused"}}}"#;
        assert!(Dialect::Sglang.read(aborted).is_err());
        assert!(Dialect::Sglang.read(r#"{"text": "a", "meta_info": {}}"#).is_err());
        assert!(Dialect::Sglang.read("Internal Server Error").is_err());
    }

    #[test]
    fn vllm_answers_with_token_ids_or_with_names_of_them() {
        let wanted = Answer { tokens: vec![12, 7], logprobs: vec![-0.5, -1.25], weights: None };
        let logprobs = r#""logprobs": {"text_offset": [0, 1], "token_logprobs": [-0.5, -1.25],
            "tokens": ["token_id:12", "token_id:7"], "top_logprobs": [{}, {}]}"#;
        for ids in ["", r#""token_ids": [12, 7],"#] {
            let answer = format!(r#"{{"choices": [{{"index": 0, "text": " a", {ids} {logprobs}}}]}}"#);
            assert_eq!(Dialect::Vllm.read(&answer).unwrap(), wanted);
        }
        assert!(Dialect::Vllm.read(r#"{"choices": [{"text": " a", "token_ids": [1]}]}"#).is_err());
        assert!(Dialect::Vllm.read(r#"{"choices": []}"#).is_err());
    }

    #[test]
    fn a_refusal_can_come_with_the_status_of_success() {
        let denied = Dialect::Sglang.denies(r#"{"success": false, "message": "shapes"}"#);
        assert_eq!(denied.as_deref(), Some("shapes"));
        assert_eq!(Dialect::Sglang.denies(r#"{"success": true, "message": ""}"#), None);
        assert_eq!(Dialect::Sglang.denies("Cache flushed.\n"), None);
    }

    #[test]
    fn a_seed_belongs_to_the_sample_and_goes_on_behind_an_earlier_turn() {
        let sampling = Sampling { seed: 3, step: 2, ..Sampling::default() };
        let seed_of = |request: &Request, sample| seed(Wish { request, sample, sampling: &sampling });
        let group = Request { task: 1, samples: 4, ..Request::default() };
        let alone = Request { task: 1, samples: 1, first_sample: 2, ..Request::default() };
        assert_eq!(seed_of(&group, 2), seed_of(&alone, 0));
        assert_ne!(seed_of(&group, 2), seed_of(&group, 1));
        assert_ne!(seed_of(&alone, 0), seed_of(&Request { drawn: 9, ..alone.clone() }, 0));
        assert!(seed_of(&group, 0) < 1 << 53);
    }
}
