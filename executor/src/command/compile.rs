//! From a program's text to a module that can be run, within bounds.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use wasmparser::{Parser, Payload, TypeRef};
use wasmtime::{Config, Engine, InstancePre, Module, OptLevel};

use crate::engine::WASM_STACK_BYTES;
use crate::sandbox::Sandbox;
use crate::shim::{self, WASI};
use crate::{Cause, Ending, InfraError, Outcome};

/// Bytes of a module: what its compilation can cost stays bounded.
const MOST_BYTES: usize = 4 << 20;
/// Bytes of one function: some steps of compiling take more than linear time in it.
const MOST_FUNCTION_BYTES: usize = 256 << 10;
/// Functions of a module, and local variables of them all.
const MOST_FUNCTIONS: u32 = 20_000;
const MOST_LOCALS: u64 = 1_000_000;
/// Tables of a module: each has a size of its own.
const MOST_TABLES: u32 = 4;

/// Name of the function that a command starts with.
pub(super) const START: &str = "_start";

/// An engine that compiles to bytecode and interprets it: nothing becomes executable.
pub(crate) fn engine() -> Result<Engine, InfraError> {
    let mut config = Config::new();
    config
        .target("pulley64")
        .map_err(|error| InfraError::Engine(format!("{error:#}")))?
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(false)
        // Without epochs, which cost an interpreter much: fuel ends every loop, and the watchdog ends the worker.
        .consume_fuel(true)
        // The same program computes the same bits on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        // One memory, so that its limit is the program's.
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_exceptions(true)
        .generate_address_map(false)
        .wasm_backtrace_max_frames(None)
        .native_unwind_info(false)
        // Content is copied: a file in memory to map it from is a system call that the worker has given up.
        .memory_init_cow(false)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(WASM_STACK_BYTES + (2 << 20));
    Engine::new(&config).map_err(|error| InfraError::Engine(format!("{error:#}")))
}

/// Compiles a program: text that begins with `(module`, or a binary module in base64.
pub(super) fn compile(engine: &Engine, program: &str) -> Result<InstancePre<Sandbox>, Ending> {
    let wasm = read(program)?;
    check(&wasm)?;
    let module = Module::new(engine, &wasm).map_err(|error| refused(format!("{error:#}")))?;
    let is_command = module.get_export(START).is_some_and(|export| {
        export.func().is_some_and(|kind| kind.params().len() == 0 && kind.results().len() == 0)
    });
    if !is_command || module.get_export("memory").is_none_or(|export| export.memory().is_none()) {
        return Err(refused(format!(
            "the module exports no function `{START}` without parameters and results, or no memory `memory`"
        )));
    }
    let linker = shim::linker(engine, &module).map_err(|error| refused(format!("{error:#}")))?;
    linker.instantiate_pre(&module).map_err(|error| refused(format!("{error:#}")))
}

fn read(program: &str) -> Result<Vec<u8>, Ending> {
    let program = program.trim();
    if program.starts_with("(module") {
        return wat::parse_str(program).map_err(|error| refused(error.to_string()));
    }
    let digits: Vec<u8> = program.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64_STANDARD.decode(&digits).map_err(|error| {
        refused(format!("the program is neither text that begins with `(module` nor base64: {error}"))
    })
}

/// The program that a binary WebAssembly module is, as a [`Job`](crate::Job) holds it; `None` if the bytes are no such module.
pub fn module_as_text(bytes: &[u8]) -> Option<String> {
    bytes.starts_with(b"\0asm").then(|| BASE64_STANDARD.encode(bytes))
}

/// Refuses what could take long to compile, before it is compiled.
fn check(wasm: &[u8]) -> Result<(), Ending> {
    bound("bytes", wasm.len() as u64, MOST_BYTES as u64)?;
    let mut locals = 0_u64;
    let malformed = |error: wasmparser::BinaryReaderError| refused(error.to_string());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(malformed)? {
            Payload::FunctionSection(section) => {
                bound("functions", section.count().into(), MOST_FUNCTIONS.into())?;
            }
            Payload::TableSection(section) => bound("tables", section.count().into(), MOST_TABLES.into())?,
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(malformed)?;
                    if import.module != WASI || !matches!(import.ty, TypeRef::Func(_)) {
                        return Err(refused(format!(
                            "the module imports `{}` from `{}`, wanted only functions of `{WASI}`",
                            import.name, import.module
                        )));
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                bound("bytes of one function", body.range().len() as u64, MOST_FUNCTION_BYTES as u64)?;
                for group in body.get_locals_reader().map_err(malformed)? {
                    locals += u64::from(group.map_err(malformed)?.0);
                }
                bound("local variables", locals, MOST_LOCALS)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn bound(what: &str, found: u64, most: u64) -> Result<(), Ending> {
    if found <= most {
        Ok(())
    } else {
        Err(refused(format!("the module has {found} {what}, wanted at most {most}")))
    }
}

fn refused(message: String) -> Ending {
    Ending::because(Outcome::SyntaxError, Cause::Note(message))
}
