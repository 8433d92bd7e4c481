#!/usr/bin/env python3
"""Trains verifiers offline from the samples of a run of the base model, and writes how good they are to docs/results/critics.md.

    scripts/critic_results.py [--steps 40] [--objectives outcome,binary] [--epochs 1] [--page docs/results/critics.md]

It begins with the run itself, recipes/quickstart.toml in runs/critics/policy with as many steps, unless that is there already. All of it
goes on where it was interrupted. With 40 steps and one objective it takes about half an hour of two free cores: leave them alone.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target/release/rltrain"
RUNS = ROOT / "runs/critics"
NUMBERS = ["programs", "pass_rate", "accuracy", "class_accuracy", "auroc", "calibration_error", "ranked", "oracle", "random", "selection_gap"]


def recipe(name: str, steps: int, section: str = "") -> pathlib.Path:
    """The quickstart's recipe with another run folder, other steps, and one section more."""
    text = (ROOT / "recipes/quickstart.toml").read_text()
    warmup = min(4, max(steps // 10, 0))
    for pattern, new in [
        (r"(?m)^steps = \d+", f"steps = {steps}"),
        (r'(?m)^run = "[^"]*"', f'run = "{RUNS / name}"'),
        (r"(?m)^warmup_steps = \d+", f"warmup_steps = {warmup}"),
        (r'"(\.\./\.deps|tasks)/', lambda found: f'"{(ROOT / "recipes" / found[1]).resolve()}/'),
    ]:
        text, count = re.subn(pattern, new, text)
        assert count, f"recipes/quickstart.toml has no {pattern}"
    path = RUNS / f"{name}.toml"
    path.write_text(f"{text}\n{section}")
    return path


def train_policy(steps: int) -> None:
    subprocess.run([PROGRAM, recipe("policy", steps)], check=True)


def train_verifier(objective: str, steps: int, epochs: int) -> "tuple[dict, str]":
    """Its quality on held-out tasks, and what was printed."""
    run = RUNS / objective
    run.mkdir(exist_ok=True)
    if not (run / "samples").exists():
        os.symlink(RUNS / "policy/samples", run / "samples")
    section = f'[verifier]\nobjective = "{objective}"\nepochs = {epochs}\n[verifier.optimizer]\nlearning_rate = 2e-5\n'
    command = [PROGRAM, "critic", recipe(objective, steps, section)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads((run / "verifier/quality.json").read_text()), printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40, help="steps of the policy's run")
    parser.add_argument("--objectives", default="outcome", help="outcome, binary, bradley-terry, fault, implicit; with commas between")
    parser.add_argument("--epochs", type=int, default=1, help="how often each logged program is learnt from")
    parser.add_argument("--page", type=pathlib.Path, default=ROOT / "docs/results/critics.md")
    arguments = parser.parse_args()
    RUNS.mkdir(parents=True, exist_ok=True)
    train_policy(arguments.steps)
    objectives = arguments.objectives.split(",")
    found = {objective: train_verifier(objective, arguments.steps, arguments.epochs) for objective in objectives}
    rows = ["| | " + " | ".join(f"`{name}`" for name in objectives) + " |", "| --- |" + " ---: |" * len(objectives)]
    for number in NUMBERS:
        values = [found[name][0][number] for name in objectives]
        shown = ["–" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}" for value in values]
        rows.append(f"| {number} | " + " | ".join(shown) + " |")
    counts = [line for line in found[objectives[0]][1].splitlines() if line.startswith(("learnt from", "held out"))]
    page = f"""# Critics: what verifiers make of a real model's programs

Verifiers on SmolLM2-135M, trained by `rltrain critic` from the samples of {arguments.steps} steps of `recipes/quickstart.toml`, {arguments.epochs} epoch(s), learning
rate 2e-5, and measured on tasks that they have not seen ([critics.md](../critics.md) says what the numbers mean). {datetime.date.today()}. Written by

```console
scripts/critic_results.py --steps {arguments.steps} --objectives {arguments.objectives} --epochs {arguments.epochs}
```

```text
{chr(10).join(counts)}
```

""" + "\n".join(rows) + "\n"
    arguments.page.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
