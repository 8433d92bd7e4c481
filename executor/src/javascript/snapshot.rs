//! QuickJS, started and ready: the module is rewritten so that every instance begins there.

use std::borrow::Cow;

use wasm_encoder::{ConstExpr, DataSection, MemorySection, MemoryType, Module as Encoder, RawSection};
use wasmparser::{Parser, Payload};
use wasmtime::{Engine, Module, Store};

use super::callbacks::{self, HOST_FUNCTIONS};
use super::guest::{Guest, INTERNALS, PRELUDE_NAME, Source, infra};
use crate::files::Files;
use crate::guest::Broken;
use crate::sandbox::{Ledger, Sandbox};
use crate::world::World;
use crate::{InfraError, Limits};

/// Changes when the snapshot does: part of the key under which compiled modules are kept.
pub(crate) const REVISION: u32 = 1;

/// Parts of the prelude: functions that give what the next part uses.
const ASSERT: &str = include_str!("assert.js");
const CONSOLE: &str = include_str!("console.js");
const NODE: &str = include_str!("node.js");

/// Everything that the snapshot depends on besides the module.
pub(crate) fn sources() -> String {
    [ASSERT, CONSOLE, NODE].concat()
}

/// Size of a page of WebAssembly.
const PAGE: usize = 65_536;

/// Zeros between two runs of bytes that are worth a segment of their own.
const GAP: usize = 256;

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

/// The module with this content of its memory from the start.
fn rewrite(wasm: &[u8], memory: &[u8]) -> Result<Vec<u8>, String> {
    let mut rewritten = Encoder::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|error| error.to_string())?;
        match payload {
            Payload::MemorySection(section) => {
                let mut memories = MemorySection::new();
                for kind in section {
                    let kind = kind.map_err(|error| error.to_string())?;
                    let minimum = (memory.len() / PAGE) as u64;
                    memories.memory(MemoryType {
                        minimum,
                        maximum: kind.maximum,
                        memory64: kind.memory64,
                        shared: kind.shared,
                        page_size_log2: kind.page_size_log2,
                    });
                }
                rewritten.section(&memories);
            }
            Payload::DataSection(_) => {
                let mut data = DataSection::new();
                for (at, bytes) in runs(memory) {
                    data.active(0, &ConstExpr::i32_const(at as i32), bytes.iter().copied());
                }
                rewritten.section(&data);
            }
            // Without passive segments, what they count is not needed.
            Payload::DataCountSection { .. } => {}
            Payload::CustomSection(_) | Payload::CodeSectionEntry(_) => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    let data = wasm.get(range).ok_or("a section lies outside the module")?;
                    rewritten.section(&RawSection { id, data });
                }
            }
        }
    }
    Ok(rewritten.finish())
}

/// Runs of bytes between long stretches of zeros, with their addresses.
fn runs(memory: &[u8]) -> Vec<(usize, Cow<'_, [u8]>)> {
    let mut runs = Vec::new();
    let mut at = 0;
    while let Some(start) = memory[at..].iter().position(|byte| *byte != 0).map(|offset| at + offset) {
        let mut end = start + 1;
        let mut zeros = 0;
        while end + zeros < memory.len() && zeros < GAP {
            if memory[end + zeros] == 0 {
                zeros += 1;
            } else {
                end += zeros + 1;
                zeros = 0;
            }
        }
        runs.push((start, Cow::Borrowed(&memory[start..end])));
        at = end;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_hold_every_byte_that_is_not_zero(lengths in proptest::collection::vec((0_usize..600, any::<u8>()), 0..12)) {
            let memory: Vec<u8> = lengths.iter().flat_map(|(length, byte)| vec![*byte; *length]).collect();
            let mut again = vec![0; memory.len()];
            for (at, bytes) in runs(&memory) {
                again[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            prop_assert_eq!(again, memory);
        }
    }
}
