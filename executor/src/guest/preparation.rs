//! What is done once, before the picture is taken that every program starts from.
//!
//! Modules that programs use are imported, the objects that the host needs are taken, and the interpreter is made to look like
//! an ordinary one. All of it is in the memory of every program; none of it costs a program anything.

use wasmtime::{Instance, InstancePre, Val, WasmParams, WasmResults};

use super::{Author, Broken, Guest, Objects, PROGRAM_NAME, Source, TEST_NAME, infra};
use crate::embedding::PAGE_BYTES;
use crate::sandbox::{Ledger, Sandbox};
use crate::world::World;
use crate::{InfraError, Limits};

/// Recursion depth at which Python raises `RecursionError`, as in an ordinary interpreter.
const RECURSION_LIMIT: i32 = 1000;

/// `sys.maxsize` of the 64-bit interpreter that programs are written for.
const MAXSIZE: i64 = i64::MAX;

/// Name of the module that programs run as. Not `__main__`: what a program does only when run as a script is not wanted.
const MODULE: &str = "solution";

/// Changes when what follows does: part of the key under which pictures are kept.
const REVISION: u32 = 2;

/// Imports the modules that programs use.
const PRELOAD: &str = include_str!("preload.py");

/// Lets the garbage collector forget what is there: it would visit, and so write to, all of it.
const FREEZE: &str = "import gc\ngc.collect()\ngc.freeze()\n";

/// Memory that is free at the start. What a short program needs is there, in one piece, and need not be asked for.
const HEADROOM_BYTES: u32 = 2 << 20;

/// Fuel for the preparation. The program's clock counts fuel that was used of its limit, which is less: so it stands still.
const FUEL: u64 = 1 << 50;

/// Everything that a preparation depends on besides the interpreter and its standard library.
pub(crate) fn fingerprint() -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&REVISION.to_le_bytes());
    hasher.update(PRELOAD.as_bytes());
    hasher.update(&HEADROOM_BYTES.to_le_bytes());
    hasher.finalize()
}

/// An interpreter that is ready for programs.
pub(crate) struct PreparedMemory {
    /// All of its memory; a whole number of pages.
    pub(crate) picture: Vec<u8>,
    /// Where in it the objects are that the host uses.
    pub(crate) objects: Objects,
}

impl Guest {
    /// Prepares an interpreter. `starters` are called first, for one that has not started yet.
    pub(crate) fn prepare(
        instances: &InstancePre<Sandbox>,
        world: World,
        starters: &[&str],
    ) -> Result<PreparedMemory, Broken> {
        let (mut guest, instance) =
            Self::instantiate(instances, world, Limits::default(), FUEL, Ledger::default())?;
        let globals = guest.variable_globals(&instance);
        for starter in starters {
            guest.call_starter(&instance, starter)?;
        }
        guest.take_objects(&instance)?;
        guest.make_ordinary(&instance)?;
        guest.preload(&instance)?;
        check(globals == guest.variable_globals(&instance), "it has moved its stack")?;
        check(guest.store.data().open.iter().all(Option::is_none), "it has left a file open")?;
        let picture = guest.memory.data(&guest.store).to_vec();
        check(picture.len().is_multiple_of(PAGE_BYTES), "its memory ends within a page")?;
        Ok(PreparedMemory { picture, objects: guest.objects })
    }

    /// Values of the globals, which a picture of the memory does not hold: they must be what they were.
    fn variable_globals(&mut self, instance: &Instance) -> Vec<Option<i64>> {
        let globals: Vec<_> =
            instance.exports(&mut self.store).filter_map(wasmtime::Export::into_global).collect();
        let mut value = |global: &wasmtime::Global| {
            let value = global.get(&mut self.store);
            value.i64().or(value.i32().map(i64::from))
        };
        globals.iter().map(&mut value).collect()
    }

    fn call_starter(&mut self, instance: &Instance, name: &str) -> Result<(), Broken> {
        let Some(function) = instance.get_func(&mut self.store, name) else {
            return Err(failed(format!("the interpreter has no function `{name}`")));
        };
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        function.call(&mut self.store, &[], &mut results).map_err(|error| self.sort(error))?;
        match results.first() {
            None | Some(Val::I32(0)) => Ok(()),
            Some(result) => Err(failed(format!("`{name}` returned {result:?}, wanted 0"))),
        }
    }

    /// Takes what the host needs from the interpreter.
    fn take_objects(&mut self, instance: &Instance) -> Result<(), Broken> {
        let builtins = self.call_export::<(), u32>(instance, "PyEval_GetBuiltins", ())?;
        let stdout = self.named(instance, "PySys_GetObject", "stdout")?;
        let stderr = self.named(instance, "PySys_GetObject", "stderr")?;
        let module = self.named(instance, "PyImport_AddModule", MODULE)?;
        self.objects = Objects {
            globals: self.call_export::<u32, u32>(instance, "PyModule_GetDict", module)?,
            program_name: self.make_text(PROGRAM_NAME, instance)?,
            test_name: self.make_text(TEST_NAME, instance)?,
            flush_stdout: self.member(instance, "PyObject_GetAttrString", stdout, "flush")?,
            flush_stderr: self.member(instance, "PyObject_GetAttrString", stderr, "flush")?,
            assertion_error: self.member(instance, "PyDict_GetItemString", builtins, "AssertionError")?,
            system_exit: self.member(instance, "PyDict_GetItemString", builtins, "SystemExit")?,
            memory_error: self.member(instance, "PyDict_GetItemString", builtins, "MemoryError")?,
            recursion_error: self.member(instance, "PyDict_GetItemString", builtins, "RecursionError")?,
        };
        self.fill_globals()
    }

