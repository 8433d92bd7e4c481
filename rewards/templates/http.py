"""The reward NAME: an rltrain plug-in behind HTTP. Wants nothing but Python 3.

    python3 NAME.py [PORT]

rltrain posts one JSON object a request: first a hello, then batches of attempts; each batch is answered with a score per attempt.
Requests come side by side, each on a thread of its own. Whatever `score` raises is reported to rltrain, which asks again.
"""

import http.server
import json
import sys

PROTOCOL, VERSION = "rltrain-reward", 1
PORT = 8642


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


def answer(said):
    """What is answered to a hello or to a batch."""
    if "protocol" in said:
        return {"protocol": PROTOCOL, "version": VERSION}
    try:
        return {"id": said["id"], "scores": [score(attempt) for attempt in said["attempts"]]}
    except Exception as error:  # Whatever it is, rltrain wants to know.
        return {"id": said["id"], "error": repr(error)}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(answer(said)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Not a line for each request."""


def server(port):
    """A server on this machine only; port 0 is any that is free."""
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    with server(int(sys.argv[1]) if len(sys.argv) > 1 else PORT) as serving:
        print(f"NAME: http://127.0.0.1:{serving.server_port}/", file=sys.stderr, flush=True)
        serving.serve_forever()
