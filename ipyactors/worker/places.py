"""Where the calls are that somebody asks about, and what holds them up here."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ipyactors.owner.current import CurrentCall
from ipyactors.owner.endless_waits import EndlessWait
from ipyactors.wire.worker_messages import FinishAndExit, RunTask
from ipyactors.worker.mailbox import Mailbox
from ipyactors.worker.running import Running


class Places:
    """Looks for calls. ``is_serial``: one call at a time runs here; ``has_event_loop``: one thread runs all.

    ``awaited_by`` is set for a durable actor, whose calls may run under another number than that of who waits: by which
    they are known to a process.
    """

    def __init__(self, box: Mailbox, running: Running, *, is_serial: bool, has_event_loop: bool) -> None:
        self._box = box
        self._running = running
        self._is_serial = is_serial
        self._has_event_loop = has_event_loop
        self.awaited_by: Callable[[bytes], Iterable[tuple[int, CurrentCall]]] = lambda _process_id: ()

    def held_up(self, caller: bytes, seqs: Iterable[int]) -> Callable[[EndlessWait], str | None]:
        """Return what tells how these calls are held up by a wait, as in :data:`ipyactors.owner.deadlock.HeldUp`.

        Calls that have been answered, or are not here, are held up by nothing.
        """
        names = self._find(caller, set(seqs))

        def by(wait: EndlessWait) -> str | None:
            if wait.key in names:
                return ""
            if names and (self._is_serial or (self._has_event_loop and wait.blocks_thread)):
                return next(iter(names.values()))
            return None

        return by

    def _find(self, caller: bytes, seqs: set[int]) -> dict[tuple[bytes, int], str]:
        """Return the names of those of the calls that are here, by what they are known as where they run."""
        names: dict[tuple[bytes, int], str] = {}
        for peer, call in tuple(self._box.ready):
            if peer == caller and not isinstance(call, FinishAndExit) and call.seq in seqs:
                names[peer, call.seq] = call.name if isinstance(call, RunTask) else call.method
        for seq in seqs:
            running = self._running.get((caller, seq))
            if running is not None:
                names[caller, seq] = running.name
        for seq, running in self.awaited_by(caller):
            if seq in seqs:
                names[running.caller, running.seq] = running.name
        return names