    /// Makes the interpreter look like the one that programs are written for.
    fn make_ordinary(&mut self, instance: &Instance) -> Result<(), Broken> {
        self.call_export::<i32, ()>(instance, "Py_SetRecursionLimit", RECURSION_LIMIT)?;
        let maxsize = self.call_export::<i64, u32>(instance, "PyLong_FromLongLong", MAXSIZE)?;
        self.set_system(instance, "maxsize", maxsize)?;
        self.disarm(instance)?;
        self.call_function(|functions| &functions.clear, ())
    }

    /// Imports modules, where no name of theirs gets into the program's module.
    fn preload(&mut self, instance: &Instance) -> Result<(), Broken> {
        let program = self.objects.globals;
        let builtins = self.call_export::<(), u32>(instance, "PyEval_GetBuiltins", ())?;
        self.objects.globals = self.present(instance, "PyDict_Copy", builtins, "builtins")?;
        self.run_ours(PRELOAD)?;
        let headroom = self.call_function(|functions| &functions.malloc, HEADROOM_BYTES)?;
        self.call_function(|functions| &functions.free, headroom)?;
        self.run_ours(FREEZE)?;
        self.objects.globals = program;
        Ok(())
    }

    /// Takes away what can watch a test line by line: such a callback could move it past its assertions.
    fn disarm(&mut self, instance: &Instance) -> Result<(), Broken> {
        let monitoring = self.place(b"monitoring")?;
        let monitoring = self.call_export::<u32, u32>(instance, "PySys_GetObject", monitoring)?;
        // Python has had it since 3.12.
        if monitoring != 0 {
            let monitoring = self.call_export::<u32, u32>(instance, "PyModule_GetDict", monitoring)?;
            for name in ["register_callback", "set_events", "set_local_events"] {
                let name = self.place(name.as_bytes())?;
                self.call_export::<(u32, u32), i32>(instance, "PyDict_DelItemString", (monitoring, name))?;
            }
        }
        for name in ["settrace", "_settraceallthreads", "setprofile", "_setprofileallthreads"] {
            self.set_system(instance, name, 0)?;
        }
        Ok(())
    }

    /// Gives the module its `__builtins__`, which extension modules such as numpy look up: `exec` adds them to the globals of
    /// its caller.
    pub(super) fn fill_globals(&mut self) -> Result<(), Broken> {
        self.run_ours("exec('')")
    }

    /// Runs source of ours, which must not fail.
    fn run_ours(&mut self, source: &str) -> Result<(), Broken> {
        match self.run(source, Source::Statements, Author::Test)? {
            Ok(_) => Ok(()),
            Err(ending) => Err(failed(format!("the interpreter cannot be prepared: {}", ending.reason()))),
        }
    }

    fn make_text(&mut self, text: &str, instance: &Instance) -> Result<u32, Broken> {
        let address = self.place(text.as_bytes())?;
        self.present(instance, "PyUnicode_FromStringAndSize", (address, text.len() as u32), text)
    }

    /// Calls a C function that takes a name and returns an object.
    fn named(&mut self, instance: &Instance, function: &str, name: &str) -> Result<u32, Broken> {
        let address = self.place(name.as_bytes())?;
        self.present(instance, function, address, name)
    }

    /// Calls a C function that takes an object and a name and returns an object.
    fn member(&mut self, instance: &Instance, function: &str, of: u32, name: &str) -> Result<u32, Broken> {
        let address = self.place(name.as_bytes())?;
        self.present(instance, function, (of, address), name)
    }

    fn set_system(&mut self, instance: &Instance, name: &str, value: u32) -> Result<(), Broken> {
        let address = self.place(name.as_bytes())?;
        self.call_export::<(u32, u32), i32>(instance, "PySys_SetObject", (address, value))?;
        Ok(())
    }

    /// Calls a C function that must return an object: the program has not run yet, so nothing can be missing.
    fn present<P: WasmParams>(
        &mut self,
        instance: &Instance,
        function: &str,
        parameters: P,
        what: &str,
    ) -> Result<u32, Broken> {
        match self.call_export::<P, u32>(instance, function, parameters)? {
            0 => Err(Broken::Infra(InfraError::Sandbox(format!(
                "`{function}` finds no `{what}` in the interpreter"
            )))),
            object => Ok(object),
        }
    }

    fn call_export<P: WasmParams, R: WasmResults>(
        &mut self,
        instance: &Instance,
        name: &str,
        parameters: P,
    ) -> Result<R, Broken> {
        let function = instance.get_typed_func::<P, R>(&mut self.store, name).map_err(infra)?;
        let called = function.call(&mut self.store, parameters);
        called.map_err(|error| self.sort(error))
    }
}

fn check(is_right: bool, otherwise: &str) -> Result<(), Broken> {
    if is_right { Ok(()) } else { Err(failed(format!("the interpreter cannot be kept: {otherwise}"))) }
}

fn failed(message: String) -> Broken {
    Broken::Infra(InfraError::Sandbox(message))
}
