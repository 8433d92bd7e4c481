//! Opens the interpreter's C interface to the host.
//!
//! The runtime's module exports a session interface whose own Python code runs above every program: code that a program can
//! reach through `sys._getframe` and rewrite, so what it reports is worth nothing. The module also carries the names of its
//! functions. So the export section is written anew: the host calls CPython's C functions itself, nothing but the host is
//! above a program, and whether a test passed is known from what those functions return.
//!
//! The module is also parted from the content of its memory. Native code does not depend on that content, so it is compiled
//! once, and any picture of the memory can be put under it: see [`crate::snapshot`].

use std::collections::HashMap;

use thiserror::Error;

/// Functions of CPython's C interface that the host calls, by their names in the module.
pub(crate) const FUNCTIONS: &[&str] = &[
    "malloc",
    "free",
    "_Py_CompileString",
    "PyEval_EvalCode",
    "PyEval_GetBuiltins",
    "PyErr_GetRaisedException",
    "PyErr_GivenExceptionMatches",
    "PyErr_Clear",
    "PyBytes_AsString",
    "PyBytes_Size",
    "PyDict_Copy",
    "PyDict_DelItemString",
    "PyDict_GetItemString",
    "PyDict_SetItemString",
    "PyException_GetTraceback",
    "PyImport_AddModule",
    "PyImport_GetModuleDict",
    "PyLong_AsLong",
    "PyLong_FromLongLong",
    "PyMarshal_ReadObjectFromString",
    "PyMarshal_WriteObjectToString",
    "PyModule_GetDict",
    "PyObject_CallNoArgs",
    "PyObject_CallObject",
    "PyObject_CallOneArg",
    "PyObject_GetAttrString",
    "PyObject_IsTrue",
    "PyObject_Repr",
    "PyObject_SetAttrString",
    "PyObject_Str",
    "PySys_GetObject",
    "PySys_SetObject",
    "PyType_GetName",
    "PyUnicode_AsUTF8AndSize",
    "PyUnicode_FromStringAndSize",
    "Py_GetConstantBorrowed",
    "Py_SetRecursionLimit",
];

/// Name of the exported memory.
pub(crate) const MEMORY: &str = "memory";

/// Changes when the rewritten module does: part of the key under which compiled modules are kept.
pub(crate) const REVISION: u32 = 2;

/// Size of a page of WebAssembly memory.
pub(crate) const PAGE_BYTES: usize = 1 << 16;

const CUSTOM: u8 = 0;
const MEMORIES: u8 = 5;
const GLOBALS: u8 = 6;
const EXPORT: u8 = 7;
const START: u8 = 8;
const DATA: u8 = 11;
const DATA_COUNT: u8 = 12;
const FUNCTION_NAMES: u8 = 1;
const KIND_FUNCTION: u8 = 0;
const KIND_MEMORY: u8 = 2;
const KIND_GLOBAL: u8 = 3;
const END: u8 = 0x0b;

/// Why the module cannot be rewritten.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum EmbeddingError {
    /// The file is not a WebAssembly module, or ends early.
    #[error("the module is malformed at byte {0}")]
    Malformed(usize),
    /// A function that the host needs is not in the name section.
    #[error("the module has no function `{0}`")]
    NoFunction(&'static str),
    /// The module does something that an interpreter with a picture for a memory cannot.
    #[error("the module has {found}, wanted {wanted}")]
    Unsupported {
        /// What it has.
        found: &'static str,
        /// What it should have.
        wanted: &'static str,
    },
}

/// A module without the content of its memory, and that content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exposed {
    /// The module. It exports [`FUNCTIONS`], the functions that start it, [`MEMORY`], and each variable global as
    /// `global N`; nothing else.
    pub(crate) module: Vec<u8>,
    /// What its memory holds before anything has run; a whole number of pages.
    pub(crate) memory: Vec<u8>,
}

