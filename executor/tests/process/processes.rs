//! Programs that want to be many, to stay, or to harm their neighbours.

use std::time::Duration;

use rltrain_executor::process::{CommandWorker, How, Isolation, Layer};

use super::{
    bounds, everyone, has, is_possible, python_task, ran, say, says, surroundings, text, worker_command,
};

/// All descendants of a process, by `/proc`.
pub(crate) fn descendants(ancestor: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Ok(process) = name.parse::<u32>() else { continue };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        parents.push((process, fields[1].parse::<u32>().unwrap()));
    }
    let mut found = vec![ancestor];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(process, _)| process));
        at += 1;
    }
    found.split_off(1)
}

#[test]
fn a_fork_bomb_is_small_and_short() {
    if !has("/usr/bin/python3") {
        return;
    }
    let program = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass";
    everyone(|worker| {
        let before = descendants(worker.id());
        let ended = ran(worker.perform(&python_task(program)).unwrap());
        assert!(matches!(ended.how, How::OutOfTime | How::OutOfMemory), "{ended:?}");
        assert_eq!(descendants(worker.id()), before);
    });
}

#[test]
fn there_is_a_last_process_and_a_last_thread() {
    let program = r#"
import os, time
children = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(100)
            os._exit(0)
        children += 1
except OSError as error: print(error.errno, 40 < children < 64)
"#;
    says(program, "11 True\n");
}

#[test]
fn a_daemon_does_not_outlive_its_program() {
    if !has("/usr/bin/python3") {
        return;
    }
    let program = r#"
import os, signal, time
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        while True: time.sleep(100)
    os._exit(0)
os.wait()
print("gone")
"#;
    everyone(|worker| {
        let before = descendants(worker.id());
        let ended = ran(worker.perform(&python_task(program)).unwrap());
        assert_eq!((ended.how, text(&ended.stdout).as_str()), (How::Exited(0), "gone\n"), "{ended:?}");
        assert_eq!(descendants(worker.id()), before);
    });
}

#[test]
fn zombies_and_orphans_are_cleared_away() {
    if !has("/usr/bin/python3") {
        return;
    }
    let program = "import os\nfor _ in range(30):\n    if os.fork() == 0:\n        os.fork()\n        os._exit(0)\nprint('left')";
    everyone(|worker| {
        let before = descendants(worker.id());
        let ended = ran(worker.perform(&python_task(program)).unwrap());
        assert_eq!(ended.how, How::Exited(0), "{ended:?}");
        assert_eq!(descendants(worker.id()), before);
    });
}

#[test]
fn what_a_program_kills_is_only_itself() {
    if !has("/usr/bin/python3") {
        return;
    }
    let program = r#"
import os, signal
for process in [1, os.getppid(), 0x7fffffff] + list(range(2, 300)):
    if process != os.getpid():
        for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
            try: os.kill(process, number)
            except OSError: pass
print("alive", flush=True)
try: os.kill(-1, signal.SIGKILL)
except OSError: pass
print("still alive", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"#;
    everyone(|worker| {
        let ended = ran(worker.perform(&python_task(program)).unwrap());
        assert_eq!(ended.how, How::Signalled(9), "{ended:?}");
        assert_eq!(text(&ended.stdout), "alive\nstill alive\n");
        let next = ran(worker.perform(&python_task("print('next')")).unwrap());
        assert_eq!(text(&next.stdout), "next\n");
    });
}

#[test]
fn a_stopped_program_is_ended() {
    if !has("/usr/bin/python3") {
        return;
    }
    everyone(|worker| {
        let mut task = python_task("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)");
        task.run.bounds.asleep = Duration::from_millis(300);
        assert_eq!(ran(worker.perform(&task).unwrap()).how, How::OutOfTime);
    });
}

#[test]
fn a_killed_worker_takes_everything_with_it() {
    if !is_possible() || !has("/usr/bin/python3") {
        return;
    }
    let mut worker = CommandWorker::start(&worker_command(), &surroundings()).unwrap();
    let id = worker.id();
    let mut task = python_task("import os, time\nos.fork(); os.fork()\ntime.sleep(1000)");
    task.run.bounds.asleep = Duration::from_secs(100);
    let running =
        std::thread::spawn(move || worker.perform(&task).map(|_| ()).map_err(|error| (error, worker)));
    let mut seen = Vec::new();
    for _ in 0..500 {
        seen = descendants(id);
        if seen.len() >= 6 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(seen.len() >= 6, "the worker's, its jail's and four of the program: {seen:?}");
    assert!(std::process::Command::new("kill").args(["-9", &id.to_string()]).status().unwrap().success());
    let (error, _worker) = running.join().unwrap().unwrap_err();
    assert!(
        error.to_string().contains("two sandbox workers") || error.to_string().contains("ended"),
        "{error}"
    );
    for _ in 0..500 {
        if seen.iter().all(|process| !std::path::Path::new(&format!("/proc/{process}")).exists()) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("left behind: {seen:?}");
}

#[test]
fn the_bound_on_processes_is_per_run() {
    if !has("/usr/bin/python3") {
        return;
    }
    everyone(|worker| {
        let mut task = python_task("import os\ntry: os.fork()\nexcept OSError as error: print(error.errno)");
        // The one that looks after the namespace, and the program.
        task.run.bounds.processes = 2;
        assert_eq!(text(&ran(worker.perform(&task).unwrap()).stdout), "11\n");
        task.run.bounds = bounds();
        assert_eq!(text(&ran(worker.perform(&task).unwrap()).stdout), "");
    });
}

/// Processes in the control groups of workers, by their ids outside.
fn in_groups() -> Vec<u32> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let place = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let place = fields.next()?;
        (fields.next()? == "cgroup2").then(|| place.to_owned())
    });
    let mut found = Vec::new();
    let mut folders: Vec<_> = place.into_iter().map(std::path::PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        if folder.ends_with("run") {
            let processes = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(processes.lines().filter_map(|line| line.parse::<u32>().ok()));
        }
        // Groups come and go.
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        folders.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    found
}

#[test]
fn all_processes_of_a_program_are_in_its_control_group_and_none_sees_which() {
    let isolation = Isolation::probe();
    if !has("/usr/bin/python3") {
        return;
    }
    if !isolation.offers(Layer::CgroupKill) {
        say(&format!("not tried: this host lets nobody make a control group\n{isolation}"));
        return;
    }
    let program =
        "import os, time\nos.fork(), os.fork()\nos.setsid() if os.getpid() != 2 else 0\ntime.sleep(600)";
    let mut worker = CommandWorker::start(&worker_command(), &surroundings()).unwrap();
    let id = worker.id();
    let mut task = python_task(program);
    task.run.bounds.asleep = Duration::from_secs(2);
    let ended = std::thread::scope(|scope| {
        let running = scope.spawn(|| ran(worker.perform(&task).unwrap()));
        let mut most = 0;
        while !running.is_finished() {
            // Below the worker are its twin inside the namespaces, and below that the program.
            let (inside, grouped) = (descendants(id), in_groups());
            most = most.max(inside.iter().filter(|process| grouped.contains(process)).count());
            std::thread::sleep(Duration::from_millis(50));
        }
        // The first process of the namespaces, and four of Python.
        assert_eq!(most, 5);
        running.join().unwrap()
    });
    assert_eq!(ended.how, How::OutOfTime);
    let seen = ran(worker.perform(&python_task("print(open('/proc/self/cgroup').read())")).unwrap());
    assert!(text(&seen.stdout).lines().any(|line| line == "0::/"), "{seen:?}");
}
