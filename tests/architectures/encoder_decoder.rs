//! Encoder-decoders against transformers: logits under teacher forcing, gradients, greedy tokens.

use std::path::Path;

use rltrain::policy::{Architecture, EncoderDecoder, EncoderDecoderPlan, Weights, load_tensor};
use rltrain_checkpoints::{TensorFile, read_safetensors};
use serde_json::Value;
use tch::{Device, IndexOp, Kind, Tensor};

use super::{LOGITS, folders, integers, json as read};

struct Reference {
    name: String,
    expected: Value,
    tensors: TensorFile,
    plan: EncoderDecoderPlan,
    weights: Weights,
}

fn plan(path: &Path) -> Option<EncoderDecoderPlan> {
    EncoderDecoderPlan::from_json(&read(path)).unwrap()
}

fn references() -> Vec<Reference> {
    tch::set_num_threads(1);
    let reference = |folder: std::path::PathBuf| {
        let plan = plan(&folder.join("config.json"))?;
        assert_eq!(Some(&plan), self::plan(&folder.join("config_v4.json")).as_ref(), "{}", folder.display());
        Some(Reference {
            name: folder.display().to_string(),
            expected: read(&folder.join("expected.json")),
            tensors: read_safetensors(&folder.join("expected.safetensors")).unwrap(),
            weights: Weights::load(&folder, &plan.shapes(), Device::Cpu).unwrap(),
            plan,
        })
    };
    let references: Vec<Reference> = folders().into_iter().filter_map(reference).collect();
    assert!(references.len() >= 2, "the repository has two folders of its own");
    references
}

impl Reference {
    fn network(&self) -> EncoderDecoder {
        EncoderDecoder::new(&self.plan, &self.weights, Kind::Float)
    }

    fn table(&self, name: &str) -> Tensor {
        let info = self.tensors.info(name).unwrap();
        let shape: Vec<i64> = info.shape.iter().map(|n| *n as i64).collect();
        if info.dtype == rltrain_checkpoints::Dtype::I64 {
            return Tensor::from_data_size(&self.tensors.read(name).unwrap().data, &shape, Kind::Int64);
        }
        load_tensor(&self.tensors, name, &shape).unwrap()
    }

    /// The prompts, padded on the right with a token that must not matter, and their lengths.
    fn prompts(&self) -> (Tensor, Vec<i64>) {
        let lengths = integers(&self.expected["lengths"]);
        let rows = self.expected["right_ids"].as_array().unwrap();
        let row = |(row, length): (&Value, &i64)| {
            let mut ids = integers(row);
            ids[*length as usize..].fill(42);
            Tensor::from_slice(&ids)
        };
        (Tensor::stack(&rows.iter().zip(&lengths).map(row).collect::<Vec<_>>(), 0), lengths)
    }
}

#[test]
fn logits_loss_and_gradients_are_those_of_transformers() {
    for reference in references() {
        let network = reference.network();
        let (prompts, lengths) = reference.prompts();
        let inputs = reference.table("decoder_input_ids");
        let logits = network.logits(&network.write(&inputs, &mut network.read(&prompts, &lengths)));
        let wanted = reference.table("logits");
        let apart = (&logits - &wanted).abs().max().double_value(&[]);
        assert!(apart < LOGITS, "{}: {apart}", reference.name);
        for (row, length) in (0..).zip(&lengths) {
            let alone = prompts.i(row).narrow(0, 0, *length).unsqueeze(0);
            let mut memory = network.read(&alone, &[*length]);
            let alone = network.logits(&network.write(&inputs.i(row).unsqueeze(0), &mut memory));
            let apart = (alone.i(0) - wanted.i(row)).abs().max().double_value(&[]);
            assert!(apart < LOGITS, "{}: alone {apart}", reference.name);
        }
        let labels = reference.table("labels");
        let counts = labels.ge(0);
        let chosen = logits.log_softmax(-1, Kind::Float).gather(2, &labels.clamp_min(0).unsqueeze(2), false);
        let loss = -chosen.squeeze_dim(2).masked_select(&counts).mean(Kind::Float);
        let wanted = reference.expected["loss_mean_ce"].as_f64().unwrap();
        assert!((loss.double_value(&[]) - wanted).abs() < 1e-5 * wanted, "{}", reference.name);
        loss.backward();
        let norms = reference.expected["grad_norms"].as_object().unwrap();
        for (name, weight) in reference.weights.iter() {
            let (found, wanted) = (weight.grad().norm().double_value(&[]), norms[name].as_f64().unwrap());
            let apart = (found - wanted).abs() / wanted.max(1e-3);
            assert!(apart < 1e-4, "{}: {name}: {found}, wanted {wanted}", reference.name);
        }
        assert_eq!(reference.weights.iter().count(), norms.len(), "{}", reference.name);
    }
}

#[test]
fn greedy_tokens_are_those_of_transformers_with_and_without_a_memory_alone_and_together() {
    for reference in references() {
        let network = reference.network();
        let _no_gradient = tch::no_grad_guard();
        let (prompts, lengths) = reference.prompts();
        let wanted: Vec<Vec<i64>> =
            reference.expected["greedy_single"].as_array().unwrap().iter().map(integers).collect();
        let likeliest = |hidden: &Tensor| network.logits(&hidden.select(1, -1)).argmax(-1, false);

        let mut memory = network.read(&prompts, &lengths);
        let mut last = Tensor::full([2, 1], network.start(), (Kind::Int64, Device::Cpu));
        let mut together = Vec::new();
        for _ in &wanted[0] {
            last = likeliest(&network.write(&last, &mut memory)).unsqueeze(1);
            together.push(last.shallow_clone());
        }
        let together = Tensor::cat(&together, 1);
        for (row, wanted) in (0..).zip(&wanted) {
            let found = Vec::<i64>::try_from(together.get(row)).unwrap();
            assert_eq!(&found, wanted, "{}: together, with a memory", reference.name);
            let prompt = prompts.get(row).narrow(0, 0, lengths[row as usize]).unsqueeze(0);
            let mut tokens = vec![network.start()];
            for _ in wanted {
                let mut memory = network.read(&prompt, &lengths[row as usize..=row as usize]);
                let hidden = network.write(&Tensor::from_slice(&tokens).unsqueeze(0), &mut memory);
                tokens.push(likeliest(&hidden).int64_value(&[0]));
            }
            assert_eq!(&tokens[1..], wanted, "{}: alone, without", reference.name);
        }
    }
}

#[test]
fn rollouts_and_updates_refuse_it() {
    let folder = folders().into_iter().find(|folder| folder.ends_with("t5")).unwrap();
    let error = Architecture::from_json(&read(&folder.join("config.json"))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`config.json`: model_type `t5` is an encoder-decoder, which rollouts and updates do not run; \
         wanted a decoder-only model"
    );
}
