#!/usr/bin/env python3
"""A peer of executor/benches/against_peers.rs: a plain subprocess for each program, as `python3 -I -c PROGRAM`, one after the other.

It is what a program costs with no isolation at all. Reads and writes as bench_peer.py says.
"""

import os
import shutil
import subprocess
import sys

from bench_peer import serve

TIMEOUT = 30.0
# The system's interpreter, which starts fastest; where there is none, the one that runs this.
PYTHON = shutil.which("python3", path="/usr/bin") or os.path.realpath(sys.executable)


def passes(problem: dict) -> bool:
    program = f"{problem['prompt']}{problem['completion']}\n{problem['test']}\ncheck({problem['entry_point']})\n"
    command = [PYTHON, "-I", "-c", program]
    return subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False).returncode == 0


if __name__ == "__main__":
    serve(passes)
