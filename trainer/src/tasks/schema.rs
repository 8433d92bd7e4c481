//! The JSON schema of a line of a task file.

use schemars::generate::SchemaSettings;

use super::Task;

/// The JSON schema of a task, draft 7, as `recipes/task.schema.json` holds it.
pub fn schema() -> String {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Task>();
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}
