"""The reward NAME: an rltrain plug-in. Wants nothing but Python 3.

rltrain starts this program, says hello on its standard input, and sends batches of attempts, one JSON object a line; for each
batch one line with a score per attempt comes back. Whatever you print for yourself must go to standard error.
"""

import json
import sys

PROTOCOL, VERSION = "rltrain-reward", 1


def score(attempt):
    """A number from -1 to 1, or None where this reward has nothing to say.

    An attempt has `task` (`id`, `prompt`, `signature`, `entry_point`, `language`, `reference`), `prompt`, `completion`, `program`,
    `tokens` and `verdict` (`load`, `tests`, `passed`, `total`, `fuel`, `peak_memory_bytes`, `stdout`, `stderr`).

    This example likes programs of few lines: 1 for one line, 0 from twenty on.
    """
    lines = [line for line in attempt["program"].splitlines() if line.strip()]
    if not lines:
        return None
    return max(0.0, 1.0 - (len(lines) - 1) / 19)


def main():
    json.loads(sys.stdin.readline())
    print(json.dumps({"protocol": PROTOCOL, "version": VERSION}), flush=True)
    for line in sys.stdin:
        batch = json.loads(line)
        scores = [score(attempt) for attempt in batch["attempts"]]
        print(json.dumps({"id": batch["id"], "scores": scores}), flush=True)


if __name__ == "__main__":
    main()
