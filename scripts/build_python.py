#!/usr/bin/env python3
"""Builds the runtime `python-3.11-fast` into .deps/python-3.11-fast: CPython 3.11 as a WebAssembly module.

    python3 scripts/build_python.py          (or: make python-3.11-fast)

The interpreter is built from Debian's source package with clang and wasi-libc. Everything that is downloaded is pinned
by its sha256; clang comes out of a wheel of the Python package index, so nothing has to be installed and nobody has to
be root. The module is the same to the last bit wherever it is built: rltrain knows it by its hash. A step that is done
already does nothing; one that was interrupted goes on where it stopped. Takes about five minutes of processor time.
Needs Linux on x86_64, a C compiler, make, and Python 3.9 or later with its standard library.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import hashlib
import io
import lzma
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.parse
import zipfile
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple

import fetch
from fetch import FetchError, Index, Wheel, say

RUNTIME = "python-3.11-fast"
RECIPE = fetch.ROOT / "executor" / "runtimes" / RUNTIME
STAMP = ".built"

CLANG = Wheel(
    "ziglang-0.17.1-py3-none-manylinux_2_12_x86_64.manylinux2010_x86_64.musllinux_1_1_x86_64.whl",
    "ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54",
    [
        (r"ziglang/(zig|lib/include/.+)", r"\1"),
        (r"ziglang-0\.17\.1\.dist-info/licenses/ziglang/(LICENSE)", r"\1"),
    ],
)


class DebianFile(NamedTuple):
    """One pinned file of Debian's archive."""

    pool: str
    sha256: str

    @property
    def filename(self) -> str:
        return self.pool.rsplit("/", 1)[-1]


PYTHON = DebianFile(
    "p/python3.11/python3.11_3.11.2.orig.tar.gz",
    "2411c74bda5bbcfcddaf4531f66d1adc73f247f529aee981b029513aefdbf849",
)
ZLIB = DebianFile(
    "z/zlib/zlib_1.2.13.dfsg.orig.tar.bz2",
    "71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1",
)
WASI_LIBC = DebianFile(
    "w/wasi-libc/wasi-libc_0.0~git20220510.9886d3d-2_all.deb",
    "513e25eeca77f7e31adf928b684714dd656cc6bc70c2970abfe3b4117e3b736f",
)
BUILTINS = DebianFile(
    "l/llvm-toolchain-19/libclang-rt-19-dev-wasm32_19.1.7-3~deb12u1_all.deb",
    "a291d4ae24344016f2e05390a7875c88da6c1e2e48711607454e394604ecc669",
)

# The archive forgets old files; the snapshots remember them all.
MIRRORS = [
    "http://deb.debian.org/debian",
    "http://ftp.debian.org/debian",
    "http://archive.debian.org/debian",
    "https://snapshot.debian.org/archive/debian/20260601T000000Z",
]

TARGET = "wasm32-wasip1"
EMULATED = ["signal", "getpid", "process-clocks"]
DEFINES = [f"-D_WASI_EMULATED_{name.upper().replace('-', '_')}" for name in EMULATED]

# Assertions are off, as in any release. 3.11 takes the number of a clock for an integer, wasi-libc for an address.
OPTIMISED = "-DNDEBUG -O3 -fwrapv -flto -w -Wno-int-conversion"
STACK_BYTES = 8 << 20
MEMORY_BYTES = 16 << 20

# Extension modules that configure would look for on the build machine.
ABSENT_MODULES = ["_bz2", "_crypt", "_lzma", "_socket", "_sqlite3", "_uuid", "_xxsubinterpreters"]

ZLIB_SOURCES = "adler32 compress crc32 deflate infback inffast inflate inftrees trees uncompr zutil".split()

# Parts of the standard library that cannot work in the sandbox, or that no program has use for.
LEFT_OUT = set(
    "ctypes curses dbm distutils ensurepip idlelib lib2to3 msilib pydoc_data sqlite3 test tests tkinter turtledemo "
    "venv __pycache__".split()
)

