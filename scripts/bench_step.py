#!/usr/bin/env python3
"""A peer of trainer/benches/step.rs: whole GRPO steps by TRL, with the usual reward: a file and a Python process per completion.

    python scripts/bench_step.py MODEL f32|bf16 THREADS ROWS TASKS.jsonl

Each line of standard input asks for one step: 8 prompts of the tasks, 8 completions of exactly 128 tokens each, executed with the
task's hidden tests, then one optimizer step, ROWS sequences at a time. Answers with a line of JSON: seconds of wall time and of
processor time (children included), and the process's largest memory so far in MiB.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import bench_trl
from datasets import Dataset
from transformers import TrainerCallback


def cpu() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in both)


def passes(program: str) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".py", dir="/dev/shm") as file:
        file.write(program)
        file.flush()
        try:
            run = subprocess.run([sys.executable, "-I", file.name], capture_output=True, timeout=5)
        except subprocess.TimeoutExpired:
            return 0.0
        return float(run.returncode == 0)


def reward(prompts, completions, tests, **_):
    programs = [f"{p}{c}\n{t}\n" for p, c, t in zip(prompts, completions, tests)]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(passes, programs))


class InTurns(TrainerCallback):
    """Waits for a line before each step and answers after it."""

    def __init__(self, answers):
        self.answers = answers
        self.begun = None

    def on_step_begin(self, *_, **__):
        if not sys.stdin.readline():
            os._exit(0)
        self.begun = time.perf_counter(), cpu()

    def on_step_end(self, *_, **__):
        wall, used = time.perf_counter() - self.begun[0], cpu() - self.begun[1]
        print(json.dumps({"wall": wall, "cpu": used, "peak": bench_trl.peak()}), file=self.answers, flush=True)


def main() -> None:
    path, dtype, threads, rows, tasks = sys.argv[1:]
    threads, rows = int(threads), int(rows)
    answers = bench_trl.answers()
    with open(tasks) as file:
        tasks = [json.loads(line) for line in file]
    # The model answers with the rest of a function whose first line it is given.
    data = [
        {"prompt": f'{task["signature"]}\n    """{task["prompt"]}"""', "tests": "\n".join(task["hidden_tests"])}
        for task in tasks
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainer = bench_trl.trainer(
            path,
            dtype,
            threads,
            folder,
            rows,
            Dataset.from_list(data),
            reward,
            [InTurns(answers)],
            gradient_accumulation_steps=64 // rows,
            max_completion_length=128,
            generation_kwargs={"min_new_tokens": 128},
            temperature=1.0,
            max_steps=1000,
        )
        trainer.train()


if __name__ == "__main__":
    main()
