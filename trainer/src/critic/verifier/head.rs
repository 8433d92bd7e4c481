//! What a verifier reads off hidden states.

use tch::{Device, Kind, Tensor};

use super::config::Objective;
use crate::critic::fault::FAULTS;
use crate::critic::outcome::CLASSES;
use crate::policy::Weights;
use crate::rng::{Stream, uniform};

/// Width of the layer between hidden states and class logits: CodeRL's and RankEF's.
const WIDTH: i64 = 128;

/// The tensors of the head, by the names of `torch.nn.Sequential`.
const INNER: &str = "verifier_head.0.weight";
const INNER_BIAS: &str = "verifier_head.0.bias";
const OUTER: &str = "verifier_head.2.weight";
const OUTER_BIAS: &str = "verifier_head.2.bias";
const SCALAR: &str = "verifier_head.weight";
const SCALAR_BIAS: &str = "verifier_head.bias";
const LINE: &str = "verifier_lines.weight";

/// Hidden states to numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// `Linear(E, 128)`, ReLU, `Linear(128, classes)`.
    Classes {
        /// Number of logits.
        classes: i64,
        /// Whether a linear score of lines comes after them.
        lines: bool,
    },
    /// `Linear(E, 1)`.
    Scalar,
}

impl Head {
    /// The head of an objective; none where the model's own output is what counts.
    pub(super) fn of(objective: Objective) -> Option<Head> {
        match objective {
            Objective::Outcome => Some(Head::Classes { classes: CLASSES.len() as i64, lines: false }),
            Objective::Fault => Some(Head::Classes { classes: FAULTS, lines: true }),
            Objective::BradleyTerry | Objective::Binary => Some(Head::Scalar),
            Objective::Implicit => None,
        }
    }

    /// Its tensors over hidden states of width `hidden_size`, new, f32: uniform, with deviations of `1 / sqrt(E + 1)` for the
    /// scalar (muCode), and PyTorch's default bound of `1 / sqrt(inputs)` for classes. Biases are 0.
    pub(super) fn tensors(self, hidden_size: i64, seed: u64, device: Device) -> Vec<(String, Tensor)> {
        let classes_bound = |inputs: i64| 1.0 / (inputs as f64).sqrt();
        let scalar_bound = (3.0 / (hidden_size + 1) as f64).sqrt();
        let shapes = match self {
            Head::Classes { classes, lines } => {
                let mut shapes = vec![
                    (INNER, vec![WIDTH, hidden_size], classes_bound(hidden_size)),
                    (INNER_BIAS, vec![WIDTH], 0.0),
                    (OUTER, vec![classes, WIDTH], classes_bound(WIDTH)),
                    (OUTER_BIAS, vec![classes], 0.0),
                ];
                shapes.extend(lines.then(|| (LINE, vec![1, hidden_size], scalar_bound)));
                shapes
            }
            Head::Scalar => {
                vec![(SCALAR, vec![1, hidden_size], scalar_bound), (SCALAR_BIAS, vec![1], 0.0)]
            }
        };
        let places = (0..).zip(shapes);
        places
            .map(|(place, (name, shape, bound))| {
                let count = shape.iter().product::<i64>() as u64;
                let number = |n| {
                    let u = uniform(seed, Stream::VerifierHead, &[place, n]);
                    (bound * (2.0 * u - 1.0)) as f32
                };
                let values: Vec<f32> = (0..count).map(number).collect();
                (name.to_owned(), Tensor::from_slice(&values).view(&shape[..]).to_device(device))
            })
            .collect()
    }

    /// Numbers `[N, C]`, f32, of hidden states `[N, E]`; the score of lines is the last column.
    pub(super) fn apply(self, weights: &Weights, hidden_ne: &Tensor) -> Tensor {
        let hidden_ne = hidden_ne.to_kind(Kind::Float);
        match self {
            Head::Classes { lines, .. } => {
                let inner = hidden_ne.linear(weights.get(INNER), Some(weights.get(INNER_BIAS))).relu();
                let logits_nc = inner.linear(weights.get(OUTER), Some(weights.get(OUTER_BIAS)));
                if lines {
                    let line_n1 = hidden_ne.linear::<&Tensor>(weights.get(LINE), None);
                    Tensor::cat(&[logits_nc, line_n1], 1)
                } else {
                    logits_nc
                }
            }
            Head::Scalar => hidden_ne.linear(weights.get(SCALAR), Some(weights.get(SCALAR_BIAS))),
        }
    }
}
