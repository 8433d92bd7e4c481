"""What the peers of executor/benches/against_peers.rs that are Python programs have in common."""

import json
import resource
import sys
import time
from typing import Callable


def cpu() -> float:
    """Seconds of processor time, with all child processes that have ended."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def serve(passes: Callable[[dict], bool]) -> None:
    """Reads a JSON list of problems from each line of standard input, judges them one after the other, and writes one JSON
    object: how many passed, seconds of wall time, and seconds of processor time."""
    for line in sys.stdin:
        problems = json.loads(line)
        wall, used = time.perf_counter(), cpu()
        passed = sum(passes(problem) for problem in problems)
        reply = {"passed": passed, "wall": time.perf_counter() - wall, "cpu": cpu() - used}
        print(json.dumps(reply), flush=True)
