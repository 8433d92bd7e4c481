//! `codebleu`: words, keywords, structure and data flow of the reference, found in the program.

use super::ast_match::{AstMatchForm, matched};
use super::bleu::{Grams, bleu, keywords, weighted_bleu};
use super::{Language, Syntax, both, dataflow_match};
use crate::reward::Shown;
use crate::term::reward_config;
use crate::{Attempt, Input, Reward};

reward_config! {
    /// `[rewards.codebleu]`: the weighted mean of four similarities with the reference: BLEU-4, BLEU-4 with weighted keywords,
    /// `ast_match` and `dataflow_match`; from 0 to 1.
    ///
    /// A part that has no score is left out of the mean. An attempt at a task without a reference has no score.
    pub struct CodeBleuConfig for "codebleu" {
        /// Share of BLEU-4 in the mean, at least 0. Default 0.25.
        pub bleu_share: f64 = 0.25,
        /// Share of BLEU-4 with weighted keywords, at least 0. Default 0.25.
        pub keyword_share: f64 = 0.25,
        /// Share of `ast_match`, at least 0. Default 0.25.
        pub ast_share: f64 = 0.25,
        /// Share of `dataflow_match`, at least 0. Default 0.25.
        pub dataflow_share: f64 = 0.25,
    }
}

/// CodeBLEU (Ren et al. 2020, arXiv 2009.10297). Words are what white space separates, comments and all, as in the authors' code;
/// an empty data-flow graph of the reference leaves three parts instead of counting as 0 or as 1.
#[derive(Clone, Debug)]
pub struct CodeBleu {
    shares: [f64; 4],
    /// The keywords of each language, in the order of [`Language::ALL`].
    keywords: [Vec<u64>; Language::ALL.len()],
}

impl CodeBleu {
    pub(crate) fn new(config: &CodeBleuConfig) -> Result<Self, String> {
        let shares = [config.bleu_share, config.keyword_share, config.ast_share, config.dataflow_share];
        let sum: f64 = shares.iter().sum();
        if !shares.iter().all(|share| *share >= 0.0) || !sum.is_finite() || sum == 0.0 {
            return Err(format!("the shares are {shares:?}, wanted finite numbers from 0, not all 0"));
        }
        Ok(Self { shares, keywords: Language::ALL.map(|language| keywords(language.keywords())) })
    }

    /// The four parts, in the order of the shares.
    fn parts(&self, attempt: &Attempt<'_>) -> Option<[Option<f64>; 4]> {
        let (reference, candidate) = both(attempt)?;
        let deep = candidate.is_none().then(|| Grams::of(attempt.program));
        let (wanted, found) = (reference.grams(), candidate.map(Syntax::grams).or(deep.as_ref())?);
        let structure = candidate.map_or(0.0, |candidate| {
            matched(reference.subtrees(), candidate.subtrees(), AstMatchForm::Upstream)
        });
        Some([
            Some(bleu(wanted, found)),
            Some(weighted_bleu(wanted, found, &self.keywords[reference.language() as usize])),
            Some(structure),
            dataflow_match::score(attempt),
        ])
    }
}

impl Reward for CodeBleu {
    fn name(&self) -> &str {
        "codebleu"
    }

    fn inputs(&self) -> &'static [Input] {
        &[Input::Grammar]
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let parts = self.parts(attempt)?;
        let known = parts.iter().zip(self.shares).filter_map(|(part, share)| Some((((*part)?), share)));
        let (mut sum, mut shares) = (0.0, 0.0);
        for (part, share) in known {
            sum += part * share;
            shares += share;
        }
        (shares > 0.0).then(|| (sum / shares).clamp(0.0, 1.0))
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        match self.parts(attempt) {
            Some(parts) => {
                let [words, keywords, structure, dataflow] = parts.map(Shown);
                format!("BLEU {words}, keywords {keywords}, AST {structure}, data flow {dataflow}")
            }
            None => "the task has no reference to compare with".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
