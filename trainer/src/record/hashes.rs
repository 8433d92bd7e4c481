//! Gradients by their hashes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::policy::Weights;

/// Hexadecimal digits of a tensor's hash that are kept.
const DIGITS: usize = 16;

/// The gradient of one optimizer step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gradient {
    /// BLAKE3 over the names and hashes of all tensors.
    pub blake3: String,
    /// Of each tensor by the name of its weight: the first 16 digits of the BLAKE3 hash of its numbers, as f32 in memory.
    pub tensors: BTreeMap<String, String>,
}

impl Gradient {
    /// Of tensors with these names and [`hashes`].
    pub fn of(hashes: &[(String, String)]) -> Gradient {
        let mut all = blake3::Hasher::new();
        for (name, hash) in hashes {
            all.update(format!("{name} {hash}\n").as_bytes());
        }
        let tensor =
            |(name, hash): &(String, String)| (name.clone(), hash[..DIGITS.min(hash.len())].to_owned());
        Gradient { blake3: all.finalize().to_hex().to_string(), tensors: hashes.iter().map(tensor).collect() }
    }
}

/// The gradients of `weights` as they are now: the name of the weight and the BLAKE3 hash of each; weights without one are left out.
pub fn hashes(weights: &Weights) -> Vec<(String, String)> {
    let _no_gradient = tch::no_grad_guard();
    let trained = weights.trained().map(|(name, weight)| (name, weight.grad()));
    trained
        .filter(|(_, gradient)| gradient.defined())
        .map(|(name, gradient)| (name, hash(&gradient)))
        .collect()
}

/// Numbers that are copied and hashed together: 4 MB, so that no gradient is in memory twice.
const TOGETHER: i64 = 1 << 20;

fn hash(tensor: &Tensor) -> String {
    let flat = tensor.detach().contiguous().view([-1]);
    let numbers = flat.numel() as i64;
    let mut bytes = vec![0u8; numbers.min(TOGETHER) as usize * size_of::<f32>()];
    let mut hasher = blake3::Hasher::new();
    for start in (0..numbers).step_by(TOGETHER as usize) {
        let count = TOGETHER.min(numbers - start);
        let part = flat.narrow(0, start, count).to_device(Device::Cpu).to_kind(Kind::Float);
        let part_bytes = &mut bytes[..count as usize * size_of::<f32>()];
        part.copy_data_u8(part_bytes, count as usize);
        hasher.update_rayon(part_bytes);
    }
    hasher.finalize().to_hex().to_string()
}
