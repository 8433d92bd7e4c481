//! The tokenizer: GGUF's vocabulary, merges and token types become a `tokenizer.json` and its companions.
//!
//! Only byte-level BPE (`tokenizer.ggml.model = gpt2`). How text is cut into words before merging is not in
//! the file: it has a name, `tokenizer.ggml.pre`, and the rule behind the name is part of llama.cpp.
//! [`SPLITS`] has the rules known here.

use serde_json::{Map, Value, json};
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, PreTokenizerWrapper, Tokenizer};

use super::ImportError;
use super::header::Gguf;

const TOKENS: &str = "tokenizer.ggml.tokens";
const MERGES: &str = "tokenizer.ggml.merges";
const TOKEN_TYPES: &str = "tokenizer.ggml.token_type";

/// GGUF's type of a token that controls the model and is no text.
const CONTROL: i64 = 3;
/// GGUF's type of a token that is text but is never cut or merged.
const USER_DEFINED: i64 = 4;

/// How text is cut into words.
#[derive(Clone, Copy)]
enum Split {
    /// GPT-2's expression alone.
    Gpt2,
    /// Every digit (any Unicode number) by itself, then GPT-2's expression on what lies between. It shows in
    /// white space before a number: four spaces of indentation before `1` stay one token, where GPT-2's
    /// expression alone would split the last space off.
    DigitsThenGpt2,
}

/// Names in `tokenizer.ggml.pre` and what they mean in llama.cpp.
const SPLITS: [(&str, Split); 3] =
    [("smollm", Split::DigitsThenGpt2), ("starcoder", Split::DigitsThenGpt2), ("gpt-2", Split::Gpt2)];

/// Ends an assistant's turn in the ChatML format. Models are tuned from base models whose end-of-text token
/// is another, and some files still name that one.
const CHATML_END: &str = "<|im_end|>";

/// The ids of tokens with a role.
pub(super) struct SpecialIds {
    /// Begins a text.
    pub(super) bos: Option<usize>,
    /// Each ends a completion; the first is the tokenizer's own.
    pub(super) eos: Vec<usize>,
    /// Fills batches.
    pub(super) pad: Option<usize>,
    /// Stands for what the vocabulary cannot express.
    pub(super) unknown: Option<usize>,
}

impl SpecialIds {
    /// `eos_token_id` as configuration files have it: one id, a list of them, or null.
    pub(super) fn eos_json(&self) -> Value {
        match self.eos.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            several => json!(several),
        }
    }
}

/// Everything about text that a model folder holds.
pub(super) struct TokenizerFiles {
    /// Ids of the tokens with a role.
    pub(super) special: SpecialIds,
    /// Number of tokens.
    pub(super) vocabulary: usize,
    /// Content of `tokenizer.json`.
    pub(super) tokenizer: String,
    /// Content of `tokenizer_config.json`.
    pub(super) config: Value,
    /// Content of `special_tokens_map.json`.
    pub(super) special_map: Value,
    /// Content of `chat_template.jinja`.
    pub(super) chat_template: Option<String>,
}

impl TokenizerFiles {
    /// Builds them from the metadata.
    pub(super) fn build(gguf: &Gguf) -> Result<TokenizerFiles, ImportError> {
        let model = gguf.required_text("tokenizer.ggml.model")?;
        if model != "gpt2" {
            return Err(gguf.unsupported("tokenizer.ggml.model", model, "`gpt2` (byte-level BPE)"));
        }
        let tokens = gguf.texts(TOKENS)?;
        let special = special_ids(gguf, &tokens)?;
        let mut tokenizer = Tokenizer::new(bpe(gguf, &tokens)?);
        tokenizer.with_pre_tokenizer(Some(pre_tokenizer(gguf)?)).with_decoder(Some(ByteLevel::default()));
        let refused = |error: tokenizers::Error| ImportError::Tokenizer {
            file: gguf.path().to_owned(),
            message: error.to_string(),
        };
        tokenizer.add_tokens(added_tokens(gguf, &tokens)?).map_err(refused)?;
        if let Some(template) = bos_and_eos(gguf, &tokens, &special)? {
            tokenizer.with_post_processor(Some(template));
        }
        let chat_template = gguf.text("tokenizer.chat_template")?.map(str::to_owned);
        let special_map = special_map(&tokens, &special);
        let mut config = json!({
            // The class that takes `tokenizer.json` as it is. A model's own class, such as GPT2Tokenizer,
            // would in transformers 5 build its pre-tokenizer anew and lose the splitting of digits.
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": false,
            "model_max_length": gguf.count("llama.context_length")?,
        });
        for (name, token) in &special_map {
            config[name] = token.clone();
        }
        Ok(TokenizerFiles {
            vocabulary: tokens.len(),
            special,
            tokenizer: tokenizer.to_string(true).map_err(refused)?,
            config,
            special_map: Value::Object(special_map),
            chat_template,
        })
    }
}

