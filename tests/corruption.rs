//! Two thousand checkpoints that were damaged or made with ill will, and hundreds of such model folders: each is refused with the
//! file and the reason, nothing panics, and memory stays bounded.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rltrain::optim::{Optimizer, OptimizerKind};
use rltrain::policy::{HostView, Policy};
use rltrain::rng::{Stream, uniform};
use rltrain_checkpoints::{Draft, Store, WriteError};
use serde_json::{Value, json};
use tch::{Device, Kind};

use crate::architectures::saving::{complete, golden};
use crate::counting::most_allocated;
use crate::rltrain::expect;
use crate::tiny;

/// Damaged checkpoints.
const CASES: u64 = 2000;

/// What reading a manifest and hashing files may take.
const MOST_FOR_A_CHECKPOINT: usize = 1 << 20;

/// What reading headers and an index of a tiny model may take.
const MOST_FOR_A_MODEL: usize = 8 << 20;

/// Draws that a case is made of: a function of its number.
struct Draws {
    case: u64,
    next: u64,
}

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.next += 1;
        (uniform(7, Stream::TaskOrder, &[self.case, self.next]) * bound as f64) as usize
    }
}

/// An error with everything that it comes from.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Files of a checkpoint by name.
type Contents = BTreeMap<String, Vec<u8>>;

/// A store with checkpoints of steps 1 and 2 of a tiny model in several shards, with its optimizer, and what is in the second.
fn two_checkpoints(run: &Path) -> (Store, Contents) {
    let folder = complete(&golden("llama"));
    let policy = Policy::load(folder.path(), Kind::Float, Device::Cpu).unwrap();
    let optimizer = Optimizer::new(OptimizerKind::default(), &policy.weights);
    let fill = |draft: &mut Draft| -> Result<(), WriteError> {
        policy.save(draft, 9_000)?;
        let means = optimizer.state().map(|(name, tensor)| (name, HostView::new(tensor)));
        draft.tensors("optimizer.safetensors", means, &BTreeMap::new())?;
        draft.json("trainer.json", &json!({ "format": 2, "step": 2 }))
    };
    let store = Store::open(run).unwrap();
    store.write(1, fill).unwrap();
    let second = store.write(2, fill).unwrap();
    let read = |name: &str| std::fs::read(second.path().join(name)).unwrap();
    let names = second.manifest().files.keys().map(String::as_str).chain(["manifest.json"]);
    let contents: Contents = names.map(|name| (name.to_owned(), read(name))).collect();
    let shards = contents.keys().filter(|name| name.starts_with("model/model-")).count();
    assert!(shards >= 3, "{:?}", contents.keys());
    (store, contents)
}

/// Damages the checkpoint in `folder`; returns the files of which one has to be named.
fn damage(folder: &Path, contents: &Contents, draws: &mut Draws) -> Vec<String> {
    let names: Vec<&String> = contents.keys().collect();
    let name = names[draws.below(names.len())];
    let (path, mut bytes) = (folder.join(name), contents[name].clone());
    match draws.below(9) {
        0 | 1 => {
            let place = draws.below(bytes.len());
            bytes[place] ^= 1 << draws.below(8);
        }
        2 => bytes.truncate(draws.below(bytes.len())),
        3 => bytes.extend((0..=draws.below(600)).map(|place| place as u8)),
        4 => {
            // A page that never reached the disk.
            let start = draws.below(bytes.len()) / 512 * 512;
            let end = (start + 512).min(bytes.len());
            let page = &mut bytes[start..end];
            let lost = page.iter().any(|byte| *byte != 0);
            page.fill(if lost { 0 } else { 1 });
        }
        5 => {
            std::fs::remove_file(&path).unwrap();
            return vec![name.clone()];
        }
        6 => {
            let shards: Vec<&&String> =
                names.iter().filter(|name| name.starts_with("model/model-")).collect();
            let first = draws.below(shards.len());
            let second = (first + 1 + draws.below(shards.len() - 1)) % shards.len();
            std::fs::write(folder.join(shards[first].as_str()), &contents[shards[second].as_str()]).unwrap();
            std::fs::write(folder.join(shards[second].as_str()), &contents[shards[first].as_str()]).unwrap();
            return vec![shards[first].to_string(), shards[second].to_string()];
        }
        7 => {
            let header = hostile_header(draws);
            bytes.splice(..bytes.len().min(header.len()), header);
            if bytes == contents[name] {
                bytes.push(0);
            }
        }
        _ => return damage_manifest(folder, &contents["manifest.json"], draws),
    }
    std::fs::write(path, bytes).unwrap();
    vec![name.clone()]
}

