//! Entry points for `executor/fuzz`: the readers of untrusted bytes, and the system interface.
//!
//! Only compiled with `--cfg fuzzing`, which cargo-fuzz sets.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use wasmtime::{Config, Engine, InstancePre, Module, Store, Val, ValType};

use crate::files::Files;
use crate::protocol::{self, Hello, Reply, Request, Welcome};
use crate::sandbox::{Ledger, Sandbox};
use crate::shim::{self, WASI};
use crate::value::Value;
use crate::world::World;
use crate::{Fuel, Limits, assertion, embedding};

/// Functions of the system interface and the types of their parameters, `I` for 64 bits; `proc_exit` returns nothing.
const INTERFACE: &[(&str, &str)] = &[
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_close", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_filestat_get", "ii"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_seek", "iIii"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_filestat_get", "iiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_exit", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_shutdown", "ii"),
];

/// Calls that one input may make.
const MOST_CALLS: usize = 64;

/// A module that only passes calls on.
static PROGRAM: LazyLock<InstancePre<Sandbox>> = LazyLock::new(|| {
    let (mut imports, mut exports) = (String::new(), String::new());
    for (name, parameters) in INTERFACE {
        let kinds: String =
            parameters.chars().map(|kind| if kind == 'I' { " i64" } else { " i32" }).collect();
        let result = if *name == "proc_exit" { "" } else { "(result i32)" };
        writeln!(imports, "(import \"{WASI}\" \"{name}\" (func ${name} (param{kinds}) {result}))").unwrap();
        writeln!(exports, "(export \"{name}\" (func ${name}))").unwrap();
    }
    let text = format!("(module {imports} (memory (export \"memory\") 1) {exports})");
    let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
    let module = Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
    shim::linker(&engine, &module).unwrap().instantiate_pre(&module).unwrap()
});

/// Calls functions of the system interface. The first half of the bytes is put into the memory, the second says what is called.
pub fn host_functions(bytes: &[u8]) {
    let (content, mut calls) = bytes.split_at(bytes.len() / 2);
    let limits = Limits { fuel: Fuel::try_from(10_000_000).unwrap(), ..Limits::default() };
    let files = [("/data/a.txt", "first"), ("/data/b.txt", "second"), ("/c", "")]
        .map(|(path, text)| (path.to_owned(), Arc::new(text.as_bytes().to_vec())));
    let world = World::of_command(["program".to_owned()], *b"1 2 3\n", Files::new(files).unwrap());
    let mut store = Store::new(PROGRAM.module().engine(), Sandbox::new(world, limits, Ledger::default()));
    store.set_fuel(limits.fuel.get()).unwrap();
    let instance = PROGRAM.instantiate(&mut store).unwrap();
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    store.data_mut().memory = Some(memory);
    let most = content.len().min(memory.data_size(&store));
    memory.data_mut(&mut store)[..most].copy_from_slice(&content[..most]);
    for _ in 0..MOST_CALLS {
        let Some((which, rest)) = calls.split_first() else { break };
        calls = rest;
        let (name, _) = INTERFACE[usize::from(*which) % INTERFACE.len()];
        let function = instance.get_func(&mut store, name).unwrap();
        let kind = function.ty(&store);
        let mut next = || {
            let size = calls.len().min(4);
            let (taken, rest) = calls.split_at(size);
            calls = rest;
            let mut number = [0; 4];
            number[..size].copy_from_slice(taken);
            i32::from_le_bytes(number)
        };
        let parameters: Vec<Val> = kind
            .params()
            .map(|kind| match kind {
                ValType::I64 => Val::I64(i64::from(next()) | i64::from(next()) << 32),
                _ => Val::I32(next()),
            })
            .collect();
        let mut results = vec![Val::I32(0); kind.results().len()];
        if function.call(&mut store, &parameters, &mut results).is_err() {
            break;
        }
    }
    let ledger = store.into_data().ledger;
    assert!(ledger.stdout.len() <= crate::Verdict::HEAD_BYTES);
}

/// Reads frames, marshalled values, tests and modules.
pub fn verdicts(bytes: &[u8]) {
    let _ = protocol::read::<Reply>(&mut &*bytes);
    let _ = protocol::read::<Welcome>(&mut &*bytes);
    let _ = protocol::read::<Hello>(&mut &*bytes);
    let _ = protocol::read::<Request>(&mut &*bytes);
    let _ = protocol::decode::<Reply>(bytes);
    let _ = protocol::decode::<Request>(bytes);
    let _ = embedding::expose(bytes, &["_initialize"]);
    if let Ok(value) = Value::read(bytes) {
        assert!(value.to_string().len() < 1000);
        let same = value.clone().without_tuples();
        assert_eq!(same.clone().without_tuples(), same);
        if let Ok(json) = serde_json::from_slice(bytes) {
            let _ = value.equals(&Value::of_json(&json));
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = assertion::split(text);
    }
}
