//! Verdicts, and what became of attempts without one, as a checkpoint holds them.

use rltrain_executor::{InfraError, Verdict, WallTime};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

type Groups = Vec<Vec<Result<Verdict, InfraError>>>;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Recorded {
    Verdict(Verdict),
    NoTests,
    FaultyTest(String),
    WorkerLost(String),
    Sandbox(String),
    TooLarge(String),
    Stopped,
}

/// What becomes of a job under way is one of these; of every other failure its words are kept. The time that a verdict took is left
/// out: it is another one at every run.
fn record(result: &Result<Verdict, InfraError>) -> Recorded {
    match result {
        Ok(verdict) => Recorded::Verdict(Verdict { wall: WallTime::default(), ..verdict.clone() }),
        Err(InfraError::NoTests) => Recorded::NoTests,
        Err(InfraError::FaultyTest(why)) => Recorded::FaultyTest(why.clone()),
        Err(InfraError::WorkerLost(why)) => Recorded::WorkerLost(why.clone()),
        Err(InfraError::Sandbox(why)) => Recorded::Sandbox(why.clone()),
        Err(InfraError::TooLarge(why)) => Recorded::TooLarge(why.clone()),
        Err(InfraError::Stopped) => Recorded::Stopped,
        Err(other) => Recorded::Sandbox(other.to_string()),
    }
}

fn recall(recorded: Recorded) -> Result<Verdict, InfraError> {
    Err(match recorded {
        Recorded::Verdict(verdict) => return Ok(verdict),
        Recorded::NoTests => InfraError::NoTests,
        Recorded::FaultyTest(why) => InfraError::FaultyTest(why),
        Recorded::WorkerLost(why) => InfraError::WorkerLost(why),
        Recorded::Sandbox(why) => InfraError::Sandbox(why),
        Recorded::TooLarge(why) => InfraError::TooLarge(why),
        Recorded::Stopped => InfraError::Stopped,
    })
}

pub(super) fn serialize<S: Serializer>(groups: &Groups, serializer: S) -> Result<S::Ok, S::Error> {
    let group = |group: &Vec<_>| group.iter().map(record).collect::<Vec<Recorded>>();
    groups.iter().map(group).collect::<Vec<_>>().serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Groups, D::Error> {
    let groups = Vec::<Vec<Recorded>>::deserialize(deserializer)?;
    Ok(groups.into_iter().map(|group| group.into_iter().map(recall).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::super::Verdicts;
    use super::*;

    #[test]
    fn what_became_of_an_attempt_is_told_as_before() {
        let verdict: Verdict = serde_json::from_value(serde_json::json!({
            "load": { "outcome": "passed" }, "tests": [{ "outcome": "failed" }], "fuel": 7,
            "peak_memory_bytes": 8, "wall_us": 9, "stdout": "said", "stderr": "", "denied": { "socket": 1 }
        }))
        .unwrap();
        let why = || "killed by signal 9".to_owned();
        let groups = vec![
            vec![Ok(verdict), Err(InfraError::WorkerLost(why())), Err(InfraError::Sandbox(why()))],
            vec![
                Err(InfraError::NoTests),
                Err(InfraError::FaultyTest(why())),
                Err(InfraError::TooLarge(why())),
            ],
            vec![Err(InfraError::Stopped)],
        ];
        let before = Verdicts { groups, ..Verdicts::default() };
        let text = serde_json::to_string(&before).unwrap();
        let after: Verdicts = serde_json::from_str(&text).unwrap();
        let told = |verdicts: &Verdicts| -> Vec<Vec<Result<Verdict, String>>> {
            let tell =
                |result: &Result<Verdict, InfraError>| result.clone().map_err(|error| error.to_string());
            verdicts.groups.iter().map(|group| group.iter().map(tell).collect()).collect()
        };
        assert_eq!(told(&before), told(&after));
        // Any other failure keeps its words.
        let other = InfraError::Engine("no memory".to_owned());
        let said = other.to_string();
        let groups = vec![vec![Err(other)]];
        let text = serde_json::to_string(&Verdicts { groups, ..Verdicts::default() }).unwrap();
        assert!(text.contains(&said), "{text}");
    }
}
