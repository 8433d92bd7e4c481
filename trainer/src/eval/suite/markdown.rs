//! `results.md`: what an evaluation found, for people.

use std::fmt;

use super::super::{PairedDifference, PassAtK};
use super::measures::MEANINGS;
use super::results::{Measure, Results, SearchResult};
use crate::critic::accept::Acceptance;

/// A number with its interval.
struct Shown<'a>(&'a Measure);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measure { mean, low, high, .. } = self.0;
        write!(f, "{mean:.4} [{low:.4}, {high:.4}]")
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Results { model, tasks_file, seed, samples, temperature, max_tokens, turns, .. } = self;
        writeln!(f, "# {model} on {tasks_file}\n")?;
        writeln!(
            f,
            "{} tasks, {samples} attempts each at temperature {temperature}, at most {max_tokens} tokens{}, seed {seed}; \
             {:.1} tokens an attempt",
            self.tasks.len(),
            if *turns > 1 { format!(" a turn and {turns} turns") } else { String::new() },
            self.tokens_per_attempt
        )?;
        if self.lost > 0 {
            writeln!(
                f,
                "\n{} attempts were lost by the sandbox; the same command makes them anew",
                self.lost
            )?;
        }
        writeln!(
            f,
            "\n| measure | mean | 95 % interval | tasks | tokens a task |\n|---|---:|---:|---:|---:|"
        )?;
        for Measure { name, mean, low, high, tasks, tokens_per_task } in &self.measures {
            writeln!(f, "| {name} | {mean:.4} | {low:.4} to {high:.4} | {tasks} | {tokens_per_task:.0} |")?;
        }
        writeln!(f)?;
        for (name, meaning) in MEANINGS {
            if self.measures.iter().any(|measure| measure.name.starts_with(&format!("{name}@"))) {
                writeln!(f, "- {name}@k: {meaning}")?;
            }
        }
        if let Some(selection) = &self.selection {
            let (ranked, oracle, random) = (selection.ranked, selection.oracle, selection.random);
            writeln!(
                f,
                "\nOf all attempts, the verifier's choice is right in {ranked:.4} of the tasks; any choice could be in {oracle:.4}, a \
                 blind one is in {random:.4}."
            )?;
        }
        if let Some(Acceptance { from, accepted, error }) = self.acceptance {
            let wrong =
                error.map_or_else(|| "none is".to_owned(), |error| format!("a share of {error:.4} is"));
            writeln!(
                f,
                "\nThe choice is accepted without a test from a forecast of {from:.2} on: in {accepted:.4} of the tasks, of which {wrong} wrong."
            )?;
        }
        for search in &self.searches {
            write_search(f, search)?;
        }
        writeln!(f, "\n| task | attempts | passed | public tests passed |\n|---|---:|---:|---:|")?;
        for task in &self.tasks {
            let public = task.public.map_or_else(|| "none there".to_owned(), |public| public.to_string());
            writeln!(f, "| {} | {} | {} | {public} |", task.id, task.samples, task.correct)?;
        }
        Ok(())
    }
}

fn write_search(f: &mut fmt::Formatter<'_>, search: &SearchResult) -> fmt::Result {
    let found = &search.found;
    let programs =
        found.programs_per_task.map(|programs| format!("{programs:.1} programs and ")).unwrap_or_default();
    let budget = found.budget_tokens.map(|budget| format!(", of at most {budget}")).unwrap_or_default();
    writeln!(
        f,
        "\nSearch `{}`: {programs}{:.0} tokens a task{budget}. Beside plain attempts for as many tokens:\n",
        found.search.name(),
        found.tokens_per_task
    )?;
    writeln!(f, "| measure | search | tokens a task | plain attempts | tokens a task | pass | chosen |")?;
    writeln!(f, "|---|---:|---:|---:|---:|---:|---:|")?;
    for (PassAtK { k, mean, low, high }, matched) in found.pass_at_k.iter().zip(&search.matched) {
        let chosen = matched
            .chosen
            .as_ref()
            .map_or_else(|| "nothing to choose by".to_owned(), |of| Shown(of).to_string());
        writeln!(
            f,
            "| pass@{k} | {mean:.4} [{low:.4}, {high:.4}] | {:.0} | {} | {:.0} | {} | {chosen} |",
            matched.search_tokens,
            matched.attempts,
            matched.plain_tokens,
            Shown(&matched.pass)
        )?;
    }
    if let Some(PairedDifference { mean, low, high }) = search.beside_sampling {
        writeln!(
            f,
            "\nIts pass@1 less that of `sampling`, with the same budget: {mean:+.4} [{low:+.4}, {high:+.4}]."
        )?;
    }
    if let Some(unaided) = found.unaided {
        writeln!(
            f,
            "\nOf the tasks of which a program passes the public tests, one that goes on from nothing does in {unaided:.4}."
        )?;
    }
    Ok(())
}
