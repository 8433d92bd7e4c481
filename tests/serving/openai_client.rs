//! OpenAI's own Python client against the server.

use std::process::Command;

use crate::server::Server;
use crate::tiny;

const SCRIPT: &str = r#"
import sys
import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)
assert [model.id for model in client.models.list()] == ["tiny"]

whole = client.completions.create(model="tiny", prompt="def f(x):", max_tokens=20, seed=1, n=2, logprobs=1)
assert len(whole.choices) == 2 and whole.usage.completion_tokens == sum(len(c.logprobs.tokens) for c in whole.choices)
assert whole.choices[0].finish_reason in ("stop", "length")
pieces = client.completions.create(model="tiny", prompt="def f(x):", max_tokens=20, seed=1, n=2, stream=True)
texts = ["", ""]
for piece in pieces:
    texts[piece.choices[0].index] += piece.choices[0].text
assert texts == [choice.text for choice in whole.choices], (texts, whole)

messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
chat = client.chat.completions.create(model="tiny", messages=messages, max_tokens=12, seed=2, logprobs=True)
assert chat.choices[0].message.role == "assistant"
assert all(token.logprob <= 0 for token in chat.choices[0].logprobs.content)
pieces = client.chat.completions.create(model="tiny", messages=messages, max_tokens=12, seed=2, stream=True)
text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
assert text == chat.choices[0].message.content, (text, chat)

try:
    client.completions.create(model="tiny", prompt="a", max_tokens=100000)
    raise SystemExit("what is too long was not refused")
except openai.BadRequestError as error:
    assert error.type == "invalid_request_error", error
try:
    client.completions.create(model="other", prompt="a")
    raise SystemExit("another model was not refused")
except openai.NotFoundError as error:
    assert error.code == "model_not_found", error
print("openai", openai.__version__)
"#;

/// `RLTRAIN_OPENAI_PYTHON` names a Python that has the package `openai`.
#[test]
fn openai_s_python_client_gets_what_it_expects() {
    let Some(python) = std::env::var_os("RLTRAIN_OPENAI_PYTHON") else {
        use std::io::Write;
        // Nothing to do about a closed stream.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: RLTRAIN_OPENAI_PYTHON names no Python with the package `openai`"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let server = Server::start(folder.path(), &[]);
    let output = Command::new(python).args(["-c", SCRIPT, &server.url]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}
