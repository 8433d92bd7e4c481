//! What the server does not do, and how it says so.

use serde_json::{Value, json};

use crate::rltrain::expect;
use crate::server::Server;
use crate::tiny;

#[test]
fn each_api_has_its_own_words_for_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let server = Server::start(folder.path(), &["--context", "64"]);
    let wrong = [
        (json!({ "prompt": "a", "temperature": -1 }), "temperature"),
        (json!({ "prompt": "a", "top_p": 0 }), "top_p"),
        (json!({ "prompt": "a", "max_tokens": "many" }), "max_tokens"),
        (json!({ "prompt": "a", "n": 0 }), "n"),
        (json!({ "prompt": "a", "stop": [""] }), "stop"),
        (json!({ "prompt": "a", "logprobs": 5 }), "logprobs"),
        (json!({ "prompt": "a", "logit_bias": { "3": 1 } }), "logit_bias"),
        (json!({ "prompt": "a", "best_of": 3 }), "best_of"),
        (json!({ "prompt": { "text": "a" } }), "prompt"),
        (json!({}), "prompt"),
    ];
    for (body, key) in wrong {
        let reply = server.post("/v1/completions", &body);
        let error = &reply.json()["error"];
        assert_eq!((reply.status, &error["param"]), (400, &json!(key)), "{body}: {}", reply.text);
        assert_eq!((&error["type"], &error["code"]), (&json!("invalid_request_error"), &Value::Null));
    }
    for body in
        [json!({ "prompt": [1, 259] }), json!({ "prompt": [] }), json!({ "prompt": "a", "max_tokens": 64 })]
    {
        assert_eq!(server.post("/v1/completions", &body).status, 400, "{body}");
    }
    // What changes nothing is no reason to refuse.
    let neutral = json!({ "prompt": "a", "logit_bias": {}, "presence_penalty": 0.0, "best_of": 1, "user": "me", "tools": [] });
    assert_eq!(server.post("/v1/completions", &neutral).status, 200);

    let other = server.post("/v1/completions", &json!({ "model": "gpt", "prompt": "a" }));
    assert_eq!((other.status, &other.json()["error"]["code"]), (404, &json!("model_not_found")));
    let silent = server.post("/v1/chat/completions", &json!({ "messages": [] }));
    assert_eq!((silent.status, &silent.json()["error"]["param"]), (400, &json!("messages")));

    let native = server.post("/generate", &json!({ "input_ids": [1], "sampling_params": { "regex": "a+" } }));
    let error = native.json()["error"].clone();
    assert_eq!((native.status, error.as_object().unwrap().len()), (400, 1), "{error}");
    assert!(error["message"].as_str().unwrap().contains("`regex`"));
    let rpc = server.post("/collective_rpc", &json!({ "method": "shutdown" }));
    assert_eq!(rpc.status, 400);

    // The rest of such a body is not read, so that whoever sends all of it first may find the connection closed.
    let huge = json!({ "prompt": "a".repeat(17 << 20) });
    if let Some(reply) = server.try_post("/v1/completions", &huge) {
        assert_eq!((reply.status, &reply.json()["error"]["type"]), (400, &json!("invalid_request_error")));
    }
    assert_eq!(server.post("/v1/completions", &neutral).status, 200);
}

#[test]
fn a_full_queue_refuses_and_says_when_to_come_again() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let server = Server::start(folder.path(), &["--max-batch", "1", "--queue", "1"]);
    let long =
        json!({ "prompt": [1], "max_tokens": 400, "seed": 1, "n": 2, "stream": true, "temperature": 2.0 });
    let mut events = server.stream("/v1/completions", &long);
    assert!(events.next().is_some());
    let short = json!({ "prompt": [1], "max_tokens": 1 });
    let refused = server.post("/v1/completions", &short);
    assert_eq!((refused.status, refused.retry_after.as_deref()), (429, Some("1")), "{}", refused.text);
    assert_eq!(refused.json()["error"]["type"], "rate_limit_error");
    let native = json!({ "input_ids": [1], "sampling_params": { "max_new_tokens": 1 } });
    let refused = server.post("/generate", &native);
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("1")));
    // Whoever hangs up gives the room back, long before 800 tokens are there.
    drop(events);
    let served = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        server.post("/v1/completions", &short).status == 200
    });
    assert!(served);
    let many = server.post("/v1/completions", &json!({ "prompt": [1], "n": 3 }));
    assert_eq!((many.status, many.retry_after), (400, None));
}

#[test]
fn other_machines_need_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let (_, error) = expect(folder.path(), &["serve", "model", "--listen", "0.0.0.0:0"], 2);
    assert!(error.contains("--secret-file"), "{error}");
    std::fs::write(folder.path().join("secret"), "open sesame\n").unwrap();
    let server = Server::start(folder.path(), &["--secret-file", "secret"]);
    let body = json!({ "prompt": [1], "max_tokens": 1 });
    let refused = server.post("/v1/completions", &body);
    assert_eq!((refused.status, &refused.json()["error"]["type"]), (401, &json!("authentication_error")));
    let other = server.post_with("/v1/completions", &body, Some(("authorization", "Bearer open")));
    assert_eq!(other.status, 401);
    let known = server.post_with("/v1/completions", &body, Some(("authorization", "Bearer open sesame")));
    assert_eq!(known.status, 200);
    assert_eq!((server.get("/health").status, server.get("/v1/models").status), (200, 401));
}

/// Ways to sample that servers do not have are refused at their line.
#[test]
fn a_recipe_cannot_ask_for_what_servers_do_not_do() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let servers = "engine=\"sglang\"\nservers = [\"http://127.0.0.1:9\"]";
    // A loss with a ratio refuses these for another reason.
    let no_ratio = "[algorithm]\npolicy_loss = \"reinforce\"";
    let cases = [
        ("engine = \"sglang\"", "none is named"),
        ("engine = \"sglang\"\nservers = [\"localhost:9\"]", "`localhost:9` is no address"),
        ("servers = [\"http://127.0.0.1:9\"]", "nothing reads it"),
        (&format!("{servers}\ntop_p = 0.9\n{no_ratio}"), "`rollout.top_p` is not followed"),
        (
            &format!("{servers}\nrepetition_guard = 0.9\n{no_ratio}"),
            "`rollout.repetition_guard` is not followed",
        ),
        (&format!("{servers}\nkv_memory_mib = 9"), "nothing reads it"),
        (&format!("{}\ntemperature = 0.7", servers.replace("sglang", "vllm")), "at temperature 1"),
        (
            &format!("{servers}\n[rollout.grammar]\nnotation = \"regex\"\ntext = \"a+\""),
            "`rollout.grammar` is not followed",
        ),
    ];
    let recipe = std::fs::read_to_string(folder.path().join("recipe.toml")).unwrap();
    for (keys, said) in cases {
        let text = recipe.replace("max_batch = 12\n", &format!("max_batch = 12\n{keys}\n"));
        std::fs::write(folder.path().join("recipe.toml"), text).unwrap();
        let (_, error) = expect(folder.path(), &["check", "recipe.toml"], 2);
        let words: Vec<&str> = error.split_whitespace().filter(|word| *word != "│").collect();
        assert!(words.join(" ").contains(said), "{keys}: {error}");
        let last = keys.lines().find(|line| error.contains(line));
        assert!(last.is_some(), "no line of {keys:?} in {error}");
    }
    let text = recipe.replace("max_batch = 12\n", &format!("max_batch = 12\n{servers}\n"));
    std::fs::write(folder.path().join("recipe.toml"), text).unwrap();
    expect(folder.path(), &["check", "recipe.toml"], 0);
}
