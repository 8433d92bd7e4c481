//! `results.md`: what an evaluation found, for people.

use std::fmt;

use super::super::PassAtK;
use super::measures::MEANINGS;
use super::results::{Measure, Results, SearchResult};

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
    writeln!(f, "\nSearch `{}`, beside plain attempts for as many tokens:\n", found.search.name())?;
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
    Ok(())
}
