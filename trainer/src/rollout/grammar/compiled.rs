//! The engine behind `[rollout.grammar]`: llguidance, an Earley parser over a lexer of derivatives.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory, token_bytes_from_tokenizer_json};
use serde_json::Value;

use crate::policy::{PolicyError, read_json, stop_ids};

use super::{GrammarConfig, GrammarError, GrammarNotation, Language, PrefixAcceptor, TokenSet};

/// A grammar compiled for a tokenizer. Made once per run.
pub struct CompiledGrammar {
    /// At the beginning of a word; samples start from copies of it, which share what it learns of the lexer.
    start: Matcher,
    ends: Vec<u32>,
}

impl fmt::Debug for CompiledGrammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CompiledGrammar")
    }
}

impl CompiledGrammar {
    /// Compiles `config` for the tokenizer of the model in `folder`.
    ///
    /// # Errors
    ///
    /// As [`CompiledGrammar::new`], or if the tokenizer or what says how completions end cannot be read.
    pub fn for_model(config: &GrammarConfig, folder: &Path) -> Result<CompiledGrammar, PolicyError> {
        let tokenizer = read_json(&folder.join("tokenizer.json"))?;
        Ok(CompiledGrammar::new(config, &tokenizer, stop_ids(folder)?)?)
    }

    /// Compiles `config` for the tokenizer of a parsed `tokenizer.json`; any of `stop_ids` ends a word.
    ///
    /// # Errors
    ///
    /// If the text is not a grammar, or the tokenizer is neither one of bytes nor falls back to them.
    pub fn new(
        config: &GrammarConfig,
        tokenizer: &Value,
        stop_ids: impl IntoIterator<Item = i64>,
    ) -> Result<CompiledGrammar, GrammarError> {
        let grammar = match config.notation {
            GrammarNotation::Lark => TopLevelGrammar::from_lark(config.text.clone()),
            GrammarNotation::Regex => TopLevelGrammar::from_regex(&config.text),
            GrammarNotation::JsonSchema => TopLevelGrammar::from_json_schema(
                serde_json::from_str(&config.text).map_err(|error| said(&error))?,
            ),
        };
        let ends: Vec<u32> = stop_ids.into_iter().filter_map(|id| u32::try_from(id).ok()).collect();
        let environment = environment(tokenizer, &ends)?;
        let mut factory =
            ParserFactory::new(&environment, InferenceCapabilities::default(), &[]).map_err(|e| said(&e))?;
        let parser = factory.quiet().create_parser(grammar);
        let mut start = Matcher::new(parser);
        if let Some(error) = start.get_error() {
            return Err(GrammarError(error));
        }
        // Finds what compiling leaves for the first look: an empty language, limits that are too small.
        start.compute_mask_or_eos().map_err(|error| said(&error))?;
        Ok(CompiledGrammar { start, ends })
    }
}

/// What llguidance needs to know of the tokenizer: the bytes of every token. It never encodes a text here.
fn environment(tokenizer: &Value, ends: &[u32]) -> Result<TokEnv, GrammarError> {
    let words = token_bytes_from_tokenizer_json(tokenizer).map_err(|error| said(&error))?;
    let known: Vec<u32> = ends.iter().copied().filter(|end| (*end as usize) < words.len()).collect();
    let Some(first) = known.first() else {
        return Err(GrammarError("the model has no stop id that could end a completion".to_owned()));
    };
    let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, *first), &words).with_eos_tokens(&known);
    Ok(Arc::new(ApproximateTokEnv::new(trie)))
}

fn said(error: &impl ToString) -> GrammarError {
    GrammarError(error.to_string())
}

impl Language for CompiledGrammar {
    fn acceptor(&self) -> Box<dyn PrefixAcceptor> {
        Box::new(Acceptor { matcher: self.start.clone(), ends: self.ends.clone() })
    }
}

struct Acceptor {
    matcher: Matcher,
    ends: Vec<u32>,
}

impl PrefixAcceptor for Acceptor {
    fn allowed(&mut self) -> Result<TokenSet, GrammarError> {
        let mask = self.matcher.compute_mask_or_eos().map_err(|error| said(&error))?;
        Ok(TokenSet::of_words(mask.as_slice().to_vec()))
    }

