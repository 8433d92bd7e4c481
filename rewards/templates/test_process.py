"""Tests of the reward NAME: `python3 -m unittest` in this folder."""

import json
import pathlib
import subprocess
import sys
import unittest

import NAME


class Score(unittest.TestCase):
    def test_a_short_program_scores_more_than_a_long_one(self):
        short, long = {"program": "x = 1\n"}, {"program": "x = 1\n" * 10}
        self.assertEqual(NAME.score(short), 1.0)
        self.assertLess(NAME.score(long), NAME.score(short))

    def test_an_empty_program_has_no_score(self):
        self.assertIsNone(NAME.score({"program": "\n"}))


class Protocol(unittest.TestCase):
    def test_a_batch_is_answered_with_a_score_per_attempt(self):
        hello = {"protocol": "rltrain-reward", "version": 1, "reward": "NAME"}
        batch = {"id": 7, "attempts": [{"program": "x = 1\n"}, {"program": ""}]}
        program = pathlib.Path(NAME.__file__)
        said = "".join(json.dumps(line) + "\n" for line in (hello, batch))
        done = subprocess.run([sys.executable, program], input=said, capture_output=True, text=True, check=True)
        greeting, answer = map(json.loads, done.stdout.splitlines())
        self.assertEqual(greeting["version"], 1)
        self.assertEqual(answer, {"id": 7, "scores": [1.0, None]})


if __name__ == "__main__":
    unittest.main()
