//! End-to-end tests of the `rltrain` program, and of its parts against other people's numbers.

mod algorithms;
mod architectures;
mod audit;
mod bad_input;
mod batch_sizes;
mod critic;
mod episodes;
mod exec;
mod first_light;
mod inputs;
mod learn;
mod numerics;
mod plan;
mod recipe;
mod rescore;
mod reward;
mod rltrain;
mod search;
mod selfcheck;
mod smollm2_parity;
mod tiny;
mod traps;