# Compiles files to what zipimport expects: run by the 3.11 that was built for this. Each line of stdin is a name in the
# archive, a tab, and the path of the source. Each result comes after its size.
COMPILE_STDLIB = """
import _imp, sys
from importlib import _bootstrap_external as loader
write = sys.stdout.buffer.write
for line in sys.stdin.read().splitlines():
    name, path = line.split('\\t')
    with open(path, 'rb') as file:
        source = file.read()
    code = compile(source, '/usr/local/lib/python311.zip/' + name, 'exec', dont_inherit=True, optimize=0)
    digest = _imp.source_hash(loader._RAW_MAGIC_NUMBER, source)
    data = loader._code_to_hash_pyc(code, digest, False)
    write(len(data).to_bytes(4, 'little') + data)
"""


class BuildError(Exception):
    """A failure to show to the user: what happened, and what to do about it."""


class Places(NamedTuple):
    """Where things are."""

    deps: Path
    build: Path

    @property
    def downloads(self) -> Path:
        return self.deps / "downloads"

    @property
    def clang(self) -> Path:
        return self.build / "clang"

    @property
    def tools(self) -> Path:
        return self.build / "tools"

    @property
    def python(self) -> Path:
        return self.build / "Python-3.11.2"

    @property
    def zlib(self) -> Path:
        return self.build / "zlib-1.2.13.dfsg"

    @property
    def native(self) -> Path:
        return self.build / "native"

    @property
    def wasm(self) -> Path:
        return self.build / "wasm"

    @property
    def runtime(self) -> Path:
        return self.deps / RUNTIME


def obtain_debian(index: Callable[[], Index], file: DebianFile, downloads: Path) -> Path:
    """The pinned file, downloaded unless it is there, from the first mirror that has it."""
    path, partial = downloads / file.filename, downloads / f"{file.filename}.partial"
    downloads.mkdir(parents=True, exist_ok=True)
    if path.exists() and fetch.sha256(path) == file.sha256:
        return path
    own = os.environ.get("DEBIAN_MIRROR")
    failures = []
    for mirror in [own] if own else MIRRORS:
        url = f"{mirror.rstrip('/')}/pool/main/{urllib.parse.quote(file.pool)}"
        say(f"  downloading {url}")
        try:
            fetch.transfer(index(), url, partial)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            failures.append(f"{url}: {error}")
            continue
        found = fetch.sha256(partial)
        if found == file.sha256:
            os.replace(partial, path)
            return path
        partial.unlink()
        failures.append(f"{url}: sha256 is {found}, wanted {file.sha256}")
    raise BuildError(
        f"could not download {file.filename}\n  "
        + "\n  ".join(failures)
        + "\n  Set DEBIAN_MIRROR to a mirror of Debian that has it, or put the file here yourself:\n"
        f"  {downloads}/"
    )


def unpack_deb(path: Path, wanted: Dict[str, Path]) -> None:
    """Writes the folders and files of a Debian package that are keys of `wanted` to their values."""
    with open(path, "rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise BuildError(f"{path} is not a Debian package")
        while header := file.read(60):
            name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
            content = file.read(size + size % 2)[:size]
            if name == "data.tar.xz":
                break
        else:
            raise BuildError(f"{path} has no data.tar.xz")
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(content))) as archive:
        for member in archive.getmembers():
            name = member.name[2:] if member.name.startswith("./") else member.name
            for source, target in wanted.items():
                if member.isfile() and (name == source or name.startswith(f"{source}/")):
                    destination = Path(f"{target}{name[len(source):]}")
                    destination.parent.mkdir(parents=True, exist_ok=True)
                    with archive.extractfile(member) as reader, open(destination, "wb") as writer:
                        shutil.copyfileobj(reader, writer)


def write_tool(path: Path, command: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o755)


def unpack_compiler(places: Places, wheel: Path, libc: Path, builtins: Path) -> None:
    """Puts clang, wasi-libc and commands that know where they are into the build folder."""
    fetch.extract(CLANG, wheel, places.clang)
    program = places.clang / "zig"
    program.chmod(0o755)
    sysroot, resources = places.clang / "sysroot", places.clang / "resources"
    unpack_deb(
        libc,
        {
            "usr/include/wasm32-wasi": sysroot / "include" / TARGET,
            "usr/lib/wasm32-wasi": sysroot / "lib" / TARGET,
            "usr/share/doc/wasi-libc/copyright": sysroot / "copyright",
        },
    )
    unpack_deb(
        builtins,
        {
            "usr/lib/llvm-19/lib/clang/19/lib/wasi/libclang_rt.builtins-wasm32.a": resources
            / "lib/wasm32-unknown-wasip1/libclang_rt.builtins.a",
        },
    )
    (resources / "include").symlink_to(places.clang / "lib" / "include")
    quoted = f"'{program}'"
    write_tool(places.tools / "wasm-ld", f"{quoted} wasm-ld")
    write_tool(places.tools / "ar", f"{quoted} ar")
    write_tool(places.tools / "ranlib", f"{quoted} ranlib")
    # clang would run a wasm-opt that it finds, and take away the names of functions.
    clang = f"{quoted} clang --target={TARGET} --sysroot='{sysroot}' -resource-dir '{resources}' -B '{places.tools}'"
    write_tool(places.tools / "cc", f"{clang} --no-wasm-opt -Wno-unused-command-line-argument")


