//! One interpreter, driven by the host through CPython's C interface.
//!
//! Addresses of Python objects are `u32` numbers inside the sandbox. References are never given back: an instance lives for
//! one job and is thrown away whole.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmtime::{
    Instance, InstancePre, Memory, Store, ThrownException, Trap, TypedFunc, WasmParams, WasmResults,
};

use crate::embedding::MEMORY;
use crate::sandbox::{Ledger, Sandbox, Stopped};
use crate::{InfraError, Limits, Outcome};

pub(crate) mod preparation;

/// `Py_file_input` and `Py_eval_input`: what kind of source is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Statements.
    Statements = 257,
    /// One expression.
    Expression = 258,
}

/// Marshal format without back references: the value alone decides the bytes.
const MARSHAL_VERSION: i32 = 2;

/// Why a call into the interpreter did not return.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The program is at fault: the instance is over, and this is the outcome.
    Program(Outcome),
    /// The sandbox is at fault.
    Infra(InfraError),
}

/// An exception that reached the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raised(pub(crate) Outcome);

/// What came of running some source.
pub(crate) type Ran = Result<u32, Raised>;

type Result1 = TypedFunc<u32, u32>;
type Result2 = TypedFunc<(u32, u32), u32>;

/// The C functions that are called after the start.
struct Functions {
    malloc: Result1,
    free: TypedFunc<u32, ()>,
    compile: TypedFunc<(u32, u32, i32, u32, i32, u32), u32>,
    evaluate: TypedFunc<(u32, u32, u32), u32>,
    raised: TypedFunc<(), u32>,
    matches: TypedFunc<(u32, u32), i32>,
    clear: TypedFunc<(), ()>,
    bytes_address: Result1,
    bytes_size: Result1,
    marshal: TypedFunc<(u32, i32), u32>,
    call: Result1,
    call_with: Result2,
    text: Result1,
    type_name: Result1,
    utf8: Result2,
}

/// What instances are made of.
pub(crate) struct Interpreter {
    instances: InstancePre<Sandbox>,
    objects: Objects,
}

impl Interpreter {
    /// `instances` get a memory in which the interpreter was prepared, with `objects` in it.
    pub(crate) fn new(instances: InstancePre<Sandbox>, objects: Objects) -> Self {
        Self { instances, objects }
    }
}

/// Addresses of objects that were taken from the interpreter before any program could touch anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Objects {
    globals: u32,
    filename: u32,
    flush_stdout: u32,
    flush_stderr: u32,
    assertion_error: u32,
    system_exit: u32,
    memory_error: u32,
    recursion_error: u32,
}

/// One interpreter in one instance.
pub(crate) struct Guest {
    store: Store<Sandbox>,
    memory: Memory,
    functions: Functions,
    objects: Objects,
    /// What is known of the last failure.
    detail: String,
}

impl Guest {
    /// Starts an interpreter with `fuel` units of fuel. It is ready for a program at once.
    pub(crate) fn start(
        interpreter: &Interpreter,
        stdlib: &Arc<Vec<u8>>,
        limits: Limits,
        fuel: u64,
        ledger: Ledger,
    ) -> Result<Self, Broken> {
        let (mut guest, _) = Self::instantiate(&interpreter.instances, stdlib, limits, fuel, ledger)?;
        guest.objects = interpreter.objects;
        Ok(guest)
    }

    fn instantiate(
        instances: &InstancePre<Sandbox>,
        stdlib: &Arc<Vec<u8>>,
        limits: Limits,
        fuel: u64,
        ledger: Ledger,
    ) -> Result<(Self, Instance), Broken> {
        let sandbox = Sandbox::new(Arc::clone(stdlib), limits, ledger);
        let mut store = Store::new(instances.module().engine(), sandbox);
        store.limiter(|sandbox| sandbox);
        store.set_epoch_deadline(1);
        store.set_fuel(fuel).map_err(infra)?;
        let instance = instances.instantiate(&mut store).map_err(infra)?;
        let memory = instance
            .get_memory(&mut store, MEMORY)
            .ok_or_else(|| infra(wasmtime::Error::msg("the module exports no memory")))?;
        let size = memory.data_size(&store);
        let sandbox = store.data_mut();
        sandbox.memory = Some(memory);
        // The picture is larger than what the module declares, which is what the limiter was asked about.
        sandbox.ledger.peak_memory = sandbox.ledger.peak_memory.max(size);
        let functions = Functions::of(&instance, &mut store).map_err(infra)?;
        let objects = Objects::default();
        Ok((Self { store, memory, functions, objects, detail: String::new() }, instance))
    }

