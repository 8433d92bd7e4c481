"""Makes tests/golden/adapters/NAME/: a LoRA adapter by PEFT on a model of tests/golden/architectures, and what PEFT computes.

    python scripts/make_adapter.py

Needs torch, transformers and peft. A folder holds what `save_pretrained` writes, and in expected.safetensors the ids of a
sequence, its logits, and the gradient of every factor of the mean logprob of its next tokens.
"""
import pathlib, shutil, torch, transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

GOLDEN = pathlib.Path(__file__).parent.parent / "tests/golden"
# Model, keys: one matrix of a stack and all of them, matrices stored by columns, rows that are reordered, both scales.
ADAPTERS = {
    "llama": dict(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj", "down_proj"]),
    "gptj": dict(r=2, lora_alpha=7, target_modules=["q_proj", "k_proj", "fc_in"]),
    "gpt_neox": dict(r=4, lora_alpha=6, use_rslora=True, target_modules=["query_key_value", "dense"]),
    "gpt2": dict(r=4, lora_alpha=6, use_rslora=True, fan_in_fan_out=True, target_modules=["c_attn", "c_fc"]),
    "codegen": dict(r=2, lora_alpha=4, target_modules="all-linear"),
}


def main():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name, keys in ADAPTERS.items():
        torch.manual_seed(7)
        model = transformers.AutoModelForCausalLM.from_pretrained(GOLDEN / "architectures" / name, attn_implementation="eager")
        model = get_peft_model(model.eval(), LoraConfig(task_type="CAUSAL_LM", **keys)).eval()
        factors = {key: weight for key, weight in model.named_parameters() if weight.requires_grad}
        for weight in factors.values():
            torch.nn.init.normal_(weight, 0.0, 0.3)
        ids = torch.randint(3, 96, (9,))
        logits = model(ids[None]).logits[0]
        logits[:-1].log_softmax(-1).gather(1, ids[1:, None]).mean().backward()
        folder = GOLDEN / "adapters" / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        (folder / "README.md").unlink()
        written = folder / "adapter_config.json"
        written.write_text(written.read_text().replace(f"{GOLDEN}/", ""))
        tensors = {"ids": ids, "logits": logits.detach()}
        tensors |= {key.replace(".default", ""): weight.grad for key, weight in factors.items()}
        save_file(tensors, folder / "expected.safetensors")


main()