    fn accept(&mut self, token: i64) -> Result<(), GrammarError> {
        let token = u32::try_from(token).map_err(|error| said(&error))?;
        // Where nothing can follow, the engine is done already, and an end tells it nothing.
        if self.matcher.is_stopped() && self.ends.contains(&token) {
            return Ok(());
        }
        self.matcher.consume_token(token).map_err(|error| said(&error))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Bytes, and one end.
    fn tokenizer() -> Value {
        let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
        let mut stand_in = 0x100;
        let mut vocabulary = serde_json::Map::new();
        for byte in 0..=255u8 {
            let character = if printable(byte) {
                char::from(byte)
            } else {
                stand_in += 1;
                char::from_u32(stand_in - 1).unwrap()
            };
            vocabulary.insert(character.to_string(), json!(byte));
        }
        json!({ "decoder": { "type": "ByteLevel" }, "model": { "vocab": vocabulary },
                "added_tokens": [{ "id": 256, "content": "<|end|>", "special": true, "lstrip": false, "rstrip": false,
                                   "normalized": false, "single_word": false }] })
    }

    const END: i64 = 256;

    fn compile(notation: GrammarNotation, text: &str) -> Result<CompiledGrammar, GrammarError> {
        let config = GrammarConfig { notation, text: text.to_owned(), method: Default::default() };
        CompiledGrammar::new(&config, &tokenizer(), [END])
    }

    /// Whether the language has the word.
    fn has(language: &CompiledGrammar, word: &str) -> bool {
        let mut acceptor = language.acceptor();
        for token in word.bytes().map(i64::from).chain([END]) {
            if !acceptor.allowed().unwrap().has(token as usize) {
                return false;
            }
            acceptor.accept(token).unwrap();
        }
        true
    }

    #[test]
    fn every_notation_has_its_words_and_no_others() {
        let bits = compile(GrammarNotation::Regex, "0{5}|1[01]{4}").unwrap();
        assert!(has(&bits, "00000") && has(&bits, "10110"));
        assert!(!has(&bits, "00001") && !has(&bits, "1011") && !has(&bits, "101101"));

        let sums =
            compile(GrammarNotation::Lark, "start: term (\"+\" term)*\nterm: /[0-9]+/ | \"(\" start \")\"\n")
                .unwrap();
        assert!(has(&sums, "1+(2+3)") && has(&sums, "((7))"));
        assert!(!has(&sums, "1+") && !has(&sums, "(1"));

        let schema = r#"{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": false}"#;
        let object = compile(GrammarNotation::JsonSchema, schema).unwrap();
        assert!(has(&object, r#"{"n": 12}"#));
        assert!(!has(&object, "{}") && !has(&object, r#"{"n": "12"}"#));
    }

    #[test]
    fn a_word_may_end_where_it_is_one_and_must_end_where_nothing_follows() {
        let language = compile(GrammarNotation::Regex, "ab?").unwrap();
        let mut acceptor = language.acceptor();
        assert_eq!(acceptor.allowed().unwrap(), acceptor.allowed().unwrap());
        acceptor.accept(i64::from(b'a')).unwrap();
        let allowed = acceptor.allowed().unwrap();
        assert!(allowed.has(b'b' as usize) && allowed.has(END as usize) && !allowed.has(b'a' as usize));
        acceptor.accept(i64::from(b'b')).unwrap();
        let allowed = acceptor.allowed().unwrap();
        assert!(allowed.has(END as usize) && (0..256).all(|byte| !allowed.has(byte)));
        assert!(acceptor.accept(i64::from(b'b')).is_err());
    }

    #[test]
    fn what_is_no_grammar_is_refused_with_what_the_engine_says() {
        for (notation, text) in [
            (GrammarNotation::Lark, "start: missing\n"),
            (GrammarNotation::Regex, "(unclosed"),
            (GrammarNotation::JsonSchema, "{"),
        ] {
            let error = compile(notation, text).unwrap_err();
            assert!(!error.to_string().is_empty(), "{notation:?}");
        }
    }
}
