"""One question put to one peer: ``python -m benchmarks.child QUESTION PEER FILE SECONDS [--short]``, a fresh process.

The answers go to FILE, for a peer may print what it likes. After SECONDS all stacks are printed and the process ends.
"""

from __future__ import annotations

import argparse
import faulthandler
import pathlib

from benchmarks.measure import FULL, SHORT
from benchmarks.peers import find_entry
from benchmarks.question import Answers
from benchmarks.questions import find_question


def main() -> None:
    """Measure and write the answers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("question")
    parser.add_argument("peer")
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    faulthandler.dump_traceback_later(options.seconds, exit=True)
    question = find_question(options.question)
    scale = SHORT if options.short else FULL
    answers = Answers(options.file)
    peer = find_entry(options.peer).load()
    with answers.asking(*[metric.key for metric in question.metrics]):
        if not question.starts:
            peer.start()
        question.measure(peer, scale, answers)
    peer.stop()


if __name__ == "__main__":
    main()
