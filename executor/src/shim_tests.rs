//! The system interface as a program sees it: the calls of a module that only passes them on.

use wasmtime::{Engine, Instance, Memory, Module, Store, TypedFunc, WasmParams};

use super::{errno, linker};
use crate::files::Files;
use crate::sandbox::{Ledger, Sandbox, Stopped};
use crate::world::World;
use crate::{Fuel, Limits};

const INTERFACE: &str = r#"(module
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $fd_filestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread" (func $fd_pread (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $fd_prestat_dir_name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get" (func $path_filestat_get (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $path_unlink_file (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (export "args_get" (func $args_get))
  (export "args_sizes_get" (func $args_sizes_get))
  (export "fd_close" (func $fd_close))
  (export "fd_filestat_get" (func $fd_filestat_get))
  (export "fd_pread" (func $fd_pread))
  (export "fd_prestat_get" (func $fd_prestat_get))
  (export "fd_prestat_dir_name" (func $fd_prestat_dir_name))
  (export "fd_read" (func $fd_read))
  (export "fd_readdir" (func $fd_readdir))
  (export "fd_seek" (func $fd_seek))
  (export "fd_write" (func $fd_write))
  (export "path_filestat_get" (func $path_filestat_get))
  (export "path_open" (func $path_open))
  (export "path_unlink_file" (func $path_unlink_file)))"#;

/// Where calls write their results, paths are, buffers are listed, and bytes are read to.
const RESULT: i32 = 0;
const PATH: i32 = 128;
const LIST: i32 = 1024;
const TEXT: i32 = 2048;

const ROOT: i32 = 3;
const READ: i64 = 1 << 1;
const WRITE: i64 = 1 << 6;

struct Program {
    store: Store<Sandbox>,
    instance: Instance,
    memory: Memory,
}

impl Program {
    fn with(arguments: &[&str], stdin: &[u8], files: &[(&str, &[u8])]) -> Self {
        let engine = Engine::new(wasmtime::Config::new().consume_fuel(true)).unwrap();
        let module = Module::new(&engine, wat::parse_str(INTERFACE).unwrap()).unwrap();
        let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec().into()));
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        let world = World::of_command(arguments, stdin, Files::new(files).unwrap());
        let limits = Limits { fuel: Fuel::try_from(1_000_000).unwrap(), ..Limits::default() };
        let mut store = Store::new(&engine, Sandbox::new(world, limits, Ledger::default()));
        store.set_fuel(limits.fuel.get()).unwrap();
        let instance = linker(&engine, &module).unwrap().instantiate(&mut store, &module).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        store.data_mut().memory = Some(memory);
        Self { store, instance, memory }
    }

    fn try_call<P: WasmParams>(&mut self, name: &str, parameters: P) -> wasmtime::Result<i32> {
        let function: TypedFunc<P, i32> = self.instance.get_typed_func(&mut self.store, name).unwrap();
        function.call(&mut self.store, parameters)
    }

    fn call<P: WasmParams>(&mut self, name: &str, parameters: P) -> i32 {
        self.try_call(name, parameters).unwrap()
    }

    fn put(&mut self, at: i32, bytes: &[u8]) {
        self.memory.write(&mut self.store, at as usize, bytes).unwrap();
    }

    fn bytes(&self, at: i32, size: usize) -> &[u8] {
        &self.memory.data(&self.store)[at as usize..][..size]
    }

    fn number(&self, at: i32) -> u32 {
        u32::from_le_bytes(self.bytes(at, 4).try_into().unwrap())
    }

    fn open(&mut self, path: &str, flags: i32, rights: i64) -> Result<i32, i32> {
        self.put(PATH, path.as_bytes());
        let parameters = (ROOT, 0, PATH, path.len() as i32, flags, rights, 0_i64, 0, RESULT);
        match self.call("path_open", parameters) {
            errno::SUCCESS => Ok(self.number(RESULT) as i32),
            refusal => Err(refusal),
        }
    }

    /// Reads into two buffers, of three bytes and of `most - 3`.
    fn read(&mut self, descriptor: i32, most: u32) -> Result<Vec<u8>, i32> {
        let buffers = [TEXT as u32, 3, TEXT as u32 + 3, most - 3];
        self.put(LIST, &buffers.map(u32::to_le_bytes).concat());
        match self.call("fd_read", (descriptor, LIST, 2, RESULT)) {
            errno::SUCCESS => Ok(self.bytes(TEXT, self.number(RESULT) as usize).to_vec()),
            refusal => Err(refusal),
        }
    }

    fn denied(&self, name: &str) -> u32 {
        self.store.data().ledger.denied.get(name).copied().unwrap_or(0)
    }
}

