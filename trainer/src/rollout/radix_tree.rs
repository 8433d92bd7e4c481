//! A radix tree over token sequences, each stretch of which has a value (RadixAttention: Zheng et al. 2024, arXiv:2312.07104).

use std::collections::BTreeMap;
use std::ops::Range;

/// What is kept for a stretch of tokens, one part per token.
pub(super) trait Stretch {
    /// The parts of the tokens `range`; may share memory with the whole.
    fn view(&self, range: Range<usize>) -> Self;

    /// The parts of the tokens `range`, in memory of their own.
    fn cut(&self, range: Range<usize>) -> Self;
}

/// Sequences that begin alike share what they have in common.
///
/// At most a given number of tokens is kept. Where more come, the ends of the sequences that were longest not looked at go
/// first, so that what is left of a sequence is always a beginning of it.
pub(super) struct RadixTree<S> {
    /// The root is the first; places of removed nodes are empty.
    nodes: Vec<Option<Node<S>>>,
    free: Vec<usize>,
    tokens: usize,
    most: usize,
    /// Goes up by one whenever the tree is looked at.
    clock: u64,
}

struct Node<S> {
    /// The tokens from the parent to here; none for the root alone.
    tokens: Vec<i64>,
    /// Theirs; `None` for the root alone.
    stretch: Option<S>,
    /// By their first tokens.
    children: BTreeMap<i64, usize>,
    parent: usize,
    /// When it was last looked at. Never later than its parent.
    used: u64,
}

const ROOT: usize = 0;

/// Where a sequence leaves the tree.
struct Place {
    /// Nodes from below the root, the last of which may be left in its middle.
    path: Vec<usize>,
    /// Tokens of the last node that the sequence has.
    within: usize,
    /// Tokens that the sequence has in the tree.
    length: usize,
}

impl<S: Stretch> RadixTree<S> {
    /// An empty tree for at most `most` tokens.
    pub(super) fn new(most: usize) -> RadixTree<S> {
        let root =
            Node { tokens: Vec::new(), stretch: None, children: BTreeMap::new(), parent: ROOT, used: 0 };
        RadixTree { nodes: vec![Some(root)], free: Vec::new(), tokens: 0, most, clock: 0 }
    }

    /// Tokens that are kept.
    #[cfg(test)]
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Changes how many tokens may be kept.
    pub(super) fn set_most(&mut self, most: usize) {
        self.most = most;
        self.make_room(0);
    }

    /// The longest beginning of `tokens` that is kept: the stretches that make it up, and its length.
    pub(super) fn longest_beginning(&mut self, tokens: &[i64]) -> (Vec<S>, usize) {
        let Place { path, within, length } = self.find(tokens);
        let last = path.len().saturating_sub(1);
        let stretches = path.iter().enumerate().map(|(index, node)| {
            let node = self.node(*node);
            let end = if index == last { within } else { node.tokens.len() };
            node.stretch.as_ref().expect("only the root has no stretch").view(0..end)
        });
        (stretches.collect(), length)
    }

    /// Keeps `tokens`. What of them is not there already is asked for: `stretch(n)` is that of `tokens[n..]`. A sequence that is
    /// longer than the tree may be is not kept.
    pub(super) fn insert(&mut self, tokens: &[i64], stretch: impl FnOnce(usize) -> S) {
        if tokens.len() > self.most {
            return;
        }
        let Place { path, within, length } = self.find(tokens);
        let rest = &tokens[length..];
        let Some(first) = rest.first() else { return };
        let mut parent = path.last().copied().unwrap_or(ROOT);
        if within < self.node(parent).tokens.len() {
            parent = self.split(parent, within);
        }
        // Everything on the way was looked at just now, and goes last: by then, all of the sequence has room.
        self.make_room(rest.len());
        let node = Node {
            tokens: rest.to_vec(),
            stretch: Some(stretch(length)),
            children: BTreeMap::new(),
            parent,
            used: self.clock,
        };
        self.tokens += rest.len();
        let place = self.add(node);
        self.node_mut(parent).children.insert(*first, place);
    }

    /// Follows `tokens` from the root and notes that all on the way was looked at.
    fn find(&mut self, tokens: &[i64]) -> Place {
        self.clock += 1;
        let clock = self.clock;
        let mut place = Place { path: Vec::new(), within: 0, length: 0 };
        let mut node = ROOT;
        while let Some(&child) = tokens.get(place.length).and_then(|next| self.node(node).children.get(next))
        {
            let rest = &tokens[place.length..];
            let reached = self.node_mut(child);
            reached.used = clock;
            let common = reached.tokens.iter().zip(rest).take_while(|(one, other)| one == other).count();
            place.path.push(child);
            place.within = common;
            place.length += common;
            if common < reached.tokens.len() {
                break;
            }
            node = child;
        }
        place
    }

    /// Divides a node behind its first `at` tokens; returns the new node, which has these.
    fn split(&mut self, lower: usize, at: usize) -> usize {
        let Node { tokens, stretch, parent, used, .. } = self.node_mut(lower);
        let rest = tokens.split_off(at);
        let (first, next) = (tokens[0], rest[0]);
        let head = std::mem::replace(tokens, rest);
        let whole = stretch.take().expect("only the root has no stretch");
        *stretch = Some(whole.cut(at..at + tokens.len()));
        let node = Node {
            tokens: head,
            stretch: Some(whole.cut(0..at)),
            children: BTreeMap::from([(next, lower)]),
            parent: *parent,
            used: *used,
        };
        let above = *parent;
        let upper = self.add(node);
        self.node_mut(lower).parent = upper;
        self.node_mut(above).children.insert(first, upper);
        upper
    }

