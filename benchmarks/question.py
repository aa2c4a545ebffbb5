"""What a benchmark asks, and what it hears: figures, "no such thing", or a failure. Never a guess."""

from __future__ import annotations

import contextlib
import json
import pathlib
import traceback
from collections.abc import Callable, Iterator
from typing import NamedTuple

from benchmarks.measure import Scale
from benchmarks.peers.base import NoSuchThingError, Peer


class Metric(NamedTuple):
    """One row of the table. ``unit`` is that of the stored figure."""

    key: str
    title: str
    unit: str
    higher_is_better: bool = False


class Answers:
    """What one peer answered in one process: for each metric a figure, or the reason why there is none.

    It is written to ``path`` as JSON after each question, so that a peer that hangs loses only the one it hangs at.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self.figures: dict[str, float] = {}
        self.absent: dict[str, str] = {}
        self.failed: dict[str, str] = {}

    @contextlib.contextmanager
    def asking(self, *keys: str) -> Iterator[dict[str, float]]:
        """Collect the figures for ``keys``. What is raised meanwhile becomes their reason; the rest goes on."""
        try:
            yield self.figures
        except NoSuchThingError as error:
            self.absent |= dict.fromkeys(keys, str(error))
        except Exception as error:
            self.failed |= dict.fromkeys(keys, "".join(traceback.format_exception_only(error)).strip())
            traceback.print_exc()
        finally:
            self.save()

    def save(self) -> None:
        """Write what is known so far."""
        answers = {"figures": self.figures, "absent": self.absent, "failed": self.failed}
        self._path.write_text(json.dumps(answers))


class Question(NamedTuple):
    """One script: what it measures and how. ``starts`` is True if starting the peer is what is measured."""

    name: str
    metrics: tuple[Metric, ...]
    measure: Callable[[Peer, Scale, Answers], None]
    starts: bool = False
