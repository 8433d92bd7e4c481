//! How wasmtime is set up: the same for compiling and for running.

use std::hash::{Hash, Hasher};

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::{InfraError, MemoryMib};

/// Stack that a program may use inside the sandbox. Deeper recursion is a stack overflow.
pub(crate) const WASM_STACK_BYTES: usize = 8 << 20;

/// Stack of the thread that runs programs: theirs, and plenty for the host functions that they call.
pub(crate) const HOST_STACK_BYTES: usize = 64 << 20;

/// An engine with fuel, epochs and copy-on-write instances.
///
/// Fuel makes the time limit exact and repeatable; an epoch, advanced by the watchdog, stops what fuel does not see.
pub(crate) fn engine() -> Result<Engine, InfraError> {
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
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(1 << 30)
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    Engine::new(&config).map_err(|error| InfraError::Engine(format!("{error:#}")))
}

/// Slots for two instances: the program's, and one for what the task brings along. Pages that most programs touch are kept and reset, not given back
/// to the kernel, which is most of the cost of a start.
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(2)
        // The second of each is the heap of exceptions.
        .total_memories(4)
        .total_tables(2)
        .max_core_instance_size(4 << 20)
        .max_memory_size((MemoryMib::MOST as usize) << 20)
        .table_elements(100_000)
        .linear_memory_keep_resident(20 << 20)
        .table_keep_resident(1 << 20)
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(2)
        .decommit_batch_size(1);
    pool
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
