#!/usr/bin/env python3
"""A peer of executor/benches/against_peers.rs: `check_correctness` of verl 0.9.1's prime_code, unchanged, one problem after the other.

It judges calls, so that it gets problems with one call each. The package is imported without verl, which would want PyTorch.
Reads and writes as bench_peer.py says.
"""

import importlib.metadata
import sys

from bench_peer import serve

TIMEOUT = 30

sys.path.insert(0, str(importlib.metadata.distribution("verl").locate_file("verl/utils/reward_score")))

from prime_code.utils import check_correctness  # noqa: E402


def passes(problem: dict) -> bool:
    calls = {"fn_name": problem["entry_point"], "inputs": [problem["input"]], "outputs": [problem["output"]]}
    results, _ = check_correctness(calls, problem["prompt"] + problem["completion"], timeout=TIMEOUT, debug=False)
    return all(result is True for result in results)


if __name__ == "__main__":
    serve(passes)
