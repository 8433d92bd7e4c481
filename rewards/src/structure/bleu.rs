//! BLEU-4 of one text against one reference, plain (Papineni et al. 2002) and with CodeBLEU's weighted words.

use super::counts::Counts;
use super::mixed;

/// Longest n-gram.
const LONGEST: usize = 4;

/// What a count of zero matches is replaced by (Chen and Cherry 2014, method 1).
const EPSILON: f64 = 0.1;

/// Weight of a word that is no keyword (Ren et al. 2020, section 3.1).
const OTHER_WORD: f64 = 0.2;

/// How often each n-gram of a text occurs, for n from 1 to 4. Words are what white space separates; they and the n-grams are known by
/// a hash of 64 bits.
#[derive(Debug)]
pub(super) struct Grams {
    counts: [Counts<u64>; LONGEST],
}

impl Grams {
    pub(super) fn of(text: &str) -> Self {
        let words: Vec<u64> = text.split_whitespace().map(word).collect();
        let of_length =
            |n: usize| words.windows(n + 1).map(|gram| gram.iter().copied().fold(0, mixed)).collect();
        Self { counts: std::array::from_fn(|n| Counts::of(of_length(n))) }
    }

    fn words(&self) -> u32 {
        self.counts[0].total()
    }
}

/// The hash of a word.
fn word(text: &str) -> u64 {
    text.as_bytes().chunks(8).fold(text.len() as u64, |all, piece| {
        let mut bytes = [0; 8];
        bytes[..piece.len()].copy_from_slice(piece);
        mixed(all, u64::from_le_bytes(bytes))
    })
}

/// Words that count in full, of those that white space separates in `text`.
pub(super) fn keywords(text: &str) -> Vec<u64> {
    let mut keywords: Vec<u64> = text.split_whitespace().map(|keyword| mixed(0, word(keyword))).collect();
    keywords.sort_unstable();
    keywords
}

/// BLEU-4: the geometric mean of the share of the candidate's n-grams that the reference has too, times the penalty for being
/// short.
pub(super) fn bleu(reference: &Grams, candidate: &Grams) -> f64 {
    let ratio = |n: usize| {
        let (wanted, found) = (&reference.counts[n], &candidate.counts[n]);
        let common: u32 = found.common(wanted).map(|(found, wanted)| found.min(wanted)).sum();
        (f64::from(common), f64::from(found.total()))
    };
    let (wanted, found) = (f64::from(reference.words()), f64::from(candidate.words()));
    let penalty = if found > wanted { 1.0 } else { (1.0 - wanted / found).exp() };
    penalty * geometric_mean(ratio)
}

/// CodeBLEU's weighted n-grams: as upstream computes them, the share of the reference's n-grams that the candidate has too, where
/// single words that are no keywords count a fifth. What is missing costs by itself, so there is no penalty for being short.
pub(super) fn weighted_bleu(reference: &Grams, candidate: &Grams, keywords: &[u64]) -> f64 {
    let ratio = |n: usize| {
        let (wanted, found) = (&reference.counts[n], &candidate.counts[n]);
        // Keywords and n-grams of several words, and other words: whole numbers, whose sums do not depend on an order.
        let in_full = |gram: &u64| n > 0 || keywords.binary_search(gram).is_ok();
        let sum = |counts: &mut dyn Iterator<Item = (&u64, u32)>| {
            let (mut full, mut other) = (0, 0);
            for (gram, count) in counts {
                *if in_full(gram) { &mut full } else { &mut other } += count;
            }
            f64::from(full) + OTHER_WORD * f64::from(other)
        };
        (sum(&mut wanted.least(found)), sum(&mut wanted.iter()))
    };
    geometric_mean(ratio)
}

/// `exp(mean over n of ln(matches / possible))`, with `ratio(n - 1)` the two; 0 without a single common word.
fn geometric_mean(ratio: impl Fn(usize) -> (f64, f64)) -> f64 {
    let mut sum = 0.0;
    for n in 0..LONGEST {
        let (matches, possible) = ratio(n);
        if n == 0 && matches == 0.0 {
            return 0.0;
        }
        let matches = if matches == 0.0 { EPSILON } else { matches };
        sum += (matches / possible.max(1.0)).ln() / LONGEST as f64;
    }
    sum.exp().min(1.0)
}
