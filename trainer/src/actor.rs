//! Who makes attempts: sample, execute, score.
//!
//! The actor reads the policy and never changes it. Where sampling runs ahead of learning, it works on a thread of its own with a
//! copy of what is trained ([`Policy::copied`]).

use rltrain_rewards::Input;

use crate::algorithm::{AdvantageEstimator, Refill};
use crate::attempts::{Attempts, Greedy};
use crate::critic::verifier::{Verifier, foretell};
use crate::environment::Environment;
use crate::episode::{Played, play};
use crate::error::TrainError;
use crate::execution::{Executions, PATIENCE, Waiting};
use crate::policy::Policy;
use crate::ranks::{Lane, own_places};
use crate::recipe::Recipe;
use crate::rng::Stream;
use crate::rollout::{self, Group, PrefillTokens, Request};
use crate::scoring::{Scores, look_closer, score};
use crate::step_metrics::StepTimes;

/// A policy that makes attempts, with what they are made in and who foretells what comes of them.
pub struct Actor<'a> {
    /// The policy that samples.
    pub policy: &'a Policy,
    /// The number of rollouts that it has learnt from.
    pub weights: u64,
    /// Who foretells verdicts, if the recipe wants that.
    pub verifier: Option<&'a Verifier>,
    /// Tasks, sandbox, rewards.
    pub environment: &'a mut Environment,
}

/// Tasks that are tried together.
#[derive(Clone, Copy)]
struct Round<'a> {
    /// Their places in the task set.
    tasks: &'a [usize],
    /// Their places among the tasks of the step.
    places: &'a [u64],
    /// The step that the random numbers belong to.
    step: u64,
    /// How many attempts each is to have.
    sizes: &'a [usize],
    /// How bold they are.
    temperature: f64,
}

