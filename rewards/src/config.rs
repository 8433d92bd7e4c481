//! `[rewards]`: one table per reward.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::efficiency::{EfficiencyConfig, MemoryConfig, OrpsConfig};
use crate::form::{
    BrevityConfig, FormatConfig, FunctionCallsConfig, OverlongConfig, RepetitionConfig,
    StructuredOutputConfig, StyleConfig,
};
use crate::judge::JudgeConfig;
use crate::outcome::{
    AllPassedConfig, OutcomeTableConfig, RareTestsConfig, RepairConfig, TestsPassedConfig, TiersConfig,
    WrittenTestsConfig,
};
use crate::plugin::{HttpConfig, ProcessConfig, WasmConfig};
use crate::structure::{AstMatchConfig, CodeBleuConfig, DataflowMatchConfig};
use crate::understanding::{OutputPredictionConfig, TracePredictionConfig};

/// `[rewards]`: one optional table per reward. A table that is absent is a reward that is not used.
///
/// The reward of an attempt is the sum of weight times score over the tables present. A score that does not apply, or whose
/// `only_if` does not hold, adds nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RewardsConfig {
    /// The share of hidden tests that pass, from 0 to 1. Gives partial programs something to climb.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tests_passed: Option<TestsPassedConfig>,
    /// 1 if every hidden test passes, else 0. What pass@k measures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_passed: Option<AllPassedConfig>,
    /// A number for each kind of outcome, CodeRL's by default; graded as in RLTF, or relative to an earlier attempt, if wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome_table: Option<OutcomeTableConfig>,
    /// The share of hidden tests that pass, where rarely passed tests count more; from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rare_tests: Option<RareTestsConfig>,
    /// How far the program gets: it parses, it loads, every test runs, every test passes; from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiers: Option<TiersConfig>,
    /// For tasks that change a program: failing tests fixed, less passing tests broken; from -1 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<RepairConfig>,
    /// For tasks that ask for tests: the share of wrong programs that they catch; -1 if the reference fails them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_tests: Option<WrittenTestsConfig>,
    /// The share of the reference's syntax subtrees that the program has too, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ast_match: Option<AstMatchConfig>,
    /// The share of the reference's data-flow graph that the program has too, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataflow_match: Option<DataflowMatchConfig>,
    /// Words, keywords, structure and data flow of the reference, found in the program; from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codebleu: Option<CodeBleuConfig>,
    /// For a right program, its fuel in comparison with the reference's: 1 for as much, more for less. A wrong one scores 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub efficiency: Option<EfficiencyConfig>,
    /// For a right program, its peak memory in comparison with the reference's: 1 for as much, more for less. A wrong one scores 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryConfig>,
    /// The share of tests that pass, times up to 2 for a program that is short, simple and takes little fuel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orps: Option<OrpsConfig>,
    /// 1 if the completion has the fences and tags that are asked for, else 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<FormatConfig>,
    /// Minus the length of the completion, as a share of the longest that it may be; from -1 to 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brevity: Option<BrevityConfig>,
    /// 0 up to some tokens below `rollout.max_tokens`, then down to -1 at it (DAPO).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlong: Option<OverlongConfig>,
    /// Minus the share of the program's lines that repeat, at its end, the structure of the lines before them; from -1 to 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition: Option<RepetitionConfig>,
    /// The share of the rules of form set here that a Python program keeps, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub style: Option<StyleConfig>,
    /// For tasks that ask for data: it can be read, and has in it what the task wants; from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structured_output: Option<StructuredOutputConfig>,
    /// For tasks that ask for calls: 1 if they are the ones that the task wants, else 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_calls: Option<FunctionCallsConfig>,
    /// For tasks that ask what a program gives: 1 if the completion is that, else 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_prediction: Option<OutputPredictionConfig>,
    /// For tasks that ask which lines a program runs: how far the completion is right, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_prediction: Option<TracePredictionConfig>,
    /// Judges: language models by a name of yours, one table each; from 0 to 1.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub judge: BTreeMap<String, JudgeConfig>,
    /// Plug-ins: programs of your own by name, one table each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub process: BTreeMap<String, ProcessConfig>,
    /// Plug-ins: HTTP endpoints of your own by name, one table each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub http: BTreeMap<String, HttpConfig>,
    /// Plug-ins: WebAssembly components of your own by name, one table each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub wasm: BTreeMap<String, WasmConfig>,
}

impl RewardsConfig {
    /// Passes every path through `place`, which makes it absolute. What has no folder of its own gets one in that of the run.
    pub fn place_paths(&mut self, run: &Path, place: impl Fn(&Path) -> PathBuf) {
        for (name, judge) in &mut self.judge {
            judge.folder = match judge.folder.as_os_str().is_empty() {
                true => run.join("judges").join(name),
                false => place(&judge.folder),
            };
        }
        for process in self.process.values_mut() {
            process.directory = place(&process.directory);
        }
        for wasm in self.wasm.values_mut() {
            wasm.component = place(&wasm.component);
            for path in &mut wasm.files {
                *path = place(path);
            }
        }
    }
}
