//! From scored attempts to optimizer steps.
//!
//! ```text
//! attempts -> columns (old and reference logprobs, values) -> advantages -> masks -> epochs x mini-batches of updates
//! ```

use tch::{Kind, Tensor};

use crate::algorithm::{
    AdvantageEstimator, AlgorithmConfig, KlPlace, Outcomes, PolicyLoss, TokenOutcomes, advantages,
    explained_variance, kl, mini_batches, penalised, token_advantages, top_covariance, top_entropy,
};
use crate::attempts::Attempts;
use crate::batch::{Batch, Values};
use crate::columns::Columns;
use crate::critic::verifier::{self, Told};
use crate::error::TrainError;
use crate::iteration::{self, Gathered};
use crate::learner::Learner;
use crate::material::Material;
use crate::optim::{self, Settings, TokenBudget, UpdateReport, learning_rate};
use crate::ranks::Ranks;
use crate::recipe::Recipe;
use crate::record::Learnt;
use crate::rollout::{Completion, Finish, Group};
use crate::scoring::Scores;
use crate::supervised::SupervisedMode;

/// What one rollout taught, for the metrics.
#[derive(Clone, Debug, Default)]
pub struct LearnReport {
    /// The optimizer steps together.
    pub update: UpdateReport,
    /// The first optimizer step alone, in which the policy is still the one that sampled.
    pub first: UpdateReport,
    /// Advantage of each trained token.
    pub advantages: Spread,
    /// Mean divergence from the reference before any optimizer step, by the recipe's estimator, in nats.
    pub kl: Option<f64>,
    /// What a nat of divergence cost.
    pub kl_coefficient: f64,
    /// How well the critic knew what would come.
    pub critic: Option<ValueReport>,
    /// What the verifier made of the verdicts, if there is one.
    pub verifier: Option<Told>,
    /// Attempts that the token limit cut off and that were left out of the loss.
    pub filtered: usize,
    /// Share of attempts that are imitated, where the estimator rejects some.
    pub accepted: Option<f64>,
    /// Learning rate of the policy; 0 while only the critic learns.
    pub learning_rate: f64,
    /// What became of the attempts, where they are gathered.
    pub gathered: Option<Gathered>,
    /// Share of the trained weights that differ from the model that the run started from, where few of them may.
    pub changed: Option<f64>,
    /// How often memory did not suffice, and packs were made smaller.
    pub halvings: u64,
    /// What the user should know.
    pub told: Vec<String>,
    /// What can be held against another run, where the recipe records steps.
    pub recorded: Learnt,
}

/// How a critic's values compare with returns, over the tokens of a rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ValueReport {
    /// Share of the returns' variance that values explain; `None` if returns do not vary.
    pub explained_variance: Option<f64>,
    /// Mean value.
    pub value_mean: f64,
    /// Mean return.
    pub return_mean: f64,
}

/// Mean, deviation and extremes of some numbers; all 0 if there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Population standard deviation.
    pub std: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