    /// Compiles source. `Err` with [`Outcome::SyntaxError`] if it is not Python.
    pub(crate) fn compile(&mut self, source: &str, kind: Source) -> Result<Ran, Broken> {
        if source.contains('\0') {
            self.note("SyntaxError: source code contains a null byte");
            return Ok(Err(Raised(Outcome::SyntaxError)));
        }
        let text = self.place(source.as_bytes())?;
        let filename = self.objects.filename;
        let code =
            self.call_function(|functions| &functions.compile, (text, filename, kind as i32, 0, 0, 0))?;
        self.call_function(|functions| &functions.free, text)?;
        if code != 0 {
            return Ok(Ok(code));
        }
        Ok(Err(match self.take_exception()? {
            Raised(Outcome::Raised) => Raised(Outcome::SyntaxError),
            other => other,
        }))
    }

    /// Runs code in the program's module. `Ok` with the value, which is `None` for statements.
    pub(crate) fn evaluate(&mut self, code: u32) -> Result<Ran, Broken> {
        let globals = self.objects.globals;
        let value = self.call_function(|functions| &functions.evaluate, (code, globals, globals))?;
        let ran = if value == 0 { Err(self.take_exception()?) } else { Ok(value) };
        self.flush()?;
        Ok(ran)
    }

    /// Calls a function with one argument.
    pub(crate) fn apply(&mut self, function: u32, argument: u32) -> Result<Ran, Broken> {
        let value = self.call_function(|functions| &functions.call_with, (function, argument))?;
        if value == 0 { Ok(Err(self.take_exception()?)) } else { Ok(Ok(value)) }
    }

    /// The bytes of a value that is made of plain builtins; `None` if it is not. Runs no Python code.
    pub(crate) fn marshal(&mut self, value: u32) -> Result<Option<Vec<u8>>, Broken> {
        let bytes = self.call_function(|functions| &functions.marshal, (value, MARSHAL_VERSION))?;
        if bytes == 0 {
            self.call_function(|functions| &functions.clear, ())?;
            return Ok(None);
        }
        let address = self.call_function(|functions| &functions.bytes_address, bytes)?;
        let size = self.call_function(|functions| &functions.bytes_size, bytes)?;
        Ok(Some(self.read(address, size)?.to_vec()))
    }

    /// Adds a line to the job's stderr, which is also the detail of the failure at hand.
    pub(crate) fn note(&mut self, line: &str) {
        self.store.data_mut().ledger.note(line);
        self.explain(line.to_owned());
    }

    /// Sets the detail of the failure at hand.
    pub(crate) fn explain(&mut self, detail: String) {
        self.detail = detail;
    }

    /// The detail of the last failure, once.
    pub(crate) fn take_detail(&mut self) -> String {
        std::mem::take(&mut self.detail)
    }

    /// Fuel that is left.
    pub(crate) fn fuel(&self) -> u64 {
        self.store.get_fuel().unwrap_or(0)
    }

    /// Ends the instance.
    pub(crate) fn into_ledger(self) -> Ledger {
        self.store.into_data().ledger
    }

    /// Sorts the pending exception, and writes it to stderr.
    fn take_exception(&mut self) -> Result<Raised, Broken> {
        let exception = self.call_function(|functions| &functions.raised, ())?;
        let kinds = [
            (self.objects.assertion_error, Outcome::Failed),
            (self.objects.system_exit, Outcome::Exited),
            (self.objects.memory_error, Outcome::OutOfMemory),
            (self.objects.recursion_error, Outcome::StackOverflow),
        ];
        for (kind, outcome) in kinds {
            if self.call_function(|functions| &functions.matches, (exception, kind))? != 0 {
                self.describe(exception)?;
                return Ok(Raised(outcome));
            }
        }
        self.describe(exception)?;
        Ok(Raised(Outcome::Raised))
    }

    /// Writes `Kind: message` to stderr.
    fn describe(&mut self, exception: u32) -> Result<(), Broken> {
        const TYPE_FIELD: u32 = 4;
        let kind = self.read(exception.saturating_add(TYPE_FIELD), 4)?;
        let kind = u32::from_le_bytes([kind[0], kind[1], kind[2], kind[3]]);
        let name = self.call_function(|functions| &functions.type_name, kind)?;
        let name = self.read_text(name)?;
        // The message may be the program's own code; it runs within the same limits.
        let message = self.call_function(|functions| &functions.text, exception)?;
        let message = self.read_text(message)?;
        self.note(&if message.is_empty() { name } else { format!("{name}: {message}") });
        Ok(())
    }

