//! Choosing among programs by what they give for inputs: pure functions of their outputs.
//!
//! A program's outputs are a list of texts, one for each input; all programs are asked for the same inputs.

use std::collections::BTreeMap;

/// The cluster of each program: those with equal outputs are one. Clusters are numbered as they first occur.
pub fn clusters(outputs: &[Vec<String>]) -> Vec<usize> {
    let mut known: BTreeMap<&[String], usize> = BTreeMap::new();
    let mut of_program = Vec::with_capacity(outputs.len());
    for outputs in outputs {
        let next = known.len();
        of_program.push(*known.entry(outputs).or_insert(next));
    }
    of_program
}

/// How good a program is by consistency: tests passed, times the square root of how many programs give the same.
///
/// Dong et al. 2024, ConAIR (arXiv:2411.15587) has both parts; the product is CodeT's (Chen et al. 2022, arXiv:2207.10397).
pub fn consistency(tests_passed: f64, cluster_size: usize) -> f64 {
    tests_passed * (cluster_size as f64).sqrt()
}

/// Clusters in the order of [`consistency`], of the member that passes most tests; the first of equal ones.
pub fn by_consistency(tests_passed: &[f64], clusters: &[usize]) -> Vec<usize> {
    let sizes = totals(&vec![1.0; clusters.len()], clusters);
    let scores = tests_passed.iter().zip(clusters);
    let scores = scores.map(|(passed, cluster)| (*cluster, consistency(*passed, sizes[*cluster] as usize)));
    let mut best = vec![f64::NEG_INFINITY; sizes.len()];
    scores.for_each(|(cluster, score)| best[cluster] = best[cluster].max(score));
    in_falling_order(&best)
}

/// Clusters in the order of the sum of their programs' weights, the first of equal ones: SOAR's vote, where a program weighs as much as
/// the share of known examples that it gets right (Pourcel et al. 2025, arXiv:2507.14172).
pub fn weighted_vote(weights: &[f64], clusters: &[usize]) -> Vec<usize> {
    in_falling_order(&totals(weights, clusters))
}

fn totals(weights: &[f64], clusters: &[usize]) -> Vec<f64> {
    let mut totals = vec![0.0; clusters.iter().max().map_or(0, |last| last + 1)];
    weights.iter().zip(clusters).for_each(|(weight, cluster)| totals[*cluster] += weight);
    totals
}

fn in_falling_order(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|one, other| values[*other].total_cmp(&values[*one]));
    order
}

/// How many hypotheses an answer about an input eliminates at least: all but those of the output that most of them have.
pub fn worst_case_eliminated(hypotheses: &[&[String]], input: usize) -> usize {
    hypotheses.len() - candidates(hypotheses, input).iter().map(|(_, count)| *count).max().unwrap_or(0)
}

/// The outputs that hypotheses have for an input, in the order in which they first occur, and how many have each.
pub fn candidates<'a>(hypotheses: &[&'a [String]], input: usize) -> Vec<(&'a str, usize)> {
    let mut found: Vec<(&str, usize)> = Vec::new();
    for output in hypotheses.iter().filter_map(|outputs| outputs.get(input)) {
        match found.iter_mut().find(|(known, _)| known == output) {
            Some((_, count)) => *count += 1,
            None => found.push((output, 1)),
        }
    }
    found
}