/// Has the manifest say something else, in the form that it is written in.
fn damage_manifest(folder: &Path, bytes: &[u8], draws: &mut Draws) -> Vec<String> {
    let mut manifest: Value = serde_json::from_slice(bytes).unwrap();
    let empty = json!({ "bytes": 0, "blake3": blake3_of_nothing() });
    let files = manifest["files"].as_object_mut().unwrap();
    let mut named = "manifest.json".to_owned();
    let outside = ["../step-00000001/trainer.json", "/etc/passwd", "a/../../x", "..", ""];
    match draws.below(7) {
        0 => {
            files.insert(outside[draws.below(outside.len())].to_owned(), empty);
        }
        1 => {
            named = "absent.json".to_owned();
            files.insert(named.clone(), empty);
        }
        // A folder, a device without an end, and a pipe that nobody writes to.
        2 => {
            named = ["model", "device", "pipe"][draws.below(3)].to_owned();
            files.insert(named.clone(), empty);
        }
        3 => {
            let place = draws.below(files.len());
            let (name, record) = files.iter_mut().nth(place).unwrap();
            named.clone_from(name);
            record["bytes"] = [0, 1 << 40, u64::MAX][draws.below(3)].into();
        }
        4 => {
            let place = draws.below(files.len());
            let (name, record) = files.iter_mut().nth(place).unwrap();
            named.clone_from(name);
            record["blake3"] = blake3_of_nothing().into();
        }
        5 => manifest["step"] = [1, 3, u64::MAX][draws.below(3)].into(),
        _ => manifest["format"] = [0, 2, u64::MAX][draws.below(3)].into(),
    }
    // In another order it would be refused for that alone.
    manifest["files"].as_object_mut().unwrap().sort_keys();
    std::fs::write(folder.join("manifest.json"), serde_json::to_string_pretty(&manifest).unwrap() + "\n")
        .unwrap();
    vec![named]
}

fn blake3_of_nothing() -> &'static str {
    "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
}

