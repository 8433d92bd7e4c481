//! E7: how far masked sampling, free sampling and ASAp are from a model's own distribution over a language, counted out.

use std::collections::BTreeMap;

use rltrain::rng::{Stream, uniform};
use rltrain::rollout::grammar::{Allowed, Asap};

use super::report::Section;

pub(crate) const ID: &str = "E7";

/// Samples of one prompt after which ASAp is looked at.
const LOOKS: [usize; 4] = [1, 2, 5, 50];
const SEEDS: u64 = 20;

/// Five fair bits, of which `00000` and everything that begins with 1 is a word: the paper's own example in small.
fn allowed(prefix: &[i64]) -> &'static [i64] {
    match prefix {
        [] | [1, ..] => &[0, 1],
        _ => &[0],
    }
}

fn words() -> Vec<Vec<i64>> {
    let bits = |number: i64| (0..5).rev().map(move |bit| number >> bit & 1).collect();
    std::iter::once(0).chain(16..32).map(bits).collect()
}

/// The probability of a word as the tree has it now; an empty tree is plain masking.
fn probability(asap: &mut Asap, word: &[i64]) -> f64 {
    let (mut place, mut probability) = (Asap::ROOT, 1.0);
    for (at, bit) in word.iter().enumerate() {
        let choices = allowed(&word[..at]);
        let known: BTreeMap<i64, f64> = asap.weights(place).collect();
        let weight = |token: &i64| known.get(token).copied().unwrap_or(0.0).exp();
        let total: f64 = choices.iter().map(weight).sum();
        probability *= weight(bit) / total;
        // Going on adds no more than a prefix that nothing is known of, which weighs as much as one that is not there.
        place = asap.extend(
            place,
            *bit,
            0.5,
            Allowed { count: choices.len(), probability: 0.5 * choices.len() as f64 },
        );
    }
    probability
}

/// Kullback-Leibler divergence of what is sampled from the model's own distribution over the 17 words, which has each a 17th, in nats.
fn divergence(asap: &Asap) -> f64 {
    words()
        .iter()
        .map(|word| probability(&mut asap.clone(), word))
        .filter(|p| *p > 0.0)
        .map(|p| p * (p * 17.0).ln())
        .sum()
}

fn sample(asap: &mut Asap, seed: u64, number: u64) {
    let (mut word, mut place) = (Vec::new(), Asap::ROOT);
    for at in 0..5 {
        let choices = allowed(&word);
        let known: BTreeMap<i64, f64> = asap.weights(place).collect();
        let weight = |token: &i64| known.get(token).copied().unwrap_or(0.0).exp();
        let mut target =
            uniform(seed, Stream::Sampling, &[number, at]) * choices.iter().map(weight).sum::<f64>();
        let mut drawn = choices[choices.len() - 1];
        for token in choices {
            target -= weight(token);
            if target < 0.0 {
                drawn = *token;
                break;
            }
        }
        place = asap.extend(
            place,
            drawn,
            0.5,
            Allowed { count: choices.len(), probability: 0.5 * choices.len() as f64 },
        );
        word.push(drawn);
    }
    asap.end(place);
}

pub(crate) fn section() -> Section {
    let masked = divergence(&Asap::default());
    let mut found = vec![Vec::new(); LOOKS.len()];
    for seed in 1..=SEEDS {
        let mut asap = Asap::default();
        for number in 0..LOOKS[LOOKS.len() - 1] {
            sample(&mut asap, seed, number as u64);
            if let Some(look) = LOOKS.iter().position(|look| *look == number + 1) {
                found[look].push(divergence(&asap));
            }
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let worst = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let lines: Vec<String> = LOOKS
        .iter()
        .zip(&found)
        .map(|(look, values)| {
            format!(
                "| ASAp after {look} of a prompt's samples | {:.4} | {:.4} |\n",
                mean(values),
                worst(values)
            )
        })
        .collect();
    let last = &found[LOOKS.len() - 1];
    Section {
        title: "ASAp, masked and free sampling".to_owned(),
        claim:
            "masking distorts a model's distribution over a language, and ASAp comes to it (Park et al. 2024)"
                .to_owned(),
        measured: format!("divergence {masked:.3} masked, {:.4} by ASAp (exact)", mean(last)),
        verdict: if worst(last) < 0.01 * masked { "reproduced" } else { "not reproduced" }.to_owned(),
        text: format!(
            "No model is trained for this row: the language of the specification (five fair bits; `00000` and what begins with 1 are words), all of \
             whose 17 words can be counted out. Divergence from the model's own distribution over the words, in nats, over {SEEDS} seeds. \
             Free sampling has that distribution, and 15 of 32 of its samples are no words.\n\n\
             | sampling | mean | largest |\n|---|---:|---:|\n| masked | {masked:.4} | {masked:.4} |\n{}",
            lines.concat()
        ),
    }
}
