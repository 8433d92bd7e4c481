"""Makes clipped_surrogate.safetensors: the clipped surrogate loss and its gradient by PyTorch's autograd, in f64.

Every log-ratio meets every advantage: inside the bounds, clipped on either side, and so far out that exp would overflow.
"""
import pathlib, torch, safetensors.torch

torch.manual_seed(1)
LOW, HIGH = 0.2, 0.28
log_ratio = torch.tensor([-800, -30, -19, -3, -0.25, -0.2, -0.01, 0, 0.01, 0.2, 0.24, 0.26, 3, 19, 30, 800]).double()
log_ratio, advantages = (grid.flatten() for grid in torch.meshgrid(log_ratio, torch.tensor([-1.5, 0, 0.7]).double(), indexing="ij"))
sampled = -4 * torch.rand_like(log_ratio)
logprobs = (sampled + log_ratio).requires_grad_()
ratio = torch.exp(torch.clamp(logprobs - sampled, -20, 20))
loss = -torch.min(ratio * advantages, torch.clamp(ratio, 1 - LOW, 1 + HIGH) * advantages)
loss.sum().backward()
tensors = {"logprobs": logprobs.detach(), "sampled": sampled, "advantages": advantages, "loss": loss.detach(),
           "gradient": logprobs.grad, "ratio": ratio.detach()}
safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()},
                            pathlib.Path(__file__).with_suffix(".safetensors"), {"torch": torch.__version__})