/// Puts the checkpoint back.
fn mend(folder: &Path, contents: &Contents) {
    for (name, bytes) in contents {
        let path = folder.join(name);
        if std::fs::read(&path).map_or(true, |found| found != *bytes) {
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

#[test]
fn two_thousand_damaged_checkpoints_are_refused_by_file_and_reason() {
    let run = tempfile::tempdir().unwrap();
    let (store, contents) = two_checkpoints(run.path());
    let folder = store.path_of(2);
    std::os::unix::fs::symlink("/dev/zero", folder.join("device")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.join("pipe")).status().unwrap();
    assert!(made.success());
    assert_eq!(store.checkpoint(2).unwrap().step(), 2);

    let mut largest = 0;
    for case in 0..CASES {
        let named = damage(&folder, &contents, &mut Draws { case, next: 0 });
        let (result, allocated) = most_allocated(|| store.checkpoint(2));
        let Err(error) = result else { panic!("case {case}: {named:?} was accepted") };
        let message = chain(&error);
        let says = |name: &String| message.contains(&format!("`{}`", folder.join(name).display()));
        // What a damaged manifest says is of the checkpoint as a whole, or of a file that it ought not to list.
        let is_manifest = named == ["manifest.json"] && message.contains(&folder.display().to_string());
        assert!(named.iter().any(says) || is_manifest, "case {case}, {named:?}: {message}");
        largest = largest.max(allocated);
        assert!(allocated < MOST_FOR_A_CHECKPOINT, "case {case}, {named:?}: {allocated} bytes, {message}");
        if case % 50 == 0 {
            let (found, passed_over) = store.newest_valid().unwrap().unwrap();
            assert_eq!((found.step(), passed_over.len()), (1, 1), "case {case}");
        }
        mend(&folder, &contents);
    }
    assert_eq!(store.checkpoint(2).unwrap().step(), 2, "the last one is whole again");
    let _ = writeln!(std::io::stderr(), "{CASES} refused, with {largest} bytes at most");
}

/// Length and text of a header that lies, or is none.
fn hostile_header(draws: &mut Draws) -> Vec<u8> {
    let entry = |dtype: &str, shape: Value, offsets: Value| json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
    let one = |value: Value| json!({ "model.norm.weight": value }).to_string();
    let text = match draws.below(16) {
        0 => "{".repeat(5_000),
        1 => "[".repeat(50_000),
        2 => "[]".to_owned(),
        3 => "null".to_owned(),
        4 => String::from_utf8_lossy(&[0xff; 40]).into_owned(),
        5 => one(entry("F32", json!([u64::MAX, u64::MAX]), json!([0, 4]))),
        6 => one(entry("F32", json!([16]), json!([0, u64::MAX]))),
        7 => one(entry("F32", json!([16]), json!([64, 0]))),
        8 => one(entry("F32", json!([-16]), json!([0, 64]))),
        9 => one(entry("F99", json!([16]), json!([0, 64]))),
        10 => one(entry("F32", json!(1e300), json!([0, 64]))),
        11 => json!({ "a": entry("F32", json!([16]), json!([0, 64])), "b": entry("F32", json!([16]), json!([32, 96])) })
            .to_string(),
        12 => json!({ "a": entry("F32", json!([16]), json!([0, 64])), "b": entry("F32", json!([16]), json!([0, 64])) })
            .to_string(),
        13 => json!({ "a": entry("F32", json!([16]), json!([8, 72])) }).to_string(),
        14 => one(entry("F32", json!([1u64 << 40]), json!([0, 1u64 << 42]))),
        _ => json!({ "__metadata__": { "format": 3 } }).to_string(),
    };
    let length = text.len() as u64;
    let claimed = match draws.below(10) {
        0 => u64::MAX,
        1 => i64::MAX as u64,
        2 => (100 << 20) + 1,
        3 => length + 1_000_000,
        _ => length,
    };
    [&claimed.to_le_bytes()[..], text.as_bytes()].concat()
}

/// Demands that the model in `folder` is refused; returns what is said.
#[track_caller]
fn refused(folder: &Path, case: &str) -> String {
    let (result, allocated) = most_allocated(|| Policy::load(folder, Kind::Float, Device::Cpu).err());
    let message = chain(&result.unwrap_or_else(|| panic!("{case}: it was accepted")));
    assert!(allocated < MOST_FOR_A_MODEL, "{case}: {allocated} bytes, {message}");
    message
}

/// A model folder of a user's, which has no manifest: only its own headers say whether it is whole.
#[test]
fn hostile_headers_in_a_model_folder_are_refused_by_file_and_reason() {
    let folder = complete(&golden("llama"));
    let path = folder.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let data = &whole[8 + length..];
    for case in 0..400 {
        let draws = &mut Draws { case: CASES + case, next: 0 };
        let mut bytes = hostile_header(draws);
        // With the data of the whole file behind it, with less, or with none.
        bytes.extend(&data[..[0, 64, data.len()][draws.below(3)]]);
        std::fs::write(&path, &bytes).unwrap();
        let message = refused(folder.path(), &format!("case {case}"));
        assert!(message.contains("model.safetensors`"), "case {case}: {message}");
    }
    // Any single bit of the length and the header: what is loaded all the same has what the network needs, in its shapes.
    let mut accepted = 0;
    for case in 0..400 {
        let draws = &mut Draws { case: 2 * CASES + case, next: 0 };
        let mut bytes = whole.clone();
        bytes[draws.below(8 + length)] ^= 1 << draws.below(8);
        std::fs::write(&path, &bytes).unwrap();
        let (result, allocated) = most_allocated(|| Policy::load(folder.path(), Kind::Float, Device::Cpu));
        assert!(allocated < MOST_FOR_A_MODEL, "bit {case}: {allocated} bytes");
        match result {
            Ok(_) => accepted += 1,
            Err(error) => {
                let message = chain(&error);
                assert!(message.contains("model.safetensors`"), "bit {case}: {message}");
            }
        }
    }
    let _ = writeln!(
        std::io::stderr(),
        "of 400 flipped bits in a header, {accepted} changed nothing that is read"
    );
    for cut in (0..whole.len()).step_by(997) {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert!(refused(folder.path(), &format!("cut {cut}")).contains("bytes, wanted"));
    }
}

#[test]
fn an_index_that_leads_elsewhere_or_lies_is_refused_by_file_and_reason() {
    let folder = complete(&golden("llama"));
    let index = folder.path().join("model.safetensors.index.json");
    std::fs::write(folder.path().join("secret"), "").unwrap();
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        std::fs::copy(folder.path().join(name), inside.join(name)).unwrap();
    }
    let index_inside = inside.join("model.safetensors.index.json");
    let policy = Policy::load(folder.path(), Kind::Float, Device::Cpu).unwrap();
    let names: Vec<String> = policy.weights.iter().map(|(name, _)| name.to_owned()).collect();
    let with = |file: Value| {
        let places: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), file.clone())).collect();
        json!({ "metadata": { "total_size": 1 }, "weight_map": places }).to_string()
    };
    // The first one is there and whole, outside of the folder that names it.
    for outside in [
        "../model.safetensors",
        "/etc/passwd",
        "..",
        ".",
        "",
        "./model.safetensors",
        "a/b",
        "..\\model.safetensors",
        "a/",
    ] {
        std::fs::write(&index_inside, with(outside.into())).unwrap();
        let message = refused(&inside, outside);
        assert!(message.contains("model.safetensors.index.json`"), "{outside}: {message}");
        assert!(message.contains("is not the name of a file beside it"), "{outside}: {message}");
    }
    for lie in [json!(3), json!(null), json!(["model.safetensors"]), json!({})] {
        std::fs::write(&index, with(lie.clone())).unwrap();
        let message = refused(folder.path(), &lie.to_string());
        assert!(message.contains("model.safetensors.index.json` has no tensor"), "{message}");
    }
    for (text, reason) in [("[", "is not valid JSON"), ("{}", "has no tensor"), ("[]", "has no tensor")] {
        std::fs::write(&index, text).unwrap();
        assert!(refused(folder.path(), text).contains(reason));
    }
    for (file, reason) in [
        ("absent.safetensors", "is missing"),
        ("inside", "is not a regular file"),
        ("secret", "bytes, wanted"),
    ] {
        std::fs::write(&index, with(file.into())).unwrap();
        let message = refused(folder.path(), file);
        assert!(message.contains(&format!("{file}`")) && message.contains(reason), "{file}: {message}");
    }
    // Sparse: nothing but a size.
    std::fs::File::create(&index).unwrap().set_len(1 << 40).unwrap();
    let message = refused(folder.path(), "a terabyte");
    assert!(message.contains("index.json`") && message.contains("at most"), "{message}");
}

