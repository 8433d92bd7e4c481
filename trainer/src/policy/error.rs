//! Why a policy could not be loaded or saved.

use std::path::PathBuf;

use thiserror::Error;

use crate::rollout::grammar::GrammarError;

/// Why a model folder could not be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A file of the folder could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A JSON file of the folder is not valid.
    #[error("`{}` is not valid JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A key of a configuration is missing or has another type.
    #[error("`{file}`: key `{key}` is {found}, wanted {wanted}")]
    ConfigKey {
        /// The file.
        file: &'static str,
        /// The key.
        key: String,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// A key of a configuration asks for a variant that is not implemented.
    #[error("`{file}`: `{key} = {found}` is not supported")]
    Unsupported {
        /// The file.
        file: &'static str,
        /// The key.
        key: String,
        /// Its value.
        found: String,
    },
    /// The model family is not known.
    #[error("`config.json`: model_type `{found}` is not supported, wanted one of {wanted}")]
    Family {
        /// What `model_type` says.
        found: String,
        /// The families that are.
        wanted: String,
    },
    /// The weights cannot be read.
    #[error(transparent)]
    Weights(#[from] rltrain_checkpoints::ReadError),
    /// A tensor that the family needs is not in the file.
    #[error("`{}` has no tensor `{name}`", path.display())]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// The index of shards names a place outside the folder.
    #[error("`{}` has tensor `{name}` in `{found}`, which is not the name of a file beside it", path.display())]
    ShardName {
        /// The index.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Where the index says it is.
        found: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("`{}`: tensor `{name}` has shape {found:?}, the model needs {wanted:?}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<i64>,
        /// The shape that `config.json` implies.
        wanted: Vec<i64>,
    },
    /// A tensor has a dtype that weights do not come in.
    #[error("`{}`: tensor `{name}` has dtype {found}, wanted F32, F16 or BF16", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its dtype.
        found: String,
    },
    /// A tensor belongs to nothing that the network has.
    #[error("`{}`: tensor `{found}` belongs to no matrix of the model", path.display())]
    UnknownTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        found: String,
    },
    /// An adapter is wanted for a matrix that the network does not have.
    #[error("`model.lora.targets`: the model has no matrix `{found}`, wanted some of `{wanted}`")]
    Target {
        /// What the recipe names.
        found: String,
        /// What it can name.
        wanted: String,
    },
    /// Weights that are to take the place of others are of another model.
    #[error("`{}` is of another architecture or tokenizer than the model that is served", path.display())]
    OtherModel {
        /// Their folder.
        path: PathBuf,
    },
    /// The tokenizer cannot be read or used.
    #[error("`{}`: {message}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What the tokenizer library says.
        message: String,
    },
    /// The chat template or the task prompt cannot be rendered.
    #[error("the {what} cannot be rendered")]
    Template {
        /// Which template.
        what: &'static str,
        /// Where and why.
        source: minijinja::Error,
    },
    /// The device does not exist on this machine or in this build.
    #[error("device `{found}` is not available: {why}")]
    Device {
        /// What the recipe asks for.
        found: String,
        /// Why not.
        why: String,
    },
    /// The memory allowed for keys and values does not hold the least number of sequences.
    #[error(
        "`rollout.kv_memory_mib = {allowed}` is too little: 16 sequences of the longest prompt and `rollout.max_tokens` \
         take {needed} MiB of keys and values"
    )]
    KvMemory {
        /// What the recipe allows, in MiB.
        allowed: usize,
        /// What 16 sequences take, in MiB.
        needed: usize,
    },
    /// A completion cannot go on as a word of the grammar's language, or the grammar is not one.
    #[error("`rollout.grammar` cannot be used")]
    Grammar(#[from] GrammarError),
}

impl PolicyError {
    /// The same about a key of the table `table`.
    pub(super) fn within(mut self, table: &str) -> PolicyError {
        if let PolicyError::ConfigKey { key, .. } | PolicyError::Unsupported { key, .. } = &mut self {
            *key = format!("{table}.{key}");
        }
        self
    }

    /// The same about a key of another file than `config.json`.
    pub(super) fn of_file(mut self, name: &'static str) -> PolicyError {
        if let PolicyError::ConfigKey { file, .. } | PolicyError::Unsupported { file, .. } = &mut self {
            *file = name;
        }
        self
    }
}
