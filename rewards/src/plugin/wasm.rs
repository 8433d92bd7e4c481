//! A plug-in that is a WebAssembly component: `rewards/wit/reward.wit` is its interface.
//!
//! It runs in this process, in a sandbox of wasmtime's, and sees nothing but its arguments and the files that the recipe grants it:
//! no network, no clock, no randomness, so that the same attempt scores the same everywhere.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use rayon::prelude::*;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker, TypedFunc};
use wasmtime::{Config, Engine, OptLevel, Store, StoreContextMut, StoreLimits, StoreLimitsBuilder, Trap};

use super::protocol::{check_range, shown};
use super::{PlugIn, PlugInError, PlugInScore, range};
use crate::Attempt;
use crate::term::reward_config;

mod files;
mod interface;

use files::Granted;
use interface::SeenAttempt;

reward_config! {
    /// `[rewards.wasm.NAME]`: a WebAssembly component of your own that scores attempts, built in any language against
    /// `rewards/wit/reward.wit`. It sees its arguments and what `files` grants, and nothing else: no network, no clock. `rltrain reward
    /// new NAME --kind wasm` writes one.
    ///
    /// An attempt for which it traps, reports an error or gives no number of its range is lost, as if the sandbox had failed.
    pub struct WasmConfig for "wasm" {
        /// The component; a relative path is relative to the recipe. Not empty.
        pub component: PathBuf = PathBuf::new(),
        /// Files and folders that it may read, each by the last name of its path: `words.txt`, or `data/words.txt` in a folder `data`.
        /// Relative paths are relative to the recipe. Default `[]`. It has to be built for the world `plug-in-with-files`.
        pub files: Vec<PathBuf> = Vec::new(),
        /// Fuel for one attempt, about one unit per instruction and one per byte read from a file, at least 1. Default 1000000000.
        pub fuel: u64 = 1_000_000_000,
        /// Most memory of one instance, in MiB, at least 1. Default 256.
        pub memory_mib: u32 = 256,
        /// The least that it may score. Default -1.
        pub least: f64 = -1.0,
        /// The most that it may score. Default 1.
        pub greatest: f64 = 1.0,
    }
}

/// The interface, and the function in it.
const INTERFACE: &str = "rltrain:reward/reward@1.0.0";
const FUNCTION: &str = "score";

/// The interface that a component with granted files imports, and the function in it.
const FILES: &str = "rltrain:reward/files@1.0.0";
const READ: &str = "read";

/// Stack of a component, in bytes: half of what a thread of rayon's has.
const STACK_BYTES: usize = 1 << 20;

/// A component, compiled when it is first needed.
pub struct Wasm {
    config: WasmConfig,
    granted: Granted,
    range: RangeInclusive<f64>,
    loaded: OnceLock<Result<Loaded, PlugInError>>,
    /// Instances that nobody uses just now: as many as ever worked side by side.
    idle: Mutex<Vec<Instance>>,
}

impl Wasm {
    pub(crate) fn new(config: &WasmConfig) -> Result<Self, String> {
        if config.component.as_os_str().is_empty() {
            return Err("`component` is empty, wanted a file, such as \"short_lines.wasm\"".to_owned());
        }
        if config.fuel == 0 {
            return Err("`fuel` is 0, wanted at least 1".to_owned());
        }
        if config.memory_mib == 0 {
            return Err("`memory_mib` is 0, wanted at least 1".to_owned());
        }
        Ok(Self {
            config: config.clone(),
            granted: Granted::new(&config.files, u64::from(config.memory_mib) << 20)?,
            range: range(config.least, config.greatest)?,
            loaded: OnceLock::new(),
            idle: Mutex::new(Vec::new()),
        })
    }

    fn loaded(&self) -> Result<&Loaded, PlugInError> {
        let loaded = self.loaded.get_or_init(|| {
            Loaded::load(&self.config, &self.granted).map_err(|message| PlugInError::Start {
                command: self.config.component.display().to_string(),
                message,
            })
        });
        loaded.as_ref().map_err(Clone::clone)
    }

    /// Scores one attempt with an instance, which is made if there is none and thrown away if it fails.
    fn score_one(&self, loaded: &Loaded, slot: &mut Option<Instance>, attempt: &Attempt<'_>) -> PlugInScore {
        let instance = match slot {
            Some(instance) => instance,
            None => slot.insert(loaded.instance(&self.config).map_err(trapped)?),
        };
        let answer = instance.call(self.config.fuel, attempt);
        let score = match answer {
            Ok(Ok(score)) => score,
            Ok(Err(error)) => return Err(PlugInError::Reported(shown(&error))),
            Err(error) => {
                *slot = None;
                return Err(trapped(error));
            }
        };
        check_range(&[score], &self.range)?;
        Ok(score)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Instance>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn trapped(error: wasmtime::Error) -> PlugInError {
    // The chain says what was done when it happened; its root is what happened.
    PlugInError::Trapped(error.root_cause().to_string())
}

impl PlugIn for Wasm {
    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<PlugInScore> {
        // Here and not below: it is compiled by the threads that would wait for it.
        let loaded = match self.loaded() {
            Ok(loaded) => loaded,
            Err(error) => return attempts.iter().map(|_| Err(error.clone())).collect(),
        };
        let lane = || Lane { plug_in: self, instance: self.idle().pop() };
        attempts
            .par_iter()
            .map_init(lane, |lane, attempt| self.score_one(loaded, &mut lane.instance, attempt))
            .collect()
    }
}

/// Work on some of the attempts; its instance is idle afterwards.
struct Lane<'a> {
    plug_in: &'a Wasm,
    instance: Option<Instance>,
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        self.plug_in.idle().extend(self.instance.take());
    }
}

