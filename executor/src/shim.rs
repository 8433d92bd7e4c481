//! The system interface of a program: WASI preview 1, closed.
//!
//! Everything that a program can do to the outside is in this file and in [`crate::shim_files`]: write to stdout and stderr,
//! which are captured; read a clock and random numbers, which are the same for every program; read what its world holds,
//! which are arguments, stdin and files. All other calls of the interface return "not supported" and are counted.

use wasmtime::{Caller, Engine, ExternType, Linker, Module, Val, ValType};

use crate::sandbox::{Sandbox, Stopped, charge, clock};
use crate::shim_files;

/// Name of the interface's module.
pub(crate) const WASI: &str = "wasi_snapshot_preview1";

/// Error numbers of the interface.
pub(crate) mod errno {
    pub(crate) const SUCCESS: i32 = 0;
    pub(crate) const BADF: i32 = 8;
    pub(crate) const FAULT: i32 = 21;
    pub(crate) const INVAL: i32 = 28;
    pub(crate) const ISDIR: i32 = 31;
    pub(crate) const MFILE: i32 = 33;
    pub(crate) const NOENT: i32 = 44;
    pub(crate) const NOSYS: i32 = 52;
    pub(crate) const NOTDIR: i32 = 54;
    pub(crate) const ROFS: i32 = 69;
    pub(crate) const SPIPE: i32 = 70;
}

/// Bytes of a program's memory, checked.
pub(crate) struct Bytes<'a>(pub(crate) &'a mut [u8]);

impl Bytes<'_> {
    /// `size` bytes at `at`.
    pub(crate) fn slice(&mut self, at: u32, size: u32) -> Option<&mut [u8]> {
        let start = at as usize;
        self.0.get_mut(start..start.checked_add(size as usize)?)
    }

    /// The number at `at`.
    pub(crate) fn number(&mut self, at: u32) -> Option<u32> {
        Some(u32::from_le_bytes(self.slice(at, 4)?.try_into().ok()?))
    }

    /// Writes `bytes` at `at`.
    pub(crate) fn put(&mut self, at: u32, bytes: &[u8]) -> Option<()> {
        self.slice(at, u32::try_from(bytes.len()).ok()?)?.copy_from_slice(bytes);
        Some(())
    }

    /// The `index`th buffer of the list at `list`: address and size.
    pub(crate) fn buffer(&mut self, list: u32, index: u32) -> Option<(u32, u32)> {
        let entry = list.checked_add(index.checked_mul(8)?)?;
        Some((self.number(entry)?, self.number(entry.checked_add(4)?)?))
    }
}

/// The memory and the state of the calling instance.
pub(crate) fn split<'a>(
    caller: &'a mut Caller<'_, Sandbox>,
) -> wasmtime::Result<(Bytes<'a>, &'a mut Sandbox)> {
    let memory =
        caller.data().memory.ok_or_else(|| wasmtime::Error::msg("called before there is a memory"))?;
    let (bytes, sandbox) = memory.data_and_store_mut(caller);
    Ok((Bytes(bytes), sandbox))
}

/// An error number for an answer that may lie outside the program's memory.
pub(crate) fn answer(written: Option<()>) -> i32 {
    if written.is_some() { errno::SUCCESS } else { errno::FAULT }
}

/// All imports of `module`, closed.
pub(crate) fn linker(engine: &Engine, module: &Module) -> wasmtime::Result<Linker<Sandbox>> {
    let mut linker = Linker::new(engine);
    refuse_all(&mut linker, module)?;
    linker.allow_shadowing(true);
    add_streams(&mut linker)?;
    add_clocks(&mut linker)?;
    add_surroundings(&mut linker)?;
    shim_files::add(&mut linker)?;
    Ok(linker)
}

