//! `dataflow_match`: where values come from, in the program and in the reference.

use super::both;
use super::counts::Counts;
use super::dataflow::Item;
use crate::term::reward_config;
use crate::{Attempt, Input, Reward};

reward_config! {
    /// `[rewards.dataflow_match]`: the share of the reference's data-flow graph that the program has too, from 0 to 1. Names are not
    /// compared.
    ///
    /// A reference in which no value goes anywhere gives no score, and neither does a language without variables, such as SQL.
    pub struct DataflowMatchConfig for "dataflow_match" {}
}

/// `|items of both, as multisets| / |items of the reference|` (Ren et al. 2020, arXiv 2009.10297, equation 5).
#[derive(Clone, Copy, Debug)]
pub struct DataflowMatch;

/// How much of `reference` is in `candidate`; `None` if there is nothing to find.
fn matched(reference: &Counts<Item>, candidate: Option<&Counts<Item>>) -> Option<f64> {
    let total = reference.total();
    let common = candidate.map_or(0, |candidate| {
        reference.common(candidate).map(|(wanted, there)| wanted.min(there)).sum::<u32>()
    });
    (total > 0).then(|| f64::from(common) / f64::from(total))
}

/// The score of an attempt, which CodeBLEU asks for as well.
pub(super) fn score(attempt: &Attempt<'_>) -> Option<f64> {
    let (reference, candidate) = both(attempt)?;
    matched(reference.dataflow()?, candidate.and_then(|candidate| candidate.dataflow()))
}

impl Reward for DataflowMatch {
    fn name(&self) -> &str {
        "dataflow_match"
    }

    fn inputs(&self) -> &'static [Input] {
        &[Input::Grammar]
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        score(attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Task;
    use crate::structure::Language;
    use crate::tests::verdict;

    fn score_in(language: Language, reference: &str, program: &str) -> Option<f64> {
        let task = Task { reference: Some(reference), language, ..Task::default() };
        let verdict = verdict(vec![]);
        DataflowMatch.score(&Attempt::new(&task, "", program, &verdict))
    }

    /// Section 9, defect 4: upstream scores 0 here.
    #[test]
    fn a_reference_without_data_flow_gives_no_score() {
        assert_eq!(score_in(Language::Python, "pass\n", "x = 1\ny = x\n"), None);
        assert_eq!(score_in(Language::Sql, "SELECT a FROM b;", "SELECT a FROM b;"), None);
        assert_eq!(score_in(Language::Python, "x = 1\ny = x\n", "pass\n"), Some(0.0));
    }

    #[test]
    fn two_copies_of_an_item_want_two_matches() {
        let reference = "x = 1\ny = x\nz = x\n";
        assert_eq!(score_in(Language::Python, reference, "a = 1\nb = a\nc = a\n"), Some(1.0));
        assert!(score_in(Language::Python, reference, "a = 1\nb = a\n").unwrap() < 1.0);
    }

    #[test]
    fn every_language_with_variables_has_a_graph() {
        let programs = [
            (
                Language::JavaScript,
                "function f(a) { let b = a + 1; for (const c of b) { b += c; } return b; }",
            ),
            (
                Language::Java,
                "class A { int f(int a) { int b = a + 1; while (b < a) { b = b * a; } return b; } }",
            ),
            (Language::C, "int f(int a) { int b = a + 1; if (a) { b = a; } else { b = 2; } return b; }"),
            (Language::Cpp, "int f(int a) { int b = a + 1; for (int c : a) { b = c; } return b; }"),
            (Language::Rust, "fn f(a: i32) -> i32 { let mut b = a + 1; while b < a { b += a; } b }"),
            (
                Language::Go,
                "package p\nfunc f(a int) int { b := a + 1; for b < a { b = b * a }; return b }\n",
            ),
            (Language::Ruby, "def f(a)\n  b = a + 1\n  while b < a\n    b = b * a\n  end\n  b\nend\n"),
        ];
        for (language, program) in programs {
            let renamed = program.replace('b', "q").replace("puqlic", "public");
            assert_eq!(score_in(language, program, program), Some(1.0), "{language:?}");
            assert_eq!(score_in(language, program, &renamed), Some(1.0), "{language:?}");
            let other = program.replace("a + 1", "5 + 1");
            assert!(score_in(language, program, &other).unwrap() < 1.0, "{language:?}");
        }
    }
}