#[test]
fn stdin_is_read_from_beginning_to_end_and_only_once() {
    let mut program = Program::with(&[], b"first line\nsecond\n", &[]);
    assert_eq!(program.read(0, 7).unwrap(), b"first l");
    assert_eq!(program.read(0, 100).unwrap(), b"ine\nsecond\n");
    assert_eq!(program.read(0, 100).unwrap(), b"");
    assert_eq!(program.call("fd_seek", (0, 0_i64, 0, RESULT)), errno::SPIPE);
    assert_eq!(program.read(1, 100), Err(errno::BADF));
}

#[test]
fn reading_costs_fuel() {
    let mut program = Program::with(&[], &[b'x'; 5000], &[]);
    let before = program.store.get_fuel().unwrap();
    program.read(0, 5000).unwrap();
    assert!(before - program.store.get_fuel().unwrap() >= 5000);
}

#[test]
fn arguments_arrive_with_a_zero_after_each() {
    let mut program = Program::with(&["program", "", "-x=é"], b"", &[]);
    assert_eq!(program.call("args_sizes_get", (RESULT, RESULT + 4)), errno::SUCCESS);
    assert_eq!((program.number(RESULT), program.number(RESULT + 4)), (3, 15));
    assert_eq!(program.call("args_get", (LIST, TEXT)), errno::SUCCESS);
    assert_eq!(program.bytes(TEXT, 15), "program\0\0-x=é\0".as_bytes());
    let starts = [0, 4, 8].map(|entry| program.number(LIST + entry) - TEXT as u32);
    assert_eq!(starts, [0, 8, 9]);
    assert_eq!(program.call("args_get", (65_536 - 2, TEXT)), errno::FAULT);
}

#[test]
fn files_are_opened_read_sought_and_closed() {
    let mut program = Program::with(&[], b"", &[("/data/words.txt", b"one two three")]);
    let file = program.open("data/words.txt", 0, READ).unwrap();
    assert_eq!(program.read(file, 5).unwrap(), b"one t");
    assert_eq!(program.call("fd_seek", (file, -5_i64, 2, RESULT)), errno::SUCCESS);
    assert_eq!(program.number(RESULT), 8);
    assert_eq!(program.read(file, 100).unwrap(), b"three");
    assert_eq!(program.call("fd_seek", (file, 1_i64 << 40, 0, RESULT)), errno::SUCCESS);
    assert_eq!(program.read(file, 100).unwrap(), b"");
    program.put(LIST, &[TEXT as u32, 3].map(u32::to_le_bytes).concat());
    assert_eq!(program.call("fd_pread", (file, LIST, 1, 4_i64, RESULT)), errno::SUCCESS);
    assert_eq!(program.bytes(TEXT, 3), b"two");
    let again = program.open("/data/../data//words.txt", 0, READ).unwrap();
    assert_eq!(again, file + 1);
    assert_eq!(program.call("fd_close", file), errno::SUCCESS);
    assert_eq!(program.read(file, 100), Err(errno::BADF));
    assert_eq!(program.read(again, 5).unwrap(), b"one t");
    assert_eq!(program.denied("path_open"), 0);
}

#[test]
fn nothing_is_written_and_every_attempt_is_counted() {
    let (create, directory, truncate) = (1, 2, 8);
    let mut program = Program::with(&[], b"", &[("/data/words.txt", b"one")]);
    assert_eq!(program.open("data/words.txt", 0, READ | WRITE), Err(errno::ROFS));
    assert_eq!(program.open("data/words.txt", truncate, READ), Err(errno::ROFS));
    assert_eq!(program.open("data/new.txt", create, READ), Err(errno::ROFS));
    assert_eq!(program.open("etc/passwd", 0, READ), Err(errno::NOENT));
    assert_eq!(program.denied("path_open"), 4);
    assert_eq!(program.open("data/words.txt", directory, READ), Err(errno::NOTDIR));
    assert_eq!(program.call("path_unlink_file", (ROOT, PATH, 15)), errno::NOSYS);
    assert_eq!(program.denied("path_unlink_file"), 1);
    let file = program.open("data/words.txt", 0, READ).unwrap();
    program.put(LIST, &[TEXT as u32, 3].map(u32::to_le_bytes).concat());
    assert_eq!(program.call("fd_write", (file, LIST, 1, RESULT)), errno::BADF);
    assert_eq!(program.read(file, 100).unwrap(), b"one");
}

#[test]
fn there_is_an_end_to_open_files() {
    let mut program = Program::with(&[], b"", &[("/a", b"")]);
    while program.open("a", 0, READ).is_ok() {}
    assert_eq!(program.open("a", 0, READ), Err(errno::MFILE));
    assert_eq!(program.call("fd_close", 10), errno::SUCCESS);
    assert_eq!(program.open("a", 0, READ), Ok(10));
}

