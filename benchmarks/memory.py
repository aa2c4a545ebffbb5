"""What a large array weighs that several processes read at once. Alone: ``python -m benchmarks.memory``."""

from __future__ import annotations

import sys
import time

import numpy as np
import psutil

from benchmarks.measure import Scale
from benchmarks.peers.base import NoSuchThingError, Peer
from benchmarks.processes import find_others, pss_mb
from benchmarks.question import Answers, Metric, Question

#: How many processes read the array.
READERS = 4

#: Numbers in an array that is large enough to be stored like any other.
_SMALL = 20_000

#: What all processes weigh wavers by a part of this; a smaller array would drown in it.
_LEAST_BYTES = 32 * 1024 * 1024


def measure(peer: Peer, scale: Scale, answers: Answers) -> None:
    """Weigh everything, the driver too; store an array; weigh again once so many actors have read all of it.

    They go on holding it. Its maker's own array is there before, so one copy is the least that it can be.
    """
    array = np.ones(max(scale.array_bytes, _LEAST_BYTES) // 8)
    with answers.asking("readers_pss_mb", "readers_copies") as figures:
        peer.open_readers(READERS)
        peer.read_in_all(peer.put(np.ones(_SMALL)))  # what reading takes at first, such as numpy, is no matter here
        before_mb = _weight_mb(scale)
        stored = peer.put(array)
        sums = peer.read_in_all(stored)
        if sums != [float(len(array))] * READERS:
            raise AssertionError(f"{READERS} readers were to see {len(array)} ones, and saw sums of {sums}")
        more_mb = _weight_mb(scale) - before_mb
        figures["readers_pss_mb"] = more_mb
        figures["readers_copies"] = more_mb * 1e6 / array.nbytes


def _weight_mb(scale: Scale) -> float:
    time.sleep(scale.settle_s)
    weight_mb = pss_mb([psutil.Process(), *find_others()])
    if weight_mb is None:
        raise NoSuchThingError("this operating system does not tell the proportional set size")
    return weight_mb


QUESTION = Question(
    "memory",
    (
        Metric("readers_pss_mb", f"memory for a 100 MB array that {READERS} actors read (PSS of all processes)", "MB"),
        Metric("readers_copies", "the same, in copies of the array", ""),
    ),
    measure,
)

if __name__ == "__main__":
    from benchmarks.run import main

    sys.exit(main(["--only", QUESTION.name, *sys.argv[1:]]))
