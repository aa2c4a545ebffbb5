"""From nothing to the first result, and what an idle system weighs. Alone: ``python -m benchmarks.start``."""

from __future__ import annotations

import sys
import time

from benchmarks.measure import Scale
from benchmarks.peers.base import NoSuchThingError, Peer
from benchmarks.processes import find_others, pss_mb
from benchmarks.question import Answers, Metric, Question


def measure(peer: Peer, scale: Scale, answers: Answers) -> None:
    """Import, start with two workers, and get one result, all on the clock; then weigh what runs beside the driver."""
    with answers.asking("first_result_s") as figures:
        before_s = time.perf_counter()
        peer.start()
        peer.first_result()
        figures["first_result_s"] = time.perf_counter() - before_s
    with answers.asking("idle_pss_mb", "processes") as figures:
        peer.occupy_both_workers()  # some peers start a worker only when it is needed
        time.sleep(scale.settle_s)
        others = find_others()
        weight_mb = pss_mb(others)
        if weight_mb is None:
            raise NoSuchThingError("this operating system does not tell the proportional set size")
        figures["idle_pss_mb"] = weight_mb
        figures["processes"] = len(others)


QUESTION = Question(
    "start",
    (
        Metric("first_result_s", "import + init + first result", "s"),
        Metric("idle_pss_mb", "memory when idle, 2 workers (PSS, without the driver)", "MB"),
        Metric("processes", "processes beside the driver", ""),
    ),
    measure,
    starts=True,
)

if __name__ == "__main__":
    from benchmarks.run import main

    sys.exit(main(["--only", QUESTION.name, *sys.argv[1:]]))
