//! One QuickJS, driven by the host through its C interface.
//!
//! References are never given back: an instance lives for one job and is thrown away whole.

use wasmtime::{Instance, InstancePre, Memory, Store, TypedFunc, Val, WasmParams, WasmResults};

use super::abi::{Kind, Raw};
use super::functions::Functions;
use crate::guest::Broken;
use crate::sandbox::{Ledger, Sandbox};
use crate::world::World;
use crate::{Cause, Ending, InfraError, Limits, Outcome};

/// What came of running some source: a value, or how it ended.
pub(super) type Ran = Result<Raw, Ending>;

/// How source is evaluated: `JS_EVAL_…` of `quickjs.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A script: its names are seen by the scripts after it.
    Script = 0,
    /// A module, whose exports are names of its own.
    Module = 1,
    /// A script with `await`; gives a promise.
    AsyncScript = 1 << 7,
}

/// `JS_EVAL_FLAG_COMPILE_ONLY`.
const COMPILE_ONLY: i32 = 1 << 5;

/// Stack of QuickJS in the sandbox's memory, for about ten thousand calls of a simple function. The native stack is larger than
/// what these calls use of it, so that a program can catch the `RangeError`.
const STACK_BYTES: u32 = 3 << 20;
/// Part of it that is left to C functions that do not check how much there is.
const STACK_MARGIN: u32 = 512 << 10;

/// File name of the program in stack traces, and of everything else that is compiled.
pub(super) const PROGRAM_NAME: &str = "program.js";
pub(super) const TEST_NAME: &str = "test.js";
pub(super) const PRELUDE_NAME: &str = "prelude.js";

/// Name of the export that says where the stack is.
const STACK_POINTER: &str = "__stack_pointer";

/// What the prelude leaves to the host, in the order of [`Table`].
pub(super) const INTERNALS: [&str; 8] =
    ["assert", "require", "testConsole", "entries", "turn", "publish", "beMain", "objectPrototype"];

/// What the host found before the program could touch anything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    /// Top of the stack.
    stack: u32,
    /// Sixteen bytes for results.
    pub(super) scratch: u32,
    /// [`INTERNALS`].
    pub(super) values: [Raw; INTERNALS.len()],
}

const TABLE_ENTRIES: usize = 2 + INTERNALS.len();

impl Table {
    /// The value of that name.
    pub(super) fn internal(&self, name: &str) -> Raw {
        INTERNALS.iter().position(|other| *other == name).map_or(Raw::UNDEFINED, |index| self.values[index])
    }
}

/// One interpreter in one instance.
pub(crate) struct Guest {
    pub(super) store: Store<Sandbox>,
    pub(super) memory: Memory,
    pub(super) functions: Functions,
    pub(super) context: u32,
    pub(super) runtime: u32,
    pub(super) table: Table,
}

impl Guest {
    /// Starts an interpreter from the snapshot, with `fuel` units of fuel.
    pub(super) fn start(
        interpreter: &InstancePre<Sandbox>,
        world: World,
        limits: Limits,
        fuel: u64,
        ledger: Ledger,
    ) -> Result<Self, Broken> {
        let mut store = Store::new(interpreter.module().engine(), Sandbox::new(world, limits, ledger));
        store.limiter(|sandbox| sandbox);
        store.set_epoch_deadline(1);
        store.set_fuel(fuel).map_err(infra)?;
        let instance = interpreter.instantiate(&mut store).map_err(infra)?;
        let (memory, functions) = parts(&mut store, &instance).map_err(infra)?;
        let context = functions.context.call(&mut store, ()).map_err(infra)?;
        let runtime = functions.runtime.call(&mut store, ()).map_err(infra)?;
        let address = functions.table.call(&mut store, context).map_err(infra)?;
        let table = read_table(memory.data(&store), address)
            .ok_or_else(|| infra(wasmtime::Error::msg("the module is not a snapshot")))?;
        set_stack(&mut store, &instance, table.stack).map_err(infra)?;
        Ok(Self { store, memory, functions, context, runtime, table })
    }

