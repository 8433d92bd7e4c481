"""A real worker behind a relay that lets the first few workers of an executor fail.

Arguments: the worker, a folder in which starts are counted, a way to fail, and how many workers fail: `fault` answers the first
job with a fault of the sandbox, `refuse` ends before it is ready. Workers after those are relayed as they are.
"""

import json
import os
import struct
import subprocess
import sys

worker, folder, way, failing = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4].split(",")
number = 0
while True:
    try:
        os.mkdir(os.path.join(folder, str(number)))
        break
    except FileExistsError:
        number += 1
fails = str(number) in failing
if fails and way == "refuse":
    sys.exit(1)
real = subprocess.Popen([worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def frame(source):
    header = source.read(4)
    if len(header) < 4:
        sys.exit(0)
    return header + source.read(struct.unpack("<I", header)[0])


def answer(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


for index in range(1 << 30):
    request = frame(sys.stdin.buffer)
    if fails and index == 1:
        body = json.dumps({"Fault": f"no memory in worker {number}"}).encode()
        answer(struct.pack("<I", len(body)) + body)
        continue
    real.stdin.write(request)
    real.stdin.flush()
    answer(frame(real.stdout))
