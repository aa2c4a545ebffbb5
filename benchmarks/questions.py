"""All questions, in the order of the table's rows."""

from __future__ import annotations

import importlib

from benchmarks.question import Question

NAMES = ("start", "task", "actor", "recovery", "create", "data", "memory")


def find_question(name: str) -> Question:
    """Return the question of that name. Imports only its module: others need numpy, and ``start`` must not."""
    question: Question = importlib.import_module(f"benchmarks.{name}").QUESTION
    return question