def environment() -> Dict[str, str]:
    """What the build sees of the user's environment: nothing that could change its result."""
    kept = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")
    chosen = {name: os.environ[name] for name in kept if name in os.environ}
    # The date that the interpreter says it was built on: that of its release.
    fixed = {"SOURCE_DATE_EPOCH": "1675814400", "PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC"}
    return {**chosen, **fixed, "PKG_CONFIG": "false"}


def run(command: List[str], folder: Path, log: Path, extra: Dict[str, str]) -> None:
    """Runs a command of the build. What it prints goes into `log`, whose end is shown if it fails."""
    with open(log, "ab") as output:
        try:
            status = subprocess.call(command, cwd=folder, stdout=output, stderr=output, env={**environment(), **extra})
        except OSError as error:
            raise BuildError(f"cannot run {command[0]}: {error}") from error
    if status != 0:
        end = "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-15:])
        raise BuildError(f"{Path(command[0]).name} ended with exit status {status}:\n{end}\n  The rest is in {log}")


def configure(folder: Path, options: List[str], extra: Dict[str, str]) -> None:
    """Configures CPython in `folder`, which lies beside its source: that path becomes part of the result."""
    if (folder / "Makefile").exists():
        return
    folder.mkdir(exist_ok=True)
    source = os.path.join("..", "Python-3.11.2", "configure")
    run([source, *options, "--with-ensurepip=no", "--disable-test-modules"], folder, folder / "configure.log", extra)


def make(folder: Path, targets: List[str]) -> None:
    jobs = len(os.sched_getaffinity(0))
    run(["make", f"-j{jobs}", *targets], folder, folder / "make.log", {})


def build_native(places: Places) -> Path:
    """A 3.11 for this machine: it compiles the standard library, and the modules that are part of the interpreter."""
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        raise BuildError("no C compiler: found none of cc, gcc, clang (on Debian: apt-get install gcc)")
    configure(places.native, [f"CC={compiler}", "OPT=-O1 -fwrapv -w"], {})
    make(places.native, ["python", "pybuilddir.txt"])
    return places.native / "python"


def build_zlib(places: Places) -> Path:
    """zlib as a static library."""
    library = places.build / "zlib" / "libz.a"
    if library.exists():
        return library
    library.parent.mkdir(exist_ok=True)
    log = library.parent / "build.log"
    objects = []
    for name in ZLIB_SOURCES:
        source = os.path.join("..", places.zlib.name, f"{name}.c")
        run([str(places.tools / "cc"), *OPTIMISED.split(), "-c", source], library.parent, log, {})
        objects.append(f"{name}.o")
    run([str(places.tools / "ar"), "rcs", "libz.a.partial", *objects], library.parent, log, {})
    os.replace(library.parent / "libz.a.partial", library)
    return library


def build_objects(places: Places, native: Path, zlib: Path, flags: str) -> None:
    """The interpreter's objects for WebAssembly, as LLVM's intermediate code."""
    tools = places.tools
    settings = {
        "CONFIG_SITE": str(places.python / "Tools/wasm/config.site-wasm32-wasi"),
        "CFLAGS": " ".join(DEFINES),
        "LDFLAGS": " ".join(f"-lwasi-emulated-{name}" for name in EMULATED),
        "ZLIB_CFLAGS": f"-I../{places.zlib.name}",
        "ZLIB_LIBS": str(zlib),
        # Otherwise configure supposes the worst of a machine that it cannot try, and chooses a slower hash of strings.
        "ac_cv_aligned_required": "no",
        **{f"py_cv_module_{name}": "n/a" for name in ABSENT_MODULES},
    }
    options = ["--host=wasm32-unknown-wasi", f"--build={platform.machine()}-pc-linux-gnu"]
    options += [f"--with-build-python={native}"]
    options += [f"CC={tools / 'cc'}", f"CPP={tools / 'cc'} -E", f"AR={tools / 'ar'}", f"RANLIB={tools / 'ranlib'}"]
    options += [f"OPT={OPTIMISED} {flags}", "--with-pymalloc", "--disable-ipv6", "--enable-big-digits=30"]
    configure(places.wasm, options, settings)
    make(places.wasm, ["libpython3.11.a", "Modules/_decimal/libmpdec/libmpdec.a", "Modules/expat/libexpat.a"])


