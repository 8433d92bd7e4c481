//! Learning from verdicts.

use tch::{Kind, Tensor};

use super::programs::{Layout, fault_line};
use super::{Label, Objective, Program, Tried, Verifier};
use crate::batch::{Batch, Plan, plans};
use crate::critic::fault::{FAULTS, class_loss, class_weights, line_loss};
use crate::critic::implicit::{implicit_loss, process_rewards};
use crate::critic::outcome::{self, outcome_loss};
use crate::critic::preference::{binary, bradley_terry, pairs};
use crate::optim::descend;
use crate::policy::token_logprobs::{self, Gradients};
use crate::policy::{Network, PolicyError};
use crate::rollout::{Completion, Group};

/// Begins what a verifier says of a program in words; a comment in Python.
const SAYING: &str = "\n# ";

/// What one update did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Learnt {
    /// The loss before it; `None` if the programs had nothing to teach.
    pub loss: Option<f64>,
    /// L2 norm of the gradient, before clipping.
    pub gradient_norm: f64,
    /// Whether the gradient was not finite, so that weights stayed as they were.
    pub skipped: bool,
}

impl Verifier {
    /// One update from these programs, whose mean loss is what counts: however they are packed.
    ///
    /// Every loss is a function of few numbers for each token. So the network runs twice: once for those numbers, of which the
    /// loss and its gradient are computed at once, pairs across packs included; and once, pack by pack, to take that gradient
    /// on to the weights.
    ///
    /// # Errors
    ///
    /// If the tokenizer fails.
    pub fn learn(&mut self, tried: &[Tried], learning_rate: f64) -> Result<Learnt, PolicyError> {
        if tried.iter().all(|tried| tried.programs.is_empty()) {
            return Ok(Learnt::default());
        }
        let layout = self.layout(tried);
        let network = self.network();
        let rows_rc = self.rows(&network, &layout.batch).set_requires_grad(true);
        let Some(loss) = self.loss(tried, &layout, &layout.of_tokens(&rows_rc))? else {
            return Ok(Learnt::default());
        };
        let share = self.words_share();
        let loss = loss * (1.0 - share);
        loss.backward();
        let gradient_rc = rows_rc.grad();
        for plan in plans(&layout.batch, &layout.batch.members(), self.budget()) {
            self.backward(&network, &plan, &plan.cut(&gradient_rc));
        }
        let mut said = 0.0;
        if share > 0.0 {
            said = self.learn_words(&network, tried, share)?;
        }
        drop(network);
        let config = self.config.optimizer;
        let (gradient_norm, applied) = descend(&self.weights, &mut self.optimizer, &config, learning_rate);
        let loss = Some(loss.double_value(&[]) + said);
        Ok(Learnt { loss, gradient_norm, skipped: !applied })
    }

    /// How much words count.
    fn words_share(&self) -> f64 {
        if self.config.objective == Objective::Fault { self.config.feedback_share } else { 0.0 }
    }

    /// The mean loss of the programs, a scalar, given what the network and the head say of their tokens, `[N, C]`. `None` if
    /// there is no pair to compare.
    fn loss(
        &self,
        tried: &[Tried],
        layout: &Layout,
        numbers_nc: &Tensor,
    ) -> Result<Option<Tensor>, PolicyError> {
        let device = numbers_nc.device();
        let labels: Vec<&Label> =
            tried.iter().flat_map(|tried| &tried.programs).map(|program| &program.label).collect();
        let places =
            |place: fn(&Label) -> i64| -> Vec<i64> { labels.iter().map(|label| place(label)).collect() };
        let passed = || {
            let passed = labels.iter().map(|label| f32::from(u8::from(label.passed()))).collect::<Vec<_>>();
            Tensor::from_slice(&passed).to_device(device)
        };
        let last_sc = || numbers_nc.index_select(0, &layout.last_s);
        let loss_s = match self.config.objective {
            Objective::Outcome => {
                let class_s =
                    Tensor::from_slice(&places(|label| outcome::place(label.class))).to_device(device);
                outcome_loss(numbers_nc, &layout.lengths, &class_s)
            }
            Objective::Fault => {
                let places = places(|label| label.fault().place());
                let weights: Vec<f32> =
                    class_weights(&places, FAULTS).into_iter().map(|weight| weight as f32).collect();
                let weight_c = Tensor::from_slice(&weights).to_device(device);
                let class_s = Tensor::from_slice(&places).to_device(device);
                let loss_s = class_loss(&last_sc().narrow(1, 0, FAULTS), &class_s, &weight_c);
                self.add_lines(loss_s, tried, layout, numbers_nc)?
            }
            Objective::BradleyTerry => {
                let pairs = self.pairs(tried);
                return Ok(bradley_terry(&last_sc().select(1, 0), &pairs));
            }
            Objective::Binary => binary(&last_sc().select(1, 0), &passed()),
            Objective::Implicit => {
                let reference_n =
                    self.reference_logprobs(layout).expect("an implicit verifier has a reference");
                let reward_n = process_rewards(&numbers_nc.select(1, 0), &reference_n, self.config.beta);
                implicit_loss(&reward_n, layout.sequences(), &passed())
            }
        };
        Ok(Some(loss_s.mean(Kind::Float)))
    }