    /// Starts an interpreter from nothing: what is made a snapshot of. Its table has no values yet.
    pub(super) fn set_up(mut store: Store<Sandbox>, instance: &Instance) -> wasmtime::Result<Self> {
        let (memory, functions) = parts(&mut store, instance)?;
        let initialize: TypedFunc<(), ()> = instance.get_typed_func(&mut store, "_initialize")?;
        initialize.call(&mut store, ())?;
        let stack = (functions.malloc.call(&mut store, STACK_BYTES)? + STACK_BYTES - 16) & !15;
        set_stack(&mut store, instance, stack)?;
        if functions.set_up.call(&mut store, ())? != 0 {
            return Err(wasmtime::Error::msg("QuickJS does not start"));
        }
        let context = functions.context.call(&mut store, ())?;
        let runtime = functions.runtime.call(&mut store, ())?;
        functions.set_stack_size.call(&mut store, (runtime, STACK_BYTES - STACK_MARGIN))?;
        functions.update_stack_top.call(&mut store, runtime)?;
        functions.track_rejections.call(&mut store, 1)?;
        functions.load_modules.call(&mut store, 1)?;
        let scratch = functions.malloc.call(&mut store, 16)?;
        let table = Table { stack, scratch, values: [Raw::UNDEFINED; INTERNALS.len()] };
        Ok(Self { store, memory, functions, context, runtime, table })
    }

    /// Leaves the table where [`Self::start`] finds it.
    pub(super) fn keep_table(&mut self) -> Result<(), Broken> {
        let mut bytes = Vec::with_capacity(8 * TABLE_ENTRIES);
        let entries = [i64::from(self.table.stack), i64::from(self.table.scratch)];
        for entry in entries.into_iter().chain(self.table.values.map(|value| value.0)) {
            bytes.extend(entry.to_le_bytes());
        }
        let address = self.place(&bytes)?;
        let context = self.context;
        self.do_call(|functions| &functions.set_table, (context, address))
    }

    /// Compiles source; does not run it.
    pub(super) fn compile(&mut self, source: &str, name: &str, kind: Source) -> Result<Ran, Broken> {
        let ran = self.evaluate_with(source, name, kind as i32 | COMPILE_ONLY)?;
        Ok(ran.map_err(|mut ending| {
            // Anything else is a failure to import.
            if matches!(&ending.cause, Some(Cause::Exception { kind, .. }) if kind == "SyntaxError") {
                ending.outcome = Outcome::SyntaxError;
            }
            ending
        }))
    }

    /// Evaluates source.
    pub(super) fn evaluate(&mut self, source: &str, name: &str, kind: Source) -> Result<Ran, Broken> {
        self.evaluate_with(source, name, kind as i32)
    }

    fn evaluate_with(&mut self, source: &str, name: &str, flags: i32) -> Result<Ran, Broken> {
        let (text, size) = (self.place(source.as_bytes())?, source.len() as u32);
        let name = self.place(name.as_bytes())?;
        let context = self.context;
        let value =
            self.do_call(|functions| &functions.evaluate, (context, text, size, name, flags)).map(Raw)?;
        self.do_call(|functions| &functions.free, text)?;
        self.finish(value)
    }

    /// Runs what [`Self::compile`] gave.
    pub(super) fn run_compiled(&mut self, compiled: Raw) -> Result<Ran, Broken> {
        let context = self.context;
        let value = self.do_call(|functions| &functions.run_compiled, (context, compiled.0)).map(Raw)?;
        self.finish(value)
    }

    /// The exports of a module that has been compiled and run.
    pub(super) fn exports(&mut self, module: Raw) -> Result<Raw, Broken> {
        let context = self.context;
        self.do_call(|functions| &functions.module_names, (context, module.0 as u32)).map(Raw)
    }

    /// Calls a function.
    pub(super) fn call(&mut self, function: Raw, arguments: &[Raw]) -> Result<Ran, Broken> {
        let bytes: Vec<u8> = arguments.iter().flat_map(|argument| argument.0.to_le_bytes()).collect();
        let list = self.place(&bytes)?;
        let parameters = (self.context, function.0, Raw::UNDEFINED.0, arguments.len() as i32, list);
        let value = self.do_call(|functions| &functions.call, parameters).map(Raw)?;
        self.do_call(|functions| &functions.free, list)?;
        self.finish(value)
    }

    /// The value, or else the exception that is pending.
    pub(super) fn finish(&mut self, value: Raw) -> Result<Ran, Broken> {
        if value.is_exception() { Ok(Err(self.take_exception()?)) } else { Ok(Ok(value)) }
    }

    /// Runs everything that the program has left to be done later: jobs, then timers, until there is nothing. A promise that is
    /// rejected and not handled then is an exception.
    pub(super) fn settle(&mut self) -> Result<Result<(), Ending>, Broken> {
        let (runtime, scratch) = (self.runtime, self.table.scratch);
        let turn = self.table.internal("turn");
        loop {
            while self.do_call(|functions| &functions.is_job_pending, runtime)? != 0 {
                if self.do_call(|functions| &functions.run_job, (runtime, scratch))? < 0 {
                    return Ok(Err(self.take_exception()?));
                }
            }
            if let Some((_, reason)) = self.store.data().unhandled.first().copied() {
                self.store.data_mut().unhandled.clear();
                return Ok(Err(self.describe(Raw(reason))?));
            }
            match self.call(turn, &[])? {
                Ok(more) if more.kind() == Kind::Boolean(true) => {}
                Ok(_) => return Ok(Ok(())),
                Err(ending) => return Ok(Err(ending)),
            }
        }
    }

