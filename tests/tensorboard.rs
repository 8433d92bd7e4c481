//! What TensorBoard shows of a run, read by TensorBoard's own reader where Python has it.

use std::path::{Path, PathBuf};
use std::process::Command;

use rltrain::telemetry::read_curves;
use serde_json::Value;

use crate::rltrain::expect;
use crate::tiny::{self, edit};

/// Reads a folder as TensorBoard does, and what its pages ask for.
const READ: &str = r#"
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata, plugin_data_pb2
board = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "histograms": 0, "tensors": 0}).Reload()
tags = board.Tags()
summary = board.SummaryMetadata(metadata.SESSION_START_INFO_TAG)
start = metadata.parse_session_start_info_plugin_data(summary.plugin_data.content)
hparams = {key: (value.number_value if value.HasField("number_value") else value.bool_value if value.HasField("bool_value") else value.string_value)
           for key, value in start.hparams.items()}
print(json.dumps({
    "scalars": {tag: [[point.step, point.value] for point in board.Scalars(tag)] for tag in tags["scalars"]},
    "histograms": {tag: [[point.step, point.histogram_value.num, point.histogram_value.min, point.histogram_value.max,
                          sum(point.histogram_value.bucket)] for point in board.Histograms(tag)] for tag in tags["histograms"]},
    "texts": {tag: [[point.step, point.tensor_proto.string_val[0].decode()] for point in board.Tensors(tag)]
              for tag in tags["tensors"] if board.SummaryMetadata(tag).plugin_data.plugin_name == "text"},
    "hparams": hparams,
}))
"#;

/// A Python that has TensorBoard, if there is one.
fn python() -> Option<PathBuf> {
    let candidates = ["/work/venv/bin/python", "python3"].map(PathBuf::from);
    candidates.into_iter().find(|python| {
        let found = Command::new(python).args(["-c", "import tensorboard"]).output();
        found.is_ok_and(|output| output.status.success())
    })
}

fn train(folder: &Path, more: &str) {
    tiny::make(folder);
    edit(folder, "steps = 4\n", "steps = 2\n");
    edit(folder, "max_tokens = 48\n", "max_tokens = 24\n");
    edit(folder, "[optimizer]\n", &format!("{more}[optimizer]\n"));
    expect(folder, &["recipe.toml"], 0);
}

#[test]
fn curves_have_the_names_of_other_trainers_where_the_recipe_wants_them() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), "[telemetry]\naliases = [\"verl\", \"trl\"]\n\n");
    let curves = read_curves(&folder.path().join("run/tensorboard")).unwrap();
    for (ours, theirs) in [
        ("reward", "critic/score/mean"),
        ("completions/mean_length", "response_length/mean"),
        ("time/step_seconds", "timing_s/step"),
        ("time/step_seconds", "step_time"),
    ] {
        assert_eq!(curves[ours], curves[theirs], "{theirs}");
        assert_eq!(curves[ours].len(), 2);
    }
    // A run that goes on has each point once.
    expect(folder.path(), &["recipe.toml", "--set", "steps=3"], 0);
    let curves = read_curves(&folder.path().join("run/tensorboard")).unwrap();
    let steps: Vec<u64> = curves["critic/score/mean"].iter().map(|point| point.step).collect();
    assert_eq!(steps, [1, 2, 3]);

    let plain = tempfile::tempdir().unwrap();
    train(plain.path(), "");
    assert!(!read_curves(&plain.path().join("run/tensorboard")).unwrap().contains_key("critic/score/mean"));
}

#[test]
fn tensorboard_reads_curves_histograms_texts_and_hyperparameters() {
    let Some(python) = python() else {
        let told = b"skipped: no Python here has TensorBoard; `pip install tensorboard` provides it\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), told);
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), "");
    let board = folder.path().join("run/tensorboard");
    let output = Command::new(python).args(["-c", READ]).arg(&board).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    let curves = read_curves(&board).unwrap();
    assert_eq!(read["scalars"].as_object().unwrap().len(), curves.len());
    for (tag, points) in &curves {
        let steps: Vec<u64> = points.iter().map(|point| point.step).collect();
        let of_board: Vec<u64> =
            read["scalars"][tag].as_array().unwrap().iter().map(|point| point[0].as_u64().unwrap()).collect();
        assert_eq!(of_board, steps, "{tag}");
    }
    // Three tasks, six attempts each.
    let reward = &read["histograms"]["spread/reward"];
    assert_eq!(reward.as_array().unwrap().len(), 2, "{read}");
    assert_eq!(
        (reward[0][0].as_u64(), reward[0][1].as_f64(), reward[0][4].as_f64()),
        (Some(1), Some(18.0), Some(18.0))
    );
    let lengths = &read["histograms"]["spread/completion_length"][1];
    assert!(lengths[2].as_f64().unwrap() >= 1.0 && lengths[3].as_f64().unwrap() <= 24.0, "{lengths}");
    assert!(read["histograms"]["spread/advantage"][0][1].as_f64().unwrap() > 18.0, "one for each token");
    let best = read["texts"]["samples/best"].as_array().unwrap();
    assert!(best.len() == 2 && best[0][1].as_str().unwrap().starts_with("reward "), "{best:?}");
    let hparams = &read["hparams"];
    assert_eq!(
        (&hparams["optimizer.learning_rate"], &hparams["optimizer.kind"]),
        (&0.001.into(), &"adamw".into())
    );
    assert_eq!(hparams["model.gradient_checkpointing"], false);
    assert!(hparams.get("model.path").is_none(), "paths are no hyperparameters: {hparams}");
}
