//! `rltrain sample FOLDER --prompt TEXT`.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::print_line;
use crate::policy::{Compute, DeviceChoice, ModelConfig, Policy};
use crate::rng::Stream;
use crate::rollout::{self, Completion, Request, Sampling};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A Hugging Face model folder, such as the `model` folder of a checkpoint
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// What the user says, put into the model's chat format
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// How the answer begins, such as a code fence and a signature
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefill: String,
    /// Give the prompt to the model as it is, without the chat format
    #[arg(long)]
    raw: bool,
    /// Longest completion, in tokens
    #[arg(long, value_name = "TOKENS", default_value = "256")]
    max_tokens: NonZeroUsize,
    /// Sampling temperature; 0 is greedy
    #[arg(long, default_value = "0", value_parser = temperature, allow_negative_numbers = true)]
    temperature: f64,
    /// Completions wanted
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    samples: NonZeroUsize,
    /// Seed of the random numbers
    #[arg(long, default_value = "0")]
    seed: u64,
    /// A text that ends the completion; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Dtype of the matrix products
    #[arg(long, default_value = "f32", value_parser = compute, value_name = "auto|bf16|f32")]
    compute: Compute,
    /// Device, such as cpu or cuda:0
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Print token ids, logprobs and the entropy of each token's distribution as JSON, one completion a line
    #[arg(long)]
    json: bool,
}

fn temperature(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("wanted a finite number of at least 0".to_owned()),
    }
}

pub(super) fn compute(text: &str) -> Result<Compute, String> {
    match text {
        "auto" => Ok(Compute::Auto),
        "bf16" => Ok(Compute::Bf16),
        "f32" => Ok(Compute::F32),
        _ => Err("wanted `auto`, `bf16` or `f32`".to_owned()),
    }
}

/// Loads the model and prints its completions.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let model = ModelConfig::to_read(arguments.folder.clone(), arguments.compute, arguments.device);
    let (kind, device) = model.kind_and_device()?;
    let policy = Policy::load(&model.path, kind, device)?;
    let text =
        if arguments.raw { arguments.prompt.clone() } else { policy.tokenizer.chat(&arguments.prompt)? };
    let prompt = policy.tokenizer.encode_prompt(&(text + &arguments.prefill))?;
    if prompt.is_empty() {
        return Err(Failure::plain_input(std::io::Error::other(
            "the prompt has no tokens; give `--prompt` a text",
        )));
    }
    let sampling = Sampling {
        seed: arguments.seed,
        stream: Stream::Sampling,
        step: 0,
        temperature: arguments.temperature,
        max_tokens: arguments.max_tokens.get(),
        stop: arguments.stop.clone(),
        max_batch: 64,
        entropy: arguments.json,
        ..Sampling::default()
    };
    let requests = [Request { prompt, samples: arguments.samples.get(), ..Request::default() }];
    let mut completions = Vec::new();
    let view = tch::no_grad(|| policy.model());
    rollout::generate(&view, &policy.tokenizer, &requests, &sampling, &mut |completion| {
        completions.push(completion)
    })?;
    completions.sort_by_key(|completion| completion.sample);
    for completion in &completions {
        print(arguments, &requests[0].prompt, completion);
    }
    Ok(())
}

fn print(arguments: &Arguments, prompt: &[i64], completion: &Completion) {
    if arguments.json {
        let Completion { tokens, logprobs, entropies, text, .. } = completion;
        print_line(json!({
            "prompt": prompt, "tokens": tokens, "logprobs": logprobs, "entropies": entropies, "text": text
        }));
    } else {
        // As `print_line`: a closed pipe is not a failure.
        let _ = std::io::stdout().flush();
        print_line(format_args!("{}{}", arguments.prefill, completion.text));
    }
}