    /// What a promise was fulfilled with, after everything that is left to be done; any other value by itself.
    pub(super) fn awaited(&mut self, value: Raw) -> Result<Ran, Broken> {
        const PENDING: i32 = 0;
        const REJECTED: i32 = 2;
        if self.do_call(|functions| &functions.is_promise, value.0)? == 0 {
            return Ok(Ok(value));
        }
        // It is awaited, so it is handled.
        self.store.data_mut().unhandled.retain(|(promise, _)| *promise != value.0);
        if let Err(ending) = self.settle()? {
            return Ok(Err(ending));
        }
        let context = self.context;
        let state = self.do_call(|functions| &functions.promise_state, (context, value.0))?;
        let result = self.do_call(|functions| &functions.promise_result, (context, value.0)).map(Raw)?;
        Ok(match state {
            PENDING => Err(Ending::because(
                Outcome::Failed,
                Cause::Note("the promise is never fulfilled".to_owned()),
            )),
            REJECTED => Err(self.describe(result)?),
            _ => Ok(result),
        })
    }

    /// Fuel that is left.
    pub(super) fn fuel(&self) -> u64 {
        self.store.get_fuel().unwrap_or(0)
    }

    /// Ends the instance.
    pub(super) fn into_ledger(self) -> Ledger {
        self.store.into_data().ledger
    }

    /// How often something was refused.
    pub(super) fn refusals(&self) -> u64 {
        self.store.data().refusals()
    }

    fn take_exception(&mut self) -> Result<Ending, Broken> {
        let context = self.context;
        let exception = self.do_call(|functions| &functions.exception, context).map(Raw)?;
        self.describe(exception)
    }

    /// Sorts what was thrown, and writes it to stderr. Asking an object for its name and message may run the program's own
    /// code, within the same limits; it decides only how a failure is called.
    fn describe(&mut self, thrown: Raw) -> Result<Ending, Broken> {
        let is_error = self.do_call(|functions| &functions.is_error, thrown.0)? != 0;
        let (kind, message, stack) = if is_error {
            let mut field = |name| self.field_text(thrown, name);
            (field("name")?, field("message")?, field("stack")?)
        } else {
            ("thrown".to_owned(), self.shown(thrown)?, String::new())
        };
        let outcome = match kind.as_str() {
            "AssertionError" => Outcome::Failed,
            "InternalError" if message == "out of memory" => Outcome::OutOfMemory,
            "RangeError" | "InternalError" if message.contains("call stack size") => Outcome::StackOverflow,
            _ => Outcome::Raised,
        };
        let cause = Cause::Exception { kind, message, line: line(&stack) };
        self.store.data_mut().ledger.note(&cause.to_string());
        Ok(Ending::because(outcome, cause))
    }

    fn field_text(&mut self, object: Raw, name: &str) -> Result<String, Broken> {
        match self.named(object, name)? {
            Ok(value) => self.shown(value),
            Err(_) => Ok(String::new()),
        }
    }

    /// A property, by name.
    pub(super) fn named(&mut self, object: Raw, name: &str) -> Result<Result<Raw, ()>, Broken> {
        let name = self.place(name.as_bytes())?;
        let context = self.context;
        let value =
            self.do_call(|functions| &functions.property_named, (context, object.0, name)).map(Raw)?;
        self.do_call(|functions| &functions.free, name)?;
        self.drop_exception(value)
    }

    /// The value, or nothing if an exception is pending, which is forgotten.
    pub(super) fn drop_exception(&mut self, value: Raw) -> Result<Result<Raw, ()>, Broken> {
        if !value.is_exception() {
            return Ok(Ok(value));
        }
        let context = self.context;
        self.do_call(|functions| &functions.exception, context)?;
        Ok(Err(()))
    }

