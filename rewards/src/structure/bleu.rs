//! BLEU-4 of one text against one reference, plain (Papineni et al. 2002) and with CodeBLEU's weighted words.

use std::collections::HashMap;

/// Longest n-gram.
const LONGEST: usize = 4;

/// What a count of zero matches is replaced by (Chen and Cherry 2014, method 1).
const EPSILON: f64 = 0.1;

/// Weight of a word that is no keyword (Ren et al. 2020, section 3.1).
const OTHER_WORD: f64 = 0.2;

fn counts<'a, 'b>(words: &'b [&'a str], n: usize) -> HashMap<&'b [&'a str], u32> {
    let mut counts = HashMap::new();
    for gram in words.windows(n) {
        *counts.entry(gram).or_default() += 1;
    }
    counts
}

/// BLEU-4: the geometric mean of the share of the candidate's n-grams that the reference has too, times the penalty for being
/// short. Words are what white space separates.
pub(super) fn bleu(reference: &[&str], candidate: &[&str]) -> f64 {
    let ratio = |n| {
        let (wanted, found) = (counts(reference, n), counts(candidate, n));
        let common: u32 = found.iter().map(|(gram, count)| *count.min(wanted.get(gram).unwrap_or(&0))).sum();
        (f64::from(common), f64::from(found.values().sum::<u32>()))
    };
    let (wanted, found) = (reference.len() as f64, candidate.len() as f64);
    let penalty = if found > wanted { 1.0 } else { (1.0 - wanted / found).exp() };
    penalty * geometric_mean(ratio)
}

/// CodeBLEU's weighted n-grams: as upstream computes them, the share of the reference's n-grams that the candidate has too, where
/// single words that are no keywords count a fifth. What is missing costs by itself, so there is no penalty for being short.
pub(super) fn weighted_bleu(reference: &[&str], candidate: &[&str], keywords: &str) -> f64 {
    let weight = |gram: &[&str]| match gram {
        [word] if !keywords.split_whitespace().any(|keyword| keyword == *word) => OTHER_WORD,
        _ => 1.0,
    };
    let ratio = |n| {
        let (wanted, found) = (counts(reference, n), counts(candidate, n));
        let mut grams: Vec<_> = wanted.iter().collect();
        // Sums of fifths depend on their order.
        grams.sort_unstable();
        let mut sums = (0.0, 0.0);
        for (gram, count) in grams {
            let common = *count.min(found.get(gram).unwrap_or(&0));
            sums.0 += weight(gram) * f64::from(common);
            sums.1 += weight(gram) * f64::from(*count);
        }
        sums
    };
    geometric_mean(ratio)
}

/// `exp(mean over n of ln(matches / possible))`, with `ratio(n)` the two; 0 without a single common word.
fn geometric_mean(ratio: impl Fn(usize) -> (f64, f64)) -> f64 {
    let mut sum = 0.0;
    for n in 1..=LONGEST {
        let (matches, possible) = ratio(n);
        if n == 1 && matches == 0.0 {
            return 0.0;
        }
        let matches = if matches == 0.0 { EPSILON } else { matches };
        sum += (matches / possible.max(1.0)).ln() / LONGEST as f64;
    }
    sum.exp().min(1.0)
}
