//! Which tasks a run visits, with how many attempts, and what it remembers of them.

use super::Environment;
use crate::attempts::Attempts;
use crate::learn::Spread;
use crate::recipe::Recipe;
use crate::rollout::allot;
use crate::tasks::{self, Curriculum, PassRates};
use crate::telemetry::Metrics;

/// The pass rates of a new run over `tasks` tasks; `None` if the recipe decides nothing by them.
pub fn new_pass_rates(recipe: &Recipe, tasks: usize) -> Option<PassRates> {
    recipe.reads_pass_rates().then(|| PassRates::new(tasks, recipe.tasks.pass_rate_visits))
}

impl Environment {
    /// Places of the next `count` tasks, which are then behind: in the order of the walk, or by the recipe's curriculum.
    pub fn draw_tasks(&mut self, recipe: &Recipe, count: usize) -> Vec<usize> {
        let Some(Curriculum { chances, .. }) = self.curriculum(recipe) else {
            let drawn = tasks::draw(&self.tasks, recipe.seed, self.tasks_drawn, count);
            self.tasks_drawn += count as u64;
            return drawn;
        };
        let walk = tasks::draw_by_chance(&chances, recipe.seed, self.tasks_drawn, count);
        self.tasks_drawn += walk.walked;
        walk.taken
    }

    /// How many attempts each of these tasks gets.
    pub fn group_sizes(&self, recipe: &Recipe, tasks: &[usize]) -> Vec<usize> {
        let mean = recipe.rollout.group_size.get();
        match (&self.pass_rates, recipe.rollout.group_sizes()) {
            (Some(rates), Some(bounds)) => {
                let pass_rates: Vec<f64> = tasks.iter().map(|task| rates.estimate(*task)).collect();
                allot(&pass_rates, mean * tasks.len(), bounds)
            }
            _ => vec![mean; tasks.len()],
        }
    }

    /// Takes note of which attempts of a step passed every hidden test.
    pub fn observe(&mut self, attempts: &Attempts) {
        let Some(rates) = &mut self.pass_rates else { return };
        for (group, verdicts) in attempts.groups.iter().zip(&attempts.verdicts.groups) {
            let judged = verdicts.iter().flatten();
            let passed = judged.clone().filter(|verdict| verdict.all_passed()).count();
            rates.observe(group.task, passed as u32, judged.count() as u32);
        }
    }

    /// Adds what step `step`, from 0, visited to its metrics: only what the recipe lets vary.
    pub fn add_visits(&self, step: u64, metrics: &mut Metrics, recipe: &Recipe, attempts: &Attempts) {
        if recipe.rollout.group_sizes().is_some() {
            let sizes = || attempts.groups.iter().map(|group| group.completions.len());
            metrics.push("group_size/min", sizes().min().unwrap_or(0) as f64);
            metrics.push("group_size/max", sizes().max().unwrap_or(0) as f64);
        }
        if recipe.rollout.staleness > 0 {
            metrics.push("staleness", (step - attempts.weights) as f64);
        }
        if let (Some(curriculum), Some(rates)) = (self.curriculum(recipe), &self.pass_rates) {
            let known: Vec<f64> =
                (0..rates.len()).filter(|task| rates.knows(*task)).map(|task| rates.estimate(task)).collect();
            let of_all = |count: usize| count as f64 / rates.len() as f64;
            metrics.push("curriculum/seen", of_all(known.len()));
            metrics.push("curriculum/dropped", of_all(curriculum.dropped));
            metrics.push("curriculum/pass_rate", Spread::of_numbers(&known).mean);
            metrics.push("curriculum/passed_over", attempts.passed_over as f64);
        }
    }

    /// What the recipe's curriculum makes of what the run has seen so far.
    pub fn curriculum(&self, recipe: &Recipe) -> Option<Curriculum> {
        Some(Curriculum::of(&recipe.tasks.curriculum?, self.pass_rates.as_ref()?))
    }
}
