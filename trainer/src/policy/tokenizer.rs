//! Text to token ids and back, the chat template, and the ids that end a completion.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, context};
use serde_json::Value;

use super::error::PolicyError;
use super::weights::read_json;

/// The tokenizer of a model folder, with its chat template.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
    template: Environment<'static>,
    /// Ids that end a completion: every `eos_token_id` of the generation config and the config.
    pub stop_ids: BTreeSet<i64>,
    /// BLAKE3 of `tokenizer.json`, in hexadecimal.
    pub blake3: String,
    /// BLAKE3 of the chat template, if there is one.
    pub template_blake3: Option<String>,
    special: Value,
    /// Whether an encoder reads prompts.
    has_encoder: bool,
}

/// Name under which the chat template is compiled.
const CHAT: &str = "chat template";

/// Stands for an answer of the assistant where only what follows it is wanted: no template has it in a text of its own.
const ANSWER: &str = "\u{ab}the answer of the assistant\u{bb}";

impl Tokenizer {
    /// Reads `tokenizer.json`, `tokenizer_config.json` (or `chat_template.jinja`) and `generation_config.json`.
    ///
    /// # Errors
    ///
    /// If a file is missing or damaged, or the template does not compile.
    pub fn load(folder: &Path) -> Result<Tokenizer, PolicyError> {
        let path = folder.join("tokenizer.json");
        let tokenizer_error = |source: tokenizers::Error| PolicyError::Tokenizer {
            path: path.clone(),
            message: source.to_string(),
        };
        let bytes =
            std::fs::read(&path).map_err(|source| PolicyError::Read { path: path.clone(), source })?;
        let blake3 = blake3::hash(&bytes).to_hex().to_string();
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(tokenizer_error)?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(tokenizer_error)?;
        let special = read_json(&folder.join("tokenizer_config.json"))?;
        let source = template_source(folder, &special)?;
        let template_blake3 = source.as_ref().map(|text| blake3::hash(text.as_bytes()).to_hex().to_string());
        let (template, stop_ids) = (compiled(source)?, stop_ids(folder)?);
        let config = folder.join("config.json");
        let has_encoder = config.exists() && read_json(&config)?["is_encoder_decoder"] == Value::Bool(true);
        Ok(Tokenizer { inner, path, template, stop_ids, blake3, template_blake3, special, has_encoder })
    }

    /// Whether both give the same ids to the same tokens.
    pub fn same_as(&self, other: &Tokenizer) -> bool {
        self.inner.get_vocab(true) == other.inner.get_vocab(true)
    }

