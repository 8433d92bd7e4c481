//! What a worker that a program has taken over could send, and what a program could return.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rltrain_executor::fuzzing::verdicts(bytes));
