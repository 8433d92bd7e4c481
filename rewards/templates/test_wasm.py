"""Tests of the reward NAME: `python3 -m unittest` in this folder."""

import types
import unittest

import NAME


def attempt(program):
    return types.SimpleNamespace(program=program)


class Score(unittest.TestCase):
    def test_a_short_program_scores_more_than_a_long_one(self):
        short, long = attempt("x = 1\n"), attempt("x = 1\n" * 10)
        self.assertEqual(NAME.score(short), 1.0)
        self.assertLess(NAME.score(long), NAME.score(short))

    def test_an_empty_program_has_no_score(self):
        self.assertIsNone(NAME.Reward().score(attempt("\n")))


if __name__ == "__main__":
    unittest.main()
