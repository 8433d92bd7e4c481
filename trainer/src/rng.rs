//! Counter-based randomness: a draw is a function of what it is for, not of what was drawn before.
//!
//! There is no generator and no state, so a resumed run, another batch size or another thread count draws the same
//! numbers.

/// What a random number is for. Streams never share draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Stream {
    /// The order of training tasks; counters: epoch, place.
    TaskOrder = 1,
    /// Tokens of rollouts; counters: step, task, sample, token.
    Sampling = 2,
    /// Tokens of evaluations; counters: step, task, sample, token.
    Evaluation = 3,
    /// Bootstrap resamples; counters: number of the draw.
    Bootstrap = 4,
    /// The order of groups in the optimizer steps of a rollout; counters: step, epoch, group.
    MiniBatches = 5,
    /// First values of adapters; counters: place of the module, place of the number.
    Adapter = 6,
    /// What dropout leaves out; counters: update, place of the matrix. Tokens and columns are mixed in on the device.
    Dropout = 7,
    /// Whether a curriculum takes a task; counters: place in the walk over tasks.
    Curriculum = 8,
    /// The order of examples in a fine-tuning; counters: step, epoch, example.
    Examples = 30,
    /// Pairs of a right and a wrong program that a verifier compares; counters: update, task, number of the pair.
    VerifierPairs = 20,
    /// First values of a verifier's head; counters: place of the tensor, place of the number.
    VerifierHead = 21,
    /// Which tasks a verifier is measured on; counters: name of the task, hashed.
    VerifierSplit = 22,
    /// The order in which a verifier reads logged tasks; counters: epoch, place.
    VerifierOrder = 23,
    /// Tokens of an evaluation's critical sampling; counters: step, task, sample, token.
    CriticalSampling = 24,
    /// Tokens of an evaluation's best of n; counters: step, task, sample, token, turns end to end.
    BestOfN = 25,
    /// Which differences change their sign in a permutation test; counters: number of the permutation, task.
    SignFlips = 26,
    /// Tokens of an evaluation's searches with a budget; counters: step, task, number of what is written for the task, token. All
    /// searches have these in common, so that the first programs of one are those of the others.
    SearchTokens = 27,
    /// What such a search chooses; counters: step, task, which search, number of the draw.
    SearchChoice = 28,
    /// Which changes are made to a task's results; counters: content of the task, number of the draw.
    TaskVariants = 40,
    /// Whether a task is one to train on; counters: content of the task.
    TaskSplit = 41,
    /// Which statements are taken out of a program that is taught as insertions; counters: tasks drawn so far, place in the step, number of
    /// the draw.
    EditSequence = 43,
    /// What toy tasks are made of; counters: number of the draw, number of the choice.
    GeneratedTasks = 42,
    /// Tokens of requests to `rltrain serve`; counters: 0, prompt, sample, token.
    Serving = 60,
    /// Seeds that are sent to rollout servers; counters: family of the request's own draws, step, task, sample, token.
    ServerSeed = 61,
}

/// A number in `[0, 1)` with 53 random bits, a function of its arguments alone.
///
/// The first 64 bits of the BLAKE3 hash of seed, stream and counters (little-endian): a hash whose output is
/// indistinguishable from random needs no further statistical argument, and at 0.1 µs a draw it costs nothing beside a
/// token's forward pass.
pub fn uniform(seed: u64, stream: Stream, counters: &[u64]) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(&(stream as u64).to_le_bytes());
    for counter in counters {
        hasher.update(&counter.to_le_bytes());
    }
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    (u64::from_le_bytes(first) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A changed draw changes every run that anybody wants to repeat: these bits are part of the format.
    #[test]
    fn the_numbers_never_change() {
        assert_eq!(uniform(1, Stream::Sampling, &[0, 0, 0, 0]).to_bits(), 0x3fef_3d61_02f7_ea3b);
    }

    #[test]
    fn the_mean_and_the_deciles_are_those_of_a_uniform_number() {
        let draws: Vec<f64> = (0..20_000).map(|n| uniform(7, Stream::TaskOrder, &[n])).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((mean - 0.5).abs() < 0.01, "mean {mean}");
        for decile in 0..10 {
            let (low, high) = (f64::from(decile) / 10.0, f64::from(decile + 1) / 10.0);
            let share = draws.iter().filter(|u| (low..high).contains(u)).count() as f64 / draws.len() as f64;
            assert!((share - 0.1).abs() < 0.01, "decile {decile}: {share}");
        }
    }

    proptest! {
        #[test]
        fn draws_are_in_the_half_open_interval_and_repeatable(seed: u64, counters in prop::collection::vec(any::<u64>(), 0..5)) {
            let draw = uniform(seed, Stream::Evaluation, &counters);
            prop_assert!((0.0..1.0).contains(&draw));
            prop_assert_eq!(draw, uniform(seed, Stream::Evaluation, &counters));
            prop_assert_ne!(draw, uniform(seed, Stream::Sampling, &counters));
        }
    }
}
