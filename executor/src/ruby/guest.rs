//! One CRuby, driven by the host.
//!
//! Its exports follow the canonical interface of an early component model: a text is an address and a size in memory that the
//! host has asked for, a value of Ruby is a number that the host gives out, and several results lie where the one result points.

use wasmtime::{Caller, Engine, Instance, InstancePre, Linker, Memory, Module, Store, TypedFunc};

use crate::embedding::MEMORY;
use crate::guest::Broken;
use crate::sandbox::{Ledger, Sandbox};
use crate::shim;
use crate::world::World;
use crate::{InfraError, Limits, Outcome};

const ALLOCATE: &str = "cabi_realloc";
const EVALUATE: &str = "rb-eval-string-protect: func(str: string) -> tuple<handle<rb-abi-value>, s32>";
const TEXT: &str = "rstring-ptr: func(value: handle<rb-abi-value>) -> string";
const START: &str = "ruby-init: func(args: list<string>) -> ()";
const FIND_LIBRARY: &str = "ruby-init-loadpath: func() -> ()";

/// The module that values are handed out and taken back by.
const VALUES: &str = "canonical_abi";

/// Most bytes of a text that are read.
const MOST_TEXT: u32 = 1 << 12;

/// Arguments of the interpreter: text is UTF-8, and there is no program yet.
const ARGUMENTS: [&str; 3] = ["ruby", "-EUTF-8", "-e_=0"];

/// The system interface, closed, and what stands for values of Ruby outside of it: their own addresses.
pub(crate) fn linker(engine: &Engine, module: &Module) -> wasmtime::Result<Linker<Sandbox>> {
    let mut linker = shim::linker(engine, module)?;
    let same = |_: Caller<'_, Sandbox>, value: u32| value;
    linker.func_wrap(VALUES, "resource_new_rb-abi-value", same)?;
    linker.func_wrap(VALUES, "resource_get_rb-abi-value", same)?;
    Ok(linker)
}

/// One interpreter in one instance.
pub(super) struct Guest {
    pub(super) store: Store<Sandbox>,
    pub(super) memory: Memory,
    allocate: TypedFunc<(u32, u32, u32, u32), u32>,
    evaluate: TypedFunc<(u32, u32), u32>,
    text: TypedFunc<u32, u32>,
}

impl Guest {
    /// Starts an interpreter from the picture, with `fuel` units of fuel.
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
        let instance = interpreter.instantiate(&mut store);
        let instance = match instance {
            Err(_) if store.data().memory_refused => return Err(Broken::Program(Outcome::OutOfMemory)),
            instance => instance.map_err(infra)?,
        };
        Self::of(store, &instance).map_err(infra)
    }

    /// Starts an interpreter from nothing: what a picture is taken of.
    pub(super) fn set_up(store: Store<Sandbox>, instance: &Instance) -> Result<Self, Broken> {
        let mut guest = Self::of(store, instance).map_err(infra)?;
        let store = &mut guest.store;
        let initialize: TypedFunc<(), ()> =
            instance.get_typed_func(&mut *store, "_initialize").map_err(infra)?;
        let begin: TypedFunc<(u32, u32), ()> = instance.get_typed_func(&mut *store, START).map_err(infra)?;
        let find: TypedFunc<(), ()> = instance.get_typed_func(&mut *store, FIND_LIBRARY).map_err(infra)?;
        initialize.call(&mut *store, ()).map_err(infra)?;
        let mut list = Vec::new();
        for argument in ARGUMENTS {
            let at = guest.place(format!("{argument}\0").as_bytes())?;
            list.extend(at.to_le_bytes());
            list.extend((argument.len() as u32 + 1).to_le_bytes());
        }
        let list = guest.place(&list)?;
        begin.call(&mut guest.store, (list, ARGUMENTS.len() as u32)).map_err(infra)?;
        find.call(&mut guest.store, ()).map_err(infra)?;
        Ok(guest)
    }

    fn of(mut store: Store<Sandbox>, instance: &Instance) -> wasmtime::Result<Self> {
        let memory = instance
            .get_memory(&mut store, MEMORY)
            .ok_or_else(|| wasmtime::Error::msg("the module exports no memory"))?;
        store.data_mut().memory = Some(memory);
        Ok(Self {
            memory,
            allocate: instance.get_typed_func(&mut store, ALLOCATE)?,
            evaluate: instance.get_typed_func(&mut store, EVALUATE)?,
            text: instance.get_typed_func(&mut store, TEXT)?,
            store,
        })
    }

    /// Evaluates source that gives a text; `None` if it raises an exception instead.
    pub(super) fn evaluate(&mut self, source: &str) -> Result<Option<String>, Broken> {
        let at = self.place(source.as_bytes())?;
        let called = self.evaluate.call(&mut self.store, (at, source.len() as u32));
        let results = called.map_err(|error| self.sort(error))?;
        let [value, state] = self.pair(results)?;
        if state != 0 {
            return Ok(None);
        }
        let called = self.text.call(&mut self.store, value);
        let results = called.map_err(|error| self.sort(error))?;
        let [at, size] = self.pair(results)?;
        let text = self.read(at, size.min(MOST_TEXT))?;
        Ok(Some(String::from_utf8_lossy(text).into_owned()))
    }

    fn place(&mut self, bytes: &[u8]) -> Result<u32, Broken> {
        const ALIGNMENT: u32 = 4;
        let size = u32::try_from(bytes.len()).map_err(|_| Broken::Program(Outcome::OutOfMemory))?;
        let called = self.allocate.call(&mut self.store, (0, 0, ALIGNMENT, size));
        let at = called.map_err(|error| self.sort(error))?;
        self.memory
            .write(&mut self.store, at as usize, bytes)
            .map_err(|_| Broken::Program(Outcome::Crashed))?;
        Ok(at)
    }

    fn pair(&self, at: u32) -> Result<[u32; 2], Broken> {
        let bytes = self.read(at, 8)?;
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Ok([number(0), number(4)])
    }

    /// Reads the guest's memory. Outside of it lies what a broken interpreter points to.
    fn read(&self, at: u32, size: u32) -> Result<&[u8], Broken> {
        let (start, end) = (at as usize, at as usize + size as usize);
        self.memory.data(&self.store).get(start..end).ok_or(Broken::Program(Outcome::Crashed))
    }

    fn sort(&self, error: wasmtime::Error) -> Broken {
        Broken::sort(error, self.store.data())
    }
}

pub(super) fn infra(error: wasmtime::Error) -> Broken {
    Broken::Infra(InfraError::Sandbox(format!("{error:#}")))
}
