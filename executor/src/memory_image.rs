//! Modules that begin where another instance of them was: with the content of its memory.

use std::borrow::Cow;

use wasm_encoder::{ConstExpr, DataSection, MemorySection, MemoryType, Module as Encoder, RawSection};
use wasmparser::{Parser, Payload};

use crate::embedding::PAGE_BYTES;

/// Changes when images of interpreters do: part of the key under which compiled modules are kept.
pub(crate) const REVISION: u32 = 1;

/// Zeros between two runs of bytes that are worth a segment of their own.
const GAP: usize = 256;

/// The module with this content of its memory from the start.
pub(crate) fn rewrite(wasm: &[u8], memory: &[u8]) -> Result<Vec<u8>, String> {
    let mut rewritten = Encoder::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|error| error.to_string())?;
        match payload {
            Payload::MemorySection(section) => {
                let mut memories = MemorySection::new();
                for kind in section {
                    let kind = kind.map_err(|error| error.to_string())?;
                    let minimum = (memory.len() / PAGE_BYTES) as u64;
                    memories.memory(MemoryType {
                        minimum,
                        maximum: kind.maximum,
                        memory64: kind.memory64,
                        shared: kind.shared,
                        page_size_log2: kind.page_size_log2,
                    });
                }
                rewritten.section(&memories);
            }
            Payload::DataSection(_) => {
                let mut data = DataSection::new();
                for (at, bytes) in runs(memory) {
                    data.active(0, &ConstExpr::i32_const(at as i32), bytes.iter().copied());
                }
                rewritten.section(&data);
            }
            // Without passive segments, what they count is not needed.
            Payload::DataCountSection { .. } => {}
            Payload::CustomSection(_) | Payload::CodeSectionEntry(_) => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    let data = wasm.get(range).ok_or("a section lies outside the module")?;
                    rewritten.section(&RawSection { id, data });
                }
            }
        }
    }
    Ok(rewritten.finish())
}

/// Runs of bytes between long stretches of zeros, with their addresses.
fn runs(memory: &[u8]) -> Vec<(usize, Cow<'_, [u8]>)> {
    let mut runs = Vec::new();
    let mut at = 0;
    while let Some(start) = memory[at..].iter().position(|byte| *byte != 0).map(|offset| at + offset) {
        let mut end = start + 1;
        let mut zeros = 0;
        while end + zeros < memory.len() && zeros < GAP {
            if memory[end + zeros] == 0 {
                zeros += 1;
            } else {
                end += zeros + 1;
                zeros = 0;
            }
        }
        runs.push((start, Cow::Borrowed(&memory[start..end])));
        at = end;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_hold_every_byte_that_is_not_zero(lengths in proptest::collection::vec((0_usize..600, any::<u8>()), 0..12)) {
            let memory: Vec<u8> = lengths.iter().flat_map(|(length, byte)| vec![*byte; *length]).collect();
            let mut again = vec![0; memory.len()];
            for (at, bytes) in runs(&memory) {
                again[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            prop_assert_eq!(again, memory);
        }
    }
}
