//! OpenAI's API, with the keys that vLLM adds to it: `/v1/models`, `/v1/completions`, `/v1/chat/completions`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Sent, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::ask::{self, Ask, Names, flag, refuse_others, require};
use super::chat;
use super::desk::{Desk, Sampled};
use super::refusal::Refusal;
use super::streaming::Pieces;
use super::worker::Event;
use crate::policy::Tokenizer;
use crate::rollout::{Completion, Finish};

/// Most tokens of a completion where the request does not say, as OpenAI documents it.
const COMPLETION_TOKENS: usize = 16;

/// The two endpoints.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Chat,
}

impl Kind {
    fn object(self, is_piece: bool) -> &'static str {
        match (self, is_piece) {
            (Kind::Text, _) => "text_completion",
            (Kind::Chat, false) => "chat.completion",
            (Kind::Chat, true) => "chat.completion.chunk",
        }
    }

    fn id(self) -> String {
        let prefix = if self == Kind::Text { "cmpl" } else { "chatcmpl" };
        format!("{prefix}-{:016x}", getrandom::u64().unwrap_or_default())
    }
}

/// How the reply is wanted.
struct Reply {
    kind: Kind,
    id: String,
    model: String,
    prompts: Vec<usize>,
    samples: usize,
    /// The prompts' tokens, where they are wanted back.
    prompt_tokens: Option<Vec<Vec<i64>>>,
    logprobs: bool,
    token_ids: bool,
    names_as_ids: bool,
    usage: bool,
    stop: Vec<String>,
    stop_ids: Vec<i64>,
}

/// `GET /v1/models`.
pub(super) async fn models(State(desk): State<Arc<Desk>>) -> Response {
    let model = json!({
        "id": desk.name, "object": "model", "created": desk.started, "owned_by": "rltrain", "root": desk.served().folder,
        "max_model_len": desk.context,
    });
    Json(json!({ "object": "list", "data": [model] })).into_response()
}

/// `POST /v1/completions`.
pub(super) async fn completions(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    answer(desk, &headers, body, Kind::Text).await.unwrap_or_else(|refusal| refusal.to_openai())
}

/// `POST /v1/chat/completions`.
pub(super) async fn chat_completions(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    answer(desk, &headers, body, Kind::Chat).await.unwrap_or_else(|refusal| refusal.to_openai())
}

/// The JSON of a request.
pub(super) fn json_of(body: Result<Bytes, BytesRejection>) -> Result<Value, Refusal> {
    let wrong = |message: String| Refusal::Wrong { key: None, message };
    let body = body.map_err(|rejection| wrong(rejection.body_text()))?;
    let value: Value =
        serde_json::from_slice(&body).map_err(|error| wrong(format!("the body is no JSON: {error}")))?;
    if value.is_object() { Ok(value) } else { Err(wrong("the body is no JSON object".to_owned())) }
}

async fn answer(
    desk: Arc<Desk>,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    kind: Kind,
) -> Result<Response, Refusal> {
    let body = json_of(body)?;
    if let Some(name) = body["model"].as_str().filter(|name| *name != desk.name && !name.is_empty()) {
        return Err(Refusal::NoModel(name.to_owned()));
    }
    refuse_unsupported(&body)?;
    let prompts = match kind {
        Kind::Text => ask::prompts(&body["prompt"], "prompt", &desk.tokenizer)?,
        Kind::Chat => vec![chat::prompt(&body["messages"], &desk.tokenizer)?],
    };
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let (names, most) = match kind {
        Kind::Text => (Names { max_tokens: &["max_tokens"], seed: "seed" }, COMPLETION_TOKENS),
        // As long as there is room.
        Kind::Chat => (
            Names { max_tokens: &["max_completion_tokens", "max_tokens"], seed: "seed" },
            desk.context.saturating_sub(longest).max(1),
        ),
    };
    let mut sampling = ask::sampling(&body, &names, most)?;
    let draws = ask::draws(headers, &mut sampling)?;
    let samples = ask::samples(&body)?;
    let streams = flag(&body, "stream")?;
    let reply = Reply {
        kind,
        id: kind.id(),
        model: desk.name.clone(),
        prompts: prompts.iter().map(Vec::len).collect(),
        samples,
        logprobs: wants_logprobs(&body, kind)?,
        token_ids: flag(&body, "return_token_ids")?,
        prompt_tokens: flag(&body, "return_token_ids")?.then(|| prompts.clone()),
        names_as_ids: flag(&body, "return_tokens_as_token_ids")?,
        usage: body["stream_options"]["include_usage"] == true,
        stop: sampling.stop.clone(),
        stop_ids: sampling.stop_ids.clone(),
    };
    require(!(streams && reply.logprobs), "logprobs", "none: they are not streamed here")?;
    let count = samples * prompts.len();
    let events = desk.submit(Ask { prompts, samples, sampling, streams, draws })?;
    if streams {
        return Ok(stream(reply, events, &desk.tokenizer));
    }
    let sampled = Desk::collect(events, count).await?;
    Ok(Json(reply.whole(&sampled, &desk.tokenizer)).into_response())
}

