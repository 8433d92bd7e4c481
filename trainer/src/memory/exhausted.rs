//! Memory that ran out: told apart from every other failure of libtorch, and turned into an error.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;

use thiserror::Error;

/// An allocation failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Exhausted {
    /// What the allocator said, its first line.
    pub message: String,
}

/// What allocators say: libtorch's on the processor and on GPUs, cuBLAS's, cuDNN's, and C++'s.
const SAYINGS: [&str; 6] = [
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "ALLOC_FAILED",
    "std::bad_alloc",
    "Cannot allocate memory",
];

/// Whether a message of libtorch is about an allocation that failed.
pub fn is_exhausted(message: &str) -> bool {
    SAYINGS.iter().any(|saying| message.contains(saying))
}

thread_local! {
    /// Whether this thread is inside of [`or_exhausted`].
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// Does `work`, with gradients enabled; an allocation that fails in it is an error, every other panic goes on.
///
/// libtorch's failures come as panics, for hardly any operation could do anything about them. Whatever `work` had allocated
/// is free again when this returns.
///
/// # Errors
///
/// If an allocation failed.
pub fn or_exhausted<T>(work: impl FnOnce() -> T) -> Result<T, Exhausted> {
    keep_quiet();
    // Restores the mode that a panic inside of `tch::no_grad` leaves behind.
    let _mode = tch::no_grad_guard();
    let outer = WATCHED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(|| tch::with_grad(work)));
    WATCHED.set(outer);
    done.or_else(|payload| match text(payload.as_ref()).filter(|text| is_exhausted(text)) {
        Some(text) => Err(Exhausted { message: first_line(text) }),
        None => resume_unwind(payload),
    })
}

/// What a panic says.
fn text(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied())
}

/// The first line of what libtorch said; behind it comes a C++ backtrace.
fn first_line(text: &str) -> String {
    let said = text.split_once("Torch(\"").map_or(text, |(_, said)| said);
    said.split("\\n")
        .next()
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches("\")")
        .to_owned()
}

/// Has the panics that [`or_exhausted`] makes errors of leave standard error alone.
fn keep_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !(WATCHED.get() && text(panic.payload()).is_some_and(is_exhausted)) {
                before(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn an_allocation_that_fails_is_an_error_and_gradients_stay_as_they_were() {
        let huge = || tch::no_grad(|| Tensor::empty([1 << 58], (Kind::Float, Device::Cpu)));
        let error = or_exhausted(huge).unwrap_err();
        assert!(error.message.contains("allocate"), "{error}");
        assert!(!error.message.contains("\\n") && !error.message.contains("frame #"), "{error}");
        let weight = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        assert!((&weight * 2.0).requires_grad());
        assert_eq!(or_exhausted(|| 7), Ok(7));
    }

    #[test]
    #[should_panic(expected = "shape")]
    fn every_other_panic_goes_on() {
        let _ = or_exhausted(|| Tensor::ones([2, 3], (Kind::Float, Device::Cpu)).view([5, 5]));
    }

    #[test]
    fn the_messages_of_gpus_are_known() {
        assert!(is_exhausted(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of"
        ));
        assert!(is_exhausted("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"));
        assert!(!is_exhausted("shape '[5, 5]' is invalid for input of size 6"));
    }
}
