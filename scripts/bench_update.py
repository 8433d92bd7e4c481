#!/usr/bin/env python3
"""A peer of trainer/benches/update.rs: one GRPO update by TRL's own GRPOTrainer.

    python scripts/bench_update.py MODEL f32|bf16 THREADS ROWS

Each line of standard input is {"prompts": [[id, …], …], "completions": [[id, …], …], "advantages": [number, …]}, prompts of equal
length and completions of equal length. The reference's logprobs are computed, then loss and gradient, ROWS sequences at a time, by
the trainer's methods, then the norm is clipped and AdamW steps. Answers with a line of JSON: seconds of wall time and of processor
time, and the process's largest memory so far in MiB.
"""

import json
import os
import resource
import sys
import tempfile
import time

os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_VERBOSITY="error",
    TOKENIZERS_PARALLELISM="false",
    HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    TRL_EXPERIMENTAL_SILENCE="1",
)

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402


def usage() -> tuple[float, float]:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime, own.ru_maxrss / 1024


def main() -> None:
    path, dtype, threads, rows = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(threads)
    # What the trainer prints goes to standard error; answers alone go to standard output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32),
            args=GRPOConfig(
                output_dir=folder,
                per_device_train_batch_size=64,
                num_generations=8,
                beta=0.04,
                loss_type="dapo",
                # Without it the KL term is the paper's, as ours.
                use_bias_correction_kl=False,
                learning_rate=1e-6,
                lr_scheduler_type="constant",
                optim="adamw_torch",
                max_grad_norm=1.0,
                bf16=dtype == "bf16",
                use_cpu=True,
                # Slower with it, and the memory is there.
                gradient_checkpointing=False,
                report_to="none",
                save_strategy="no",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list([{"prompt": "def add(a, b):\n"}] * 8),
            reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
            processing_class=AutoTokenizer.from_pretrained(path),
        )
        model = trainer.model.train()
        trainer.create_optimizer()
        for line in sys.stdin:
            request = json.loads(line)
            wall, (used, _) = time.perf_counter(), usage()
            update(trainer, model, request, rows)
            wall, (after, peak) = time.perf_counter() - wall, usage()
            print(json.dumps({"wall": wall, "cpu": after - used, "peak": peak}), file=answers, flush=True)


def update(trainer: GRPOTrainer, model: torch.nn.Module, request: dict, rows: int) -> None:
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
