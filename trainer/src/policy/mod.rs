//! The policy: a language model, its tokenizer, and the forward passes over it.
//!
//! Master weights are f32 ([`Weights`]); a [`Network`] is a view of them in the compute dtype, made anew after each
//! update.

mod adapter;
mod adapter_files;
mod architecture;
pub mod attention;
mod compute;
mod config;
mod config_json;
mod cross_attention;
mod dropout;
mod encoder;
mod error;
mod export;
mod families;
mod feed_forward;
mod footprint;
mod gradient;
mod host_view;
mod interjection;
mod kv_cache;
mod layers;
mod network;
mod norm;
mod pack;
mod packed_attention;
mod projection;
mod relative;
mod rotary;
mod rounded_operands;
mod row_kernels;
mod saving;
mod self_attention;
pub mod token_logprobs;
mod tokenizer;
mod training_kernels;
mod weights;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use adapter::Adapter;
pub use architecture::{Architecture, Sizes};
pub use attention::{Attention, AttentionLayer};
pub use config::*;
use dropout::Dropout;
pub use encoder::{Prompts, Read};
pub use error::PolicyError;
pub use export::export_adapter;
pub use footprint::{MASTER, PassBytes, Training};
pub(crate) use gradient::{gradient_of, set_gradient, take_gradient};
pub use host_view::HostView;
pub(crate) use host_view::{Held, OnTheirWay, Place};
pub use interjection::{Continuation, Interjection};
pub use kv_cache::{KeysAndValues, KvCache};
pub(crate) use layers::LayerSource;
use layers::{Layers, Nowhere, OneByOne};
pub use network::Network;
pub use pack::{Pack, PackSize, Pass, logprobs_and_entropy};
pub use relative::RelativeBias;
pub use rounded_operands::{permit_rounded_operands, refuse_rounded_operands};
pub use saving::{MAX_SHARD_BYTES, Shard, shards};
use tch::{Device, Kind};
pub use tokenizer::Tokenizer;
pub(crate) use tokenizer::stop_ids;
pub(crate) use weights::read_json;
pub use weights::{Weights, load_tensor};

use crate::rollout::Shaping;

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
    pub tokenizer: Arc<Tokenizer>,
    /// Dtype of the matrix products.
    pub compute: Kind,
    /// Where it was loaded from.
    folder: PathBuf,
    /// The files beside the weights there, by name. Kept in memory: the folder may be of a checkpoint that is deleted while
    /// the run goes on.
    companions: Vec<(&'static str, Vec<u8>)>,
    /// The run's seed, from which dropout derives.
    seed: u64,
    /// Whether updates compute layers again instead of keeping what they computed.
    recomputes: bool,
    /// What sampling leaves of the distributions, where importance ratios compare what is left.
    pub truncation: Option<Shaping>,
}

impl Policy {
    /// Loads a Hugging Face folder.
    ///
    /// # Errors
    ///
    /// If a file is missing or damaged, or the model family is not known.
    pub fn load(folder: &Path, compute: Kind, device: Device) -> Result<Policy, PolicyError> {
        let architecture = Architecture::in_folder(folder)?;
        let weights = Weights::load(folder, &architecture.shapes(), device)?;
        let tokenizer = Arc::new(Tokenizer::load(folder)?);
        Ok(Policy {
            architecture,
            weights,
            tokenizer,
            compute,
            folder: folder.to_owned(),
            companions: saving::companions(folder)?,
            seed: 0,
            recomputes: false,
            truncation: None,
        })
    }

    /// Decides what is trained, and how updates use memory: frozen embeddings, adapters, gradient checkpointing. New
    /// adapters derive from `seed`.
    ///
    /// # Errors
    ///
    /// If an adapter is wanted for a matrix that the network does not have, or the folder of adapters to go on from is damaged
    /// or does not fit the network.
    pub fn prepare(&mut self, config: &ModelConfig, seed: u64) -> Result<(), PolicyError> {
        self.seed = seed;
        self.recomputes = config.gradient_checkpointing;
        if config.freeze_embeddings {
            self.weights.freeze(&self.architecture.embeddings());
        }
        if let Some(lora) = &config.lora {
            let device = self.weights.device();
            self.weights.adapt(match &lora.path {
                Some(folder) => {
                    let mut adapter = Adapter::load(folder, &self.architecture, device)?;
                    adapter.config.dropout = lora.dropout;
                    adapter
                }
                None => Adapter::new(lora, &self.architecture, seed, device)?,
            });
        }
        Ok(())
    }

    /// The same policy as it is now, whatever is trained later: what is trained is copied, all else is shared.
    pub fn copied(&self) -> Policy {
        Policy {
            architecture: self.architecture.clone(),
            weights: self.weights.copied(),
            tokenizer: Arc::clone(&self.tokenizer),
            folder: self.folder.clone(),
            // It is never saved.
            companions: Vec::new(),
            ..*self
        }
    }

    /// The network in the compute dtype; part of the gradient graph unless gradients are off.
    pub fn model(&self) -> Network {
        Network::new(&self.architecture, &self.weights, self.compute).truncating(self.truncation)
    }

    /// The network for the optimizer's update number `update`, from 0: what adapters read loses a part if the recipe says
    /// so, and the backward pass computes layers again if it says that.
    pub fn training_model(&self, update: u64) -> Network {
        self.for_training(self.model(), update)
    }

    fn for_training(&self, network: Network, update: u64) -> Network {
        let network = network.recomputing(self.recomputes);
        match self.weights.adapter().map(|adapter| adapter.config.dropout) {
            Some(rate) if rate > 0.0 => network.with_dropout(Dropout { rate, seed: self.seed, update }),
            _ => network,
        }
    }

    /// As [`Policy::training_model`]; `source`, if there is one, has its layers.
    pub(crate) fn training_model_of(&self, update: u64, source: Option<Arc<dyn LayerSource>>) -> Network {
        match source {
            None => self.training_model(update),
            Some(source) => self.for_training(self.one_by_one(source), update),
        }
    }

    /// Whether an update goes through the network layer by layer, forward and back, so that it needs no layer for longer.
    pub(crate) fn updates_by_layer(&self) -> bool {
        self.for_training(self.one_by_one(Arc::new(Nowhere)), 0).goes_by_layer()
    }

    /// The network whose layers `source` has.
    fn one_by_one(&self, source: Arc<dyn LayerSource>) -> Network {
        let layers = Layers::OneByOne(Box::new(OneByOne {
            layers: self.architecture.layers.clone(),
            weights: self.weights.shared(),
            kind: self.compute,
            source,
        }));
        Network::with_layers(&self.architecture, &self.weights, self.compute, layers)
            .truncating(self.truncation)
    }

    /// The network without what adapters change in it.
    pub fn base_model(&self) -> Network {
        Network::new(&self.architecture, &self.weights.without_adapter(), self.compute)
    }
}
