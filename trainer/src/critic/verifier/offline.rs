//! `rltrain critic`: a verifier learns from rollouts that a run has logged.
//!
//! ```text
//! RUN/samples/ ─▶ groups ─┬─▶ four fifths of the tasks ─▶ epochs × updates ─▶ RUN/verifier/step-N/
//!                         └─▶ the others ──────────────▶ quality, threshold ─▶ RUN/verifier/quality.json
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rltrain_checkpoints::{Checkpoint, RunLock, Store, replace_file};

use super::{
    Arithmetic, Forecast, Label, Quality, Rollouts, Tried, Verifier, VerifierConfig, VerifierState,
    read_rollouts,
};
use crate::critic::accept::accept_threshold;
use crate::critic::quality::Judged;
use crate::error::TrainError;
use crate::optim::learning_rate;
use crate::recipe::Recipe;
use crate::rng::{Stream, uniform};
use crate::stop::StopFlag;
use crate::telemetry::{Metrics, Past, ProgressMode, Telemetry};

/// Folder of all this inside a run folder.
const FOLDER: &str = "verifier";

/// What `rltrain critic` has made, to be printed.
#[derive(Clone, Debug, PartialEq)]
pub struct OfflineReport {
    /// Tasks, groups and programs that were learnt from.
    pub learnt_from: [usize; 3],
    /// Tasks and groups that were not.
    pub heldout: [usize; 2],
    /// How good the verifier is on those.
    pub quality: Quality,
    /// The forecast from which on a program can be accepted without a test, if there is one.
    pub accept_from: Option<f64>,
    /// Largest share of accepted programs that may then be wrong, and the doubt that remains.
    pub promise: (f64, f64),
    /// The newest checkpoint.
    pub checkpoint: PathBuf,
}

impl fmt::Display for OfflineReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [tasks, groups, programs] = self.learnt_from;
        let [heldout_tasks, heldout_groups] = self.heldout;
        let heldout_programs = self.quality.programs;
        writeln!(formatter, "learnt from  {tasks} tasks, {groups} groups, {programs} programs")?;
        writeln!(
            formatter,
            "held out     {heldout_tasks} tasks, {heldout_groups} groups, {heldout_programs} programs\n"
        )?;
        for (name, value) in self.quality.rows() {
            let value = value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
            writeln!(formatter, "{name:<20}{value:>8}")?;
        }
        let (error, doubt) = self.promise;
        match self.accept_from {
            Some(threshold) => writeln!(
                formatter,
                "\naccept from {threshold:.2}: at most {:.0} % of what is accepted is wrong, with probability {:.2}",
                100.0 * error,
                1.0 - doubt
            )?,
            None => writeln!(
                formatter,
                "\nno threshold promises that at most {:.0} % of what is accepted is wrong: too few held-out tasks, or too many errors",
                100.0 * error
            )?,
        }
        write!(formatter, "checkpoint: {}", self.checkpoint.display())
    }
}

/// Trains the verifier of `recipe` from the samples in its run folder, or goes on where it was stopped.
///
/// Returns `None` if `stop` was asked for before the end; the last state is saved in any case.
///
/// # Errors
///
/// If the recipe has no verifier, the run no samples, or the model, the disk or the device fails.
pub fn train_offline(recipe: &Recipe, stop: &StopFlag) -> Result<Option<OfflineReport>, TrainError> {
    let config = recipe.verifier.as_ref().ok_or(TrainError::NoVerifier)?;
    crate::mkl::set_fast(recipe.model.fast_matmul);
    let folder = recipe.run.join(FOLDER);
    let newest = Store::open_read_only(&folder).newest_valid()?.map(|(checkpoint, _)| checkpoint);
    let mut arithmetic = recipe.model.clone();
    if let Some(checkpoint) = &newest {
        arithmetic.compute = VerifierState::read(checkpoint)?.compute;
    }
    let (compute, device) = arithmetic.kind_and_device()?;
    let model = config.path.as_ref().unwrap_or(&recipe.model.path);
    let mut verifier = Verifier::new(config, model, Arithmetic { compute, device }, recipe.seed)?;
    if newest.is_none() {
        verifier.take_start()?;
    }
    let rollouts = read_rollouts(recipe, &verifier.tokenizer)?;
    fs_err::create_dir_all(&folder)?;
    let lock = RunLock::acquire(&folder)?;
    let mut training = Training::new(recipe, config, verifier, &rollouts, &folder)?;
    if let Some(checkpoint) = newest {
        training.restore(&checkpoint)?;
    }
    let past = Past { step: training.step, ..Past::default() };
    let telemetry = Telemetry::open(&folder, past, training.steps(), ProgressMode::Auto)?;
    let finished = training.run(telemetry, stop)?;
    drop(lock);
    if finished { training.report().map(Some) } else { Ok(None) }
}

