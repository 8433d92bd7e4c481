//! The rows: what a paper says, and recipes that try it.

use super::world::World;

/// Every recipe is run with each.
pub(crate) const SEEDS: [u64; 3] = [1, 2, 3];

/// One experiment.
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What the paper, or the plan that follows from it, says.
    pub(crate) claim: &'static str,
    pub(crate) steps: u64,
    pub(crate) world: World,
    pub(crate) start: Start,
    pub(crate) learning_rate: &'static str,
    pub(crate) variants: Vec<Variant>,
    /// Pairs that are compared, and by what. The first decides.
    pub(crate) contrasts: Vec<Contrast>,
    /// What differs from the paper; may be empty.
    pub(crate) caveat: &'static str,
}

/// What a row's runs begin with.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// The warm model.
    Warm,
    /// The model that knows nothing.
    Blank,
}

/// A recipe of a row.
#[derive(Clone)]
pub(crate) struct Variant {
    /// Part of a folder's name.
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Sections of the recipe: `[rewards]`, `[algorithm]` and more.
    pub(crate) sections: &'static str,
    /// Keys of `[rollout]` besides the usual ones.
    pub(crate) rollout: &'static str,
    /// Tasks that are trained on, of the world's files.
    pub(crate) train: &'static str,
    /// Attempts sampled for each that the metrics count: a greedy baseline is one more of a group.
    pub(crate) sampled: f64,
}

/// A comparison of two variants.
pub(crate) struct Contrast {
    /// Name of the variant that should have less.
    pub(crate) less: &'static str,
    /// Name of the variant that should have more.
    pub(crate) more: &'static str,
    pub(crate) by: Measure,
}

