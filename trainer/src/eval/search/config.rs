//! `[search]`: what searches may spend on a held-out task, and how each of them goes on.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::config::SearchKind;
use crate::tasks::ProbeInputs;

/// `[search]`: what searches may spend on a held-out task, and how each of them goes on. Of `eval.search`, `critical` and `best-of-n` read
/// nothing of it: they are of `eval.samples` attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SearchConfig {
    /// Tokens that a search may sample for a task, critiques and directions included; at least `rollout.max_tokens`. Default 4096.
    /// Something is begun only if the longest that it may become still fits.
    pub budget_tokens: NonZeroUsize,
    /// Programs that are sampled together before what came of them is looked at, where the search does not say otherwise; at least 1.
    /// Default 8.
    pub batch: NonZeroUsize,
    /// Programs that pass every public test after which a search ends, at least 1. Default 1.
    pub enough: NonZeroUsize,
    /// Programs that a search ends with, which the hidden tests judge, at least 1. Default 1: pass@1 alone.
    pub answers: NonZeroUsize,
    /// How they are chosen among all that were written: `tests`, `clusters`, `vote` or `elimination`. Default `tests`.
    pub choose: Choice,
    /// `clusters`, `vote`, `elimination`: what programs are run on to be compared: `near` or `hidden`. Default `near`.
    pub inputs: ProbeInputs,
    /// `clusters`, `vote`, `elimination`: most inputs of that kind, at least 1. Default 16.
    pub most_inputs: NonZeroUsize,
    /// `elimination`: most questions about the programs of a task, at least 1. Default 4. What they may take is kept back from the budget.
    pub questions: NonZeroUsize,
    /// Longest critique, list of directions or answer to a question, in tokens; at least 1. Default 128.
    pub words_tokens: NonZeroUsize,
    /// What the user says where more is said than the task: a minijinja template over `task`, as `tasks.prompt`; `prompt`, the task as it
    /// is put to every attempt; `programs`, each with `program`, `feedback` (as `[episode]` says) and `comment` (Self-Edit's); `direction`;
    /// `modules`; and `lessons`. The answer begins with `tasks.prefill`.
    pub prompt: String,
    /// `elimination`: what the model is asked: a template over `task`, `prompt`, `input` (a call of the program) and `outputs`. The first
    /// number in its answer is that of an output, from 1.
    pub question: String,
    /// `rex`: fresh programs, then refinements of those that are worth it.
    pub rex: RexConfig,
    /// `seidr`: trees of repairs.
    pub seidr: SeidrConfig,
    /// `scattered-forest`: trees of programs that go in different directions.
    pub scattered_forest: ScatteredForestConfig,
    /// `orps`: a beam of programs, executed and criticised.
    pub orps: OrpsConfig,
    /// `self-edit`: programs, and one edit of each.
    pub self_edit: SelfEditConfig,
    /// `code-chain`: programs that are shown the functions of earlier ones.
    pub code_chain: CodeChainConfig,
    /// `incremental-tests`: public tests that are revealed one by one.
    pub incremental_tests: IncrementalTestsConfig,
}

/// How answers are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// By the share of public tests passed, then as the search says, then the first.
    #[default]
    Tests,
    /// By public tests passed, times the square root of how many programs give the same outputs (ConAIR, CodeT). One of each cluster.
    Clusters,
    /// By the sum of the shares of public tests passed, over the programs that give the same outputs (SOAR). One of each cluster.
    Vote,
    /// The model is asked which of the outputs is right, for the input whose answer eliminates most, until all that are left give the
    /// same (SYNTRA).
    Elimination,
}

/// `[search.rex]`: Thompson sampling over programs (REX, as in SOAR).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RexConfig {
    /// Share of the budget that goes to fresh programs before the first is refined, from 0 to 1. Default 0.5.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub fresh_share: f64,
    /// How much the share of public tests passed counts against how often a program was refined, at least 0. Default 20.
    #[schemars(range(min = 0.0))]
    pub strength: f64,
}

