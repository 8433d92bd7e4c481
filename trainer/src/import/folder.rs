//! The folder that an import fills.

use std::ffi::OsStr;
use std::path::Path;

use fs_err as fs;
use rltrain_checkpoints::{read_safetensors, replace_file};
use serde_json::{Value, json};

use super::ImportError;
use super::tokenizer::TokenizerFiles;

/// Written last: a folder without it is an import that did not end.
pub(super) const CONFIG: &str = "config.json";
/// The weights.
pub(super) const WEIGHTS: &str = "model.safetensors";
/// Names the shards of a model that was here before; readers prefer it to [`WEIGHTS`].
const INDEX: &str = "model.safetensors.index.json";
const GENERATION_CONFIG: &str = "generation_config.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// Every file that an import writes.
const FILES: [&str; 7] =
    [WEIGHTS, TOKENIZER, TOKENIZER_CONFIG, SPECIAL_TOKENS, CHAT_TEMPLATE, GENERATION_CONFIG, CONFIG];

/// Metadata key of the weights that marks them as imported, and not trained.
pub(super) const MARK: &str = "rltrain.imported_from";

/// Suffix of files that were being written when a process died.
const PARTIAL: &str = ".partial";

/// Refuses a folder with anything in it that an earlier import did not write: trained weights, notes, another
/// model.
pub(super) fn check_free(folder: &Path) -> Result<(), ImportError> {
    if !folder.exists() {
        return Ok(());
    }
    let occupied = |found: String| Err(ImportError::Occupied { folder: folder.to_owned(), found });
    let entries = fs::read_dir(folder).map_err(ImportError::write(folder))?;
    let mut names = entries
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<Vec<_>, std::io::Error>>()
        .map_err(ImportError::write(folder))?;
    names.sort();
    let ours = |name: &OsStr| {
        name.to_str().is_some_and(|name| FILES.contains(&name.strip_suffix(PARTIAL).unwrap_or(name)))
    };
    if let Some(found) = names.iter().find(|name| !ours(name)) {
        return occupied(found.to_string_lossy().into_owned());
    }
    // Weights come first, so a folder with other files but without them is not an import either.
    let weights = folder.join(WEIGHTS);
    match read_safetensors(&weights) {
        Ok(file) if file.metadata().contains_key(MARK) => Ok(()),
        _ if weights.exists() => occupied(WEIGHTS.to_owned()),
        _ => match names.iter().find(|name| name.to_str().is_none_or(|name| !name.ends_with(PARTIAL))) {
            None => Ok(()),
            Some(found) => occupied(found.to_string_lossy().into_owned()),
        },
    }
}

/// Makes the folder and takes away what would make a half-filled one look whole.
pub(super) fn begin(folder: &Path) -> Result<(), ImportError> {
    fs::create_dir_all(folder).map_err(ImportError::write(folder))?;
    for name in [CONFIG, INDEX] {
        remove(&folder.join(name)).map_err(ImportError::write(folder))?;
    }
    Ok(())
}

/// Writes every file but the weights; `config.json` last.
pub(super) fn finish(folder: &Path, text: &TokenizerFiles, config: &Value) -> Result<(), ImportError> {
    let write = |name: &str, content: &[u8]| {
        replace_file(&folder.join(name), content).map_err(ImportError::write(folder))
    };
    write(TOKENIZER, text.tokenizer.as_bytes())?;
    write(TOKENIZER_CONFIG, &pretty(&text.config))?;
    write(SPECIAL_TOKENS, &pretty(&text.special_map))?;
    match &text.chat_template {
        Some(template) => write(CHAT_TEMPLATE, template.as_bytes())?,
        None => remove(&folder.join(CHAT_TEMPLATE)).map_err(ImportError::write(folder))?,
    }
    let special = &text.special;
    let generation = json!({
        "bos_token_id": special.bos,
        "eos_token_id": special.eos_json(),
        "pad_token_id": special.pad,
    });
    write(GENERATION_CONFIG, &pretty(&generation))?;
    write(CONFIG, &pretty(config))
}

fn pretty(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
