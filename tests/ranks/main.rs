//! Several processes that train one policy together, as torchrun or Slurm would start them, on one machine.

mod equality;
mod faults;
mod fleet;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../rltrain.rs"]
mod rltrain;
mod starts;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../tiny.rs"]
mod tiny;
