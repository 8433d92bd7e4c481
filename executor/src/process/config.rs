//! `[executor.process]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::layers::LayerSet;

/// `[executor.process]`: programs as native processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessConfig {
    /// Layers of isolation that this host may lack, such as `["landlock"]`. Default none: what is missing is refused by name.
    /// Some cannot be done without, whatever this says.
    pub accept_missing: LayerSet,
}

impl ProcessConfig {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
