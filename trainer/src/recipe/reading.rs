//! Text to [`Recipe`].
//!
//! Deserialisation ends at the first mistake. So that all of them are reported together, the key with the
//! mistake is taken out of the tree and the rest is read again, until what is left is a recipe.

use serde::Deserialize;
use strsim::jaro_winkler;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue, Deserializer};

use super::problems::Problems;
use super::{Recipe, schema};
use crate::algorithm::Preset;

/// The keys that have no default, with stand-ins for those that are missing, so that the rest can be read.
const REQUIRED: &str = r#"
steps = 1
run = "run"
[model]
path = "model"
[tasks]
train = "train.jsonl"
heldout = "heldout.jsonl"
[rewards]
"#;

/// Most mistakes that are looked for: a file with more is not a recipe, and each costs another reading.
const MOST_MISTAKES: usize = 50;

/// How alike two keys must be for one to be a misspelling of the other; from 0 to 1, in Jaro and Winkler's
/// measure. `temprature` and `temperature` are 0.98 alike, `top_k` and `steps` 0.47.
const ALIKE: f64 = 0.8;

/// Reads the text that `problems` holds and reports what is no TOML, unknown, missing or of a wrong type.
///
/// Stand-ins take the place of keys with a problem. Returns `None` if there is too little to go on with.
pub(super) fn read(problems: &mut Problems<'_>) -> Option<Recipe> {
    if !problems.is_empty() {
        return None;
    }
    let rest = problems.table.clone();
    read_table(problems, rest, &required())
}

/// As [`read`], but of the sections `names` alone; stand-ins take the place of all others, and are not missed. Of these, the ones
/// that a recipe cannot do without must be there.
pub(super) fn read_only(problems: &mut Problems<'_>, names: &[&str]) -> Option<Recipe> {
    if !problems.is_empty() {
        return None;
    }
    let rest = keep(problems.table.clone(), names);
    read_table(problems, rest, &keep(required(), names))
}

/// The keys `names` of a table, as far as it has them.
fn keep<'i>(table: DeTable<'i>, names: &[&str]) -> DeTable<'i> {
    table.into_iter().filter(|(name, _)| names.contains(&name.get_ref().as_ref())).collect()
}

/// The keys of [`REQUIRED`].
fn required() -> DeTable<'static> {
    DeTable::parse_recoverable(REQUIRED).0.into_inner()
}

/// Reads `rest`, which is the text's tree or a part of it; `wanted` are the keys that must be there.
fn read_table<'i>(
    problems: &mut Problems<'i>,
    mut rest: DeTable<'i>,
    wanted: &DeTable<'static>,
) -> Option<Recipe> {
    let required = required();
    report_huge_integers(problems, &rest, "");
    report_missing(problems, wanted, &rest, "");
    fill_from_preset(&mut rest);
    fill_for_servers(&mut rest);
    for _ in 0..MOST_MISTAKES {
        fill(&mut rest, &required);
        let tree = Spanned::new(0..problems.length(), rest.clone());
        let error = match Recipe::deserialize(Deserializer::from(tree)) {
            Ok(recipe) => return Some(recipe),
            Err(error) => error,
        };
        let path = error.span().and_then(|place| problems.path_at(&place));
        report(problems, path.as_deref(), &error);
        if !path.is_some_and(|path| remove(&mut rest, &path)) {
            return None;
        }
    }
    None
}

/// Reports the mistake that deserialisation ended at; `path` leads to the key.
fn report(problems: &mut Problems<'_>, path: Option<&[String]>, error: &toml::de::Error) {
    let Some((name, sections)) = path.and_then(<[String]>::split_last) else {
        return problems.report("", error.span(), plain_words(error.message()), None);
    };
    let section = sections.join(".");
    let key = path.unwrap_or_default().join(".");
    let (message, help) = if error.message().starts_with("unknown field") {
        let of = if section.is_empty() { String::new() } else { format!(" in `[{section}]`") };
        (format!("unknown key `{name}`{of}"), Some(instead_of(name, &section)))
    } else {
        (format!("`{key}`: {}", plain_words(error.message())), schema::description(&key))
    };
    problems.report(&key, error.span(), message, help);
}

/// What the user may have meant by the unknown key `name` of `section`.
fn instead_of(name: &str, section: &str) -> String {
    let known = schema::keys(section);
    let alike = |known: &&String| jaro_winkler(name, known);
    let best = known.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    if let Some(best) = best.filter(|best| alike(best) >= ALIKE) {
        return format!("did you mean `{best}`?");
    }
    let same_name = |leaf: &String| leaf.rsplit('.').next() == Some(name);
    let outermost = |leaf: &String| leaf.matches('.').count();
    let elsewhere = schema::leaves().into_iter().filter(same_name).min_by_key(outermost);
    match elsewhere.as_deref().map(|leaf| leaf.rsplit_once('.')) {
        Some(Some((section, _))) => format!("`{name}` belongs under `[{section}]`"),
        Some(None) => format!("`{name}` belongs to the top of the recipe, before the first `[section]`"),
        None => format!("the keys here are {}", list(&known)),
    }
}

/// A deserialiser's message without Rust's names for types.
fn plain_words(message: &str) -> String {
    const WORDS: [(&str, &str); 8] = [
        ("a nonzero usize", "a whole number from 1"),
        ("a nonzero u64", "a whole number from 1"),
        ("a nonzero u32", "a whole number from 1"),
        ("usize", "a whole number from 0"),
        ("u64", "a whole number from 0"),
        ("u32", "a whole number from 0"),
        ("f64", "a number"),
        ("path string", "a text in quotes"),
    ];
    let unexpected = ["invalid type: ", "invalid value: ", "unknown variant "];
    let found = unexpected.iter().find_map(|prefix| message.strip_prefix(prefix));
    let message = found.map_or(message.to_owned(), |found| format!("found {found}"));
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message;
    };
    let expected = match WORDS.iter().find(|(rust, _)| *rust == expected) {
        Some((_, plain)) => plain,
        None if expected.starts_with("struct ") => "a table",
        None => expected,
    };
    format!("{found}, wanted {expected}")
}

