//! The phases of a step, and what each has in memory at its peak.

use std::collections::BTreeMap;

use tch::{Device, Kind};

use super::footprint::{Class, Footprint, Phase};
use super::lengths::{Lengths, TaskLengths};
use crate::algorithm::ReferenceKind;
use crate::batch::{Batch, plans};
use crate::optim::{OptimizerConfig, Sharding, owners};
use crate::policy::token_logprobs::{chunk_elements, swept_elements};
use crate::policy::{Architecture, KvCache, LoraConfig, MASTER, PackSize, PolicyError, Training};
use crate::recipe::Recipe;
use crate::rollout::{Completion, Group, KvRoom, PREFILL_TOKENS, Shaping, Wanted};

/// Tensors of a piece of logits that exist together in the backward pass of the output layer, where kernels do not look at them.
const LOGITS_BACKWARD: usize = 5;
/// The same without a backward pass.
const LOGITS_FORWARD: usize = 3;

/// What is planned, apart from lengths.
#[derive(Clone, Copy)]
pub struct Planned<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The policy's network.
    pub architecture: &'a Architecture,
    /// The critic's own trunk, if it has one.
    pub trunk: Option<&'a Architecture>,
    /// The adapters that are trained, if any are: the recipe's, or those of the folder that it names.
    pub lora: Option<&'a LoraConfig>,
    /// Dtype of the matrix products.
    pub kind: Kind,
    /// How many processes train together; the plan is that of each.
    pub processes: usize,
    /// Prompts of the training tasks.
    pub train: TaskLengths,
    /// Prompts of the held-out tasks.
    pub heldout: TaskLengths,
}

/// What a run takes, phase by phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The phases of a step.
    pub phases: Vec<Phase>,
    /// The largest pack of an update.
    pub pack: PackSize,
}

impl Plan {
    /// The plan for attempts of these lengths.
    ///
    /// # Errors
    ///
    /// If `rollout.kv_memory_mib` does not hold the least number of attempts.
    pub fn of(planned: Planned<'_>, lengths: Lengths) -> Result<Plan, PolicyError> {
        let pack = planned.largest_pack(lengths);
        let rollout = planned.rollout(lengths)?;
        let mut learning = vec![];
        learning.extend(planned.reference_pass(pack));
        learning.extend(planned.values(pack));
        learning.push(planned.update(pack, lengths));
        learning.extend(planned.critic_update(pack));
        if planned.recipe.rollout.staleness > 0 {
            learning.iter_mut().for_each(|phase| phase.footprint = planned.beside_rollout(phase, rollout));
        }
        let mut phases = vec![rollout, planned.evaluation(lengths)?];
        phases.extend(learning);
        Ok(Plan { phases, pack })
    }

    /// The phase that takes most.
    ///
    /// # Panics
    ///
    /// Never: every plan has phases.
    pub fn peak(&self) -> Phase {
        *self.phases.iter().max_by_key(|phase| phase.footprint.total()).expect("a step has phases")
    }
}

/// How many attempts of how many tasks are sampled together.
struct Sampled {
    name: &'static str,
    tasks: usize,
    samples: usize,
    longest_prompt: usize,
    temperature: f64,
}

