//! The driver of searches: samples what they propose, executes what are programs, and stops where the budget does.
//!
//! ```text
//! search ─▶ proposals ─▶ prompts ─▶ engine ─▶ public tests ─▶ nodes ─▶ search ─▶ …      until the budget holds no more
//! ```
//!
//! Searches at all tasks go on together, a round of proposals at a time, so that the engine has enough to do. None of them knows: what a
//! search is told, and the random numbers of what it asks for, are of its own task.

use std::collections::VecDeque;

use rltrain_executor::Pending;

use super::choose::kept_back;
use super::code_chain::CodeChain;
use super::config::SearchConfig;
use super::incremental_tests::IncrementalTests;
use super::orps::Orps;
use super::proposal::{Ask, Draws, Node, Proposal, Search, SoFar};
use super::rex::Rex;
use super::scattered_forest::ScatteredForest;
use super::seidr::Seidr;
use super::self_edit::SelfEdit;
use super::speaker::Speaker;
use super::{PublicRuns, has_room};
use crate::error::TrainError;
use crate::eval::{Examinee, SearchKind};
use crate::execution::{Executions, program};
use crate::policy::Network;
use crate::recipe::Recipe;
use crate::rng::Stream;
use crate::rollout::{Completion, Request, Sampling, generate};
use crate::tasks::Task;

/// What a search does at one task.
pub(super) struct Explorer<'a> {
    pub(super) task: &'a Task,
    pub(super) search: Box<dyn Search>,
    pub(super) nodes: Vec<Node>,
    /// Tokens sampled so far.
    pub(super) tokens: usize,
    draws: Draws,
    /// Proposals that were not sampled yet.
    waiting: VecDeque<Proposal>,
    over: bool,
}

/// Who samples, and what may be sampled.
pub(super) struct Studio<'a> {
    pub(super) examinee: Examinee<'a>,
    pub(super) recipe: &'a Recipe,
    pub(super) config: &'a SearchConfig,
    pub(super) speaker: Speaker<'a>,
    pub(super) executions: Executions<'a>,
    model: Network,
    programs: Sampling,
    words: Sampling,
}

/// What came out of the engine.
pub(super) struct Written {
    text: String,
    tokens: usize,
    pending: Option<Pending>,
}

impl<'a> Studio<'a> {
    /// Everything that a search needs.
    ///
    /// # Errors
    ///
    /// If a template is none.
    pub(super) fn new(
        examinee: &Examinee<'a>,
        recipe: &'a Recipe,
        config: &'a SearchConfig,
    ) -> Result<Studio<'a>, TrainError> {
        let (step, temperature) = (examinee.step, recipe.eval.temperature);
        let programs = examinee.environment.sampling(recipe, Stream::SearchTokens, step, temperature);
        let words = Sampling {
            max_tokens: config.words_tokens.get(),
            stop: Vec::new(),
            grammar: None,
            ..programs.clone()
        };
        Ok(Studio {
            examinee: *examinee,
            recipe,
            config,
            speaker: Speaker::new(examinee, recipe, config)?,
            executions: Executions::new(&examinee.environment.executor, recipe.executor.limits),
            model: tch::no_grad(|| examinee.policy.model()),
            programs,
            words,
        })
    }

    /// Most tokens that something takes.
    pub(super) fn longest(&self, ask: Ask) -> usize {
        if ask == Ask::Program { self.programs.max_tokens } else { self.words.max_tokens }
    }

    /// Whether a prompt has room behind it for the longest answer.
    fn fits(&self, prompt: &[i64], ask: Ask) -> bool {
        has_room(&self.examinee, self.recipe, prompt.len(), self.longest(ask))
    }

    /// Samples answers in words, in the order of the requests: their texts, and the tokens of each. A prompt that leaves no room has an
    /// empty answer.
    pub(super) fn answers(&self, requests: Vec<Request>) -> Result<Vec<(String, usize)>, TrainError> {
        let mut answers = vec![(String::new(), 0); requests.len()];
        let fits = |request: &Request| self.fits(&request.prompt, Ask::Critique);
        if requests.is_empty() {
            return Ok(answers);
        }
        let (places, fitting): (Vec<usize>, Vec<Request>) =
            requests.into_iter().enumerate().filter(|(_, request)| fits(request)).unzip();
        generate(&self.model, &self.examinee.policy.tokenizer, &fitting, &self.words, &mut |completion| {
            answers[places[completion.request]] = (completion.text, completion.tokens.len());
        })?;
        Ok(answers)
    }

    /// Writes what was proposed. A program whose prompt leaves no room for it is written as if nothing had been said but the task.
    fn write(
        &self,
        explorers: &[Explorer<'_>],
        round: &[(usize, Proposal)],
    ) -> Result<Vec<Written>, TrainError> {
        let (mut programs, mut words) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        let mut in_round = vec![0; explorers.len()];
        for (place, (of, proposal)) in round.iter().enumerate() {
            let explorer = &explorers[*of];
            let mut prompt = self.speaker.prompt(explorer.task, &explorer.nodes, proposal)?;
            if proposal.ask == Ask::Program && !self.fits(&prompt, Ask::Program) {
                let plain = Proposal { revealed: proposal.revealed, ..Proposal::fresh() };
                prompt = self.speaker.prompt(explorer.task, &explorer.nodes, &plain)?;
            }
            let first_sample = explorer.nodes.len() + in_round[*of];
            in_round[*of] += 1;
            let request =
                Request { prompt, samples: 1, task: *of as u64, first_sample, ..Request::default() };
            let (places, requests) = if proposal.ask == Ask::Program { &mut programs } else { &mut words };
            places.push(place);
            requests.push(request);
        }
        let mut written: Vec<Option<Written>> = round.iter().map(|_| None).collect();
        let (places, requests): (Vec<usize>, Vec<Request>) = programs;
        let mut on_finished = |completion: Completion| {
            let place = places[completion.request];
            let task = explorers[round[place].0].task;
            let has_tests = !task.public_tests.is_empty();
            let pending = has_tests.then(|| self.executions.ask(task, &completion));
            let tokens = completion.tokens.len();
            written[place] = Some(Written { text: completion.text, tokens, pending });
        };
        if !requests.is_empty() {
            let tokenizer = &self.examinee.policy.tokenizer;
            generate(&self.model, tokenizer, &requests, &self.programs, &mut on_finished)?;
        }
        let (places, requests): (Vec<usize>, Vec<Request>) = words;
        for (place, (text, tokens)) in places.into_iter().zip(self.answers(requests)?) {
            written[place] = Some(Written { text, tokens, pending: None });
        }
        Ok(written.into_iter().flatten().collect())
    }
}

