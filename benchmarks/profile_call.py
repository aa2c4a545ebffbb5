"""What one call costs, in figures that a noisy machine does not blur: ``python -m benchmarks.profile_call``.

Counts the instructions of the driver and of the worker for each call, where the processor's counters can be read with
``perf``; the processor time of both in any case. Then profiles both sides with cProfile: which functions the time goes
to. The profiler slows a call down several times, so of its figures only the shares mean something.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import io
import os
import pstats
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import psutil

from benchmarks import work

_EVENT = "instructions:u"
_COUNTS = (2_000, 20_000)  # round trips, pipelined calls


class Probe(work.Echo):
    """An actor that profiles its own process: everything that its thread does between two calls."""

    def start_profile(self) -> None:
        """Begin; what the worker does for later calls is included."""
        self.profiler = cProfile.Profile()
        self.profiler.enable()

    def stop_profile(self, lines: int) -> str:
        """End and return the report."""
        self.profiler.disable()
        return format_profile(self.profiler, lines)


def format_profile(profiler: cProfile.Profile, lines: int) -> str:
    """Return the functions that took most time by themselves."""
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("tottime").print_stats(lines)
    return text.getvalue()


def can_count(event: str = _EVENT) -> bool:
    """Return whether ``perf`` is there and may read the counter; virtual machines often have none."""
    if shutil.which("perf") is None:
        return False
    tried = subprocess.run(["perf", "stat", "-x,", "-e", event, "true"], capture_output=True, text=True, check=False)
    return tried.returncode == 0 and "<not" not in tried.stderr


@contextlib.contextmanager
def counting(pids: Sequence[int], event: str = _EVENT) -> Iterator[dict[int, float]]:
    """Count ``event`` in each of ``pids``, all threads, from entry to exit; the counts are filled in at the exit.

    perf attaches with the counters stopped and is told over a pipe to start them, so its own start is not counted.
    """
    counts: dict[int, float] = {}
    with contextlib.ExitStack() as stack:
        counters = [stack.enter_context(_Counter(pid, event)) for pid in pids]
        for counter in counters:
            counter.tell("enable")
        yield counts
        for counter in counters:
            counter.tell("disable")
            counts[counter.pid] = counter.finish()


class _Counter:
    """One ``perf stat`` attached to one process."""

    def __init__(self, pid: int, event: str) -> None:
        self.pid = pid
        orders_r, self._orders = os.pipe()
        self._obeyed, obeyed_w = os.pipe()
        self._log, log_w = os.pipe()
        command = ["perf", "stat", "-x,", "-e", event, "-p", str(pid), "--log-fd", str(log_w)]
        command += ["--delay", "-1", "--control", f"fd:{orders_r},{obeyed_w}"]
        inherited = (orders_r, obeyed_w, log_w)
        self._perf = subprocess.Popen(command, pass_fds=inherited, stderr=subprocess.DEVNULL)
        for descriptor in inherited:
            os.close(descriptor)  # so that the death of perf ends a read here

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._perf.kill()
        self._perf.wait()
        for descriptor in (self._orders, self._obeyed, self._log):
            os.close(descriptor)

    def tell(self, order: str) -> None:
        """Give perf an order and wait until it has obeyed."""
        os.write(self._orders, f"{order}\n".encode())
        os.read(self._obeyed, 64)

    def finish(self) -> float:
        """End perf and return what it counted."""
        self._perf.send_signal(signal.SIGINT)
        self._perf.wait()
        lines = os.read(self._log, 4096).decode().splitlines()
        return float(next(line for line in lines if line and not line.startswith("#")).split(",")[0])


def measure(name: str, run: Callable[[int], object], count: int, pids: Sequence[int]) -> None:
    """Print what each of ``count`` calls costs the driver and the worker, whose ``pids`` are given in that order."""
    processes = [psutil.Process(pid) for pid in pids]
    before_s = [sum(process.cpu_times()[:2]) for process in processes]
    run(count)
    used_us = [
        (sum(process.cpu_times()[:2]) - before) / count * 1e6
        for process, before in zip(processes, before_s, strict=True)
    ]
    print(f"{name}, {count:,} calls: driver {used_us[0]:.1f} us, worker {used_us[1]:.1f} us of processor time per call")
    if can_count():
        with counting(pids) as counts:
            run(count)
        driver, worker = (counts[pid] / count for pid in pids)
        print(f"{name}, {count:,} calls: driver {driver:,.0f}, worker {worker:,.0f} instructions per call")


def profile(name: str, run: Callable[[int], object], count: int, probe: Any, get: Callable[[Any], Any]) -> None:
    """Print where the time of both sides goes."""
    options = {"lines": 20}
    get(probe.start_profile.remote())
    mine = cProfile.Profile()
    mine.enable()
    run(count)
    mine.disable()
    theirs = get(probe.stop_profile.remote(**options))
    print(f"\n-- {name}: driver, {count:,} calls\n{format_profile(mine, **options)}")
    print(f"-- {name}: worker, {count:,} calls\n{theirs}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and profile calls to one actor."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile_call", description=__doc__)
    parser.add_argument("--calls", type=int, nargs=2, default=_COUNTS, metavar=("ROUND_TRIPS", "PIPELINED"))
    parser.add_argument("--no-profile", action="store_true", help="only count")
    options = parser.parse_args(arguments)
    import ipyactors

    ipyactors.init(num_cpus=2)
    get = ipyactors.get
    probe: Any = ipyactors.remote(Probe).remote()
    pids = (os.getpid(), get(probe.pid.remote()))

    def make_round_trips(count: int) -> None:
        for number in range(count):
            get(probe.echo.remote(number))

    def make_pipelined(count: int) -> None:
        get([probe.echo.remote(number) for number in range(count)])

    kinds = {"round trip": make_round_trips, "pipelined": make_pipelined}
    if not can_count():
        print("perf cannot read the instruction counter here: processor time only")
    for (name, run), count in zip(kinds.items(), options.calls, strict=True):
        run(count)  # warm-up
        measure(name, run, count, pids)
    for (name, run), count in zip(kinds.items(), options.calls, strict=True):
        if not options.no_profile:
            profile(name, run, count, probe, get)
    ipyactors.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
