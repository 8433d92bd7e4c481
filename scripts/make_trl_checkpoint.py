"""Trains a tiny random Llama with TRL's GRPOTrainer for a step, and its PEFT adapters, and keeps what TRL saved: the folders of
tests/golden/trl, which `cargo test -- foreign` loads and trains on.

    python scripts/make_trl_checkpoint.py tests/golden/trl

Needs torch, transformers, trl, peft and datasets.
"""
import json, pathlib, shutil, sys, tempfile, torch, transformers
from datasets import Dataset
from peft import LoraConfig, PeftModel
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from trl import GRPOConfig, GRPOTrainer

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.manual_seed(5)
transformers.set_seed(5)

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>\n{% endfor %}"
IDS = [5, 77, 31, 8, 64, 12, 90, 3, 41]


def byte_level():
    """A tokenizer whose tokens are the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    character = {byte: chr(byte) for byte in printable} | {byte: chr(256 + place) for place, byte in enumerate(others)}
    tokenizer = Tokenizer(models.BPE(vocab={character[byte]: byte for byte in range(256)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = TEMPLATE
    return fast


def model():
    config = transformers.LlamaConfig(
        vocab_size=259, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, rope_theta=10000.0, tie_word_embeddings=True,
        bos_token_id=257, eos_token_id=258, pad_token_id=256)
    network = transformers.LlamaForCausalLM(config)
    network.generation_config.eos_token_id = [256, 258]
    return network


def train(network, tokenizer, scratch, adapters):
    """One step of GRPO towards completions with many small bytes; returns what TRL saves."""
    def reward(completions, completion_ids, **_):
        return [sum(token < 128 for token in ids) / len(ids) for ids in completion_ids]

    config = GRPOConfig(
        output_dir=str(scratch), max_steps=1, per_device_train_batch_size=4, num_generations=4, max_completion_length=8,
        learning_rate=1e-2, use_cpu=True, bf16=False, report_to=[], save_strategy="no", logging_steps=1, seed=5)
    data = Dataset.from_dict({"prompt": ["def f(x):", "def g(x):"] * 4})
    trainer = GRPOTrainer(
        model=network, args=config, train_dataset=data, processing_class=tokenizer, reward_funcs=reward, peft_config=adapters)
    trainer.train()
    folder = scratch / "saved"
    trainer.save_model(str(folder))
    return folder


def keep(folder, place):
    """Copies what TRL saved; `training_args.bin` is a pickle, which nobody else should read."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for file in sorted(folder.iterdir()):
        if file.suffix not in (".bin", ".md"):
            shutil.copy(file, place / file.name)


def logits(network):
    with torch.no_grad():
        return network.float().eval()(torch.tensor([IDS])).logits[0].contiguous()


out = pathlib.Path(sys.argv[1])
with tempfile.TemporaryDirectory() as scratch:
    scratch = pathlib.Path(scratch)
    keep(train(model(), byte_level(), scratch / "policy", None), out / "policy")
    network = transformers.AutoModelForCausalLM.from_pretrained(out / "policy", attn_implementation="eager")
    expected = {"ids": torch.tensor(IDS).float(), "policy": logits(network)}
    network = transformers.AutoModelForCausalLM.from_pretrained(out / "policy", attn_implementation="eager")
    lora = LoraConfig(r=3, lora_alpha=5, use_rslora=True, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    keep(train(network, byte_level(), scratch / "adapter", lora), out / "adapter")
    # Where the base lies is another place on every machine.
    config = json.loads((out / "adapter/adapter_config.json").read_text())
    config["base_model_name_or_path"] = "../policy"
    (out / "adapter/adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    network = transformers.AutoModelForCausalLM.from_pretrained(out / "policy", attn_implementation="eager")
    expected["adapter"] = logits(PeftModel.from_pretrained(network, out / "adapter"))
    save_file(expected, out / "expected.safetensors")
print(f"{out}: {sorted(str(file.relative_to(out)) for file in out.rglob('*') if file.is_file())}")