fn add_streams(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    let write = |mut caller: Caller<'_, Sandbox>, descriptor: i32, list: i32, count: i32, written: i32| {
        if descriptor != 1 && descriptor != 2 {
            return Ok(errno::BADF);
        }
        let mut total = 0_u32;
        for index in 0..count.cast_unsigned() {
            let Some((at, size)) = split(&mut caller)?.0.buffer(list.cast_unsigned(), index) else {
                return Ok(errno::FAULT);
            };
            charge(&mut caller, size)?;
            let (mut bytes, sandbox) = split(&mut caller)?;
            let Some(text) = bytes.slice(at, size) else { return Ok(errno::FAULT) };
            sandbox.write(descriptor == 2, text)?;
            total = total.saturating_add(size);
        }
        Ok(answer(split(&mut caller)?.0.put(written.cast_unsigned(), &total.to_le_bytes())))
    };
    linker.func_wrap(WASI, "fd_write", write)?;
    Ok(())
}

fn add_clocks(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.func_wrap(WASI, "clock_res_get", |mut caller: Caller<'_, Sandbox>, _: i32, result: i32| {
        wasmtime::Result::Ok(answer(split(&mut caller)?.0.put(result.cast_unsigned(), &1_u64.to_le_bytes())))
    })?;
    let time = |mut caller: Caller<'_, Sandbox>, id: i32, _: i64, result: i32| {
        let now = clock(&caller, id == 0)?;
        wasmtime::Result::Ok(answer(split(&mut caller)?.0.put(result.cast_unsigned(), &now.to_le_bytes())))
    };
    linker.func_wrap(WASI, "clock_time_get", time)?;
    linker.func_wrap(WASI, "sched_yield", |_: Caller<'_, Sandbox>| errno::SUCCESS)?;
    let poll = |mut caller: Caller<'_, Sandbox>, input: i32, output: i32, count: i32, happened: i32| {
        const KIND_OF_EVENT: usize = 10;
        let Some(first) = soonest(&mut caller, input.cast_unsigned(), count.cast_unsigned())? else {
            return Ok(errno::INVAL);
        };
        let (mut bytes, sandbox) = split(&mut caller)?;
        sandbox.sleep(first.wait)?;
        let mut event = [0; 32];
        event[..8].copy_from_slice(&first.tag);
        event[KIND_OF_EVENT] = first.kind;
        let written = bytes.put(output.cast_unsigned(), &event);
        wasmtime::Result::Ok(answer(
            written.and_then(|()| bytes.put(happened.cast_unsigned(), &1_u32.to_le_bytes())),
        ))
    };
    linker.func_wrap(WASI, "poll_oneoff", poll)?;
    Ok(())
}

/// An event that a program waits for.
struct Awaited {
    /// Nanoseconds until it happens.
    wait: u64,
    /// What the program knows it by.
    tag: [u8; 8],
    /// Clock, reading or writing.
    kind: u8,
}

/// Which of the awaited events comes first. Streams are always ready.
fn soonest(caller: &mut Caller<'_, Sandbox>, input: u32, count: u32) -> wasmtime::Result<Option<Awaited>> {
    const SUBSCRIPTION: u32 = 48;
    let mut first: Option<Awaited> = None;
    for index in 0..count {
        let at = input.wrapping_add(index.wrapping_mul(SUBSCRIPTION));
        let mut subscription = [0; SUBSCRIPTION as usize];
        match split(caller)?.0.slice(at, SUBSCRIPTION) {
            Some(bytes) => subscription.copy_from_slice(bytes),
            None => return Ok(None),
        }
        let field = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&subscription[at..at + 8]);
            bytes
        };
        let (is_clock, is_realtime, is_absolute) =
            (subscription[8] == 0, subscription[16] == 0, subscription[40] & 1 == 1);
        let timeout = u64::from_le_bytes(field(24));
        let wait = match (is_clock, is_absolute) {
            (false, _) => 0,
            (true, false) => timeout,
            (true, true) => timeout.saturating_sub(clock(caller, is_realtime)?),
        };
        if first.as_ref().is_none_or(|first| wait < first.wait) {
            first = Some(Awaited { wait, tag: field(0), kind: subscription[8] });
        }
    }
    Ok(first)
}

