//! What QuickJS calls the host for: the few functions behind `console`, `process`, `fs` and timers, and news of promises.

use wasmtime::{Caller, Engine, Linker, Module};

use super::abi::{Kind, Raw};
use crate::sandbox::{Sandbox, Stopped, charge, clock};
use crate::shim::{self, split};

/// Module of these imports.
const HOST: &str = "env";

/// Functions that the prelude is given, by name and number of parameters.
pub(super) const HOST_FUNCTIONS: [(&str, i32); 6] =
    [("write", 2), ("exit", 1), ("readStdin", 0), ("readFile", 1), ("sleep", 1), ("now", 0)];

/// What programs can import, and the names in it.
const MODULES: [(&str, &[&str]); 9] = [
    (
        "assert",
        &[
            "strictEqual",
            "deepStrictEqual",
            "equal",
            "deepEqual",
            "ok",
            "throws",
            "rejects",
            "notStrictEqual",
        ],
    ),
    ("assert/strict", &["strictEqual", "deepStrictEqual", "equal", "deepEqual", "ok", "throws", "rejects"]),
    ("events", &["EventEmitter"]),
    ("fs", &["readFileSync", "existsSync", "readFile", "writeSync", "writeFileSync", "promises"]),
    ("fs/promises", &["readFile"]),
    ("process", &["stdin", "stdout", "stderr", "argv", "env", "exit"]),
    ("readline", &["createInterface", "promises"]),
    ("readline/promises", &["createInterface"]),
    ("util", &["inspect", "format", "promisify", "isDeepStrictEqual"]),
];

/// All imports of the module.
pub(crate) fn linker(engine: &Engine, module: &Module) -> wasmtime::Result<Linker<Sandbox>> {
    let mut linker = shim::linker(engine, module)?;
    // Everybody lives in Greenwich.
    linker.func_wrap(HOST, "host_get_timezone_offset", |_: Caller<'_, Sandbox>, _: i32, _: i32| 0)?;
    linker.func_wrap(HOST, "host_interrupt", |_: Caller<'_, Sandbox>| 0)?;
    let rejected = |mut caller: Caller<'_, Sandbox>, promise: i32, reason: i32, is_handled: i32| {
        let (promise, reason) = (value_at(&mut caller, promise)?, value_at(&mut caller, reason)?);
        let unhandled = &mut caller.data_mut().unhandled;
        if is_handled == 0 {
            unhandled.push((promise.0, reason.0));
        } else {
            unhandled.retain(|(other, _)| *other != promise.0);
        }
        wasmtime::Result::Ok(())
    };
    linker.func_wrap(HOST, "host_promise_rejection", rejected)?;
    let find = |mut caller: Caller<'_, Sandbox>, _: i32, name: i32| {
        let name = c_text(&mut caller, name.cast_unsigned())?;
        let plain = name.strip_prefix("node:").unwrap_or(&name);
        if MODULES.iter().any(|(other, _)| *other == plain) {
            return place(&mut caller, plain.as_bytes()).map(u32::cast_signed);
        }
        caller.data_mut().ledger.deny("import");
        Ok(0)
    };
    linker.func_wrap(HOST, "host_module_normalize", find)?;
    let load = |mut caller: Caller<'_, Sandbox>, name: i32, size: i32| {
        let name = c_text(&mut caller, name.cast_unsigned())?;
        let Some((name, exports)) = MODULES.iter().find(|(other, _)| *other == name) else { return Ok(0) };
        let mut source = format!("const all = require('{name}'); export default all;");
        for export in *exports {
            source.push_str(&format!("export const {export} = all.{export};"));
        }
        let address = place(&mut caller, source.as_bytes())?;
        let written = (source.len() as u32).to_le_bytes();
        split(&mut caller)?.0.put(size.cast_unsigned(), &written).ok_or_else(outside)?;
        wasmtime::Result::Ok(address.cast_signed())
    };
    linker.func_wrap(HOST, "host_module_load", load)?;
    let call = |mut caller: Caller<'_, Sandbox>, name: i32, size: i32, _: i32, count: i32, arguments: i32| {
        let name = match split(&mut caller)?.0.slice(name.cast_unsigned(), size.cast_unsigned()) {
            Some(name) => String::from_utf8_lossy(name).into_owned(),
            None => return Err(outside()),
        };
        let argument = |caller: &mut Caller<'_, Sandbox>, index: u32| {
            if index >= count.cast_unsigned() {
                return Ok(Raw::UNDEFINED);
            }
            let at = arguments.cast_unsigned().wrapping_add(index * 4);
            let cell = split(caller)?.0.number(at).ok_or_else(outside)?;
            value_at(caller, cell.cast_signed())
        };
        answer(&mut caller, &name, &argument)
    };
    linker.func_wrap(HOST, "host_call", call)?;
    Ok(linker)
}

