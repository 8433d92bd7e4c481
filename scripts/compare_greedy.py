"""Loads a model folder in transformers and compares its greedy tokens with those of `rltrain sample`.

    python scripts/compare_greedy.py FOLDER [--program target/release/rltrain] [--tokens 48]

Needs `pip install torch transformers`. Exit code 0 if every token of every prompt is the same, 1 if not.
"""

import argparse
import json
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = [
    ("Write a Python function that returns the last element of a list.", "```python\ndef last(items):"),
    ("Write a Python function that counts the vowels of a text.", "```python\ndef count_vowels(text):"),
    ("Write a Python function that returns the absolute difference of a and b.", "```python\ndef difference(a, b):"),
    ("Which language is this: `print(1)`?", ""),
]


def ours(arguments, user, prefill):
    """Prompt ids and greedy completion ids, as `rltrain sample` gives them in f32."""
    command = [arguments.program, "sample", arguments.folder, "--prompt", user, "--prefill", prefill]
    command += ["--max-tokens", str(arguments.tokens), "--compute", "f32", "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found["prompt"], found["tokens"]


def theirs(arguments, model, tokenizer, user, prefill):
    """The same from transformers: its own chat template, tokenizer and generate."""
    chat = [{"role": "user", "content": user}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) + prefill
    prompt = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    done = model.generate(**prompt, do_sample=False, max_new_tokens=arguments.tokens)
    length = prompt["input_ids"].shape[1]
    return prompt["input_ids"][0].tolist(), done[0, length:].tolist()


def main():
    """Compares prompt by prompt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--program", default="target/release/rltrain")
    parser.add_argument("--tokens", type=int, default=48)
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.folder)
    model = AutoModelForCausalLM.from_pretrained(arguments.folder, dtype=torch.float32)
    same = True
    for user, prefill in PROMPTS:
        mine, other = ours(arguments, user, prefill), theirs(arguments, model, tokenizer, user, prefill)
        same &= mine == other
        verdict = "same" if mine == other else f"DIFFERENT\n  rltrain      {mine}\n  transformers {other}"
        print(f"{len(mine[0])} prompt tokens, {len(mine[1])} greedy tokens: {verdict}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