/// Learns from the attempts of step `step`, from 0, and from the references of its tasks or what was gathered if the recipe wants that.
///
/// Attempts that the infrastructure lost have no place in it. State that follows the policy (reference, coefficient of
/// an adaptive KL) is brought up to date afterwards.
///
/// # Errors
///
/// If a single attempt does not fit into memory.
pub fn learn(
    learner: &mut Learner,
    recipe: &Recipe,
    step: u64,
    (attempts, material): (&Attempts, &Material),
) -> Result<LearnReport, TrainError> {
    if let (Some(config), Some(found)) = (&recipe.iteration, &material.found) {
        return iteration::learn(learner, recipe, config, step, (attempts, found));
    }
    let references = material.references.as_ref();
    let (groups, scores) = attempts.select(&learnt_from(recipe, attempts));
    let mut budget = learner.token_budget;
    let halvings = budget.halvings();
    let lesson = prepare_within(&mut budget, learner, recipe, (&groups, &scores))?;
    let apart = recipe.supervised.mode != SupervisedMode::Mixed;
    let ranks = learner.ranks.clone();
    let mut settings = settings(learner, recipe, step, &ranks);
    settings.references = if apart { None } else { references };

    let mut report = LearnReport {
        kl_coefficient: learner.kl_coefficient,
        learning_rate: settings.learning_rate.unwrap_or(0.0),
        ..LearnReport::default()
    };
    let mut updates = Vec::new();
    let records = recipe.telemetry.record > 0;
    learner.optimizer.watched = records.then(Vec::new);
    if let Some(Lesson { batch, excluded, filtered, accepted, divergence_n }) = &lesson {
        for groups in mini_batches(&recipe.algorithm, batch.prompts.len(), recipe.seed, step) {
            let mut members = batch.members_of(&groups);
            members.retain(|member| !excluded[*member]);
            let (policy, critic) = (&learner.policy, learner.critic.as_mut());
            let optimizer = &mut learner.optimizer;
            let what = (batch, &members[..]);
            updates.push(optim::apply_within(&mut budget, policy, optimizer, critic, what, &settings)?);
            learner.hold(updates.last());
        }
        if updates.iter().any(|update| update.skipped > 0) {
            report.told.push(keep(recipe, step, batch));
        }
        report.advantages = Spread::of(&batch.advantages_n);
        report.recorded.columns = records.then(|| batch.recorded(excluded));
        report.kl = divergence_n.as_ref().map(|kl_n| kl_n.mean(Kind::Double).double_value(&[]));
        report.critic = batch.values_n.as_ref().map(ValueReport::of);
        (report.filtered, report.accepted) = (*filtered, *accepted);
        learner.follow_policy(recipe, step, report.kl, batch.sequences.len());
    }
    report.first = updates.first().cloned().unwrap_or_default();
    if let (Some(references), true) = (references, apart) {
        let settings = Settings { references: Some(references), ..settings };
        let (policy, optimizer) = (&learner.policy, &mut learner.optimizer);
        let what = (references, &[][..]);
        updates.push(optim::apply_within(&mut budget, policy, optimizer, None, what, &settings)?);
        learner.hold(updates.last());
    }
    report.changed = learner.base.as_ref().map(|base| base.changed_share(&learner.policy.weights));
    report.recorded.gradients = learner.optimizer.watched.take().unwrap_or_default();
    keep_budget(learner, budget, halvings, &mut report);
    report.update = UpdateReport::together(&updates);
    Ok(report)
}

/// Goes on with what is left of the token budget, whose halvings were `halvings` before, and tells of those that came since.
pub(crate) fn keep_budget(
    learner: &mut Learner,
    budget: TokenBudget,
    halvings: u64,
    report: &mut LearnReport,
) {
    report.halvings = budget.halvings() - halvings;
    if report.halvings > 0 {
        report.told.push(format!(
            "memory ran out in the update at {} tokens together; it was done again at {}, and the run goes on so",
            learner.token_budget.tokens(),
            budget.tokens()
        ));
    }
    learner.token_budget = budget;
}

/// Writes a batch whose gradient was not finite into the run folder; returns what the user should know. A disk that refuses costs
/// the file, not the run.
fn keep(recipe: &Recipe, step: u64, batch: &Batch) -> String {
    let path = recipe.run.join(format!("skipped-step-{:08}.safetensors", step + 1));
    match batch.write(&path) {
        Ok(()) => format!("skipped an update without a finite gradient; its batch is `{}`", path.display()),
        Err(error) => {
            format!("skipped an update without a finite gradient, and could not keep its batch: {error}")
        }
    }
}

/// Indices of the groups that are learnt from: all, or with dynamic sampling those with a signal.
fn learnt_from(recipe: &Recipe, attempts: &Attempts) -> Vec<usize> {
    let algorithm = &recipe.algorithm;
    if algorithm.refills > 0 { attempts.teaching(algorithm) } else { (0..attempts.groups.len()).collect() }
}

