"""What a large array costs: as an argument, stored, and by reference. Alone: ``python -m benchmarks.data``."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.measure import Effort, Scale, median, sample
from benchmarks.peers.base import Peer
from benchmarks.question import Answers, Metric, Question

_ONCE = Effort(0.0, 1, 1, 0)


def measure(peer: Peer, scale: Scale, answers: Answers) -> None:
    """Store an array of float64; hand it to a worker that looks at one element; hand over what was stored."""
    array = np.ones(scale.array_bytes // 8)
    with answers.asking("first_put_gb_per_s", "put_gb_per_s") as figures:
        first = sample(lambda: peer.put(array), _ONCE)
        times = sample(lambda: peer.put(array), scale.puts)
        check_stored(peer, np.ones_like(array))
        figures["first_put_gb_per_s"] = array.nbytes / 1e9 / median(first)
        figures["put_gb_per_s"] = array.nbytes / 1e9 / median(times)
    with answers.asking("argument_ms") as figures:
        figures["argument_ms"] = median(sample(lambda: peer.pass_array(array), scale.transfers)) * 1e3
    with answers.asking("reference_ms") as figures:
        stored = peer.put(array)
        figures["reference_ms"] = median(sample(lambda: peer.pass_stored(stored), scale.transfers)) * 1e3


def check_stored(peer: Peer, array: np.ndarray) -> None:
    """Raise AssertionError unless the array is stored as it is now: a peer that keeps a pointer to it is not timed."""
    stored = peer.put(array)
    array[0] = 2.0
    seen = peer.pass_stored(stored)
    if seen != 1.0:
        raise AssertionError(f"put stored nothing: the first element was changed after it, and a worker saw {seen}")


QUESTION = Question(
    "data",
    (
        Metric("first_put_gb_per_s", "put of a 100 MB array, the first one", "GB/s", higher_is_better=True),
        Metric("put_gb_per_s", "put of a 100 MB array, steady state", "GB/s", higher_is_better=True),
        Metric("argument_ms", "pass a 100 MB array as argument", "ms"),
        Metric("reference_ms", "pass a reference to a stored 100 MB array", "ms"),
    ),
    measure,
)

if __name__ == "__main__":
    from benchmarks.run import main

    sys.exit(main(["--only", QUESTION.name, *sys.argv[1:]]))
