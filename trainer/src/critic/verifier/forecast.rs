//! What a verifier says of programs.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::programs::Layout;
use super::{Label, Objective, Tried, Verifier};
use crate::critic::implicit::process_rewards;
use crate::critic::{outcome, quality};

/// What a verifier says of one program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Probability that it passes all tests, from 0 to 1. With `bradley-terry` only its order means something.
    pub pass: f64,
    /// `outcome` and `fault`: the place of the likeliest class.
    pub class: Option<i64>,
    /// `outcome`: for each token, the probability after it of what came of the program; empty otherwise.
    pub token_weights: Vec<f64>,
    /// `implicit`: the reward of each token; empty otherwise.
    pub process: Vec<f64>,
}

impl Forecast {
    /// The forecast beside what came of the program.
    pub fn judged(&self, label: &Label) -> quality::Judged {
        quality::Judged { pass: self.pass, passed: label.passed() }
    }
}

impl Verifier {
    /// What it says of programs, program after program.
    pub fn forecast(&self, tried: &[Tried]) -> Vec<Forecast> {
        let labels: Vec<&Label> =
            tried.iter().flat_map(|tried| &tried.programs).map(|program| &program.label).collect();
        if labels.is_empty() {
            return Vec::new();
        }
        let _no_gradient = tch::no_grad_guard();
        let layout = self.layout(tried);
        let numbers_nc = layout.of_tokens(&self.rows(&self.network(), &layout.batch));
        let process_n = self
            .reference_logprobs(&layout)
            .map(|reference_n| process_rewards(&numbers_nc.select(1, 0), &reference_n, self.config.beta));
        let (pass_s, class_s) = self.sayings(&layout, &numbers_nc, process_n.as_ref());
        let (pass, class) = (host(&pass_s), class_s.map(|class_s| host(&class_s)));
        let weight_n = (self.config.objective == Objective::Outcome).then(|| {
            let class: Vec<i64> = labels.iter().map(|label| outcome::place(label.class)).collect();
            let class_s = Tensor::from_slice(&class).to_device(numbers_nc.device());
            outcome::token_weights(&numbers_nc, &layout.spread(&class_s))
        });
        let (weights, process) = (weight_n.as_ref().map(host), process_n.as_ref().map(host));
        let mut first = 0;
        let programs = tried.iter().flat_map(|tried| &tried.programs);
        let forecast = |(place, program): (usize, &super::Program)| {
            let (start, end) = (first, first + layout.lengths[place]);
            first = end;
            // Tokens beyond the positions of the model were not read.
            let cut = |values: &Option<Vec<f64>>, beyond: &dyn Fn(f64) -> f64| {
                let Some(values) = values else { return Vec::new() };
                let mut own = values[start..end].to_vec();
                own.resize(program.tokens.len(), beyond(values[end - 1]));
                own
            };
            Forecast {
                pass: pass[place],
                class: class.as_ref().map(|class| class[place] as i64),
                token_weights: cut(&weights, &|last| last),
                process: cut(&process, &|_| 0.0),
            }
        };
        programs.enumerate().map(forecast).collect()
    }

    /// The probability that a program passes, as it reads it after each of the program's tokens, program after program.
    ///
    /// Only `outcome` and `implicit` learn from every token; the others say what they would if the program ended there. Tokens
    /// beyond the positions of the model are not read, and have none.
    pub fn prefixes(&self, tried: &[Tried]) -> Vec<Vec<f64>> {
        if tried.iter().all(|tried| tried.programs.is_empty()) {
            return Vec::new();
        }
        let _no_gradient = tch::no_grad_guard();
        let layout = self.layout(tried);
        let numbers_nc = layout.of_tokens(&self.rows(&self.network(), &layout.batch));
        let softmax = |logits_nc: &Tensor, passed: i64| logits_nc.softmax(-1, Kind::Float).select(-1, passed);
        let value_n = match self.config.objective {
            Objective::Outcome => {
                softmax(&numbers_nc, outcome::place(rltrain_executor::OutcomeClass::PassedAll))
            }
            Objective::Fault => {
                let classes_nc = numbers_nc.narrow(1, 0, crate::critic::fault::FAULTS);
                softmax(&classes_nc, crate::critic::fault::Fault::None.place())
            }
            Objective::BradleyTerry | Objective::Binary => numbers_nc.select(1, 0).sigmoid(),
            Objective::Implicit => {
                let reference_n =
                    self.reference_logprobs(&layout).expect("an implicit verifier has a reference");
                process_rewards(&numbers_nc.select(1, 0), &reference_n, self.config.beta)
            }
        };
        let mut values = host(&value_n).into_iter();
        let sums = self.config.objective == Objective::Implicit;
        let of_program = |length: &usize| {
            let own = values.by_ref().take(*length);
            if sums { so_far(own) } else { own.collect() }
        };
        layout.lengths.iter().map(of_program).collect()
    }

    /// The probability `[S]` that each program passes, and its likeliest class.
    fn sayings(
        &self,
        layout: &Layout,
        numbers_nc: &Tensor,
        process_n: Option<&Tensor>,
    ) -> (Tensor, Option<Tensor>) {
        let last_sc = || numbers_nc.index_select(0, &layout.last_s);
        let of_classes = |logits_sc: Tensor, passed: i64| {
            let probability = logits_sc.softmax(-1, Kind::Float);
            (probability.select(-1, passed), Some(probability.argmax(-1, false)))
        };
        match self.config.objective {
            Objective::Outcome => of_classes(
                outcome::pooled(numbers_nc, &layout.lengths),
                outcome::place(rltrain_executor::OutcomeClass::PassedAll),
            ),
            Objective::Fault => of_classes(
                last_sc().narrow(1, 0, crate::critic::fault::FAULTS),
                crate::critic::fault::Fault::None.place(),
            ),
            Objective::BradleyTerry | Objective::Binary => (last_sc().select(1, 0).sigmoid(), None),
            Objective::Implicit => {
                let process_n = process_n.expect("an implicit verifier has a reference");
                (layout.sequences().total_s(process_n).sigmoid(), None)
            }
        }
    }
}

/// The logistic function of the sum up to each of `rewards`.
fn so_far(rewards: impl Iterator<Item = f64>) -> Vec<f64> {
    let sums = rewards.scan(0.0, |sum, reward| {
        *sum += reward;
        Some(1.0 / (1.0 + (-*sum).exp()))
    });
    sums.collect()
}

fn host(column: &Tensor) -> Vec<f64> {
    Vec::<f64>::try_from(column.to_kind(Kind::Double)).expect("a column is a vector of numbers")
}
