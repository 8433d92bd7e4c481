//! Calls of the system interface in any order, with any arguments, from a memory with any content.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rltrain_executor::fuzzing::host_functions(bytes));