/// Arguments, environment, random numbers, exit.
fn add_surroundings(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    let sizes = |mut caller: Caller<'_, Sandbox>, count: i32, size: i32| {
        let (mut bytes, sandbox) = split(&mut caller)?;
        let arguments = &sandbox.world.arguments;
        let total: usize = arguments.iter().map(|argument| argument.len() + 1).sum();
        let written = bytes.put(count.cast_unsigned(), &(arguments.len() as u32).to_le_bytes());
        wasmtime::Result::Ok(answer(
            written.and_then(|()| bytes.put(size.cast_unsigned(), &(total as u32).to_le_bytes())),
        ))
    };
    linker.func_wrap(WASI, "args_sizes_get", sizes)?;
    let arguments = |mut caller: Caller<'_, Sandbox>, list: i32, text: i32| {
        let (mut bytes, sandbox) = split(&mut caller)?;
        wasmtime::Result::Ok(answer(put_arguments(
            &mut bytes,
            &sandbox.world.arguments,
            list.cast_unsigned(),
            text.cast_unsigned(),
        )))
    };
    linker.func_wrap(WASI, "args_get", arguments)?;
    linker.func_wrap(
        WASI,
        "environ_sizes_get",
        |mut caller: Caller<'_, Sandbox>, count: i32, size: i32| {
            let mut bytes = split(&mut caller)?.0;
            let written = bytes.put(count.cast_unsigned(), &[0; 4]);
            wasmtime::Result::Ok(answer(written.and_then(|()| bytes.put(size.cast_unsigned(), &[0; 4]))))
        },
    )?;
    linker.func_wrap(WASI, "environ_get", |_: Caller<'_, Sandbox>, _: i32, _: i32| errno::SUCCESS)?;
    let random = |mut caller: Caller<'_, Sandbox>, at: i32, size: i32| {
        charge(&mut caller, size.cast_unsigned())?;
        let (mut bytes, sandbox) = split(&mut caller)?;
        let target = bytes.slice(at.cast_unsigned(), size.cast_unsigned());
        wasmtime::Result::Ok(answer(target.map(|target| sandbox.random(target))))
    };
    linker.func_wrap(WASI, "random_get", random)?;
    let exit = |mut caller: Caller<'_, Sandbox>, code: i32| -> wasmtime::Result<()> {
        caller.data_mut().exit_code = Some(code);
        Err(Stopped::Exited.into())
    };
    linker.func_wrap(WASI, "proc_exit", exit)?;
    Ok(())
}

/// Writes the arguments, each with a final zero, to `text` and onwards, and their addresses to `list`.
fn put_arguments(bytes: &mut Bytes<'_>, arguments: &[String], list: u32, text: u32) -> Option<()> {
    let (mut entry, mut at) = (list, text);
    for argument in arguments {
        bytes.put(entry, &at.to_le_bytes())?;
        bytes.put(at, argument.as_bytes())?;
        at = at.checked_add(u32::try_from(argument.len()).ok()?)?;
        bytes.put(at, &[0])?;
        (entry, at) = (entry.checked_add(4)?, at.checked_add(1)?);
    }
    Some(())
}

/// Makes every import fail, and counts the attempts.
fn refuse_all(linker: &mut Linker<Sandbox>, module: &Module) -> wasmtime::Result<()> {
    for import in module.imports() {
        let ExternType::Func(kind) = import.ty() else { continue };
        let refusal = Val::I32(if import.module() == WASI { errno::NOSYS } else { -1 });
        if kind.results().any(|result| !matches!(result, ValType::I32)) {
            return Err(wasmtime::Error::msg(format!(
                "import `{}` is {kind}, wanted one that returns i32",
                import.name()
            )));
        }
        let name = import.name().to_owned();
        linker.func_new(import.module(), import.name(), kind, move |mut caller, _, results| {
            caller.data_mut().ledger.deny(&name);
            results.fill(refusal);
            Ok(())
        })?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "shim_tests.rs"]
mod tests;