/// A compiled component.
struct Loaded {
    engine: Engine,
    component: InstancePre<Memory>,
    score: ComponentExportIndex,
}

/// What an instance may hold.
struct Memory {
    limits: StoreLimits,
}

impl Loaded {
    fn load(config: &WasmConfig, granted: &Granted) -> Result<Self, String> {
        let engine = engine().map_err(|error| format!("{error:#}"))?;
        let component =
            Component::from_file(&engine, &config.component).map_err(|error| format!("{error:#}"))?;
        check_imports(&engine, &component, granted)?;
        let interface = component.get_export_index(None, INTERFACE);
        let score = interface.and_then(|interface| component.get_export_index(Some(&interface), FUNCTION));
        let score = score.ok_or_else(|| {
            format!(
                "it has no `{FUNCTION}` of the interface `{INTERFACE}`: build it with rewards/wit/reward.wit"
            )
        })?;
        let linker = linker(&engine, granted).map_err(|error| format!("{error:#}"))?;
        let component = linker.instantiate_pre(&component).map_err(|error| format!("{error:#}"))?;
        let loaded = Self { engine, component, score };
        // Whether the types are the same is known from the first instance on.
        loaded.instance(config).map_err(|error| format!("{error:#}"))?;
        Ok(loaded)
    }

    fn instance(&self, config: &WasmConfig) -> wasmtime::Result<Instance> {
        let bytes = usize::try_from(config.memory_mib)? << 20;
        let limits = StoreLimitsBuilder::new().memory_size(bytes).build();
        let mut store = Store::new(&self.engine, Memory { limits });
        store.limiter(|memory| &mut memory.limits);
        store.set_fuel(config.fuel)?;
        let instance = self.component.instantiate(&mut store)?;
        let score = instance.get_typed_func(&mut store, self.score);
        let score = score.map_err(|error| {
            error.context("its `score` takes or gives something else than rewards/wit/reward.wit says")
        })?;
        Ok(Instance { store, score })
    }
}

/// That a component imports files if it is granted any, and nothing else.
fn check_imports(engine: &Engine, component: &Component, granted: &Granted) -> Result<(), String> {
    let ty = component.component_type();
    let (files, others): (Vec<&str>, Vec<&str>) =
        ty.imports(engine).map(|(name, _)| name).partition(|name| *name == FILES);
    if !others.is_empty() {
        let others: Vec<String> = others.iter().map(|name| format!("`{name}`")).collect();
        return Err(format!(
            "it wants {}, and a reward is given nothing but files: build it without (with componentize-py, `--stub-wasi`)",
            others.join(", ")
        ));
    }
    match (granted.is_empty(), files.is_empty()) {
        (true, false) => {
            Err(format!("it wants `{FILES}`, and the recipe grants it none: name them in `files`"))
        }
        (false, true) => {
            Err("`files` grants it some, and it reads none: take the key out, or build it for the world \
                              `plug-in-with-files`"
                .to_owned())
        }
        _ => Ok(()),
    }
}

/// What a component may import: the files that it is granted. A byte that it reads costs a unit of fuel.
fn linker(engine: &Engine, granted: &Granted) -> wasmtime::Result<Linker<Memory>> {
    let mut linker = Linker::new(engine);
    let granted = granted.clone();
    let read = move |mut store: StoreContextMut<'_, Memory>, (name,): (String,)| {
        let content = granted.read(&name);
        let cost = content.as_ref().map_or(0, |content| content.len() as u64);
        let left = store.get_fuel()?.checked_sub(cost).ok_or(Trap::OutOfFuel)?;
        store.set_fuel(left)?;
        Ok((content,))
    };
    linker.instance(FILES)?.func_wrap(READ, read)?;
    Ok(linker)
}

/// The same computation gives the same bits on every machine, and takes the same fuel.
fn engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .consume_fuel(true)
        .max_wasm_stack(STACK_BYTES);
    Engine::new(&config)
}

type Score = TypedFunc<(SeenAttempt,), (Result<Option<f64>, String>,)>;

/// An instance of a component, used by one thread at a time.
struct Instance {
    store: Store<Memory>,
    score: Score,
}

impl Instance {
    fn call(&mut self, fuel: u64, attempt: &Attempt<'_>) -> wasmtime::Result<Result<Option<f64>, String>> {
        self.store.set_fuel(fuel)?;
        let seen = SeenAttempt::of(attempt);
        let (answer,) = self.score.call(&mut self.store, (seen,))?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests;