/// A batch that is ready for updates.
pub struct Lesson {
    /// The attempts with all columns that the recipe's losses look at.
    pub batch: Batch,
    /// For each sequence, whether it has no place in the loss: because the token limit cut it off, or because the estimator
    /// rejects it.
    pub excluded: Vec<bool>,
    /// Attempts that the token limit cut off and that have no place in the loss.
    pub filtered: usize,
    /// Share of attempts that the estimator accepts, where it rejects some.
    pub accepted: Option<f64>,
    /// Divergence of the rollout's policy from the reference, token by token, by the recipe's estimator.
    pub divergence_n: Option<Tensor>,
}

/// As [`prepare`], within `budget`, and together with the other processes.
fn prepare_within(
    budget: &mut TokenBudget,
    learner: &Learner,
    recipe: &Recipe,
    (groups, scores): (&[Group], &Scores),
) -> Result<Option<Lesson>, TrainError> {
    let batch = Batch::new(&scores.judged(groups), learner.policy.weights.device());
    if batch.sequences.is_empty() {
        return Ok(None);
    }
    let own = batch.share_of(&learner.ranks, &batch.members());
    let columns =
        budget.fit(&[(&batch, &own)], |budget| Columns::of(learner, recipe, &batch, &own, budget.get()))?;
    let columns = columns.of_all(&learner.ranks)?;
    Ok(Some(lesson(learner, recipe, (groups, scores), batch, columns)))
}

/// Everything that comes before the first optimizer step, with at most `budget` tokens through the network together; `None` if
/// there is no attempt to learn from. Of a process without others.
pub fn prepare(
    learner: &Learner,
    recipe: &Recipe,
    (groups, scores): (&[Group], &Scores),
    budget: usize,
) -> Option<Lesson> {
    let batch = Batch::new(&scores.judged(groups), learner.policy.weights.device());
    if batch.sequences.is_empty() {
        return None;
    }
    let columns = Columns::of(learner, recipe, &batch, &batch.members(), budget);
    Some(lesson(learner, recipe, (groups, scores), batch, columns))
}

/// What is learnt from `batch`, which has the attempts of `groups` that have a reward.
fn lesson(
    learner: &Learner,
    recipe: &Recipe,
    (groups, scores): (&[Group], &Scores),
    mut batch: Batch,
    columns: Columns,
) -> Lesson {
    let plan = LessonPlan { learner, recipe, algorithm: &recipe.algorithm };
    let Columns { own_n, entropy_n, reference_n, values_n, energy_n, gap_n, fixed_gap_n } = columns;
    let of_tokens = OfTokens { values_n, energy_n, gap_n, fixed_gap_n };
    if let Some(own_n) = own_n {
        batch.old_n = own_n;
        batch.recomputed = true;
    }
    batch.reference_n = reference_n;
    let divergence_n = plan.divergence(&batch);
    plan.fill_advantages(&mut batch, groups, scores, divergence_n.as_ref(), of_tokens);
    plan.fill_masks(&mut batch, entropy_n.as_ref());
    let judged = scores.judged(groups);
    let completions = judged.iter().flat_map(|group| &group.completions);
    let cut_off = |completion: &Completion| recipe.algorithm.filters(completion.finish == Finish::Length);
    let mut excluded: Vec<bool> = completions.map(cut_off).collect();
    let filtered = excluded.iter().filter(|excluded| **excluded).count();
    let accepted = (recipe.algorithm.advantage == AdvantageEstimator::Rejection).then(|| {
        let accepted = batch.with_signal(&batch.members());
        for (member, excluded) in excluded.iter_mut().enumerate() {
            *excluded |= accepted.binary_search(&member).is_err();
        }
        accepted.len() as f64 / batch.sequences.len() as f64
    });
    Lesson { batch, excluded, filtered, accepted, divergence_n }
}

/// Columns that only estimators which tell tokens apart look at.
struct OfTokens {
    values_n: Option<Tensor>,
    energy_n: Option<Tensor>,
    gap_n: Option<Tensor>,
    fixed_gap_n: Option<Tensor>,
}

