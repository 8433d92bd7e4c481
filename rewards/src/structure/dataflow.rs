//! The data-flow graph of GraphCodeBERT (Guo et al. 2021, arXiv 2009.08366), as CodeBLEU matches it: which value comes from which.
//!
//! Rules, for the roles of [`syntax_roles`](super::syntax_roles):
//!
//! - an identifier that is read comes from the place, or places, where it last got its value;
//! - in a definition or an assignment, each variable of the left side is computed from all variables of the right side, where
//!   "variable" is any token that does not merely stand for itself: numbers and strings are parents too;
//! - the branches of an `if` begin with the same state, and the state after it is that of all of them together; without an `else`,
//!   so is the state before it;
//! - the body of a loop is followed twice.
//!
//! Tokens without parents that are no parent are dropped. Names become numbers in the order in which they appear, parents before
//! their child, so that a renamed program has the same graph. Upstream orders parents by a hash set, so that its scores differ
//! from run to run; here they are in the order of the text.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::counts::Counts;
use super::syntax_roles::{Role, Sides, alternative, sides};
use super::{Language, Node, Syntax};

/// Nodes that are visited at most: nested loops are followed twice each, so that twenty of them would take a million passes.
const MOST_VISITS: u32 = 200_000;

/// An edge of the graph with its names taken out: the variable, how it came by its value, and from which variables.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Item {
    variable: u32,
    relation: Relation,
    parents: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Relation {
    ComesFrom,
    ComputedFrom,
}

/// A token by where it begins, and its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Token<'a> {
    at: usize,
    text: &'a str,
}

#[derive(Clone, Debug)]
struct Edge<'a> {
    token: Token<'a>,
    relation: Relation,
    names: Vec<&'a str>,
    places: BTreeSet<usize>,
}

/// Where each variable may have got its value.
type State<'a> = BTreeMap<&'a str, BTreeSet<usize>>;

/// Too many visits.
struct Exhausted;

struct Graph<'a> {
    syntax: &'a Syntax,
    edges: Vec<Edge<'a>>,
    state: State<'a>,
    visits: u32,
}

/// How often each item occurs in the graph of a program.
pub(super) fn items(syntax: &Syntax) -> Option<Counts<Item>> {
    if syntax.language() == Language::Sql {
        return None;
    }
    let mut graph = Graph { syntax, edges: Vec::new(), state: State::new(), visits: 0 };
    graph.follow(syntax.root()).ok()?;
    Some(Counts::of(normalised(merged(graph.edges)).collect()))
}

fn is_leaf(node: Node<'_>) -> bool {
    node.child_count() == 0 || node.known().literal
}

