"""Tests of the reward NAME: `python3 -m unittest` in this folder."""

import json
import threading
import unittest
import urllib.request

import NAME


class Score(unittest.TestCase):
    def test_a_short_program_scores_more_than_a_long_one(self):
        short, long = {"program": "x = 1\n"}, {"program": "x = 1\n" * 10}
        self.assertEqual(NAME.score(short), 1.0)
        self.assertLess(NAME.score(long), NAME.score(short))

    def test_an_empty_program_has_no_score(self):
        self.assertIsNone(NAME.score({"program": "\n"}))


class Protocol(unittest.TestCase):
    def setUp(self):
        self.server = NAME.server(0)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def ask(self, said):
        address = f"http://127.0.0.1:{self.server.server_port}/"
        with urllib.request.urlopen(address, json.dumps(said).encode()) as answer:
            return json.load(answer)

    def test_a_batch_is_answered_with_a_score_per_attempt(self):
        greeting = self.ask({"protocol": "rltrain-reward", "version": 1, "reward": "NAME"})
        self.assertEqual(greeting["version"], 1)
        batch = {"id": 7, "attempts": [{"program": "x = 1\n"}, {"program": ""}]}
        self.assertEqual(self.ask(batch), {"id": 7, "scores": [1.0, None]})

    def test_an_attempt_that_cannot_be_scored_is_reported(self):
        self.assertIn("error", self.ask({"id": 7, "attempts": [{}]}))


if __name__ == "__main__":
    unittest.main()