/// `[search.seidr]`: trees of repairs (SEIDR).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SeidrConfig {
    /// Fresh programs that a tree begins with, and failing programs of each level that are repaired, at least 1. Default 4.
    pub width: NonZeroUsize,
    /// Repairs of each of these. Default 2. With 0 every program is fresh: plain sampling.
    pub arity: usize,
    /// Levels of repairs. Default 4; behind the last one, there is another tree.
    pub depth: usize,
}

/// `[search.scattered_forest]`: trees whose branches go in different directions (Scattered Forest Search).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScatteredForestConfig {
    /// What is said before the first program of each tree, as `direction`; one tree each, at least one.
    pub seeds: Vec<String>,
    /// Children of a program, each in a direction of its own; at least 1. Default 3.
    pub arity: NonZeroUsize,
    /// How much it counts in the choice of a branch that it was rarely looked at, at least 0. Default 1.
    #[schemars(range(min = 0.0))]
    pub exploration: f64,
    /// How far the quality of a program rises to that of its best child, from 0 to 1. Default 0.5.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub backup: f64,
    /// Most directions of which a prompt tells what they have led to, as `lessons`. Default 3; 0 tells of none.
    pub lessons: usize,
    /// Directions, said as `direction`; at least one. They fill up where the model names fewer than `arity`.
    pub directions: Vec<String>,
    /// What the model is asked for directions of a program: a template as `search.prompt`. Each line of the answer is one. Default `""`:
    /// it is not asked.
    pub ask: String,
}

/// `[search.orps]`: a beam of programs, executed and criticised (ORPS).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OrpsConfig {
    /// Programs that each kept one is expanded to, at least 1. Default 20.
    pub samples: NonZeroUsize,
    /// Programs that are kept, at least 1. Default 3.
    pub beam: NonZeroUsize,
    /// Rounds, at least 1. Default 5; behind the last one, there is another beam.
    pub rounds: NonZeroUsize,
    /// What is said before each of the `samples`, as `direction`, in turn. `[]` says nothing.
    pub styles: Vec<String>,
    /// What the model is asked about a program: a template as `search.prompt`. The last `<score>N</score>` of the answer counts, from 1
    /// to 5.
    pub critique: String,
}

/// `[search.self_edit]`: programs, and one edit of each (Self-Edit).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SelfEditConfig {
    /// Fresh programs, of which each is edited, at least 1. Default 5.
    pub samples: NonZeroUsize,
    /// Whether what passes the public tests is left alone. Default false: the paper edits everything.
    pub skip_passing: bool,
}

/// `[search.code_chain]`: programs that are shown the functions of earlier ones (CodeChain).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CodeChainConfig {
    /// Programs of each round, at least 1. Default 20.
    pub samples: NonZeroUsize,
    /// Functions that each round after the first is shown, one of each cluster. Default `[5, 4, 3, 2, 1]`.
    pub clusters: Vec<NonZeroUsize>,
    /// What is said in every round, as `direction`.
    pub instruction: String,
}

/// `[search.incremental_tests]`: public tests that are revealed one by one (LLM4TDD).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IncrementalTestsConfig {
    /// Repairs of a program that does not pass what is revealed, before there is a fresh one. Default 3.
    pub repairs: usize,
}

const fn count(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("the numbers below are not zero")
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            budget_tokens: const { count(4096) },
            batch: const { count(8) },
            enough: const { count(1) },
            answers: const { count(1) },
            choose: Choice::default(),
            inputs: ProbeInputs::default(),
            most_inputs: const { count(16) },
            questions: const { count(4) },
            words_tokens: const { count(128) },
            prompt: PROMPT.to_owned(),
            question: QUESTION.to_owned(),
            rex: RexConfig::default(),
            seidr: SeidrConfig::default(),
            scattered_forest: ScatteredForestConfig::default(),
            orps: OrpsConfig::default(),
            self_edit: SelfEditConfig::default(),
            code_chain: CodeChainConfig::default(),
            incremental_tests: IncrementalTestsConfig::default(),
        }
    }
}

