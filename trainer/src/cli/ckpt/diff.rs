//! `rltrain ckpt diff A B`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use rltrain_checkpoints::{Dtype, OwnedTensor, read_safetensors};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::print_line;
use super::super::run_folder::{checkpoint, unreadable};

/// Lines shown of one file, unless all are asked for.
const SHOWN: usize = 20;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// A checkpoint's folder, a run's folder (its newest checkpoint), or `RUN@STEP`
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another one
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Print every difference of a file, not only the first ones
    #[arg(long)]
    all: bool,
    /// Print everything as one JSON object
    #[arg(long)]
    json: bool,
}

/// One difference; `None` where a side has nothing of the name.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Found {
    /// A file that one side does not have, or whose content has no parts.
    File { a: Option<String>, b: Option<String> },
    /// A value in a JSON file.
    Value { key: String, a: Option<Value>, b: Option<Value> },
    /// A tensor that one side does not have, or of another dtype or shape.
    Tensor { tensor: String, a: Option<String>, b: Option<String> },
    /// Numbers in a tensor: the largest absolute difference, `None` where one of the two is not a number.
    Numbers { tensor: String, largest: Option<f64>, different: u64, of: u64 },
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |side: &Option<String>| side.clone().unwrap_or_else(|| "absent".to_owned());
        let value = |side: &Option<Value>| side.as_ref().map_or("absent".to_owned(), Value::to_string);
        match self {
            Found::File { a, b } => write!(f, "{} | {}", text(a), text(b)),
            Found::Value { key, a, b } => write!(f, "{key}: {} | {}", value(a), value(b)),
            Found::Tensor { tensor, a, b } => write!(f, "{tensor}: {} | {}", text(a), text(b)),
            Found::Numbers { tensor, largest, different, of } => {
                let largest = largest.map_or("not a number".to_owned(), |most| format!("{most:e}"));
                write!(f, "{tensor}: largest difference {largest}, {different} of {of} numbers")
            }
        }
    }
}

/// Compares and prints; nothing is printed of what is equal.
pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (a, b) = (checkpoint(&arguments.a)?, checkpoint(&arguments.b)?);
    let (of_a, of_b) = (&a.manifest().files, &b.manifest().files);
    let names: BTreeSet<&String> = of_a.keys().chain(of_b.keys()).collect();
    let mut differences: BTreeMap<&String, Vec<Found>> = BTreeMap::new();
    for name in names {
        let found = match (of_a.get(name), of_b.get(name)) {
            (Some(left), Some(right)) if left.blake3 == right.blake3 => continue,
            (Some(_), Some(_)) => compare(name, &a.path().join(name), &b.path().join(name))?,
            (left, right) => {
                let size = |side: Option<&rltrain_checkpoints::FileRecord>| {
                    side.map(|file| format!("{} bytes", file.bytes))
                };
                vec![Found::File { a: size(left), b: size(right) }]
            }
        };
        differences.insert(name, found);
    }
    if arguments.json {
        print_line(json!({
            "a": a.path(), "b": b.path(), "equal": differences.is_empty(), "files": differences,
        }));
        return Ok(());
    }
    if differences.is_empty() {
        print_line("equal");
    }
    for (name, found) in &differences {
        print_line(format_args!("{name}"));
        let shown = if arguments.all { found.len() } else { SHOWN };
        found.iter().take(shown).for_each(|found| print_line(format_args!("  {found}")));
        if found.len() > shown {
            print_line(format_args!("  and {} more; `--all` shows them", found.len() - shown));
        }
    }
    Ok(())
}

/// The differences of two files of one name and different content.
fn compare(name: &str, a: &Path, b: &Path) -> Result<Vec<Found>, Failure> {
    match Path::new(name).extension().and_then(|end| end.to_str()) {
        Some("safetensors") => tensors(a, b),
        Some("json") => {
            let (mut of_a, mut of_b) = (BTreeMap::new(), BTreeMap::new());
            flatten("", read(a)?, &mut of_a);
            flatten("", read(b)?, &mut of_b);
            let keys: BTreeSet<&String> = of_a.keys().chain(of_b.keys()).collect();
            let found = keys.into_iter().filter(|key| of_a.get(*key) != of_b.get(*key)).map(|key| {
                let side = |of: &BTreeMap<String, Value>| of.get(key).cloned();
                Found::Value { key: key.clone(), a: side(&of_a), b: side(&of_b) }
            });
            Ok(found.collect())
        }
        _ => Ok(vec![Found::File { a: Some("one content".to_owned()), b: Some("another".to_owned()) }]),
    }
}

fn read(path: &Path) -> Result<Value, Failure> {
    let bytes = fs_err::read(path).map_err(Failure::world)?;
    let json = |source| rltrain_checkpoints::ReadError::Json { path: path.to_owned(), source };
    serde_json::from_slice(&bytes).map_err(json).map_err(unreadable)
}

