"""From a crash to the next result. Alone: ``python -m benchmarks.recovery``."""

from __future__ import annotations

import sys

from benchmarks.measure import Scale, median, percentile
from benchmarks.peers.base import Peer
from benchmarks.question import Answers, Metric, Question


def measure(peer: Peer, scale: Scale, answers: Answers) -> None:
    """SIGKILL an actor and call it; the same with calls to replay; run tasks whose first attempt ends its process."""
    with answers.asking("recovery_p50_ms", "recovery_p99_ms") as figures:
        times = peer.time_recoveries(scale.kills)
        figures["recovery_p50_ms"] = median(times) * 1e3
        figures["recovery_p99_ms"] = percentile(times, 0.99) * 1e3
    with answers.asking("replay_p50_ms") as figures:
        figures["replay_p50_ms"] = median(peer.time_replays(scale.kills, scale.replayed_calls)) * 1e3
    with answers.asking("retry_p50_ms", "retry_p99_ms") as figures:
        times = peer.time_retries(scale.crashes)
        figures["retry_p50_ms"] = median(times) * 1e3
        figures["retry_p99_ms"] = percentile(times, 0.99) * 1e3


QUESTION = Question(
    "recovery",
    (
        Metric("recovery_p50_ms", "SIGKILL an actor to its next result p50", "ms"),
        Metric("recovery_p99_ms", "SIGKILL an actor to its next result p99", "ms"),
        Metric("replay_p50_ms", "same, durable, 1,000 calls to replay p50", "ms"),
        Metric("retry_p50_ms", "task crashes once, retried, result p50", "ms"),
        Metric("retry_p99_ms", "task crashes once, retried, result p99", "ms"),
    ),
    measure,
)

if __name__ == "__main__":
    from benchmarks.run import main

    sys.exit(main(["--only", QUESTION.name, *sys.argv[1:]]))
