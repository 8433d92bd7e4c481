"""Makes adamw/{model,expected}.safetensors: ten steps of torch.optim.AdamW with decay on matrices only, gradient clipping,
and a learning rate that rises linearly and falls along half a cosine.
"""
import pathlib, torch, safetensors.torch

torch.manual_seed(2)
STEPS, WARMUP = 10, 3
shapes = {"matrix": (7, 5), "wide.matrix": (2, 33), "norm": (5,)}
weights = {name: torch.nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()}
initial = {name: weight.detach().clone() for name, weight in weights.items()}
decayed = [w for w in weights.values() if w.dim() > 1]
optimizer = torch.optim.AdamW([{"params": decayed}, {"params": [weights["norm"]], "weight_decay": 0.0}],
                              lr=2e-2, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.3)
rise = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / (WARMUP + 1), 1.0, WARMUP)
fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS - WARMUP)
schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], [WARMUP])
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
safetensors.torch.save_file(initial, folder / "model.safetensors", versions)
safetensors.torch.save_file(expected, folder / "expected.safetensors", versions)