/// Every value that is neither a table nor a list, by its dotted path; empty ones are values.
fn flatten(path: &str, value: Value, flat: &mut BTreeMap<String, Value>) {
    let inside = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            entries.into_iter().for_each(|(key, value)| flatten(&inside(&key), value, flat));
        }
        Value::Array(items) if !items.is_empty() => {
            (0..).zip(items).for_each(|(place, item): (usize, _)| {
                flatten(&inside(&place.to_string()), item, flat);
            });
        }
        value => {
            flat.insert(path.to_owned(), value);
        }
    }
}

/// The differences of two safetensors files, one tensor of each in memory at a time.
fn tensors(a: &Path, b: &Path) -> Result<Vec<Found>, Failure> {
    let (a, b) = (read_safetensors(a).map_err(unreadable)?, read_safetensors(b).map_err(unreadable)?);
    let names: BTreeSet<String> = a.names().into_iter().chain(b.names()).collect();
    let mut found = Vec::new();
    for tensor in names {
        let what = |file: &rltrain_checkpoints::TensorFile| {
            file.info(&tensor).map(|info| format!("{:?} {:?}", info.dtype, info.shape))
        };
        let (of_a, of_b) = (what(&a), what(&b));
        if of_a != of_b || of_a.is_none() {
            found.push(Found::Tensor { tensor, a: of_a, b: of_b });
            continue;
        }
        let (left, right) = (a.read(&tensor).map_err(unreadable)?, b.read(&tensor).map_err(unreadable)?);
        found.extend(numbers(tensor, &left, &right));
    }
    Ok(found)
}

/// How far the numbers of two tensors of one dtype and shape are apart; nothing if they are equal.
fn numbers(tensor: String, a: &OwnedTensor, b: &OwnedTensor) -> Option<Found> {
    if a.data == b.data {
        return None;
    }
    let (Some(left), Some(right)) = (values(a), values(b)) else {
        let content = |text: &str| Some(text.to_owned());
        return Some(Found::Tensor { tensor, a: content("some bytes"), b: content("others") });
    };
    let (mut largest, mut different, mut of) = (Some(0.0_f64), 0, 0);
    for (left, right) in left.zip(right) {
        of += 1;
        if left.to_bits() != right.to_bits() {
            different += 1;
            let apart = (left - right).abs();
            largest = largest.filter(|_| !apart.is_nan()).map(|most| most.max(apart));
        }
    }
    Some(Found::Numbers { tensor, largest, different, of })
}

/// The numbers of a tensor; none if its dtype is none that checkpoints have.
fn values(tensor: &OwnedTensor) -> Option<Box<dyn Iterator<Item = f64> + '_>> {
    fn each<const N: usize>(data: &[u8], read: fn([u8; N]) -> f64) -> Box<dyn Iterator<Item = f64> + '_> {
        let (numbers, _) = data.as_chunks::<N>();
        Box::new(numbers.iter().map(move |bytes| read(*bytes)))
    }
    let data = &tensor.data;
    Some(match tensor.dtype {
        Dtype::F64 => each(data, f64::from_le_bytes),
        Dtype::F32 => each(data, |bytes| f32::from_le_bytes(bytes).into()),
        Dtype::F16 => each(data, |bytes| half::f16::from_le_bytes(bytes).into()),
        Dtype::BF16 => each(data, |bytes| half::bf16::from_le_bytes(bytes).into()),
        Dtype::I64 => each(data, |bytes| i64::from_le_bytes(bytes) as f64),
        Dtype::I32 => each(data, |bytes| i32::from_le_bytes(bytes).into()),
        Dtype::U8 | Dtype::BOOL => each(data, |[byte]| byte.into()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> OwnedTensor {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        OwnedTensor { dtype: Dtype::F32, shape: vec![values.len()], data }
    }

    #[test]
    fn the_largest_difference_is_found_and_what_is_no_number_is_said() {
        let told = |a: &[f32], b: &[f32]| {
            numbers("w".to_owned(), &tensor(a), &tensor(b)).map(|found| found.to_string())
        };
        assert_eq!(told(&[1.0, 2.0], &[1.0, 2.0]), None);
        assert_eq!(
            told(&[1.0, 2.0, 3.0], &[1.0, 2.5, 2.75]).unwrap(),
            "w: largest difference 5e-1, 2 of 3 numbers"
        );
        assert_eq!(
            told(&[1.0, 2.0], &[f32::NAN, 2.0]).unwrap(),
            "w: largest difference not a number, 1 of 2 numbers"
        );
    }

    #[test]
    fn json_is_compared_by_its_leaves() {
        let mut flat = BTreeMap::new();
        flatten("", json!({ "a": { "b": [1, { "c": 2 }] }, "d": [], "e": {} }), &mut flat);
        let keys: Vec<&str> = flat.keys().map(String::as_str).collect();
        assert_eq!(keys, ["a.b.0", "a.b.1.c", "d", "e"]);
    }
}