/// What the steps before the updates look at.
struct LessonPlan<'a> {
    learner: &'a Learner,
    recipe: &'a Recipe,
    algorithm: &'a AlgorithmConfig,
}

impl LessonPlan<'_> {
    /// Divergence of the rollout's policy from the reference, token by token, by the recipe's estimator.
    fn divergence(&self, batch: &Batch) -> Option<Tensor> {
        let reference_n = batch.reference_n.as_ref()?;
        Some(tch::no_grad(|| kl(self.algorithm.kl, &batch.old_n, reference_n)))
    }

    /// Fills advantages, and values with their returns if there is a critic.
    fn fill_advantages(
        &self,
        batch: &mut Batch,
        groups: &[Group],
        scores: &Scores,
        divergence_n: Option<&Tensor>,
        OfTokens { values_n, energy_n, gap_n, fixed_gap_n }: OfTokens,
    ) {
        let (algorithm, lengths) = (self.algorithm, batch.lengths());
        let per_token = algorithm.advantage.is_per_token();
        let penalty: Vec<f64> = match divergence_n {
            Some(divergence_n) if algorithm.kl_place == KlPlace::Reward => {
                host(&(divergence_n * self.learner.kl_coefficient))
            }
            _ => Vec::new(),
        };
        let mut rewards = self.shaped(groups, scores);
        if !per_token && !penalty.is_empty() {
            rewards = after_penalty(&rewards, &penalty, &lengths);
        }
        let lengths_of =
            |group: &Group| group.completions.iter().map(|completion| completion.tokens.len()).collect();
        let group_lengths: Vec<Vec<usize>> = groups.iter().map(lengths_of).collect();
        let log_ratios = self.log_ratios(batch, &rewards);
        let outcomes = Outcomes {
            rewards: &rewards,
            lengths: &group_lengths,
            parts: &scores.rows,
            part_weights: &scores.weights,
            greedy: &scores.greedy,
            log_ratios: &log_ratios,
        };
        let of_attempt = advantages(algorithm, &outcomes);
        let judged = of_attempt.iter().flatten().zip(rewards.iter().flatten());
        let sequence: Vec<f64> =
            judged.filter(|(_, reward)| reward.is_some()).map(|(advantage, _)| *advantage).collect();

        let numbers = |column_n: &Option<Tensor>| column_n.as_ref().map(host).unwrap_or_default();
        let targets = token_advantages(
            algorithm,
            &TokenOutcomes {
                sequence: &sequence,
                lengths: &lengths,
                groups: &batch.sequences.iter().map(|sequence| sequence.prompt).collect::<Vec<_>>(),
                penalty: if per_token { &penalty } else { &[] },
                values: &numbers(&values_n),
                gaps: &numbers(&gap_n),
                fixed_gaps: &numbers(&fixed_gap_n),
                energy: &numbers(&energy_n),
            },
        );
        batch.advantages_n = batch.column(targets.advantages);
        if let Some(verifier) = &self.recipe.verifier {
            verifier::shape_advantages(verifier, groups, scores, batch);
        }
        batch.values_n = values_n.map(|old_n| Values { old_n, returns_n: batch.column(targets.returns) });
    }

    /// How much likelier each attempt is than under the reference, in nats, 0 for one without a reward; empty if the
    /// estimator does not compare with a reference.
    fn log_ratios(&self, batch: &Batch, rewards: &[Vec<Option<f64>>]) -> Vec<Vec<f64>> {
        let Some(reference_n) = &batch.reference_n else { return Vec::new() };
        if self.algorithm.advantage != AdvantageEstimator::OnlineDpo {
            return Vec::new();
        }
        // A reward of 0 less the log-ratio of its tokens.
        let judged = |reward: &Option<f64>| reward.map(|_| 0.0);
        let zeros: Vec<Vec<Option<f64>>> =
            rewards.iter().map(|group| group.iter().map(judged).collect()).collect();
        let sums = after_penalty(&zeros, &host(&(reference_n - &batch.old_n)), &batch.lengths());
        sums.iter().map(|group| group.iter().map(|sum| sum.unwrap_or(0.0)).collect()).collect()
    }

    /// Rewards with the penalty for length.
    fn shaped(&self, groups: &[Group], scores: &Scores) -> Vec<Vec<Option<f64>>> {
        let longest = self.recipe.longest_attempt();
        let shape = |(group, rewards): (&Group, &Vec<Option<f64>>)| {
            let shape = |(completion, reward): (&Completion, &Option<f64>)| {
                let penalty = self.algorithm.length_penalty(completion.tokens.len(), longest);
                reward.map(|reward| reward + penalty)
            };
            group.completions.iter().zip(rewards).map(shape).collect()
        };
        groups.iter().zip(&scores.rewards).map(shape).collect()
    }

    /// Fills the masks over the tokens of the rollout.
    fn fill_masks(&self, batch: &mut Batch, entropy_n: Option<&Tensor>) {
        let algorithm = self.algorithm;
        batch.keep_n = entropy_n.map(|entropy_n| top_entropy(entropy_n, algorithm.top_entropy_share));
        batch.covariant_n = (algorithm.policy_loss == PolicyLoss::KlCov)
            .then(|| top_covariance(&batch.advantages_n, &batch.old_n, algorithm.covariance_share));
    }
}

