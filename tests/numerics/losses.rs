//! Policy losses against those of TRL, verl, OpenRLHF and prime-rl: `golden/rl-losses.json`, f64, made by running their own
//! functions. Every row of the file is compared or named as not offered.

use rltrain::algorithm::{
    Aggregation, AlgorithmConfig, CorrectionKind, Denominators, PolicyLoss, RatioLevel, top_covariance,
    top_entropy,
};
use serde_json::Value;
use tch::Tensor;

use super::packed::{Padded, assert_same};
use super::{golden_json, tensor};

/// Absolute, of loss and gradient.
const BOUNDS: (f64, f64) = (1e-9, 1e-8);

/// The clip of most rows.
const CLIP: (f64, f64) = (0.2, 0.28);

/// A token-mean clip, as verl's `vanilla`.
fn vanilla() -> AlgorithmConfig {
    AlgorithmConfig { clip_low: CLIP.0, clip_high: CLIP.1, ..AlgorithmConfig::default() }
}

fn of_sequences(policy_loss: PolicyLoss) -> AlgorithmConfig {
    AlgorithmConfig { policy_loss, aggregation: Aggregation::SequenceMeanTokenMean, ..vanilla() }
}

/// The batch that verl, OpenRLHF and prime-rl were run on: rows with holes for an environment's tokens.
fn with_holes(inputs: &Value) -> Padded {
    Padded {
        sampled: None,
        ..Padded::new(
            tensor(&inputs["logp"]),
            tensor(&inputs["old_logp"]),
            &tensor(&inputs["advantages_for_losses"]),
            tensor(&inputs["mask_mt"]),
        )
    }
}

#[track_caller]
fn compare(what: &str, batch: &Padded, config: &AlgorithmConfig, denominators: Denominators, row: &Value) {
    let ours = batch.loss(config, denominators, 0.0);
    assert_same(what, &ours, row["loss"].as_f64().unwrap(), &tensor(&row["dlogp"]), BOUNDS);
}

#[test]
fn policy_losses_are_those_of_verl() {
    let table = golden_json("rl-losses.json");
    let batch = with_holes(&table["inputs"]);
    let global = batch.denominators(8);
    // verl's "sum-norm" divides by the length alone.
    let one_row = |longest| Denominators { sequences: 1, longest, ..global };
    let aggregated = |aggregation| AlgorithmConfig { aggregation, ..vanilla() };
    let gspo = |clip_low, clip_high| AlgorithmConfig {
        ratio: RatioLevel::Sequence,
        clip_low,
        clip_high,
        ..of_sequences(PolicyLoss::Clip)
    };
    let constant = aggregated(Aggregation::ConstantLength);
    let rows = table["verl"]["policy_loss"].as_object().unwrap();
    for (name, row) in rows {
        let (config, denominators) = match name.as_str() {
            "vanilla/token-mean" => (vanilla(), global),
            "vanilla/seq-mean-token-sum" => (aggregated(Aggregation::SequenceMeanTokenSum), global),
            "vanilla/seq-mean-token-mean" => (aggregated(Aggregation::SequenceMeanTokenMean), global),
            "vanilla/seq-mean-token-sum-norm" => (constant, one_row(8)),
            "vanilla/seq-mean-token-sum-norm/L=16" => (constant, one_row(16)),
            // 100 tokens on two ranks whose gradients are averaged; ours are summed.
            "vanilla/token-mean/global(dp=2,tok=100)" => (vanilla(), Denominators { tokens: 50, ..global }),
            "gspo(eps 3e-4/4e-4)" => (gspo(3e-4, 4e-4), global),
            "gspo(eps 0.2/0.28)" => (gspo(0.2, 0.28), global),
            "sapo" => (of_sequences(PolicyLoss::Sapo), global),
            "gpg" => (AlgorithmConfig { policy_loss: PolicyLoss::Reinforce, ..vanilla() }, global),
            "geo_mean" => (of_sequences(PolicyLoss::Gmpo), global),
            "cispo(0.2/0.28)" => (AlgorithmConfig { policy_loss: PolicyLoss::Cispo, ..vanilla() }, global),
            "reinforce/seq-mean-token-sum" => (
                AlgorithmConfig {
                    policy_loss: PolicyLoss::Reinforce,
                    ..aggregated(Aggregation::SequenceMeanTokenSum)
                },
                global,
            ),
            "kl_cov(k=0.1,coef=0.1)" => {
                let config = AlgorithmConfig {
                    policy_loss: PolicyLoss::KlCov,
                    covariance_share: 0.1,
                    covariance_coefficient: 0.1,
                    ..vanilla()
                };
                let (advantages_n, logprobs_n) = (batch.pick(&batch.advantages), batch.pick(&batch.logprobs));
                let marked_n = top_covariance(&advantages_n, &logprobs_n, config.covariance_share);
                let ours = batch.masked_loss(&config, global, 0.0, None, Some(&marked_n));
                assert_same(name, &ours, row["loss"].as_f64().unwrap(), &tensor(&row["dlogp"]), BOUNDS);
                continue;
            }
            other => panic!("verl's `{other}` is neither compared nor named as not offered"),
        };
        compare(&format!("verl {name}"), &batch, &config, denominators, row);
    }
    assert_eq!(rows.len(), 14);
}

