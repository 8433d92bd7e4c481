use serde::Deserialize;

use super::*;
use crate::Task;
use crate::structure::Language;
use crate::tests::verdict;

/// A line of `golden/codebleu.json`.
#[derive(Deserialize)]
struct Golden {
    language: Language,
    reference: String,
    candidate: String,
    bleu: f64,
    keywords: f64,
    ast: f64,
    dataflow: f64,
}

/// The four parts and the whole.
fn score(language: Language, reference: &str, program: &str) -> ([Option<f64>; 4], f64) {
    let task = Task { reference: Some(reference), language, ..Task::default() };
    let verdict = verdict(vec![]);
    let attempt = Attempt::new(&task, "", program, &verdict);
    let codebleu = CodeBleu::new(&CodeBleuConfig::default()).unwrap();
    (codebleu.parts(&attempt).unwrap(), codebleu.score(&attempt).unwrap())
}

/// Languages whose data flow the package reads by rules of their own that ours agree with. It reads C and C++ by the rules for C#,
/// and knows no `let` of Rust and no `:=` of Go.
const SAME_DATAFLOW: [Language; 4] = [Language::Python, Language::JavaScript, Language::Java, Language::Ruby];

/// The package strips the ends of a program, sums in another order, and parses the same grammars: nine digits agree.
#[test]
fn the_parts_are_those_of_the_package_codebleu() {
    let golden: Vec<Golden> = serde_json::from_str(include_str!("../../../golden/codebleu.json")).unwrap();
    assert!(golden.len() > 10);
    let mut wrong = Vec::new();
    for row in &golden {
        let (parts, whole) = score(row.language, row.reference.trim(), row.candidate.trim());
        let dataflow = if SAME_DATAFLOW.contains(&row.language) { row.dataflow } else { parts[3].unwrap() };
        let wanted = [row.bleu, row.keywords, row.ast, dataflow];
        let far = |(found, wanted): (&Option<f64>, f64)| (found.unwrap() - wanted).abs() > 1e-9;
        if parts.iter().zip(wanted).any(far) || (whole - wanted.iter().sum::<f64>() / 4.0).abs() > 1e-9 {
            wrong.push(format!(
                "{:?} {:?}\n  found {parts:?}, wanted {wanted:?}",
                row.language, row.candidate
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_part_without_a_score_is_left_out_of_the_mean() {
    let (parts, whole) = score(Language::Python, "pass", "pass");
    assert_eq!(parts[3], None);
    let [words, keywords, structure, _] = parts.map(Option::unwrap_or_default);
    assert!((whole - (words + keywords + structure) / 3.0).abs() < 1e-12);
}

#[test]
fn nothing_scores_nothing_and_itself_scores_1() {
    let program = "def f(x):\n    y = x + 1\n    return y * x\n";
    assert_eq!(score(Language::Python, program, program).1, 1.0);
    assert_eq!(score(Language::Python, program, "").1, 0.0);
}

#[test]
fn shares_must_be_numbers_that_make_a_mean() {
    let all = |share| CodeBleuConfig {
        bleu_share: share,
        keyword_share: share,
        ast_share: share,
        dataflow_share: share,
        ..CodeBleuConfig::default()
    };
    for share in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(CodeBleu::new(&all(share)).is_err(), "{share}");
    }
    assert!(CodeBleu::new(&CodeBleuConfig { bleu_share: 1.0, ..all(0.0) }).is_ok());
}
