"""Calls that run in this process and wait for objects without a limit of time; made only once that takes a moment."""

from __future__ import annotations

from collections.abc import Sequence

from ipyactors.owner.current import CurrentCall
from ipyactors.owner.objects import Entry
from ipyactors.wire.worker_messages import WaitingCall


class EndlessWait:
    """A call waits for all of ``entries``; see :mod:`ipyactors.owner.deadlock`.

    ``key`` is the call's caller and number, ``who`` its name for people, ``actor_id`` its actor, if it has one. While
    it ``blocks_thread``, whatever else that thread has to run waits too.

    ``probe_number`` counts the probes that it has begun, the last one at ``probed_s``; the next is due at ``due_s``
    (monotonic clock). ``passed_on`` has the newest number that it has passed on of the probes of others.
    ``suspects`` are the circles that were found once, each with the number of the last probe begun by then.
    ``circle`` is set when it is told that it waits for itself: the calls from this one to this one. It is over then.
    """

    __slots__ = (
        "actor_id",
        "blocks_thread",
        "circle",
        "due_s",
        "entries",
        "key",
        "passed_on",
        "probe_number",
        "probed_s",
        "suspects",
        "wait_id",
        "who",
    )

    def __init__(self, running: CurrentCall, who: str, entries: Sequence[Entry], *, blocks_thread: bool) -> None:
        self.wait_id = b""
        self.key = running.caller, running.seq
        self.actor_id = running.actor_id
        self.who = who
        self.entries = entries
        self.blocks_thread = blocks_thread
        self.probe_number = 0
        self.probed_s = self.due_s = 0.0
        self.passed_on: dict[bytes, int] = {}
        self.suspects: dict[tuple[bytes, ...], int] = {}
        self.circle: tuple[WaitingCall, ...] = ()


class EndlessWaits(dict[bytes, EndlessWait]):
    """Those that are under way, by their ids."""

    def __init__(self, owner_id: bytes) -> None:
        super().__init__()
        self._owner_id = owner_id
        self._count = 0

    def add(self, wait: EndlessWait) -> None:
        """Take a wait, and give it an id that no other wait of any process ever has (16 bytes)."""
        self._count += 1
        wait.wait_id = self._owner_id + self._count.to_bytes(8, "big")
        self[wait.wait_id] = wait