/// What is compared.
#[derive(Clone, Copy)]
pub(crate) enum Measure {
    /// pass@k of the held-out tasks, at the last evaluation within the tokens that all variants have.
    PassAt(usize),
    /// The mean of a metric over a share of the steps, from and to.
    Metric(&'static str, f64, f64),
    /// The share of the held-out tasks of which the attempt that the verifier likes best passes.
    Ranked,
}

/// Attempts of a group.
pub(crate) const GROUP: f64 = 8.0;

impl Row {
    /// The recipe of a variant, in the folder of the runs.
    pub(crate) fn recipe(&self, variant: &Variant, seed: u64, name: &str) -> String {
        let steps = self.steps;
        let model = match self.start {
            Start::Warm => format!("../{}/{}", self.world.name(), self.world.warm_model()),
            Start::Blank => format!("../{}/model", self.world.name()),
        };
        let common = self.world.common(
            &model,
            &format!("../{}/{}.jsonl", self.world.name(), variant.train),
            &format!("../{}/heldout.jsonl", self.world.name()),
        );
        format!(
            r#"seed = {seed}
steps = {steps}
run = "{name}"
{common}
[rollout]
tasks_per_step = 16
group_size = {GROUP}
max_tokens = {}
max_batch = 128
{}
{}
[optimizer]
learning_rate = {}
beta2 = 0.95
warmup_steps = 5
micro_batch_tokens = 8192

[eval]
every = {}
samples = 4
k = [1, 4]
temperature = 1.0

[checkpoint]
every = 10
keep_last = 1
"#,
            self.world.max_tokens(),
            variant.rollout,
            variant.sections,
            self.learning_rate,
            steps.div_ceil(6).max(1),
        )
    }
}

fn variant(name: &'static str, what: &'static str, sections: &'static str) -> Variant {
    Variant { name, what, sections, rollout: "", train: "subset", sampled: 1.0 }
}

/// One whose groups have a greedy attempt as well.
fn greedy(name: &'static str, what: &'static str, sections: &'static str) -> Variant {
    Variant { sampled: (GROUP + 1.0) / GROUP, ..variant(name, what, sections) }
}

fn contrast(less: &'static str, more: &'static str, by: Measure) -> Contrast {
    Contrast { less, more, by }
}

const CRITIC: &str = r#"
[rewards.outcome_table]
[algorithm]
preset = "remax"
aggregation = "sequence-mean-token-mean"
[verifier]
objective = "outcome"
token_weights = true
[verifier.optimizer]
learning_rate = 3e-4
"#;

const CRITIC_AND_CE: &str = r#"
[rewards.outcome_table]
[algorithm]
preset = "code-rl"
[verifier]
objective = "outcome"
token_weights = true
[verifier.optimizer]
learning_rate = 3e-4
"#;

/// Every row that recipes are run for.
pub(crate) fn rows() -> Vec<Row> {
    vec![losses(), baselines(), granularity(), entropy(), labels(), diversity(), structure()]
}

fn losses() -> Row {
    Row {
        id: "E1",
        title: "CodeRL's losses",
        claim: "CE + RL with critic returns is at least as good as either alone, and RL alone is unstable (CodeRL, Le et al. 2022)",
        steps: 60,
        world: World::Strings,
        start: Start::Warm,
        learning_rate: "2e-4",
        variants: vec![
            variant("ce", "cross entropy goes on", "[rewards.all_passed]\n[algorithm]\npreset = \"sft\"\n"),
            greedy(
                "rl",
                "RL, outcome table, greedy baseline",
                "[rewards.outcome_table]\n[algorithm]\npreset = \"remax\"\naggregation = \"sequence-mean-token-mean\"\n",
            ),
            greedy("critic", "the same, tokens weighted by the critic", CRITIC),
            greedy("both", "the same, and cross entropy", CRITIC_AND_CE),
        ],
        contrasts: vec![
            contrast("ce", "both", Measure::PassAt(1)),
            contrast("rl", "both", Measure::PassAt(1)),
            contrast("rl", "critic", Measure::PassAt(1)),
        ],
        caveat: "Attempts are fresh in every step; the paper samples once. Cross entropy is of the subset's references, which the warm start has seen.",
    }
}

fn baselines() -> Row {
    Row {
        id: "E2",
        title: "Greedy baseline, RLOO, GRPO",
        claim: "a baseline of the group (RLOO, GRPO) learns at least as fast as the greedy attempt (CodeRL, ReMax)",
        steps: 60,
        world: World::Strings,
        start: Start::Warm,
        learning_rate: "2e-4",
        variants: vec![
            greedy("greedy", "greedy baseline", "[rewards.all_passed]\n[algorithm]\npreset = \"remax\"\n"),
            variant(
                "rloo",
                "leave-one-out",
                "[rewards.all_passed]\n[algorithm]\npreset = \"rloo\"\nkl_coefficient = 0.0\n",
            ),
            variant(
                "grpo",
                "GRPO",
                "[rewards.all_passed]\n[algorithm]\npreset = \"grpo\"\nkl_coefficient = 0.0\n",
            ),
        ],
        contrasts: vec![
            contrast("greedy", "rloo", Measure::PassAt(1)),
            contrast("greedy", "grpo", Measure::PassAt(1)),
        ],
        caveat: "B-Coder's temporal differences, the fourth of the plan, are not among these recipes yet.",
    }
}

fn granularity() -> Row {
    Row {
        id: "E3",
        title: "How fine the reward is",
        claim: "partial credit (CodeRL's table, RLTF's fraction) helps early, and compile errors fall first (Le et al. 2022; Liu et al. 2023)",
        steps: 60,
        world: World::Strings,
        start: Start::Warm,
        learning_rate: "2e-4",
        variants: vec![
            variant(
                "binary",
                "1 if all tests pass",
                "[rewards.all_passed]\n[algorithm]\nadvantage = \"dr-grpo\"\n",
            ),
            variant(
                "table",
                "-1, -0.6, -0.3, 1",
                "[rewards.outcome_table]\n[algorithm]\nadvantage = \"dr-grpo\"\n",
            ),
            variant(
                "fraction",
                "the same, graded by the share of tests",
                "[rewards.outcome_table]\ngraded = true\n[algorithm]\nadvantage = \"dr-grpo\"\n",
            ),
        ],
        contrasts: vec![
            contrast("binary", "fraction", Measure::PassAt(1)),
            contrast("binary", "table", Measure::PassAt(1)),
            contrast("binary", "table", Measure::Metric("exec/loaded", 0.25, 0.75)),
            contrast("binary", "fraction", Measure::Metric("exec/tests_passed_frac", 0.0, 0.5)),
        ],
        caveat: "",
    }
}

fn entropy() -> Row {
    Row {
        id: "E9",
        title: "EGPO's entropy bonus",
        claim: "advantages shaped by entropy slow its collapse and keep pass@k (EGPO)",
        steps: 60,
        world: World::Strings,
        start: Start::Warm,
        learning_rate: "2e-4",
        variants: vec![
            variant(
                "grpo",
                "GRPO",
                "[rewards.all_passed]\n[algorithm]\npreset = \"egpo\"\nentropy_shaping = 0.0\n",
            ),
            variant(
                "egpo",
                "the same, shaped by entropy",
                "[rewards.all_passed]\n[algorithm]\npreset = \"egpo\"\n",
            ),
        ],
        contrasts: vec![
            contrast("grpo", "egpo", Measure::Metric("entropy", 0.75, 1.0)),
            contrast("grpo", "egpo", Measure::PassAt(4)),
        ],
        caveat: "The paper's task is function calls; here the bonus is for tokens of a program.",
    }
}

const BINARY: &str = "[rewards.all_passed]\n[algorithm]\npreset = \"dr-grpo\"\n[verifier]\nobjective = \"binary\"\n[verifier.optimizer]\nlearning_rate = 3e-4\n";
const OUTCOME: &str = "[rewards.all_passed]\n[algorithm]\npreset = \"dr-grpo\"\n[verifier]\nobjective = \"outcome\"\n[verifier.optimizer]\nlearning_rate = 3e-4\n";
const FAULT: &str = "[rewards.all_passed]\n[algorithm]\npreset = \"dr-grpo\"\n[verifier]\nobjective = \"fault\"\n[verifier.optimizer]\nlearning_rate = 3e-4\n";

fn labels() -> Row {
    Row {
        id: "E10",
        title: "Labels of rankers",
        claim: "a ranker that learns kinds of errors chooses better than one that learns right and wrong (CodeRanker, RankEF)",
        steps: 80,
        world: World::Strings,
        start: Start::Warm,
        // The policy stays: only the ranker learns.
        learning_rate: "1e-9",
        variants: vec![
            variant("binary", "right or wrong", BINARY),
            variant("outcome", "four classes", OUTCOME),
            variant("fault", "classes, and feedback in words", FAULT),
        ],
        contrasts: vec![
            contrast("binary", "outcome", Measure::Ranked),
            contrast("binary", "fault", Measure::Ranked),
        ],
        caveat: "Of four attempts at a held-out task, the one with the highest forecast; the interval is over seeds alone.",
    }
}

fn diversity() -> Row {
    let sft = "[rewards.all_passed]\n[algorithm]\npreset = \"sft\"\n";
    let of = |name, what, train| Variant { train, ..variant(name, what, sft) };
    Row {
        id: "E11",
        title: "Distinct functions",
        claim: "with as many examples, more distinct functions generalise and few do not (symbolic tasks of Markov algorithms; PPM)",
        steps: 600,
        world: World::Strings,
        start: Start::Blank,
        learning_rate: "1e-3",
        variants: vec![
            of("few", "16 functions", "distinct-16"),
            of("some", "128 functions", "distinct-128"),
            of("many", "1024 functions", "distinct-1024"),
        ],
        contrasts: vec![
            contrast("few", "many", Measure::PassAt(1)),
            contrast("few", "some", Measure::PassAt(1)),
            contrast("some", "many", Measure::PassAt(1)),
        ],
        caveat: "Supervised fine-tuning from nothing on 9600 tasks, each seen once; functions of string programs in the place of rewriting rules.",
    }
}

fn structure() -> Row {
    let whole = "[rewards.tiers]\nparse = 0.0\nload = 1.0\nrun = 1.0\n[rewards.ast_match]\n[rewards.dataflow_match]\n[algorithm]\nadvantage = \"dr-grpo\"\n";
    let cut = "[rewards.tiers]\nparse = 0.0\nload = 1.0\nrun = 1.0\n[rewards.process.cut]\ncommand = [\"../cut-structure\"]\ngreatest = 2.0\n[algorithm]\nadvantage = \"dr-grpo\"\n";
    Row {
        id: "E12",
        title: "Reward by structure, and its hole",
        claim: "where the reference is cut at the sample's end (PPOCoder's code), short programs are rewarded and length collapses; with the whole reference it does not",
        steps: 60,
        world: World::Functions,
        start: Start::Warm,
        learning_rate: "2e-4",
        variants: vec![
            variant("whole", "compiles + AST + data flow, of the whole reference", whole),
            variant("cut", "the same, reference cut at the sample's end", cut),
        ],
        contrasts: vec![
            contrast("cut", "whole", Measure::Metric("completions/mean_length", 0.75, 1.0)),
            contrast("cut", "whole", Measure::PassAt(1)),
        ],
        caveat: "As in the paper's completion task, that a program compiles is rewarded and that it is right is not. The paper's PPO and divergence are left off.",
    }
}
