//! The list of what is wrong with a recipe, and the places in its text.

use std::collections::BTreeSet;
use std::ops::Range;

use miette::NamedSource;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::layers::Layers;
use super::{InvalidRecipe, Problem, RecipeError, schema};

/// Collects the problems of one recipe. Keys are dotted paths, such as `rollout.stop`. Places are bytes among all texts of the recipe.
pub(super) struct Problems<'i> {
    layers: &'i Layers,
    /// The texts as one tree, in which every key and value knows its bytes.
    pub(super) table: DeTable<'i>,
    found: Vec<Problem>,
    /// Keys that a problem was already reported of; nothing more is said about them.
    reported: BTreeSet<String>,
}

type Entry<'a, 'i> = (&'a Spanned<DeString<'i>>, &'a Spanned<DeValue<'i>>);

impl<'i> Problems<'i> {
    /// Merges the texts; what is no TOML in them is the first problem.
    pub(super) fn new(layers: &'i Layers) -> Problems<'i> {
        let (table, found) = layers.merged();
        Problems { layers, table, found, reported: BTreeSet::new() }
    }

    /// The text that has `place`; what is before it among all texts is line feeds.
    pub(super) fn text_at(&self, place: &Range<usize>) -> &'i str {
        self.layers.padded_at(place)
    }

    /// Bytes of all texts.
    pub(super) fn length(&self) -> usize {
        self.layers.length()
    }

    /// Whether nothing was found so far.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Reports a problem with `key` at `place`, unless it has one already.
    pub(super) fn report(
        &mut self,
        key: &str,
        place: Option<Range<usize>>,
        message: String,
        help: Option<String>,
    ) {
        if !self.is_reported(key) {
            self.found.push(Problem { message, help, place, text: None });
            self.reported.insert(key.to_owned());
        }
    }

    /// Reports `message` unless `holds`, pointing at the first of `keys` that the text has.
    ///
    /// Silent if one of the keys has a problem already: its value is then not what the user wants. Returns
    /// whether the condition can be relied on.
    pub(super) fn require(
        &mut self,
        holds: bool,
        keys: &[&str],
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> bool {
        if keys.iter().any(|key| self.is_reported(key)) {
            return false;
        }
        if !holds {
            let place = keys.iter().find_map(|key| self.value_of(key).map(Spanned::span));
            let place = place.or_else(|| self.section_of(keys[0]));
            self.report(keys[0], place, message.into(), Some(help.into()));
        }
        holds
    }

    /// As [`Problems::require`] of one key, with its page of the manual as the help.
    pub(super) fn require_value(
        &mut self,
        holds: bool,
        key: &str,
        found: impl std::fmt::Display,
        wanted: &str,
    ) -> bool {
        let message = format!("`{key}` is {found}, wanted {wanted}");
        self.require(holds, &[key], message, schema::description(key).unwrap_or_default())
    }

    /// Whether `key`, a section that it is in, or something in it has a problem already.
    fn is_reported(&self, key: &str) -> bool {
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.reported.iter().any(|reported| within(reported, key) || within(key, reported))
    }

    /// The value of `key` in the text.
    pub(super) fn value_of(&self, key: &str) -> Option<&Spanned<DeValue<'i>>> {
        entry(&self.table, key).map(|(_, value)| value)
    }

    /// The bytes of the innermost section of `key` that the text has; `None` for the top of the file.
    pub(super) fn section_of(&self, key: &str) -> Option<Range<usize>> {
        let mut section = key;
        while let Some((outer, _)) = section.rsplit_once('.') {
            if let Some((name, value)) = entry(&self.table, outer) {
                // A section made of dotted keys alone has no bytes of its own.
                return Some(if value.span().is_empty() { name.span() } else { value.span() });
            }
            section = outer;
        }
        None
    }

    /// The innermost key whose bytes include `place`, with the sections that lead to it.
    pub(super) fn path_at(&self, place: &Range<usize>) -> Option<Vec<String>> {
        path_at(&self.table, place)
    }

    /// The recipe if nothing was found, else what was found, in the order of the texts.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, RecipeError> {
        self.found.sort_by_key(|problem| problem.place.as_ref().map(|place| place.start));
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => {
                let (first, text) = self.layers.first();
                for problem in &mut self.found {
                    let Some(place) = &problem.place else { continue };
                    let (name, text, local) = self.layers.text_at(place);
                    if name != first {
                        problem.text = Some(NamedSource::new(name, text.to_owned()));
                    }
                    problem.place = Some(local);
                }
                let text = NamedSource::new(first, text.to_owned());
                Err(Box::new(InvalidRecipe { text, problems: self.found }).into())
            }
        }
    }
}

fn entry<'a, 'i>(table: &'a DeTable<'i>, key: &str) -> Option<Entry<'a, 'i>> {
    match key.split_once('.') {
        None => table.get_key_value(key),
        Some((section, rest)) => entry(table.get(section)?.get_ref().as_table()?, rest),
    }
}

fn path_at(table: &DeTable<'_>, place: &Range<usize>) -> Option<Vec<String>> {
    table.iter().find_map(|(key, value)| {
        let inner = value.get_ref().as_table().and_then(|table| path_at(table, place));
        let here = || [key.span(), value.span()].iter().any(|span| includes(span, place)).then(Vec::new);
        let mut path = inner.or_else(here)?;
        path.insert(0, key.get_ref().to_string());
        Some(path)
    })
}

fn includes(span: &Range<usize>, place: &Range<usize>) -> bool {
    !place.is_empty() && span.start <= place.start && place.end <= span.end
}