#[test]
fn policy_losses_are_those_of_openrlhf() {
    let table = golden_json("rl-losses.json");
    let inputs = &table["inputs"];
    let batch = with_holes(inputs);
    let corrected = Padded { sampled: Some(tensor(&inputs["rollout_logp"])), ..with_holes(inputs) };
    let global = batch.denominators(8);
    let bounds = |correction, correction_low, correction_high| AlgorithmConfig {
        correction,
        correction_low,
        correction_high,
        ..vanilla()
    };
    let (mut compared, mut left_out) = (0, Vec::new());
    for (name, row) in table["openrlhf"]["policy_loss"].as_object().unwrap() {
        let config = match name.as_str() {
            "ppo/token" => vanilla(),
            "ppo/sample_mean" => of_sequences(PolicyLoss::Clip),
            "ppo/dual_clip=3" => AlgorithmConfig { dual_clip: Some(3.0), ..vanilla() },
            "gspo" => AlgorithmConfig { ratio: RatioLevel::Sequence, ..of_sequences(PolicyLoss::Clip) },
            "ppo/is=tis[0.5,5.0]" => bounds(CorrectionKind::TokenTis, 0.5, 5.0),
            "ppo/is=icepop[0.5,5.0]" => bounds(CorrectionKind::Icepop, 0.5, 5.0),
            "ppo/is=icepop[0.95,1.05]" => bounds(CorrectionKind::Icepop, 0.95, 1.05),
            other => {
                left_out.push(other);
                continue;
            }
        };
        compare(&format!("OpenRLHF {name}"), &corrected, &config, global, row);
        compared += 1;
    }
    // The mask of sequences is offered on its own (`geometric-rejection`), not times the unbounded ratio of each token.
    assert_eq!((compared, left_out), (7, vec!["ppo/is=seq-mask-tis[0.5,5.0]"]));
}

#[test]
fn policy_losses_are_those_of_prime_rl() {
    let table = golden_json("rl-losses.json");
    let inputs = &table["inputs"];
    let batch = Padded { old: tensor(&inputs["rollout_logp"]), ..with_holes(inputs) };
    let moved = |policy_loss, bound| AlgorithmConfig {
        policy_loss,
        probability_low: bound,
        probability_high: bound,
        drift_coefficient: 1e-3,
        ..vanilla()
    };
    let (mut compared, mut left_out) = (0, Vec::new());
    for (name, row) in table["prime_rl"].as_object().unwrap() {
        let config = match name.as_str() {
            "default(dppo 0.2/0.2,kl 1e-3)" => moved(PolicyLoss::Dppo, 0.2),
            "default(dppo 0.05/0.05,kl 1e-3)" => moved(PolicyLoss::Dppo, 0.05),
            "ipo(0.1)" => moved(PolicyLoss::Ipo, 0.1),
            other => {
                left_out.push(other);
                continue;
            }
        };
        compare(&format!("prime-rl {name}"), &batch, &config, batch.denominators(8), row);
        compared += 1;
    }
    // Distillation from a teacher's logprobs, not a loss of rewards.
    assert_eq!((compared, left_out), (3, vec!["ref_kl"]));
}

#[test]
fn policy_losses_are_those_of_an_earlier_trl() {
    let table = golden_json("rl-losses.json");
    let (inputs, trl) = (&table["inputs"], &table["trl"]);
    let advantages = tensor(&trl["advantages"]["one_func/scale=group"]["advantages"]);
    let rows = trl["loss"].as_object().unwrap();
    for (name, row) in rows {
        let options = &row["opts"];
        let mask = if name.contains("/tool_mask") { "mask_mt" } else { "mask" };
        let batch = Padded {
            sampled: name.contains("/is=").then(|| tensor(&inputs["rollout_logp"])),
            reference: Some(tensor(&inputs["ref_logp"])),
            ..Padded::new(
                tensor(&inputs["logp"]),
                tensor(&inputs["old_logp"]),
                &advantages,
                tensor(&inputs[mask]),
            )
        };
        let kind = name.split(['/', '(']).next().unwrap();
        let setting = TrlSetting {
            kind: if kind == "gspo" { "grpo" } else { kind },
            sequence: options["level"] == "sequence",
            clip: (options["eps_lo"].as_f64().unwrap(), options["eps_hi"].as_f64().unwrap()),
            cap: options["delta"].as_f64(),
            kl_importance: options["bias_kl"].as_bool().unwrap(),
            off_policy: options["opm"].as_f64(),
            ..TrlSetting::default()
        };
        let config = match name.split_once("/is=").map(|(_, mode)| mode) {
            None => setting.config(),
            Some("sequence_mask[None,3.0]") => AlgorithmConfig {
                correction: CorrectionKind::SequenceMask,
                correction_high: 3.0,
                ..setting.config()
            },
            Some("token_truncate[None,1.1]") => AlgorithmConfig {
                correction: CorrectionKind::TokenTis,
                correction_high: 1.1,
                ..setting.config()
            },
            Some(other) => panic!("TRL's correction `{other}` is neither compared nor named as not offered"),
        };
        let tokens = options["n_items"].as_u64();
        let steps = options["ga"].as_u64().unwrap() as usize;
        let denominators =
            trl_denominators(&batch, setting.kind, steps, tokens.map(|tokens| tokens as usize));
        let keep_n = options["teq"]
            .as_f64()
            .filter(|share| *share < 1.0)
            .map(|share| top_entropy(&batch.pick(&tensor(&inputs["entropy"])), share));
        let kl = options["beta"].as_f64().unwrap();
        let ours = batch.masked_loss(&config, denominators, kl, keep_n.as_ref(), None);
        // VESPO's function was run without the `no_grad` that TRL calls it under, so that the table's gradient goes through
        // the weight as well. Its loss is right, and its gradient is compared in `trl_losses.rs`.
        let gradient = if name == "vespo" { ours.gradient.copy() } else { tensor(&row["dlogp"]) };
        assert_same(&format!("TRL {name}"), &ours, row["loss"].as_f64().unwrap(), &gradient, BOUNDS);
    }
    assert_eq!(rows.len(), 20);
}