    /// Token ids of `text`, in which special tokens are recognised and none are added.
    ///
    /// # Errors
    ///
    /// If the tokenizer's model refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>, PolicyError> {
        self.ids(text, false)
    }

    /// Token ids of a prompt: as [`Tokenizer::encode`], or, where an encoder reads it, with the special tokens that the folder
    /// puts around a text, T5's `</s>` for example.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<i64>, PolicyError> {
        self.ids(text, self.has_encoder)
    }

    /// Token ids of a prompt, and of what `follows` it: those that the whole text has behind the prompt's. Where there are none
    /// such, because a token reaches over the border or an encoder reads the prompt, those of what follows alone.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn encode_with_prompt(
        &self,
        prompt: &str,
        follows: &str,
    ) -> Result<(Vec<i64>, Vec<i64>), PolicyError> {
        let before = self.encode_prompt(prompt)?;
        if self.has_encoder {
            return Ok((before, self.encode(follows)?));
        }
        let whole = self.encode(&format!("{prompt}{follows}"))?;
        let behind = match whole.strip_prefix(&before[..]) {
            Some(rest) => rest.to_vec(),
            None => self.encode(follows)?,
        };
        Ok((before, behind))
    }

    fn ids(&self, text: &str, with_special: bool) -> Result<Vec<i64>, PolicyError> {
        let encoding = self.inner.encode_fast(text, with_special).map_err(|source| {
            PolicyError::Tokenizer { path: self.path.clone(), message: source.to_string() }
        })?;
        Ok(encoding.get_ids().iter().map(|id| i64::from(*id)).collect())
    }

    /// A token as the tokenizer itself writes it, special ones included; `None` if there is none of this id.
    pub fn name(&self, id: i64) -> Option<String> {
        self.inner.id_to_token(u32::try_from(id).ok()?)
    }

    /// Text of `ids`, special tokens left out. Bytes that are not UTF-8 come out as U+FFFD.
    ///
    /// # Errors
    ///
    /// If the tokenizer's decoder fails.
    pub fn decode(&self, ids: &[i64]) -> Result<String, PolicyError> {
        let ids: Vec<u32> = ids.iter().map(|id| *id as u32).collect();
        self.inner
            .decode(&ids, true)
            .map_err(|source| PolicyError::Tokenizer { path: self.path.clone(), message: source.to_string() })
    }

    /// One user message in the model's chat format, up to where the assistant begins to speak.
    ///
    /// # Errors
    ///
    /// If the model has a template that fails. A model without one gets the message as it is.
    pub fn chat(&self, user: &str) -> Result<String, PolicyError> {
        self.converse(&[("user", user)]).unwrap_or_else(|| Ok(format!("{user}\n")))
    }

    /// Messages, each a role and what it says, in the model's chat format, up to where the assistant begins to speak.
    ///
    /// # Errors
    ///
    /// If the model has a template that fails. A model without one gets what was said, a line each.
    pub fn conversation(&self, messages: &[(&str, &str)]) -> Result<String, PolicyError> {
        let lines = || messages.iter().map(|(_, content)| format!("{content}\n")).collect();
        self.converse(messages).unwrap_or_else(|| Ok(lines()))
    }

    /// What comes between an answer of the assistant and its next one, where `user` is said in between: the end of the first
    /// message, the second, and the beginning of the third.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::chat`], or if the template leaves earlier answers out.
    pub fn chat_reply(&self, user: &str) -> Result<String, PolicyError> {
        let messages = [("user", "?"), ("assistant", ANSWER), ("user", user)];
        let Some(text) = self.converse(&messages) else { return Ok(format!("\n{user}\n")) };
        let text = text?;
        let after = text.split_once(ANSWER).map(|(_, after)| after.to_owned());
        after.ok_or_else(|| {
            let why = "it leaves out what the assistant has said, so that there is no second turn";
            let source = minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, why);
            PolicyError::Template { what: CHAT, source }
        })
    }

    /// Messages in the model's chat format, up to where the assistant begins to speak; `None` if the model has no template.
    fn converse(&self, messages: &[(&str, &str)]) -> Option<Result<String, PolicyError>> {
        let template = self.template.get_template(CHAT).ok()?;
        let message = |(role, content): &(&str, &str)| context! { role => *role, content => *content };
        let rendered = template.render(context! {
            messages => messages.iter().map(message).collect::<Vec<_>>(),
            add_generation_prompt => true,
            bos_token => token(&self.special, "bos_token"),
            eos_token => token(&self.special, "eos_token"),
        });
        Some(rendered.map_err(|source| PolicyError::Template { what: CHAT, source }))
    }
}

/// A special token's text: a string, or an object with `content`.
fn token(special: &Value, key: &str) -> String {
    special[key].as_str().or_else(|| special[key]["content"].as_str()).unwrap_or_default().to_owned()
}

/// The text of the chat template, if there is one.
fn template_source(folder: &Path, special: &Value) -> Result<Option<String>, PolicyError> {
    let beside = folder.join("chat_template.jinja");
    match std::fs::read_to_string(&beside) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(special["chat_template"].as_str().map(str::to_owned))
        }
        Err(source) => Err(PolicyError::Read { path: beside, source }),
    }
}

fn compiled(source: Option<String>) -> Result<Environment<'static>, PolicyError> {
    let mut environment = Environment::new();
    // Hugging Face compiles templates with these two on (transformers' `_compile_jinja_template`).
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    environment.set_syntax(syntax.build().expect("the default delimiters are valid"));
    if let Some(source) = source {
        environment
            .add_template_owned(CHAT, source)
            .map_err(|source| PolicyError::Template { what: CHAT, source })?;
    }
    Ok(environment)
}

/// Every `eos_token_id` of the generation config and the config of a model folder.
///
/// # Errors
///
/// If one of them cannot be read.
pub(crate) fn stop_ids(folder: &Path) -> Result<BTreeSet<i64>, PolicyError> {
    let mut ids = BTreeSet::new();
    for name in ["generation_config.json", "config.json"] {
        let path = folder.join(name);
        if !path.exists() {
            continue;
        }
        let json = read_json(&path)?;
        let eos = &json["eos_token_id"];
        ids.extend(eos.as_i64());
        ids.extend(eos.as_array().into_iter().flatten().filter_map(Value::as_i64));
    }
    Ok(ids)
}
