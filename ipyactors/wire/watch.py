"""Any number of processes that are not children, watched for their end: one descriptor for all of them.

On Linux each is held by a pidfd, all of those by one epoll descriptor, which can be polled like any other. Elsewhere,
and where the system has no pidfd to give, whoever watches looks again every ``LOOK_AGAIN_S``.
"""

from __future__ import annotations

import os
import select
import sys

from ipyactors.wire import liveness
from ipyactors.wire.liveness import Identity

#: How often to look at processes that cannot be waited for.
LOOK_AGAIN_S = 1.0


class Watch:
    """Tells which of its processes have ended; a zombie has. Each is known by a key of the caller's. For one thread."""

    def __init__(self) -> None:
        self._epoll = select.epoll() if sys.platform == "linux" else None
        self._pidfds: dict[bytes, int] = {}
        self._keys: dict[int, bytes] = {}
        self._looked_at: dict[bytes, Identity | None] = {}

    def add(self, key: bytes, pid: int) -> None:
        """Watch a process from now on. Harmless if the key is watched; one that is gone already has ended."""
        if key in self:
            return
        descriptor = None if self._epoll is None else liveness.open_pidfd(pid)
        if descriptor is None or self._epoll is None:
            self._looked_at[key] = liveness.identify(pid)
            return
        self._pidfds[key] = descriptor
        self._keys[descriptor] = key
        self._epoll.register(descriptor, select.EPOLLIN)

    def drop(self, key: bytes) -> None:
        """Watch a process no longer; harmless if it is not watched."""
        self._looked_at.pop(key, None)
        descriptor = self._pidfds.pop(key, None)
        if descriptor is not None and self._epoll is not None:
            del self._keys[descriptor]
            self._epoll.unregister(descriptor)
            os.close(descriptor)

    def take_ended(self) -> list[bytes]:
        """Return the keys of those that have ended, and watch them no longer."""
        ended = [
            key for key, identity in self._looked_at.items() if identity is None or not liveness.is_running(identity)
        ]
        if self._epoll is not None and self._pidfds:
            ended += [self._keys[descriptor] for descriptor, _ in self._epoll.poll(0)]
        for key in ended:
            self.drop(key)
        return ended

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What becomes readable when a process has ended: one descriptor, or none where there is no such thing."""
        return () if self._epoll is None else (self._epoll.fileno(),)

    @property
    def look_again_s(self) -> float | None:
        """After how long to call :meth:`take_ended` even though nothing has become readable; None: never."""
        if any(identity is None for identity in self._looked_at.values()):
            return 0.0
        return LOOK_AGAIN_S if self._looked_at else None

    def close(self) -> None:
        """Give all descriptors back."""
        for key in [*self._pidfds, *self._looked_at]:
            self.drop(key)
        if self._epoll is not None:
            self._epoll.close()

    def __contains__(self, key: bytes) -> bool:
        return key in self._pidfds or key in self._looked_at
