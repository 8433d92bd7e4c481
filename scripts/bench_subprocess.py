#!/usr/bin/env python3
"""A peer of executor/benches/against_peers.rs: a plain subprocess for each program, as `python3 -I -c PROGRAM`, one after the other.

It is what a program costs with no isolation at all. Reads and writes as bench_human_eval.py does.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time

TIMEOUT = 30.0
# The system's interpreter, which starts fastest; where there is none, the one that runs this.
PYTHON = shutil.which("python3", path="/usr/bin") or os.path.realpath(sys.executable)


def cpu() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def passes(problem: dict) -> bool:
    program = f"{problem['prompt']}{problem['completion']}\n{problem['test']}\ncheck({problem['entry_point']})\n"
    command = [PYTHON, "-I", "-c", program]
    return subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False).returncode == 0


def main() -> None:
    for line in sys.stdin:
        problems = json.loads(line)
        wall, used = time.perf_counter(), cpu()
        passed = sum(passes(problem) for problem in problems)
        reply = {"passed": passed, "wall": time.perf_counter() - wall, "cpu": cpu() - used}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
