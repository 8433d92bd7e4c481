//! Fine-tuning on what was gathered.

use std::collections::BTreeMap;

use super::config::{FineTuneFrom, IterationConfig};
use super::dataset::Found;
use super::relabel::{Example, relabelled};
use crate::attempts::Attempts;
use crate::batch::Batch;
use crate::error::TrainError;
use crate::learn::{LearnReport, keep_budget, settings};
use crate::learner::Learner;
use crate::optim::{self, Optimizer, Settings, Sharding, UpdateReport};
use crate::policy::{Interjection, Policy, PolicyError};
use crate::recipe::Recipe;
use crate::rng::{Stream, uniform};
use crate::rollout::{Completion, Group};

/// What became of a step's attempts, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// States in the data set.
    pub visits: usize,
    /// Examples that were learnt from in this step; none if it only gathered.
    pub examples: usize,
    /// Tasks that they are of.
    pub tasks: usize,
    /// Examples that did not fit into the positions of the model.
    pub too_long: usize,
}

/// Adds what step `step`, from 0, found to the data set, and fine-tunes on all of it if that is due.
///
/// # Errors
///
/// If the model that the run started from cannot be loaded again, or a single example does not fit into memory.
pub fn learn(
    learner: &mut Learner,
    recipe: &Recipe,
    config: &IterationConfig,
    step: u64,
    (attempts, found): (&Attempts, &Found),
) -> Result<LearnReport, TrainError> {
    learner.dataset.add(found);
    let rewards = || attempts.scores.rewards.iter().flatten().flatten();
    let accepted = rewards().filter(|reward| recipe.algorithm.accepts(**reward)).count();
    let mut report = LearnReport {
        kl_coefficient: learner.kl_coefficient,
        accepted: Some(accepted as f64 / rewards().count().max(1) as f64),
        ..LearnReport::default()
    };
    let mut gathered = Gathered { visits: learner.dataset.visits.len(), ..Gathered::default() };
    if config.is_due(step) {
        fine_tune(learner, recipe, config, step, &mut report, &mut gathered)?;
    }
    report.changed = learner.base.as_ref().map(|base| base.changed_share(&learner.policy.weights));
    report.gathered = Some(gathered);
    Ok(report)
}

fn fine_tune(
    learner: &mut Learner,
    recipe: &Recipe,
    config: &IterationConfig,
    step: u64,
    report: &mut LearnReport,
    gathered: &mut Gathered,
) -> Result<(), TrainError> {
    if config.from == FineTuneFrom::Base {
        start_over(learner, recipe)?;
    }
    let mut relabelled = relabelled(config, &learner.dataset);
    let most = learner.policy.architecture.sizes().max_positions as usize;
    let all = relabelled.examples.len();
    relabelled.examples.retain(|example| example.length() <= most);
    (gathered.examples, gathered.tasks) = (relabelled.examples.len(), relabelled.tasks);
    gathered.too_long = all - relabelled.examples.len();
    if !config.aggregate {
        learner.dataset.clear();
    }
    let ranks = learner.ranks.clone();
    let settings = settings(learner, recipe, step, &ranks);
    report.learning_rate = settings.learning_rate.unwrap_or(0.0);
    let (mut budget, halvings) = (learner.token_budget, learner.token_budget.halvings());
    learner.optimizer.watched = (recipe.telemetry.record > 0).then(Vec::new);
    let mut updates = Vec::new();
    for examples in batches(config, relabelled.examples.len(), recipe.seed, step) {
        let examples = examples.iter().map(|place| &relabelled.examples[*place]);
        let references = batch(examples, &learner.policy);
        let settings = Settings { references: Some(&references), ..settings };
        let (policy, optimizer) = (&learner.policy, &mut learner.optimizer);
        let what = (&references, &[][..]);
        updates.push(optim::apply_within(&mut budget, policy, optimizer, None, what, &settings)?);
        learner.hold(updates.last());
    }
    report.recorded.gradients = learner.optimizer.watched.take().unwrap_or_default();
    keep_budget(learner, budget, halvings, report);
    report.first = updates.first().cloned().unwrap_or_default();
    report.update = UpdateReport::together(&updates);
    Ok(())
}

/// The model that the run started from, and an optimizer that has seen nothing.
fn start_over(learner: &mut Learner, recipe: &Recipe) -> Result<(), PolicyError> {
    let (policy, ranks) = (&mut learner.policy, &learner.ranks);
    let mut base = Policy::load(&recipe.model.path, policy.compute, policy.weights.device())?;
    base.prepare(&recipe.model, recipe.seed)?;
    policy.weights = base.weights;
    let mut optimizer = Optimizer::new(recipe.optimizer.kind, &policy.weights);
    if !ranks.is_alone() && recipe.optimizer.sharding != Sharding::None {
        optimizer.share_among(&policy.weights, ranks, recipe.optimizer.sharding);
    }
    learner.optimizer = optimizer;
    Ok(())
}

/// The places of the examples of each optimizer step: `epochs` passes over `examples` of them, each in an order of its own.
fn batches(config: &IterationConfig, examples: usize, seed: u64, step: u64) -> Vec<Vec<usize>> {
    let pass = |epoch: usize| {
        let mut order: Vec<usize> = (0..examples).collect();
        let key = |example: &usize| {
            uniform(seed, Stream::Examples, &[step, epoch as u64, *example as u64]).to_bits()
        };
        order.sort_by_cached_key(key);
        order.chunks(config.batch_size.get()).map(<[usize]>::to_vec).collect::<Vec<_>>()
    };
    (0..config.epochs.get()).flat_map(pass).collect()
}

/// Examples as a batch in which every token of a target counts alike. Those of one prompt stand together, so that it is read once.
fn batch<'a>(examples: impl Iterator<Item = &'a Example>, policy: &Policy) -> Batch {
    let mut of_prompt: BTreeMap<&[i64], Vec<Completion>> = BTreeMap::new();
    for Example { prompt, context, target } in examples {
        let context = (!context.is_empty()).then(|| Interjection { after: 0, tokens: context.clone() });
        of_prompt.entry(prompt).or_default().push(Completion {
            tokens: target.clone(),
            interjections: context.into_iter().collect(),
            logprobs: vec![0.0; target.len()],
            ..Completion::default()
        });
    }
    let group = |(prompt, completions): (&[i64], Vec<Completion>)| Group {
        task: 0,
        prompt: prompt.to_vec(),
        completions,
    };
    let groups: Vec<Group> = of_prompt.into_iter().map(group).collect();
    let batch = Batch::new(&groups, policy.weights.device());
    let count = batch.sequences.len();
    batch.with_advantages(vec![1.0; count])
}

impl Example {
    /// Tokens that the network reads.
    fn length(&self) -> usize {
        self.prompt.len() + self.context.len() + self.target.len()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    #[test]
    fn every_pass_has_every_example_once_in_an_order_of_its_own() {
        let config = IterationConfig {
            epochs: NonZeroUsize::new(3).unwrap(),
            batch_size: NonZeroUsize::new(4).unwrap(),
            ..IterationConfig::default()
        };
        let batches = batches(&config, 10, 1, 5);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2, 4, 4, 2, 4, 4, 2]);
        let passes: Vec<Vec<usize>> = batches.chunks(3).map(<[Vec<usize>]>::concat).collect();
        for pass in &passes {
            let mut sorted = pass.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert!(passes[0] != passes[1] && passes[1] != passes[2]);
        assert!(super::batches(&config, 0, 1, 5).is_empty());
    }
}
