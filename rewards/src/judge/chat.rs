//! Chat completions, as OpenAI's interface has them and everybody's since.

use serde::{Deserialize, Serialize};

use super::JudgeConfig;
use crate::plugin::{PlugInError, shown};

/// Bytes of text that count as a token where the endpoint does not say how many there were.
const BYTES_PER_TOKEN: usize = 4;

/// Who is asked, and how.
#[derive(Clone, Debug)]
pub(super) struct Chat {
    model: String,
    temperature: f64,
    max_tokens: u64,
    seed: u32,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: [Message<'a>; 2],
    temperature: f64,
    max_tokens: u64,
    seed: u64,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: &'a str,
}

impl Chat {
    pub(super) fn new(config: &JudgeConfig) -> Result<Self, String> {
        if config.model.is_empty() {
            return Err("`model` is empty, wanted the name that the endpoint knows it by".to_owned());
        }
        if !(config.temperature.is_finite() && config.temperature >= 0.0) {
            return Err(format!("`temperature` is {}, wanted a number from 0", config.temperature));
        }
        if config.max_tokens == 0 {
            return Err("`max_tokens` is 0, wanted at least 1".to_owned());
        }
        Ok(Self {
            model: config.model.clone(),
            temperature: config.temperature,
            max_tokens: config.max_tokens,
            seed: config.seed,
        })
    }

    /// The request, in the try `tries`, from 0.
    pub(super) fn body(&self, system: &str, user: &str, tries: u32) -> String {
        let request = Request {
            model: &self.model,
            messages: [Message { role: "system", content: system }, Message { role: "user", content: user }],
            temperature: self.temperature,
            max_tokens: self.max_tokens,
            seed: u64::from(self.seed) + u64::from(tries),
        };
        serde_json::to_string(&request).expect("a request of texts and finite numbers is JSON by contract")
    }
}

/// What a judge says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reply {
    /// Its words.
    pub(super) text: String,
    /// Tokens of question and reply, if the endpoint counted them.
    pub(super) tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Response {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Said,
}

#[derive(Deserialize)]
struct Said {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    total_tokens: u64,
}

impl Reply {
    /// Reads an endpoint's answer.
    pub(super) fn read(answer: &str) -> Result<Reply, PlugInError> {
        let wanted = || "wanted a chat completion with `choices[0].message.content`".to_owned();
        let garbage = || PlugInError::Garbage { answer: shown(answer), wanted: wanted() };
        let response: Response = serde_json::from_str(answer).map_err(|_| garbage())?;
        let tokens = response.usage.map(|usage| usage.total_tokens);
        let text = response.choices.into_iter().next().and_then(|choice| choice.message.content);
        Ok(Reply { text: text.ok_or_else(garbage)?, tokens })
    }

    /// Tokens of the reply and of a question of `bytes`, at a guess where nobody counted.
    pub(super) fn tokens_or(&self, bytes: usize) -> u64 {
        self.tokens.unwrap_or((bytes + self.text.len()).div_ceil(BYTES_PER_TOKEN) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_the_first_choice() {
        let answer = r#"{"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Score: 1"},
            "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}"#;
        assert_eq!(Reply::read(answer).unwrap(), Reply { text: "Score: 1".to_owned(), tokens: Some(7) });
    }

    #[test]
    fn tokens_are_guessed_where_nobody_counted() {
        let reply = Reply::read(r#"{"choices": [{"message": {"content": "12345"}}]}"#).unwrap();
        assert_eq!((reply.tokens, reply.tokens_or(4)), (None, 3));
    }

    #[test]
    fn what_is_no_completion_is_garbage() {
        for answer in ["", "{}", r#"{"choices": []}"#, r#"{"choices": [{"message": {"content": null}}]}"#] {
            assert!(matches!(Reply::read(answer), Err(PlugInError::Garbage { .. })), "{answer}");
        }
    }
}