    /// Removes leaves, those first that were longest not looked at, until `coming` more tokens have room.
    fn make_room(&mut self, coming: usize) {
        while self.tokens > 0 && self.tokens + coming > self.most {
            // A look at every node, which costs little beside the keys and values that go.
            let leaves = self.nodes.iter().enumerate().skip(1);
            let leaves = leaves.filter_map(|(place, node)| Some((place, node.as_ref()?)));
            let leaves = leaves.filter(|(_, node)| node.children.is_empty());
            let (place, _) =
                leaves.min_by_key(|(place, node)| (node.used, *place)).expect("a tree has a leaf");
            let leaf = self.nodes[place].take().expect("it was found");
            self.free.push(place);
            self.tokens -= leaf.tokens.len();
            self.node_mut(leaf.parent).children.remove(&leaf.tokens[0]);
        }
    }

    fn add(&mut self, node: Node<S>) -> usize {
        if let Some(place) = self.free.pop() {
            self.nodes[place] = Some(node);
            return place;
        }
        self.nodes.push(Some(node));
        self.nodes.len() - 1
    }

    fn node(&self, place: usize) -> &Node<S> {
        self.nodes[place].as_ref().expect("places of removed nodes are not kept")
    }

    fn node_mut(&mut self, place: usize) -> &mut Node<S> {
        self.nodes[place].as_mut().expect("places of removed nodes are not kept")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stretch that knows the tokens it is of.
    impl Stretch for Vec<i64> {
        fn view(&self, range: Range<usize>) -> Vec<i64> {
            self.cut(range)
        }

        fn cut(&self, range: Range<usize>) -> Vec<i64> {
            self[range].to_vec()
        }
    }

    fn insert(tree: &mut RadixTree<Vec<i64>>, tokens: &[i64]) {
        tree.insert(tokens, |from| tokens[from..].to_vec());
    }

    fn kept(tree: &mut RadixTree<Vec<i64>>, tokens: &[i64]) -> usize {
        let (stretches, length) = tree.longest_beginning(tokens);
        assert_eq!(stretches.concat(), tokens[..length], "the stretches are not those of the tokens");
        length
    }

    /// What holds of every tree.
    fn check(tree: &RadixTree<Vec<i64>>) {
        let nodes =
            || tree.nodes.iter().enumerate().filter_map(|(place, node)| Some((place, node.as_ref()?)));
        assert_eq!(nodes().map(|(_, node)| node.tokens.len()).sum::<usize>(), tree.tokens);
        assert!(tree.tokens <= tree.most);
        for (place, node) in nodes().skip(1) {
            assert!(!node.tokens.is_empty());
            assert_eq!(node.stretch.as_ref(), Some(&node.tokens));
            assert_eq!(tree.node(node.parent).children[&node.tokens[0]], place);
            assert!(node.parent == ROOT || tree.node(node.parent).used >= node.used);
        }
        assert_eq!(nodes().map(|(_, node)| node.children.len()).sum::<usize>(), nodes().count() - 1);
    }

    #[test]
    fn what_was_longest_not_looked_at_goes_first_from_its_end() {
        let mut tree = RadixTree::new(7);
        insert(&mut tree, &[1, 2, 3]);
        insert(&mut tree, &[1, 2, 4, 5]);
        insert(&mut tree, &[9]);
        assert_eq!(tree.tokens(), 6);
        assert_eq!(kept(&mut tree, &[1, 2, 3]), 3);
        // Two more have to go: `4 5`, and not what was looked at since, nor what both begin with.
        insert(&mut tree, &[8, 8]);
        assert_eq!(kept(&mut tree, &[1, 2, 4, 5]), 2);
        assert_eq!((kept(&mut tree, &[9]), kept(&mut tree, &[8, 8])), (1, 2));
        assert_eq!(kept(&mut tree, &[1, 2, 3]), 3);
        tree.set_most(3);
        assert_eq!((kept(&mut tree, &[1, 2, 3]), tree.tokens()), (3, 3));
        insert(&mut tree, &[7; 4]);
        assert_eq!((kept(&mut tree, &[7; 4]), tree.tokens()), (0, 3));
        tree.set_most(0);
        assert_eq!((kept(&mut tree, &[1, 2, 3]), tree.tokens()), (0, 0));
    }

    fn sequences() -> impl Strategy<Value = Vec<Vec<i64>>> {
        prop::collection::vec(prop::collection::vec(0i64..3, 1..9), 1..12)
    }

    proptest! {
        #[test]
        fn the_longest_beginning_is_that_of_a_comparison_with_every_sequence(
            known in sequences(), asked in sequences(),
        ) {
            let mut tree = RadixTree::new(usize::MAX / 2);
            for tokens in &known {
                insert(&mut tree, tokens);
                check(&tree);
            }
            for tokens in known.iter().chain(&asked) {
                let common = |other: &Vec<i64>| other.iter().zip(tokens).take_while(|(a, b)| a == b).count();
                let naive = known.iter().map(common).max().unwrap_or(0);
                prop_assert_eq!(kept(&mut tree, tokens), naive);
            }
        }

        #[test]
        fn a_full_tree_keeps_beginnings_and_what_came_last(known in sequences(), most in 0usize..20) {
            let mut tree = RadixTree::new(most);
            for (count, tokens) in (1..).zip(&known) {
                insert(&mut tree, tokens);
                check(&tree);
                if tokens.len() <= most {
                    prop_assert_eq!(kept(&mut tree, tokens), tokens.len());
                }
                for earlier in &known[..count] {
                    prop_assert!(kept(&mut tree, earlier) <= earlier.len());
                }
            }
        }
    }
}
