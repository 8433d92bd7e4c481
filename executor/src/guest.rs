//! One interpreter, driven by the host through CPython's C interface.
//!
//! Addresses of Python objects are `u32` numbers inside the sandbox. References are never given back: an instance lives for
//! one job and is thrown away whole.

use serde::{Deserialize, Serialize};
use wasmtime::{
    Instance, InstancePre, Memory, Store, ThrownException, Trap, TypedFunc, WasmParams, WasmResults,
};

use crate::embedding::MEMORY;
use crate::sandbox::{Ledger, Sandbox, Stopped};
use crate::world::World;
use crate::{Cause, Ending, InfraError, Limits, Outcome};

mod exception;
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

/// Name of the module that a program runs as when it is run as a script.
const SCRIPT: &str = "__main__";

/// File name of the program in tracebacks, and of everything else that is compiled.
const PROGRAM_NAME: &str = "<program>";
const TEST_NAME: &str = "<test>";

/// Why a call into the interpreter did not return.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The program is at fault: the instance is over, and this is the outcome.
    Program(Outcome),
    /// The sandbox is at fault.
    Infra(InfraError),
}

/// Whose source is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// The program's: lines in it are reported.
    Program,
    /// The task's.
    Test,
}

/// What came of running some source: a value, or how it ended.
pub(crate) type Ran = Result<u32, Ending>;

type Result1 = TypedFunc<u32, u32>;
type Result1Signed = TypedFunc<u32, i32>;
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
    attribute: Result2,
    traceback: Result1,
    long: Result1Signed,
    unmarshal: TypedFunc<(u32, u32), u32>,
    call_tuple: Result2,
    is_true: Result1Signed,
    set_item: TypedFunc<(u32, u32, u32), i32>,
    module: Result1,
    module_dictionary: Result1,
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
    program_name: u32,
    test_name: u32,
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
    /// Whether the last thing that ran left the interpreter with an exit code that means success.
    left_normally: bool,
}

impl Guest {
    /// Starts an interpreter with `fuel` units of fuel. It is ready for a program at once.
    pub(crate) fn start(
        interpreter: &Interpreter,
        world: World,
        limits: Limits,
        fuel: u64,
        ledger: Ledger,
    ) -> Result<Self, Broken> {
        let (mut guest, _) = Self::instantiate(&interpreter.instances, world, limits, fuel, ledger)?;
        guest.objects = interpreter.objects;
        Ok(guest)
    }

    fn instantiate(
        instances: &InstancePre<Sandbox>,
        world: World,
        limits: Limits,
        fuel: u64,
        ledger: Ledger,
    ) -> Result<(Self, Instance), Broken> {
        let sandbox = Sandbox::new(world, limits, ledger);
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
        Ok((Self { store, memory, functions, objects, left_normally: false }, instance))
    }

    /// Compiles source. `Err` with [`Outcome::SyntaxError`] if it is not Python.
    pub(crate) fn compile(&mut self, source: &str, kind: Source, author: Author) -> Result<Ran, Broken> {
        if source.contains('\0') {
            let cause = Cause::Exception {
                kind: "SyntaxError".to_owned(),
                message: "source code contains a null byte".to_owned(),
                line: None,
            };
            self.note(&cause.to_string());
            return Ok(Err(Ending::because(Outcome::SyntaxError, cause)));
        }
        let text = self.place(source.as_bytes())?;
        let filename = match author {
            Author::Program => self.objects.program_name,
            Author::Test => self.objects.test_name,
        };
        let code =
            self.call_function(|functions| &functions.compile, (text, filename, kind as i32, 0, 0, 0))?;
        self.call_function(|functions| &functions.free, text)?;
        if code != 0 {
            return Ok(Ok(code));
        }
        let mut ending = self.take_exception(author)?;
        if ending.outcome == Outcome::Raised {
            ending.outcome = Outcome::SyntaxError;
        }
        Ok(Err(ending))
    }

    /// Runs code in the program's module. `Ok` with the value, which is `None` for statements.
    pub(crate) fn evaluate(&mut self, code: u32) -> Result<Ran, Broken> {
        let globals = self.objects.globals;
        let value = self.call_function(|functions| &functions.evaluate, (code, globals, globals))?;
        self.finish(value)
    }

    /// Compiles and runs source in the program's module.
    pub(crate) fn run(&mut self, source: &str, kind: Source, author: Author) -> Result<Ran, Broken> {
        match self.compile(source, kind, author)? {
            Ok(code) => self.evaluate(code),
            Err(ending) => Ok(Err(ending)),
        }
    }

    /// Calls a function with one argument.
    pub(crate) fn apply(&mut self, function: u32, argument: u32) -> Result<Ran, Broken> {
        let value = self.call_function(|functions| &functions.call_with, (function, argument))?;
        self.finish(value)
    }

    /// Calls a function with a tuple of arguments.
    pub(crate) fn call(&mut self, function: u32, arguments: u32) -> Result<Ran, Broken> {
        let value = self.call_function(|functions| &functions.call_tuple, (function, arguments))?;
        self.finish(value)
    }

