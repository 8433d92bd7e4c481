//! Which number format this machine multiplies faster.

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

/// How often each format is timed; the fastest time counts, since everything that disturbs makes it longer.
const REPEATS: usize = 5;

/// How much faster bf16 has to be to be worth its rounding.
const WORTH: f64 = 0.9;

/// How many times slower bf16 may be in one try for another try to be worth its time: a processor without bf16 instructions takes a
/// second for what f32 does in milliseconds.
const HOPELESS: u32 = 8;

/// bf16 where it multiplies faster than f32, forward and backward together, else f32. Takes about a tenth of a second; a second where bf16 is emulated.
///
/// Measured, not looked up: of two processors with the same bf16 instructions, libtorch is twice as fast in bf16 on one
/// (AMD EPYC) and slower than in f32 on the other (Intel Xeon without AMX tiles, where the backward pass decides it). GPUs
/// that PyTorch 2.13 supports multiply bf16 faster.
pub(super) fn faster_kind(device: Device) -> Kind {
    if device.is_cuda() {
        return Kind::BFloat16;
    }
    let (single, half) = (Product::new(Kind::Float), Product::new(Kind::BFloat16));
    let (mut best_single, mut best_half) = (Duration::MAX, Duration::MAX);
    for _ in 0..REPEATS {
        best_single = best_single.min(single.time());
        best_half = best_half.min(half.time());
        if best_half > HOPELESS * best_single {
            break;
        }
    }
    if best_half.as_secs_f64() < WORTH * best_single.as_secs_f64() { Kind::BFloat16 } else { Kind::Float }
}

/// A product of the shape of a small model's layer over one batch.
struct Product {
    tokens: Tensor,
    weight: Tensor,
}

impl Product {
    fn new(kind: Kind) -> Product {
        let ones = |shape| Tensor::ones(shape, (kind, Device::Cpu)).set_requires_grad(true);
        Product { tokens: ones([512, 576]), weight: ones([3072, 576]) }
    }

    fn time(&self) -> Duration {
        let start = Instant::now();
        let product = self.tokens.linear::<&Tensor>(&self.weight, None);
        let _gradients =
            Tensor::run_backward(&[product.sum(Kind::Float)], &[&self.tokens, &self.weight], false, false);
        start.elapsed()
    }
}
