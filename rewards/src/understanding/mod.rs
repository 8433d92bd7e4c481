//! Rewards for tasks that ask the model what a program does.

mod output_prediction;
mod trace_prediction;

pub use output_prediction::{OutputPrediction, OutputPredictionConfig};
pub use trace_prediction::{TracePrediction, TracePredictionConfig};
