//! Whether the gradient of the user's own first batch depends on how it is computed. It must not, but for rounding.
//!
//! How much rounding there is depends on what is added up, and not on what comes of it: attempts with opposite advantages have
//! gradients that nearly cancel, and in bf16 each is rounded before they do. So a difference is measured against the attempts'
//! gradients without their signs:
//!
//! ```text
//! | g - g' | / | sum over attempts |g_attempt| |        L2 of each tensor, the inner | | by element
//! ```

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use tch::{Kind, Tensor};

use crate::error::TrainError;
use crate::learn::{Lesson, prepare, settings};
use crate::optim::{OptimizerConfig, Settings, UpdateReport, accumulate_in_parts};
use crate::policy::{Policy, Weights};
use crate::ranks::ALONE;
use crate::recipe::Recipe;
use crate::session::Session;
use crate::step_metrics::StepTimes;
use crate::telemetry::Phases;

/// Largest difference that is rounding, of gradients in f32, relative to what was added up. Observed with SmolLM2-135M: 5e-7.
const BOUND_F32: f64 = 1e-4;
/// The same in bf16, which keeps 8 bits.
const BOUND_BF16: f64 = 0.03;
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
    /// The difference of each tensor relative to what was added up, the largest first.
    pub differences: Vec<(String, f64)>,
    /// The largest difference relative to what came of it: `|g - g'| / |g|`.
    pub of_sum: f64,
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
    let settings = settings(learner, recipe, step, &ALONE);
    // As training computes it: a batch that fits there fits here.
    let budget = learner.token_budget.tokens();
    let whole = gradient(&learner.policy, &lesson_forward, &settings, budget);
    let micro = budget.min(whole.tokens.div_ceil(3)).max(1);
    let (alone, added) = gradient_of_each(&learner.policy, &lesson_forward, &settings);
    let compare = |name: &'static str, other: &Tensors| {
        let of_sum = differences(&whole.by_name, other, &whole.by_name);
        let of_sum = of_sum.first().map_or(0.0, |(_, difference)| *difference);
        Way { name, differences: differences(&whole.by_name, other, &added), of_sum }
    };
    let computed = |lesson: &Lesson, budget| gradient(&learner.policy, lesson, &settings, budget).by_name;
    let ways = vec![
        compare("in micro-batches", &computed(&lesson_forward, micro)),
        compare("each attempt alone", &alone),
        compare("groups in reversed order", &computed(&lesson_backward, budget)),
    ];
    let exact = learner.policy.compute == Kind::Float;
    Ok(Some(SelfCheck {
        attempts: lesson_forward.batch.sequences.len(),
        tokens: whole.tokens,
        made_up,
        ways,
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
    by_name: Tensors,
    tokens: usize,
    logprobs: (f64, f64),
}

/// The policy's gradient of the whole lesson, at most `budget` tokens at a time.
fn gradient(policy: &Policy, lesson: &Lesson, settings: &Settings<'_>, budget: usize) -> Gradient {
    policy.weights.zero_gradients();
    let report = computed(policy, lesson, settings, budget, &mut || ());
    let logprobs = (report.tokens.drift, report.tokens.drift_max);
    Gradient { by_name: take(&policy.weights), tokens: report.trained_tokens, logprobs }
}

/// The gradients of all attempts, each computed alone: their sum in f32, and the sum of their magnitudes.
fn gradient_of_each(policy: &Policy, lesson: &Lesson, settings: &Settings<'_>) -> (Tensors, Tensors) {
    policy.weights.zero_gradients();
    let (mut sum, mut added) = (Tensors::new(), Tensors::new());
    computed(policy, lesson, settings, 1, &mut || {
        for (name, gradient) in take(&policy.weights) {
            add(&mut added, &name, gradient.abs());
            add(&mut sum, &name, gradient);
        }
    });
    (sum, added)
}

/// Tensors by the names of the weights that they are of.
type Tensors = BTreeMap<String, Tensor>;

fn add(sum: &mut Tensors, name: &str, tensor: Tensor) {
    match sum.get_mut(name) {
        Some(sum) => *sum += tensor,
        None => drop(sum.insert(name.to_owned(), tensor)),
    }
}

/// Adds to the gradients of the weights.
fn computed(
    policy: &Policy,
    lesson: &Lesson,
    settings: &Settings<'_>,
    budget: usize,
    after_part: &mut dyn FnMut(),
) -> UpdateReport {
    let budget = NonZeroUsize::new(budget).unwrap_or(NonZeroUsize::MIN);
    let optimizer = OptimizerConfig { micro_batch_tokens: budget, ..*settings.optimizer };
    let settings = Settings { optimizer: &optimizer, learning_rate: Some(0.0), ..*settings };
    let mut members = lesson.batch.members();
    members.retain(|member| !lesson.excluded[*member]);
    accumulate_in_parts(policy, None, &lesson.batch, &members, &settings, 0, after_part)
}

/// The gradients of what is trained, which are zero afterwards.
fn take(weights: &Weights) -> Tensors {
    let of_weight = |(name, weight): (String, &Tensor)| {
        let gradient = weight.grad();
        gradient.defined().then(|| (name, gradient.copy()))
    };
    let taken = weights.trained().filter_map(of_weight).collect();
    weights.zero_gradients();
    taken
}

/// `|g - g'| / |scale|` by tensor, the largest first; a tensor without a gradient differs by nothing.
fn differences(whole: &Tensors, other: &Tensors, scale: &Tensors) -> Vec<(String, f64)> {
    let norm = |tensor: &Tensor| tensor.to_kind(Kind::Double).norm().double_value(&[]);
    let mut differences: Vec<(String, f64)> = whole
        .iter()
        .map(|(name, gradient)| {
            let difference = other.get(name).map_or(f64::INFINITY, |other| norm(&(gradient - other)));
            let scale = scale.get(name).map_or(0.0, norm);
            (name.clone(), if difference == 0.0 { 0.0 } else { difference / scale })
        })
        .collect();
    differences.sort_by(|one, other| other.1.total_cmp(&one.1));
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(values: &[f64]) -> Tensors {
        Tensors::from([("weight".to_owned(), Tensor::from_slice(values))])
    }

    /// Two attempts whose gradients nearly cancel, rounded before they do.
    #[test]
    fn a_difference_is_measured_against_what_was_added_up() {
        let (whole, other, added) = (named(&[0.003, 0.0]), named(&[0.003, 0.004]), named(&[3.0, 4.0]));
        let of = |scale| differences(&whole, &other, scale)[0].1;
        assert!((of(&added) - 0.0008).abs() < 1e-12, "{}", of(&added));
        assert!((of(&whole) - 4.0 / 3.0).abs() < 1e-12, "{}", of(&whole));
        assert_eq!(differences(&whole, &whole, &added)[0].1, 0.0);
        assert_eq!(differences(&whole, &Tensors::new(), &added)[0].1, f64::INFINITY);
    }
}