/// The state of `rltrain critic`.
struct Training<'a> {
    recipe: &'a Recipe,
    config: &'a VerifierConfig,
    verifier: Verifier,
    rollouts: &'a Rollouts,
    /// Places of the groups that are learnt from.
    train: Vec<usize>,
    /// Places of the others.
    heldout: Vec<usize>,
    folder: PathBuf,
    store: Store,
    /// Updates tried so far, those that had nothing to learn from included.
    step: u64,
    saved: Option<u64>,
}

impl<'a> Training<'a> {
    fn new(
        recipe: &'a Recipe,
        config: &'a VerifierConfig,
        verifier: Verifier,
        rollouts: &'a Rollouts,
        folder: &Path,
    ) -> Result<Training<'a>, TrainError> {
        let names = rollouts.groups.iter().map(|group| group.task.as_str());
        let aside = heldout_tasks(names, config.heldout_share, recipe.seed);
        let (heldout, train) = (0..rollouts.groups.len())
            .partition(|place| aside.contains(&rollouts.groups[*place].task.as_str()));
        let store = Store::open(folder)?.keeping_last(recipe.checkpoint.keep_last);
        let folder = folder.to_owned();
        Ok(Training {
            recipe,
            config,
            verifier,
            rollouts,
            train,
            heldout,
            folder,
            store,
            step: 0,
            saved: None,
        })
    }

    /// Goes on from a checkpoint.
    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let state = self.verifier.restore(checkpoint)?;
        let told = state.told.as_ref();
        if told.is_none_or(|told| *told != self.told()) {
            return Err(TrainError::OtherRollouts { folder: self.folder.clone() });
        }
        self.step = checkpoint.step();
        self.saved = Some(self.step);
        Ok(())
    }

    /// BLAKE3 of what decides what is learnt: the section, the seed and the rollouts.
    fn told(&self) -> String {
        let section = toml::to_string(self.config).expect("a section that was read is TOML");
        let all = format!("{section}\nseed = {}\n{}", self.recipe.seed, self.rollouts.blake3);
        blake3::hash(all.as_bytes()).to_hex().to_string()
    }

    fn steps_per_epoch(&self) -> u64 {
        self.train.len().div_ceil(self.config.groups_per_update.get()) as u64
    }

    fn steps(&self) -> u64 {
        self.config.epochs.get() as u64 * self.steps_per_epoch()
    }

    /// Learns until the end, or until it is asked to stop. Returns whether it got there.
    fn run(&mut self, mut telemetry: Telemetry, stop: &StopFlag) -> Result<bool, TrainError> {
        let steps = self.steps();
        telemetry.message(&format!(
            "{} parameters, {} groups to learn from, {} held out",
            self.verifier.parameters(),
            self.train.len(),
            self.heldout.len()
        ));
        while self.step < steps && !stop.is_asked() {
            telemetry.phase("update");
            let start = Instant::now();
            let rate = learning_rate(&self.config.optimizer, self.step, steps);
            let learnt = self.verifier.learn(&self.groups_of_step(), rate)?;
            self.step += 1;
            let mut metrics = Metrics::new();
            metrics.push("verifier/loss", learnt.loss.unwrap_or(f64::NAN));
            metrics.push("verifier/grad_norm", learnt.gradient_norm);
            metrics.push("verifier/grad_skipped", f64::from(u8::from(learnt.skipped)));
            metrics.push("verifier/learning_rate", rate);
            let mut timings = Metrics::new();
            timings.push("time/update_seconds", start.elapsed().as_secs_f64());
            telemetry.log(self.step, &metrics, &timings, Vec::new())?;
            if self.recipe.checkpoint.is_due(self.step) && self.step < steps {
                telemetry.flush()?;
                self.save(None)?;
            }
        }
        telemetry.flush()?;
        if self.step < steps {
            self.save(None)?;
        }
        Ok(self.step == steps)
    }

    /// The groups that this step learns from: a function of the seed and the step.
    fn groups_of_step(&self) -> Vec<Tried> {
        let (epoch, place) = (self.step / self.steps_per_epoch(), self.step % self.steps_per_epoch());
        let key = |group: &usize| uniform(self.recipe.seed, Stream::VerifierOrder, &[epoch, *group as u64]);
        let mut order = self.train.clone();
        order.sort_by(|one, other| key(one).total_cmp(&key(other)));
        let size = self.config.groups_per_update.get();
        let chosen = order.into_iter().skip(place as usize * size).take(size);
        chosen.map(|group| self.rollouts.groups[group].clone()).collect()
    }

    fn save(&mut self, accept_from: Option<f64>) -> Result<(), TrainError> {
        if self.saved == Some(self.step) {
            return Ok(());
        }
        let state = self.verifier.state().of_rollouts(self.told(), accept_from);
        let step = self.step;
        self.store.write(step, |draft| self.verifier.save(draft, &state)).map_err(|source| {
            TrainError::Write { step, source, kept: self.saved.map(|step| self.store.path_of(step)) }
        })?;
        self.saved = Some(step);
        Ok(())
    }

    /// Measures the verifier on the held-out tasks, and writes that down.
    fn report(&mut self) -> Result<OfflineReport, TrainError> {
        let tried: Vec<Tried> =
            self.heldout.iter().map(|place| self.rollouts.groups[*place].clone()).collect();
        let mut said = self.verifier.forecast(&tried).into_iter();
        let mut groups: Vec<Vec<(Forecast, &Label)>> = Vec::new();
        for group in &tried {
            groups.push(
                said.by_ref().zip(&group.programs).map(|(said, program)| (said, &program.label)).collect(),
            );
        }
        let quality = Quality::of(&groups);
        let accept_from = accept_threshold(&chosen(&tried, &groups), &self.config.accept);
        self.save(accept_from)?;
        let mut text = serde_json::to_vec_pretty(&quality).expect("numbers are JSON");
        text.push(b'\n');
        replace_file(&self.folder.join("quality.json"), &text)?;
        let of_train = || self.train.iter().map(|place| &self.rollouts.groups[*place]);
        Ok(OfflineReport {
            learnt_from: [
                distinct(of_train()),
                self.train.len(),
                of_train().map(|group| group.programs.len()).sum(),
            ],
            heldout: [distinct(tried.iter()), tried.len()],
            quality,
            accept_from,
            promise: (self.config.accept.error, self.config.accept.doubt),
            checkpoint: self.store.path_of(self.step),
        })
    }
}

