//! The rewards that a recipe asks for, and their sum.

use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::efficiency::{Efficiency, Memory, Orps};
use crate::form::{Brevity, Format, FunctionCalls, Overlong, Repetition, StructuredOutput, Style};
use crate::judge::Judge;
use crate::outcome::{AllPassed, OutcomeTable, RareTests, Repair, TestsPassed, Tiers, WrittenTestsReward};
use crate::plugin::{Http, PlugIn, PlugInScore, Process, Wasm};
use crate::reward::check;
use crate::structure::{AstMatch, CodeBleu, DataflowMatch};
use crate::term::{Table, Term};
use crate::understanding::{OutputPrediction, TracePrediction};
use crate::{Attempt, Gate, Input, Reward, RewardError, RewardsConfig};

/// Why a set of rewards cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RewardsError {
    /// Every attempt would score zero.
    #[error("no reward has a weight other than 0, so every attempt would score the same")]
    NoSignal,
    /// A table says something that cannot be.
    #[error("`rewards.{reward}` cannot work: {problem}")]
    Invalid {
        /// Name of the reward.
        reward: String,
        /// What is wrong, and what is wanted.
        problem: String,
    },
    /// A gate names no reward of the recipe, or its own.
    #[error("`rewards.{reward}.only_if` asks for `{gate}`, wanted another reward of the recipe{}", list(.others))]
    UnknownGate {
        /// The reward with the gate.
        reward: String,
        /// What it asks for.
        gate: String,
        /// What it could ask for.
        others: Vec<String>,
    },
}

fn list(others: &[String]) -> String {
    if others.is_empty() { ", which has none".to_owned() } else { format!(": {}", others.join(", ")) }
}

/// One part of an attempt's reward, at the three stages from a reward's score to what is learnt from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Name of the reward.
    #[serde(serialize_with = "write_name", deserialize_with = "read_name")]
    pub name: Arc<str>,
    /// The reward's own score; `None` if it does not apply.
    pub raw: Option<f64>,
    /// The score within `min` and `max`; `None` if it does not apply or its `only_if` does not hold. What an algorithm that
    /// normalises each part by itself takes.
    pub shaped: Option<f64>,
    /// Weight times shaped score: what the part adds to the total. 0 where there is no shaped score.
    pub effective: f64,
}

fn write_name<S: Serializer>(name: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name)
}

fn read_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    String::deserialize(deserializer).map(Arc::from)
}

/// The score of one attempt, in parts and in total.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scored {
    /// One part per reward, in the order of [`RewardSet::names`].
    pub parts: Vec<Part>,
    /// Sum of the effective values. Finite.
    pub total: f64,
}

enum Scorer {
    BuiltIn(Box<dyn Reward>),
    PlugIn(Box<dyn PlugIn>),
}

struct Entry {
    name: Arc<str>,
    term: Term,
    /// Index of the reward that the gate asks for.
    gate: Option<(usize, Gate)>,
    scorer: Scorer,
}

/// The rewards that a recipe asks for.
pub struct RewardSet {
    entries: Vec<Entry>,
}

/// Entries as they are collected, with the first problem that came up.
#[derive(Default)]
struct Builder {
    entries: Vec<Entry>,
    problem: Option<RewardsError>,
}

