//! What one job may use up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A limit outside its range.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{name} is {found}, wanted a whole number from {least} to {most}")]
pub struct InvalidLimit {
    name: &'static str,
    found: u64,
    least: u64,
    most: u64,
}

macro_rules! limit {
    ($(#[$doc:meta])* $name:ident, key: $key:literal, $least:tt..=$most:tt, default: $default:tt) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "u64", into = "u64")]
        #[schemars(with = "u64", extend("minimum" = $name::LEAST, "maximum" = $name::MOST))]
        pub struct $name(u64);

        impl $name {
            /// Smallest value that is accepted.
            pub const LEAST: u64 = $least;
            /// Largest value that is accepted.
            pub const MOST: u64 = $most;

            /// The number, in the unit of this limit.
            pub fn get(self) -> u64 {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self($default)
            }
        }

        impl TryFrom<u64> for $name {
            type Error = InvalidLimit;

            fn try_from(found: u64) -> Result<Self, InvalidLimit> {
                if ($least..=$most).contains(&found) {
                    Ok(Self(found))
                } else {
                    Err(InvalidLimit { name: $key, found, least: $least, most: $most })
                }
            }
        }

        impl From<$name> for u64 {
            fn from(limit: $name) -> u64 {
                limit.0
            }
        }
    };
}

limit! {
    /// Work that a job may do, in units of wasmtime fuel (about one per WebAssembly instruction), over the program and all
    /// its tests. Default 20 000 000 000.
    ///
    /// The same program uses the same fuel on every machine and under any load, so this is the time limit that decides
    /// verdicts. A core burns 6 to 12 thousand million per second. A trivial program takes about 240 000, half of HumanEval's
    /// solutions less than 4 million, and its most expensive 4 thousand million.
    Fuel, key: "fuel", 1_000_000..=10_000_000_000_000, default: 20_000_000_000
}

limit! {
    /// Time that a job may take, in milliseconds. Default 10 000.
    ///
    /// Two clocks are held against it: processor time, as a safety net below which fuel should run out first, and the
    /// virtual clock of the program, on which `time.sleep` takes time without anybody waiting.
    TimeoutMs, key: "timeout_ms", 10..=600_000, default: 10_000
}

limit! {
    /// Memory that the sandbox of a job may hold, in MiB, the interpreter included (about 40 MiB). Default 256.
    MemoryMib, key: "memory_mib", 64..=2048, default: 256
}

limit! {
    /// Bytes that a job may write to stdout and stderr together, over the program and all its tests. Default 65 536.
    OutputBytes, key: "output_bytes", 1..=67_108_864, default: 65_536
}

/// `[executor.limits]`: what one job may use up. Each has its own outcome, so that a run's logs tell them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Work, in WebAssembly instructions. Default 20 000 000 000, two to three seconds.
    pub fuel: Fuel,
    /// Processor time and virtual time, in milliseconds. Default 10 000.
    pub timeout_ms: TimeoutMs,
    /// Memory in MiB, the interpreter's 40 included. Default 256.
    pub memory_mib: MemoryMib,
    /// Bytes of stdout and stderr together. Default 65 536.
    pub output_bytes: OutputBytes,
}

impl Limits {
    /// The defaults, but for the longest time.
    pub(crate) fn longest() -> Self {
        Self { timeout_ms: TimeoutMs(TimeoutMs::MOST), ..Self::default() }
    }

    /// The memory limit in bytes.
    pub fn memory_bytes(&self) -> usize {
        usize::try_from(self.memory_mib.get() << 20).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_outside_its_range_is_refused_with_the_range() {
        let message = serde_json::from_str::<Limits>(r#"{"memory_mib": 16}"#).unwrap_err().to_string();
        assert!(message.starts_with("memory_mib is 16, wanted a whole number from 64 to 2048"), "{message}");
        assert_eq!(
            OutputBytes::try_from(0).unwrap_err().to_string(),
            "output_bytes is 0, wanted a whole number from 1 to 67108864"
        );
    }

    #[test]
    fn limits_are_plain_numbers_and_unknown_keys_are_refused() {
        let limits: Limits = serde_json::from_str(r#"{"fuel": 5000000}"#).unwrap();
        assert_eq!(limits.fuel.get(), 5_000_000);
        assert_eq!(serde_json::to_value(limits).unwrap()["timeout_ms"], 10_000);
        assert!(serde_json::from_str::<Limits>(r#"{"feul": 5000000}"#).is_err());
        let schema = serde_json::to_value(schemars::schema_for!(Limits)).unwrap();
        assert_eq!(schema["$defs"]["MemoryMib"]["maximum"], 2048);
    }
}
