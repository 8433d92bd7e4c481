//! Data written down as JSON, YAML, TOML or CSV, paths into it, and how alike two pieces of data are.

use serde_json::{Map, Value};

use crate::DataFormat;

/// Longest text that is read as data, in bytes.
const MOST_BYTES: usize = 1024 * 1024;

/// Reads a text as data; `None` if it is not of its format.
pub(super) fn read(format: DataFormat, text: &str) -> Option<Value> {
    if text.len() > MOST_BYTES {
        return None;
    }
    match format {
        DataFormat::Json => serde_json::from_str(text).ok(),
        DataFormat::Yaml => serde_yaml_ng::from_str(text).ok(),
        DataFormat::Toml => toml::from_str(text).ok(),
        DataFormat::Csv => csv(text),
    }
}

/// CSV (RFC 4180) as a list of objects; `None` without a header, and if a row is not as long as it.
fn csv(text: &str) -> Option<Value> {
    let mut rows = csv_rows(text)?.into_iter();
    let header = rows.next().filter(|header| header.iter().any(|name| !name.is_empty()))?;
    let object = |row: Vec<String>| {
        (row.len() == header.len())
            .then(|| Value::Object(header.iter().cloned().zip(row.into_iter().map(Value::String)).collect()))
    };
    rows.map(object).collect::<Option<Vec<Value>>>().map(Value::Array)
}

/// The fields of each row; `None` if a quoted field does not end, or does not end at a comma.
fn csv_rows(text: &str) -> Option<Vec<Vec<String>>> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.trim_end_matches(['\r', '\n']).chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' if quoted => {
                quoted = false;
                if !matches!(characters.peek(), None | Some(',' | '\r' | '\n')) {
                    return None;
                }
            }
            _ if quoted => field.push(c),
            '"' if field.is_empty() => quoted = true,
            ',' => row.push(std::mem::take(&mut field)),
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            c => field.push(c),
        }
    }
    row.push(field);
    rows.push(row);
    (!quoted).then_some(rows)
}

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
    Every,
}

/// Whether something is at a path such as `users[0].name`; with `[*]`, at least one item must have the rest of the path. A path that
/// is written wrong leads nowhere.
pub(super) fn has_path(data: &Value, path: &str) -> bool {
    fn follow(data: &Value, steps: &[Step<'_>]) -> bool {
        let Some((step, rest)) = steps.split_first() else { return true };
        match (step, data) {
            (Step::Key(key), Value::Object(map)) => map.get(*key).is_some_and(|inner| follow(inner, rest)),
            (Step::Index(index), Value::Array(items)) => {
                items.get(*index).is_some_and(|inner| follow(inner, rest))
            }
            (Step::Every, Value::Array(items)) => items.iter().any(|inner| follow(inner, rest)),
            _ => false,
        }
    }
    steps(path).is_some_and(|steps| follow(data, &steps))
}

fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (key, brackets) = part.split_at(part.find('[').unwrap_or(part.len()));
        if !key.is_empty() {
            steps.push(Step::Key(key));
        } else if brackets.is_empty() {
            return None;
        }
        for bracket in brackets.split_inclusive(']') {
            steps.push(match bracket.strip_prefix('[')?.strip_suffix(']')? {
                "*" => Step::Every,
                index => Step::Index(index.parse().ok()?),
            });
        }
    }
    Some(steps)
}

/// StructEval's similarity of structure: of objects half the share of common keys and half the mean over them, of lists the ratio
/// of lengths times the mean over items in order, of other values 1 if they are equal, a half if only their types are, else 0.
pub(super) fn similarity(wanted: &Value, found: &Value) -> f64 {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => similarity_of_objects(wanted, found),
        (Value::Array(wanted), Value::Array(found)) => {
            let (short, long) = (wanted.len().min(found.len()), wanted.len().max(found.len()));
            match (short, long) {
                (_, 0) => 1.0,
                (0, _) => 0.0,
                _ => {
                    let sum: f64 =
                        wanted.iter().zip(found).map(|(wanted, found)| similarity(wanted, found)).sum();
                    short as f64 / long as f64 * (sum / short as f64)
                }
            }
        }
        _ if wanted == found => 1.0,
        _ if std::mem::discriminant(wanted) == std::mem::discriminant(found) => 0.5,
        _ => 0.0,
    }
}