/// The merges and the vocabulary, checked: the tokenizer library panics on a merge that is no token.
fn bpe(gguf: &Gguf, tokens: &[&str]) -> Result<BPE, ImportError> {
    let wrong = |what: String, found: &str, wanted| {
        Err(ImportError::Vocabulary {
            file: gguf.path().to_owned(),
            what,
            found: format!("{found:?}"),
            wanted,
        })
    };
    let mut vocabulary = Vocab::with_capacity(tokens.len());
    for (id, token) in (0u32..).zip(tokens) {
        if vocabulary.insert((*token).to_owned(), id).is_some() {
            return wrong(format!("{TOKENS}[{id}]"), token, "a token that does not occur before");
        }
    }
    let mut merges = Vec::new();
    for (rank, merge) in gguf.texts(MERGES)?.into_iter().enumerate() {
        let known = |token: &str| vocabulary.contains_key(token);
        match merge.split_once(' ') {
            Some((left, right)) if known(left) && known(right) && known(&format!("{left}{right}")) => {
                merges.push((left.to_owned(), right.to_owned()));
            }
            _ => return wrong(format!("{MERGES}[{rank}]"), merge, "two tokens that join to a third"),
        }
    }
    let built = BPE::builder().vocab_and_merges(vocabulary, merges).build();
    built.map_err(|error| ImportError::Tokenizer { file: gguf.path().to_owned(), message: error.to_string() })
}

fn pre_tokenizer(gguf: &Gguf) -> Result<PreTokenizerWrapper, ImportError> {
    let key = "tokenizer.ggml.pre";
    let name = gguf.required_text(key)?;
    let Some((_, split)) = SPLITS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<String> = SPLITS.iter().map(|(known, _)| format!("`{known}`")).collect();
        return Err(gguf.unsupported(key, name, known.join(", ")));
    };
    let bytes = PreTokenizerWrapper::from(ByteLevel::new(
        gguf.flag("tokenizer.ggml.add_space_prefix")? == Some(true),
        true,
        true,
    ));
    Ok(match split {
        Split::Gpt2 => bytes,
        Split::DigitsThenGpt2 => Sequence::new(vec![Digits::new(true).into(), bytes]).into(),
    })
}

/// Tokens that are matched whole in a text before it is cut into words.
fn added_tokens(gguf: &Gguf, tokens: &[&str]) -> Result<Vec<AddedToken>, ImportError> {
    let Some(types) = gguf.numbers(TOKEN_TYPES)? else { return Ok(Vec::new()) };
    if types.len() != tokens.len() {
        return Err(gguf.wrong(TOKEN_TYPES, format!("one number for each of {} tokens", tokens.len())));
    }
    let whole = tokens.iter().zip(types).filter(|(_, kind)| [CONTROL, USER_DEFINED].contains(kind));
    Ok(whole.map(|(token, kind)| AddedToken::from(*token, kind == CONTROL).normalized(false)).collect())
}

/// An id of the vocabulary, if the key is there.
fn id(gguf: &Gguf, key: &str, tokens: &[&str]) -> Result<Option<usize>, ImportError> {
    match gguf.count(key)? {
        Some(id) if id >= tokens.len() => {
            Err(gguf.wrong(key, format!("the id of one of {} tokens", tokens.len())))
        }
        id => Ok(id),
    }
}

fn special_ids(gguf: &Gguf, tokens: &[&str]) -> Result<SpecialIds, ImportError> {
    let chat = gguf.text("tokenizer.chat_template")?.unwrap_or_default();
    let mut eos: Vec<usize> = Vec::new();
    // End of text, of a turn, of a message.
    for key in ["eos", "eot", "eom"] {
        eos.extend(id(gguf, &format!("tokenizer.ggml.{key}_token_id"), tokens)?);
    }
    if chat.contains(CHATML_END) {
        eos.extend(tokens.iter().position(|token| *token == CHATML_END));
    }
    let mut once = Vec::with_capacity(eos.len());
    for id in eos {
        if !once.contains(&id) {
            once.push(id);
        }
    }
    Ok(SpecialIds {
        bos: id(gguf, "tokenizer.ggml.bos_token_id", tokens)?,
        eos: once,
        pad: id(gguf, "tokenizer.ggml.padding_token_id", tokens)?,
        unknown: id(gguf, "tokenizer.ggml.unknown_token_id", tokens)?,
    })
}

fn special_map(tokens: &[&str], special: &SpecialIds) -> Map<String, Value> {
    let roles = [
        ("bos_token", special.bos),
        ("eos_token", special.eos.first().copied()),
        ("pad_token", special.pad),
        ("unk_token", special.unknown),
    ];
    roles.into_iter().filter_map(|(role, id)| Some((role.to_owned(), json!(tokens[id?])))).collect()
}

/// The step that puts tokens around a text, if the file asks for it.
fn bos_and_eos(
    gguf: &Gguf,
    tokens: &[&str],
    special: &SpecialIds,
) -> Result<Option<TemplateProcessing>, ImportError> {
    let add = |key: &str, id: Option<usize>| match gguf.flag(key)? {
        Some(true) if id.is_none() => Err(gguf.wrong(key, "false where the vocabulary has no such token")),
        flag => Ok(id.filter(|_| flag == Some(true)).map(|id| (tokens[id].to_owned(), id as u32))),
    };
    let before = add("tokenizer.ggml.add_bos_token", special.bos)?;
    let after = add("tokenizer.ggml.add_eos_token", special.eos.first().copied())?;
    if before.is_none() && after.is_none() {
        return Ok(None);
    }
    let name = |token: &Option<(String, u32)>| token.iter().map(|(text, _)| text.clone()).collect::<Vec<_>>();
    let pieces = [name(&before), vec!["$A".to_owned()], name(&after)].concat();
    let template = TemplateProcessing::builder()
        .try_single(pieces)
        .map_err(|error| error.to_string())
        .and_then(|builder| {
            let around: Vec<(String, u32)> = before.into_iter().chain(after).collect();
            builder.special_tokens(around).build().map_err(|error| error.to_string())
        });
    let refused = |message| ImportError::Tokenizer { file: gguf.path().to_owned(), message };
    template.map(Some).map_err(refused)
}
