"""Holds what TensorBoard's own reader finds in a run folder against the run's other files: every step once, every value the nearest f32.

    python scripts/check_curves.py RUN...

Needs tensorboard. For runs that were killed and resumed: a step that TensorBoard shows twice, or not, is a curve that lies.
"""
import collections, json, math, pathlib, struct, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wanted(run):
    """The points of every curve, by tag."""
    curves = collections.defaultdict(list)
    for line in lines(run / "metrics.jsonl") + lines(run / "timings.jsonl"):
        is_evaluation = "time/evaluation_seconds" in line
        for tag, value in line.items():
            # The wall time of an evaluation is no point of the curve of steps.
            if tag != "step" and not (is_evaluation and tag == "time/wall_seconds"):
                curves[tag].append((line["step"], value))
    evaluations = run / "evaluations.json"
    for found in json.loads(evaluations.read_text())["evaluations"] if evaluations.exists() else []:
        for level in found["pass_at_k"]:
            for name, key in (("", "mean"), ("_low", "low"), ("_high", "high")):
                curves[f"eval/pass@{level['k']}{name}"].append((found["step"], level[key]))
    return curves


def same(shown, value):
    if value is None:
        return math.isnan(shown)
    return shown == struct.unpack("f", struct.pack("f", value))[0]


for run in map(pathlib.Path, sys.argv[1:]):
    reader = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    reader.Reload()
    curves, points = wanted(run), 0
    extra = set(reader.Tags()["scalars"]) - set(curves) - {"eval/ranked@1", "eval/selection_gap"}
    assert not extra, f"{run}: TensorBoard has {extra}"
    for tag, expected in curves.items():
        shown = reader.Scalars(tag)
        assert [point.step for point in shown] == [step for step, _ in expected], f"{run}: `{tag}`: {[point.step for point in shown]}"
        for point, (step, value) in zip(shown, expected):
            assert same(point.value, value), f"{run}: `{tag}` at step {step}: {point.value}, not {value}"
        points += len(expected)
    print(f"{run}: {len(curves)} curves, {points} points, as TensorBoard reads them")