#[test]
fn a_configuration_of_more_layers_than_any_model_has_is_refused_before_they_are_described() {
    let folder = complete(&golden("llama"));
    let path = folder.path().join("config.json");
    let whole: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (key, value) in [("num_hidden_layers", 1u64 << 40), ("vocab_size", 1 << 62), ("hidden_size", 1 << 40)]
    {
        let mut config = whole.clone();
        config[key] = value.into();
        std::fs::write(&path, config.to_string()).unwrap();
        assert!(refused(folder.path(), key).contains(&format!("key `{key}`")));
    }
}

/// The same as a user sees it: exit code 2, the file and the reason.
#[test]
fn the_program_says_which_file_of_a_model_is_not_one() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let path: PathBuf = folder.path().join("model/model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    for (header, reason) in
        [(u64::MAX, "claims a header of 18446744073709551615"), (1 << 30, "claims a header of 1073741824")]
    {
        let mut bytes = whole.clone();
        bytes[..8].copy_from_slice(&header.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        let (_, error) = expect(folder.path(), &["recipe.toml"], 2);
        let flat: String = error.replace('│', "").split_whitespace().collect();
        let reason: String = reason.split_whitespace().collect();
        assert!(flat.contains("model.safetensors`") && flat.contains(&reason), "{error}");
    }
}
