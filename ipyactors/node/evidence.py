"""What is left of a process after its death: its marks, its last lines, its wait status, the memory killer's count.

The files are read only when the process has certainly ended: a mark that is read too early would let a call that
ran pass for one that did not.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import signal

from ipyactors.ground import tracebacks
from ipyactors.ground.config import SessionPaths
from ipyactors.node import resources
from ipyactors.node.children import Child, Evidence
from ipyactors.wire.chaos_ledger import read_ledger
from ipyactors.wire.last_words import Words
from ipyactors.wire.marks import last_begun, log_sent, log_start, read_marks, read_words, was_leaving

_LAST_LINES = 20
_TAIL_BYTES = 16 * 1024
_LINE_CHARS = 500

#: Of what no caller was sent, so much is passed on, from the end.
_UNSENT_BYTES = 8 * 1024
_UNSENT_LINES = 100
_CUT = "... ipyactors.logs(ref or actor) reads the worker's log, which has more than these last lines:"

#: With this begins what Python's faulthandler writes when the process crashes.
_CRASH_REPORT = b"Fatal Python error: "

#: Without a counter, a killed process whose peak was above this share of the limit counts as out of memory.
_SUSPICIOUS_SHARE = 0.9


class OomCounter:
    """Tells whether the kernel's memory killer has struck since it was last asked.

    It counts per cgroup (``memory.events`` in version 2, ``memory.oom_control`` in version 1) or, without those, for
    the machine (``/proc/vmstat``); never per process, so this is asked only about processes that SIGKILL ended.
    """

    def __init__(self, candidates: list[pathlib.Path] | None = None) -> None:
        if candidates is None:
            names = ("memory.events", "memory.oom_control")
            candidates = [group / name for group in resources.cgroups("memory") for name in names]
            candidates.append(pathlib.Path("/proc/vmstat"))
        self._file = next((path for path in candidates if _read_count(path) is not None), None)
        self._seen = self._read()

    @property
    def can_tell(self) -> bool:
        """Whether there is a counter at all."""
        return self._file is not None

    def has_struck(self) -> bool:
        """Return whether the count has risen. Each strike explains one death."""
        if self._read() <= self._seen:
            return False
        self._seen += 1
        return True

    def catch_up(self) -> None:
        """Forget strikes so far: they hit something else."""
        self._seen = self._read()

    def _read(self) -> int:
        """Return the count now."""
        return (_read_count(self._file) or 0) if self._file is not None else 0


class Coroner:
    """Gathers the evidence on a dead worker, and removes the files that only mattered while it lived."""

    def __init__(self, paths: SessionPaths, limit_bytes: int, counter: OomCounter) -> None:
        self._paths = paths
        self._limit_bytes = limit_bytes
        self._counter = counter

    def examine(self, child: Child, status: int, max_rss_bytes: int, wall_s: float) -> Evidence:
        """Return what is known. ``status`` is the wait status. The marks and the socket are gone afterwards."""
        code = os.waitstatus_to_exitcode(status)
        number = -code if code < 0 else None
        worker_id = child.worker_id
        marks = self._paths.marks_path(worker_id)
        log, faults = self._paths.log_path(worker_id), self._paths.faults_path(worker_id)
        evidence = Evidence(
            exit_code=code if code >= 0 else None,
            signal=number,
            max_rss_bytes=max_rss_bytes,
            limit_bytes=self._limit_bytes,
            ran_out_of_memory=self._ran_out_of_memory(child, number, max_rss_bytes),
            last_output=last_lines(log, log_start(marks)),
            started=read_marks(marks),
            wall_s=wall_s,
            was_leaving=was_leaving(marks),
            faults=read_ledger(faults),
            words=_last_words(marks, log),
        )
        for left in (marks, faults, self._paths.process_address(worker_id).removeprefix("ipc://")):
            with contextlib.suppress(OSError):
                os.unlink(left)
        with contextlib.suppress(OSError):
            if os.path.getsize(log) == 0:
                os.unlink(log)
        return evidence

    def _ran_out_of_memory(self, child: Child, number: int | None, max_rss_bytes: int) -> bool:
        """Return whether the memory killer did it, as far as can be told."""
        if number != signal.SIGKILL or child.kill is not None or child.orphaned or child.signalled:
            self._counter.catch_up()
            return False
        if self._counter.can_tell:
            return self._counter.has_struck()
        return 0 < _SUSPICIOUS_SHARE * self._limit_bytes < max_rss_bytes


def _last_words(marks: str, log: str) -> tuple[Words, ...]:
    """Return what the worker has sent last, and what it had not come to send: that is of the call that began last."""
    words = read_words(marks)
    text = unsent(log, log_sent(marks))
    if text:
        reader, seq = last_begun(marks)
        words.append(Words(reader, words[-1].number + 1 if words else 1, seq, "", 1, text))
    return tuple(words)


def unsent(path: str, start: int) -> str:
    """Return what a log has from ``start`` (bytes) on, as whole lines; the last ones, and no report of a crash."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size <= start:
                return ""
            file.seek(max(start, size - _UNSENT_BYTES))
            data = file.read()
    except OSError:
        return ""
    lines = data.partition(_CRASH_REPORT)[0].decode("utf-8", "backslashreplace").rstrip("\n").split("\n")
    if len(data) < size - start or len(lines) > _UNSENT_LINES:
        lines = [_CUT, *lines[1:][-_UNSENT_LINES:]]  # the first one may be the end of a line
    return "\n".join((*lines, "")) if any(lines) else ""


def last_lines(path: str, start: int) -> tuple[str, ...]:
    """Return the last 20 lines of a log, each cut at 500 characters, without stack frames of ours.

    What lies before ``start`` (bytes) is left out: tasks that ran before wrote it.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ()
    lines = list(tracebacks.without_our_frames(text.strip("\n").splitlines()))
    return tuple(line[:_LINE_CHARS] for line in lines[-_LAST_LINES:])


def _read_count(path: pathlib.Path) -> int | None:
    """Return the number behind ``oom_kill`` in a file of names and numbers."""
    words = resources.read_words(path)
    for name, value in itertools.pairwise(words):
        if name == "oom_kill" and value.isdecimal():
            return int(value)
    return None
