//! Other weights, while the server runs.

use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use crate::server::{Reply, Server};
use crate::tiny;

/// The model of `from` with the sign of every weight changed.
fn make_other(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
    let path = to.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let begin = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[begin..].chunks_exact_mut(4).for_each(|number| number[3] ^= 0x80);
    std::fs::write(path, bytes).unwrap();
}

fn generate(server: &Server) -> (Value, Value) {
    let how = json!({ "max_new_tokens": 16, "sampling_seed": 3 });
    let reply = server.post("/generate", &json!({ "input_ids": [72, 105], "sampling_params": how })).json();
    (reply["output_ids"].clone(), reply["meta_info"]["weight_version"].clone())
}

#[test]
fn weights_change_between_requests_and_never_within_one() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let [model, other] = ["model", "other"].map(|name| folder.path().join(name));
    make_other(&model, &other);
    tiny::make_t5(&folder.path().join("t5"));
    let server = Server::start(folder.path(), &[]);
    let update = |folder: &Path, more: Value| -> Reply {
        let mut body = json!({ "model_path": folder });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/update_weights_from_disk", &body)
    };
    let (first, version) = generate(&server);
    assert_eq!(version, "default");

    // A request that is under way ends with the weights that it began with.
    let long = json!({ "prompt": [72, 105], "max_tokens": 200, "seed": 3, "temperature": 2.0 });
    let whole = server.post("/v1/completions", &long).json()["choices"][0]["text"].clone();
    let mut streamed = long.clone();
    streamed["stream"] = json!(true);
    let mut events = server.stream("/v1/completions", &streamed);
    let begun = events.next().unwrap();
    let updated = thread::scope(|scope| {
        let updating = scope.spawn(|| update(&other, json!({ "weight_version": "v1" })));
        let pieces = std::iter::once(begun).chain(events).filter(|event| event != "[DONE]");
        let text: String = pieces
            .map(|piece| {
                serde_json::from_str::<Value>(&piece).unwrap()["choices"][0]["text"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(whole, text);
        updating.join().unwrap()
    });
    assert_eq!((updated.status, &updated.json()["success"]), (200, &json!(true)));
    let (second, version) = generate(&server);
    assert_ne!(first, second);
    assert_eq!(version, "v1");
    assert_eq!(server.get("/model_info").json()["weight_version"], "v1");

    // What does not fit changes nothing.
    for wrong in ["nowhere", "t5"] {
        let refused = update(&folder.path().join(wrong), json!({ "weight_version": "v2" }));
        assert_eq!((refused.status, &refused.json()["success"]), (400, &json!(false)), "{wrong}");
        assert!(refused.json()["message"].as_str().unwrap().contains(wrong), "{}", refused.text);
    }
    assert_eq!(generate(&server), (second, json!("v1")));

    // In vLLM's words; these have no version.
    let reload = json!({ "method": "reload_weights", "kwargs": { "weights_path": model } });
    assert_eq!(server.post("/collective_rpc", &reload).json(), json!({ "results": [null] }));
    assert_eq!(server.post("/reset_prefix_cache", &json!({})).status, 200);
    assert_eq!(generate(&server).0, first);

    // An update that does not want to wait ends what is under way.
    streamed["max_tokens"] = json!(400);
    streamed["n"] = json!(8);
    let mut events = server.stream("/v1/completions", &streamed);
    assert!(events.next().is_some());
    assert_eq!(update(&other, json!({ "abort_all_requests": true })).status, 200);
    assert!(events.any(|event| event.contains("given up")));
}
