//! End-to-end tests of the `rltrain` program, and of its parts against other people's numbers.

mod algorithms;
mod architectures;
mod bad_input;
mod batch_sizes;
mod episodes;
mod exec;
mod first_light;
mod learn;
mod numerics;
mod plan;
mod recipe;
mod reward;
mod rltrain;
mod selfcheck;
mod smollm2_parity;
mod tiny;
