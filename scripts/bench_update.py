#!/usr/bin/env python3
"""A peer of trainer/benches/update.rs: one GRPO update by TRL's own GRPOTrainer.

    python scripts/bench_update.py MODEL f32|bf16 THREADS ROWS

Each line of standard input is {"prompts": [[id, …], …], "completions": [[id, …], …], "advantages": [number, …]}, prompts of equal
length and completions of equal length. The reference's logprobs are computed, then loss and gradient, ROWS sequences at a time, by
the trainer's methods, then the norm is clipped and AdamW steps. Answers with a line of JSON: seconds of wall time and of processor
time, and the process's largest memory so far in MiB.
"""

import json
import resource
import sys
import tempfile
import time

import bench_trl
import torch
from datasets import Dataset


def cpu() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def main() -> None:
    path, dtype, threads, rows = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    answers = bench_trl.answers()
    # The trainer wants tasks and rewards, of which this takes none.
    data = Dataset.from_list([{"prompt": "def add(a, b):\n"}] * 8)
    with tempfile.TemporaryDirectory() as folder:
        trainer = bench_trl.trainer(path, dtype, threads, folder, 64, data, lambda completions, **_: [0.0] * len(completions))
        model = trainer.model.train()
        trainer.create_optimizer()
        for line in sys.stdin:
            request = json.loads(line)
            wall, used = time.perf_counter(), cpu()
            update(trainer, model, request, rows)
            wall, used = time.perf_counter() - wall, cpu() - used
            print(json.dumps({"wall": wall, "cpu": used, "peak": bench_trl.peak()}), file=answers, flush=True)


def update(trainer, model: torch.nn.Module, request: dict, rows: int) -> None:
    prompts, completions = torch.tensor(request["prompts"]), torch.tensor(request["completions"])
    advantages = torch.tensor(request["advantages"])
    length = completions.shape[1]
    pieces = range(0, len(prompts), rows)
    trainer.current_gradient_accumulation_steps = len(pieces)
    for begin in pieces:
        piece = slice(begin, begin + rows)
        ids = torch.cat([prompts[piece], completions[piece]], dim=1)
        with torch.no_grad(), trainer.compute_loss_context_manager():
            reference, *_ = trainer._get_per_token_logps_and_entropies(
                trainer.ref_model, ids, torch.ones_like(ids), length, batch_size=rows
            )
        inputs = {
            "prompt_ids": prompts[piece],
            "prompt_mask": torch.ones_like(prompts[piece]),
            "completion_ids": completions[piece],
            "completion_mask": torch.ones_like(completions[piece]),
            "advantages": advantages[piece],
            "ref_per_token_logps": reference,
            "num_items_in_batch": torch.tensor(completions.numel()),
        }
        with trainer.compute_loss_context_manager():
            loss = trainer._compute_loss(model, inputs)
        loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()


if __name__ == "__main__":
    main()
