//! One optimizer step from the attempts of a batch.

use std::ops::Range;

use tch::{Kind, Tensor};

use super::config::OptimizerConfig;
use super::follower::{AfterPack, Follower};
use super::optimizer::{Optimizer, clip_factor, gradient_norm};
use super::report::{CriticReport, Sums, UpdateReport};
use crate::algorithm::{
    Aggregation, AlgorithmConfig, Denominators, PolicyLoss, Sequences, TokenInputs, TokenLoss, token_loss,
    value_loss,
};
use crate::batch::{Batch, Plan, Values, plans};
use crate::critic::{Critic, CriticConfig};
use crate::policy::token_logprobs::{Gradients, TokenLogprobs};
use crate::policy::{Network, Policy, Weights, token_logprobs};
use crate::ranks::{Ranks, RanksError};

/// What an update needs besides data.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    /// Losses and aggregation.
    pub algorithm: &'a AlgorithmConfig,
    /// The policy's rule and clipping.
    pub optimizer: &'a OptimizerConfig,
    /// The critic, read if there is one.
    pub critic: &'a CriticConfig,
    /// This step's learning rate of the policy; `None` while only the critic learns.
    pub learning_rate: Option<f64>,
    /// This step's learning rate of the critic.
    pub critic_learning_rate: f64,
    /// Sampling temperature: logprobs are of the tempered distribution, as recorded.
    pub temperature: f64,
    /// Longest completion that the rollout allows, in tokens.
    pub longest: usize,
    /// What a nat of divergence from the reference costs in the loss.
    pub kl_coefficient: f64,
    /// Reference solutions whose cross entropy is part of the loss; their advantage is its coefficient.
    pub references: Option<&'a Batch>,
    /// Who else computes a part of the gradient.
    pub ranks: &'a Ranks,
}

/// Of a process without others: accumulates the gradients of the sequences `members` of `batch` and applies one optimizer step to the policy, and one to
/// the critic if there is one. A step whose gradient is not finite is skipped.
///
/// The denominators of the aggregation are computed here, once, over all of `members`: sequences without a signal count
/// in them although they are not computed (their gradient is exactly zero). So the gradient does not depend on how the
/// step is cut into packs.
pub fn apply(
    policy: &Policy,
    optimizer: &mut Optimizer,
    critic: Option<&mut Critic>,
    batch: &Batch,
    members: &[usize],
    settings: &Settings<'_>,
) -> UpdateReport {
    let report = accumulate(policy, critic.as_deref(), batch, members, settings, optimizer.updates);
    descend_all(policy, optimizer, critic, settings, report).expect("a process without others loses none")
}

/// Applies what [`accumulate`] has added up and reported.
///
/// # Errors
///
/// If processes share out gradients, and one is gone.
pub(super) fn descend_all(
    policy: &Policy,
    optimizer: &mut Optimizer,
    critic: Option<&mut Critic>,
    settings: &Settings<'_>,
    mut report: UpdateReport,
) -> Result<UpdateReport, RanksError> {
    if report.trained_tokens == 0 && report.supervised.is_none() {
        return Ok(report);
    }
    report.updates = 1;
    if let Some(learning_rate) = settings.learning_rate {
        let norm = optimizer.gradient_norm(&policy.weights, settings.ranks)?;
        if norm.is_finite() {
            optimizer.watch(&policy.weights, settings.ranks)?;
        }
        let applied = descend_by(norm, &policy.weights, optimizer, settings.optimizer, learning_rate);
        report.gradient_norm = norm;
        report.skipped += usize::from(!applied);
    }
    if let (Some(critic), Some(said)) = (critic, &mut report.critic) {
        let (config, rate) = (&settings.critic.optimizer, settings.critic_learning_rate);
        let (norm, applied) = descend(&critic.weights, &mut critic.optimizer, config, rate);
        said.gradient_norm = norm;
        report.skipped += usize::from(!applied);
    }
    Ok(report)
}

/// Applies the gradients of `weights`, or forgets them if they are not finite: their norm, and whether they were applied.
pub(crate) fn descend(
    weights: &Weights,
    optimizer: &mut Optimizer,
    config: &OptimizerConfig,
    learning_rate: f64,
) -> (f64, bool) {
    let norm = gradient_norm(weights);
    (norm, descend_by(norm, weights, optimizer, config, learning_rate))
}

/// As [`descend`], with gradients whose norm is `norm`.
fn descend_by(
    norm: f64,
    weights: &Weights,
    optimizer: &mut Optimizer,
    config: &OptimizerConfig,
    learning_rate: f64,
) -> bool {
    if norm.is_finite() {
        optimizer.step(weights, config, learning_rate, clip_factor(norm, config.max_gradient_norm));
    } else {
        weights.zero_gradients();
    }
    norm.is_finite()
}