def link(places: Places, zlib: Path, flags: str, sources: List[str]) -> Path:
    """The module. What the host calls is exported by name; everything else the linker may inline or drop."""
    folder, log = places.wasm, places.wasm / "link.log"
    command = [str(places.tools / "cc"), *OPTIMISED.split(), *flags.split(), "-I.", "-I../Python-3.11.2/Include"]
    for source in ["reactor.c", *sources]:
        # Copied, because the path of a source becomes part of the result.
        shutil.copyfile(RECIPE / source, folder / source)
        run([*command, "-c", source], folder, log, {})
    objects = " ".join(f"{Path(source).stem}.o" for source in ["reactor.c", *sources])
    exports = [f"--export={name}" for name in (RECIPE / "exports.txt").read_text().split()]
    libraries = places.clang / "sysroot" / "lib" / TARGET
    options = f"-m wasm32 --lto-O3 -O3 --strip-debug --entry _initialize --stack-first -z stack-size={STACK_BYTES}"
    options += f" --initial-memory={MEMORY_BYTES} -L{libraries} {libraries}/crt1-reactor.o {objects}"
    options += " --whole-archive libpython3.11.a --no-whole-archive Modules/_decimal/libmpdec/libmpdec.a"
    options += f" Modules/expat/libexpat.a {zlib}"
    options += "".join(f" -lwasi-emulated-{name}" for name in EMULATED)
    options += f" -lm -lc {places.clang}/resources/lib/wasm32-unknown-wasip1/libclang_rt.builtins.a"
    run([str(places.tools / "wasm-ld"), *options.split(), *exports, "-o", "python.wasm"], folder, log, {})
    return folder / "python.wasm"


def write_stdlib(places: Places, native: Path, archive: Path) -> None:
    """The standard library, compiled and not compressed: it is read on every import."""
    sources = {}
    for library in (places.python / "Lib", RECIPE / "library"):
        for folder, folders, files in os.walk(library):
            folders[:] = sorted(set(folders) - LEFT_OUT)
            paths = [Path(folder, name) for name in sorted(files) if name.endswith(".py")]
            sources.update({path.relative_to(library).as_posix(): path for path in paths})
    listing = "\n".join(f"{name}\t{path}" for name, path in sources.items()).encode()
    command = [str(native), "-E", "-S", "-c", COMPILE_STDLIB]
    done = subprocess.run(command, input=listing, stdout=subprocess.PIPE, env=environment(), cwd=places.native)
    if done.returncode != 0:
        raise BuildError(f"compiling the standard library ended with exit status {done.returncode}")
    compiled = io.BytesIO(done.stdout)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for name in sources:
            size = int.from_bytes(compiled.read(4), "little")
            target.writestr(zipfile.ZipInfo(f"{name}c"), compiled.read(size))


def unpack(places: Places, index: Callable[[], Index]) -> None:
    """Downloads and unpacks the compiler and the sources, unless they are there."""
    done = places.build / "unpacked"
    if done.exists():
        return
    wheel = fetch.obtain(index, CLANG, places.downloads)
    libc, builtins, python, zlib = [
        obtain_debian(index, file, places.downloads) for file in (WASI_LIBC, BUILTINS, PYTHON, ZLIB)
    ]
    say("  sha256 as pinned; unpacking")
    for folder in (places.clang, places.tools, places.python, places.zlib):
        shutil.rmtree(folder, ignore_errors=True)
    unpack_compiler(places, wheel, libc, builtins)
    for path in (python, zlib):
        with tarfile.open(path) as archive:
            archive.extractall(places.build)
    done.touch()


