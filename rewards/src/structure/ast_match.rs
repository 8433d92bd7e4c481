//! `ast_match`: subtrees of the reference found in the program.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::both;
use super::counts::Counts;
use crate::term::reward_config;
use crate::{Attempt, Input, Reward};

/// How subtrees are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AstMatchForm {
    /// The share of the reference's subtrees that occur in the program at all, as CodeBLEU and PPOCoder have it. A program that
    /// contains everything scores 1.
    #[default]
    Upstream,
    /// The harmonic mean of that share and its opposite, each subtree matched once: what is too much costs as well.
    F1,
}

reward_config! {
    /// `[rewards.ast_match]`: the share of the reference's subtrees that the program has too, from 0 to 1. Names and literals are
    /// not compared.
    ///
    /// An attempt at a task without a reference has no score.
    pub struct AstMatchConfig for "ast_match" {
        /// `upstream`: a program that contains everything scores 1; or `f1`: what is too much costs as well. Default `upstream`.
        pub form: AstMatchForm = AstMatchForm::Upstream,
    }
}

/// AST match (Ren et al. 2020, arXiv 2009.10297, equation 4) over the shapes of [`Syntax::subtrees`](super::Syntax).
#[derive(Clone, Copy, Debug)]
pub struct AstMatch {
    form: AstMatchForm,
}

impl AstMatch {
    pub(crate) fn new(config: &AstMatchConfig) -> Self {
        Self { form: config.form }
    }
}

/// How much of `reference` is in `candidate`.
pub(super) fn matched(reference: &Counts<u64>, candidate: &Counts<u64>, form: AstMatchForm) -> f64 {
    let common = reference.common(candidate).map(|(wanted, there)| match form {
        AstMatchForm::Upstream => wanted,
        AstMatchForm::F1 => wanted.min(there),
    });
    let (common, total) = (f64::from(common.sum::<u32>()), f64::from(reference.total()));
    match form {
        AstMatchForm::Upstream => common / total,
        AstMatchForm::F1 => 2.0 * common / (total + f64::from(candidate.total())),
    }
}

impl Reward for AstMatch {
    fn name(&self) -> &str {
        "ast_match"
    }

    fn inputs(&self) -> &'static [Input] {
        &[Input::Grammar]
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let (reference, candidate) = both(attempt)?;
        Some(
            candidate.map_or(0.0, |candidate| matched(reference.subtrees(), candidate.subtrees(), self.form)),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Language, Syntax};
    use super::*;
    use crate::Task;
    use crate::tests::verdict;

    fn score(form: AstMatchForm, reference: &str, program: &str) -> Option<f64> {
        let task = Task { reference: Some(reference), ..Task::default() };
        let verdict = verdict(vec![]);
        AstMatch { form }.score(&Attempt::new(&task, "", program, &verdict))
    }

    const SQUARE: &str = "def square(x):\n    return x * x\n";

    #[test]
    fn names_do_not_matter_and_structure_does() {
        for form in [AstMatchForm::Upstream, AstMatchForm::F1] {
            assert_eq!(score(form, SQUARE, "def quadrat(n):\n    return n * n\n"), Some(1.0));
            assert!(score(form, SQUARE, "def square(x):\n    return pow(x, 2)\n").unwrap() < 1.0);
            assert_eq!(score(form, SQUARE, &"(".repeat(9999)), Some(0.0));
        }
        let nothing = Task::default();
        assert_eq!(
            AstMatch { form: AstMatchForm::F1 }.score(&Attempt::new(&nothing, "", SQUARE, &verdict(vec![]))),
            None
        );
    }

    /// Section 9, defect 5 of the upstream code: long outputs gain.
    #[test]
    fn a_program_that_contains_everything_gains_upstream_and_not_by_f1() {
        let twice = format!("{SQUARE}\n{SQUARE}\ndef more(y):\n    for z in y:\n        print(z)\n");
        // Only the whole program is another one.
        assert_eq!(score(AstMatchForm::Upstream, SQUARE, &twice), Some(5.0 / 6.0));
        assert!(score(AstMatchForm::F1, SQUARE, &twice).unwrap() < 0.5);
    }

    /// Section 9, defect 1: cutting the reference where the sample ends pays for short samples.
    #[test]
    fn a_short_program_is_held_against_the_whole_reference() {
        let reference = "def f(x):\n    y = x + 1\n    for i in range(y):\n        y = y * i\n    return y\n";
        let short = "def f(x):\n    y = x + 1\n";
        let whole = score(AstMatchForm::Upstream, reference, short).unwrap();
        let cut = score(AstMatchForm::Upstream, &reference[..short.len()], short).unwrap();
        assert_eq!(cut, 1.0);
        assert!(whole < 0.5, "{whole}");
    }

    proptest! {
        #[test]
        fn a_program_matches_itself(text in "[a-z0-9 +*()=\n:]{0,80}") {
            let syntax = Syntax::parse(&text, Language::Python).unwrap();
            for form in [AstMatchForm::Upstream, AstMatchForm::F1] {
                prop_assert_eq!(matched(syntax.subtrees(), syntax.subtrees(), form), 1.0);
            }
        }
    }
}
