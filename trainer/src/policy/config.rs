//! `[model]`: which network is trained, and with what arithmetic.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Cuda, Device, Kind};
use thiserror::Error;

use super::PolicyError;
use super::compute::faster_kind;

/// `[model]`: which network is trained, and with what arithmetic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Folder of the model that training starts from, in the Hugging Face layout: `config.json`,
    /// `model.safetensors`, `tokenizer.json`. It is only read. A relative path is relative to the recipe.
    /// `rltrain import` makes such a folder out of a GGUF file.
    pub path: PathBuf,
    /// Number format of the matrix products, in rollout and update: `auto`, `bf16` or `f32`. Weights,
    /// gradients and the optimizer's state are f32 in any case. Default `auto`: the one that this machine
    /// multiplies faster, measured when the run starts and kept when it resumes. Name one to get the same numbers on every machine.
    #[serde(default)]
    pub compute: Compute,
    /// Where the model runs: `auto`, `cpu`, `cuda` or `cuda:N`, with N counting from 0. Default `auto`: the
    /// first GPU if there is one, else the processor.
    #[serde(default)]
    pub device: DeviceChoice,
    /// Lets oneMKL use its fast kernels on AMD processors too, where it takes slow ones of its own accord. No
    /// effect on other processors or on GPUs. Default true.
    #[serde(default = "default_fast_matmul")]
    pub fast_matmul: bool,
    /// Whether the rows of tokens, and of learned positions, stay as they are. Where the output matrix is tied to them it
    /// stays as well. Not with `[model.lora]`, which trains nothing but adapters. Default false.
    #[serde(default)]
    pub freeze_embeddings: bool,
    /// Whether an update computes every layer a second time instead of keeping what it computed: memory for one layer in
    /// place of all, for about a third more time. Default false.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    /// Trains low-rank adapters and leaves the weights as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
}

/// `[model.lora]`: train low-rank adapters and leave the weights as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// Folder of adapters in PEFT's layout that training goes on from, such as the `adapter` folder of another run's checkpoint.
    /// A relative path is relative to the recipe. `rank`, `alpha`, `rank_stabilised` and `targets` are then the folder's.
    /// Default: new adapters, which change nothing yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Rank of every adapter: each adapted matrix of `m` by `n` gets `rank * (m + n)` trained numbers. Default 16.
    pub rank: NonZeroUsize,
    /// Strength of the adapters: their product is multiplied by `alpha / rank`, or with `rank_stabilised` by
    /// `alpha / sqrt(rank)`. Default 32.
    pub alpha: f64,
    /// Whether `alpha` is divided by the square root of the rank (rsLoRA, Kalajdzievski 2023, arXiv:2312.03732), so that a
    /// larger rank learns no slower. Default false.
    pub rank_stabilised: bool,
    /// Share of the inputs of an adapter that an update leaves out at random. Rollouts and evaluations leave out nothing,
    /// so that with a share above 0 the first ratio of an update is not 1. Default 0.
    pub dropout: f64,
    /// Names of the matrices that get an adapter, without what comes before the last dot: `["q_proj", "v_proj"]`. Default:
    /// every matrix of the layers, as PEFT's `all-linear`.
    pub targets: Vec<String>,
}

impl Default for LoraConfig {
    fn default() -> LoraConfig {
        LoraConfig {
            path: None,
            rank: NonZeroUsize::new(16).expect("16 is not 0"),
            alpha: 32.0,
            rank_stabilised: false,
            dropout: 0.0,
            targets: Vec::new(),
        }
    }
}

impl LoraConfig {
    /// The factor of the product `B A`.
    pub fn scale(&self) -> f64 {
        let rank = self.rank.get() as f64;
        self.alpha / if self.rank_stabilised { rank.sqrt() } else { rank }
    }
}

/// Number format of matrix products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compute {
    /// bf16 where this machine multiplies it faster, else f32.
    #[default]
    Auto,
    /// Brain floating point: 8 bits of exponent, 8 of precision.
    Bf16,
    /// IEEE single precision.
    F32,
}

impl From<Kind> for Compute {
    fn from(kind: Kind) -> Compute {
        if kind == Kind::BFloat16 { Compute::Bf16 } else { Compute::F32 }
    }
}