    /// Whether Python takes a value for true.
    pub(crate) fn is_true(&mut self, value: u32) -> Result<Result<bool, Ending>, Broken> {
        Ok(match self.call_function(|functions| &functions.is_true, value)? {
            0 => Ok(false),
            1.. => Ok(true),
            _ => Err(self.take_exception(Author::Test)?),
        })
    }

    /// Makes a value known to the code that runs next, by a name.
    pub(crate) fn define(&mut self, name: &str, value: u32) -> Result<(), Broken> {
        let name = self.place(name.as_bytes())?;
        let globals = self.objects.globals;
        self.call_function(|functions| &functions.set_item, (globals, name, value))?;
        self.call_function(|functions| &functions.free, name)
    }

    /// From now on code runs in the module of scripts.
    pub(crate) fn enter_script(&mut self) -> Result<(), Broken> {
        let name = self.place(SCRIPT.as_bytes())?;
        let module = self.call_function(|functions| &functions.module, name)?;
        self.objects.globals = self.call_function(|functions| &functions.module_dictionary, module)?;
        self.fill_globals()
    }

    fn finish(&mut self, value: u32) -> Result<Ran, Broken> {
        self.left_normally = false;
        let ran = if value == 0 { Err(self.take_exception(Author::Program)?) } else { Ok(value) };
        self.flush()?;
        Ok(ran)
    }

    /// Whether what ran last has left the interpreter, by `SystemExit` or at once, with a code that means success.
    pub(crate) fn left_normally(&self) -> bool {
        self.left_normally || self.store.data().exit_code == Some(0)
    }

    /// The value that marshalled bytes stand for. The bytes must have been checked by [`Value::read`](crate::value::Value::read).
    pub(crate) fn unmarshal(&mut self, bytes: &[u8]) -> Result<Ran, Broken> {
        let address = self.place(bytes)?;
        let size = bytes.len() as u32;
        let value = self.call_function(|functions| &functions.unmarshal, (address, size))?;
        self.call_function(|functions| &functions.free, address)?;
        if value == 0 { Ok(Err(self.take_exception(Author::Test)?)) } else { Ok(Ok(value)) }
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

    /// Adds a line to the job's stderr.
    pub(crate) fn note(&mut self, line: &str) {
        self.store.data_mut().ledger.note(line);
    }

    /// Keeps all of what is written to stdout from now on, not only its beginning.
    pub(crate) fn keep_printed(&mut self) {
        self.store.data_mut().printed = Some(Vec::new());
    }

    /// What was written to stdout since then.
    pub(crate) fn take_printed(&mut self) -> Vec<u8> {
        self.store.data_mut().printed.take().unwrap_or_default()
    }

    /// How often something was refused.
    pub(crate) fn refusals(&self) -> u64 {
        self.store.data().refusals()
    }

    /// Fuel that is left.
    pub(crate) fn fuel(&self) -> u64 {
        self.store.get_fuel().unwrap_or(0)
    }

    /// Ends the instance.
    pub(crate) fn into_ledger(self) -> Ledger {
        self.store.into_data().ledger
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

    fn sort(&self, error: wasmtime::Error) -> Broken {
        Broken::sort(error, self.store.data())
    }
}

impl Broken {
    /// Tells a program's fault from the sandbox's.
    pub(crate) fn sort(error: wasmtime::Error, sandbox: &Sandbox) -> Self {
        if let Some(stopped) = error.downcast_ref::<Stopped>() {
            return Self::Program(Outcome::from(*stopped));
        }
        let outcome = match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => Outcome::OutOfFuel,
            Some(Trap::Interrupt) => Outcome::OutOfTime,
            Some(Trap::StackOverflow) => Outcome::StackOverflow,
            // Interpreters abort where they cannot raise for want of memory.
            Some(_) if sandbox.memory_refused => Outcome::OutOfMemory,
            Some(_) => Outcome::Crashed,
            None if error.is::<ThrownException>() => Outcome::Crashed,
            None => return infra(error),
        };
        Self::Program(outcome)
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
            attribute: instance.get_typed_func(&mut *store, "PyObject_GetAttrString")?,
            traceback: instance.get_typed_func(&mut *store, "PyException_GetTraceback")?,
            long: instance.get_typed_func(&mut *store, "PyLong_AsLong")?,
            unmarshal: instance.get_typed_func(&mut *store, "PyMarshal_ReadObjectFromString")?,
            call_tuple: instance.get_typed_func(&mut *store, "PyObject_CallObject")?,
            is_true: instance.get_typed_func(&mut *store, "PyObject_IsTrue")?,
            set_item: instance.get_typed_func(&mut *store, "PyDict_SetItemString")?,
            module: instance.get_typed_func(&mut *store, "PyImport_AddModule")?,
            module_dictionary: instance.get_typed_func(&mut *store, "PyModule_GetDict")?,
        })
    }
}

fn infra(error: wasmtime::Error) -> Broken {
    Broken::Infra(InfraError::Sandbox(format!("{error:#}")))
}
