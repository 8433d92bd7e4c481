//! Rewards that look at the outcome of the tests alone.

mod all_passed;
mod outcome_table;
mod rare_tests;
mod repair;
mod tests_passed;
mod tiers;
mod written_tests;

pub use all_passed::{AllPassed, AllPassedConfig};
pub use outcome_table::{Baseline, OutcomeTable, OutcomeTableConfig};
pub use rare_tests::{RareTests, RareTestsConfig};
pub use repair::{Repair, RepairConfig};
pub use tests_passed::{TestsPassed, TestsPassedConfig};
pub use tiers::{Tiers, TiersConfig};
pub use written_tests::{WrittenTestsConfig, WrittenTestsReward};
