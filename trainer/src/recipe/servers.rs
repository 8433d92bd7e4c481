//! What a recipe asks of rollout servers that they cannot do.

use std::collections::BTreeSet;

use super::Recipe;
use super::problems::Problems;
use crate::fleet::RolloutEngine;
use crate::rollout::{RolloutConfig, Shaping};

/// Reports addresses that are none, and ways to sample that servers do not have, or not as they are meant here.
pub(super) fn check(recipe: &Recipe, problems: &mut Problems<'_>) {
    let rollout = &recipe.rollout;
    if rollout.engine.is_local() {
        return;
    }
    addresses(rollout, problems);
    ways(rollout, problems);
}

fn addresses(rollout: &RolloutConfig, problems: &mut Problems<'_>) {
    let example = "such as `servers = [\"http://127.0.0.1:30000\"]`";
    problems.require(
        !rollout.servers.is_empty(),
        &["rollout.servers", "rollout.engine"],
        "attempts are to be sampled by servers, and none is named",
        format!("add `rollout.servers`, {example}, or take `engine = \"local\"`"),
    );
    for url in &rollout.servers {
        let uri = url.parse::<ureq::http::Uri>().ok();
        let holds = uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        let message = format!("`{url}` is no address of a server");
        problems.require(
            holds,
            &["rollout.servers"],
            message,
            format!("addresses begin with `http://`, {example}"),
        );
    }
    let different: BTreeSet<&str> = rollout.servers.iter().map(|url| url.trim_end_matches('/')).collect();
    problems.require(
        different.len() == rollout.servers.len(),
        &["rollout.servers"],
        "a server is named twice",
        "each gets up to `rollout.max_batch` requests at once; raise that, or name other servers",
    );
}

/// Logprobs of servers are of the whole distribution, so that nothing may be left out of it.
fn ways(rollout: &RolloutConfig, problems: &mut Problems<'_>) {
    let (shaping, off) = (rollout.shaping(), Shaping::default());
    let whole = "the logprobs that servers report are of the whole distribution; leave the key out, or set \
                 `rollout.engine = \"local\"`";
    for (name, is_off) in [
        ("top_k", shaping.top_k == off.top_k),
        ("top_p", shaping.top_p == off.top_p),
        ("min_p", shaping.min_p == off.min_p),
        ("repetition_penalty", shaping.repetition_penalty == off.repetition_penalty),
        ("repetition_guard", rollout.repetition_guard == 1.0),
        ("truncated_ratio", !rollout.truncated_ratio),
    ] {
        let message = format!("`rollout.{name}` is not followed by rollout servers");
        problems.require(is_off, &[&format!("rollout.{name}"), "rollout.engine"], message, whole);
    }
    problems.require(
        rollout.grammar.is_none(),
        &["rollout.grammar", "rollout.engine"],
        "`rollout.grammar` is not followed by rollout servers",
        "take it out, or set `rollout.engine = \"local\"`",
    );
    problems.require(
        rollout.engine != RolloutEngine::Vllm || rollout.temperature == 1.0,
        &["rollout.temperature", "rollout.engine"],
        format!(
            "vLLM reports logprobs at temperature 1, whatever it samples at, here {}",
            rollout.temperature
        ),
        "set `temperature = 1`, or take SGLang, whose logprobs are at the temperature of the request",
    );
}