    /// The beginning of a value as text, as JavaScript converts it; empty if it cannot be.
    pub(super) fn shown(&mut self, value: Raw) -> Result<String, Broken> {
        const MOST_SHOWN: usize = 512;
        let text = self.text(value)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&text[..text.len().min(MOST_SHOWN)]).into_owned())
    }

    /// A value as text, in UTF-8 with lone surrogates; `None` if it cannot be converted.
    pub(super) fn text(&mut self, value: Raw) -> Result<Option<Vec<u8>>, Broken> {
        let (context, scratch) = (self.context, self.table.scratch);
        let address = self.do_call(|functions| &functions.to_text, (context, scratch, value.0, 0))?;
        if address == 0 {
            self.do_call(|functions| &functions.exception, context)?;
            return Ok(None);
        }
        let text = self.read_sized(address)?;
        self.do_call(|functions| &functions.free_text, (context, address))?;
        Ok(Some(text))
    }

    /// As many bytes as the last call has said.
    pub(super) fn read_sized(&mut self, address: u32) -> Result<Vec<u8>, Broken> {
        let size = self.number(self.table.scratch)?;
        Ok(self.read(address, size)?.to_vec())
    }

    /// Puts bytes and a final zero into the guest's memory.
    pub(super) fn place(&mut self, bytes: &[u8]) -> Result<u32, Broken> {
        let size = u32::try_from(bytes.len() + 1).map_err(|_| Broken::Program(Outcome::OutOfMemory))?;
        let address = self.do_call(|functions| &functions.malloc, size)?;
        if address == 0 {
            return Err(Broken::Program(Outcome::OutOfMemory));
        }
        let start = address as usize;
        let memory = self.memory.data_mut(&mut self.store);
        let target =
            memory.get_mut(start..start + bytes.len() + 1).ok_or(Broken::Program(Outcome::Crashed))?;
        target[..bytes.len()].copy_from_slice(bytes);
        target[bytes.len()] = 0;
        Ok(address)
    }

    pub(super) fn read(&self, address: u32, size: u32) -> Result<&[u8], Broken> {
        let start = address as usize;
        let end = start.saturating_add(size as usize);
        self.memory.data(&self.store).get(start..end).ok_or(Broken::Program(Outcome::Crashed))
    }

    pub(super) fn number(&self, address: u32) -> Result<u32, Broken> {
        let bytes = self.read(address, 4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(super) fn long(&self, address: u32) -> Result<u64, Broken> {
        let (low, high) = (self.number(address)?, self.number(address.saturating_add(4))?);
        Ok(u64::from(low) | u64::from(high) << 32)
    }

    pub(super) fn do_call<P: WasmParams, R: WasmResults>(
        &mut self,
        function: impl Fn(&Functions) -> &TypedFunc<P, R>,
        parameters: P,
    ) -> Result<R, Broken> {
        let called = function(&self.functions).call(&mut self.store, parameters);
        called.map_err(|error| Broken::sort(error, self.store.data()))
    }
}

fn parts(store: &mut Store<Sandbox>, instance: &Instance) -> wasmtime::Result<(Memory, Functions)> {
    let memory = instance
        .get_memory(&mut *store, "memory")
        .ok_or_else(|| wasmtime::Error::msg("the module exports no memory"))?;
    store.data_mut().memory = Some(memory);
    Ok((memory, Functions::of(instance, store)?))
}

fn set_stack(store: &mut Store<Sandbox>, instance: &Instance, top: u32) -> wasmtime::Result<()> {
    let pointer = instance
        .get_global(&mut *store, STACK_POINTER)
        .ok_or_else(|| wasmtime::Error::msg("the module does not export its stack pointer"))?;
    pointer.set(store, Val::I32(top.cast_signed()))
}

fn read_table(memory: &[u8], address: u32) -> Option<Table> {
    let start = address as usize;
    let bytes = memory.get(start..start.checked_add(8 * TABLE_ENTRIES)?)?;
    let mut entries = [0; TABLE_ENTRIES];
    for (entry, bytes) in entries.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *entry = i64::from_le_bytes(*bytes);
    }
    let [stack, scratch, values @ ..] = entries;
    if address == 0 || stack <= 0 {
        return None;
    }
    Some(Table { stack: stack as u32, scratch: scratch as u32, values: values.map(Raw) })
}

/// The line of the program that a stack trace mentions first, from 1.
fn line(stack: &str) -> Option<u32> {
    let (_, rest) = stack.split_once(&format!("{PROGRAM_NAME}:"))?;
    let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

pub(super) fn infra(error: wasmtime::Error) -> Broken {
    Broken::Infra(InfraError::Sandbox(format!("{error:#}")))
}

impl Guest {
    /// An object with the functions that the host answers, by name and number of parameters.
    pub(super) fn new_host_object(&mut self, functions: &[(&str, i32)]) -> Result<Raw, Broken> {
        let context = self.context;
        let object = self.do_call(|functions| &functions.new_object, context).map(Raw)?;
        for (name, parameters) in functions {
            let address = self.place(name.as_bytes())?;
            let arguments = (address, name.len() as u32, *parameters);
            let cell = self.do_call(|functions| &functions.host_function, arguments)?;
            let function = self.long(cell)?.cast_signed();
            self.do_call(|functions| &functions.set_property, (context, object.0, address, function))?;
        }
        Ok(object)
    }
}
