//! A reward that asks a language model: programs judged by a rubric, through an endpoint that speaks OpenAI's chat completions.

mod budget;
mod cache;
mod chat;
mod rating;
mod rubric;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Attempt;
use crate::endpoint::{Endpoint, EndpointConfig};
use crate::plugin::{PlugIn, PlugInError, PlugInScore, shown, side_by_side};
use crate::term::reward_config;
use budget::Budget;
use cache::Cache;
use chat::{Chat, Reply};
use rating::Scale;
use rubric::Rubric;

/// What a judge does when its budget is spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WhenSpent {
    /// Attempts that it has not judged before are lost, as if the sandbox had failed: above a tenth of a step the run stops.
    #[default]
    Stop,
    /// Attempts that it has not judged before have no score of this judge.
    NoScore,
}

reward_config! {
    /// `[rewards.judge.NAME]`: what a language model thinks of the program, by a rubric of yours; from 0 to 1. It is asked through
    /// an endpoint that speaks OpenAI's chat completions, such as vLLM, SGLang or llama.cpp serve.
    ///
    /// The same question is asked once: replies are kept on disk. An attempt that the judge never gives a rating for is lost, as if
    /// the sandbox had failed.
    pub struct JudgeConfig for "judge" {
        /// The address, such as `http://127.0.0.1:8000/v1/chat/completions`. Not empty.
        pub url: String = String::new(),
        /// The environment variable that holds a key, which is sent as `Authorization: Bearer KEY`. Default: none is sent.
        pub key_variable: String = String::new(),
        /// Name of the model, as the endpoint knows it. Not empty.
        pub model: String = String::new(),
        /// What to judge by, in words: a minijinja template over `task`, `prompt`, `completion`, `program` and `verdict`, whose
        /// fields are those that plug-ins see. How to answer is added to it. Not empty.
        pub rubric: String = String::new(),
        /// What is shown to the judge: a template like the rubric, where `| fenced` puts a text between fences that do not occur
        /// in it. By default task and program.
        pub shows: String = rubric::SHOWS.to_owned(),
        /// The rating of the worst program, which scores 0. Default 1.
        pub worst: f64 = 1.0,
        /// The rating of the best program, which scores 1; above `worst`. Default 10.
        pub best: f64 = 10.0,
        /// Sampling temperature, at least 0. Default 0.
        pub temperature: f64 = 0.0,
        /// Most tokens of a reply, at least 1. Default 1024.
        pub max_tokens: u64 = 1024,
        /// Seed of the sampling. A reply without a rating is asked for again with the next one. Default 0.
        pub seed: u32 = 0,
        /// How many requests are out at the same time, from 1 to 256. Default 8.
        pub concurrency: usize = 8,
        /// Time for one request, in milliseconds, at least 1. Default 60000.
        pub timeout_ms: u64 = 60_000,
        /// How often it is asked again before an attempt is given up: after 0.2 seconds, then after twice as long each time, or
        /// after what the header `Retry-After` says. Default 4.
        pub retries: usize = 4,
        /// Most requests, failed ones too; 0 for no limit. Default 0.
        pub most_requests: u64 = 0,
        /// Most tokens, those of questions and replies together; 0 for no limit. Requests that are out when the limit is reached
        /// are still paid for. Default 0.
        pub most_tokens: u64 = 0,
        /// What happens when one of the two is reached: `stop` or `no-score`. Default `stop`.
        pub when_spent: WhenSpent = WhenSpent::Stop,
        /// The folder of replies and of what was spent; a relative path is relative to the recipe. A run that uses the folder of
        /// another does not pay for its replies again, and shares its budget. Default: `judges/NAME` in the folder of the run.
        pub folder: PathBuf = PathBuf::new(),
    }
}

/// A language model that judges programs.
pub struct Judge {
    rubric: Rubric,
    chat: Chat,
    scale: Scale,
    endpoint: Endpoint,
    lanes: Vec<()>,
    when_spent: WhenSpent,
    cache: Cache,
    budget: Budget,
}

impl Judge {
    pub(crate) fn new(config: &JudgeConfig) -> Result<Self, String> {
        let asked = EndpointConfig {
            url: config.url.clone(),
            key_variable: config.key_variable.clone(),
            timeout: Duration::from_millis(config.timeout_ms),
            retries: config.retries,
            concurrency: config.concurrency,
        };
        let endpoint = Endpoint::new(asked, 256)?;
        let scale = Scale::new(config.worst, config.best)?;
        Ok(Self {
            rubric: Rubric::new(&config.rubric, &config.shows, scale)?,
            chat: Chat::new(config)?,
            scale,
            endpoint,
            lanes: vec![(); config.concurrency],
            when_spent: config.when_spent,
            cache: Cache::new(&config.folder),
            budget: Budget::new(&config.folder, config.most_requests, config.most_tokens),
        })
    }

    /// The reply to a question: the one on disk, or a new one.
    fn reply(&self, question: &Question) -> Result<Reply, PlugInError> {
        if let Some(reply) = self.cache.get(&question.key) {
            return Ok(reply);
        }
        let mut tries = 0;
        let body = || {
            self.budget.begin()?;
            tries += 1;
            Ok(self.chat.body(&question.system, &question.user, tries - 1))
        };
        let read = |answer: &str| {
            let reply = Reply::read(answer)?;
            self.budget.end(reply.tokens_or(question.bytes()))?;
            self.scale.score(&reply.text)?;
            Ok(reply)
        };
        let reply = self.endpoint.ask(body, read)?;
        self.cache.put(&question.key, &reply)?;
        Ok(reply)
    }

    fn question(&self, attempt: &Attempt<'_>) -> Result<Question, PlugInError> {
        let (system, user) = self.rubric.about(attempt)?;
        let key = Cache::key(&self.chat.body(&system, &user, 0));
        Ok(Question { key, system, user })
    }

    fn score_reply(&self, reply: Result<Reply, PlugInError>) -> PlugInScore {
        match reply {
            Err(PlugInError::Spent(_)) if self.when_spent == WhenSpent::NoScore => Ok(None),
            reply => Ok(Some(self.scale.score(&reply?.text)?)),
        }
    }
}

/// What the judge is asked about one attempt.
struct Question {
    /// Names the question, and whom it is put to.
    key: String,
    system: String,
    user: String,
}

impl Question {
    fn bytes(&self) -> usize {
        self.system.len() + self.user.len()
    }
}

impl PlugIn for Judge {
    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<PlugInScore> {
        let questions: Vec<_> = attempts.iter().map(|attempt| self.question(attempt)).collect();
        // Attempts that are alike are one question.
        let distinct: BTreeMap<&str, &Question> =
            questions.iter().flatten().map(|question| (question.key.as_str(), question)).collect();
        let (keys, distinct): (Vec<&str>, Vec<&Question>) = distinct.into_iter().unzip();
        let scores =
            side_by_side(&self.lanes, &distinct, |(), question| self.score_reply(self.reply(question)));
        let scores: BTreeMap<&str, PlugInScore> = keys.into_iter().zip(scores).collect();
        let score = |question: &Result<Question, PlugInError>| match question {
            Ok(question) => scores[question.key.as_str()].clone(),
            Err(error) => Err(error.clone()),
        };
        questions.iter().map(score).collect()
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        let reply = self.question(attempt).ok().and_then(|question| self.cache.get(&question.key));
        reply.map(|reply| shown(&reply.text)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
