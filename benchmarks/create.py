"""Ten new actors and a result from each. Alone: ``python -m benchmarks.create``."""

from __future__ import annotations

import sys

from benchmarks.measure import Scale, median, sample
from benchmarks.peers.base import Peer
from benchmarks.question import Answers, Metric, Question

_ACTORS = 10


def measure(peer: Peer, scale: Scale, answers: Answers) -> None:
    """Create the actors, call each once, collect the results. They are dropped, and end before the next sample."""
    with answers.asking("create_ms") as figures:
        times = sample(lambda: peer.create_actors(_ACTORS), scale.creations, pause_s=scale.settle_s)
        figures["create_ms"] = median(times) * 1e3


QUESTION = Question("create", (Metric("create_ms", "create 10 actors, first results", "ms"),), measure)

if __name__ == "__main__":
    from benchmarks.run import main

    sys.exit(main(["--only", QUESTION.name, *sys.argv[1:]]))
