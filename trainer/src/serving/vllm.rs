//! What vLLM has beside OpenAI's API for trainers: `/collective_rpc` and `/reset_prefix_cache`, which are there where
//! `VLLM_SERVER_DEV_MODE=1`.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::desk::Desk;
use super::openai::json_of;
use super::refusal::Refusal;

/// `POST /collective_rpc`: of the methods, `reload_weights`.
pub(super) async fn collective_rpc(
    State(desk): State<Arc<Desk>>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    reload(&desk, body).await.unwrap_or_else(|refusal| refusal.to_openai())
}

async fn reload(desk: &Desk, body: Result<Bytes, BytesRejection>) -> Result<Response, Refusal> {
    let body = json_of(body)?;
    if body["method"] != "reload_weights" {
        return Err(Refusal::of("method", "`method`: wanted `reload_weights`, no other is there"));
    }
    let path = &body["kwargs"]["weights_path"];
    let folder = match path {
        Value::Null => desk.served().folder,
        path => path
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| Refusal::of("kwargs", "`kwargs.weights_path`: wanted a folder"))?,
    };
    desk.load(&PathBuf::from(folder), None, false).await.map_err(Refusal::Failed)?;
    Ok(Json(json!({ "results": [null] })).into_response())
}

/// `POST /reset_prefix_cache`. There is nothing to reset: no keys and values outlive their sample.
pub(super) async fn reset_prefix_cache() -> StatusCode {
    StatusCode::OK
}
