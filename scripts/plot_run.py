#!/usr/bin/env python3
"""Draws the learning curves of one or several runs as an SVG: training reward, and pass@k on the held-out tasks.

    python3 scripts/plot_run.py runs/quickstart -o docs/results/quickstart.svg
    python3 scripts/plot_run.py runs/seed-1 runs/seed-2 runs/seed-3 --labels 'seed 1,seed 2,seed 3' -o curves.svg

Reads RUN/metrics.jsonl (one object a step, with "step" and the metric's name) and RUN/evaluations.json. A dot is a
step's mean reward, the line through the dots a moving average; the bars are the evaluations' own 95 % intervals.
Needs Python 3.9 or later and nothing beyond its standard library.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple
from xml.sax.saxutils import escape

# Okabe and Ito's colours, which people with any colour vision tell apart.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
DASHES = ["", "6 4", "2 3", "8 3 2 3"]
FONT = "font-family=\"Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif\""
WIDTH, HEIGHT = 960, 380
TOP, BOTTOM, LEFT, GAP = 58, 52, 56, 72
INK, FAINT, GRID = "#222222", "#666666", "#e4e4e4"


class PassAtK(NamedTuple):
    """One held-out measurement with its interval."""

    step: int
    mean: float
    low: float
    high: float


class Run(NamedTuple):
    """What is drawn of one run: reward by step, and the measurements of each k."""

    label: str
    rewards: List[Tuple[int, float]]
    pass_at: Dict[int, List[PassAtK]]


class Panel:
    """A plotting area: data coordinates to picture coordinates, and its axes."""

    def __init__(self, left: float, width: float, steps: int, low: float, high: float) -> None:
        self.left, self.right = left, left + width
        self.top, self.bottom = TOP, HEIGHT - BOTTOM
        self.steps, self.low, self.high = max(steps, 1), low, high

    def x(self, step: float) -> float:
        return self.left + 14 + (self.right - self.left - 28) * step / self.steps

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - self.top) * (value - self.low) / (self.high - self.low)

    def axes(self, title: str, percent: bool) -> List[str]:
        parts = [text(self.left, self.top - 20, title, size=15, weight=600)]
        for value in ticks(self.low, self.high):
            y = self.y(value)
            label = f"{value * 100:.0f} %" if percent else f"{value:g}"
            parts.append(line(self.left, y, self.right, y, GRID))
            parts.append(text(self.left - 8, y + 4, label, anchor="end", colour=FAINT))
        for value in ticks(0, self.steps):
            parts.append(text(self.x(value), self.bottom + 18, f"{value:g}", anchor="middle", colour=FAINT))
        parts.append(line(self.left, self.bottom, self.right, self.bottom, FAINT))
        middle = (self.left + self.right) / 2
        parts.append(text(middle, self.bottom + 38, "training step", anchor="middle", colour=FAINT))
        return parts


def text(
    x: float, y: float, content: str, size: int = 12, anchor: str = "start", colour: str = INK, weight: int = 400
) -> str:
    style = f'font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def curve(points: List[Tuple[float, float]], colour: str, dash: str = "") -> str:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"{dashes}/>'


def dot(x: float, y: float, radius: float, colour: str, opacity: float = 1) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" fill-opacity="{opacity}"/>'


def ticks(low: float, high: float) -> List[float]:
    """About five round values from low to high."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    spacing = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / spacing - 1e-9), math.floor(high / spacing + 1e-9)
    return [round(count * spacing, 10) for count in range(first, last + 1)]