impl Builder {
    /// Adds the reward of a table, if the recipe has it.
    fn add<C: Table, R: Reward + 'static>(
        &mut self,
        table: &Option<C>,
        make: impl FnOnce(&C) -> Result<R, String>,
    ) {
        let Some(config) = table else { return };
        match make(config) {
            Ok(reward) => {
                let name = reward.name().to_owned();
                self.push(&name, config.term(), Scorer::BuiltIn(Box::new(reward)));
            }
            Err(problem) => self.refuse(C::NAME, problem),
        }
    }

    /// Adds a plug-in, under a name of the user's.
    fn plug_in<P: PlugIn + 'static>(&mut self, name: &str, term: Term, plug_in: Result<P, String>) {
        let named = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
        if !named {
            self.refuse(name, "the name of a plug-in is made of letters, digits, `_` and `-`".to_owned());
        } else if self.entries.iter().any(|entry| *entry.name == *name) {
            self.refuse(name, "another reward has this name; give the plug-in one of its own".to_owned());
        }
        match plug_in {
            Ok(plug_in) => self.push(name, term, Scorer::PlugIn(Box::new(plug_in))),
            Err(problem) => self.refuse(name, problem),
        }
    }

    fn push(&mut self, name: &str, term: Term, scorer: Scorer) {
        if let Some(problem) = term.problem() {
            self.refuse(name, problem);
        }
        self.entries.push(Entry { name: Arc::from(name), term, gate: None, scorer });
    }

    fn refuse(&mut self, reward: &str, problem: String) {
        self.problem.get_or_insert_with(|| RewardsError::Invalid { reward: reward.to_owned(), problem });
    }

    fn finish(mut self) -> Result<RewardSet, RewardsError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let names: Vec<Arc<str>> = self.entries.iter().map(|entry| Arc::clone(&entry.name)).collect();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            let Some(gate) = entry.term.only_if.clone() else { continue };
            let others = || names.iter().enumerate().filter(|(other, _)| *other != index);
            let asked = others().find(|(_, name)| ***name == *gate.reward).map(|(asked, _)| asked);
            let unknown = || RewardsError::UnknownGate {
                reward: entry.name.to_string(),
                gate: gate.reward.clone(),
                others: others().map(|(_, name)| name.to_string()).collect(),
            };
            entry.gate = Some((asked.ok_or_else(unknown)?, gate.clone()));
        }
        if self.entries.iter().all(|entry| entry.term.weight.get() == 0.0) {
            return Err(RewardsError::NoSignal);
        }
        Ok(RewardSet { entries: self.entries })
    }
}

impl RewardSet {
    /// Builds the rewards whose tables are present. Starts no plug-in.
    ///
    /// # Errors
    ///
    /// If a table says something that cannot be, or if no weight differs from 0: there would be nothing to learn from.
    pub fn build(config: &RewardsConfig) -> Result<Self, RewardsError> {
        let mut builder = Builder::default();
        builder.add(&config.tests_passed, |_| Ok(TestsPassed));
        builder.add(&config.all_passed, |_| Ok(AllPassed));
        builder.add(&config.outcome_table, OutcomeTable::new);
        builder.add(&config.rare_tests, |_| Ok(RareTests));
        builder.add(&config.tiers, Tiers::new);
        builder.add(&config.repair, |_| Ok(Repair));
        builder.add(&config.written_tests, |_| Ok(WrittenTestsReward));
        builder.add(&config.ast_match, |config| Ok(AstMatch::new(config)));
        builder.add(&config.dataflow_match, |_| Ok(DataflowMatch));
        builder.add(&config.codebleu, CodeBleu::new);
        builder.add(&config.efficiency, Efficiency::new);
        builder.add(&config.memory, Memory::new);
        builder.add(&config.orps, Orps::new);
        builder.add(&config.format, Format::new);
        builder.add(&config.brevity, |_| Ok(Brevity));
        builder.add(&config.overlong, Overlong::new);
        builder.add(&config.repetition, Repetition::new);
        builder.add(&config.style, Style::new);
        builder.add(&config.structured_output, StructuredOutput::new);
        builder.add(&config.function_calls, |config| Ok(FunctionCalls::new(config)));
        builder.add(&config.output_prediction, |_| Ok(OutputPrediction));
        builder.add(&config.trace_prediction, |config| Ok(TracePrediction::new(config)));
        for (name, judge) in &config.judge {
            builder.plug_in(name, judge.term(), Judge::new(judge));
        }
        for (name, process) in &config.process {
            builder.plug_in(name, process.term(), Process::new(name, process));
        }
        for (name, http) in &config.http {
            builder.plug_in(name, http.term(), Http::new(name, http));
        }
        for (name, wasm) in &config.wasm {
            builder.plug_in(name, wasm.term(), Wasm::new(wasm));
        }
        builder.finish()
    }

