// Gives a tensor a gradient, or takes it away, which `tch` has no function for: `gradient.rs` is the other half.

#include <ATen/ATen.h>

extern "C" void rltrain_gradient_set(at::Tensor* tensor, at::Tensor* gradient) {
  tensor->mutable_grad() = gradient == nullptr ? at::Tensor() : *gradient;
}