/// Parts a module from the content of its memory. `starters` are functions that are called before any of [`FUNCTIONS`].
pub(crate) fn expose(module: &[u8], starters: &'static [&'static str]) -> Result<Exposed, EmbeddingError> {
    let sections = sections(module)?;
    let mut exports = vec![(MEMORY.to_owned(), KIND_MEMORY, 0)];
    let (mut names, mut memory, mut counts_data) = (HashMap::new(), Vec::new(), false);
    for (id, section) in &sections {
        let mut body = body(section)?;
        match *id {
            CUSTOM => read_names(body.bytes, starters, &mut names)?,
            MEMORIES => memory = read_memory(&mut body)?,
            GLOBALS => {
                let variable = variable_globals(&mut body)?;
                exports.extend(
                    variable.into_iter().map(|index| (format!("global {index}"), KIND_GLOBAL, index)),
                );
            }
            START => {
                return Err(EmbeddingError::Unsupported {
                    found: "a start function",
                    wanted: "a function to call by name",
                });
            }
            DATA_COUNT => counts_data = true,
            _ => {}
        }
    }
    for name in FUNCTIONS.iter().chain(starters) {
        let index = names.get(name).ok_or(EmbeddingError::NoFunction(name))?;
        exports.push(((*name).to_owned(), KIND_FUNCTION, *index));
    }
    let mut rewritten = module[..8].to_vec();
    for (id, section) in &sections {
        match *id {
            EXPORT => rewritten.extend(export_section(&exports)),
            DATA => {
                let passive = take_data(&mut body(section)?, &mut memory)?;
                // Without a count, no function can name a segment.
                if counts_data {
                    rewritten.extend(write_section(DATA, &passive));
                }
            }
            _ => rewritten.extend_from_slice(section),
        }
    }
    Ok(Exposed { module: rewritten, memory })
}

/// The sections of a module with their headers, each after its kind.
fn sections(module: &[u8]) -> Result<Vec<(u8, &[u8])>, EmbeddingError> {
    if module.get(..8) != Some(b"\0asm\x01\0\0\0") {
        return Err(EmbeddingError::Malformed(0));
    }
    let mut reader = Reader { bytes: module, at: 8 };
    let mut sections = Vec::new();
    while reader.at < module.len() {
        let start = reader.at;
        let id = reader.byte()?;
        let size = reader.number()?;
        reader.take(size)?;
        sections.push((id, &module[start..reader.at]));
    }
    Ok(sections)
}

/// What follows the header of a section.
fn body(section: &[u8]) -> Result<Reader<'_>, EmbeddingError> {
    let mut reader = Reader { bytes: section, at: 1 };
    let size = reader.number()?;
    Ok(Reader { bytes: reader.take(size)?, at: 0 })
}

/// Puts the indices of the functions that the host calls into `names`, if this custom section is the name section.
fn read_names(
    section: &[u8],
    starters: &'static [&'static str],
    names: &mut HashMap<&'static str, u32>,
) -> Result<(), EmbeddingError> {
    let wanted: HashMap<&[u8], &'static str> =
        FUNCTIONS.iter().chain(starters).map(|name| (name.as_bytes(), *name)).collect();
    let mut reader = Reader { bytes: section, at: 0 };
    if reader.name()? != b"name" {
        return Ok(());
    }
    while reader.at < section.len() {
        let kind = reader.byte()?;
        let size = reader.number()?;
        let mut entries = Reader { bytes: reader.take(size)?, at: 0 };
        if kind != FUNCTION_NAMES {
            continue;
        }
        for _ in 0..entries.number()? {
            let index = entries.number()?;
            if let Some(name) = wanted.get(entries.name()?) {
                names.insert(name, index);
            }
        }
    }
    Ok(())
}

/// Zeros in the size of the only memory.
fn read_memory(section: &mut Reader<'_>) -> Result<Vec<u8>, EmbeddingError> {
    const MOST_PAGES: u32 = 1 << 12;
    let (count, flags) = (section.number()?, section.byte()?);
    let pages = section.number()?;
    if count != 1 || flags > 1 || pages > MOST_PAGES {
        return Err(EmbeddingError::Unsupported {
            found: "another kind of memory",
            wanted: "one 32-bit memory of at most 256 MiB that is not shared",
        });
    }
    Ok(vec![0; pages as usize * PAGE_BYTES])
}

