"""Makes sgd/{model,expected}.safetensors: ten steps of torch.optim.SGD with momentum and gradient clipping, at a learning rate that is
constant after its warm-up. PyTorch couples weight decay with momentum, which ours does not, so there is none here.
"""
import pathlib, torch, safetensors.torch

torch.manual_seed(5)
STEPS, WARMUP = 10, 3
weights = {name: torch.nn.Parameter(torch.randn(shape)) for name, shape in {"matrix": (7, 5), "norm": (5,)}.items()}
initial = {name: weight.detach().clone() for name, weight in weights.items()}
optimizer = torch.optim.SGD(weights.values(), lr=2e-2, momentum=0.8)
schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / (WARMUP + 1), 1.0, WARMUP)
expected, rates, norms = {}, [], []
for step in range(STEPS):
    for name, weight in weights.items():
        weight.grad = torch.randn_like(weight) * (0.02 if step % 3 else 2.0)  # norms on both sides of the limit
        expected[f"gradient/{step}/{name}"] = weight.grad.clone()
    norms.append(torch.nn.utils.clip_grad_norm_(weights.values(), 1.0))
    rates.append(optimizer.param_groups[0]["lr"])
    optimizer.step()
    schedule.step()
    expected |= {f"weight/{step}/{name}": weight.detach().clone() for name, weight in weights.items()}
expected |= {"norms": torch.stack(norms), "rates": torch.tensor(rates, dtype=torch.float64)}
folder, versions = pathlib.Path(__file__).with_suffix(""), {"torch": torch.__version__}
folder.mkdir(exist_ok=True)
safetensors.torch.save_file(initial, folder / "model.safetensors", versions)
safetensors.torch.save_file(expected, folder / "expected.safetensors", versions)