def key() -> str:
    """What the result depends on: this program and its recipe."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    library = sorted((RECIPE / "library").glob("*.py"))
    for path in [RECIPE / "reactor.c", RECIPE / "exports.txt", RECIPE / "interpreter.profdata.xz", *library]:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def profile_flags(places: Places) -> str:
    """Tells the compiler which code is run often: see README.md beside the profile."""
    profile = places.build / "interpreter.profdata"
    profile.write_bytes(lzma.decompress((RECIPE / "interpreter.profdata.xz").read_bytes()))
    return f"-fprofile-use=../{profile.name}"


def build(deps: Path, build_folder: Path, index: Callable[[], Index], keep: bool) -> None:
    """Builds the runtime, unless its stamp says that exactly this is there."""
    places = Places(deps, build_folder)
    stamp = places.runtime / STAMP
    if stamp.exists() and stamp.read_text().startswith(key()):
        say(f"{RUNTIME}: already in {places.runtime}")
        return
    begun = time.monotonic()
    say(f"{RUNTIME}: building in {places.build}")
    made_for = places.build / "key"
    if places.build.exists() and not (made_for.exists() and made_for.read_text() == key()):
        shutil.rmtree(places.build)
    places.build.mkdir(parents=True, exist_ok=True)
    made_for.write_text(key())
    unpack(places, index)
    flags = profile_flags(places)
    say("  building a Python for this machine, which compiles the other")
    native = build_native(places)
    say("  building the interpreter for WebAssembly")
    zlib = build_zlib(places)
    build_objects(places, native, zlib, flags)
    say("  linking and optimising, which takes a few minutes")
    module = link(places, zlib, flags, [])
    prepared = places.build / "prepared"
    shutil.rmtree(prepared, ignore_errors=True)
    prepared.mkdir()
    os.replace(module, prepared / "python.wasm")
    write_stdlib(places, native, prepared / "python-stdlib.zip")
    install(places, prepared)
    if not keep:
        shutil.rmtree(places.build)
    say(f"{RUNTIME}: ready in {places.runtime} ({time.monotonic() - begun:.0f} s)")


def install(places: Places, prepared: Path) -> None:
    """Moves what was built into its place with its licences, and last the stamp that says it is complete."""
    licences = prepared / "LICENSES"
    licences.mkdir()
    for name, path in {
        "CPython": places.python / "LICENSE",
        "wasi-libc": places.clang / "sysroot" / "copyright",
        "zlib": places.zlib / "README",
    }.items():
        shutil.copyfile(path, licences / name)
    hashes = [f"{fetch.sha256(prepared / name)}  {name}" for name in ("python.wasm", "python-stdlib.zip")]
    places.runtime.mkdir(exist_ok=True)
    stamp = places.runtime / STAMP
    stamp.unlink(missing_ok=True)
    for entry in sorted(prepared.iterdir()):
        target = places.runtime / entry.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(entry, target)
    stamp.write_text("\n".join([key(), *hashes, ""]))


def locked(deps: Path, action: Callable[[], None]) -> None:
    """Runs `action` while no other run of this program does anything in `deps`."""
    deps.mkdir(parents=True, exist_ok=True)
    with open(deps / f".{RUNTIME}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("waiting for another run of this program to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        action()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=fetch.ROOT / ".deps", help="where it goes (default: %(default)s)")
    parser.add_argument("--build", type=Path, help="where it is built (default: build-python-3.11 in there)")
    parser.add_argument("--keep", action="store_true", help="keep the folder it was built in")
    arguments = parser.parse_args()
    deps = arguments.into.resolve()
    build_folder = (arguments.build or deps / "build-python-3.11").resolve()
    cached: List[Index] = []

    def index() -> Index:
        if not cached:
            cached.append(Index())
        return cached[0]

    try:
        if (sys.platform, platform.machine()) != ("linux", "x86_64"):
            raise BuildError(f"this builds on linux x86_64; found {sys.platform} {platform.machine()}")
        if shutil.which("make") is None:
            raise BuildError("there is no `make` (on Debian: apt-get install make)")
        locked(deps, lambda: build(deps, build_folder, index, arguments.keep))
    except (BuildError, FetchError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.errno == errno.ENOSPC:
            print("  This needs 2 GB. Free some space and run it again: it goes on where it stopped.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; run this again and it goes on where it stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
