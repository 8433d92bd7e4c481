//! Attempts of several turns: the model writes a program, is told what the public tests say of it, and writes another.
//!
//! ```text
//! prompt | turn 1 | reply | turn 2 | reply | turn 3        sampled: turns    read only: prompt, replies
//!            │        ▲      │        ▲      │
//!            └ public ┘      └ public ┘      └ hidden tests: the reward
//! ```

mod config;
mod feedback;
mod play;

pub use config::{EpisodeConfig, FeedbackLevel};
pub use feedback::feedback;
pub use play::{Played, play};
