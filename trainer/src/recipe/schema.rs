//! The JSON schema of recipes: for editors, and for what error messages know about keys.

use std::sync::LazyLock;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::Recipe;
use super::layers::{EXTENDS, EXTENDS_MANUAL};

/// Draft 7, which editors know best. Without references, so that a key's path in a recipe is its path in the
/// schema.
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Recipe>()
});

/// The JSON schema of recipes, draft 7, as `recipes/recipe.schema.json` holds it: every key with its page of
/// the manual.
pub fn schema() -> String {
    let mut schema = SCHEMA.as_value().clone();
    let extends = serde_json::json!({ "type": "string", "description": EXTENDS_MANUAL });
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(EXTENDS.to_owned(), extends);
    }
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

/// The manual of every key, as Markdown: what `recipes/README.md` ends with.
pub fn manual() -> String {
    let mut text = format!("\n- `{EXTENDS}`: {EXTENDS_MANUAL}\n");
    append_manual(SCHEMA.as_value(), "", &mut text);
    text
}

fn append_manual(schema: &Value, section: &str, text: &mut String) {
    let (mut values, mut sections) = (String::new(), String::new());
    for (name, inner) in properties(schema).into_iter().flatten() {
        let key = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
        let description = description(&key).unwrap_or_default();
        if let Some((named, inner)) = of_any_name(&key, inner) {
            let description = description_in(inner).unwrap_or_default();
            sections.push_str(&format!("\n### `[{named}]`\n\n{description}\n"));
            append_manual(inner, &named, &mut sections);
        } else if properties(inner).is_none() {
            values.push_str(&format!("- `{name}`: {description}\n"));
        } else {
            sections.push_str(&format!("\n### `[{key}]`\n\n{description}\n"));
            append_manual(inner, &key, &mut sections);
        }
    }
    if !values.is_empty() {
        text.extend(["\n", &values]);
    }
    text.push_str(&sections);
}

/// Every key that holds a value, as a dotted path, such as `rollout.group_size`; in the order of the schema.
pub fn leaves() -> Vec<String> {
    let mut leaves = Vec::new();
    collect_leaves(SCHEMA.as_value(), "", &mut leaves);
    leaves
}

/// The keys of a section; those of the top of the file for `""`. Empty if there is no such section.
pub(super) fn keys(section: &str) -> Vec<String> {
    let properties = find(section).and_then(properties);
    properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
}

/// What the manual says about a key or section, as one paragraph.
pub(super) fn description(key: &str) -> Option<String> {
    description_in(find(key)?)
}

fn description_in(schema: &Value) -> Option<String> {
    let text = schema.get("description")?.as_str()?;
    let first = text.split("\n\n").next()?;
    Some(first.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn find(key: &str) -> Option<&'static Value> {
    let path = key.split('.').filter(|name| !name.is_empty());
    path.into_iter().try_fold(SCHEMA.as_value(), |schema, name| match properties(schema) {
        Some(properties) => properties.get(name),
        None => of_any_name("", schema).map(|(_, inner)| inner),
    })
}

/// The schema of tables that the user names, such as those of `rewards.process`, and how they are called in the manual.
fn of_any_name<'a>(key: &str, schema: &'a Value) -> Option<(String, &'a Value)> {
    let inner = schema.get("additionalProperties").filter(|inner| properties(inner).is_some())?;
    Some((format!("{key}.NAME"), inner))
}

/// The keys of a table's schema; of a table that may be absent, too.
fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    let direct = schema.get("properties").and_then(Value::as_object);
    let variants = ["anyOf", "allOf"].into_iter().filter_map(|of| schema.get(of)?.as_array());
    direct.or_else(|| variants.flatten().find_map(properties))
}

fn collect_leaves(schema: &Value, path: &str, leaves: &mut Vec<String>) {
    if let Some((path, inner)) = of_any_name(path, schema) {
        return collect_leaves(inner, &path, leaves);
    }
    let Some(properties) = properties(schema) else {
        leaves.push(path.to_owned());
        return;
    };
    for (name, inner) in properties {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect_leaves(inner, &path, leaves);
    }
}
