//! What people see of a run and of task files, beside the integration tests so that it compiles and runs alone.

mod advantages;
mod published;
mod refused_files;
#[path = "../rltrain.rs"]
mod rltrain;
#[expect(dead_code, reason = "the other test target uses more of it")]
#[path = "../tiny.rs"]
mod tiny;
