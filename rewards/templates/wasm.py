"""The reward NAME: an rltrain plug-in that becomes a WebAssembly component.

    componentize-py --wit-path reward.wit --world plug-in componentize --stub-wasi NAME -o NAME.wasm

(`pip install componentize-py` installs that.) The component sees its arguments and nothing else: no files, no network, no clock.
What `score` raises loses the attempt, and its instance with it.
"""


def score(attempt):
    """A number from -1 to 1, or None where this reward has nothing to say.

    An attempt has `task` (`id`, `prompt`, `signature`, `entry_point`, `language`, `reference`), `prompt`, `completion`, `program`,
    `tokens` and `verdict` (`load`, `tests`, `passed`, `total`, `fuel`, `peak_memory_bytes`, `stdout`, `stderr`): see reward.wit.

    This example likes programs of few lines: 1 for one line, 0 from twenty on.
    """
    lines = [line for line in attempt.program.splitlines() if line.strip()]
    if not lines:
        return None
    return max(0.0, 1.0 - (len(lines) - 1) / 19)


class Reward:
    """The interface `reward` of reward.wit."""

    def score(self, attempt):
        return score(attempt)
