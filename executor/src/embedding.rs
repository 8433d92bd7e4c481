//! Opens the interpreter's C interface to the host.
//!
//! The runtime's module exports a session interface whose own Python code runs above every program: code that a program can
//! reach through `sys._getframe` and rewrite, so what it reports is worth nothing. The module also carries the names of its
//! functions. So the export section is written anew: the host calls CPython's C functions itself, nothing but the host is
//! above a program, and whether a test passed is known from what those functions return.

use std::collections::HashMap;

use thiserror::Error;

/// Functions of CPython's C interface that the host calls, by their names in the module.
pub(crate) const FUNCTIONS: &[&str] = &[
    "malloc",
    "free",
    "_Py_CompileString",
    "PyBytes_AsString",
    "PyBytes_Size",
    "PyDict_Copy",
    "PyDict_DelItemString",
    "PyDict_GetItemString",
    "PyDict_SetItemString",
    "PyErr_Clear",
    "PyErr_GetRaisedException",
    "PyErr_GivenExceptionMatches",
    "PyEval_EvalCode",
    "PyEval_GetBuiltins",
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
pub(crate) const REVISION: u32 = 1;

const CUSTOM: u8 = 0;
const EXPORT: u8 = 7;
const FUNCTION_NAMES: u8 = 1;
const KIND_FUNCTION: u8 = 0;
const KIND_MEMORY: u8 = 2;

/// Why the export section cannot be written anew.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum EmbeddingError {
    /// The file is not a WebAssembly module, or ends early.
    #[error("the module is malformed at byte {0}")]
    Malformed(usize),
    /// A function that the host needs is not in the name section.
    #[error("the module has no function `{0}`")]
    NoFunction(&'static str),
}

/// The module with [`FUNCTIONS`] and [`MEMORY`] as its only exports.
pub(crate) fn expose(module: &[u8]) -> Result<Vec<u8>, EmbeddingError> {
    let mut sections = Vec::new();
    let mut names = HashMap::new();
    let mut reader = Reader { bytes: module, at: 8 };
    if module.get(..8) != Some(b"\0asm\x01\0\0\0") {
        return Err(EmbeddingError::Malformed(0));
    }
    while reader.at < module.len() {
        let start = reader.at;
        let id = reader.byte()?;
        let size = reader.number()?;
        let body = reader.take(size)?;
        if id == CUSTOM {
            read_names(body, &mut names)?;
        }
        sections.push((id, &module[start..reader.at]));
    }
    let exports = export_section(&names)?;
    let mut rewritten = Vec::with_capacity(module.len() + exports.len());
    rewritten.extend_from_slice(&module[..8]);
    for (id, section) in sections {
        rewritten.extend_from_slice(if id == EXPORT { &exports } else { section });
    }
    Ok(rewritten)
}

/// Puts the indices of [`FUNCTIONS`] into `names`, if this custom section is the name section.
fn read_names(section: &[u8], names: &mut HashMap<&'static str, u32>) -> Result<(), EmbeddingError> {
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
            let name = entries.name()?;
            if let Some(wanted) = FUNCTIONS.iter().find(|wanted| wanted.as_bytes() == name) {
                names.insert(wanted, index);
            }
        }
    }
    Ok(())
}

fn export_section(names: &HashMap<&'static str, u32>) -> Result<Vec<u8>, EmbeddingError> {
    let mut body = Vec::new();
    write_number(&mut body, FUNCTIONS.len() as u32 + 1);
    let memory = (MEMORY, KIND_MEMORY, 0);
    let mut exports = vec![memory];
    for name in FUNCTIONS {
        let index = names.get(name).ok_or(EmbeddingError::NoFunction(name))?;
        exports.push((name, KIND_FUNCTION, *index));
    }
    for (name, kind, index) in exports {
        write_number(&mut body, name.len() as u32);
        body.extend_from_slice(name.as_bytes());
        body.push(kind);
        write_number(&mut body, index);
    }
    let mut section = vec![EXPORT];
    write_number(&mut section, body.len() as u32);
    section.extend(body);
    Ok(section)
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(expose(&bytes).is_err());
            let mut module = b"\0asm\x01\0\0\0".to_vec();
            module.extend(&bytes);
            prop_assert!(expose(&module).is_err());
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
        assert_eq!(expose(b"\0asm\x01\0\0\0"), Err(EmbeddingError::NoFunction("malloc")));
    }
}
