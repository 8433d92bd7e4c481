//! SGLang's own API, as its documentation gives it: `/generate`, `/model_info`, `/update_weights_from_disk`, `/flush_cache`.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::ask::{self, Ask, Names, flag, refuse_others};
use super::desk::{Desk, Sampled, Served};
use super::openai::{json_of, matched};
use super::refusal::Refusal;
use crate::policy::Tokenizer;
use crate::rollout::{Completion, Finish};

/// Most tokens where the request does not say, as SGLang documents it.
const MAX_NEW_TOKENS: usize = 128;

/// `GET /health` and `/health_generate`.
pub(super) async fn health() -> StatusCode {
    StatusCode::OK
}

/// `GET /model_info`, and `/get_model_info`, its name before that.
pub(super) async fn model_info(State(desk): State<Arc<Desk>>) -> Response {
    let Served { folder, version } = desk.served();
    Json(json!({
        "model_path": folder, "tokenizer_path": folder, "is_generation": true, "weight_version": version,
        "architectures": desk.architectures,
    }))
    .into_response()
}

/// `POST /generate`.
pub(super) async fn generate(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    answer(&desk, &headers, body).await.unwrap_or_else(|refusal| refusal.to_sglang())
}

async fn answer(
    desk: &Desk,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let body = json_of(body)?;
    refuse_others(
        &body,
        &[
            ("stream", json!(false)),
            ("top_logprobs_num", json!(0)),
            ("token_ids_logprob", Value::Null),
            ("input_embeds", Value::Null),
            ("image_data", Value::Null),
            ("lora_path", Value::Null),
            ("return_hidden_states", json!(false)),
        ],
    )?;
    let (key, prompt) = match body.get("input_ids") {
        Some(ids) if !ids.is_null() => ("input_ids", ids),
        _ => ("text", &body["text"]),
    };
    let is_one =
        prompt.is_string() || prompt.as_array().is_some_and(|items| items.iter().all(Value::is_number));
    let prompts = ask::prompts(prompt, key, &desk.tokenizer)?;
    let how = &body["sampling_params"];
    if !how.is_object() && !how.is_null() {
        return Err(Refusal::of("sampling_params", "`sampling_params`: wanted an object"));
    }
    refuse_others(
        how,
        &[
            ("presence_penalty", json!(0)),
            ("frequency_penalty", json!(0)),
            ("repetition_penalty", json!(1)),
            ("min_new_tokens", json!(0)),
            ("ignore_eos", json!(false)),
            ("logit_bias", json!({})),
            ("regex", Value::Null),
            ("json_schema", Value::Null),
            ("ebnf", Value::Null),
            ("structural_tag", Value::Null),
        ],
    )?;
    let names = Names { max_tokens: &["max_new_tokens"], seed: "sampling_seed" };
    let mut sampling = ask::sampling(how, &names, MAX_NEW_TOKENS)?;
    let draws = ask::draws(headers, &mut sampling)?;
    let samples = ask::samples(how)?;
    let returns = flag(&body, "return_logprob")?;
    let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
    let (stop, stop_ids, count) = (sampling.stop.clone(), sampling.stop_ids.clone(), samples * prompts.len());
    let events = desk.submit(Ask { prompts, samples, sampling, streams: false, draws })?;
    let sampled = Desk::collect(events, count).await?;
    let reply = |(index, sampled): (usize, &Sampled)| {
        let ended = finish_reason(&sampled.completion, &stop, &stop_ids, &desk.tokenizer);
        generated(sampled, ended, lengths[index / samples], returns)
    };
    let mut replies: Vec<Value> = sampled.iter().enumerate().map(reply).collect();
    let reply = if is_one && replies.len() == 1 { replies.remove(0) } else { Value::Array(replies) };
    Ok(Json(reply).into_response())
}

/// Why a sample ended: its type, and what matched or how long it is.
fn finish_reason(completion: &Completion, stop: &[String], stop_ids: &[i64], tokenizer: &Tokenizer) -> Value {
    match completion.finish {
        Finish::Length => json!({ "type": "length", "length": completion.tokens.len() }),
        Finish::Stop => {
            let matched = matched(completion, stop, stop_ids, tokenizer);
            json!({ "type": "stop", "matched": matched.or_else(|| completion.tokens.last().map(|last| json!(last))) })
        }
    }
}

fn generated(sampled: &Sampled, finish_reason: Value, prompt_tokens: usize, returns_logprobs: bool) -> Value {
    let Sampled { completion, version } = sampled;
    let mut meta = json!({
        "id": format!("{:016x}", getrandom::u64().unwrap_or_default()), "finish_reason": finish_reason,
        "prompt_tokens": prompt_tokens, "completion_tokens": completion.tokens.len(), "cached_tokens": 0,
        "weight_version": version,
    });
    if returns_logprobs {
        let logprobs = completion.unshaped_logprobs.iter().zip(&completion.tokens);
        meta["output_token_logprobs"] =
            logprobs.map(|(logprob, token)| json!([logprob, token, null])).collect();
    }
    json!({ "text": completion.text, "output_ids": completion.tokens, "meta_info": meta })
}

/// `POST /update_weights_from_disk`.
pub(super) async fn update_weights_from_disk(
    State(desk): State<Arc<Desk>>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let (folder, version, aborts) = match update(body) {
        Ok(update) => update,
        Err(refusal) => return refusal.to_sglang(),
    };
    let (status, success, message) = match desk.load(&folder, version, aborts).await {
        Ok(()) => (StatusCode::OK, true, "Succeeded to update model weights.".to_owned()),
        Err(message) => (StatusCode::BAD_REQUEST, false, message),
    };
    (status, Json(json!({ "success": success, "message": message, "num_paused_requests": 0 })))
        .into_response()
}

/// Folder and name of other weights, and whether they wait for nothing.
fn update(body: Result<Bytes, BytesRejection>) -> Result<(PathBuf, Option<String>, bool), Refusal> {
    let body = json_of(body)?;
    let folder = body["model_path"].as_str().filter(|path| !path.is_empty());
    let folder = folder.ok_or_else(|| Refusal::of("model_path", "`model_path`: wanted a folder"))?;
    let version = body["weight_version"].as_str().map(str::to_owned);
    Ok((PathBuf::from(folder), version, flag(&body, "abort_all_requests")?))
}

/// `GET` and `POST /flush_cache`. There is nothing to flush: no keys and values outlive their sample.
pub(super) async fn flush_cache() -> &'static str {
    "Cache flushed.\n"
}
