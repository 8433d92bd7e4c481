//! The systems of papers, each a recipe of the toolkit's parts: what the parts do, and whether the recipes run.

mod b_coder;
mod held;
mod iteration;
mod recipes;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../rltrain.rs"]
mod rltrain;
mod selekt;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../tiny.rs"]
mod tiny;
