//! `rltrain reward …`: a new reward works as it is written, and is a curve of the run that it is added to.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::rltrain::expect;
use crate::tiny;

#[test]
fn a_new_reward_passes_its_own_test_and_is_not_written_over() {
    for (kind, table) in [
        ("process", "[rewards.process.short_lines]\ncommand = [\"python3\", \"short_lines.py\"]\n"),
        ("http", "[rewards.http.short_lines]\nurl = \"http://127.0.0.1:8642/\"\n"),
        ("wasm", "[rewards.wasm.short_lines]\ncomponent = \"short_lines/short_lines.wasm\"\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let new = ["reward", "new", "short_lines", "--kind", kind];
        let (out, _) = expect(folder.path(), &new, 0);
        assert!(out.contains("wrote short_lines/short_lines.py\n") && out.contains(table), "{out}");
        let tests = Command::new("python3")
            .args(["-m", "unittest"])
            .current_dir(folder.path().join("short_lines"))
            .output()
            .unwrap();
        assert!(tests.status.success(), "{}", String::from_utf8_lossy(&tests.stderr));
        let (_, error) = expect(folder.path(), &new, 2);
        assert!(
            error.contains("`short_lines` is there already; choose another name, or remove it"),
            "{error}"
        );
    }
}

/// The commands of the guide in `docs/rewards.md`, to the letter, from nothing to a curve: in a checkout whose quickstart is that of
/// a model that is quick, with `rltrain` on the search path, an editor that changes nothing, and a `tensorboard` that says where it
/// was told to look.
#[test]
fn the_commands_of_the_guide_lead_to_a_curve() {
    let folder = tempfile::tempdir().unwrap();
    let (recipes, tools) = (folder.path().join("recipes"), folder.path().join("tools"));
    tiny::make(&recipes);
    tiny::edit(&recipes, "run = \"run\"", "run = \"../runs/quickstart\"");
    std::fs::rename(recipes.join("recipe.toml"), recipes.join("quickstart.toml")).unwrap();
    // The task that the guide tries its program on.
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let shipped = std::fs::read_to_string(root.join("recipes/tasks/python-basics/train.jsonl")).unwrap();
    let tasks = std::fs::read_to_string(recipes.join("train.jsonl")).unwrap();
    let tasks = format!("{tasks}{}\n", shipped.lines().next().unwrap());
    std::fs::write(recipes.join("train.jsonl"), tasks).unwrap();
    std::fs::create_dir(&tools).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rltrain"), tools.join("rltrain")).unwrap();
    let tensorboard = tools.join("tensorboard");
    std::fs::write(&tensorboard, "#!/bin/sh\necho tensorboard in \"$PWD\" of \"$@\"\n").unwrap();
    std::fs::set_permissions(&tensorboard, Permissions::from_mode(0o755)).unwrap();

    let guide = std::fs::read_to_string(root.join("docs/rewards.md")).unwrap();
    let commands = guide.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0;
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-e", "-c", commands])
        .current_dir(folder.path())
        .envs([("PATH", path.as_str()), ("EDITOR", "true"), ("NO_COLOR", "1"), ("OMP_NUM_THREADS", "1")])
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{out}\n{}", String::from_utf8_lossy(&output.stderr));
    // One line behind the signature: two lines of twenty.
    let row = out.lines().find(|line| line.starts_with("short_lines ")).unwrap();
    let wanted = format!("{:.4}", 1.0 - 1.0 / 19.0);
    assert_eq!(row.split_whitespace().nth(1), Some(wanted.as_str()), "{out}");
    assert!(out.lines().last().unwrap().ends_with("recipes of --logdir ../runs/mine"), "{out}");

    // What the guide calls the curve is in the event file, with the numbers of the metrics.
    let run = folder.path().join("runs/mine");
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let logged: Vec<(u64, f32)> = metrics
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|step| {
            (step["step"].as_u64().unwrap(), step["rewards/short_lines/mean"].as_f64().unwrap() as f32)
        })
        .collect();
    assert_eq!(logged.len(), 4);
    assert!(logged.iter().any(|(_, mean)| *mean != 0.0), "{logged:?}");
    let [file] = &std::fs::read_dir(run.join("tensorboard"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect::<Vec<_>>()[..]
    else {
        panic!("wanted one event file")
    };
    assert_eq!(curve(&std::fs::read(file).unwrap(), "rewards/short_lines/mean"), logged);
    assert!(guide.contains("the curves `rewards/short_lines/mean` and `reward`"));
    assert_eq!(curve(&std::fs::read(file).unwrap(), "reward").len(), 4);
}

/// The points of one curve in an event file of TensorBoard's: records of a length, its checksum, an `Event` and its checksum.
fn curve(mut bytes: &[u8], wanted: &str) -> Vec<(u64, f32)> {
    let mut points = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (event, rest) = rest[4..].split_at(u64::from_le_bytes(*length) as usize);
        bytes = &rest[4..];
        // Event { double wall_time = 1; int64 step = 2; Summary summary = 5 { Value value = 1 { tag = 1; simple_value = 2 } } }
        let step = fields(event)
            .find_map(|field| if let (2, Field::Number(step)) = field { Some(step) } else { None });
        for value in within(event, 5).flat_map(|summary| within(summary, 1)) {
            let is_wanted = within(value, 1).any(|tag| tag == wanted.as_bytes());
            let number = fields(value)
                .find_map(|field| if let (2, Field::Float(number)) = field { Some(number) } else { None });
            points.extend(number.filter(|_| is_wanted).map(|number| (step.unwrap_or(0), number)));
        }
    }
    points
}

/// A field of a message in protobuf's wire format.
enum Field<'a> {
    Number(u64),
    Double,
    Bytes(&'a [u8]),
    Float(f32),
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let (number, rest) = bytes.split_at(length);
    *bytes = rest;
    Some(number.iter().rev().fold(0, |all, byte| all << 7 | u64::from(byte & 0x7f)))
}

/// The fields of a message, by number.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u64, Field<'_>)> {
    std::iter::from_fn(move || {
        let key = varint(&mut bytes)?;
        let mut take = |count: usize| {
            let (taken, rest) = bytes.split_at(count);
            bytes = rest;
            taken
        };
        let field = match key & 7 {
            1 => {
                take(8);
                Field::Double
            }
            5 => Field::Float(f32::from_le_bytes(take(4).try_into().unwrap())),
            2 => {
                let length = varint(&mut bytes).unwrap() as usize;
                let (taken, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(taken)
            }
            kind => {
                assert_eq!(kind, 0, "a kind of field that TensorBoard does not write");
                Field::Number(varint(&mut bytes).unwrap())
            }
        };
        Some((key >> 3, field))
    })
}

/// The messages and texts in the fields of this number.
fn within(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    fields(message).filter_map(move |field| match field {
        (of, Field::Bytes(bytes)) if of == number => Some(bytes),
        _ => None,
    })
}

/// A reward whose program dies at once stops the run and says why.
#[test]
fn a_reward_that_never_answers_ends_the_run_with_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tiny::make(folder);
    let recipe = folder.join("recipe.toml");
    let text = std::fs::read_to_string(&recipe).unwrap();
    let broken = "[rewards.http.away]\nurl = \"http://127.0.0.1:9/\"\nretries = 0\n";
    std::fs::write(&recipe, format!("{text}\n{broken}")).unwrap();
    let (_, error) = expect(folder, &["recipe.toml"], 1);
    let said = error.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert!(said.contains("`away`") && said.contains("refused"), "{error}");
}

#[test]
fn a_name_that_is_no_module_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_, error) = expect(folder.path(), &["reward", "new", "../short"], 2);
    assert!(error.contains("`../short` cannot name a reward"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
