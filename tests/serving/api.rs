//! What the server answers, in the words of each API.

use std::thread;

use serde_json::{Value, json};

use crate::rltrain::expect;
use crate::server::Server;
use crate::tiny;

/// Completions of tokens that say when they were drawn: the same request draws the same.
fn request(seed: u64) -> Value {
    json!({
        "model": "tiny", "prompt": [72, 105, 33], "max_tokens": 24, "seed": seed, "logprobs": 1, "return_token_ids": true,
    })
}

#[test]
fn what_a_request_gets_is_what_it_gets_alone_and_what_sample_prints() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let server = Server::start(folder.path(), &["--max-batch", "4"]);
    let tokens = |seed| {
        let reply = server.post("/v1/completions", &request(seed));
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()["choices"][0]["token_ids"].clone()
    };
    let alone: Vec<Value> = (0..6).map(tokens).collect();
    assert_ne!(alone[0], alone[1]);
    // More at once than there are rows, with other ways to sample among them.
    let together: Vec<Value> = thread::scope(|scope| {
        let noise = scope.spawn(|| {
            let odd = json!({ "input_ids": [9, 9], "sampling_params": { "temperature": 0.5, "top_k": 3, "max_new_tokens": 90 } });
            server.post("/generate", &odd).status
        });
        let threads: Vec<_> = (0..6).map(|seed| scope.spawn(move || tokens(seed))).collect();
        let found = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(noise.join().unwrap(), 200);
        found
    });
    assert_eq!(together, alone);

    let greedy = json!({ "prompt": "Hi!", "max_tokens": 24, "temperature": 0, "return_token_ids": true });
    let greedy = server.post("/v1/completions", &greedy).json();
    let (printed, _) = expect(
        folder.path(),
        &["sample", "model", "--prompt", "Hi!", "--raw", "--max-tokens", "24", "--json"],
        0,
    );
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(greedy["choices"][0]["token_ids"], printed["tokens"]);
    assert_eq!(greedy["choices"][0]["text"], printed["text"]);
}

#[test]
fn openai_and_sglang_say_the_same_of_the_same_samples() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let server = Server::start(folder.path(), &[]);
    let draws = Some(("x-rltrain-draws", "2.7.1.0.3.0"));
    let openai = server.post_with("/v1/completions", &request(0), draws).json();
    let choice = &openai["choices"][0];
    let body = json!({
        "input_ids": [72, 105, 33], "sampling_params": { "max_new_tokens": 24, "sampling_seed": 5 }, "return_logprob": true,
    });
    let sglang = server.post_with("/generate", &body, draws).json();
    assert_eq!(sglang["output_ids"], choice["token_ids"]);
    assert_eq!(sglang["text"], choice["text"]);
    let meta = &sglang["meta_info"];
    let pairs = meta["output_token_logprobs"].as_array().unwrap();
    let logprobs: Vec<&Value> = pairs.iter().map(|pair| &pair[0]).collect();
    assert_eq!(json!(logprobs), choice["logprobs"]["token_logprobs"]);
    assert!(pairs.iter().all(|pair| pair[0].as_f64().unwrap() < 0.0 && pair[2].is_null()));
    let ended = if choice["finish_reason"] == "stop" { "stop" } else { "length" };
    assert_eq!((&meta["finish_reason"]["type"], &meta["prompt_tokens"]), (&json!(ended), &json!(3)));
    assert_eq!(openai["usage"]["completion_tokens"], meta["completion_tokens"]);
    assert_eq!(meta["weight_version"], "default");

    // A batch is a list of as many, in order; each prompt has `n` samples.
    let body = json!({ "input_ids": [[1, 2], [3]], "sampling_params": { "max_new_tokens": 4, "n": 2 } });
    let batch = server.post("/generate", &body).json();
    let lengths: Vec<_> =
        batch.as_array().unwrap().iter().map(|one| &one["meta_info"]["prompt_tokens"]).collect();
    assert_eq!(json!(lengths), json!([2, 2, 1, 1]));

    let models = server.get("/v1/models").json();
    assert_eq!((&models["data"][0]["id"], &models["object"]), (&json!("tiny"), &json!("list")));
    for path in ["/model_info", "/get_model_info"] {
        let info = server.get(path).json();
        assert_eq!((&info["is_generation"], &info["weight_version"]), (&json!(true), &json!("default")));
    }
    assert_eq!((server.get("/health").status, server.post("/flush_cache", &json!({})).status), (200, 200));
}

#[test]
fn a_stream_is_the_reply_in_pieces_and_a_stop_text_is_in_neither() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let server = Server::start(folder.path(), &[]);
    let mut body = json!({ "prompt": "def f(x):", "max_tokens": 60, "seed": 4, "n": 2 });
    let whole = server.post("/v1/completions", &body).json();
    // Two characters of the first text end both, if the second has them.
    let text = whole["choices"][0]["text"].as_str().unwrap();
    let stop: String = text.chars().filter(char::is_ascii_graphic).take(1).collect();
    assert!(!stop.is_empty(), "{text:?}");
    for stop in [Value::Null, json!([stop])] {
        body["stop"] = stop.clone();
        body["stream"] = json!(false);
        let whole = server.post("/v1/completions", &body).json();
        body["stream"] = json!(true);
        body["stream_options"] = json!({ "include_usage": true });
        let events: Vec<String> = server.stream("/v1/completions", &body).collect();
        assert_eq!(events.last().unwrap(), "[DONE]");
        let pieces: Vec<Value> =
            events[..events.len() - 1].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        for index in 0..2 {
            let of = |piece: &&Value| piece["choices"][0]["index"] == index;
            let text: String =
                pieces.iter().filter(of).map(|piece| piece["choices"][0]["text"].as_str().unwrap()).collect();
            assert_eq!(text, whole["choices"][index]["text"].as_str().unwrap());
            let ended =
                pieces.iter().filter(of).filter(|piece| !piece["choices"][0]["finish_reason"].is_null());
            let reasons: Vec<_> = ended.map(|piece| &piece["choices"][0]["finish_reason"]).collect();
            assert_eq!(reasons, [&whole["choices"][index]["finish_reason"]]);
        }
        assert_eq!(pieces.last().unwrap()["usage"], whole["usage"]);
        if let Some(stop) = stop[0].as_str() {
            let first = &whole["choices"][0];
            assert!(!first["text"].as_str().unwrap().contains(stop));
            assert_eq!((&first["finish_reason"], &first["stop_reason"]), (&json!("stop"), &json!(stop)));
        }
    }
    let chat = json!({ "messages": [{ "role": "user", "content": "Hi" }], "max_completion_tokens": 8, "stream": true });
    let events: Vec<String> = server.stream("/v1/chat/completions", &chat).collect();
    let first: Value = serde_json::from_str(&events[0]).unwrap();
    assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(first["object"], "chat.completion.chunk");
}

#[test]
fn a_signal_ends_what_is_under_way_and_then_the_server() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let mut server = Server::start(folder.path(), &[]);
    let body = json!({ "prompt": [1], "max_tokens": 300, "stream": true, "seed": 1 });
    let mut events = server.stream("/v1/completions", &body);
    let first = events.next().unwrap();
    server.signal("TERM");
    let rest: Vec<String> = events.collect();
    assert!(first.contains("text_completion") && rest.len() > 1);
    assert_eq!(rest.last().unwrap(), "[DONE]");
    assert!(server.child.wait().unwrap().success());
}
