//! A plan in words: what is needed, beside what there is.

use std::fmt;
use std::path::Path;

use super::device::{DeviceMemory, resident_bytes};
use super::footprint::{Class, Phase};
use super::lengths::{Lengths, TaskLengths};
use super::plan::{Plan, Planned};
use crate::critic::CriticKind;
use crate::error::TrainError;
use crate::policy::{Adapter, Architecture, LoraConfig, PolicyError, Tokenizer};
use crate::recipe::Recipe;
use crate::rollout::Prompter;
use crate::tasks::TaskSet;
use crate::telemetry::METRICS_FILE;

/// A plan for the longest attempts and one for mean ones, beside the device.
#[derive(Clone, Debug)]
pub struct Report {
    /// Lengths of the longest attempt, and its plan.
    pub bound: (Lengths, Plan),
    /// Lengths of a mean attempt, and its plan.
    pub estimate: (Lengths, Plan),
    /// Where the mean length comes from.
    pub mean_of: String,
    /// What there is.
    pub device: DeviceMemory,
    /// Bytes of this program before it loads a model; 0 where the model is on a GPU.
    pub program: u64,
    /// Bytes that programs in the sandbox may take together; 0 where the model is on a GPU.
    pub sandbox: u64,
    /// Most bytes of a checkpoint that is still being written when an update begins: copied to the host, if half of what is free there
    /// holds them.
    pub snapshot: u64,
}

impl Report {
    /// The plans of `recipe` in each of `processes` that train together; its estimate is for attempts of `mean_tokens`.
    ///
    /// # Errors
    ///
    /// If the tasks, the model's configuration or its tokenizer cannot be read, or the memory that the recipe allows for keys and
    /// values does not hold the least number of attempts.
    pub fn of(recipe: &Recipe, mean_tokens: Option<f64>, processes: usize) -> Result<Report, TrainError> {
        crate::mkl::set_fast(recipe.model.fast_matmul);
        let (kind, device) = recipe.model.kind_and_device()?;
        let architecture = Architecture::in_folder(&recipe.model.path)?;
        let tokenizer = Tokenizer::load(&recipe.model.path)?;
        let prompter = Prompter::new(&recipe.tasks, &recipe.episode)?;
        let lengths = |path: &Path| -> Result<TaskLengths, TrainError> {
            Ok(TaskLengths::of(&TaskSet::load(path)?, &prompter, &tokenizer)?)
        };
        let trunk = trunk(recipe)?;
        let lora = match &recipe.model.lora {
            Some(LoraConfig { path: Some(folder), dropout, .. }) => {
                Some(LoraConfig { dropout: *dropout, ..Adapter::config_in(folder)? })
            }
            lora => lora.clone(),
        };
        let planned = Planned {
            recipe,
            architecture: &architecture,
            trunk: trunk.as_ref(),
            lora: lora.as_ref(),
            kind,
            processes,
            train: lengths(&recipe.tasks.train)?,
            heldout: lengths(&recipe.tasks.heldout)?,
        };
        let longest = Lengths::longest(recipe, &planned.train, architecture.sizes().max_positions as usize);
        let (mean, mean_of) = match (mean_tokens, measured_length(&recipe.run)) {
            (Some(tokens), _) => (Lengths::mean(&planned.train, tokens), "as --mean-tokens says".to_owned()),
            (None, Some((step, tokens))) => (
                Lengths::mean(&planned.train, tokens),
                format!("as in step {step} of {}", recipe.run.display()),
            ),
            (None, None) => {
                let text = "the longest, for nobody knows better: say --mean-tokens, or run a step";
                (Lengths::mean(&planned.train, longest.completion as f64), text.to_owned())
            }
        };
        let on_host = !device.is_cuda();
        Ok(Report {
            bound: (longest, Plan::of(planned, longest)?),
            estimate: (mean, Plan::of(planned, mean)?),
            mean_of,
            device: DeviceMemory::of(device),
            program: resident_bytes().filter(|_| on_host).unwrap_or(0),
            sandbox: if on_host { sandbox_bytes(recipe) } else { 0 },
            snapshot: planned.snapshot_bytes() as u64,
        })
    }

