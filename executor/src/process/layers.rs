//! The layers that the process backend is made of, by name.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One layer of isolation around a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// Users and capabilities of its own: root inside is nobody outside.
    UserNamespace,
    /// A file tree of its own.
    MountNamespace,
    /// Sees and signals no process but its own; all of them end with the first.
    PidNamespace,
    /// A network without interfaces.
    NetworkNamespace,
    /// Shared memory, semaphores and message queues of its own.
    IpcNamespace,
    /// A host name of its own.
    UtsNamespace,
    /// Does not see which control group it is in.
    CgroupNamespace,
    /// A `/proc` that shows its own processes only.
    PrivateProc,
    /// A list of the system calls that it may make.
    Seccomp,
    /// Refused system calls are counted by name.
    SeccompNotification,
    /// A second say on files, TCP, signals and abstract sockets.
    Landlock,
    /// No privileges from setuid programs.
    NoNewPrivileges,
    /// Processor time, address space, file sizes, descriptors and processes are bounded by the kernel.
    ResourceLimits,
    /// The kernel ends all its processes at once (cgroup v2).
    CgroupKill,
    /// The kernel bounds the memory of all its processes together (cgroup v2).
    CgroupMemory,
    /// The kernel bounds their number (cgroup v2).
    CgroupPids,
}

/// What it means that a host does not offer a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Importance {
    /// Without it nothing runs.
    Required,
    /// Without it nothing runs, unless the configuration accepts that.
    Acceptable,
    /// Another layer does the same, less exactly.
    Extra,
}

impl Layer {
    /// Every layer, from the outside in.
    pub const ALL: [Self; 16] = [
        Self::UserNamespace,
        Self::MountNamespace,
        Self::PidNamespace,
        Self::NetworkNamespace,
        Self::IpcNamespace,
        Self::UtsNamespace,
        Self::CgroupNamespace,
        Self::PrivateProc,
        Self::Seccomp,
        Self::SeccompNotification,
        Self::Landlock,
        Self::NoNewPrivileges,
        Self::ResourceLimits,
        Self::CgroupKill,
        Self::CgroupMemory,
        Self::CgroupPids,
    ];

    /// The name that configurations use.
    pub fn name(self) -> &'static str {
        match self {
            Self::UserNamespace => "user-namespace",
            Self::MountNamespace => "mount-namespace",
            Self::PidNamespace => "pid-namespace",
            Self::NetworkNamespace => "network-namespace",
            Self::IpcNamespace => "ipc-namespace",
            Self::UtsNamespace => "uts-namespace",
            Self::CgroupNamespace => "cgroup-namespace",
            Self::PrivateProc => "private-proc",
            Self::Seccomp => "seccomp",
            Self::SeccompNotification => "seccomp-notification",
            Self::Landlock => "landlock",
            Self::NoNewPrivileges => "no-new-privileges",
            Self::ResourceLimits => "resource-limits",
            Self::CgroupKill => "cgroup-kill",
            Self::CgroupMemory => "cgroup-memory",
            Self::CgroupPids => "cgroup-pids",
        }
    }

    pub(crate) fn importance(self) -> Importance {
        match self {
            Self::UserNamespace
            | Self::MountNamespace
            | Self::PidNamespace
            | Self::NetworkNamespace
            | Self::PrivateProc
            | Self::Seccomp
            | Self::NoNewPrivileges
            | Self::ResourceLimits => Importance::Required,
            Self::IpcNamespace
            | Self::UtsNamespace
            | Self::CgroupNamespace
            | Self::SeccompNotification
            | Self::Landlock => Importance::Acceptable,
            Self::CgroupKill | Self::CgroupMemory | Self::CgroupPids => Importance::Extra,
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A set of layers; in a configuration a list of their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LayerSet(u16);

impl LayerSet {
    /// Whether the layer is in the set.
    pub fn contains(self, layer: Layer) -> bool {
        self.0 & Self::bit(layer) != 0
    }

    /// The layers of the set, from the outside in.
    pub fn iter(self) -> impl Iterator<Item = Layer> {
        Layer::ALL.into_iter().filter(move |layer| self.contains(*layer))
    }

    fn bit(layer: Layer) -> u16 {
        1 << layer as u16
    }
}

impl FromIterator<Layer> for LayerSet {
    fn from_iter<T: IntoIterator<Item = Layer>>(layers: T) -> Self {
        Self(layers.into_iter().fold(0, |bits, layer| bits | Self::bit(layer)))
    }
}

impl Serialize for LayerSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for LayerSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeSet::<Layer>::deserialize(deserializer)?.into_iter().collect())
    }
}

impl JsonSchema for LayerSet {
    fn schema_name() -> Cow<'static, str> {
        "LayerSet".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeSet::<Layer>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_layers_is_written_as_their_names() {
        let set: LayerSet = serde_json::from_str(r#"["landlock", "uts-namespace"]"#).unwrap();
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["uts-namespace","landlock"]"#);
        assert!(set.contains(Layer::Landlock) && !set.contains(Layer::Seccomp));
        assert!(serde_json::from_str::<LayerSet>(r#"["landlocked"]"#).is_err());
    }

    #[test]
    fn every_layer_is_listed_once_under_the_name_that_configurations_use() {
        let all: LayerSet = Layer::ALL.into_iter().collect();
        assert_eq!(all.iter().count(), Layer::ALL.len());
        for layer in Layer::ALL {
            assert_eq!(serde_json::to_value(layer).unwrap(), layer.name());
        }
    }
}