impl Actor<'_> {
    /// Tries the tasks of `step`; with dynamic sampling, more tasks for those that taught nothing. Nothing is tried where only
    /// references are learnt from.
    ///
    /// # Errors
    ///
    /// If the model, the device or the sandbox fails.
    pub fn attempt(
        &mut self,
        recipe: &Recipe,
        step: u64,
        times: &mut StepTimes,
    ) -> Result<Attempts, TrainError> {
        let wanted = recipe.rollout.tasks_per_step.get();
        if let Some(fleet) = self.environment.fleet.as_ref().filter(|_| !recipe.supervised.is_alone()) {
            times.rollout(|| fleet.publish(self.policy, self.weights))?;
        }
        let mut attempts = Attempts { weights: self.weights, ..Attempts::default() };
        let mut missing = wanted;
        for round in 0.. {
            let behind = self.environment.tasks_drawn;
            let drawn = self.environment.draw_tasks(recipe, missing);
            attempts.passed_over += self.environment.tasks_drawn - behind - drawn.len() as u64;
            attempts.tasks.extend_from_slice(&drawn);
            if recipe.supervised.is_alone() {
                break;
            }
            let first = attempts.groups.len() as u64;
            let sizes = self.environment.group_sizes(recipe, &drawn);
            let temperature = recipe.rollout.temperature;
            let places: Vec<u64> = (first..).take(drawn.len()).collect();
            let together = Round { tasks: &drawn, places: &places, step, sizes: &sizes, temperature };
            attempts.append(self.attempt_together(recipe, together, times)?);
            match recipe.algorithm.refill(attempts.teaching(&recipe.algorithm).len(), wanted, round) {
                Refill::Sample(more) => missing = more,
                Refill::Learn => break,
            }
        }
        Ok(attempts)
    }

    /// Attempts the tasks of a round together with the other processes, each its share.
    fn attempt_together(
        &mut self,
        recipe: &Recipe,
        round: Round<'_>,
        times: &mut StepTimes,
    ) -> Result<Attempts, TrainError> {
        let ranks = self.environment.ranks.clone();
        if ranks.is_alone() {
            return self.attempt_tasks(recipe, round, times);
        }
        // What is known of tasks is a part of every process' state, so all of them find it out.
        let told = self.environment.learn_facts(recipe, round.tasks)?;
        let share = own_places(round.tasks.len(), ranks.rank(), ranks.world());
        let tasks: Vec<usize> = share.iter().map(|place| round.tasks[*place]).collect();
        let places: Vec<u64> = share.iter().map(|place| round.places[*place]).collect();
        let sizes: Vec<usize> = share.iter().map(|place| round.sizes[*place]).collect();
        let own = Round { tasks: &tasks, places: &places, sizes: &sizes, ..round };
        let own =
            if share.is_empty() { Attempts::default() } else { self.attempt_tasks(recipe, own, times)? };
        times.show("waiting");
        let mut all = Attempts::interleaved(ranks.gather(Lane::Rollout, "the attempts of a step", own)?);
        // Others know only their own.
        self.environment.remember_greedy(&Attempts {
            groups: all.greedy.groups.clone(),
            verdicts: std::mem::take(&mut all.greedy.verdicts),
            ..Attempts::default()
        });
        all.told = told;
        Ok(all)
    }

    /// Samples a group for each task of a round, executes and scores it.
    fn attempt_tasks(
        &mut self,
        recipe: &Recipe,
        round: Round<'_>,
        times: &mut StepTimes,
    ) -> Result<Attempts, TrainError> {
        let told = self.environment.learn_facts(recipe, round.tasks)?;
        let remax = recipe.algorithm.advantage == AdvantageEstimator::Remax;
        let mut greedy = None;
        if remax || self.environment.rewards.wants(Input::Greedy) {
            let sizes = vec![1; round.tasks.len()];
            let attempts = self.execute(recipe, Round { sizes: &sizes, temperature: 0.0, ..round }, times)?;
            self.environment.remember_greedy(&attempts);
            greedy = Some(attempts);
        }
        let mut attempts = self.execute(recipe, round, times)?;
        attempts.scores = self.worth(recipe, &attempts)?;
        attempts.told = told;
        if let Some(greedy) = greedy {
            if remax {
                let scores = self.worth(recipe, &greedy)?;
                attempts.scores.greedy = scores.rewards.iter().map(|rewards| rewards[0]).collect();
            }
            attempts.greedy = Greedy { groups: greedy.groups, verdicts: greedy.verdicts };
        }
        Ok(attempts)
    }

    /// What executed attempts are worth, by the rewards of the recipe and by its verifier, if there is one.
    fn worth(&self, recipe: &Recipe, attempts: &Attempts) -> Result<Scores, TrainError> {
        let Attempts { groups, verdicts, facts, .. } = attempts;
        let mut scores = score((self.policy, self.environment), recipe, groups, verdicts, facts)?;
        if let (Some(verifier), Some(config)) = (self.verifier, &recipe.verifier) {
            foretell(verifier, config, &self.environment.tasks, (groups, verdicts), &mut scores);
        }
        Ok(scores)
    }

    /// Samples a round of attempts and executes them, without scores.
    fn execute(
        &self,
        recipe: &Recipe,
        round: Round<'_>,
        times: &mut StepTimes,
    ) -> Result<Attempts, TrainError> {
        // Each finished attempt goes to the sandbox while the others still decode.
        let (groups, executions, prefill) = times.rollout(|| self.sample(recipe, round))?;
        let notices = times.notices();
        let tell = |waiting: Waiting| {
            let task = &self.environment.tasks[round.tasks[waiting.group]];
            notices.notice(&waiting.of(&task.id));
        };
        let mut verdicts = times.execution(|| executions.wait_telling(groups.len(), PATIENCE, tell));
        let facts = times.execution(|| look_closer(self.environment, recipe, &groups, &mut verdicts));
        Ok(Attempts { groups, verdicts, facts, prefill, ..Attempts::default() })
    }

    /// Samples a group of its size for each task of a round, turn by turn, with the log-probability of every token.
    fn sample(
        &self,
        recipe: &Recipe,
        round: Round<'_>,
    ) -> Result<(Vec<Group>, Executions<'_>, PrefillTokens), TrainError> {
        let environment = &*self.environment;
        let mut requests = Vec::with_capacity(round.tasks.len());
        for ((place, task), samples) in round.places.iter().zip(round.tasks).zip(round.sizes) {
            let prompt = environment.prompter.prompt(&environment.tasks[*task], &self.policy.tokenizer)?;
            requests.push(Request { prompt, samples: *samples, task: *place, ..Request::default() });
        }
        let sampling = environment.sampling(recipe, Stream::Sampling, round.step, round.temperature);
        let tasks: Vec<_> = round.tasks.iter().map(|task| &environment.tasks[*task]).collect();
        let Played { completions, executions, prefill } =
            play((self.policy, environment), recipe, &tasks, &requests, &sampling)?;
        Ok((rollout::collect(round.tasks, requests, completions), executions, prefill))
    }
}