fn similarity_of_objects(wanted: &Map<String, Value>, found: &Map<String, Value>) -> f64 {
    let common: Vec<f64> =
        wanted.iter().filter_map(|(key, wanted)| Some(similarity(wanted, found.get(key)?))).collect();
    let all = wanted.len() + found.len() - common.len();
    if all == 0 {
        return 1.0;
    }
    let mean = common.iter().sum::<f64>() / common.len().max(1) as f64;
    0.5 * common.len() as f64 / all as f64 + 0.5 * mean
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_format_is_read_or_refused() {
        let data = json!({"a": [{"b": 1}]});
        for (format, text, broken) in [
            (DataFormat::Json, r#"{"a": [{"b": 1}]}"#, r#"{"a": [{"b": 1}"#),
            (DataFormat::Yaml, "a:\n  - b: 1\n", "a: [\n"),
            (DataFormat::Toml, "[[a]]\nb = 1\n", "[[a]\n"),
        ] {
            assert_eq!(read(format, text), Some(data.clone()), "{format:?}");
            assert_eq!(read(format, broken), None, "{format:?}");
        }
    }

    #[test]
    fn csv_has_quotes_and_rows_of_one_length() {
        let read = |text| read(DataFormat::Csv, text);
        let wanted = json!([{"a": "1", "b": "x, \"y\"\nz"}, {"a": "", "b": "2"}]);
        assert_eq!(read("a,b\r\n1,\"x, \"\"y\"\"\nz\"\r\n,2\r\n"), Some(wanted));
        assert_eq!(read("a,b\n1\n"), None);
        assert_eq!(read("a\n\"1"), None);
        assert_eq!(read("a\n\"1\"2\n"), None);
        assert_eq!(read(""), None);
        assert_eq!(read("a,b\n"), Some(json!([])));
    }

    #[test]
    fn paths_lead_to_what_is_there() {
        let data = json!({"users": [{"name": "a"}, {"name": "b", "tags": ["x"]}], "n": null});
        for path in ["users", "users[1].name", "users[*].tags[0]", "n"] {
            assert!(has_path(&data, path), "{path}");
        }
        for path in [
            "users[2]",
            "users.name",
            "users[*].age",
            "users[0].tags",
            "",
            "a..b",
            "users[",
            "users[x]",
            "[0]",
        ] {
            assert!(!has_path(&data, path), "{path}");
        }
        assert!(has_path(&json!([1]), "[0]"));
    }

    #[test]
    fn similarity_is_that_of_the_specification() {
        assert_eq!(similarity(&json!({"a": 1, "b": 2}), &json!({"a": 1, "c": 2})), 0.5 / 3.0 + 0.5);
        assert_eq!(similarity(&json!([1, 2, 3, 4]), &json!([1, 2])), 0.5);
        assert_eq!(similarity(&json!(1), &json!(2)), 0.5);
        assert_eq!(similarity(&json!(1), &json!("1")), 0.0);
        assert_eq!(similarity(&json!({}), &json!({})), 1.0);
        assert_eq!(similarity(&json!([]), &json!([1])), 0.0);
    }

    #[test]
    fn data_that_grows_when_it_is_read_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![before; 9].join(", ")));
        }
        assert_eq!(read(DataFormat::Yaml, &bomb), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(text in any::<String>(), path in any::<String>()) {
            for format in [DataFormat::Json, DataFormat::Yaml, DataFormat::Toml, DataFormat::Csv] {
                if let Some(data) = read(format, &text) {
                    has_path(&data, &path);
                    prop_assert_eq!(similarity(&data, &data), 1.0);
                }
            }
        }
    }
}