type Argument<'a> = &'a dyn Fn(&mut Caller<'_, Sandbox>, u32) -> wasmtime::Result<Raw>;

/// Does what a host function is for. Returns the address of the result's cell.
fn answer(caller: &mut Caller<'_, Sandbox>, name: &str, argument: Argument<'_>) -> wasmtime::Result<i32> {
    match name {
        "write" => {
            let to_stderr = argument(caller, 0)?.kind() == Kind::Number(2.0);
            let value = argument(caller, 1)?;
            let text = text(caller, value)?;
            charge(caller, text.len() as u32)?;
            caller.data_mut().write(to_stderr, &text)?;
        }
        "exit" => {
            let Kind::Number(code) = argument(caller, 0)?.kind() else { return Err(outside()) };
            caller.data_mut().exit_code = Some(code as i32);
            return Err(Stopped::Exited.into());
        }
        "readStdin" => {
            let sandbox = caller.data_mut();
            let stdin = sandbox.world.stdin.get(sandbox.stdin_read..).unwrap_or_default().to_vec();
            sandbox.stdin_read += stdin.len();
            return new_text(caller, &stdin);
        }
        "readFile" => {
            let value = argument(caller, 0)?;
            let path = text(caller, value)?;
            let files = &caller.data().world.files;
            match files.find("/", &path).and_then(|node| files.content(node)).cloned() {
                Some(content) => return new_text(caller, &content),
                None => caller.data_mut().ledger.deny("readFile"),
            }
        }
        "sleep" => {
            if let Kind::Number(milliseconds) = argument(caller, 0)?.kind() {
                // From below, so that a number of any size ends at a bound.
                caller.data_mut().sleep((milliseconds.max(0.0) * 1e6) as u64)?;
            }
        }
        "now" => {
            let milliseconds = clock(caller, false)? as f64 / 1e6;
            return export::<f64, i32>(caller, "qjs_new_number")?.call(&mut *caller, milliseconds);
        }
        _ => return Err(outside()),
    }
    export::<(), i32>(caller, "qjs_get_undefined")?.call(&mut *caller, ())
}

fn export<P: wasmtime::WasmParams, R: wasmtime::WasmResults>(
    caller: &mut Caller<'_, Sandbox>,
    name: &str,
) -> wasmtime::Result<wasmtime::TypedFunc<P, R>> {
    let function = caller.get_export(name).and_then(wasmtime::Extern::into_func).ok_or_else(outside)?;
    function.typed(&*caller)
}

fn outside() -> wasmtime::Error {
    wasmtime::Error::new(wasmtime::Trap::MemoryOutOfBounds)
}

/// The value in the cell at `at`.
fn value_at(caller: &mut Caller<'_, Sandbox>, at: i32) -> wasmtime::Result<Raw> {
    let mut bytes = split(caller)?.0;
    let cell = bytes.slice(at.cast_unsigned(), 8).and_then(|cell| cell.try_into().ok());
    Ok(Raw(i64::from_le_bytes(cell.ok_or_else(outside)?)))
}

/// The UTF-8 of a value that the prelude has made a string.
fn text(caller: &mut Caller<'_, Sandbox>, value: Raw) -> wasmtime::Result<Vec<u8>> {
    if value.kind() != Kind::Text {
        return Ok(Vec::new());
    }
    let context = export::<(), u32>(caller, "qjs_get_context_ptr")?.call(&mut *caller, ())?;
    let size_at = export::<u32, u32>(caller, "malloc")?.call(&mut *caller, 4)?;
    let to_text = export::<(u32, u32, i64, i32), u32>(caller, "JS_ToCStringLen2")?;
    let address = to_text.call(&mut *caller, (context, size_at, value.0, 0))?;
    if size_at == 0 || address == 0 {
        return Err(Stopped::OutOfMemory.into());
    }
    let mut bytes = split(caller)?.0;
    let size = bytes.number(size_at).ok_or_else(outside)?;
    let text = bytes.slice(address, size).ok_or_else(outside)?.to_vec();
    export::<(u32, u32), ()>(caller, "JS_FreeCString")?.call(&mut *caller, (context, address))?;
    export::<u32, ()>(caller, "free")?.call(&mut *caller, size_at)?;
    Ok(text)
}

/// The text up to a zero byte.
fn c_text(caller: &mut Caller<'_, Sandbox>, at: u32) -> wasmtime::Result<String> {
    const MOST: usize = 1000;
    let bytes = split(caller)?.0;
    let rest = bytes.0.get(at as usize..).ok_or_else(outside)?;
    let rest = &rest[..rest.len().min(MOST)];
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
}

/// Puts bytes and a final zero into the program's memory.
fn place(caller: &mut Caller<'_, Sandbox>, bytes: &[u8]) -> wasmtime::Result<u32> {
    let size = u32::try_from(bytes.len()).map_err(|_| Stopped::OutOfMemory)?;
    let address = export::<u32, u32>(caller, "malloc")?.call(&mut *caller, size.saturating_add(1))?;
    if address == 0 {
        return Err(Stopped::OutOfMemory.into());
    }
    let mut memory = split(caller)?.0;
    memory.put(address, bytes).ok_or_else(outside)?;
    memory.put(address.wrapping_add(size), &[0]).ok_or_else(outside)?;
    Ok(address)
}

/// A cell with a new string. What is not UTF-8 is replaced.
fn new_text(caller: &mut Caller<'_, Sandbox>, bytes: &[u8]) -> wasmtime::Result<i32> {
    let text = String::from_utf8_lossy(bytes);
    let size = u32::try_from(text.len()).map_err(|_| Stopped::OutOfMemory)?;
    charge(caller, size)?;
    let address = place(caller, text.as_bytes())?;
    let cell = export::<(u32, u32), i32>(caller, "qjs_new_string")?.call(&mut *caller, (address, size))?;
    export::<u32, ()>(caller, "free")?.call(&mut *caller, address)?;
    Ok(cell)
}