#[test]
fn attributes_tell_files_folders_and_streams_apart() {
    let mut program = Program::with(&[], b"input", &[("/data/words.txt", b"one")]);
    let mut attributes = |path: &str| {
        program.put(PATH, path.as_bytes());
        let refusal = program.call("path_filestat_get", (ROOT, 0, PATH, path.len() as i32, RESULT));
        (refusal, program.bytes(RESULT + 16, 1)[0], program.number(RESULT + 32))
    };
    assert_eq!(attributes("data/words.txt"), (errno::SUCCESS, 4, 3));
    assert_eq!(attributes("data"), (errno::SUCCESS, 3, 0));
    assert_eq!(attributes("nowhere").0, errno::NOENT);
    assert_eq!(program.call("fd_filestat_get", (0, RESULT)), errno::SUCCESS);
    assert_eq!(program.bytes(RESULT + 16, 1), [0]);
    assert_eq!(program.call("fd_filestat_get", (4, RESULT)), errno::BADF);
    assert_eq!(program.call("fd_prestat_get", (ROOT, RESULT)), errno::SUCCESS);
    assert_eq!(program.number(RESULT + 4), 1);
    assert_eq!(program.call("fd_prestat_dir_name", (ROOT, TEXT, 1)), errno::SUCCESS);
    assert_eq!(program.bytes(TEXT, 1), b"/");
    assert_eq!(program.call("fd_prestat_get", (ROOT + 1, RESULT)), errno::BADF);
}

/// Names of a folder, listed through a buffer of `size` bytes, as wasi-libc does it.
fn names(program: &mut Program, folder: i32, size: i32) -> Vec<String> {
    const HEAD: usize = 24;
    let mut names = Vec::new();
    let mut from = 0_i64;
    loop {
        assert_eq!(program.call("fd_readdir", (folder, TEXT, size, from, RESULT)), errno::SUCCESS);
        let used = program.number(RESULT) as usize;
        let listed = program.bytes(TEXT, used).to_vec();
        let mut rest = listed.as_slice();
        while rest.len() >= HEAD {
            let length = u32::from_le_bytes(rest[16..20].try_into().unwrap()) as usize;
            let Some(name) = rest.get(HEAD..HEAD + length) else { break };
            names.push(String::from_utf8(name.to_vec()).unwrap());
            from = i64::from_le_bytes(rest[..8].try_into().unwrap());
            rest = &rest[HEAD + length..];
        }
        if used < size as usize {
            return names;
        }
    }
}

#[test]
fn folders_are_listed_through_buffers_of_any_size() {
    let files: [(&str, &[u8]); 3] = [("/data/b", b""), ("/data/a.txt", b""), ("/data/sub/deep", b"")];
    let mut program = Program::with(&[], b"", &files);
    let folder = program.open("data", 2, READ).unwrap();
    for size in [32, 60, 1000] {
        assert_eq!(names(&mut program, folder, size), [".", "..", "a.txt", "b", "sub"], "{size}");
    }
    assert_eq!(names(&mut program, ROOT, 100), [".", "..", "data"]);
    let file = program.open("data/b", 0, READ).unwrap();
    assert_eq!(program.call("fd_readdir", (file, TEXT, 100, 0_i64, RESULT)), errno::NOTDIR);
    assert_eq!(program.call("fd_readdir", (0, TEXT, 100, 0_i64, RESULT)), errno::NOTDIR);
}

#[test]
fn addresses_outside_the_memory_are_errors() {
    let mut program = Program::with(&["a"], b"input", &[("/a", b"x")]);
    let outside = 65_536 - 1;
    assert_eq!(program.call("fd_read", (0, outside, 1, RESULT)), errno::FAULT);
    program.put(LIST, &[outside as u32, 5].map(u32::to_le_bytes).concat());
    assert_eq!(program.call("fd_read", (0, LIST, 1, RESULT)), errno::FAULT);
    assert_eq!(program.read(0, 10).unwrap(), b"input");
    assert_eq!(program.call("fd_readdir", (ROOT, outside, 100, 0_i64, RESULT)), errno::FAULT);
    let parameters = (ROOT, 0, outside, 5, 0, READ, 0_i64, 0, RESULT);
    assert_eq!(program.call("path_open", parameters), errno::FAULT);
}

#[test]
fn output_beyond_its_limit_stops_the_program() {
    let mut program = Program::with(&[], b"", &[]);
    program.put(LIST, &[TEXT as u32, 40_000].map(u32::to_le_bytes).concat());
    assert_eq!(program.call("fd_write", (1, LIST, 1, RESULT)), errno::SUCCESS);
    let error = program.try_call("fd_write", (1, LIST, 1, RESULT)).unwrap_err();
    assert_eq!(error.downcast_ref::<Stopped>(), Some(&Stopped::OutputLimit));
}
