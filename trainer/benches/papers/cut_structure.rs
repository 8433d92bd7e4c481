//! PPOCoder's reward by structure with its defect, as a plug-in: sample and reference are both cut where the sample ends, so that a short
//! sample meets a short reference.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use rltrain_executor::{Outcome, Verdict, WallTime};
use rltrain_rewards::{Attempt, Language, RewardSet, RewardsConfig, Task};
use serde_json::{Value, json};

use super::Failure;

/// The name that the program is called by when it is the plug-in: a link, so that recipes do not change with each build.
pub(crate) const NAME: &str = "cut-structure";

/// Answers batches until there are no more.
pub(crate) fn serve() -> Result<(), Failure> {
    let config: RewardsConfig = serde_json::from_value(json!({ "ast_match": {}, "dataflow_match": {} }))?;
    let rewards = RewardSet::build(&config)?;
    let mut answers = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let answer = match request["attempts"].as_array() {
            None => json!({ "protocol": "rltrain-reward", "version": 1 }),
            Some(attempts) => {
                let scores =
                    attempts.iter().map(|attempt| score(&rewards, attempt)).collect::<Result<Vec<_>, _>>()?;
                json!({ "id": request["id"], "scores": scores })
            }
        };
        writeln!(answers, "{answer}")?;
        answers.flush()?;
    }
    Ok(())
}

/// Both matches together, 0 where the reference has nothing to match.
fn score(rewards: &RewardSet, attempt: &Value) -> Result<f64, Failure> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (reference, program) = (text(&attempt["task"]["reference"]), text(&attempt["program"]));
    // Programs are ASCII, but for what a model may write otherwise.
    let cut: String = reference.chars().take(program.trim_end().chars().count()).collect();
    let task = Task { id: "cut", reference: Some(&cut), language: Language::Python, ..Task::default() };
    let verdict = Verdict {
        load: Outcome::Passed.into(),
        tests: vec![Outcome::Passed.into()],
        public: 0,
        fuel: 1,
        peak_memory_bytes: 1,
        wall: WallTime::default(),
        stdout: String::new(),
        stderr: String::new(),
        denied: BTreeMap::new(),
    };
    let scored = rewards.score(&Attempt::new(&task, &program, &program, &verdict))?;
    Ok(scored.parts.iter().filter_map(|part| part.raw).sum())
}
