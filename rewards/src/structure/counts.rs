//! How often each of some things occurs.

/// Things and how often each occurs, in the order of the things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counts<T>(Vec<(T, u32)>);

impl<T: Ord> Counts<T> {
    pub(super) fn of(mut things: Vec<T>) -> Self {
        things.sort_unstable();
        let mut counts: Vec<(T, u32)> = Vec::with_capacity(things.len());
        for thing in things {
            match counts.last_mut() {
                Some((known, count)) if *known == thing => *count += 1,
                _ => counts.push((thing, 1)),
            }
        }
        Self(counts)
    }

    /// How many there are, each as often as it occurs.
    pub(super) fn total(&self) -> u32 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Each thing and how often it occurs.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&T, u32)> {
        self.0.iter().map(|(thing, count)| (thing, *count))
    }

    /// For each thing that occurs in both: how often here, and how often there.
    pub(super) fn common<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (u32, u32)> + 'a {
        self.both(other).map(|(_, here, there)| (here, there))
    }

    /// Each thing that occurs in both, and how often at least in either.
    pub(super) fn least<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a T, u32)> + 'a {
        self.both(other).map(|(thing, here, there)| (thing, here.min(there)))
    }

    fn both<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a T, u32, u32)> + 'a {
        let mut rest = other.0.iter().peekable();
        self.0.iter().filter_map(move |(thing, here)| {
            while rest.next_if(|(there, _)| there < thing).is_some() {}
            rest.next_if(|(there, _)| there == thing).map(|(_, there)| (thing, *here, *there))
        })
    }

    #[cfg(test)]
    pub(super) fn into_list(self) -> Vec<(T, u32)> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_common_is_there_on_both_sides(
            first in proptest::collection::vec(0..9_u32, 0..20), second in proptest::collection::vec(0..9_u32, 0..20),
        ) {
            let times = |list: &[u32], thing| list.iter().filter(|there| **there == thing).count() as u32;
            let counts = Counts::of(first.clone());
            prop_assert_eq!(counts.total() as usize, first.len());
            let wanted: Vec<(u32, u32)> = (0..9)
                .map(|thing| (times(&first, thing), times(&second, thing)))
                .filter(|(here, there)| *here > 0 && *there > 0)
                .collect();
            prop_assert_eq!(counts.common(&Counts::of(second)).collect::<Vec<_>>(), wanted);
        }
    }
}