/// The tasks that are not learnt from: a share of those in `names`, at least one and not all.
fn heldout_tasks<'a>(names: impl Iterator<Item = &'a str>, share: f64, seed: u64) -> Vec<&'a str> {
    let key = |name: &str| {
        let hash = blake3::hash(name.as_bytes());
        let first = hash.as_bytes().first_chunk().expect("a hash is longer than 8 bytes");
        uniform(seed, Stream::VerifierSplit, &[u64::from_le_bytes(*first)])
    };
    let tasks: BTreeMap<&str, f64> = names.map(|name| (name, key(name))).collect();
    let mut order: Vec<(&str, f64)> = tasks.into_iter().collect();
    order.sort_by(|one, other| one.1.total_cmp(&other.1));
    let wanted = (share * order.len() as f64).round() as usize;
    let most = order.len().saturating_sub(1);
    order.truncate(wanted.max(1).min(most));
    order.into_iter().map(|(name, _)| name).collect()
}

/// One program of each task, the one that would be chosen: the highest forecast of the task's last group. Groups of one task
/// are not independent of each other, and tasks are.
fn chosen(tried: &[Tried], groups: &[Vec<(Forecast, &Label)>]) -> Vec<Judged> {
    let mut of_task: BTreeMap<&str, Judged> = BTreeMap::new();
    for (tried, group) in tried.iter().zip(groups) {
        let judged = group.iter().map(|(said, label)| said.judged(label));
        // The first of equal ones.
        let best = judged.reduce(|best, next| if next.pass > best.pass { next } else { best });
        of_task.extend(best.map(|best| (tried.task.as_str(), best)));
    }
    of_task.into_values().collect()
}

/// How many tasks these groups are of.
fn distinct<'a>(groups: impl Iterator<Item = &'a Tried>) -> usize {
    let mut names: Vec<&str> = groups.map(|group| group.task.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A task is on one side, whatever else was logged, and neither side is empty.
        #[test]
        fn tasks_are_split_into_two_sides(count in 2..40usize, share in 0.01..0.99f64, seed: u64) {
            let names: Vec<String> = (0..count).map(|n| format!("task/{n}")).collect();
            let twice = names.iter().chain(&names).map(String::as_str);
            let aside = heldout_tasks(twice, share, seed);
            prop_assert!(!aside.is_empty() && aside.len() < count);
            prop_assert!((aside.len() as f64 - share * count as f64).abs() <= 1.0);
            let mut reversed = heldout_tasks(names.iter().rev().map(String::as_str), share, seed);
            let mut aside = aside;
            aside.sort_unstable();
            reversed.sort_unstable();
            prop_assert_eq!(aside, reversed);
        }
    }
}
