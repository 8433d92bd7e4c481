//! `docs/results/papers.md`: a section for each row, of which those that were not run again stay as they are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::Failure;

/// What is said of a row.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) claim: String,
    /// In a few words, with an interval.
    pub(crate) measured: String,
    pub(crate) verdict: String,
    pub(crate) text: String,
}

/// The page.
pub(crate) struct Report {
    sections: BTreeMap<u32, Section>,
    world: Option<String>,
}

/// Rows of the plan that no recipe is for, and why.
const MISSING: [(u32, &str, &str, &str); 4] = [
    (
        4,
        "muCode: relabelling, verifiers",
        "relabelled turns beat rejection sampling; BT is no worse than BCE",
        "no recipes of this row yet",
    ),
    (
        5,
        "SOAR: hindsight, REX",
        "hindsight relabelling helps much where success is rare",
        "no recipes of this row yet",
    ),
    (
        6,
        "Dr. Boot: a turn of repair",
        "repair is about as good as sampling again, at the same budget",
        "no recipes of this row yet",
    ),
    (8, "SeleKT", "sparse deltas keep what was known and learn what is new", "no recipes of this row yet"),
];

const HEAD: &str = "# What papers say, on a toy language";

impl Report {
    /// The page as it is; one without sections if it is not there.
    pub(crate) fn read(path: &Path) -> Result<Report, Failure> {
        let mut report = Report { sections: BTreeMap::new(), world: None };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(report),
            Err(error) => return Err(error.into()),
        };
        report.world = text.lines().find(|line| line.starts_with("Worlds: ")).map(str::to_owned);
        for part in text.split("\n## E").skip(1) {
            let (head, body) = part.split_once('\n').ok_or("a section has no text")?;
            let (number, title) = head.split_once(": ").ok_or("a section has no title")?;
            let line = |name: &str| {
                let found = body.lines().find_map(|line| line.strip_prefix(&format!("- {name}: ")));
                found.unwrap_or_default().to_owned()
            };
            let text = body.split_once("\n\n").and_then(|(_, rest)| rest.split_once("\n\n"));
            let section = Section {
                title: title.to_owned(),
                claim: line("Claim"),
                measured: line("Measured"),
                verdict: line("Verdict"),
                text: text.map_or("", |(_, text)| text).trim_end().to_owned(),
            };
            report.sections.insert(number.parse()?, section);
        }
        Ok(report)
    }

    /// Says something of a row.
    pub(crate) fn put(&mut self, id: &str, section: Section) {
        let number = id.trim_start_matches('E').parse().unwrap_or(0);
        self.sections.insert(number, section);
    }

    pub(crate) fn set_world(&mut self, text: String) {
        self.world = Some(text);
    }

    /// Writes the page.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        std::fs::write(path, self.text()?)?;
        Ok(())
    }

    fn text(&self) -> Result<String, Failure> {
        let mut text = format!(
            "{HEAD}\n\n```console\nmake papers                        # everything; RLTRAIN_PAPERS=E1,E3 picks rows\n```\n\n\
             Each row runs recipes from the same warm start with three seeds (`trainer/benches/papers/rows.rs`). Scores are of the held-out tasks, at\n\
             the last evaluation within the number of sampled tokens that every recipe of the row has. Intervals are of a bootstrap over seeds\n\
             and tasks; three seeds are few, and what is undecided here may be decided by more. A verdict is about the direction that is claimed, at this\n\
             scale, and not about the paper.\n\n{}\n\n| row | claim | measured | verdict |\n|---|---|---|---|\n",
            self.world.as_deref().unwrap_or("Worlds: no row that takes one was run.")
        );
        let planned = super::rows::rows();
        for number in 1..=12 {
            if let Some(section) = self.sections.get(&number) {
                writeln!(
                    text,
                    "| [E{number}](#{}) | {} | {} | {} |",
                    anchor(number, &section.title),
                    section.claim,
                    section.measured,
                    section.verdict
                )?;
            } else if let Some((_, title, claim, why)) =
                MISSING.iter().find(|(missing, ..)| *missing == number)
            {
                writeln!(text, "| E{number}: {title} | {claim} | not run: {why} | none |")?;
            } else if let Some(row) = planned.iter().find(|row| row.id == format!("E{number}")) {
                writeln!(
                    text,
                    "| E{number}: {} | {} | not run yet: `RLTRAIN_PAPERS=E{number} make papers` | none |",
                    row.title, row.claim
                )?;
            }
        }
        for (number, section) in &self.sections {
            let Section { title, claim, measured, verdict, text: body } = section;
            write!(
                text,
                "\n## E{number}: {title}\n\n- Claim: {claim}\n- Measured: {measured}\n- Verdict: {verdict}\n\n{}\n",
                body.trim()
            )?;
        }
        Ok(text)
    }
}

/// How a heading is linked to.
fn anchor(number: u32, title: &str) -> String {
    let plain = format!("e{number} {title}").to_lowercase();
    plain
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-')
        .collect::<String>()
        .replace(' ', "-")
}
