//! Which part of a step each process does.

/// Places, out of `count`, that process `rank` of `world` does, ascending: every `world`-th.
pub fn own_places(count: usize, rank: usize, world: usize) -> Vec<usize> {
    (rank..count).step_by(world.max(1)).collect()
}

/// The run of sequences whose gradient process `rank` of `world` computes: neighbours, which share prompts, and as many tokens for
/// everyone as can be had without splitting a sequence. `tokens` has the tokens of each sequence.
///
/// A sequence belongs to the process in whose share of the tokens its middle is.
pub fn own_sequences(tokens: &[usize], rank: usize, world: usize) -> std::ops::Range<usize> {
    // Twice the tokens, so that middles are whole.
    let total: usize = 2 * tokens.iter().sum::<usize>();
    let world = world.max(1);
    let mut before = 0;
    let owners: Vec<usize> = tokens
        .iter()
        .map(|count| {
            let middle = before + count;
            before += 2 * count;
            (middle * world / total.max(1)).min(world - 1)
        })
        .collect();
    let start = owners.partition_point(|owner| *owner < rank);
    let end = owners.partition_point(|owner| *owner <= rank);
    start..end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shares_are_whole_and_apart(
            tokens in proptest::collection::vec(0usize..200, 0..40),
            world in 1usize..9,
        ) {
            let mut next = 0;
            for rank in 0..world {
                let own = own_sequences(&tokens, rank, world);
                prop_assert_eq!(own.start, next);
                next = own.end;
                let (sum, longest) = (tokens.iter().sum::<usize>(), tokens.iter().max().copied().unwrap_or(0));
                prop_assert!(tokens[own].iter().sum::<usize>() <= sum / world + longest + 1);
            }
            prop_assert_eq!(next, tokens.len());
            let mut places: Vec<usize> =
                (0..world).flat_map(|rank| own_places(tokens.len(), rank, world)).collect();
            places.sort_unstable();
            prop_assert_eq!(places, (0..tokens.len()).collect::<Vec<_>>());
        }
    }
}