/// Keys that change what is sampled, and that the engine does not follow.
fn refuse_unsupported(body: &Value) -> Result<(), Refusal> {
    refuse_others(
        body,
        &[
            ("suffix", json!("")),
            ("echo", json!(false)),
            ("best_of", json!(1)),
            ("presence_penalty", json!(0)),
            ("frequency_penalty", json!(0)),
            ("repetition_penalty", json!(1)),
            ("logit_bias", json!({})),
            ("min_tokens", json!(0)),
            ("ignore_eos", json!(false)),
            ("tools", json!([])),
            ("functions", json!([])),
            ("response_format", json!({ "type": "text" })),
            ("structured_outputs", Value::Null),
            ("prompt_logprobs", Value::Null),
        ],
    )
}

/// Whether logprobs are wanted: of the drawn token, for no others are recorded.
fn wants_logprobs(body: &Value, kind: Kind) -> Result<bool, Refusal> {
    let few = "at most 1: the logprob of the drawn token is recorded, and no other";
    match kind {
        Kind::Text => {
            let number = ask::whole(body, "logprobs")?;
            require(number.is_none_or(|number| number <= 1), "logprobs", few)?;
            Ok(number.is_some())
        }
        Kind::Chat => {
            let number = ask::whole(body, "top_logprobs")?.unwrap_or(0);
            require(number <= 1, "top_logprobs", few)?;
            flag(body, "logprobs")
        }
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// OpenAI's word for why a sample ended.
fn reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
    }
}