/// Adds the gradients of those of the sequences `members` that are this process' share to those of the weights; reports everything but their norms. `update` is the
/// number of the optimizer's update, from 0, which dropout derives from.
pub fn accumulate(
    policy: &Policy,
    critic: Option<&Critic>,
    batch: &Batch,
    members: &[usize],
    settings: &Settings<'_>,
    update: u64,
) -> UpdateReport {
    accumulate_in_parts(policy, critic, batch, members, settings, update, &mut || ())
}

/// As [`accumulate`]; `after_part` is called whenever the gradient of some more sequences has been added.
pub fn accumulate_in_parts(
    policy: &Policy,
    critic: Option<&Critic>,
    batch: &Batch,
    members: &[usize],
    settings: &Settings<'_>,
    update: u64,
    after_part: &mut dyn FnMut(),
) -> UpdateReport {
    let follower = &mut AfterPack(after_part);
    accumulate_followed(policy, critic, (batch, members), settings, update, follower)
}

/// As [`accumulate`]; `follower` hears of every pack, and may end it.
pub(super) fn accumulate_followed(
    policy: &Policy,
    critic: Option<&Critic>,
    (batch, members): (&Batch, &[usize]),
    settings: &Settings<'_>,
    update: u64,
    follower: &mut dyn Follower,
) -> UpdateReport {
    let trained = if critic.is_some() || settings.algorithm.trains_without_advantage() {
        members.to_vec()
    } else {
        batch.with_signal(members)
    };
    let trained = batch.share_of(settings.ranks, &trained);
    let supervised =
        settings.references.map(|references| supervise(policy, references, settings, update, follower));
    let mut report = UpdateReport { supervised, ..UpdateReport::default() };
    if trained.is_empty() {
        return report;
    }
    let pass = Update {
        model: policy.training_model_of(update, follower.layers()),
        critic,
        trunk: critic.and_then(Critic::trunk),
        batch,
        weight_n: token_weights(batch, members, settings, settings.algorithm.aggregation),
        value_weight_n: token_weights(batch, members, settings, Aggregation::TokenMean),
        settings,
    };
    let mut sums = Sums::default();
    for plan in plans(batch, &trained, settings.optimizer.micro_batch_tokens.get()) {
        if !follower.begin() {
            break;
        }
        report.computed_tokens += plan.pack.len();
        report.trained_tokens += plan.place_n.numel();
        pass.backward(&plan, &mut sums, follower);
        follower.end();
    }
    report.loss = sums.loss();
    report.tokens = sums.tokens();
    report.critic = critic.map(|_| {
        let (loss, clipped) = sums.values(report.trained_tokens);
        CriticReport { loss, clipped, gradient_norm: 0.0 }
    });
    report
}

/// Adds the gradient of the references' cross entropy, and of how far their tokens are below the likeliest ones if that counts; returns
/// the mean over their tokens, in nats, times the coefficient.
fn supervise(
    policy: &Policy,
    references: &Batch,
    settings: &Settings<'_>,
    update: u64,
    follower: &mut dyn Follower,
) -> f64 {
    let cross_entropy = AlgorithmConfig {
        policy_loss: PolicyLoss::Reinforce,
        aggregation: Aggregation::TokenMean,
        ..AlgorithmConfig::default()
    };
    let members = references.members();
    let mut of = |algorithm: &AlgorithmConfig| {
        let settings = Settings { algorithm, references: None, ..*settings };
        accumulate_followed(policy, None, (references, &members), &settings, update, follower).loss
    };
    let algorithm = settings.algorithm;
    let loss = of(&cross_entropy);
    if algorithm.policy_loss != PolicyLoss::Dueling || algorithm.reference_gap == 0.0 {
        return loss;
    }
    // The advantage of a reference is its coefficient.
    let dueling_alpha = algorithm.dueling_alpha * algorithm.reference_gap;
    loss + of(&AlgorithmConfig { policy_loss: PolicyLoss::Gap, dueling_alpha, ..cross_entropy })
}

/// The factor of each token's loss, a column of the batch: 0 outside of `members`.
fn token_weights(
    batch: &Batch,
    members: &[usize],
    settings: &Settings<'_>,
    aggregation: Aggregation,
) -> Tensor {
    let lengths = batch.lengths();
    let denominators = Denominators::of(members.iter().map(|member| lengths[*member]), settings.longest);
    let mut factors = vec![0.0; lengths.len()];
    for &member in members {
        factors[member] = denominators.factor(aggregation, lengths[member]);
    }
    batch
        .column(lengths.iter().zip(factors).flat_map(|(length, factor)| std::iter::repeat_n(factor, *length)))
}