/// Indices of the globals that can change.
fn variable_globals(section: &mut Reader<'_>) -> Result<Vec<u32>, EmbeddingError> {
    let mut variable = Vec::new();
    for index in 0..section.number()? {
        let _kind = section.byte()?;
        if section.byte()? == 1 {
            variable.push(index);
        }
        section.skip_expression()?;
    }
    Ok(variable)
}

/// Puts the segments that fill the memory at the start into it. Returns the section without them: each is replaced by an
/// empty one, so that the others keep their numbers.
fn take_data(section: &mut Reader<'_>, memory: &mut [u8]) -> Result<Vec<u8>, EmbeddingError> {
    const PASSIVE: u32 = 1;
    const ACTIVE_IN: u32 = 2;
    let mut passive = Vec::new();
    let count = section.number()?;
    write_number(&mut passive, count);
    for _ in 0..count {
        let kind = section.number()?;
        if kind == ACTIVE_IN && section.number()? != 0 || kind > ACTIVE_IN {
            return Err(EmbeddingError::Malformed(section.at));
        }
        let at = if kind == PASSIVE { None } else { Some(section.constant()? as usize) };
        let start = section.at;
        let bytes = section.name()?;
        passive.push(PASSIVE as u8);
        match at {
            None => {
                write_number(&mut passive, bytes.len() as u32);
                passive.extend_from_slice(bytes);
            }
            Some(at) => {
                let target = memory.get_mut(at..at.saturating_add(bytes.len()));
                target.ok_or(EmbeddingError::Malformed(start))?.copy_from_slice(bytes);
                write_number(&mut passive, 0);
            }
        }
    }
    Ok(passive)
}

fn export_section(exports: &[(String, u8, u32)]) -> Vec<u8> {
    let mut body = Vec::new();
    write_number(&mut body, exports.len() as u32);
    for (name, kind, index) in exports {
        write_number(&mut body, name.len() as u32);
        body.extend_from_slice(name.as_bytes());
        body.push(*kind);
        write_number(&mut body, *index);
    }
    write_section(EXPORT, &body)
}

fn write_section(id: u8, body: &[u8]) -> Vec<u8> {
    let mut section = vec![id];
    write_number(&mut section, body.len() as u32);
    section.extend_from_slice(body);
    section
}

