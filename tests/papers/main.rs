//! The systems of papers, each a recipe of the toolkit's parts: what the parts do, whether the recipes run, the toy languages that they are
//! tried on, and regression tests of defects in released code.

#[path = "../../trainer/benches/papers/model.rs"]
mod model;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../rltrain.rs"]
mod rltrain;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../tiny.rs"]
mod tiny;

mod b_coder;
mod defects;
mod held;
mod iteration;
mod recipes;
mod search;
mod selekt;
mod toy;
