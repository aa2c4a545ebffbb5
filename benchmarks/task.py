"""What a task costs: one there and back, and many at once. Alone: ``python -m benchmarks.task``."""

from __future__ import annotations

import sys

from benchmarks.measure import Scale, median, percentile, rate
from benchmarks.peers.base import Peer
from benchmarks.question import Answers, Metric, Question


def measure(peer: Peer, scale: Scale, answers: Answers) -> None:
    """Time single calls, then submit many and collect all results, on two workers."""
    with answers.asking("task_p50_us", "task_p99_us") as figures:
        times = peer.time_tasks(scale.calls)
        figures["task_p50_us"] = median(times) * 1e6
        figures["task_p99_us"] = percentile(times, 0.99) * 1e6
    with answers.asking("tasks_per_s") as figures:
        figures["tasks_per_s"] = rate(peer.call_tasks, scale)


QUESTION = Question(
    "task",
    (
        Metric("task_p50_us", "task, round trip p50", "us"),
        Metric("task_p99_us", "task, round trip p99", "us"),
        Metric("tasks_per_s", "tasks pipelined", "/s", higher_is_better=True),
    ),
    measure,
)

if __name__ == "__main__":
    from benchmarks.run import main

    sys.exit(main(["--only", QUESTION.name, *sys.argv[1:]]))