const PROMPT: &str = "{{ prompt }}\
    {% if direction %}\n\n{{ direction }}{% endif %}\
    {% if lessons %}\n\nWhat was tried before:{% for lesson in lessons %}\n- {{ lesson }}{% endfor %}{% endif %}\
    {% if modules %}\n\nThese functions may be of use:\n{% for module in modules %}\n```\n{{ module }}\n```\n{% endfor %}{% endif %}\
    {% if programs %}\n\nThis was written before:\n{% for one in programs %}\n```\n{{ one.program }}```\n\
    {% if one.feedback %}{{ one.feedback }}\n{% endif %}{% endfor %}\nWrite the whole function again, corrected.\
    {% if task.signature %} It begins with `{{ task.signature }}`.{% endif %}{% endif %}";

const QUESTION: &str = "{{ prompt }}\n\nWhat does `{{ input }}` give?\n\
    {% for output in outputs %}\n{{ loop.index }}. {{ output }}{% endfor %}\n\nAnswer with the number alone.";

const CRITIQUE: &str = "{{ prompt }}\n\n{% for one in programs %}```\n{{ one.program }}```\n{{ one.feedback }}\n\n{% endfor %}\
    Say in a few words what is good and what is bad about this program, then rate it from 1 to 5, as `<score>3</score>`.";

impl Default for RexConfig {
    fn default() -> Self {
        Self { fresh_share: 0.5, strength: 20.0 }
    }
}

impl Default for SeidrConfig {
    fn default() -> Self {
        Self { width: const { count(4) }, arity: 2, depth: 4 }
    }
}

impl Default for ScatteredForestConfig {
    fn default() -> Self {
        Self {
            seeds: texts(&[
                "Solve it in the most direct way.",
                "Think of the special cases first.",
                "Think of an algorithm that is not the obvious one.",
            ]),
            arity: const { count(3) },
            exploration: 1.0,
            backup: 0.5,
            lessons: 3,
            directions: texts(&[
                "Look at the special cases: empty, zero, negative, equal.",
                "Look at where loops and ranges begin and end.",
                "Replace the algorithm by another one.",
                "Read the task again, and follow it word by word.",
                "Make it simpler.",
            ]),
            ask: String::new(),
        }
    }
}

impl Default for OrpsConfig {
    fn default() -> Self {
        Self {
            samples: const { count(20) },
            beam: const { count(3) },
            rounds: const { count(5) },
            styles: texts(&[
                "Write it as plainly as you can.",
                "Write it so that it is fast.",
                "Write it in small steps, each with a name.",
                "Write it with what the language's library has.",
                "Write it so that every special case is dealt with.",
            ]),
            critique: CRITIQUE.to_owned(),
        }
    }
}

impl Default for SelfEditConfig {
    fn default() -> Self {
        Self { samples: const { count(5) }, skip_passing: false }
    }
}

impl Default for CodeChainConfig {
    fn default() -> Self {
        Self {
            samples: const { count(20) },
            clusters: [5, 4, 3, 2, 1].map(count).to_vec(),
            instruction: "Write small functions, each of which does one thing, and one that uses them."
                .to_owned(),
        }
    }
}

impl Default for IncrementalTestsConfig {
    fn default() -> Self {
        Self { repairs: 3 }
    }
}

impl SearchConfig {
    /// Name of the table that `kind` alone reads, if it has one.
    pub fn table_of(kind: SearchKind) -> Option<&'static str> {
        match kind {
            SearchKind::Critical | SearchKind::BestOfN | SearchKind::Sampling => None,
            SearchKind::Rex => Some("rex"),
            SearchKind::Seidr => Some("seidr"),
            SearchKind::ScatteredForest => Some("scattered_forest"),
            SearchKind::Orps => Some("orps"),
            SearchKind::SelfEdit => Some("self_edit"),
            SearchKind::CodeChain => Some("code_chain"),
            SearchKind::IncrementalTests => Some("incremental_tests"),
        }
    }
}