impl Reply {
    fn envelope(&self, is_piece: bool, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id, "object": self.kind.object(is_piece), "created": seconds(), "model": self.model, "choices": choices,
        })
    }

    fn usage(&self, tokens: usize) -> Value {
        let prompt: usize = self.prompts.iter().sum();
        json!({ "prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens })
    }

    /// The whole reply.
    fn whole(&self, sampled: &[Sampled], tokenizer: &Tokenizer) -> Value {
        let choices = sampled
            .iter()
            .enumerate()
            .map(|(index, sampled)| self.choice(index, &sampled.completion, tokenizer));
        let mut whole = self.envelope(false, choices.collect());
        let tokens = sampled.iter().map(|sampled| sampled.completion.tokens.len()).sum();
        whole["usage"] = self.usage(tokens);
        whole
    }

    fn choice(&self, index: usize, completion: &Completion, tokenizer: &Tokenizer) -> Value {
        let mut choice = json!({ "index": index, "finish_reason": reason(completion.finish) });
        let logprobs = self.logprobs.then(|| self.logprobs_of(completion, tokenizer));
        match self.kind {
            Kind::Text => choice["text"] = json!(completion.text),
            Kind::Chat => {
                choice["message"] =
                    json!({ "role": "assistant", "content": completion.text, "refusal": null });
            }
        }
        choice["logprobs"] = logprobs.unwrap_or(Value::Null);
        choice["stop_reason"] = self.stop_reason(completion, tokenizer);
        if self.token_ids {
            choice["token_ids"] = json!(completion.tokens);
        }
        if let Some(prompts) = &self.prompt_tokens {
            choice["prompt_token_ids"] = json!(prompts[index / self.samples]);
        }
        choice
    }

    /// What ended a sample, if the request named it: vLLM's key.
    fn stop_reason(&self, completion: &Completion, tokenizer: &Tokenizer) -> Value {
        matched(completion, &self.stop, &self.stop_ids, tokenizer).unwrap_or(Value::Null)
    }

    fn logprobs_of(&self, completion: &Completion, tokenizer: &Tokenizer) -> Value {
        let token = |id: &i64| match self.names_as_ids {
            true => format!("token_id:{id}"),
            false => shown(*id, tokenizer),
        };
        let tokens: Vec<String> = completion.tokens.iter().map(token).collect();
        let logprobs = &completion.unshaped_logprobs;
        match self.kind {
            Kind::Text => {
                let offsets = tokens.iter().scan(0, |end, token| {
                    let begin = *end;
                    *end += token.chars().count();
                    Some(begin)
                });
                let top = tokens.iter().zip(logprobs).map(|(token, logprob)| json!({ token: logprob }));
                json!({
                    "text_offset": offsets.collect::<Vec<_>>(), "token_logprobs": logprobs,
                    "top_logprobs": top.collect::<Vec<_>>(), "tokens": tokens,
                })
            }
            Kind::Chat => {
                let of = |(token, logprob): (&String, &f32)| json!({ "token": token, "logprob": logprob, "bytes": token.as_bytes(), "top_logprobs": [] });
                json!({ "content": tokens.iter().zip(logprobs).map(of).collect::<Vec<_>>() })
            }
        }
    }

    /// A piece of one sample; the last has the reason why it ended.
    fn piece(&self, index: usize, text: Option<String>, finish: Option<Finish>) -> Value {
        let mut choice = json!({ "index": index, "finish_reason": finish.map(reason), "logprobs": null });
        match (self.kind, text) {
            (Kind::Text, text) => choice["text"] = json!(text.unwrap_or_default()),
            (Kind::Chat, Some(text)) => choice["delta"] = json!({ "content": text }),
            (Kind::Chat, None) => choice["delta"] = json!({}),
        }
        self.envelope(true, vec![choice])
    }

    /// Where a message begins.
    fn beginning(&self, index: usize) -> Value {
        let delta = json!({ "role": "assistant", "content": "" });
        self.envelope(
            true,
            vec![json!({ "index": index, "delta": delta, "finish_reason": null, "logprobs": null })],
        )
    }
}

/// The token, or else the text, that ended a sample, of those that the request named.
pub(super) fn matched(
    completion: &Completion,
    stop: &[String],
    stop_ids: &[i64],
    tokenizer: &Tokenizer,
) -> Option<Value> {
    if completion.finish != Finish::Stop {
        return None;
    }
    let last = completion.tokens.last()?;
    if stop_ids.contains(last) {
        return Some(json!(last));
    }
    let text = tokenizer.decode(&completion.tokens).ok()?;
    stop.iter().filter_map(|stop| Some((text.find(stop.as_str())?, stop))).min().map(|(_, stop)| json!(stop))
}

/// A token as text: what it stands for, or its name where it stands for none.
fn shown(id: i64, tokenizer: &Tokenizer) -> String {
    let text = tokenizer.decode(&[id]).unwrap_or_default();
    if text.is_empty() { tokenizer.name(id).unwrap_or_default() } else { text }
}

/// What a stream has still to say.
struct Streaming {
    reply: Reply,
    events: UnboundedReceiver<Event>,
    /// The pieces of each sample that is not done.
    pieces: Vec<Option<Pieces>>,
    tokens: usize,
    /// What is to be said before the next event is waited for.
    ready: std::collections::VecDeque<Value>,
    is_over: bool,
}

/// The reply as server-sent events, ended by `[DONE]`.
fn stream(reply: Reply, events: UnboundedReceiver<Event>, tokenizer: &Arc<Tokenizer>) -> Response {
    let count = reply.samples * reply.prompts.len();
    let pieces = (0..count).map(|_| Some(Pieces::new(Arc::clone(tokenizer), reply.stop.clone())));
    let ready = match reply.kind {
        Kind::Chat => (0..count).map(|index| reply.beginning(index)).collect(),
        Kind::Text => std::collections::VecDeque::new(),
    };
    let state = Streaming { pieces: pieces.collect(), reply, events, tokens: 0, ready, is_over: false };
    let stream = unfold(state, |mut state| async move {
        let sent = state.next().await?;
        Some((Ok::<Sent, Infallible>(Sent::default().data(sent)), state))
    });
    Sse::new(stream).into_response()
}

impl Streaming {
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready.to_string());
            }
            if self.is_over {
                return None;
            }
            if self.pieces.iter().all(Option::is_none) {
                self.is_over = true;
                return Some("[DONE]".to_owned());
            }
            let refusal = match self.events.recv().await {
                Some(Event::Token { choice, token }) => {
                    self.tokens += 1;
                    let text =
                        self.pieces[choice].as_mut().map(|pieces| pieces.push(token)).unwrap_or_default();
                    if !text.is_empty() {
                        self.ready.push_back(self.reply.piece(choice, Some(text), None));
                    }
                    continue;
                }
                Some(Event::Done { choice, completion, .. }) => {
                    self.end(choice, &completion);
                    continue;
                }
                Some(Event::Aborted) => Refusal::Aborted,
                Some(Event::Failed(message)) => Refusal::Failed(message),
                None => super::desk::gone(),
            };
            // The status has been sent: an error can only be one more event.
            self.ready.push_back(refusal.openai_body());
            self.pieces.clear();
        }
    }

    fn end(&mut self, choice: usize, completion: &Completion) {
        let rest = self.pieces[choice].take().map(|pieces| pieces.end(&completion.text)).unwrap_or_default();
        if !rest.is_empty() {
            self.ready.push_back(self.reply.piece(choice, Some(rest), None));
        }
        self.ready.push_back(self.reply.piece(choice, None, Some(completion.finish)));
        if self.reply.usage && self.pieces.iter().all(Option::is_none) {
            let mut usage = self.reply.envelope(true, Vec::new());
            usage["usage"] = self.reply.usage(self.tokens);
            self.ready.push_back(usage);
        }
    }
}