def smoothed(rewards: List[Tuple[int, float]]) -> List[Tuple[int, float]]:
    """A moving average over an eighth of the run: centred, and one-sided where the run begins and ends."""
    reach = max(len(rewards) // 16, 1)
    averages = []
    for place, (step, _) in enumerate(rewards):
        window = [value for _, value in rewards[max(place - reach, 0) : place + reach + 1]]
        averages.append((step, sum(window) / len(window)))
    return averages


def read_run(folder: Path, label: str, metric: str) -> Run:
    """Reads a run folder. A step that was repeated after an interruption counts once, as it ran last."""
    rewards: Dict[int, float] = {}
    with open(folder / "metrics.jsonl", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row.get(metric) is not None:
                rewards[row["step"]] = row[metric]
    if not rewards:
        raise ValueError(f"{folder / 'metrics.jsonl'}: no line has {metric!r}")
    evaluations = json.loads((folder / "evaluations.json").read_text(encoding="utf-8"))
    if isinstance(evaluations, dict):
        evaluations = evaluations["evaluations"]
    pass_at: Dict[int, List[PassAtK]] = {}
    for evaluation in evaluations:
        for found in evaluation["pass_at_k"]:
            measured = PassAtK(evaluation["step"], found["mean"], found["low"], found["high"])
            pass_at.setdefault(found["k"], []).append(measured)
    return Run(label, sorted(rewards.items()), dict(sorted(pass_at.items())))


def draw_rewards(panel: Panel, runs: List[Run]) -> List[str]:
    parts = []
    for run, colour in zip(runs, COLOURS):
        parts += [dot(panel.x(step), panel.y(value), 2, colour, 0.3) for step, value in run.rewards]
    for run, colour in zip(runs, COLOURS):
        parts.append(curve([(panel.x(step), panel.y(value)) for step, value in smoothed(run.rewards)], colour))
    return parts


def draw_pass_at_k(panel: Panel, runs: List[Run]) -> List[str]:
    """Each run's pass@k with interval bars, the runs side by side so that no bar hides another."""
    parts = []
    for place, (run, colour) in enumerate(zip(runs, COLOURS)):
        shift = 5 * (place - (len(runs) - 1) / 2)
        for dash, measured in zip(DASHES, run.pass_at.values()):
            points = [(panel.x(one.step) + shift, panel.y(one.mean)) for one in measured]
            for (x, y), one in zip(points, measured):
                parts.append(line(x, panel.y(one.low), x, panel.y(one.high), colour, 1.5))
                parts.append(dot(x, y, 3.5, colour))
            parts.append(curve(points, colour, dash))
    return parts


def legend(panel: Panel, entries: List[Tuple[str, str, str]]) -> List[str]:
    """(label, colour, dash) of each kind of line, right-aligned above the panel."""
    parts, x = [], panel.right
    for label, colour, dash in reversed(entries):
        x -= 7 * len(label)
        parts.append(text(x, panel.top - 20, label))
        parts.append(curve([(x - 30, panel.top - 24), (x - 6, panel.top - 24)], colour, dash))
        x -= 44
    return parts


def picture(runs: List[Run]) -> str:
    """The whole SVG."""
    values = [value for run in runs for _, value in run.rewards]
    steps = max(step for run in runs for step, _ in run.rewards)
    steps = max([steps, *(one.step for run in runs for found in run.pass_at.values() for one in found)])
    width = (WIDTH - LEFT - GAP - 24) / 2
    rewards = Panel(LEFT, width, steps, min(0, *values), 1.05 * max(*values, 0.1))
    heldout = Panel(LEFT + width + GAP, width, steps, 0, 1)
    parts = rewards.axes("Training reward", percent=False) + draw_rewards(rewards, runs)
    parts += heldout.axes("Held-out tasks", percent=True) + draw_pass_at_k(heldout, runs)
    first = runs[0]
    dashes = zip(first.pass_at, DASHES)
    parts += legend(heldout, [(f"pass@{k}", INK if len(runs) > 1 else COLOURS[0], dash) for k, dash in dashes])
    if len(runs) > 1:
        parts += legend(rewards, [(run.label, colour, "") for run, colour in zip(runs, COLOURS)])
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {FONT}>'
    name = escape("Training reward and held-out pass@k: " + ", ".join(run.label for run in runs))
    ground = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    return "\n".join([head, f"<title>{name}</title>", ground, *parts, "</svg>", ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=f"run folders, at most {len(COLOURS)}")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the SVG file to write")
    parser.add_argument("--labels", help="the runs' names, separated by commas (default: the folders' names)")
    parser.add_argument("--metric", default="reward", help="the metric to draw (default: %(default)s)")
    arguments = parser.parse_args()
    labels = arguments.labels.split(",") if arguments.labels else [run.name for run in arguments.runs]
    if len(labels) != len(arguments.runs) or len(labels) > len(COLOURS):
        parser.error(f"at most {len(COLOURS)} runs, a label for each; found {len(arguments.runs)} and {len(labels)}")
    try:
        runs = [read_run(run, label, arguments.metric) for run, label in zip(arguments.runs, labels)]
        arguments.output.write_text(picture(runs), encoding="utf-8")
    except (OSError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
