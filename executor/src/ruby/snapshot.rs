//! CRuby, started and ready: the module is rewritten so that every instance begins there.

use wasmtime::{Engine, Module, Store};

use super::guest::{self, Guest};
use crate::files::Files;
use crate::guest::Broken;
use crate::memory_image::rewrite;
use crate::sandbox::{Ledger, Sandbox};
use crate::world::World;
use crate::{InfraError, Limits};

const PRELUDE: &str = include_str!("prelude.rb");

/// Everything that the picture depends on besides the module.
pub(crate) fn sources() -> String {
    PRELUDE.to_owned()
}

/// The module with Ruby started, the prelude run, and its memory as it is then.
pub(crate) fn take(engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>, InfraError> {
    let failed = |error: wasmtime::Error| InfraError::Engine(format!("Ruby does not start: {error:#}"));
    let module = Module::new(engine, wasm).map_err(failed)?;
    let linker = guest::linker(engine, &module).map_err(failed)?;
    let world = World::of_command([], [], Files::default());
    let limits = Limits::default();
    let mut store = Store::new(engine, Sandbox::new(world, limits, Ledger::default()));
    store.limiter(|sandbox| sandbox);
    store.set_epoch_deadline(1);
    store.set_fuel(limits.fuel.get()).map_err(failed)?;
    let instance = linker.instantiate(&mut store, &module).map_err(failed)?;
    let prepared = Guest::set_up(store, &instance).and_then(|mut guest| {
        let done = guest.evaluate(&format!("{PRELUDE}\n\"done\""))?;
        Ok((guest, done))
    });
    match prepared {
        Ok((guest, Some(_))) => rewrite(wasm, guest.memory.data(&guest.store)).map_err(InfraError::Engine),
        Ok((_, None)) => Err(InfraError::Engine("the prelude of Ruby raises an exception".to_owned())),
        Err(Broken::Infra(error)) => Err(error),
        Err(Broken::Program(outcome)) => Err(InfraError::Engine(format!("Ruby does not start: {outcome}"))),
    }
}
