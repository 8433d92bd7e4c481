#!/usr/bin/env python3
"""A peer of trainer/benches/checkpoints.rs: the same tensors saved and loaded by safetensors.torch and by torch.

    python scripts/bench_checkpoints.py FOLDER

FOLDER has the safetensors files of a checkpoint of ours. Each line of standard input is {"do": "save", "with": W, "folder": F} or
{"do": "load", "with": W, "folder": F}, with W "safetensors" or "torch". Saving writes one file for each of FOLDER's and waits until
files and folder are on the disk; loading reads every file into memory of its own. Answers with a line of JSON: seconds of wall time
and of processor time, bytes, and the process's largest memory so far in MiB.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def save(files: dict[str, dict[str, torch.Tensor]], how: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, tensors in files.items():
        # By the end of its name torch.load would take a pickle for safetensors.
        path = folder / (name if how == "safetensors" else f"{name}.pt")
        if how == "safetensors":
            save_file(tensors, path, metadata={"format": "pt"})
        else:
            torch.save(tensors, path)
        sync(path)
    sync(folder)


def load(how: str, folder: Path) -> int:
    total = 0
    for path in sorted(folder.iterdir()):
        tensors = load_file(path) if how == "safetensors" else torch.load(path, weights_only=True)
        # What is mapped is read when it is used.
        held = {name: tensor.clone() for name, tensor in tensors.items()} if how == "safetensors" else tensors
        total += sum(tensor.nbytes for tensor in held.values())
    return total


def main() -> None:
    torch.set_num_threads(2)
    source = Path(sys.argv[1])
    files = {str(path.relative_to(source)).replace("/", "-"): load_file(path) for path in source.rglob("*.safetensors")}
    files = {name: {key: tensor.clone() for key, tensor in tensors.items()} for name, tensors in files.items()}
    for line in sys.stdin:
        request = json.loads(line)
        folder = Path(request["folder"])
        wall, cpu = time.perf_counter(), time.process_time()
        if request["do"] == "save":
            save(files, request["with"], folder)
        else:
            load(request["with"], folder)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        total = sum(path.stat().st_size for path in folder.iterdir())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"wall": wall, "cpu": cpu, "bytes": total, "peak": peak}), flush=True)


if __name__ == "__main__":
    main()
