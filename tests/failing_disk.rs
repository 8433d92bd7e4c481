//! Disks that really refuse, under the real program: a limit on file sizes, a folder that goes away, and a full file system.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rltrain_checkpoints::Store;

use crate::first_light::{contents, wait_for};
use crate::rltrain::{expect, rltrain};
use crate::tiny::{self, edit};

/// Steps of every run here: enough for a disk to fail and to recover in the midst.
const STEPS: u64 = 7;

/// More than any file of a run but those of its weights.
const FILE_BYTES: u64 = 1 << 20;

/// A folder with a recipe of [`STEPS`] steps, a checkpoint after each, and nothing else that takes time.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "steps = 4\n", &format!("steps = {STEPS}\n"));
    edit(folder.path(), "[eval]\nevery = 2\n", "[eval]\nevery = 0\n");
    folder
}

/// The run that nothing happened to.
fn undisturbed() -> &'static Path {
    static RUN: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = RUN.get_or_init(|| {
        let folder = folder();
        expect(folder.path(), &["recipe.toml"], 0);
        folder
    });
    folder.path()
}

/// Demands that `run` has come to the same end as the run that nothing happened to.
#[track_caller]
fn assert_ended_as_if_nothing_had_happened(run: &Path) {
    let whole = undisturbed().join("run");
    let last = format!("checkpoints/step-{STEPS:08}");
    assert_eq!(contents(&whole.join(&last)), contents(&run.join(&last)));
    let read = |run: &Path| std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(read(&whole), read(run));
    let (newest, passed_over) = newest(run);
    assert_eq!((newest, passed_over), (STEPS, 0));
}

/// Step of the newest whole checkpoint, and how many were passed over.
fn newest(run: &Path) -> (u64, usize) {
    let (newest, passed_over) =
        Store::open_read_only(&run.join("checkpoints")).newest_valid().unwrap().unwrap();
    (newest.step(), passed_over.len())
}

/// The value of `checkpoint/failed` in the last line of timings.
fn failed(run: &Path) -> f64 {
    let text = std::fs::read_to_string(run.join("timings.jsonl")).unwrap();
    let mut steps = text.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["checkpoint/failed"].as_f64()
    });
    steps.next_back().unwrap()
}

/// Starts the run. A write that a limit refuses is an error for it, as a full disk is, and not the end.
fn start(folder: &Path) -> (Child, PathBuf) {
    let errors = folder.join("errors.txt");
    let mut command = rltrain(folder);
    command.arg("recipe.toml").stdout(Stdio::null()).stderr(std::fs::File::create(&errors).unwrap());
    #[expect(unsafe_code, reason = "a signal is ignored before the program starts")]
    // SAFETY: `signal` may be called between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            Ok(())
        });
    }
    (command.spawn().unwrap(), errors)
}