impl Planned<'_> {
    fn training(&self) -> Training<'_> {
        Training { lora: self.lora, ..Training::of(&self.recipe.model) }
    }

    fn has_critic(&self) -> bool {
        self.recipe.algorithm.advantage.needs_critic()
    }

    /// Whether the reference is a model of its own.
    fn has_reference(&self) -> bool {
        let algorithm = &self.recipe.algorithm;
        let shared = self.recipe.model.lora.as_ref().is_some_and(|lora| match algorithm.reference {
            ReferenceKind::LoraOff => true,
            ReferenceKind::Frozen => lora.path.is_none(),
            _ => false,
        });
        algorithm.needs_reference() && !shared
    }

    /// What stays from the first update on.
    fn resident(&self) -> Footprint {
        let parameters = self.architecture.parameters() * MASTER;
        let trained = self.architecture.trained_parameters(self.training()) * MASTER;
        // Adapters are trained beside the weights.
        let adapters = if self.lora.is_some() { trained } else { 0 };
        let means = |optimizer: &OptimizerConfig| optimizer.kind.means().len();
        let mut footprint = Footprint::default()
            .with(Class::Weights, parameters + adapters)
            .with(Class::Gradients, if self.shares_gradients() { 0 } else { trained })
            .with(Class::Optimizer, self.kept(trained) * means(&self.recipe.optimizer));
        if self.has_reference() {
            footprint[Class::Reference] = parameters;
        }
        if self.recipe.projection.is_some() {
            // What the weights are held to, on the host whatever the device.
            footprint[Class::Reference] += parameters;
        }
        if self.has_critic() {
            let trunk = self.trunk.map_or(0, Architecture::parameters);
            let hidden_size = self.trunk.unwrap_or(self.architecture).sizes().hidden_size as usize;
            // Weights, gradients, means.
            let copies = 2 + means(&self.recipe.critic.optimizer);
            footprint[Class::Critic] = (trunk + hidden_size + 1) * MASTER * copies;
        }
        footprint
    }

    /// Whether gradients are with their owners alone, and gone between updates.
    fn shares_gradients(&self) -> bool {
        let sharding = self.recipe.optimizer.sharding;
        self.processes > 1 && matches!(sharding, Sharding::Gradients | Sharding::Parameters)
    }

    /// Whether an update goes through the network layer by layer, so that gradients leave, and weights come, one layer at a time.
    fn is_by_layer(&self) -> bool {
        let training = self.training();
        training.recomputes || training.lora.is_none() && self.architecture.is_direct(training)
    }

    /// Bytes of all layers, and of the largest.
    fn layer_bytes(&self) -> (usize, usize) {
        let sizes = self.sizes();
        let layers = self.architecture.names_by_layer();
        let of_layer = |names: &Vec<String>| names.iter().map(|name| sizes[name] * MASTER).sum::<usize>();
        layers.iter().map(of_layer).fold((0, 0), |(all, largest), layer| (all + layer, largest.max(layer)))
    }

    /// `resident` with the weights of the policy that an update needs, in f32 and in the compute dtype: where layers are shared out, those
    /// of this process, two layers of all, one of them in use, and what belongs to no layer.
    fn in_update(&self) -> Footprint {
        let (mut resident, network) = (self.resident(), self.network_bytes(true));
        let shares_weights =
            self.shares_gradients() && self.recipe.optimizer.sharding == Sharding::Parameters;
        if !shares_weights || !self.is_by_layer() {
            return resident.with(Class::Weights, network);
        }
        let (all, largest) = self.layer_bytes();
        let away = all.saturating_sub(self.kept(all) + 2 * largest);
        resident[Class::Weights] -= away;
        resident.with(Class::Weights, network.div_ceil(self.architecture.names_by_layer().len().max(1)))
    }

    /// Bytes of the gradients that an update needs beside those that stay: where they are shared out, the sums of the weights that this
    /// process owns, and what was computed and has not left. That is two layers, and all that belongs to no layer, whose gradients
    /// grow until the end of a pack; of a network that follows its graph, and of adapters, the whole of a pack.
    fn passing_gradients(&self) -> usize {
        if !self.shares_gradients() {
            return 0;
        }
        let training = self.training();
        let trained = self.architecture.trained_parameters(training) * MASTER;
        if !self.is_by_layer() || training.lora.is_some() {
            return self.kept(trained) + trained;
        }
        let (all, largest) = self.layer_bytes();
        self.kept(trained) + trained.saturating_sub(all) + 2 * largest
    }

    /// Elements of each weight.
    fn sizes(&self) -> BTreeMap<String, usize> {
        let elements =
            |(name, shape): &(String, Vec<i64>)| (name.clone(), shape.iter().product::<i64>() as usize);
        self.architecture.shapes().iter().map(elements).collect()
    }

    /// Bytes of one running mean in the process that keeps most of them.
    fn kept(&self, trained: usize) -> usize {
        if self.processes <= 1 || self.recipe.optimizer.sharding == Sharding::None {
            return trained;
        }
        let sizes = self.sizes();
        let mut loads = vec![0; self.processes];
        owners(&sizes, self.processes).iter().for_each(|(name, rank)| loads[*rank] += sizes[name]);
        let (most, all) = (loads.iter().max().copied().unwrap_or(0), loads.iter().sum::<usize>().max(1));
        // Of adapters and of weights beside frozen ones it is about the same share.
        (trained as f64 * most as f64 / all as f64).ceil() as usize
    }

    /// Most bytes of a checkpoint that is still being written when an update begins, and is copied to the host for that.
    pub(super) fn snapshot_bytes(&self) -> usize {
        let trained = self.architecture.trained_parameters(self.training());
        let weights = if self.lora.is_some() { trained } else { self.architecture.parameters() };
        let resident = self.resident();
        // The first process puts the means together.
        let means = trained * self.recipe.optimizer.kind.means().len() * MASTER;
        let mut bytes = weights * MASTER + means;
        if matches!(self.recipe.algorithm.reference, ReferenceKind::Sync | ReferenceKind::Ema) {
            bytes += resident[Class::Reference];
        }
        if self.recipe.projection.is_some_and(|projection| projection.is_at_save()) {
            // The projected weights beside the ones that are trained.
            bytes += weights * MASTER;
        }
        // All but its gradients.
        let copies = 2 + self.recipe.critic.optimizer.kind.means().len();
        bytes + resident[Class::Critic] / copies * (copies - 1)
    }

    /// The network that samples and judges.
    fn network_bytes(&self, learns: bool) -> usize {
        self.architecture.network_bytes(self.kind, self.lora, learns)
    }

    /// The tasks of a process, out of so many.
    fn own(&self, tasks: usize) -> usize {
        tasks.div_ceil(self.processes.max(1))
    }

    fn rollout(&self, lengths: Lengths) -> Result<Phase, PolicyError> {
        let (rollout, prompts) = (&self.recipe.rollout, self.train.longest);
        let (tasks, samples) = (self.own(rollout.tasks_per_step.get()), rollout.group_size.get());
        let temperature = rollout.temperature;
        let sampled = Sampled { name: "rollout", tasks, samples, longest_prompt: prompts, temperature };
        self.sampling(&sampled, lengths)
    }

    /// What a phase of learning takes while the next step's attempts are sampled, by a copy of what is trained.
    fn beside_rollout(&self, phase: &Phase, rollout: Phase) -> Footprint {
        let copied = self.architecture.trained_parameters(self.training()) * MASTER;
        phase.footprint.beside(rollout.footprint, self.resident()).with(Class::Weights, copied)
    }

    fn evaluation(&self, lengths: Lengths) -> Result<Phase, PolicyError> {
        let (eval, prompts) = (&self.recipe.eval, self.heldout.longest);
        let (tasks, samples, temperature) =
            (self.own(self.heldout.tasks), eval.samples.get(), eval.temperature);
        let sampled = Sampled { name: "evaluation", tasks, samples, longest_prompt: prompts, temperature };
        self.sampling(&sampled, lengths)
    }

    /// Sampling: the cache, the prompts of one pass, and the logits of all rows.
    fn sampling(&self, sampled: &Sampled, lengths: Lengths) -> Result<Phase, PolicyError> {
        let (rollout, sizes) = (&self.recipe.rollout, self.architecture.sizes());
        let turns = self.recipe.episode.turns.get();
        // What the last turn begins behind.
        let earlier = lengths.completion * (turns - 1) / turns;
        let room = KvRoom::of(
            &Wanted {
                attempts: sampled.tasks * sampled.samples,
                longest_prompt: sampled.longest_prompt + if sizes.has_encoder { 0 } else { earlier },
                longest_written: earlier,
                max_tokens: rollout.max_tokens.get(),
                max_batch: rollout.max_batch.get(),
                kv_memory_mib: rollout.kv_memory_mib.map(std::num::NonZeroUsize::get),
            },
            &sizes,
            self.kind,
        )?;
        let per_token = KvCache::bytes_per_token(&sizes, self.kind);
        let histories = if turns > 1 && !sizes.has_encoder {
            let tokens = sampled.tasks * (lengths.prompt + sampled.samples * lengths.completion);
            room.left.min(tokens * per_token)
        } else {
            0
        };
        let prompts = sampled.tasks.min(room.rows) * lengths.prompt;
        let prefilled = prompts.min(PREFILL_TOKENS.max(sampled.longest_prompt));
        // The prompt whose samples have started in part is kept as well.
        let cached = (prefilled + sampled.longest_prompt) * per_token;
        let pass = |tokens, prompts| {
            self.architecture.inference_bytes(PackSize { tokens, prompts, ..PackSize::default() }, self.kind)
        };
        let footprint = self
            .resident()
            .with(Class::Weights, self.network_bytes(false))
            .with(Class::KeysAndValues, room.bytes + histories + cached)
            .with(Class::Activations, pass(prefilled, prefilled).max(pass(room.padded_rows, 0)))
            .with(
                Class::Logits,
                drawing_bytes(room.padded_rows, sizes.vocab_size, sampled.temperature, rollout.shaping())
                    + self.architecture.rounded_head_bytes(self.kind),
            );
        Ok(Phase { name: sampled.name, footprint })
    }

    /// Logprobs of the batch under the reference.
    fn reference_pass(&self, pack: PackSize) -> Option<Phase> {
        if !self.recipe.algorithm.needs_reference() {
            return None;
        }
        let class = if self.has_reference() { Class::Reference } else { Class::Weights };
        let footprint = self
            .resident()
            .with(class, self.architecture.network_bytes(self.kind, None, false))
            .with(Class::Activations, self.judging_bytes(self.architecture, pack))
            .with(Class::Logits, self.logits(LOGITS_FORWARD) * self.chunk_bytes())
            .with(Class::Logits, self.architecture.rounded_head_bytes(self.kind));
        Some(Phase { name: "reference", footprint })
    }

    /// Values of the batch.
    fn values(&self, pack: PackSize) -> Option<Phase> {
        if !self.has_critic() {
            return None;
        }
        let network = self.trunk.unwrap_or(self.architecture);
        let class = if self.trunk.is_some() { Class::Critic } else { Class::Weights };
        let footprint = self
            .resident()
            .with(Class::Weights, self.network_bytes(false))
            .with(class, self.trunk.map_or(0, |trunk| trunk.network_bytes(self.kind, None, false)))
            .with(Class::Activations, self.judging_bytes(network, pack));
        Some(Phase { name: "values", footprint })
    }

    /// A pass without a gradient, and the hidden states that it ends in.
    fn judging_bytes(&self, network: &Architecture, pack: PackSize) -> usize {
        let hidden = pack.predicted * network.sizes().hidden_size as usize;
        network.inference_bytes(pack, self.kind) + hidden * self.kind.elt_size_in_bytes()
    }

    /// The policy's update: what the graph keeps, and beside it either a piece of logits with the gradient of the output matrix, or
    /// what one layer's backward pass needs.
    fn update(&self, pack: PackSize, lengths: Lengths) -> Phase {
        let (architecture, training) = (self.architecture, self.training());
        let trunk = self.trunk.map_or(0, |trunk| trunk.network_bytes(self.kind, None, true));
        let pass = architecture.training_bytes(pack, self.kind, training);
        let hidden = pack.predicted * architecture.sizes().hidden_size as usize * MASTER;
        let shares_trunk = self.has_critic() && self.trunk.is_none();
        let base = self
            .in_update()
            .with(Class::Gradients, self.passing_gradients())
            .with(Class::Critic, trunk)
            .with(Class::Activations, pass.kept + if shares_trunk { 2 * hidden } else { 0 });
        let head = base
            // The gradients of pieces, and all of them in one.
            .with(Class::Activations, 2 * hidden)
            .with(
                Class::Logits,
                self.logits(LOGITS_BACKWARD) * self.chunk_bytes().max(self.swept_bytes(lengths)),
            )
            .with(Class::Logits, architecture.rounded_head_bytes(self.kind));
        let of_matrix = match training.lora {
            Some(_) => 0,
            // Products add to f32 gradients in place.
            None if architecture.is_direct(training) && self.kind == Kind::Float => 0,
            None => architecture.largest_matrix_bytes(),
        };
        let layer =
            base.with(Class::Gradients, of_matrix).with(Class::Activations, pass.passing + 2 * hidden);
        let footprint = if head.total() > layer.total() { head } else { layer };
        Phase { name: "update", footprint }
    }

    /// The update of a critic with a trunk of its own, which comes after the policy's, pack by pack.
    fn critic_update(&self, pack: PackSize) -> Option<Phase> {
        let trunk = self.trunk?;
        let pass = trunk.training_bytes(pack, self.kind, Training::WHOLE);
        let footprint = self
            .in_update()
            .with(Class::Gradients, self.passing_gradients())
            .with(Class::Critic, trunk.network_bytes(self.kind, None, true) + trunk.largest_matrix_bytes())
            .with(Class::Activations, pass.peak());
        Some(Phase { name: "update of the critic", footprint })
    }

    /// Tensors of a piece of logits that exist together; `most` without kernels, which work in place.
    fn logits(&self, most: usize) -> usize {
        if self.training().graph || self.recipe.rollout.truncation().is_some() { most } else { 1 }
    }

    /// Bytes of the logits of one attempt, where forward and backward pass share them.
    fn swept_bytes(&self, lengths: Lengths) -> usize {
        swept_elements(self.architecture.sizes().vocab_size, lengths.completion) * MASTER
    }

    /// Bytes of one tensor of a piece of logits.
    fn chunk_bytes(&self) -> usize {
        chunk_elements(self.architecture.sizes().vocab_size) as usize * MASTER
    }

    /// The largest pack that attempts of these lengths are cut into.
    fn largest_pack(&self, lengths: Lengths) -> PackSize {
        let rollout = &self.recipe.rollout;
        let budget = self.recipe.optimizer.micro_batch_tokens.get();
        // What comes after twice the budget is cut as what came before.
        let samples = rollout.group_size.get().min((2 * budget).div_ceil(lengths.completion) + 1);
        let of_group = lengths.prompt + samples * lengths.completion;
        let enough = (2 * budget).div_ceil(of_group) + 1;
        let in_mini_batch =
            self.own(rollout.tasks_per_step.get().div_ceil(self.recipe.algorithm.mini_batches.get()));
        let completion = Completion {
            tokens: vec![0; lengths.completion],
            logprobs: vec![0.0; lengths.completion],
            ..Completion::default()
        };
        let group = |task| Group {
            task,
            prompt: vec![0; lengths.prompt],
            completions: vec![completion.clone(); samples],
        };
        let groups: Vec<Group> = (0..in_mini_batch.min(enough)).map(group).collect();
        let batch = Batch::new(&groups, Device::Cpu);
        let sizes = plans(&batch, &batch.members(), budget).into_iter().map(|plan| plan.pack.size());
        sizes.max_by_key(|size| size.tokens).unwrap_or_default()
    }
}

/// Bytes of the logits of `rows` tokens that are drawn together, and of what is made of them: see `rollout/sampler.rs`.
fn drawing_bytes(rows: usize, vocabulary: i64, temperature: f64, shaping: Shaping) -> usize {
    // Logits and probabilities.
    let mut copies = 2;
    copies += usize::from(temperature != 1.0 && temperature != 0.0);
    // The search wants whole blocks.
    copies += usize::from(vocabulary % 256 != 0);
    if !shaping.is_off() {
        // What is left of them, and what was left before.
        copies += 2;
    }
    if shaping.top_p < 1.0 {
        // Sorted values and their f32 probabilities; places and cumulative sums, 8 bytes each.
        copies += 2 + 2 * 3;
    }
    rows * vocabulary as usize * MASTER * copies
}
