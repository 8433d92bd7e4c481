//! What two executors have in common whose verdicts are the same.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Runtime;
use crate::protocol::Work;
use crate::runtime::Source;

/// What verdicts depend on besides the job. Executors with the same one give the same verdicts, on any machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeIdentity {
    /// What runs the programs.
    pub runtime: Runtime,
    /// BLAKE3 of the interpreter, or of how a native toolchain is called; absent where the program brings along all that it needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// The code that judges: a hash of the executor's source and of the version of wasmtime.
    pub code: String,
}

impl RuntimeIdentity {
    /// That of this build, as far as it is known without preparing the runtime.
    pub(crate) fn wanted(runtime: Runtime) -> Self {
        let interpreter = match runtime.source() {
            Source::Python(source) => Some(source.wasm.hash.to_owned()),
            Source::JavaScript(file) | Source::Ruby(file) => Some(file.hash.to_owned()),
            Source::Program | Source::Host(_) | Source::BuiltIn(_) => None,
        };
        Self { runtime, interpreter, code: env!("RLTRAIN_EXECUTOR_CODE").to_owned() }
    }

    /// That of this build, with a runtime that was prepared.
    pub(crate) fn prepared(runtime: Runtime, work: &Work) -> Self {
        let mut identity = Self::wanted(runtime);
        if let Work::Programs(_, toolchain) = work {
            identity.interpreter =
                Some(blake3::hash(format!("{toolchain:?}").as_bytes()).to_hex().to_string());
        }
        identity
    }

    /// Whether an executor of the identity `found` judges as this one wants it. What this one does not know is left to others.
    pub(crate) fn accepts(&self, found: &Self) -> bool {
        self.runtime == found.runtime
            && self.code == found.code
            && (self.interpreter.is_none() || self.interpreter == found.interpreter)
    }
}

impl fmt::Display for RuntimeIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "runtime `{}`, ", self.runtime.name())?;
        if let Some(interpreter) = &self.interpreter {
            write!(formatter, "interpreter {}, ", interpreter.get(..12).unwrap_or(interpreter))?;
        }
        write!(formatter, "code {}", self.code.get(..12).unwrap_or(&self.code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_runtimes_interpreters_and_code_are_not_accepted() {
        let wanted = RuntimeIdentity::wanted(Runtime::Python315);
        assert!(wanted.accepts(&wanted));
        let other = RuntimeIdentity::wanted(Runtime::JavaScript);
        assert!(!wanted.accepts(&other));
        let interpreter = RuntimeIdentity { interpreter: other.interpreter, ..wanted.clone() };
        assert!(!wanted.accepts(&interpreter));
        assert!(!wanted.accepts(&RuntimeIdentity { code: "0".to_owned(), ..wanted.clone() }));
        // Which toolchain a host has is known there alone.
        let native = RuntimeIdentity::wanted(Runtime::Native(crate::process::Language::C));
        assert!(
            native.accepts(&RuntimeIdentity { interpreter: Some("toolchain".to_owned()), ..native.clone() })
        );
    }
}
