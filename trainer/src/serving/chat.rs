//! A conversation as a prompt.

use serde_json::Value;

use super::ask::encoded;
use super::refusal::Refusal;
use super::worker::with_causes;
use crate::policy::Tokenizer;

/// Token ids of `messages`, in the model's chat format, up to where the assistant begins to speak.
pub(super) fn prompt(messages: &Value, tokenizer: &Tokenizer) -> Result<Vec<i64>, Refusal> {
    let wrong = |message: &str| Refusal::of("messages", message);
    let messages = messages.as_array().filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| wrong("`messages`: wanted a list of at least one message"))?;
    let mut said: Vec<(&str, String)> = Vec::with_capacity(messages.len());
    for message in messages {
        let role = message["role"].as_str().ok_or_else(|| wrong("a message has no `role`"))?;
        said.push((role, content(&message["content"])?));
    }
    let said: Vec<(&str, &str)> = said.iter().map(|(role, content)| (*role, &content[..])).collect();
    // A template can refuse a role or an order of them.
    let text = tokenizer.conversation(&said).map_err(|error| wrong(&with_causes(&error)))?;
    encoded(&text, tokenizer)
}

/// A text, or parts that are texts.
fn content(content: &Value) -> Result<String, Refusal> {
    let wrong = || Refusal::of("messages", "`content`: wanted a text, or parts of the type `text`");
    match content {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        Value::Array(parts) => {
            let text =
                |part: &Value| part["text"].as_str().filter(|_| part["type"] == "text").map(str::to_owned);
            parts.iter().map(text).collect::<Option<String>>().ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}
