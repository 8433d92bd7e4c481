#!/usr/bin/env python3
"""A peer of trainer/benches/rollout.rs: transformers' `generate`.

    python scripts/bench_generate.py MODEL f32|bf16 THREADS

Each line of standard input is {"prompts": [[id, …], …], "new": N}: as many sequences of equal length are sampled for exactly
N tokens at temperature 1. Answers with a line of JSON: seconds of wall time and of processor time.
"""

import json
import os
import resource
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, GenerationConfig  # noqa: E402


def cpu() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def main() -> None:
    path, dtype, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation="sdpa").eval()
    # Nothing ends a sequence early: both sides sample the same number of tokens.
    model.generation_config.eos_token_id = None
    for line in sys.stdin:
        request = json.loads(line)
        ids = torch.tensor(request["prompts"])
        settings = GenerationConfig(
            max_new_tokens=request["new"],
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            pad_token_id=0,
            eos_token_id=None,
            disable_compile=True,
        )
        wall, used = time.perf_counter(), cpu()
        with torch.no_grad():
            sampled = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        wall, used = time.perf_counter() - wall, cpu() - used
        if sampled.shape != (ids.shape[0], ids.shape[1] + request["new"]):
            raise SystemExit(f"sampled {tuple(sampled.shape)}")
        print(json.dumps({"wall": wall, "cpu": used}), flush=True)


if __name__ == "__main__":
    main()
