//! Why a request is not served, in the words of each API.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Seconds after which a request that found no room is worth another try.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// What was asked is wrong; the key that is, and what is wrong with it.
    Wrong { key: Option<&'static str>, message: String },
    /// The secret is missing, or another.
    Unknown,
    /// Nothing is served under this name.
    NoModel(String),
    /// The queue is full.
    Full,
    /// The request was given up before it was done.
    Aborted,
    /// The server itself failed.
    Failed(String),
}

impl Refusal {
    /// Something is wrong with `key`.
    pub(super) fn of(key: &'static str, message: impl Into<String>) -> Refusal {
        Refusal::Wrong { key: Some(key), message: message.into() }
    }

    fn message(&self) -> String {
        match self {
            Refusal::Wrong { message, .. } | Refusal::Failed(message) => message.clone(),
            Refusal::Unknown => {
                "the secret is missing or wrong, wanted `Authorization: Bearer SECRET`".to_owned()
            }
            Refusal::NoModel(name) => format!("the model `{name}` does not exist"),
            Refusal::Full => "the queue is full; try again later".to_owned(),
            Refusal::Aborted => "the request was given up before it was done".to_owned(),
        }
    }

    /// OpenAI's name of the kind of error.
    fn kind(&self) -> &'static str {
        match self {
            Refusal::Wrong { .. } => "invalid_request_error",
            Refusal::Unknown => "authentication_error",
            Refusal::NoModel(_) => "not_found_error",
            Refusal::Full => "rate_limit_error",
            Refusal::Aborted | Refusal::Failed(_) => "server_error",
        }
    }

    fn status(&self, full: StatusCode) -> StatusCode {
        match self {
            Refusal::Wrong { .. } => StatusCode::BAD_REQUEST,
            Refusal::Unknown => StatusCode::UNAUTHORIZED,
            Refusal::NoModel(_) => StatusCode::NOT_FOUND,
            Refusal::Full => full,
            Refusal::Aborted => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The body of the OpenAI APIs: `message`, `type`, `param`, `code`.
    pub(super) fn openai_body(&self) -> Value {
        let param = if let Refusal::Wrong { key, .. } = self { *key } else { None };
        let code = if let Refusal::NoModel(_) = self { Some("model_not_found") } else { None };
        json!({ "error": { "message": self.message(), "type": self.kind(), "param": param, "code": code } })
    }

    /// As the OpenAI APIs, and vLLM, say it.
    pub(super) fn to_openai(&self) -> Response {
        self.respond(self.status(StatusCode::TOO_MANY_REQUESTS), self.openai_body())
    }

    /// As SGLang's own APIs say it.
    pub(super) fn to_sglang(&self) -> Response {
        let body = json!({ "error": { "message": self.message() } });
        self.respond(self.status(StatusCode::SERVICE_UNAVAILABLE), body)
    }

    fn respond(&self, status: StatusCode, body: Value) -> Response {
        let mut response = (status, Json(body)).into_response();
        if matches!(self, Refusal::Full | Refusal::Aborted) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        response
    }
}
