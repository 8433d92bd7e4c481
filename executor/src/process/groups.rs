//! Control groups (cgroup v2): whether this process may make one.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

/// Controllers that bound a program.
pub(crate) const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// Whether a new group would have this controller; if so, where it would be made, otherwise why not.
pub(crate) fn offers(controller: &str) -> Result<String, String> {
    let places = places()?;
    let mut reasons = Vec::new();
    for place in places {
        match has(&place, controller) {
            Ok(()) => return Ok(format!("in `{}`", place.display())),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(reasons.join("; "))
}

fn has(place: &Path, controller: &str) -> Result<(), String> {
    let file = place.join("cgroup.subtree_control");
    let controllers = fs_err::read_to_string(file).map_err(|error| error.to_string())?;
    let place_name = place.display();
    if !controllers.split_whitespace().any(|name| name == controller) {
        return Err(format!("`{place_name}` hands on {:?}, not {controller}", controllers.trim()));
    }
    access(place, AccessFlags::W_OK).map_err(|_| format!("`{place_name}` is not writable"))
}

/// Where a group might be made: beside that of this process, below it, at the top. Those that hand on most of [`CONTROLLERS`]
/// come first.
pub(crate) fn places() -> Result<Vec<PathBuf>, String> {
    let root = mounted_at()?;
    let own = fs_err::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let own = root.join(own);
    let mut places = Vec::new();
    if own != root
        && let Some(parent) = own.parent()
    {
        places.push(parent.to_path_buf());
        places.push(own.clone());
    }
    if !places.contains(&root) {
        places.push(root);
    }
    places.sort_by_key(|place| CONTROLLERS.into_iter().filter(|name| has(place, name).is_err()).count());
    Ok(places)
}

fn mounted_at() -> Result<PathBuf, String> {
    let mounts = fs_err::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
    let mut fields = mounts.lines().map(|line| line.split(' '));
    fields
        .find_map(|mut fields| {
            let place = fields.nth(1)?;
            (fields.next()? == "cgroup2").then(|| PathBuf::from(place))
        })
        .ok_or_else(|| "there is no cgroup2 file system".to_owned())
}