impl<'a> Explorer<'a> {
    fn new(studio: &Studio<'a>, kind: SearchKind, place: usize, task: &'a Task) -> Self {
        let draws = Draws {
            seed: studio.recipe.seed,
            step: studio.examinee.step,
            task: place as u64,
            search: kind as u64,
            drawn: 0,
        };
        let (nodes, waiting) = (Vec::new(), VecDeque::new());
        let search = search(studio.config, kind);
        Explorer { task, search, nodes, tokens: 0, draws, waiting, over: false }
    }

    /// What is sampled next: of what the search proposes, as much as the budget holds if everything gets as long as it may.
    fn take(&mut self, studio: &Studio<'_>) -> Vec<Proposal> {
        let config = studio.config;
        let passing = self.nodes.iter().filter(|node| node.passes()).count();
        self.over |= passing >= config.enough.get();
        if !self.over && self.waiting.is_empty() {
            let spent = self.tokens as f64 / config.budget_tokens.get() as f64;
            let so_far = SoFar { task: self.task, nodes: &self.nodes, spent };
            self.waiting = self.search.next(&so_far, &mut self.draws).into();
        }
        let mut left = config.budget_tokens.get().saturating_sub(self.tokens + kept_back(studio));
        let mut taken = Vec::new();
        while !self.over
            && let Some(proposal) = self.waiting.front()
        {
            let Some(rest) = left.checked_sub(studio.longest(proposal.ask)) else { break };
            left = rest;
            taken.extend(self.waiting.pop_front());
        }
        self.over |= taken.is_empty();
        taken
    }

    fn add(&mut self, proposal: Proposal, written: Written, runs: &mut PublicRuns) {
        let Written { text, tokens, pending } = written;
        let is_program = proposal.ask == Ask::Program;
        let program = if is_program { program(self.task, &text) } else { String::new() };
        let verdict = pending.and_then(|pending| runs.one(pending));
        self.tokens += tokens;
        self.nodes.push(Node { proposal, text, program, tokens, verdict });
    }

    /// How many programs were written.
    pub(super) fn programs(&self) -> usize {
        self.nodes.iter().filter(|node| node.is_program()).count()
    }

    /// Whether a program of such a node passes the public tests.
    pub(super) fn solved(&self, which: impl Fn(&Node) -> bool) -> bool {
        self.nodes.iter().any(|node| node.passes() && which(node))
    }

    /// What the search knows at the end.
    pub(super) fn so_far(&self) -> SoFar<'_> {
        SoFar { task: self.task, nodes: &self.nodes, spent: 1.0 }
    }
}

/// The search of a kind, at its beginning.
fn search(config: &SearchConfig, kind: SearchKind) -> Box<dyn Search> {
    match kind {
        SearchKind::Critical | SearchKind::BestOfN | SearchKind::Sampling => {
            Box::new(Seidr::sampling(config.batch))
        }
        SearchKind::Rex => Box::new(Rex { config: config.rex.clone(), batch: config.batch.get() }),
        SearchKind::Seidr => Box::new(Seidr::new(config.seidr.clone())),
        SearchKind::ScatteredForest => Box::new(ScatteredForest::new(config.scattered_forest.clone())),
        SearchKind::Orps => Box::new(Orps::new(config.orps.clone())),
        SearchKind::SelfEdit => Box::new(SelfEdit::new(config.self_edit.clone())),
        SearchKind::CodeChain => Box::new(CodeChain::new(config.code_chain.clone())),
        SearchKind::IncrementalTests => Box::new(IncrementalTests::new(config.incremental_tests.clone())),
    }
}

/// Searches at every task of the examinee until the budget, or what there is to find, is used up.
///
/// # Errors
///
/// If the sandbox loses too many programs, or the model or the device fails.
pub(super) fn explore<'a>(studio: &Studio<'a>, kind: SearchKind) -> Result<Vec<Explorer<'a>>, TrainError> {
    let tasks = studio.examinee.tasks.iter().enumerate();
    let explorers = tasks.map(|(place, task)| Explorer::new(studio, kind, place, task));
    let mut explorers: Vec<Explorer<'a>> = explorers.collect();
    let mut runs = PublicRuns::default();
    loop {
        let mut round = Vec::new();
        for (place, explorer) in explorers.iter_mut().enumerate() {
            round.extend(explorer.take(studio).into_iter().map(|proposal| (place, proposal)));
        }
        if round.is_empty() {
            break;
        }
        let written = studio.write(&explorers, &round)?;
        for ((place, proposal), written) in round.into_iter().zip(written) {
            explorers[place].add(proposal, written, &mut runs);
        }
    }
    runs.within_budget()?;
    Ok(explorers)
}
