//! Which layers of isolation this host offers, found out by trying them.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use serde::Serialize;

use super::clone::{Side, clone_process, leave};
use super::groups;
use super::layers::{Importance, Layer, LayerSet};
use super::run::Bounds;
use super::run_group::Groups;
use crate::InfraError;

/// What this host offers for the process backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Isolation {
    /// One entry for each layer, from the outside in.
    pub layers: Vec<LayerReport>,
}

/// One layer, and whether this host offers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerReport {
    /// The layer.
    pub layer: Layer,
    /// Whether a trial succeeded.
    pub is_offered: bool,
    /// Why not, or in which version; empty if there is nothing to say.
    pub detail: String,
}

impl Isolation {
    /// Tries each layer. Takes milliseconds; leaves nothing behind.
    pub fn probe() -> Self {
        Self { layers: Layer::ALL.into_iter().map(probe).collect() }
    }

    /// Whether this host offers the layer.
    pub fn offers(&self, layer: Layer) -> bool {
        self.layers.iter().any(|report| report.layer == layer && report.is_offered)
    }

    /// Whether programs may be run here.
    ///
    /// # Errors
    ///
    /// If a layer is missing that is not in `accepted`, or that cannot be done without.
    pub fn check(&self, accepted: LayerSet) -> Result<(), InfraError> {
        let is_in_the_way = |report: &&LayerReport| {
            !report.is_offered
                && match report.layer.importance() {
                    Importance::Required => true,
                    Importance::Acceptable => !accepted.contains(report.layer),
                    Importance::Extra => false,
                }
        };
        let missing: Vec<&LayerReport> = self.layers.iter().filter(is_in_the_way).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let found: Vec<String> =
            missing.iter().map(|report| format!("{} ({})", report.layer, report.detail)).collect();
        let required = missing.iter().filter(|report| report.layer.importance() == Importance::Required);
        let remedy = if let Some(report) = required.into_iter().next() {
            format!("there is no running programs without {}", report.layer)
        } else {
            let names: Vec<String> = missing.iter().map(|report| format!("\"{}\"", report.layer)).collect();
            format!("`accept_missing = [{}]` in `[executor.process]` does without", names.join(", "))
        };
        Err(InfraError::MissingIsolation { found: found.join(", "), remedy })
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for report in &self.layers {
            let LayerReport { layer, is_offered, detail } = report;
            let offered = if *is_offered { "yes" } else { "no" };
            let line = format!("{layer:21} {offered:4} {detail}");
            writeln!(formatter, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// What a trial came to: a detail, or why the layer is not offered.
type Trial = Result<String, String>;

fn probe(layer: Layer) -> LayerReport {
    let trial = match layer {
        Layer::UserNamespace => try_namespace(libc::CLONE_NEWUSER, || Ok(())),
        Layer::MountNamespace => try_namespace(libc::CLONE_NEWNS, mount_something),
        Layer::PidNamespace => try_namespace(libc::CLONE_NEWPID, || Ok(())),
        Layer::NetworkNamespace => try_namespace(libc::CLONE_NEWNET, || Ok(())),
        Layer::IpcNamespace => try_namespace(libc::CLONE_NEWIPC, || Ok(())),
        Layer::UtsNamespace => try_namespace(libc::CLONE_NEWUTS, || Ok(())),
        Layer::CgroupNamespace => try_namespace(libc::CLONE_NEWCGROUP, || Ok(())),
        Layer::PrivateProc => try_namespace(libc::CLONE_NEWNS | libc::CLONE_NEWPID, mount_proc),
        Layer::Seccomp => try_action(libc::SECCOMP_RET_ERRNO),
        Layer::SeccompNotification => try_action(libc::SECCOMP_RET_USER_NOTIF),
        Layer::Landlock => try_landlock(),
        Layer::NoNewPrivileges => try_no_new_privileges(),
        Layer::ResourceLimits => try_resource_limits(),
        Layer::CgroupKill => try_group(),
        Layer::CgroupMemory => groups::offers("memory"),
        Layer::CgroupPids => groups::offers("pids"),
    };
    let is_offered = trial.is_ok();
    let detail = trial.unwrap_or_else(|reason| reason);
    LayerReport { layer, is_offered, detail }
}

/// Starts a process in such a namespace, owned by a new user namespace, and has it do something there.
#[expect(unsafe_code, reason = "the trial needs a process of its own")]
fn try_namespace(kind: libc::c_int, act: fn() -> nix::Result<()>) -> Trial {
    // SAFETY: the child makes system calls with constant arguments and ends; it asks for no lock and allocates nothing.
    let side = unsafe { clone_process(libc::CLONE_NEWUSER | kind, None) };
    match side {
        Ok(Side::Child) => leave(act().map_or_else(|error| error as i32, |()| 0)),
        Ok(Side::Parent(child)) => {
            let remains = child.wait().map_err(|error| error.to_string())?;
            match remains.status.code() {
                Some(0) => Ok(String::new()),
                Some(code) => Err(explain(Errno::from_raw(code))),
                None => Err(format!("the trial ended with {}", remains.status)),
            }
        }
        Err(error) => Err(explain(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))),
    }
}

/// The error, and the switches of known distributions that cause it.
fn explain(error: Errno) -> String {
    let switches = [
        ("/proc/sys/user/max_user_namespaces", "0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
    ];
    let is_on =
        |path: &str, value: &str| fs_err::read_to_string(path).is_ok_and(|content| content.trim() == value);
    let mut reason = error.desc().to_owned();
    for (path, value) in switches {
        if is_on(path, value) {
            reason.push_str(&format!("; `{path}` is {value}"));
        }
    }
    reason
}

fn mount_something() -> nix::Result<()> {
    seal_mounts()?;
    mount(Some(c"tmpfs"), c"/proc", Some(c"tmpfs"), MsFlags::empty(), None::<&std::ffi::CStr>)?;
    // Attributes of a whole tree are set by a newer call.
    match super::mounts::make_read_only(c"/proc") {
        Ok(()) => Ok(()),
        Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))),
    }
}

fn mount_proc() -> nix::Result<()> {
    seal_mounts()?;
    mount(Some(c"proc"), c"/proc", Some(c"proc"), MsFlags::empty(), Some(c"subset=pid,hidepid=invisible"))
}

fn seal_mounts() -> nix::Result<()> {
    let none = None::<&std::ffi::CStr>;
    mount(none, c"/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
}

#[expect(unsafe_code, reason = "no crate that rltrain has asks which actions a filter may take")]
fn try_action(action: libc::c_uint) -> Trial {
    // SAFETY: `action` is valid for reads during the call, which changes nothing.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    if result == 0 { Ok(String::new()) } else { Err(io::Error::last_os_error().to_string()) }
}

#[expect(unsafe_code, reason = "the landlock crate does not tell which version the kernel has")]
fn try_landlock() -> Trial {
    /// `LANDLOCK_CREATE_RULESET_VERSION`
    const VERSION: libc::c_int = 1;
    // SAFETY: with this flag the call takes no attributes and returns a number.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, VERSION) };
    if version >= 1 { Ok(format!("ABI {version}")) } else { Err(io::Error::last_os_error().to_string()) }
}

fn try_no_new_privileges() -> Trial {
    nix::sys::prctl::get_no_new_privs().map(|_| String::new()).map_err(|error| error.to_string())
}

fn try_resource_limits() -> Trial {
    nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_AS)
        .map(|_| String::new())
        .map_err(|error| error.to_string())
}

/// Makes a group, and starts a process in it as runs are started.
#[expect(unsafe_code, reason = "the trial needs a process of its own")]
fn try_group() -> Trial {
    let groups = Groups::make()?;
    let tried = (|| {
        let group = groups.enter(&Bounds::new(Duration::from_secs(1), 64 << 20, 0))?;
        // SAFETY: the child makes one system call and ends.
        match unsafe { clone_process(libc::CLONE_NEWUSER, Some(group.as_fd())) }? {
            Side::Child => leave(0),
            Side::Parent(child) => child.wait(),
        }
    })();
    let removed = groups.remove();
    tried.and(removed).map(|()| String::new()).map_err(|error: io::Error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking(layers: &[Layer]) -> Isolation {
        let report = |layer| LayerReport {
            layer,
            is_offered: !layers.contains(&layer),
            detail: "not tried".to_owned(),
        };
        Isolation { layers: Layer::ALL.into_iter().map(report).collect() }
    }

    #[test]
    fn a_missing_layer_is_refused_by_name_unless_it_is_accepted() {
        let isolation = lacking(&[Layer::Landlock]);
        let message = isolation.check(LayerSet::default()).unwrap_err().to_string();
        assert!(message.contains("landlock (not tried)"), "{message}");
        assert!(message.contains(r#"accept_missing = ["landlock"]"#), "{message}");
        assert!(isolation.check([Layer::Landlock].into_iter().collect()).is_ok());
    }

    #[test]
    fn a_layer_that_cannot_be_done_without_is_refused_all_the_same() {
        let accepted = Layer::ALL.into_iter().collect();
        let message = lacking(&[Layer::UserNamespace]).check(accepted).unwrap_err().to_string();
        assert!(message.contains("there is no running programs without user-namespace"), "{message}");
    }

    #[test]
    fn control_groups_are_never_in_the_way() {
        let isolation = lacking(&[Layer::CgroupKill, Layer::CgroupMemory, Layer::CgroupPids]);
        assert!(isolation.check(LayerSet::default()).is_ok());
        assert!(isolation.to_string().contains("cgroup-pids           no   not tried\n"), "{isolation}");
    }
}
