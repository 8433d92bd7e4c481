"""Makes llama_tiny/: a random Llama by transformers, its logits on three prompts, and the gradient of the logprob of two
completions of the first prompt, each computed as a sequence of its own.

Heads wider than hidden_size / heads, grouped queries, an output matrix of its own and norms that are not one.
"""
import json, pathlib, torch, transformers, safetensors.torch

torch.manual_seed(3)
config = transformers.LlamaConfig(
    vocab_size=96, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    head_dim=16, max_position_embeddings=64, rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    tie_word_embeddings=False, initializer_range=0.2)
model = transformers.LlamaForCausalLM(config).eval()
for name, weight in model.named_parameters():
    if "norm" in name:
        weight.data.uniform_(0.5, 1.5)
prompts = [torch.randint(96, (length,)) for length in (5, 1, 33)]
completions = [torch.randint(96, (length,)) for length in (7, 4)]
expected = {}
for index, prompt in enumerate(prompts):
    expected |= {f"prompt/{index}": prompt, f"logits/{index}": model(prompt[None]).logits[0].detach()}
for index, completion in enumerate(completions):
    logits = model(torch.cat([prompts[0], completion])[None]).logits[0, len(prompts[0]) - 1:-1]
    logprobs = torch.log_softmax(logits, -1).gather(1, completion[:, None])[:, 0]
    logprobs.sum().backward()
    expected |= {f"completion/{index}": completion, f"logprobs/{index}": logprobs.detach()}
expected |= {f"gradient/{name}": weight.grad for name, weight in model.named_parameters()}
folder, versions = pathlib.Path(__file__).with_suffix(""), {"torch": torch.__version__, "transformers": transformers.__version__}
(folder / "config.json").write_text(json.dumps(config.to_dict() | {"architectures": ["LlamaForCausalLM"]}, indent=2, default=str) + "\n")
safetensors.torch.save_file({k: v.detach().contiguous() for k, v in model.named_parameters()}, folder / "model.safetensors", versions)
safetensors.torch.save_file(expected, folder / "expected.safetensors", versions)