/// What the updates of step `step`, from 0, are done with.
pub fn settings<'a>(learner: &Learner, recipe: &'a Recipe, step: u64, ranks: &'a Ranks) -> Settings<'a> {
    let warms_up = learner.critic.is_some() && step < recipe.critic.warmup_steps;
    let rate = |optimizer| learning_rate(optimizer, step, recipe.steps);
    Settings {
        algorithm: &recipe.algorithm,
        optimizer: &recipe.optimizer,
        critic: &recipe.critic,
        learning_rate: (!warms_up).then(|| rate(&recipe.optimizer)),
        critic_learning_rate: rate(&recipe.critic.optimizer),
        temperature: recipe.rollout.temperature,
        longest: recipe.longest_attempt(),
        kl_coefficient: learner.kl_coefficient,
        references: None,
        ranks,
    }
}

/// Rewards less what the tokens of each attempt cost; `penalty` is flat over the attempts that have a reward.
fn after_penalty(rewards: &[Vec<Option<f64>>], penalty: &[f64], lengths: &[usize]) -> Vec<Vec<Option<f64>>> {
    let judged: Vec<Option<f64>> = rewards.iter().flatten().copied().filter(Option::is_some).collect();
    let mut penalised = penalised(&judged, penalty, lengths).into_iter();
    let mut next = |reward: &Option<f64>| reward.and_then(|_| penalised.next().flatten());
    rewards.iter().map(|group| group.iter().map(&mut next).collect()).collect()
}

/// A column as numbers of the host.
fn host(column_n: &Tensor) -> Vec<f64> {
    let column_n = column_n.detach().to_kind(Kind::Double);
    Vec::<f64>::try_from(column_n).expect("a column is a vector of numbers")
}

impl ValueReport {
    fn of(values: &Values) -> ValueReport {
        let mean = |column_n: &Tensor| column_n.mean(Kind::Double).double_value(&[]);
        ValueReport {
            explained_variance: explained_variance(&values.old_n, &values.returns_n),
            value_mean: mean(&values.old_n),
            return_mean: mean(&values.returns_n),
        }
    }
}

impl Spread {
    /// Of a column.
    pub fn of(column_n: &Tensor) -> Spread {
        Spread::of_numbers(&host(column_n))
    }

    /// Of a list.
    pub fn of_numbers(numbers: &[f64]) -> Spread {
        if numbers.is_empty() {
            return Spread::default();
        }
        let n = numbers.len() as f64;
        let mean = numbers.iter().sum::<f64>() / n;
        Spread {
            mean,
            std: (numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / n).sqrt(),
            min: numbers.iter().copied().fold(f64::INFINITY, f64::min),
            max: numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}
