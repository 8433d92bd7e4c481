//! Corrections for the rollout's logprobs against TRL's weights and verl's weights and masks.

use rltrain::algorithm::CorrectionKind::{GeometricRejection, Icepop, SequenceMask, SequenceTis, TokenTis};
use rltrain::algorithm::{AlgorithmConfig, CorrectionKind, Sequences, correction, sequence_of_tokens};
use serde_json::Value;
use tch::{Kind, Tensor};

use super::{golden_json, tensor};

/// Weights of the slots that `mask` has, and the slots of a table that is `[B, T]` or `[B, 1]`.
fn weights_and_table(
    inputs: &Value,
    mask: &str,
    kind: CorrectionKind,
    (low, high): (f64, f64),
    table: &Value,
) -> (Tensor, Tensor) {
    let mask = tensor(&inputs[mask]);
    let trained = mask.to_kind(Kind::Bool);
    let lengths = Vec::<f64>::try_from(mask.sum_dim_intlist(1, false, Kind::Double)).unwrap();
    let lengths: Vec<usize> = lengths.into_iter().map(|length| length as usize).collect();
    let sequence_n = sequence_of_tokens(&lengths);
    let sequences = Sequences { of_token_n: &sequence_n, count: lengths.len() as i64 };
    let config = AlgorithmConfig {
        correction: kind,
        correction_low: low,
        correction_high: high,
        ..AlgorithmConfig::default()
    };
    let pick = |name: &str| tensor(&inputs[name]).masked_select(&trained);
    let ours = correction(&config, &pick("old_logp"), &pick("rollout_logp"), sequences).unwrap();
    let theirs = tensor(table).expand(mask.size(), false).masked_select(&trained);
    (ours.weight_n, theirs)
}

#[track_caller]
fn assert_close(what: &str, (ours, theirs): (Tensor, Tensor)) {
    let difference = (ours - theirs).abs().max().double_value(&[]);
    assert!(difference <= 1e-9, "{what} differs by {difference:e}");
}

#[test]
fn weights_are_those_of_trl() {
    let table = golden_json("rl-losses.json");
    let rows = table["trl"]["is_ratio"].as_object().unwrap();
    for (name, row) in rows {
        let (kind, bounds) = match name.as_str() {
            "token_truncate[None,1.1]" => (TokenTis, (0.0, 1.1)),
            "token_mask[0.9,1.1]" => (Icepop, (0.9, 1.1)),
            "sequence_truncate[None,1.2]" => (SequenceTis, (0.0, 1.2)),
            "sequence_mask[None,3.0]" => (SequenceMask, (0.0, 3.0)),
            "sequence_mask[0.8,1.2]" => (SequenceMask, (0.8, 1.2)),
            other => panic!("TRL's `{other}` is neither compared nor named as not offered"),
        };
        assert_close(name, weights_and_table(&table["inputs"], "mask", kind, bounds, row));
    }
    assert_eq!(rows.len(), 5);
}

#[test]
fn weights_are_those_of_verl() {
    let table = golden_json("rl-losses.json");
    let rows = &table["verl"]["rollout_corr"];
    for (name, kind) in [("TIS/token", TokenTis), ("TIS/sequence", SequenceTis)] {
        let theirs = &rows[name]["weights"];
        assert_close(name, weights_and_table(&table["inputs"], "mask_mt", kind, (0.0, 2.0), theirs));
    }
}

/// verl's `0.95_1.05` accepts ratios from 1 / 1.05 to 1 / 0.95. Given those bounds, ours rejects the same sequences and
/// tokens; given verl's own, it rejects others.
#[test]
fn bounds_are_on_the_ratio_where_verl_has_them_on_its_inverse() {
    let table = golden_json("rl-losses.json");
    let (inputs, rows) = (&table["inputs"], &table["verl"]["rollout_corr"]);
    let kept = |kind, bounds, row: &Value| {
        let (weights, theirs) = weights_and_table(inputs, "mask_mt", kind, bounds, &row["mask"]);
        (weights.gt(0.0).to_kind(Kind::Double), theirs)
    };
    for (name, kind, low, high) in [
        ("RS/token_k1@0.8_1.25", Icepop, 0.8, 1.25),
        ("RS/seq_sum_k1@0.5_2.0", SequenceMask, 0.5, 2.0),
        ("RS/seq_mean_k1@0.95_1.05", GeometricRejection, 0.95, 1.05),
    ] {
        assert_close(name, kept(kind, (1.0 / high, 1.0 / low), &rows[name]));
    }
    let (ours, theirs) = kept(GeometricRejection, (0.8, 1.02), &rows["RS/seq_mean_k1@0.95_1.05"]);
    assert_ne!(ours, theirs, "a bound that verl's table does not have");
}

/// A log-ratio of 95 is an infinity in f32; OpenRLHF's IcePop then has 0 times infinity.
#[test]
fn weights_are_finite_whatever_the_logprobs() {
    let old = Tensor::from_slice(&[-1.0f32, 0.0, -1e30, f32::MIN]);
    let sampled = Tensor::from_slice(&[-96.0f32, -1e30, 0.0, f32::MIN]);
    let sequence_n = sequence_of_tokens(&[2, 2]);
    let sequences = Sequences { of_token_n: &sequence_n, count: 2 };
    for correction_kind in [TokenTis, SequenceTis, Icepop, SequenceMask, GeometricRejection] {
        let config = AlgorithmConfig { correction: correction_kind, ..AlgorithmConfig::default() };
        let ours = correction(&config, &old, &sampled, sequences).unwrap();
        for weight in Vec::<f32>::try_from(&ours.weight_n).unwrap() {
            assert!((0.0..=2.0).contains(&weight), "{correction_kind:?} {weight}");
        }
    }
}
