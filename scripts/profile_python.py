#!/usr/bin/env python3
"""Measures which code of the runtime `python-3.11-fast` runs often, and writes that beside its recipe.

    python3 -m venv /tmp/profile && /tmp/profile/bin/pip install wasmtime
    /tmp/profile/bin/python scripts/profile_python.py

Builds an interpreter that counts how often each of its blocks runs, lets it run executor/runtimes/python-3.11-fast/
training.py, and writes interpreter.profdata.xz, which scripts/build_python.py gives to the compiler. To be run after a
change of the compiler, of CPython or of the training program; a build does not need it. Needs `llvm-profdata` (on
Debian: apt-get install llvm) and the package `wasmtime`, besides what the build needs.
"""

from __future__ import annotations

import argparse
import hashlib
import lzma
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple

import build_python
import fetch
from build_python import RECIPE, BuildError, Places
from fetch import FetchError, say

# Values, such as the targets of indirect calls, are not counted: that would need LLVM's library for it.
COUNTING = "-fprofile-generate -mllvm -disable-vp -mllvm -enable-name-compression=false"
ROUNDS = 150
SECTIONS = ["cnts", "data", "names"]

# `struct __llvm_profile_data` of LLVM 22 for 32 bits: hash of the name, hash of the function's shape, where its
# counters are, seen from here, where its bitmap is, its address, its values, how many counters; then the numbers of
# values and of bitmap bytes.
RECORD = struct.Struct("<QQiiIII3HxxI")


class Function(NamedTuple):
    """How often the blocks of a function ran."""

    name: str
    shape: int
    counts: Tuple[int, ...]


def run_training(module: Path, stdlib: Path) -> Dict[str, Tuple[int, bytes]]:
    """Runs the training program; returns the address and the bytes of each section of counters."""
    import wasmtime

    store = wasmtime.Store(wasmtime.Engine())
    wasi = wasmtime.WasiConfig()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    wasi.preopen_dir(str(stdlib), "/usr/local/lib")
    store.set_wasi(wasi)
    linker = wasmtime.Linker(store.engine)
    linker.define_wasi()
    exports = linker.instantiate(store, wasmtime.Module.from_file(store.engine, str(module))).exports(store)
    memory = exports["memory"]

    def call(name: str, *arguments: int) -> int:
        return exports[name](store, *arguments)

    def place(text: str) -> int:
        data = text.encode() + b"\0"
        address = call("malloc", len(data))
        memory.write(store, data, address)
        return address

    call("_initialize")
    if call("rltrain_initialize") != 0:
        raise BuildError("the interpreter that counts does not start")
    source = (RECIPE / "training.py").read_text() + f"\ntrain({ROUNDS})\n"
    name = "training"
    filename = call("PyUnicode_FromStringAndSize", place(name), len(name))
    scope = call("PyModule_GetDict", call("PyImport_AddModule", place(name)))
    call("PyDict_SetItemString", scope, place("__builtins__"), call("PyEval_GetBuiltins"))
    code = call("_Py_CompileString", place(source), filename, 257, 0, 0, 0)
    if code == 0 or call("PyEval_EvalCode", code, scope, scope) == 0:
        call("PyErr_Print")
        raise BuildError("the training program failed")
    sections = {}
    for number, section in enumerate(SECTIONS):
        start, end = call("rltrain_counters", 2 * number), call("rltrain_counters", 2 * number + 1)
        sections[section] = (start, bytes(memory.read(store, start, end)))
    return sections


def leb128(data: bytes, at: int) -> Tuple[int, int]:
    """A number and where what follows it begins."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at


def read_names(data: bytes) -> Iterator[str]:
    """The names of functions, of which there is a list for each object file."""
    at = 0
    while at < len(data):
        size, at = leb128(data, at)
        if size == 0:
            continue
        compressed, at = leb128(data, at)
        if compressed != 0:
            raise BuildError("the names of functions are compressed")
        yield from data[at : at + size].decode().split("\x01")
        at += size


def functions(sections: Dict[str, Tuple[int, bytes]]) -> List[Function]:
    """The functions that ran at all."""
    names = {hashlib.md5(name.encode()).digest()[:8]: name for name in read_names(sections["names"][1])}
    (counts_start, counts), (start, records) = sections["cnts"], sections["data"]
    found = []
    for at in range(0, len(records), RECORD.size):
        name, shape, offset, _, _, _, size, *_ = RECORD.unpack_from(records, at)
        first = (start + at + offset) % (1 << 32) - counts_start
        numbers = struct.unpack_from(f"<{size}Q", counts, first)
        if any(numbers):
            found.append(Function(names[name.to_bytes(8, "little")], shape, numbers))
    return found


def write_profile(found: List[Function], folder: Path) -> bytes:
    """The profile in the format that clang reads."""
    program = next(filter(shutil.which, ("llvm-profdata", "llvm-profdata-19")), None)
    if program is None:
        raise BuildError("there is no `llvm-profdata` (on Debian: apt-get install llvm)")
    lines = [":ir"]
    for function in sorted(found):
        lines += [function.name, str(function.shape), str(len(function.counts)), *map(str, function.counts), ""]
    text, profile = folder / "profile.txt", folder / "profile.profdata"
    text.write_text("\n".join(lines))
    subprocess.run([program, "merge", "--sparse", f"--output={profile}", str(text)], check=True)
    return profile.read_bytes()


def profile(places: Places) -> None:
    """Builds, trains, and writes the profile."""
    places.build.mkdir(parents=True, exist_ok=True)
    build_python.unpack(places, fetch.Index)
    say("building an interpreter that counts")
    native = build_python.build_native(places)
    zlib = build_python.build_zlib(places)
    build_python.build_objects(places, native, zlib, COUNTING)
    module = build_python.link(places, zlib, "", ["counters.c"])
    stdlib = places.build / "stdlib"
    stdlib.mkdir(exist_ok=True)
    build_python.write_stdlib(places, native, stdlib / "python311.zip")
    say("training")
    found = functions(run_training(module, stdlib))
    target = RECIPE / "interpreter.profdata.xz"
    target.write_bytes(lzma.compress(write_profile(found, places.build), preset=9))
    say(f"{len(found)} functions ran; wrote {target}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=fetch.ROOT / ".deps", help="where downloads go (default: .deps)")
    parser.add_argument("--build", type=Path, help="where it is built (default: profile-python-3.11 in there)")
    arguments = parser.parse_args()
    deps = arguments.into.resolve()
    try:
        profile(Places(deps, (arguments.build or deps / "profile-python-3.11").resolve()))
    except (BuildError, FetchError, OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