/// Reports the keys of `required` that `table`, the section called `section`, lacks: values first, as in a
/// recipe.
fn report_missing(problems: &mut Problems<'_>, required: &DeTable<'_>, table: &DeTable<'_>, section: &str) {
    let mut required: Vec<_> = required.iter().collect();
    required.sort_by_key(|(_, wanted)| wanted.get_ref().is_table());
    for (name, wanted) in required {
        let key = join(section, name.get_ref());
        let message = match (wanted.get_ref(), table.get(name.get_ref().as_ref()).map(Spanned::get_ref)) {
            (DeValue::Table(wanted), Some(DeValue::Table(found))) => {
                report_missing(problems, wanted, found, &key);
                continue;
            }
            (_, Some(_)) => continue,
            (DeValue::Table(wanted), None) => {
                let keys: Vec<String> = wanted.iter().map(|(name, _)| name.get_ref().to_string()).collect();
                let with = if keys.is_empty() { String::new() } else { format!(", with {}", list(&keys)) };
                format!("the section `[{key}]` is missing{with}")
            }
            (_, None) => format!("the key `{key}` is missing"),
        };
        problems.report(&key, problems.section_of(&key), message, schema::description(&key));
    }
}

/// Reports whole numbers that do not fit into 64 bits with a sign, which is as far as TOML promises to go.
fn report_huge_integers(problems: &mut Problems<'_>, table: &DeTable<'_>, section: &str) {
    for (name, value) in table {
        let key = join(section, name.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => report_huge_integers(problems, inner, &key),
            DeValue::Integer(number) if i64::from_str_radix(number.as_str(), number.radix()).is_err() => {
                let message = format!("`{key}`: {number} is too large");
                let help = format!("the largest whole number in TOML is {}", i64::MAX);
                problems.report(&key, Some(value.span()), message, Some(help));
            }
            _ => {}
        }
    }
}

/// Copies what `table` lacks of `required` into it.
pub(super) fn fill<'i>(table: &mut DeTable<'i>, required: &DeTable<'i>) {
    for (name, value) in required {
        match (table.get_mut(name.get_ref().as_ref()).map(Spanned::get_mut), value.get_ref()) {
            (None, _) => {
                table.insert(name.clone(), value.clone());
            }
            (Some(DeValue::Table(found)), DeValue::Table(wanted)) => fill(found, wanted),
            (Some(_), _) => {}
        }
    }
}

/// Gives `[algorithm]` and `[supervised]` the keys of the preset that the recipe names, where they do not have them. An unknown
/// name is left for deserialisation to report.
fn fill_from_preset(table: &mut DeTable<'_>) {
    let Some(DeValue::Table(algorithm)) = table.get("algorithm").map(Spanned::get_ref) else { return };
    let name = algorithm.get("preset").and_then(|name| name.get_ref().as_str());
    let Some(preset) = name.and_then(Preset::named) else { return };
    for (section, keys) in [("algorithm", preset.keys()), ("supervised", preset.supervised_keys())] {
        let (keys, _) = DeTable::parse_recoverable(keys);
        let keys = keys.into_inner();
        if keys.is_empty() {
            continue;
        }
        match table.get_mut(section).map(Spanned::get_mut) {
            Some(DeValue::Table(found)) => fill(found, &keys),
            // Of a wrong type, which deserialisation reports.
            Some(_) => {}
            None => {
                let name = Spanned::new(0..0, DeString::from(section));
                table.insert(name, Spanned::new(0..0, DeValue::Table(keys)));
            }
        }
    }
}

/// Gives `[algorithm]` a correction where attempts are sampled elsewhere, unless the recipe or its preset has one.
fn fill_for_servers(table: &mut DeTable<'_>) {
    let Some(DeValue::Table(rollout)) = table.get("rollout").map(Spanned::get_ref) else { return };
    let engine = rollout.get("engine").and_then(|engine| engine.get_ref().as_str());
    if engine.is_none_or(|engine| engine == "local") {
        return;
    }
    fill(table, &DeTable::parse_recoverable("[algorithm]\ncorrection = \"token-tis\"").0.into_inner());
}

/// Takes out the key that `path` leads to. Returns whether it was there.
pub(super) fn remove(table: &mut DeTable<'_>, path: &[String]) -> bool {
    match path {
        [] => false,
        [name] => table.remove(name.as_str()).is_some(),
        [section, rest @ ..] => match table.get_mut(section.as_str()).map(Spanned::get_mut) {
            Some(DeValue::Table(inner)) => remove(inner, rest),
            _ => false,
        },
    }
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

fn list(keys: &[String]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_required_keys_suffice_and_none_can_be_left_out() {
        let table: toml::Table = toml::from_str(REQUIRED).unwrap();
        assert!(Recipe::deserialize(table.clone()).is_ok());
        let keys = |table: &toml::Table| table.keys().cloned().collect::<Vec<_>>();
        for key in keys(&table) {
            let mut without = table.clone();
            without.remove(&key);
            assert!(Recipe::deserialize(without).is_err(), "`{key}` has a default");
            for inner in table[&key].as_table().map(keys).unwrap_or_default() {
                let mut without = table.clone();
                without[&key].as_table_mut().unwrap().remove(&inner);
                assert!(Recipe::deserialize(without).is_err(), "`{key}.{inner}` has a default");
            }
        }
    }
}
