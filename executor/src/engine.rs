//! How wasmtime is set up: the same for compiling and for running.

use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use wasmtime::{Config, Engine, Module, OptLevel};

use crate::InfraError;
use crate::interpreter_memory::{Creator, GUARD_BYTES, InterpreterMemory, RESERVED_BYTES};

/// Stack that a program may use inside the sandbox. Deeper recursion is a stack overflow.
pub(crate) const WASM_STACK_BYTES: usize = 8 << 20;

/// Stack of the thread that runs programs: theirs, and plenty for the host functions that they call.
pub(crate) const HOST_STACK_BYTES: usize = 64 << 20;

/// An engine with fuel and epochs, whose instances get one of `memories` each. One without is for compiling.
///
/// Fuel makes the time limit exact and repeatable; an epoch, advanced by the watchdog, stops what fuel does not see.
pub(crate) fn engine(memories: Vec<InterpreterMemory>) -> Result<Engine, InfraError> {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .consume_fuel(true)
        .epoch_interruption(true)
        // CPython's `setjmp` is compiled to exceptions.
        .wasm_exceptions(true)
        // The same program computes the same bits on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .generate_address_map(false)
        .wasm_backtrace_max_frames(None)
        .native_unwind_info(false)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(WASM_STACK_BYTES + (2 << 20))
        .memory_reservation(RESERVED_BYTES as u64)
        .memory_guard_size(GUARD_BYTES as u64);
    if !memories.is_empty() {
        config.with_host_memory(Arc::new(Creator::new(memories)));
    }
    Engine::new(&config).map_err(|error| InfraError::Engine(format!("{error:#}")))
}

/// Loads what the module cache has compiled.
#[expect(unsafe_code, reason = "compiled code is trusted: that is what the module cache is for")]
pub(crate) fn load(engine: &Engine, module: &Path) -> wasmtime::Result<Module> {
    // SAFETY: the hash of this file was checked by the parent, which keeps it in a folder that nobody else may write to.
    unsafe { Module::deserialize_file(engine, module) }
}

/// What compiled code depends on besides its source: version of wasmtime, settings, processor features.
pub(crate) fn fingerprint(engine: &Engine) -> blake3::Hash {
    let mut hasher = Blake3Hasher(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize()
}

/// Feeds `std::hash::Hash` into BLAKE3, whose result is the same in every process.
struct Blake3Hasher(blake3::Hasher);

impl Hasher for Blake3Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }
}