/// The input that is asked about next: the one whose answer eliminates most in the worst case, the first of equal ones. `None` if no
/// answer eliminates anything.
///
/// Transductive elimination, as SYNTRA has it: a hypothesis is what a program gives for all inputs.
pub fn next_question(hypotheses: &[&[String]]) -> Option<usize> {
    let inputs = hypotheses.iter().map(|outputs| outputs.len()).max().unwrap_or(0);
    let eliminated = (0..inputs).map(|input| (input, worst_case_eliminated(hypotheses, input)));
    let most = eliminated.reduce(|best, next| if next.1 > best.1 { next } else { best });
    most.filter(|(_, eliminated)| *eliminated > 0).map(|(input, _)| input)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outputs(all: &[&str]) -> Vec<Vec<String>> {
        all.iter().map(|word| word.chars().map(String::from).collect()).collect()
    }

    fn slices(outputs: &[Vec<String>]) -> Vec<&[String]> {
        outputs.iter().map(Vec::as_slice).collect()
    }

    /// Asks until one is left, or `oracle` says what no hypothesis gives.
    fn left(mut alive: Vec<&[String]>, oracle: impl Fn(usize) -> String) -> (Vec<&[String]>, usize) {
        let mut questions = 0;
        while let Some(input) = next_question(&alive) {
            questions += 1;
            let right = oracle(input);
            alive.retain(|outputs| outputs[input] == right);
        }
        (alive, questions)
    }

    #[test]
    fn eliminations_are_those_of_the_specification() {
        let all = outputs(&["axp", "ayp", "bxp", "cyq", "ayq"]);
        let all = slices(&all);
        assert_eq!([0, 1, 2].map(|input| worst_case_eliminated(&all, input)), [2, 2, 2]);
        assert_eq!(next_question(&all), Some(0), "the first of equal ones");
        assert_eq!(candidates(&all, 0), [("a", 3), ("b", 1), ("c", 1)]);
        let (alive, questions) = left(all.clone(), |input| all[4][input].clone());
        assert_eq!((alive, questions), (vec![all[4]], 3));
        assert_eq!(next_question(&all[..1]), None);
        assert_eq!(next_question(&[]), None);
    }

    #[test]
    fn clusters_are_of_equal_outputs_and_grow_by_their_square_root() {
        let clusters = clusters(&outputs(&["ab", "ac", "ab", "ab", "ac", "zz"]));
        assert_eq!(clusters, [0, 1, 0, 0, 1, 2]);
        assert_eq!(consistency(3.0, 4), 6.0);
        assert_eq!(consistency(0.0, 9), 0.0);
        // 2·√3 against 2.5·√2 and 4·√1.
        assert_eq!(by_consistency(&[2.0, 2.5, 1.0, 2.0, 1.0, 4.0], &clusters), [2, 1, 0]);
        assert_eq!(by_consistency(&[2.0, 2.4, 1.0, 2.0, 1.0, 3.0], &clusters), [0, 1, 2]);
    }

    #[test]
    fn a_vote_is_won_by_weight_and_not_by_heads() {
        let clusters = [0, 1, 0, 1, 0, 2];
        assert_eq!(weighted_vote(&[0.1, 1.0, 0.1, 0.5, 0.1, 0.6], &clusters), [1, 2, 0]);
        assert_eq!(weighted_vote(&[1.0; 6], &clusters), [0, 1, 2]);
        assert_eq!(weighted_vote(&[0.0; 6], &clusters), [0, 1, 2], "nothing to choose by: the first");
        assert_eq!(weighted_vote(&[], &[]), [0; 0]);
    }

    fn some_outputs() -> impl Strategy<Value = Vec<Vec<String>>> {
        (1..4usize).prop_flat_map(|inputs| {
            let output = prop::sample::select(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]);
            prop::collection::vec(prop::collection::vec(output, inputs), 1..12)
        })
    }

    proptest! {
        #[test]
        fn an_oracle_that_knows_one_of_them_leaves_that_one_and_its_equals((all, right) in some_outputs().prop_flat_map(|all| {
            let count = all.len();
            (Just(all), 0..count)
        })) {
            let wanted = all[right].clone();
            let (alive, questions) = left(slices(&all), |input| wanted[input].clone());
            prop_assert!(!alive.is_empty() && alive.iter().all(|outputs| *outputs == wanted.as_slice()));
            prop_assert!(questions <= wanted.len(), "no input is asked about twice");
        }

        #[test]
        fn an_elimination_is_at_most_what_is_there_and_the_chosen_input_is_the_best(all in some_outputs()) {
            let all = slices(&all);
            let worst = |input| worst_case_eliminated(&all, input);
            let best = (0..all[0].len()).map(worst).max().unwrap();
            prop_assert!(best < all.len());
            prop_assert_eq!(next_question(&all).map(worst).unwrap_or(0), best);
        }

        #[test]
        fn orders_have_every_cluster_once(all in some_outputs(), weights in prop::collection::vec(0.0..2.0f64, 12)) {
            let clusters = clusters(&all);
            let weights = &weights[..all.len()];
            for mut order in [weighted_vote(weights, &clusters), by_consistency(weights, &clusters)] {
                order.sort_unstable();
                prop_assert_eq!(order, (0..=*clusters.iter().max().unwrap()).collect::<Vec<_>>());
            }
        }
    }
}