/// A mean of the four rules, over the entropies of the table.
#[test]
fn aggregations_are_those_of_verl() {
    let table = golden_json("rl-losses.json");
    let (batch, value) = (with_holes(&table["inputs"]), tensor(&table["inputs"]["entropy"]));
    let (global, lengths) = (batch.denominators(8), batch.lengths());
    let rows = table["verl"]["agg_loss"].as_object().unwrap();
    for (name, wanted) in rows {
        let (aggregation, denominators) = match name.as_str() {
            "token-mean" => (Aggregation::TokenMean, global),
            "seq-mean-token-sum" => (Aggregation::SequenceMeanTokenSum, global),
            "seq-mean-token-mean" => (Aggregation::SequenceMeanTokenMean, global),
            "seq-mean-token-sum-norm" => {
                (Aggregation::ConstantLength, Denominators { sequences: 1, ..global })
            }
            other => panic!("verl's `{other}` is neither compared nor named as not offered"),
        };
        let factors: Vec<f64> =
            lengths.iter().map(|length| denominators.factor(aggregation, *length)).collect();
        let ours = (Tensor::from_slice(&factors).unsqueeze(1) * &value * &batch.mask).sum(tch::Kind::Double);
        // verl adds 1e-8 to the length of each row.
        assert!((ours.double_value(&[]) - wanted.as_f64().unwrap()).abs() <= 1e-8, "verl {name}");
    }
    assert_eq!(rows.len(), 4);
}

/// What TRL's loss is configured by, in the words of both tables.
#[derive(Clone, Copy, Default)]
pub(super) struct TrlSetting<'a> {
    pub(super) kind: &'a str,
    pub(super) sequence: bool,
    pub(super) clip: (f64, f64),
    pub(super) cap: Option<f64>,
    pub(super) kl_importance: bool,
    pub(super) off_policy: Option<f64>,
    pub(super) entropy: f64,
}

impl TrlSetting<'_> {
    pub(super) fn config(&self) -> AlgorithmConfig {
        let (policy_loss, aggregation) = match self.kind {
            "grpo" => (PolicyLoss::Clip, Aggregation::SequenceMeanTokenMean),
            "bnpo" | "dapo" => (PolicyLoss::Clip, Aggregation::TokenMean),
            "dr_grpo" => (PolicyLoss::Clip, Aggregation::ConstantLength),
            "luspo" => (PolicyLoss::Clip, Aggregation::SequenceMeanTokenSum),
            "cispo" => (PolicyLoss::CispoCapped, Aggregation::TokenMean),
            "sapo" => (PolicyLoss::Sapo, Aggregation::SequenceMeanTokenMean),
            "vespo" => (PolicyLoss::Vespo, Aggregation::TokenMean),
            other => panic!("TRL's `{other}` is neither compared nor named as not offered"),
        };
        AlgorithmConfig {
            policy_loss,
            aggregation,
            ratio: if self.sequence { RatioLevel::Sequence } else { RatioLevel::Token },
            clip_low: self.clip.0,
            clip_high: self.clip.1,
            ratio_cap: if self.kind == "cispo" { Some(self.clip.1) } else { self.cap },
            kl_importance: self.kl_importance,
            off_policy_threshold: self.off_policy,
            entropy_coefficient: self.entropy,
            ..AlgorithmConfig::default()
        }
    }
}

/// TRL divides the loss of each of `steps` micro-batches by their number, and counts rows without tokens. `tokens` is what
/// it divides a token mean by, if that is not the batch's own number.
pub(super) fn trl_denominators(
    batch: &Padded,
    kind: &str,
    steps: usize,
    tokens: Option<usize>,
) -> Denominators {
    let own = batch.denominators(16);
    let by_items = ["dapo", "cispo", "vespo"].contains(&kind);
    Denominators {
        tokens: tokens.filter(|_| by_items).unwrap_or(if by_items { own.tokens } else { own.tokens * steps }),
        sequences: batch.lengths().len() * steps,
        longest: own.longest,
    }
}