impl<'a> Graph<'a> {
    fn token(&self, node: Node<'a>) -> Token<'a> {
        Token { at: node.start_byte(), text: self.syntax.text(node) }
    }

    /// The tokens below a node that stand for something other than themselves.
    fn variables(&self, node: Node<'a>, found: &mut Vec<Token<'a>>) {
        if !is_leaf(node) {
            node.children().for_each(|child| self.variables(child, found));
        } else if node.kind() != self.syntax.text(node) {
            found.push(self.token(node));
        }
    }

    fn variables_of(&self, node: Option<Node<'a>>) -> Vec<Token<'a>> {
        let mut found = Vec::new();
        if let Some(node) = node {
            self.variables(node, &mut found);
        }
        found
    }

    fn follow(&mut self, node: Node<'a>) -> Result<(), Exhausted> {
        self.visits += 1;
        if self.visits > MOST_VISITS {
            return Err(Exhausted);
        }
        if is_leaf(node) {
            self.read(node);
            return Ok(());
        }
        match node.known().role {
            Role::Definition => self.define(node),
            Role::Assignment => self.assign(node),
            Role::Update => {
                let variables = self.variables_of(Some(node));
                self.compute(&variables, &variables, Relation::ComputedFrom);
                Ok(())
            }
            Role::Branch => self.branch(node),
            Role::Iteration => self.iterate(node),
            Role::Loop => self.twice(|graph| graph.follow_children(node)),
            Role::Other => self.follow_children(node),
        }
    }

    fn follow_children(&mut self, node: Node<'a>) -> Result<(), Exhausted> {
        // The clauses of a comprehension bind what its head reads.
        let clause = |child: &Node<'_>| child.kind() == "for_in_clause";
        node.children().filter(clause).try_for_each(|child| self.follow(child))?;
        node.children().filter(|child| !clause(child)).try_for_each(|child| self.follow(child))
    }

    fn read(&mut self, node: Node<'a>) {
        let token = self.token(node);
        if node.kind() == token.text {
            return;
        }
        let known = self.state.get(token.text).cloned();
        if known.is_none() && node.kind() == "identifier" {
            self.state.insert(token.text, BTreeSet::from([token.at]));
        }
        let names = known.iter().map(|_| token.text).collect();
        let places = known.unwrap_or_default();
        self.edges.push(Edge { token, relation: Relation::ComesFrom, names, places });
    }

    /// Each of `left` from all of `right`.
    fn compute(&mut self, left: &[Token<'a>], right: &[Token<'a>], relation: Relation) {
        let names: Vec<&str> = right.iter().map(|token| token.text).collect();
        let places: BTreeSet<usize> = right.iter().map(|token| token.at).collect();
        for token in left {
            self.edges.push(Edge { token: *token, relation, names: names.clone(), places: places.clone() });
            self.state.insert(token.text, BTreeSet::from([token.at]));
        }
    }

    fn define(&mut self, node: Node<'a>) -> Result<(), Exhausted> {
        let Sides { left, right } = sides(node);
        if let Some(right) = right {
            self.follow(right)?;
        }
        let (left, right) = (self.variables_of(left), self.variables_of(right));
        self.compute(&left, &right, Relation::ComesFrom);
        Ok(())
    }

    fn assign(&mut self, node: Node<'a>) -> Result<(), Exhausted> {
        let Sides { left: Some(left), right: Some(right) } = sides(node) else {
            return Ok(());
        };
        let lists = matches!(self.syntax.language(), Language::Python | Language::Go | Language::Ruby);
        let pairwise = lists && node.kind() != "for_in_clause";
        self.assign_sides(left, right, pairwise)
    }

    fn assign_sides(&mut self, left: Node<'a>, right: Node<'a>, pairwise: bool) -> Result<(), Exhausted> {
        let parts = |node: Node<'a>| node.children().filter(|part| part.kind() != ",").collect::<Vec<_>>();
        let (mut lefts, mut rights) = (parts(left), parts(right));
        if !pairwise || lefts.len() != rights.len() || lefts.is_empty() {
            (lefts, rights) = (vec![left], vec![right]);
        }
        for right in &rights {
            self.follow(*right)?;
        }
        for (left, right) in lefts.into_iter().zip(rights) {
            let (left, right) = (self.variables_of(Some(left)), self.variables_of(Some(right)));
            self.compute(&left, &right, Relation::ComputedFrom);
        }
        Ok(())
    }

    fn branch(&mut self, node: Node<'a>) -> Result<(), Exhausted> {
        let before = self.state.clone();
        let exhaustive = node.children().any(|child| child.kind().contains("else"));
        let mut others = Vec::new();
        for child in node.children() {
            if alternative(child) {
                let main = std::mem::replace(&mut self.state, before.clone());
                self.follow(child)?;
                others.push(std::mem::replace(&mut self.state, main));
            } else {
                self.follow(child)?;
            }
        }
        others.extend((!exhaustive).then_some(before));
        for (name, places) in others.into_iter().flatten() {
            self.state.entry(name).or_default().extend(places);
        }
        Ok(())
    }

    fn iterate(&mut self, node: Node<'a>) -> Result<(), Exhausted> {
        let Sides { left: Some(left), right: Some(right) } = sides(node) else {
            return self.twice(|graph| graph.follow_children(node));
        };
        let body = node.child_by_field_name("body").filter(|body| Some(*body) == node.last_child());
        self.twice(|graph| {
            graph.assign_sides(left, right, true)?;
            body.map_or(Ok(()), |body| graph.follow(body))
        })
    }

    /// Follows a loop twice; what the second pass finds again becomes one with what the first found.
    fn twice(&mut self, mut pass: impl FnMut(&mut Self) -> Result<(), Exhausted>) -> Result<(), Exhausted> {
        let begin = self.edges.len();
        pass(self)?;
        pass(self)?;
        let found = self.edges.split_off(begin);
        self.edges.extend(merge(found, |edge| (edge.token, Some(edge.relation))));
        Ok(())
    }
}

/// Makes edges with the same key one: its parents are those of all of them, each once.
fn merge<'a, K: Ord>(edges: Vec<Edge<'a>>, key: impl Fn(&Edge<'a>) -> K) -> Vec<Edge<'a>> {
    let mut merged: Vec<Edge<'a>> = Vec::with_capacity(edges.len());
    let mut places = BTreeMap::new();
    for edge in edges {
        let at = *places.entry(key(&edge)).or_insert(merged.len());
        match merged.get_mut(at) {
            None => merged.push(edge),
            Some(known) => {
                known.places.extend(edge.places);
                known.names.extend(edge.names);
                let mut seen = BTreeSet::new();
                known.names.retain(|name| seen.insert(*name));
            }
        }
    }
    merged
}

/// The edges in the order of the text, one per token, without tokens that have no parents and are none.
fn merged(mut edges: Vec<Edge<'_>>) -> Vec<Edge<'_>> {
    edges.sort_by_key(|edge| edge.token.at);
    let mut used: BTreeSet<usize> = BTreeSet::new();
    for edge in &edges {
        if !edge.places.is_empty() {
            used.insert(edge.token.at);
        }
        used.extend(&edge.places);
    }
    edges.retain(|edge| used.contains(&edge.token.at));
    merge(edges, |edge| edge.token.at)
}

fn normalised(edges: Vec<Edge<'_>>) -> impl Iterator<Item = Item> {
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    edges.into_iter().map(move |edge| {
        let mut number = |name| {
            let next = numbers.len() as u32;
            *numbers.entry(name).or_insert(next)
        };
        let parents = edge.names.into_iter().map(&mut number).collect();
        Item { variable: number(edge.token.text), relation: edge.relation, parents }
    })
}

#[cfg(test)]
mod tests {
    use Relation::{ComesFrom, ComputedFrom};

    use super::*;

    fn items_of(text: &str) -> Vec<(Item, u32)> {
        let syntax = Syntax::parse(text, Language::Python).unwrap();
        items(&syntax).unwrap().into_list()
    }

    fn item(variable: u32, relation: Relation, parents: &[u32]) -> Item {
        Item { variable, relation, parents: parents.to_vec() }
    }

    #[test]
    fn the_graph_of_three_lines_is_that_of_the_specification() {
        let mut golden = vec![
            (item(1, ComputedFrom, &[0]), 1),
            (item(0, ComesFrom, &[]), 1),
            (item(3, ComputedFrom, &[1, 2]), 1),
            (item(1, ComesFrom, &[1]), 1),
            (item(2, ComesFrom, &[]), 1),
            (item(3, ComesFrom, &[3]), 1),
        ];
        golden.sort();
        assert_eq!(items_of("x=1\ny=x+2\nreturn y\n"), golden);
    }

    #[test]
    fn a_program_with_other_names_has_the_same_graph() {
        let program = "def f(xs, k=2):\n    total = 0\n    for x in xs:\n        if x > k:\n            total += x\n    return total\n";
        let renamed = program.replace("total", "acc").replace("xs", "items").replace("k", "limit");
        assert_eq!(items_of(program), items_of(&renamed));
        assert_ne!(items_of(program), items_of(&program.replace("return total", "return k")));
    }

    #[test]
    fn after_a_branch_a_variable_may_come_from_either_side() {
        // With the branch, the last `x` has two places but one name: the graph tells them apart by what is used.
        let one_way = items_of("x = 1\nif c:\n    x = 2\nprint(x)\n");
        let both_ways = items_of("x = 1\nif c:\n    x = 2\nelse:\n    x = 3\nprint(x)\n");
        // Without an else, `1` still reaches the end, so `x = 1` is a parent; with one it has an edge of its own either way.
        assert_ne!(one_way, both_ways);
    }

    #[test]
    fn nested_loops_end() {
        let mut program = String::new();
        for depth in 0..60 {
            program.push_str(&format!("{}for x in y:\n", " ".repeat(depth)));
        }
        program.push_str(&format!("{}x = y\n", " ".repeat(60)));
        let syntax = Syntax::parse(&program, Language::Python).unwrap();
        assert!(items(&syntax).is_none());
    }
}