    /// Names of the rewards, in the order of [`Scored::parts`].
    pub fn names(&self) -> impl Iterator<Item = &str> + '_ {
        self.entries.iter().map(|entry| &*entry.name)
    }

    /// The weight of each reward, in the order of [`Scored::parts`].
    pub fn weights(&self) -> impl Iterator<Item = f64> + '_ {
        self.entries.iter().map(|entry| entry.term.weight.get())
    }

    /// What each reward cannot score without, by the reward's name.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, Input)> + '_ {
        self.entries.iter().flat_map(|entry| {
            let inputs = match &entry.scorer {
                Scorer::BuiltIn(reward) => reward.inputs(),
                Scorer::PlugIn(_) => &[],
            };
            inputs.iter().map(|input| (&*entry.name, *input))
        })
    }

    /// Whether a reward asks for this.
    pub fn wants(&self, wanted: Input) -> bool {
        self.inputs().any(|(_, input)| input == wanted)
    }

    /// Scores one attempt.
    ///
    /// # Errors
    ///
    /// If a reward breaks its contract, or a plug-in gives no score.
    pub fn score(&self, attempt: &Attempt<'_>) -> Result<Scored, RewardError> {
        self.score_all(std::slice::from_ref(attempt)).pop().expect("one attempt has one result by contract")
    }

    /// Scores attempts, in order: built-in rewards on all cores, each plug-in with the whole batch at once.
    ///
    /// An attempt whose plug-in failed has an error in its place; the others have their scores.
    pub fn score_all(&self, attempts: &[Attempt<'_>]) -> Vec<Result<Scored, RewardError>> {
        let plugged: Vec<_> = self.entries.iter().map(|entry| entry.ask_plug_in(attempts)).collect();
        let one = |(index, attempt): (usize, &Attempt<'_>)| {
            let raw = self.entries.iter().zip(&plugged).map(|(entry, plugged)| match plugged {
                None => entry.score_built_in(attempt),
                Some(scores) => {
                    let reward = || entry.name.to_string();
                    scores[index].clone().map_err(|source| RewardError::PlugIn { reward: reward(), source })
                }
            });
            Ok(self.combine(&raw.collect::<Result<Vec<_>, _>>()?))
        };
        attempts.par_iter().enumerate().map(one).collect()
    }

    /// Why each part is what it is, in the order of [`RewardSet::names`]: a line for people, empty where the score says it all.
    pub fn explain(&self, attempt: &Attempt<'_>) -> Vec<String> {
        let one = |entry: &Entry| match &entry.scorer {
            Scorer::BuiltIn(reward) => reward.explain(attempt),
            Scorer::PlugIn(plug_in) => plug_in.explain(attempt),
        };
        self.entries.iter().map(one).collect()
    }

    /// From the scores of the rewards to their sum.
    fn combine(&self, raw: &[Option<f64>]) -> Scored {
        let mut scored = Scored { parts: Vec::with_capacity(raw.len()), total: 0.0 };
        for (entry, &score) in self.entries.iter().zip(raw) {
            let open = entry.gate.as_ref().is_none_or(|(asked, gate)| gate.opens(raw[*asked]));
            let shaped = score.filter(|_| open).map(|score| entry.term.clip(score));
            let effective = shaped.map_or(0.0, |shaped| entry.term.weight.get() * shaped);
            scored.total += effective;
            scored.parts.push(Part { name: Arc::clone(&entry.name), raw: score, shaped, effective });
        }
        scored
    }
}

impl Entry {
    fn score_built_in(&self, attempt: &Attempt<'_>) -> Result<Option<f64>, RewardError> {
        let Scorer::BuiltIn(reward) = &self.scorer else {
            unreachable!("plug-ins are asked for a whole batch");
        };
        let score = reward.score(attempt);
        check(&self.name, &reward.range(), score)?;
        Ok(score)
    }

    /// The scores of all attempts, if this is a plug-in.
    fn ask_plug_in(&self, attempts: &[Attempt<'_>]) -> Option<Vec<PlugInScore>> {
        match &self.scorer {
            Scorer::BuiltIn(_) => None,
            Scorer::PlugIn(plug_in) => Some(plug_in.score(attempts)),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests_support {
    use super::*;

    /// One built-in reward of weight 1.
    pub(crate) fn of_one(reward: impl Reward + 'static) -> RewardSet {
        let name = Arc::from(reward.name());
        of(Entry { name, term: Term::default(), gate: None, scorer: Scorer::BuiltIn(Box::new(reward)) })
    }

    /// One plug-in of weight 1.
    pub(crate) fn of_plug_in(name: &str, plug_in: impl PlugIn + 'static) -> RewardSet {
        let scorer = Scorer::PlugIn(Box::new(plug_in));
        of(Entry { name: Arc::from(name), term: Term::default(), gate: None, scorer })
    }

    fn of(entry: Entry) -> RewardSet {
        RewardSet { entries: vec![entry] }
    }
}
