//! From a GGUF file to a Hugging Face folder: `rltrain import model.gguf folder`.
//!
//! ```text
//! model.gguf ─▶ metadata ─▶ sizes, tokenizer ─▶ config.json, tokenizer.json, …
//!           └─▶ tensors, one at a time ─▶ dequantised ─▶ rows reordered ─▶ model.safetensors
//! ```
//!
//! Everything is checked before anything is written. Each file is written aside and renamed, `config.json`
//! last, so that an interrupted import is a folder without one; importing again gives the same bytes.
//!
//! GGUF is read with candle-core: it is Hugging Face's own and maintained, knows the block formats (Q4_0 to
//! Q8_0, the K-quants, F16, BF16), checks every length against the file before it allocates, and its
//! dequantisation gives the same bits as llama.cpp's own `gguf` package (`docs/results/parity.md`). It is
//! built without features and used by this module alone.
//!
//! Weights are written as f32 unless asked otherwise: a dequantised value is a product and a sum in f32,
//! which bf16 would round once more, and training keeps f32 master weights anyway. bf16 halves the file.

mod error;
mod folder;
mod header;
mod llama;
#[cfg(test)]
mod tests;
mod tokenizer;
mod weights;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use error::ImportError;
use header::Gguf;
use llama::Sizes;
use serde::Serialize;
use tokenizer::TokenizerFiles;

/// Dtype of the weights that an import writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum WeightDtype {
    /// Exactly what the blocks dequantise to.
    #[default]
    F32,
    /// Rounded to bf16: half the size.
    Bf16,
}

impl WeightDtype {
    fn bytes(self) -> usize {
        match self {
            WeightDtype::F32 => 4,
            WeightDtype::Bf16 => 2,
        }
    }

    /// The dtype's name in PyTorch, as `config.json` has it.
    fn torch_name(self) -> &'static str {
        match self {
            WeightDtype::F32 => "float32",
            WeightDtype::Bf16 => "bfloat16",
        }
    }
}

/// How to import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Dtype of the weights. f32 by default.
    pub dtype: WeightDtype,
    /// Whether to write into a folder that holds something else than an earlier import. No by default.
    pub overwrite: bool,
}

/// What an import did. Made by [`import`]; shown by the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// The folder.
    pub folder: PathBuf,
    /// The model family.
    pub architecture: &'static str,
    /// Number of parameters.
    pub parameters: usize,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of tokens in the vocabulary.
    pub vocabulary: usize,
    /// Dtype of the written weights.
    pub dtype: WeightDtype,
}

/// Turns the GGUF file into a Hugging Face folder, which is made if it does not exist.
///
/// `progress` is told, in a few words, what is being done; the last word comes before the last file is
/// written.
///
/// # Errors
///
/// If the file is missing, cut short or no GGUF, holds a model or tokenizer that is not supported, or
/// contradicts itself; if the folder holds something else; if the disk refuses. In the first two cases
/// nothing was written.
pub fn import(
    gguf: &Path,
    folder: &Path,
    options: &ImportOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<ImportReport, ImportError> {
    progress("reading the header");
    let mut source = Gguf::open(gguf)?;
    check_architecture(&source)?;
    let text = TokenizerFiles::build(&source)?;
    let sizes = Sizes::read(&source, text.vocabulary)?;
    let plan = sizes.plan(&source)?;
    if !options.overwrite {
        folder::check_free(folder)?;
    }
    folder::begin(folder)?;

    let name = gguf.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // transformers wants to be told that tensors are laid out as PyTorch's.
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned()), (folder::MARK.to_owned(), name)]);
    weights::write(&folder.join(folder::WEIGHTS), &mut source, &plan, options.dtype, &metadata, progress)?;
    progress("writing the tokenizer and the configuration");
    folder::finish(folder, &text, &sizes.config(&text.special, options.dtype.torch_name()))?;
    Ok(ImportReport {
        folder: folder.to_owned(),
        architecture: llama::ARCHITECTURE,
        parameters: plan.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum(),
        tensors: plan.len(),
        vocabulary: text.vocabulary,
        dtype: options.dtype,
    })
}

fn check_architecture(source: &Gguf) -> Result<(), ImportError> {
    let key = "general.architecture";
    match source.required_text(key)? {
        llama::ARCHITECTURE => Ok(()),
        other => Err(source.unsupported(key, other, format!("`{}`", llama::ARCHITECTURE))),
    }
}