/// Has the kernel refuse every write of `child` behind the first `bytes` of a file.
fn limit_files(child: &Child, bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    #[expect(unsafe_code, reason = "there is no safe call for another process's limits")]
    // SAFETY: the process is a child that was not waited for, and the pointers are of this frame or null.
    let result = unsafe {
        libc::prlimit(child.id() as libc::pid_t, libc::RLIMIT_FSIZE, &raw const limit, std::ptr::null_mut())
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Waits until the run has told that a checkpoint cannot be written, and demands that it goes on.
#[track_caller]
fn wait_for_report(child: &mut Child, errors: &Path) -> String {
    let start = Instant::now();
    loop {
        let text = std::fs::read_to_string(errors).unwrap();
        if text.contains("cannot be written") {
            return text;
        }
        assert!(child.try_wait().unwrap().is_none(), "the run ended:\n{text}");
        assert!(start.elapsed() < Duration::from_secs(300), "nothing was told:\n{text}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_disk_that_refuses_for_a_while_costs_checkpoints_and_not_the_run() {
    let folder = folder();
    let run = folder.path().join("run");
    let (mut child, errors) = start(folder.path());
    wait_for(&run.join("checkpoints/step-00000001/manifest.json"));
    limit_files(&child, FILE_BYTES);
    let told = wait_for_report(&mut child, &errors);
    assert!(told.contains("File too large") && told.contains("the one before it is kept"), "{told}");
    // What is on the disk now is what a crash would leave.
    assert_eq!(newest(&run).1, 0);
    limit_files(&child, libc::RLIM_INFINITY);
    let status = child.wait().unwrap();
    let told = std::fs::read_to_string(&errors).unwrap();
    assert_eq!(status.code(), Some(0), "{told}");
    assert!(failed(&run) >= 1.0, "{told}");
    assert_ended_as_if_nothing_had_happened(&run);
}

#[test]
fn a_run_whose_end_cannot_be_saved_fails_and_says_what_is_kept() {
    let folder = folder();
    let run = folder.path().join("run");
    let (mut child, errors) = start(folder.path());
    wait_for(&run.join("checkpoints/step-00000001/manifest.json"));
    limit_files(&child, FILE_BYTES);
    let status = child.wait().unwrap();
    let told = std::fs::read_to_string(&errors).unwrap();
    assert_eq!(status.code(), Some(1), "{told}");
    let (step, passed_over) = newest(&run);
    assert!(step < STEPS && passed_over == 0, "{step}");
    // The report is broken into lines at any space.
    let report: String = told.split("Error:").last().unwrap_or(&told).split_whitespace().collect();
    let wanted = format!("thecheckpointofstep{STEPS}cannotbewritten");
    assert!(report.replace('│', "").contains(&wanted), "{told}");
    assert!(report.contains(&format!("step-{step:08}`iskept")), "{told}");

    let (_, again) = expect(folder.path(), &["recipe.toml"], 0);
    assert!(again.contains("resuming"), "{again}");
    assert_ended_as_if_nothing_had_happened(&run);
}

#[test]
fn a_folder_of_checkpoints_that_goes_away_and_comes_back_costs_checkpoints_and_not_the_run() {
    let folder = folder();
    let run = folder.path().join("run");
    let (mut child, errors) = start(folder.path());
    wait_for(&run.join("checkpoints/step-00000001/manifest.json"));
    let (place, elsewhere) = (run.join("checkpoints"), folder.path().join("elsewhere"));
    std::fs::rename(&place, &elsewhere).unwrap();
    std::fs::write(&place, "not a folder").unwrap();
    let told = wait_for_report(&mut child, &errors);
    assert!(told.contains("Not a directory") || told.contains("No such file"), "{told}");
    std::fs::remove_file(&place).unwrap();
    std::fs::rename(&elsewhere, &place).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_ended_as_if_nothing_had_happened(&run);
}

/// Fills a file system of the run's own until a checkpoint does not fit, and makes room again.
const FULL: &str = r#"
mkdir run && mount -t tmpfs -o size=64m none run || exit 77
"$RLTRAIN" recipe.toml 2>errors.txt >/dev/null &
run=$!
until [ -e run/checkpoints/step-00000001/manifest.json ]; do sleep 0.02; kill -0 $run || exit 78; done
while head -c 1048576 /dev/zero >>run/ballast && [ "$(stat -f -c %a run)" -gt 1024 ]; do :; done
until grep -q 'cannot be written' errors.txt; do sleep 0.02; kill -0 $run || exit 79; done
rm run/ballast
wait $run
code=$?
mkdir saved && cp -r run/. saved
exit $code
"#;

#[test]
fn a_full_file_system_costs_checkpoints_and_not_the_run() {
    let namespace = ["--map-root-user", "--mount", "sh", "-c"];
    let allowed = Command::new("unshare").args(namespace).arg("mount -t tmpfs none /mnt").output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: mounting in a namespace of one's own is not permitted here"
        );
        return;
    }
    let folder = folder();
    let program = rltrain(folder.path()).get_program().to_owned();
    let status = Command::new("unshare")
        .args(namespace)
        .arg(FULL)
        .current_dir(folder.path())
        .envs([
            ("NO_COLOR", "1".as_ref()),
            ("OMP_NUM_THREADS", "1".as_ref()),
            ("RLTRAIN", program.as_os_str()),
        ])
        .status()
        .unwrap();
    let told = std::fs::read_to_string(folder.path().join("errors.txt")).unwrap_or_default();
    assert_eq!(status.code(), Some(0), "{told}");
    assert!(told.contains("are free; make room") || told.contains("No space left on device"), "{told}");
    let run = folder.path().join("saved");
    assert!(failed(&run) >= 1.0, "{told}");
    assert_ended_as_if_nothing_had_happened(&run);
}
