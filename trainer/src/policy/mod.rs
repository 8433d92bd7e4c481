//! The policy: a causal language model, its tokenizer, and the forward passes over it.
//!
//! Master weights are f32 ([`Weights`]); a [`Network`] is a view of them in the compute dtype, made anew after each
//! update.

mod architecture;
pub mod attention;
mod compute;
mod config;
mod config_json;
mod error;
mod families;
mod feed_forward;
mod kv_cache;
mod network;
mod norm;
mod pack;
mod projection;
mod rotary;
mod self_attention;
pub mod token_logprobs;
mod tokenizer;
mod weights;

use std::path::{Path, PathBuf};

pub use architecture::{Architecture, Sizes};
pub use attention::{Attention, AttentionLayer};
pub use config::*;
pub use error::PolicyError;
pub use kv_cache::KvCache;
pub use network::Network;
pub use pack::{Pack, logprobs_and_entropy};
use tch::{Device, Kind};
pub use tokenizer::Tokenizer;
pub use weights::{HostView, Weights, load_tensor};

/// Files of a model folder beside the weights, copied unchanged into every checkpoint.
const COMPANIONS: [&str; 7] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "added_tokens.json",
];

/// A model and everything needed to talk to it. Made by [`Policy::load`]; updated in place by the optimizer.
pub struct Policy {
    /// What the network is.
    pub architecture: Architecture,
    /// Master weights, f32.
    pub weights: Weights,
    /// Tokenizer and chat template.
    pub tokenizer: Tokenizer,
    /// Dtype of the matrix products.
    pub compute: Kind,
    /// Where the companions of the weights are.
    folder: PathBuf,
}

impl Policy {
    /// Loads a Hugging Face folder.
    ///
    /// # Errors
    ///
    /// If a file is missing or damaged, or the model family is not known.
    pub fn load(folder: &Path, compute: Kind, device: Device) -> Result<Policy, PolicyError> {
        let json = weights::read_json(&folder.join("config.json"))?;
        let architecture = Architecture::from_json(&json)?;
        let weights = Weights::load(folder, &architecture.shapes(), device)?;
        let tokenizer = Tokenizer::load(folder)?;
        Ok(Policy { architecture, weights, tokenizer, compute, folder: folder.to_owned() })
    }

    /// The network in the compute dtype; part of the gradient graph unless gradients are off.
    pub fn model(&self) -> Network {
        Network::new(&self.architecture, &self.weights, self.compute)
    }

    /// Configuration and tokenizer files that belong beside the weights.
    pub fn companions(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        COMPANIONS.into_iter().map(|name| (name, self.folder.join(name))).filter(|(_, path)| path.is_file())
    }
}