/// LEB128, as WebAssembly writes numbers.
fn write_number(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, EmbeddingError> {
        let byte = self.bytes.get(self.at).ok_or(EmbeddingError::Malformed(self.at))?;
        self.at += 1;
        Ok(*byte)
    }

    fn number(&mut self) -> Result<u32, EmbeddingError> {
        let start = self.at;
        let mut number = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            number |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(EmbeddingError::Malformed(start))
    }

    fn take(&mut self, size: u32) -> Result<&'a [u8], EmbeddingError> {
        let end = self.at.checked_add(size as usize).ok_or(EmbeddingError::Malformed(self.at))?;
        let taken = self.bytes.get(self.at..end).ok_or(EmbeddingError::Malformed(self.at))?;
        self.at = end;
        Ok(taken)
    }

    fn name(&mut self) -> Result<&'a [u8], EmbeddingError> {
        let size = self.number()?;
        self.take(size)
    }

    /// Where a segment goes: `i32.const N`.
    fn constant(&mut self) -> Result<u32, EmbeddingError> {
        const I32_CONST: u8 = 0x41;
        let start = self.at;
        if self.byte()? != I32_CONST {
            return Err(EmbeddingError::Malformed(start));
        }
        // Never negative: the memory is smaller than 2 GiB.
        let number = self.number()?;
        if self.byte()? == END { Ok(number) } else { Err(EmbeddingError::Malformed(start)) }
    }

    /// What a global starts with: operations on constants.
    fn skip_expression(&mut self) -> Result<(), EmbeddingError> {
        loop {
            let start = self.at;
            match self.byte()? {
                END => return Ok(()),
                // `i32.const`, `i64.const`, `global.get`, `ref.null`, `ref.func`, each with a number.
                0x41 | 0x42 | 0x23 | 0xd0 | 0xd2 => while self.byte()? >= 0x80 {},
                // `f32.const`, `f64.const`.
                0x43 => drop(self.take(4)?),
                0x44 => drop(self.take(8)?),
                // Addition, subtraction, multiplication.
                0x6a..=0x6c | 0x7c..=0x7e => {}
                _ => return Err(EmbeddingError::Malformed(start)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(expose(&bytes, &[]).is_err());
            let mut module = b"\0asm\x01\0\0\0".to_vec();
            module.extend(&bytes);
            prop_assert!(expose(&module, &[]).is_err());
        }

        #[test]
        fn numbers_survive_being_written_and_read(number in any::<u32>()) {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            prop_assert_eq!(Reader { bytes: &bytes, at: 0 }.number(), Ok(number));
        }
    }

    #[test]
    fn a_module_without_the_functions_is_refused_by_name() {
        assert_eq!(expose(b"\0asm\x01\0\0\0", &[]), Err(EmbeddingError::NoFunction("malloc")));
    }

    /// A module with one function, which the name section gives the names of all that are wanted.
    fn module(memory: &[u8], extra: &[u8]) -> Vec<u8> {
        let mut names = b"\x04name".to_vec();
        let mut map = vec![FUNCTIONS.len() as u8];
        for name in FUNCTIONS {
            map.extend([0, name.len() as u8]);
            map.extend(name.as_bytes());
        }
        names.push(FUNCTION_NAMES);
        write_number(&mut names, map.len() as u32);
        names.extend(map);
        let globals = [2, 0x7f, 1, 0x41, 7, END, 0x7e, 0, 0x42, 9, END];
        // "abc" at 5, a passive segment "d", "ef" at 70 000.
        let data = b"\x03\x00\x41\x05\x0b\x03abc\x01\x01d\x02\x00\x41\xf0\xa2\x04\x0b\x02ef";
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        for (id, body) in [
            (1, &[1, 0x60, 0, 0][..]),
            (3, &[1, 0]),
            (MEMORIES, memory),
            (GLOBALS, &globals),
            (EXPORT, &[0]),
            (10, &[1, 2, 0, END]),
            (DATA, data),
            (CUSTOM, &names),
        ] {
            module.extend(write_section(id, body));
            if id == EXPORT {
                module.extend(extra);
            }
        }
        module
    }

    #[test]
    fn the_module_is_parted_from_the_content_of_its_memory() {
        for counts in [&[][..], &write_section(DATA_COUNT, &[3])] {
            let Exposed { module, memory } = expose(&module(&[1, 0, 2], counts), &[]).unwrap();
            let mut wanted = vec![0; 2 * PAGE_BYTES];
            wanted[5..8].copy_from_slice(b"abc");
            wanted[70_000..70_002].copy_from_slice(b"ef");
            assert_eq!(memory, wanted);
            let engine = wasmtime::Engine::default();
            let module = wasmtime::Module::new(&engine, &module).unwrap();
            let exports: Vec<_> = module.exports().map(|export| export.name().to_owned()).collect();
            assert_eq!(exports[..2], [MEMORY, "global 0"]);
            assert_eq!(exports[2..], *FUNCTIONS);
            let mut store = wasmtime::Store::new(&engine, ());
            let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
            let memory = instance.get_memory(&mut store, MEMORY).unwrap();
            assert!(memory.data(&store).iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn what_a_picture_of_one_memory_does_not_hold_is_refused() {
        let refused = |module: &[u8]| matches!(expose(module, &[]), Err(EmbeddingError::Unsupported { .. }));
        assert!(refused(&module(&[1, 0, 2], &write_section(START, &[0]))));
        assert!(refused(&module(&[2, 0, 1, 0, 1], &[])));
        assert!(refused(&module(&[1, 3, 1, 2], &[])));
        // The second segment does not fit.
        assert!(matches!(expose(&module(&[1, 0, 1], &[]), &[]), Err(EmbeddingError::Malformed(_))));
    }
}
