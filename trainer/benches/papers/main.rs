//! What papers say, tried with a tiny model on a toy language: `make papers`.
//!
//! The world is made first: tasks, a model of a million parameters from nothing, and its warm start by supervised fine-tuning that is
//! cut short. Then every row runs its recipes from there, with three seeds each, through the program itself, and `docs/results/papers.md`
//! gets a section for it. What was run stays in `target/papers`; a run that was cut off goes on, and one that is done is not run
//! again.
//!
//! `RLTRAIN_PAPERS=E1,E3` picks rows. `RLTRAIN_PAPERS_SECONDS=400` starts no run after so many seconds and leaves the rest for the
//! next time. `RLTRAIN_PAPERS_FOLDER` is another place for the runs.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod compare;
mod cut_structure;
mod exact;
mod model;
mod report;
mod rows;
mod runs;
mod world;

use std::path::{Path, PathBuf};

use runs::{Clock, Done};

/// Why it stops.
type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let called = std::env::args_os().next().map(PathBuf::from);
    if called.is_some_and(|path| path.ends_with(cut_structure::NAME)) {
        return cut_structure::serve();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder =
        std::env::var_os("RLTRAIN_PAPERS_FOLDER").map_or_else(|| root.join("target/papers"), PathBuf::from);
    let wanted = std::env::var("RLTRAIN_PAPERS").unwrap_or_default();
    let is_wanted = |id: &str| wanted.is_empty() || wanted.split(',').any(|one| one.trim() == id);
    let clock = Clock::from_environment()?;
    let page = root.join("docs/results/papers.md");
    std::fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let mut report = report::Report::read(&page)?;
    if is_wanted(exact::ID) {
        report.put(exact::ID, exact::section());
    }
    let link = folder.join(cut_structure::NAME);
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(std::env::current_exe()?, link)?;
    for row in rows::rows().into_iter().filter(|row| is_wanted(row.id)) {
        let warm = row.world.make(&folder, &clock)?;
        if warm == Done::CutOff || runs::run(&row, &folder, &clock)? == Done::CutOff {
            println!("time is up: `make papers` goes on with {}", row.id);
            break;
        }
        report.put(row.id, compare::section(&row, &folder)?);
        report.write(&page)?;
        println!("{} is done", row.id);
    }
    report.set_world(world::said());
    report.write(&page)?;
    println!("{}", page.display());
    Ok(())
}