/// Where the model runs; written `auto`, `cpu`, `cuda` or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^(auto|cpu|cuda(:\d+)?)$"))]
pub enum DeviceChoice {
    /// The first GPU if there is one, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The GPU with this number, from 0.
    Cuda(usize),
}

/// A text that names no device.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a device, wanted `auto`, `cpu`, `cuda` or `cuda:N`")]
pub struct InvalidDevice(String);

impl ModelConfig {
    /// The model in folder `path`, to be read and not trained.
    pub fn to_read(path: PathBuf, compute: Compute, device: DeviceChoice) -> ModelConfig {
        ModelConfig {
            path,
            compute,
            device,
            fast_matmul: default_fast_matmul(),
            freeze_embeddings: false,
            gradient_checkpointing: false,
            lora: None,
        }
    }

    /// What `compute` and `device` mean on this machine. Call it after [`crate::mkl::set_fast`]: `auto` multiplies.
    ///
    /// # Errors
    ///
    /// If a GPU is asked for that this machine, or this build of libtorch, does not have.
    pub fn kind_and_device(&self) -> Result<(Kind, Device), PolicyError> {
        let device = self.device.resolve()?;
        let kind = match self.compute {
            Compute::Bf16 => Kind::BFloat16,
            Compute::F32 => Kind::Float,
            Compute::Auto => faster_kind(device),
        };
        Ok((kind, device))
    }
}

impl DeviceChoice {
    /// Whether it is a graphics processor, on this machine.
    pub(crate) fn is_cuda(self) -> bool {
        match self {
            DeviceChoice::Auto => Cuda::is_available(),
            DeviceChoice::Cpu => false,
            DeviceChoice::Cuda(_) => true,
        }
    }

    fn resolve(self) -> Result<Device, PolicyError> {
        let DeviceChoice::Cuda(index) = self else {
            return Ok(if self == DeviceChoice::Auto { Device::cuda_if_available() } else { Device::Cpu });
        };
        let unavailable = |why: String| Err(PolicyError::Device { found: self.to_string(), why });
        if !Cuda::is_available() {
            return unavailable(
                "this build of libtorch has no CUDA, or the machine has no GPU that it can use".to_owned(),
            );
        }
        match Cuda::device_count() {
            count if index as i64 >= count => {
                unavailable(format!("the machine has {count} of them, counted from 0"))
            }
            _ => Ok(Device::Cuda(index)),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(0) => f.write_str("cuda"),
            DeviceChoice::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = InvalidDevice;

    fn from_str(text: &str) -> Result<Self, InvalidDevice> {
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok())
                .map(DeviceChoice::Cuda)
                .ok_or_else(|| InvalidDevice(text.to_owned())),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = InvalidDevice;

    fn try_from(text: String) -> Result<Self, InvalidDevice> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(device: DeviceChoice) -> Self {
        device.to_string()
    }
}

fn default_fast_matmul() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_that_names_no_device_is_refused() {
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:+1", "cuda:x", "CPU"] {
            assert_eq!(text.parse::<DeviceChoice>(), Err(InvalidDevice(text.to_owned())));
        }
    }

    #[test]
    fn the_processor_is_always_there_and_f32_stays_f32() {
        let config = ModelConfig {
            path: PathBuf::new(),
            compute: Compute::F32,
            device: DeviceChoice::Cpu,
            fast_matmul: true,
            freeze_embeddings: false,
            gradient_checkpointing: false,
            lora: None,
        };
        assert_eq!(config.kind_and_device().unwrap(), (Kind::Float, Device::Cpu));
    }

    #[test]
    fn a_gpu_that_is_not_there_is_named() {
        let error = DeviceChoice::Cuda(4096).resolve().unwrap_err();
        assert!(error.to_string().starts_with("device `cuda:4096` is not available: "), "{error}");
    }

    proptest! {
        #[test]
        fn a_device_reads_back_as_it_was_written(index in any::<usize>()) {
            for device in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(index)] {
                prop_assert_eq!(device.to_string().parse(), Ok(device));
            }
        }
    }
}
