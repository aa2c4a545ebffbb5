"""Which events a figure is drawn from: those of the session, some that are given, or those in a file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeAlias

from ipyactors.api import event_files, inspect
from ipyactors.api.handles import ActorHandle
from ipyactors.wire.events import Event, users

#: Events, the path of a file that holds some, or None for those of the session.
Source: TypeAlias = Iterable[Event] | str | os.PathLike[str] | None

#: An actor's handle, its name, its id or the beginning of that in hexadecimal; None for all.
Whose: TypeAlias = ActorHandle | str | None


def read(source: Source, actor: Whose = None) -> list[Event]:
    """Return the events, oldest first, or only those of ``actor`` and its calls.

    Calls that the system has made for itself are left out, and those by :func:`ipyactors.on` are named ``on``.

    Raises SessionError, EventFileError and ActorNotFoundError: see :func:`ipyactors.plots.lifelines`.
    """
    __tracebackhide__ = True
    if source is None:
        events = inspect.events()
    elif isinstance(source, (str, os.PathLike)):
        events = event_files.load_events(source)
    else:
        events = sorted(source, key=lambda event: event.wall_s)
    return users(events if actor is None else inspect.events_of(events, actor))
