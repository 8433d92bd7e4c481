//! Clusters of bags by cosine, and the bag in the middle of each.

use std::collections::BTreeMap;

/// How often each thing occurs.
pub type Bag = BTreeMap<u64, f64>;

/// Rounds after which the clusters are taken as they are. Spherical k-means ends by itself, as a rule within ten.
const MOST_ROUNDS: usize = 50;

/// The places of at most `k` bags: those that are nearest to the centres of as many clusters, by cosine, in the order of the places.
/// Equal bags are one cluster. `uniform` gives numbers in `[0, 1)`.
///
/// Spherical k-means (Dhillon and Modha 2001) from seeds that lie apart (k-means++, Arthur and Vassilvitskii 2007, with `1 - cosine` as the
/// squared distance). Among equals the first counts.
pub fn representatives(bags: &[Bag], k: usize, uniform: &mut dyn FnMut() -> f64) -> Vec<usize> {
    let bags: Vec<Bag> = bags.iter().map(unit).collect();
    let mut centres = seeds(&bags, k, uniform);
    let mut of_bag = Vec::new();
    for _ in 0..MOST_ROUNDS {
        let nearest: Vec<usize> = bags.iter().map(|bag| nearest(bag, &centres)).collect();
        if nearest == of_bag {
            break;
        }
        of_bag = nearest;
        for (place, centre) in centres.iter_mut().enumerate() {
            let members = of_bag.iter().zip(&bags).filter(|(cluster, _)| **cluster == place);
            let mut sum = Bag::new();
            for (thing, count) in members.flat_map(|(_, bag)| bag) {
                *sum.entry(*thing).or_default() += count;
            }
            if !sum.is_empty() {
                *centre = unit(&sum);
            }
        }
    }
    let middle = |cluster: usize| {
        let members = (0..bags.len()).filter(|place| of_bag[*place] == cluster);
        let near = members.map(|place| (place, cosine(&bags[place], &centres[cluster])));
        near.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(place, _)| place)
    };
    let mut found: Vec<usize> = (0..centres.len()).filter_map(middle).collect();
    found.sort_unstable();
    found
}

/// At most `k` bags that differ: the first at random, each other one with a probability that grows with the squared distance from the
/// nearest so far.
fn seeds(bags: &[Bag], k: usize, uniform: &mut dyn FnMut() -> f64) -> Vec<Bag> {
    let mut seeds: Vec<Bag> = Vec::new();
    let mut weights = vec![1.0; bags.len()];
    while seeds.len() < k {
        let total: f64 = weights.iter().sum();
        // Rounding leaves something of equal bags.
        if total <= 1e-9 {
            break;
        }
        let mut left = uniform() * total;
        let drawn = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        let likely = |place: &usize| weights[*place] > 1e-12;
        let drawn = drawn.filter(likely).or_else(|| (0..bags.len()).rfind(likely));
        let Some(drawn) = drawn else { break };
        seeds.push(bags[drawn].clone());
        for (weight, bag) in weights.iter_mut().zip(bags) {
            *weight = weight.min((1.0 - cosine(bag, &bags[drawn])).max(0.0));
        }
        weights[drawn] = 0.0;
    }
    seeds
}

/// The place of the centre with the highest cosine.
fn nearest(bag: &Bag, centres: &[Bag]) -> usize {
    let near = centres.iter().map(|centre| cosine(bag, centre)).enumerate();
    near.reduce(|best, next| if next.1 > best.1 { next } else { best }).map_or(0, |(place, _)| place)
}

/// The bag with length 1; an empty one stays so.
fn unit(bag: &Bag) -> Bag {
    let length = inner_product(bag, bag).sqrt();
    bag.iter().filter(|_| length > 0.0).map(|(thing, count)| (*thing, count / length)).collect()
}

/// The cosine of bags of length 1. Empty ones are alike.
fn cosine(one: &Bag, other: &Bag) -> f64 {
    if one.is_empty() && other.is_empty() { 1.0 } else { inner_product(one, other) }
}

fn inner_product(one: &Bag, other: &Bag) -> f64 {
    let (few, many) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    few.iter().filter_map(|(thing, count)| Some(count * many.get(thing)?)).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::rng::{Stream, uniform};

    fn found(bags: &[Bag], k: usize, seed: u64) -> Vec<usize> {
        let mut drawn = 0;
        representatives(bags, k, &mut || {
            drawn += 1;
            uniform(seed, Stream::SearchChoice, &[drawn])
        })
    }

    fn bag(counts: &[(u64, f64)]) -> Bag {
        counts.iter().copied().collect()
    }

    #[test]
    fn clusters_that_lie_apart_are_found_with_the_bag_in_their_middle() {
        let bags = [
            bag(&[(1, 1.0), (2, 0.2)]),
            bag(&[(1, 1.0)]),
            bag(&[(1, 1.0), (3, 0.2)]),
            bag(&[(7, 2.0), (8, 0.5)]),
            bag(&[(7, 1.0), (8, 0.1)]),
            bag(&[(7, 1.0)]),
        ];
        for seed in 0..20 {
            assert_eq!(found(&bags, 2, seed), [1, 4], "seed {seed}");
        }
    }

    fn bags() -> impl Strategy<Value = Vec<Bag>> {
        let bag = prop::collection::btree_map(0..6u64, (1..4u32).prop_map(f64::from), 0..4);
        prop::collection::vec(bag, 0..12)
    }

    proptest! {
        #[test]
        fn there_are_never_more_than_were_asked_for_nor_equal_ones(bags in bags(), k in 0..6usize, seed: u64) {
            let places = found(&bags, k, seed);
            prop_assert!(places.len() <= k && places.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(places.iter().all(|place| *place < bags.len()));
            prop_assert_eq!(places.is_empty(), bags.is_empty() || k == 0);
            prop_assert_eq!(&places, &found(&bags, k, seed), "the same again");
        }

        #[test]
        fn as_many_clusters_as_there_are_different_bags_have_one_each(bags in bags(), seed: u64) {
            // What differs in length alone has the same direction.
            let direction = |bag: &Bag| {
                unit(bag).into_iter().map(|(thing, count)| (thing, (count * 1e9).round() as i64)).collect::<Vec<_>>()
            };
            let different: BTreeSet<_> = bags.iter().map(direction).collect();
            let places = found(&bags, bags.len(), seed);
            let represented: BTreeSet<_> = places.iter().map(|place| direction(&bags[*place])).collect();
            prop_assert_eq!(represented, different);
        }
    }
}
