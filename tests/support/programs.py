"""Programs that run side by side: most of their time is waiting, so together they take little more than the longest."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

#: Far beyond what a loaded machine needs; reached only when something hangs.
_LIMIT_S = 280.0


class Program(NamedTuple):
    """Arguments for this Python, and the folder to run in."""

    arguments: Sequence[str]
    folder: pathlib.Path

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run it to its end; return how it ended and what it printed."""
        command = [sys.executable, *self.arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=_LIMIT_S, check=False)


Finish = Callable[[str], subprocess.CompletedProcess[str]]


@contextlib.contextmanager
def side_by_side(programs: Mapping[str, Program], at_once: int) -> Iterator[Finish]:
    """Start programs, so many at once; yield what waits for one of them by its name. Nobody waits for the rest."""
    with ThreadPoolExecutor(at_once) as threads:
        runs = {name: threads.submit(program.run) for name, program in programs.items()}
        try:
            yield lambda name: runs[name].result()
        finally:
            for run in runs.values():
                run.cancel()
