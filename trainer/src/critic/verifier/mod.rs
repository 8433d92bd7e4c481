//! A verifier: a model that has read programs and their verdicts, and foretells the verdicts of others.
//!
//! ```text
//! prompt, program ─▶ network ─▶ head ─▶ numbers of tokens ─▶ forecast: P(pass), weights or rewards of tokens
//!                                             │
//!                     verdict ────────────────┴──▶ loss ─▶ optimizer
//! ```
//!
//! It is asked before it is told: what it says of a program comes from verdicts of other programs alone.

mod checkpoint;
mod config;
mod forecast;
mod head;
mod learning;
mod logged;
mod offline;
mod online;
mod programs;
mod report;

use std::path::Path;
use std::sync::Arc;

pub use checkpoint::VerifierState;
pub use config::{Objective, VerifierConfig};
pub use forecast::Forecast;
pub use learning::Learnt;
pub use logged::{Rollouts, read_rollouts};
pub use offline::{OfflineReport, train_offline};
pub use online::{Told, forecast_groups, foretell, new_verifier, shape_advantages, tell};
pub use programs::{Label, Program, Tried};
pub use report::Quality;
use tch::{Kind, Tensor};

use crate::batch::{Batch, Plan, pass, plans};
use crate::error::TrainError;
use crate::optim::Optimizer;
use crate::policy::{Architecture, Network, Policy, Tokenizer, Weights, token_logprobs};
use head::Head;
use programs::Layout;

/// A verifier with its optimizer. Made at the start of a run, or by `rltrain critic`; changed by [`Verifier::learn`].
pub struct Verifier {
    config: VerifierConfig,
    seed: u64,
    architecture: Architecture,
    /// What it reads with.
    pub tokenizer: Arc<Tokenizer>,
    /// Dtype of the matrix products.
    pub compute: Kind,
    /// The forecast from which on `rltrain critic` would accept a program without a test, if it has found one.
    pub accept_from: Option<f64>,
    /// The network's tensors and the head's, f32.
    weights: Weights,
    head: Option<Head>,
    /// The model that it started from, where it is compared with that.
    reference: Option<Weights>,
    optimizer: Optimizer,
}

impl Verifier {
    /// A verifier on the model in `folder`, computed as `like` says, that knows nothing. Its head derives from `seed`.
    ///
    /// # Errors
    ///
    /// If the model cannot be loaded.
    pub fn new(
        config: &VerifierConfig,
        folder: &Path,
        like: Arithmetic,
        seed: u64,
    ) -> Result<Verifier, TrainError> {
        let Arithmetic { compute, device } = like;
        let load = || Policy::load(folder, compute, device);
        let Policy { architecture, weights, tokenizer, .. } = load()?;
        let head = Head::of(config.objective);
        let trunk: Vec<String> = weights.iter().map(|(name, _)| name.to_owned()).collect();
        let of_head = head.map(|head| head.tensors(architecture.sizes().hidden_size, seed, device));
        let mut weights = Weights::of(weights.into_tensors().chain(of_head.into_iter().flatten()));
        if config.frozen {
            weights.freeze(&trunk);
        }
        let reference = match config.objective {
            Objective::Implicit => Some(load()?.weights.frozen()),
            _ => None,
        };
        let optimizer = Optimizer::new(config.optimizer.kind, &weights);
        let config = config.clone();
        Ok(Verifier {
            config,
            seed,
            architecture,
            tokenizer,
            compute,
            accept_from: None,
            weights,
            head,
            reference,
            optimizer,
        })
    }

    /// Updates applied so far.
    pub fn updates(&self) -> u64 {
        self.optimizer.updates
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.weights.parameters()
    }

    fn network(&self) -> Network {
        Network::new(&self.architecture, &self.weights, self.compute)
    }

    fn budget(&self) -> usize {
        self.config.optimizer.micro_batch_tokens.get()
    }

    fn layout(&self, tried: &[Tried]) -> Layout {
        let most = self.architecture.sizes().max_positions as usize;
        Layout::new(tried, self.head.is_some(), most, self.weights.device())
    }

    /// What the network and the head give for one pack, `[N, C]`, f32.
    fn numbers(&self, network: &Network, plan: &Plan) -> Tensor {
        match self.head {
            Some(head) => head.apply(&self.weights, &plan.pack.hidden(network)),
            None => {
                let target_n = plan.pack.targets(network.device());
                let hidden_ne = plan.pack.hidden(network);
                token_logprobs::forward(network, &hidden_ne, &target_n, 1.0).logprobs_n.unsqueeze(-1)
            }
        }
    }

    /// What the network and the head give for every row of a batch, `[R, C]`, f32, without gradient.
    fn rows(&self, network: &Network, batch: &Batch) -> Tensor {
        let _no_gradient = tch::no_grad_guard();
        let plans = plans(batch, &batch.members(), self.budget());
        let parts: Vec<(&Plan, Tensor)> =
            plans.iter().map(|plan| (plan, self.numbers(network, plan))).collect();
        let columns = parts.first().map_or(1, |(_, numbers_nc)| numbers_nc.size()[1]);
        let rows = batch.sampled_n.size()[0];
        let mut rows_rc = Tensor::zeros([rows, columns], (Kind::Float, batch.device()));
        for (plan, numbers_nc) in parts {
            let _ = rows_rc.index_copy_(0, &plan.place_n, &numbers_nc);
        }
        rows_rc
    }

    /// Logprobs `[N]` of the programs' tokens under the model that it started from, where it is compared with that.
    fn reference_logprobs(&self, layout: &Layout) -> Option<Tensor> {
        let reference = self.reference.as_ref()?;
        let network = tch::no_grad(|| Network::new(&self.architecture, reference, self.compute));
        Some(layout.of_tokens(
            &pass(&network, &layout.batch, &layout.batch.members(), self.budget(), 1.0).logprobs_n,
        ))
    }
}

/// How a verifier computes.
#[derive(Clone, Copy, Debug)]
pub struct Arithmetic {
    /// Dtype of the matrix products.
    pub compute: Kind,
    /// Where.
    pub device: tch::Device,
}