    /// Pairs of a right and a wrong program of one task each, as places among all programs.
    fn pairs(&self, tried: &[Tried]) -> Vec<(usize, usize)> {
        let (mut all, mut first) = (Vec::new(), 0);
        for (group, tried) in tried.iter().enumerate() {
            let passed: Vec<bool> = tried.programs.iter().map(|program| program.label.passed()).collect();
            let counters = [self.optimizer.updates, group as u64];
            let drawn = pairs(&passed, self.config.pairs.get(), self.seed, counters);
            all.extend(drawn.into_iter().map(|(right, wrong)| (first + right, first + wrong)));
            first += passed.len();
        }
        all
    }

    /// Adds, for each program that an error stopped in a line that is known, the loss of naming that line.
    fn add_lines(
        &self,
        loss_s: Tensor,
        tried: &[Tried],
        layout: &Layout,
        numbers_nc: &Tensor,
    ) -> Result<Tensor, PolicyError> {
        let score_n = numbers_nc.select(1, FAULTS);
        let (mut parts, mut first, mut place) = (Vec::new(), 0, 0);
        for tried in tried {
            for program in &tried.programs {
                let length = layout.lengths[place];
                let part = match fault_line(tried, program, length, &self.tokenizer)? {
                    Some((line, ends)) => {
                        let ends: Vec<i64> = ends.into_iter().map(|end| (first + end) as i64).collect();
                        let ends = Tensor::from_slice(&ends).to_device(score_n.device());
                        line_loss(&score_n.index_select(0, &ends), line)
                    }
                    None => Tensor::zeros([], (Kind::Float, score_n.device())),
                };
                parts.push(part);
                (first, place) = (first + length, place + 1);
            }
        }
        Ok(loss_s + Tensor::stack(&parts, 0))
    }

    /// Adds the gradient of one pack to the weights, given that of its numbers, `[N, C]`.
    fn backward(&self, network: &Network, plan: &Plan, gradient_nc: &Tensor) {
        if self.head.is_some() {
            (self.numbers(network, plan) * gradient_nc).sum(Kind::Float).backward();
        } else {
            let _ = backward_logprobs(network, plan, &gradient_nc.select(1, 0));
        }
    }

    /// Adds the gradient of `share` times the mean cross entropy of what there is to say of each program, and returns that.
    fn learn_words(&self, network: &Network, tried: &[Tried], share: f64) -> Result<f64, PolicyError> {
        let mut groups = Vec::new();
        for tried in tried {
            for program in &tried.programs {
                groups.extend(self.saying(tried, program)?);
            }
        }
        let batch = Batch::new(&groups, self.weights.device());
        let factor = -share / batch.sampled_n.numel().max(1) as f64;
        let mut loss = 0.0;
        for plan in plans(&batch, &batch.members(), self.budget()) {
            let logprobs_n =
                backward_logprobs(network, &plan, &(plan.cut(&batch.sampled_n).ones_like() * factor));
            loss += factor * logprobs_n.sum(Kind::Double).double_value(&[]);
        }
        Ok(loss)
    }

    /// A program as the prompt of what there is to say of it; none if that is longer than the model can read.
    fn saying(&self, tried: &Tried, program: &Program) -> Result<Option<Group>, PolicyError> {
        let prompt = [&tried.prompt[..], &program.tokens, &self.tokenizer.encode(SAYING)?].concat();
        let mut tokens = self.tokenizer.encode(&program.label.feedback())?;
        tokens.extend(self.tokenizer.stop_ids.first());
        let most = self.architecture.sizes().max_positions as usize;
        let fits = prompt.len() + tokens.len() <= most && !tokens.is_empty();
        let completion = Completion { logprobs: vec![0.0; tokens.len()], tokens, ..Completion::default() };
        Ok(fits.then(|| Group { task: 0, prompt, completions: vec![completion] }))
    }
}

/// Adds the gradient of one pack to a language model's weights, given that of its tokens' logprobs, `[N]`; returns those.
fn backward_logprobs(network: &Network, plan: &Plan, gradient_n: &Tensor) -> Tensor {
    let target_n = plan.pack.targets(network.device());
    let pass = plan.pack.pass(network);
    let forward = token_logprobs::forward(network, &pass.hidden_ne, &target_n, 1.0);
    let by = Gradients { logprobs_n: gradient_n.shallow_clone(), entropy_n: None, log_sum_n: None };
    let gradient_ne = token_logprobs::backward(network, &pass.hidden_ne, &target_n, 1.0, &forward, &by);
    pass.backward(&gradient_ne);
    forward.logprobs_n
}
