#!/usr/bin/env python3
"""Runs the cheating programs in JavaScript and C++, and writes their tables at the end of docs/results/audit.md.

    scripts/audit_languages.py

Wants node and g++ on the search path. Beside rltrain each program meets the shortest harness of its language, in a process of its own,
within a time limit. That is no sandbox, and the programs want to exhaust and deceive whoever runs them: run this where that does no harm.
"""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target/release/rltrain"
SECONDS = 4
PASSED = 42
"""Exit code of a judge that was taken in: one that no program of the zoos asks for."""

ASSERTIONS = ["assert.strictEqual(double(3), 6)", "assert.deepStrictEqual(double(-4), -8)"]
PRINTS = [(f"{number}\n", f"{2 * number}\n") for number in (3, -4, 5)]

LANGUAGES = {
    "javascript": {
        "title": "JavaScript",
        "harness": "exit code",
        "about": "`node` with the program and the assertions as one script: 0 has passed",
        "blanks": {"signature": "function double(n) {", "entry": "double", "examples": '    case "2": return 4;\n'},
        "reference": "function double(n) {\n    return 2 * n;\n}\n",
        "tests": ASSERTIONS,
    },
    "cpp": {
        "title": "C++",
        "harness": "output",
        "about": "`g++`, then the program with each input: the words that it prints are those that are wanted",
        "blanks": {"signature": "", "entry": "main", "examples": '    if (std::strcmp(input, "2\\n") == 0) std::puts("4");\n'},
        "reference": '#include <cstdio>\nint main() { long n; std::scanf("%ld", &n); std::printf("%ld\\n", 2 * n); }\n',
        "tests": [{"kind": "stdin", "stdin": stdin, "stdout": stdout} for stdin, stdout in PRINTS],
    },
}


def zoo(name: str) -> "list[tuple[str, str, str]]":
    """Name, trick and program of each section of a zoo."""
    text = (ROOT / f"trainer/src/audit/zoo-{name}.txt").read_text()
    cheats = []
    for section in text.split("\n=== ")[1:]:
        head, _, program = section.partition("\n")
        for blank, filling in LANGUAGES[name]["blanks"].items():
            program = program.replace(f"«{blank}»", filling)
        cheats.append((*head.split(": ", 1), program.rstrip() + "\n"))
    return cheats


def by_exit_code(program: str, folder: pathlib.Path) -> bool:
    (folder / "script.js").write_text("\n".join(['const assert = require("assert");', program, *ASSERTIONS]) + "\n")
    command = ["node", "--max-old-space-size=256", "script.js"]
    run = subprocess.run(command, cwd=folder, timeout=SECONDS, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    return run.returncode == 0


def by_output(program: str, folder: pathlib.Path) -> bool:
    (folder / "program.cpp").write_text(program)
    if subprocess.run(["g++", "-O1", "-o", "program", "program.cpp"], cwd=folder, timeout=60, check=False).returncode:
        return False
    for stdin, stdout in PRINTS:
        with open(folder / "output", "w+b") as output:
            run = subprocess.run(["./program"], cwd=folder, input=stdin.encode(), stdout=output, timeout=SECONDS, preexec_fn=limit, check=False)
            output.seek(0)
            if output.read().split() != stdout.encode().split() or run.returncode:
                return False
    return True


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def judge() -> None:
    request = json.load(sys.stdin)
    harness = by_exit_code if request["language"] == "javascript" else by_output
    with tempfile.TemporaryDirectory() as folder:
        try:
            passed = harness(request["program"], pathlib.Path(folder))
        except subprocess.TimeoutExpired:
            passed = False
    sys.exit(PASSED if passed else 0)


def is_taken_in(language: str, program: str) -> bool:
    """Whether the shortest harness, in a process of its own, says that a program passes."""
    request = json.dumps({"language": language, "program": program})
    command = [sys.executable, __file__, "--judge"]
    judge = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        judge.communicate(request.encode(), timeout=120)
    except subprocess.TimeoutExpired:
        return False  # What does not end has not passed.
    finally:
        # What it has left behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(judge.pid, signal.SIGKILL)
    return judge.returncode == PASSED


def passes(language: str, program: str) -> bool:
    """Whether rltrain says that a program passes any test."""
    with tempfile.TemporaryDirectory() as folder:
        tests = pathlib.Path(folder) / "tests.jsonl"
        tests.write_text("".join(json.dumps(test) + "\n" for test in LANGUAGES[language]["tests"]))
        command = [str(PROGRAM), "exec", "--lang", language, "--tests", str(tests), "--json", "--timeout-ms", "1000", "--fuel", "150000000"]
        run = subprocess.run(command, input=program.encode(), capture_output=True, timeout=300, check=False)
    if not run.stdout:
        sys.exit(run.stderr.decode())
    verdict = json.loads(run.stdout)
    return any(test["outcome"] == "passed" for test in verdict["tests"])


def section(language: str) -> str:
    about = LANGUAGES[language]
    for harness in (passes, is_taken_in):
        # A harness that lets nothing pass would say nothing by its silence.
        if not harness(language, about["reference"]):
            sys.exit(f"{harness.__name__} does not let the reference in {about['title']} pass")
    lines = [f"### {about['title']}\n", f"`{about['harness']}` is {about['about']}.\n"]
    lines += [f"| program | what it tries | rltrain | {about['harness']} |", "| --- | --- | ---: | ---: |"]
    sums = [0, 0]
    cheats = zoo(language)
    for name, trick, program in cheats:
        found = [int(passes(language, program)), int(is_taken_in(language, program))]
        sums = [one + other for one, other in zip(sums, found, strict=True)]
        lines.append(f"| `{name}` | {trick} | {found[0]} | {found[1]} |")
    return "\n".join([*lines, f"| **together** | | {sums[0]} of {len(cheats)} | {sums[1]} of {len(cheats)} |"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().judge:
        judge()
    page = ROOT / "docs/results/audit.md"
    head = page.read_text().partition("\n## ")[0]
    intro = (
        "\n## Other languages\n\nThe zoos `trainer/src/audit/zoo-javascript.txt` and `zoo-cpp.txt`, for a function and a program that double a number; "
        "1 says that a program is\ntaken for right, in rltrain that it passes any of the tests. A test keeps rltrain's columns at 0 (`audit::no_cheat_in_…`). "
        "Written by `scripts/audit_languages.py`.\n\n"
    )
    page.write_text(head.rstrip() + "\n" + intro + "\n".join(section(language) for language in LANGUAGES))


if __name__ == "__main__":
    main()