/// The gradients of one optimizer step in the making.
struct Update<'a> {
    model: Network,
    critic: Option<&'a Critic>,
    /// The critic's own trunk, if it has one.
    trunk: Option<Network>,
    batch: &'a Batch,
    /// The factor of each token's policy loss, a column.
    weight_n: Tensor,
    /// The factor of each token's value loss, a column.
    value_weight_n: Tensor,
    settings: &'a Settings<'a>,
}

impl Update<'_> {
    /// Adds the gradient of one pack.
    ///
    /// The network's gradient goes through the logprobs of the tokens only, so the graph is cut there: the loss gives the
    /// gradient of each logprob, the output layer continues it a few rows at a time, and the rest of the network does as
    /// it always does.
    fn backward(&self, plan: &Plan, sums: &mut Sums, follower: &mut dyn Follower) {
        let learns = self.settings.learning_rate.is_some();
        let shares_trunk = self.critic.is_some() && self.trunk.is_none();
        if learns || shares_trunk {
            let forward = || plan.pack.pass(&self.model);
            let pass = if learns { forward() } else { tch::no_grad(forward) };
            let mut gradient_ne = learns.then(|| self.policy_gradient(plan, &pass.hidden_ne, sums));
            if let (Some(critic), None) = (self.critic, &self.trunk) {
                let leaf_ne = pass.hidden_ne.detach().to_kind(Kind::Float).set_requires_grad(true);
                self.value_gradient(critic, plan, &leaf_ne, sums);
                let shared = leaf_ne.grad() * self.settings.critic.coefficient;
                gradient_ne = gradient_ne.map(|gradient_ne| gradient_ne + shared);
            }
            if let Some(gradient_ne) = gradient_ne {
                pass.backward_by_layer(&gradient_ne, &mut |layer| follower.layer_done(layer));
            }
        }
        if let (Some(critic), Some(trunk)) = (self.critic, &self.trunk) {
            self.value_gradient(critic, plan, &plan.pack.hidden(trunk), sums);
        }
    }

    /// Gradient `[N, E]` of the policy's loss by the hidden states that predict the tokens; that of the output layer is
    /// added to its weights.
    fn policy_gradient(&self, plan: &Plan, hidden_ne: &Tensor, sums: &mut Sums) -> Tensor {
        if self.settings.algorithm.policy_loss.reads_gaps() {
            return self.gap_gradient(plan, hidden_ne, sums);
        }
        let temperature = self.settings.temperature;
        let target_n = plan.pack.targets(self.model.device());
        let lengths: Vec<i64> =
            plan.members.iter().map(|member| self.batch.sequences[*member].tokens.len() as i64).collect();
        let (forward, gradient_ne) = if token_logprobs::sweeps(&self.model, &lengths) {
            let loss = |rows: Range<i64>, forward: &TokenLogprobs| self.loss_gradients(plan, rows, forward);
            token_logprobs::sweep(&self.model, hidden_ne, &target_n, temperature, &lengths, loss)
        } else {
            let forward = token_logprobs::forward(&self.model, hidden_ne, &target_n, temperature);
            let by = self.loss_gradients(plan, 0..target_n.numel() as i64, &forward);
            let gradient_ne =
                token_logprobs::backward(&self.model, hidden_ne, &target_n, temperature, &forward, &by);
            (forward, gradient_ne)
        };
        let all = 0..target_n.numel() as i64;
        let (loss, parts) = tch::no_grad(|| self.token_loss(plan, all, &forward));
        let sampled_n = plan.cut(&self.batch.sampled_n);
        sums.add(&loss, &parts, &forward.entropy_n, &(&forward.logprobs_n - sampled_n));
        gradient_ne
    }

    /// As [`Update::policy_gradient`], for losses of how far tokens are below the likeliest ones. The likeliest are targets of their own, so
    /// that both get their gradient.
    fn gap_gradient(&self, plan: &Plan, hidden_ne: &Tensor, sums: &mut Sums) -> Tensor {
        let target_n = plan.pack.targets(self.model.device());
        let best_n = token_logprobs::likeliest(&self.model, hidden_ne);
        let said = |target_n: &Tensor| token_logprobs::forward(&self.model, hidden_ne, target_n, 1.0);
        let (chosen, best) = (said(&target_n), said(&best_n));
        let gaps = TokenLogprobs {
            logprobs_n: &chosen.logprobs_n - &best.logprobs_n,
            entropy_n: chosen.entropy_n.shallow_clone(),
            log_sum_n: chosen.log_sum_n.shallow_clone(),
        };
        let all = 0..target_n.numel() as i64;
        let by_gap_n = self.loss_gradients(plan, all.clone(), &gaps).logprobs_n;
        let back = |target_n: &Tensor, said: &TokenLogprobs, logprobs_n: Tensor| {
            let by = Gradients { logprobs_n, entropy_n: None, log_sum_n: None };
            token_logprobs::backward(&self.model, hidden_ne, target_n, 1.0, said, &by)
        };
        let gradient_ne =
            back(&target_n, &chosen, by_gap_n.shallow_clone()) + back(&best_n, &best, -by_gap_n);
        let (loss, parts) = tch::no_grad(|| self.token_loss(plan, all, &gaps));
        let sampled_n = plan.cut(&self.batch.sampled_n);
        sums.add(&loss, &parts, &chosen.entropy_n, &(&chosen.logprobs_n - sampled_n));
        gradient_ne
    }

    /// The gradient of the loss by what is said of the rows `rows` of a pack: some whole sequences.
    fn loss_gradients(&self, plan: &Plan, rows: Range<i64>, said: &TokenLogprobs) -> Gradients {
        let algorithm = self.settings.algorithm;
        let leaf = |column_n: &Tensor, trains: bool| column_n.copy().set_requires_grad(trains);
        let leaves = TokenLogprobs {
            logprobs_n: leaf(&said.logprobs_n, true),
            entropy_n: leaf(&said.entropy_n, algorithm.trains_entropy()),
            log_sum_n: leaf(&said.log_sum_n, algorithm.trains_log_sum()),
        };
        self.token_loss(plan, rows, &leaves).0.backward();
        Gradients {
            logprobs_n: leaves.logprobs_n.grad(),
            entropy_n: algorithm.trains_entropy().then(|| leaves.entropy_n.grad()),
            log_sum_n: algorithm.trains_log_sum().then(|| leaves.log_sum_n.grad()),
        }
    }

    /// The loss of the rows `rows` of a pack, some whole sequences, and what it is made of.
    fn token_loss(&self, plan: &Plan, rows: Range<i64>, said: &TokenLogprobs) -> (Tensor, TokenLoss) {
        let Settings { algorithm, kl_coefficient, .. } = *self.settings;
        let narrow = |column_n: &Tensor| column_n.narrow(0, rows.start, rows.end - rows.start);
        let place_n = narrow(&plan.place_n);
        let cut = |column_n: &Tensor| column_n.index_select(0, &place_n);
        let cut_if_any = |column_n: &Option<Tensor>| column_n.as_ref().map(cut);
        let (reference_n, keep_n) = (cut_if_any(&self.batch.reference_n), cut_if_any(&self.batch.keep_n));
        let covariant_n = cut_if_any(&self.batch.covariant_n);
        let sampled_n = self.batch.recomputed.then(|| cut(&self.batch.sampled_n));
        let sequence_n = narrow(&plan.sequence_n);
        let parts = token_loss(
            algorithm,
            &TokenInputs {
                logprobs_n: &said.logprobs_n,
                old_n: &cut(&self.batch.old_n),
                advantages_n: &cut(&self.batch.advantages_n),
                sequences: Sequences { of_token_n: &sequence_n, count: plan.members.len() as i64 },
                sampled_n: sampled_n.as_ref(),
                reference_n: reference_n.as_ref(),
                entropy_n: Some(&said.entropy_n),
                log_sum_n: Some(&said.log_sum_n),
                keep_n: keep_n.as_ref(),
                covariant_n: covariant_n.as_ref(),
                kl_coefficient,
            },
        );
        let loss = (&parts.loss_n * cut(&self.weight_n)).sum(Kind::Float);
        (loss, parts)
    }

    /// Adds the gradient of the value loss to the critic's weights, and to `hidden_ne` or to what it was computed from.
    fn value_gradient(&self, critic: &Critic, plan: &Plan, hidden_ne: &Tensor, sums: &mut Sums) {
        let Some(Values { old_n, returns_n }) = &self.batch.values_n else { return };
        let values_n = critic.values_of(hidden_ne);
        let (old_n, returns_n) = (plan.cut(old_n), plan.cut(returns_n));
        let parts = value_loss(self.settings.algorithm, &values_n, &old_n, &returns_n);
        (&parts.loss_n * plan.cut(&self.value_weight_n)).sum(Kind::Float).backward();
        sums.add_values(&parts);
    }
}