    fn read_text(&mut self, text: u32) -> Result<String, Broken> {
        const HEAD: u32 = 512;
        let size_at = self.place(&[0; 4])?;
        let address =
            if text == 0 { 0 } else { self.call_function(|functions| &functions.utf8, (text, size_at))? };
        if address == 0 {
            self.call_function(|functions| &functions.clear, ())?;
            return Ok(String::new());
        }
        let size = self.read(size_at, 4)?;
        let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]).min(HEAD);
        Ok(String::from_utf8_lossy(self.read(address, size)?).into_owned())
    }

    fn flush(&mut self) -> Result<(), Broken> {
        for flush in [self.objects.flush_stdout, self.objects.flush_stderr] {
            if self.call_function(|functions| &functions.call, flush)? == 0 {
                self.call_function(|functions| &functions.clear, ())?;
            }
        }
        Ok(())
    }

    /// Puts bytes and a final zero into the guest's memory.
    fn place(&mut self, bytes: &[u8]) -> Result<u32, Broken> {
        let size = u32::try_from(bytes.len() + 1).map_err(|_| Broken::Program(Outcome::OutOfMemory))?;
        let address = self.call_function(|functions| &functions.malloc, size)?;
        if address == 0 {
            return Err(Broken::Program(Outcome::OutOfMemory));
        }
        let memory = self.memory.data_mut(&mut self.store);
        let start = address as usize;
        let target =
            memory.get_mut(start..start + bytes.len() + 1).ok_or(Broken::Program(Outcome::Crashed))?;
        target[..bytes.len()].copy_from_slice(bytes);
        target[bytes.len()] = 0;
        Ok(address)
    }

    /// Reads the guest's memory. Outside of it lies what a broken interpreter points to.
    fn read(&self, address: u32, size: u32) -> Result<&[u8], Broken> {
        let start = address as usize;
        let end = start.saturating_add(size as usize);
        self.memory.data(&self.store).get(start..end).ok_or(Broken::Program(Outcome::Crashed))
    }

    fn call_function<P: WasmParams, R: WasmResults>(
        &mut self,
        function: impl Fn(&Functions) -> &TypedFunc<P, R>,
        parameters: P,
    ) -> Result<R, Broken> {
        let called = function(&self.functions).call(&mut self.store, parameters);
        called.map_err(|error| self.sort(error))
    }

    /// Tells a program's fault from the sandbox's.
    fn sort(&self, error: wasmtime::Error) -> Broken {
        if let Some(stopped) = error.downcast_ref::<Stopped>() {
            return Broken::Program(Outcome::from(*stopped));
        }
        let outcome = match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => Outcome::OutOfFuel,
            Some(Trap::Interrupt) => Outcome::OutOfTime,
            Some(Trap::StackOverflow) => Outcome::StackOverflow,
            // CPython aborts where it cannot raise for want of memory.
            Some(_) if self.store.data().memory_refused => Outcome::OutOfMemory,
            Some(_) => Outcome::Crashed,
            None if error.is::<ThrownException>() => Outcome::Crashed,
            None => return infra(error),
        };
        Broken::Program(outcome)
    }
}

impl Functions {
    fn of(instance: &Instance, store: &mut Store<Sandbox>) -> wasmtime::Result<Self> {
        Ok(Self {
            malloc: instance.get_typed_func(&mut *store, "malloc")?,
            free: instance.get_typed_func(&mut *store, "free")?,
            compile: instance.get_typed_func(&mut *store, "_Py_CompileString")?,
            evaluate: instance.get_typed_func(&mut *store, "PyEval_EvalCode")?,
            raised: instance.get_typed_func(&mut *store, "PyErr_GetRaisedException")?,
            matches: instance.get_typed_func(&mut *store, "PyErr_GivenExceptionMatches")?,
            clear: instance.get_typed_func(&mut *store, "PyErr_Clear")?,
            bytes_address: instance.get_typed_func(&mut *store, "PyBytes_AsString")?,
            bytes_size: instance.get_typed_func(&mut *store, "PyBytes_Size")?,
            marshal: instance.get_typed_func(&mut *store, "PyMarshal_WriteObjectToString")?,
            call: instance.get_typed_func(&mut *store, "PyObject_CallNoArgs")?,
            call_with: instance.get_typed_func(&mut *store, "PyObject_CallOneArg")?,
            text: instance.get_typed_func(&mut *store, "PyObject_Str")?,
            type_name: instance.get_typed_func(&mut *store, "PyType_GetName")?,
            utf8: instance.get_typed_func(&mut *store, "PyUnicode_AsUTF8AndSize")?,
        })
    }
}

fn infra(error: wasmtime::Error) -> Broken {
    Broken::Infra(InfraError::Sandbox(format!("{error:#}")))
}