    /// Most bytes that the run may need of the device.
    pub fn needed(&self) -> u64 {
        self.bound.1.peak().footprint.total() as u64 + self.program + self.sandbox
    }

    /// Whether the run fits; also if nobody knows how much memory there is.
    pub fn fits(&self) -> bool {
        self.device.limit.is_none_or(|limit| self.needed() <= limit)
    }
}

/// The network of a critic with a trunk of its own.
fn trunk(recipe: &Recipe) -> Result<Option<Architecture>, PolicyError> {
    let separate = recipe.algorithm.advantage.needs_critic() && recipe.critic.kind == CriticKind::Separate;
    let folder = recipe.critic.path.as_ref().unwrap_or(&recipe.model.path);
    separate.then(|| Architecture::in_folder(folder)).transpose()
}

/// The step of the run in `folder` whose attempts were longest, and their mean length, if there is one.
fn measured_length(folder: &Path) -> Option<(u64, f64)> {
    let text = std::fs::read_to_string(folder.join(METRICS_FILE)).ok()?;
    let of_line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some((line["step"].as_u64()?, line["completions/mean_length"].as_f64()?))
    };
    text.lines().filter_map(of_line).max_by(|one, other| one.1.total_cmp(&other.1))
}

/// Most bytes that the programs of all workers may take together.
fn sandbox_bytes(recipe: &Recipe) -> u64 {
    if recipe.executor.remote.is_some() {
        return 0;
    }
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let workers = recipe.executor.workers.map_or_else(cores, std::num::NonZeroUsize::get);
    workers as u64 * recipe.executor.limits.memory_bytes() as u64
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bound, estimate) = (self.bound.1.peak(), self.estimate.1.peak());
        let row = |f: &mut fmt::Formatter<'_>, name: &str, bound: u64, estimate: u64| {
            writeln!(f, "  {name:<22} {:>12} {:>12}", size(bound), size(estimate))
        };
        writeln!(f, "{:<24} {:>12} {:>12}", "peak by class", "bound", "estimate")?;
        for class in Class::ALL {
            let of = |phase: Phase| phase.footprint[class] as u64;
            if of(bound) + of(estimate) > 0 {
                row(f, &class.to_string(), of(bound), of(estimate))?;
            }
        }
        row(f, "together", bound.footprint.total() as u64, estimate.footprint.total() as u64)?;
        writeln!(f, "\npeak by phase")?;
        for (bound, estimate) in self.bound.1.phases.iter().zip(&self.estimate.1.phases) {
            let total = |phase: &Phase| phase.footprint.total() as u64;
            row(f, bound.name, total(bound), total(estimate))?;
        }
        for (name, (lengths, plan)) in [("bound", &self.bound), ("estimate", &self.estimate)] {
            let Lengths { prompt, completion } = lengths;
            let pack = plan.pack.tokens;
            writeln!(
                f,
                "\n{name}: prompts of {prompt} tokens, completions of {completion}, {pack} tokens in a pack"
            )?;
        }
        writeln!(f, "  {}", self.mean_of)?;
        writeln!(
            f,
            "\nthe program itself {}, programs in the sandbox up to {}",
            size(self.program),
            size(self.sandbox)
        )?;
        writeln!(
            f,
            "a checkpoint that is still being written when an update begins: up to {} more of the host's memory; where less than \
             twice as much is free, the run waits for the disk instead",
            size(self.snapshot)
        )?;
        let needed = size(self.needed());
        match self.device.limit {
            Some(limit) => {
                let verdict = if self.fits() { "fits into" } else { "does not fit into" };
                write!(f, "{needed} at most {verdict} {} ({})", size(limit), self.device.source)?;
            }
            None => write!(f, "{needed} at most; how much there is, the system does not tell")?,
        }
        match self.device.free {
            Some(free) if self.fits() && self.needed() > free => {
                write!(f, "\nwarning: only {} are free now", size(free))
            }
            Some(free) => write!(f, "; {} are free now", size(free)),
            None => Ok(()),
        }
    }
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 10_000.0 {
        format!("{mebibytes:.1} MiB")
    } else {
        format!("{:.1} GiB", mebibytes / 1024.0)
    }
}
