//! Whether the gradient of the user's own first batch depends on how it is computed. It must not, but for rounding.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use tch::{Kind, Tensor};

use crate::error::TrainError;
use crate::learn::{Lesson, prepare, settings};
use crate::optim::{OptimizerConfig, Settings, accumulate};
use crate::policy::Policy;
use crate::recipe::Recipe;
use crate::session::Session;
use crate::step_metrics::StepTimes;
use crate::telemetry::Phases;

/// Largest relative difference that is rounding, of gradients in f32. Sums of some thousand terms in another order differ by
/// less.
const BOUND_F32: f64 = 1e-3;
/// The same in bf16, which keeps 8 bits.
const BOUND_BF16: f64 = 0.1;
/// Largest mean difference of logprobs, in nats, in f32.
const LOGPROBS_F32: f64 = 1e-3;
/// The same in bf16.
const LOGPROBS_BF16: f64 = 0.05;

/// What [`selfcheck`] found.
pub struct SelfCheck {
    /// Attempts in the batch.
    pub attempts: usize,
    /// Trained tokens in the batch.
    pub tokens: usize,
    /// Whether advantages were made up, because no group of the batch had a signal.
    pub made_up: bool,
    /// Each way to compute the gradient again.
    pub ways: Vec<Way>,
    /// The differences that are still rounding: of gradients, and of logprobs in nats.
    pub bounds: (f64, f64),
    /// Mean and largest difference between the rollout's logprobs and the trainer's, in nats.
    pub logprobs: (f64, f64),
}

/// How far the gradient computed in another way is from training's.
pub struct Way {
    /// What is different.
    pub name: &'static str,
    /// `|g - g'| / |g|` of each tensor, L2, the largest first.
    pub differences: Vec<(String, f64)>,
}

impl SelfCheck {
    /// Whether everything is within its bound.
    pub fn holds(&self) -> bool {
        let (gradients, logprobs) = self.bounds;
        let worst = self.ways.iter().flat_map(|way| &way.differences);
        worst.into_iter().all(|(_, difference)| *difference <= gradients) && self.logprobs.0 <= logprobs
    }
}

/// Samples, executes and scores the first step of `recipe` in `session`, and computes its gradient as training does, in smaller
/// micro-batches, sequence by sequence, and in reversed order.
///
/// # Errors
///
/// As training: if the model, the device or the sandbox fails.
pub fn selfcheck(session: &mut Session, recipe: &Recipe) -> Result<Option<SelfCheck>, TrainError> {
    let step = session.step;
    let attempts = session.actor().attempt(recipe, step, &mut StepTimes::start(Phases::default()))?;
    let learner = &session.learner;
    let forward: Vec<usize> = (0..attempts.groups.len()).collect();
    let backward: Vec<usize> = forward.iter().rev().copied().collect();
    let lesson = |order: &[usize]| {
        let (groups, scores) = attempts.select(order);
        prepare(learner, recipe, (&groups, &scores), learner.token_budget.tokens())
    };
    let (Some(mut lesson_forward), Some(mut lesson_backward)) = (lesson(&forward), lesson(&backward)) else {
        return Ok(None);
    };
    let made_up = lesson_forward.batch.with_signal(&lesson_forward.batch.members()).is_empty();
    if made_up {
        make_up(&mut lesson_forward);
        make_up(&mut lesson_backward);
    }
    let settings = settings(learner, recipe, step);
    // As training computes it: a batch that fits there fits here.
    let budget = learner.token_budget.tokens();
    let whole = gradient(&learner.policy, &lesson_forward, &settings, budget);
    let micro = budget.min(whole.tokens.div_ceil(3)).max(1);
    let ways = [
        ("in micro-batches", &lesson_forward, micro),
        ("each attempt alone", &lesson_forward, 1),
        ("groups in reversed order", &lesson_backward, budget),
    ];
    let compare = |(name, lesson, budget): (&'static str, &Lesson, usize)| {
        let other = gradient(&learner.policy, lesson, &settings, budget);
        Way { name, differences: differences(&whole.by_name, &other.by_name) }
    };
    let exact = learner.policy.compute == Kind::Float;
    Ok(Some(SelfCheck {
        attempts: lesson_forward.batch.sequences.len(),
        tokens: whole.tokens,
        made_up,
        ways: ways.into_iter().map(compare).collect(),
        bounds: if exact { (BOUND_F32, LOGPROBS_F32) } else { (BOUND_BF16, LOGPROBS_BF16) },
        logprobs: whole.logprobs,
    }))
}

/// Advantages of one and minus one, by what the attempt says, so that they do not depend on the order of attempts.
fn make_up(lesson: &mut Lesson) {
    let batch = &mut lesson.batch;
    let sign = |tokens: &[i64]| if tokens.iter().sum::<i64>() % 2 == 0 { 1.0 } else { -1.0 };
    let lengths = batch.sequences.iter().map(|sequence| (sign(&sequence.tokens), sequence.tokens.len()));
    let repeated: Vec<f64> = lengths.flat_map(|(sign, length)| std::iter::repeat_n(sign, length)).collect();
    batch.advantages_n = batch.column(repeated);
}

struct Gradient {
    by_name: BTreeMap<String, Tensor>,
    tokens: usize,
    logprobs: (f64, f64),
}

/// The policy's gradient of the whole lesson, at most `budget` tokens at a time.
fn gradient(policy: &Policy, lesson: &Lesson, settings: &Settings<'_>, budget: usize) -> Gradient {
    let budget = NonZeroUsize::new(budget).unwrap_or(NonZeroUsize::MIN);
    let optimizer = OptimizerConfig { micro_batch_tokens: budget, ..*settings.optimizer };
    let settings = Settings { optimizer: &optimizer, learning_rate: Some(0.0), ..*settings };
    let mut members = lesson.batch.members();
    members.retain(|member| !lesson.excluded[*member]);
    policy.weights.zero_gradients();
    let report = accumulate(policy, None, &lesson.batch, &members, &settings, 0);
    let of_weight = |(name, weight): (String, &Tensor)| {
        let gradient = weight.grad();
        gradient.defined().then(|| (name, gradient.copy()))
    };
    let by_name = policy.weights.trained().filter_map(of_weight).collect();
    policy.weights.zero_gradients();
    let logprobs = (report.tokens.drift, report.tokens.drift_max);
    Gradient { by_name, tokens: report.trained_tokens, logprobs }
}

/// `|g - g'| / |g|` by tensor, the largest first; a tensor without a gradient differs by nothing.
fn differences(whole: &BTreeMap<String, Tensor>, other: &BTreeMap<String, Tensor>) -> Vec<(String, f64)> {
    let norm = |tensor: &Tensor| tensor.to_kind(Kind::Double).norm().double_value(&[]);
    let mut differences: Vec<(String, f64)> = whole
        .iter()
        .map(|(name, gradient)| {
            let difference = other.get(name).map_or(f64::INFINITY, |other| norm(&(gradient - other)));
            (name.clone(), if difference == 0.0 { 0.0 } else { difference / norm(gradient) })
        })
        .collect();
    differences.sort_by(|one, other| other.1.total_cmp(&one.1));
    differences
}
