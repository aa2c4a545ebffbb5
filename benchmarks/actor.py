"""What a method call costs: one there and back, many at once, durably. Alone: ``python -m benchmarks.actor``."""

from __future__ import annotations

import sys

from benchmarks.measure import Scale, median, percentile, rate
from benchmarks.peers.base import Peer
from benchmarks.question import Answers, Metric, Question


def measure(peer: Peer, scale: Scale, answers: Answers) -> None:
    """Time single calls to one actor, then submit many and collect all results."""
    with answers.asking("actor_p50_us", "actor_p99_us") as figures:
        times = peer.time_actor_calls(scale.calls)
        figures["actor_p50_us"] = median(times) * 1e6
        figures["actor_p99_us"] = percentile(times, 0.99) * 1e6
    with answers.asking("actor_calls_per_s") as figures:
        figures["actor_calls_per_s"] = rate(peer.call_actor_often, scale)
    with answers.asking("durable_calls_per_s") as figures:
        figures["durable_calls_per_s"] = rate(peer.call_durable_often, scale)


QUESTION = Question(
    "actor",
    (
        Metric("actor_p50_us", "actor call, round trip p50", "us"),
        Metric("actor_p99_us", "actor call, round trip p99", "us"),
        Metric("actor_calls_per_s", "actor calls pipelined", "/s", higher_is_better=True),
        Metric("durable_calls_per_s", "durable actor calls pipelined", "/s", higher_is_better=True),
    ),
    measure,
)

if __name__ == "__main__":
    from benchmarks.run import main

    sys.exit(main(["--only", QUESTION.name, *sys.argv[1:]]))
