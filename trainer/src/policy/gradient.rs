//! Gradients that are given to weights and taken from them. `tch` can only read them; `gradient.cpp` does the rest.

#![allow(
    unsafe_code,
    reason = "libtorch's way to set a gradient is C++, reached through a C interface of ours"
)]

use std::ffi::c_void;
use std::ptr;

use tch::Tensor;

unsafe extern "C" {
    fn rltrain_gradient_set(tensor: *const c_void, gradient: *const c_void);
}

/// Gives `weight` a gradient of its shape, kind and device in place of the one that it has, or none.
pub(crate) fn set_gradient(weight: &Tensor, gradient: Option<&Tensor>) {
    let gradient = gradient.map_or(ptr::null(), |gradient| gradient.as_ptr().cast());
    // SAFETY: both tensors are alive; the weight keeps a reference to its gradient.
    unsafe { rltrain_gradient_set(weight.as_ptr().cast(), gradient) }
}

/// Takes its gradient from `weight`, which has none afterwards; `None` if it had none.
pub(crate) fn take_gradient(weight: &Tensor) -> Option<Tensor> {
    let gradient = weight.grad();
    if !gradient.defined() {
        return None;
    }
    set_gradient(weight, None);
    Some(gradient)
}

/// The gradient of a weight that is trained, to be added to in place; zero if there was none.
pub(crate) fn gradient_of(weight: &Tensor) -> Tensor {
    let gradient = weight.grad();
    if gradient.defined() {
        return gradient;
    }
    let zero = weight.detach().zeros_like();
    set_gradient(weight, Some(&zero));
    zero
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn gradients_are_given_added_to_and_taken() {
        let weight = Tensor::ones([2, 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        assert!(take_gradient(&weight).is_none());
        let _ = gradient_of(&weight).fill_(2.0);
        (&weight * 3.0).sum(Kind::Float).backward();
        let taken = take_gradient(&weight).unwrap();
        assert!(taken.equal(&Tensor::full([2, 3], 5.0, (Kind::Float, Device::Cpu))));
        assert!(!weight.grad().defined());
        (&weight * 3.0).sum(Kind::Float).backward();
        assert_eq!(weight.grad().double_value(&[1, 2]), 3.0);
        assert_eq!(taken.double_value(&[0, 0]), 5.0, "what was taken is left alone");
    }
}
