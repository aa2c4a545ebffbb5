"""Which calls run here, kept so that a cancel finds its call wherever it is.

A cancel looks in the line first (:func:`ipyactors.worker.mailbox.on_cancel`), then here. Calls leave the line
without a lock, so one may be in neither place for a moment: taken, not yet admitted. A cancel that finds nothing
therefore leaves a note, and who admits a call looks at the notes. The note is written before the look here, and the
notes are looked at after the call has been entered: whatever the two threads' steps, one sees the other.
"""

from __future__ import annotations

from ipyactors.owner.current import CurrentCall

#: A call while it runs: its caller and its ``seq``.
Key = tuple[bytes, int]


class Running(dict[Key, CurrentCall]):
    """The calls that have been taken from the line and are not answered."""

    def __init__(self) -> None:
        super().__init__()
        self._missed: set[Key] = set()

    def admit(self, key: Key, call: CurrentCall) -> bool:
        """Enter a call just taken from the line; return False if it was cancelled on the way, and is not to run.

        Each call is admitted before the next one is taken, so notes for other calls came too late for them.
        """
        self[key] = call
        if self._missed:
            is_cancelled = key in self._missed
            self._missed.clear()
            if is_cancelled:
                del self[key]
                return False
        return True

    def find(self, key: Key) -> CurrentCall | None:
        """Return a call that is to be cancelled; if it is not here, make sure that it is not admitted later."""
        self._missed.add(key)
        call = self.get(key)
        if call is not None:
            self._missed.discard(key)
        return call
