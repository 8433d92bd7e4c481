//! What papers' systems are made of: toy languages and their tasks, and regression tests of defects in released code.

#[path = "../../trainer/benches/papers/model.rs"]
mod model;
#[path = "../rltrain.rs"]
mod rltrain;

mod defects;
mod toy;
