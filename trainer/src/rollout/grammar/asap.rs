//! Adaptive sampling with approximate expected futures: ASAp (Park et al. 2024, arXiv:2405.21047).

use std::collections::BTreeMap;

/// How much of what follows each prefix leads to a word, as far as the samples of one prompt have shown.
///
/// ```text
/// q(prefix) = sum over allowed tokens t of p(t | prefix) q(prefix t)
/// ```
///
/// with `q = 1` where nothing was sampled yet, so that `q` never increases, is never too small, and is exact where everything was
/// seen. Tokens are drawn in proportion to `p(t | prefix) q(prefix t)`. `p` is the model's, so the tree goes when the weights change.
#[derive(Clone, Debug)]
pub struct Asap {
    nodes: Vec<Node>,
}

/// A prefix in an [`Asap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(usize);

/// The tokens that a grammar allows behind a prefix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowed {
    /// How many they are.
    pub count: usize,
    /// Their probability together, as the model has it.
    pub probability: f64,
}

#[derive(Clone, Debug)]
struct Node {
    /// What the grammar allows, once it is known.
    allowed: Option<Allowed>,
    /// What was sampled here: probability, and where it leads.
    children: BTreeMap<i64, (f64, usize)>,
    parent: Option<usize>,
    success: f64,
}

impl Node {
    fn new(parent: Option<usize>) -> Node {
        Node { allowed: None, children: BTreeMap::new(), parent, success: 1.0 }
    }
}

impl Default for Asap {
    fn default() -> Asap {
        Asap { nodes: vec![Node::new(None)] }
    }
}

impl Asap {
    /// The empty prefix.
    pub const ROOT: Place = Place(0);

    /// How much of what follows a prefix is expected to lead to a word.
    pub fn success(&self, place: Place) -> f64 {
        self.nodes[place.0].success
    }

    /// Tokens that were sampled at a prefix, and the logarithm of what is expected behind each: what is added to their
    /// log-probabilities. Minus infinity where nothing behind it can be a word.
    pub fn weights(&self, place: Place) -> impl Iterator<Item = (i64, f64)> {
        let children = self.nodes[place.0].children.iter();
        children.map(|(token, (_, child))| (*token, self.nodes[*child].success.ln()))
    }

    /// Goes on by a token of probability `probability` that was drawn at `place`; returns where it leads.
    pub fn extend(&mut self, place: Place, token: i64, probability: f64, allowed: Allowed) -> Place {
        let next = self.nodes.len();
        let node = &mut self.nodes[place.0];
        node.allowed.get_or_insert(allowed);
        let (_, child) = *node.children.entry(token).or_insert((probability, next));
        if child == next {
            self.nodes.push(Node::new(Some(place.0)));
        }
        Place(child)
    }

    /// Takes over what a sample that ended at `place` has shown.
    pub fn end(&mut self, place: Place) {
        let mut next = Some(place.0);
        while let Some(index) = next {
            if let Some(allowed) = self.nodes[index].allowed {
                self.nodes[index].success = self.expected(index, allowed);
            }
            next = self.nodes[index].parent;
        }
    }
}

impl Asap {
    /// What the children of a node come to. The rest of what is allowed is nothing where every token was seen, which rounding must not
    /// hide: what is behind them can be smaller than the last bit of their sum.
    fn expected(&self, index: usize, allowed: Allowed) -> f64 {
        let children = &self.nodes[index].children;
        let seen: f64 = children.values().map(|(p, _)| p).sum();
        let rest = if children.len() < allowed.count { (allowed.probability - seen).max(0.0) } else { 0.0 };
        let known: f64 = children.values().map(|(p, child)| p * self.nodes[*child].success).sum();
        (known + rest).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stream, uniform};

    /// Five fair bits, of which `00000` and everything that begins with 1 is a word.
    fn allowed(prefix: &[i64]) -> &'static [i64] {
        match prefix {
            [] | [1, ..] => &[0, 1],
            _ => &[0],
        }
    }

    /// Draws one word, and returns the probability that it had.
    fn draw(asap: &mut Asap, sample: u64) -> (Vec<i64>, f64) {
        let (mut word, mut place, mut probability) = (Vec::new(), Asap::ROOT, 1.0);
        for bit in 0..5 {
            let choices = allowed(&word);
            let known: BTreeMap<i64, f64> = asap.weights(place).collect();
            let weight = |token: &i64| 0.5 * known.get(token).copied().unwrap_or(0.0).exp();
            let total: f64 = choices.iter().map(weight).sum();
            let mut target = uniform(0, Stream::Sampling, &[sample, bit]) * total;
            let mut drawn = choices[choices.len() - 1];
            for token in choices {
                target -= weight(token);
                if target < 0.0 {
                    drawn = *token;
                    break;
                }
            }
            probability *= weight(&drawn) / total;
            let allowed = Allowed { count: choices.len(), probability: 0.5 * choices.len() as f64 };
            place = asap.extend(place, drawn, 0.5, allowed);
            word.push(drawn);
        }
        asap.end(place);
        (word, probability)
    }

    /// What the tree says of the word `00000` now.
    fn of_zeros(asap: &Asap) -> f64 {
        let zero = asap.weights(Asap::ROOT).find(|(token, _)| *token == 0).map_or(1.0, |(_, log)| log.exp());
        0.5 * zero / (0.5 * zero + 0.5)
    }

    /// The toy of the specification: masking gives `00000` a half, the model's own distribution over the language a 17th.
    #[test]
    fn the_zeros_come_as_often_as_the_model_says_once_they_were_seen() {
        let mut asap = Asap::default();
        assert_eq!(of_zeros(&asap), 0.5);
        let mut seen = false;
        for sample in 0..100 {
            let (word, _) = draw(&mut asap, sample);
            seen |= word == [0; 5];
            assert!((of_zeros(&asap) - if seen { 1.0 / 17.0 } else { 0.5 }).abs() < 1e-12);
        }
        assert!(seen);
        assert!((asap.success(Asap::ROOT) - 17.0 / 32.0).abs() < 1e-12, "{}", asap.success(Asap::ROOT));
    }

    #[test]
    fn the_probability_of_a_word_is_that_of_the_language_in_the_end() {
        let mut asap = Asap::default();
        for sample in 0..500 {
            draw(&mut asap, sample);
        }
        for sample in 500..520 {
            let (word, probability) = draw(&mut asap, sample);
            assert!((probability - 1.0 / 17.0).abs() < 1e-9, "{word:?}: {probability}");
        }
    }

    #[test]
    fn a_prefix_behind_which_nothing_is_a_word_is_not_drawn_again() {
        let mut asap = Asap::default();
        let dead = asap.extend(Asap::ROOT, 3, 0.25, Allowed { count: 2, probability: 1.0 });
        let end = asap.extend(dead, 4, 0.0, Allowed { count: 1, probability: 0.0 });
        asap.end(end);
        assert_eq!(asap.weights(Asap::ROOT).collect::<Vec<_>>(), [(3, f64::NEG_INFINITY)]);
        assert_eq!(asap.success(Asap::ROOT), 0.75);
    }
}
