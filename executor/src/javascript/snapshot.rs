//! QuickJS, started and ready: the module is rewritten so that every instance begins there.

use wasmtime::{Engine, Module, Store};

use super::callbacks::{self, HOST_FUNCTIONS};
use super::guest::{Guest, INTERNALS, PRELUDE_NAME, Source, infra};
use crate::files::Files;
use crate::guest::Broken;
use crate::memory_image::rewrite;
use crate::sandbox::{Ledger, Sandbox};
use crate::world::World;
use crate::{InfraError, Limits};

/// Parts of the prelude: functions that give what the next part uses.
const ASSERT: &str = include_str!("assert.js");
const CONSOLE: &str = include_str!("console.js");
const NODE: &str = include_str!("node.js");

/// Everything that the snapshot depends on besides the module.
pub(crate) fn sources() -> String {
    [ASSERT, CONSOLE, NODE].concat()
}

/// The module with QuickJS started, the prelude run, and its memory as it is then.
pub(crate) fn take(engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>, InfraError> {
    let broken = |error: wasmtime::Error| InfraError::Engine(format!("{error:#}"));
    let module = Module::new(engine, wasm).map_err(broken)?;
    let linker = callbacks::linker(engine, &module).map_err(broken)?;
    let world = World::of_command([], [], Files::default());
    let limits = Limits::default();
    let mut store = Store::new(engine, Sandbox::new(world, limits, Ledger::default()));
    store.limiter(|sandbox| sandbox);
    store.set_epoch_deadline(1);
    store.set_fuel(limits.fuel.get()).map_err(broken)?;
    let instance = linker.instantiate(&mut store, &module).map_err(broken)?;
    let mut guest = Guest::set_up(store, &instance).map_err(broken)?;
    run_prelude(&mut guest).map_err(|broken| match broken {
        Broken::Infra(error) => error,
        Broken::Program(outcome) => InfraError::Engine(format!("the prelude of JavaScript: {outcome}")),
    })?;
    rewrite(wasm, guest.memory.data(&guest.store)).map_err(InfraError::Engine)
}

fn run_prelude(guest: &mut Guest) -> Result<(), Broken> {
    let host = guest.new_host_object(&HOST_FUNCTIONS)?;
    let part = |source: &str| {
        source[source.find("(function").unwrap_or(0)..].trim_end().trim_end_matches(';').to_owned()
    };
    let source = format!(
        "(function (host) {{ const assert = {}(); const text = {}(host.write); const node = {}(host, assert, text); \
         return {{ ...assert, ...node, objectPrototype: Object.prototype }}; }})",
        part(ASSERT),
        part(CONSOLE),
        part(NODE)
    );
    let function = present(guest.evaluate(&source, PRELUDE_NAME, Source::Script)?, "its source")?;
    let internals = present(guest.call(function, &[host])?, "its run")?;
    for (index, name) in INTERNALS.iter().enumerate() {
        match guest.named(internals, name)? {
            Ok(value) => guest.table.values[index] = value,
            Err(()) => return Err(infra(wasmtime::Error::msg(format!("the prelude gives no `{name}`")))),
        }
    }
    guest.keep_table()
}

fn present<T>(ran: Result<T, crate::Ending>, what: &str) -> Result<T, Broken> {
    ran.map_err(|ending| {
        let why = ending.cause.map_or_else(String::new, |cause| cause.to_string());
        infra(wasmtime::Error::msg(format!("the prelude of JavaScript, {what}: {why}")))
    })
}
