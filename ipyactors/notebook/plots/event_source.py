"""Which events a figure is drawn from: those of the session, some that are given, or those in a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from ipyactors.api import event_files, inspect
from ipyactors.api.handles import ActorHandle
from ipyactors.ground.exceptions import OptionError
from ipyactors.wire.events import Event, users

#: Events, the path of a file that holds some, or None for those of the session.
Source: TypeAlias = Iterable[Event] | str | os.PathLike[str] | None

#: An actor's handle, its name, its id or the beginning of that in hexadecimal; several of these; None for all.
Whose: TypeAlias = ActorHandle | str | Sequence[ActorHandle | str] | None


def read(source: Source, actor: Whose = None) -> list[Event]:
    """Return the events, oldest first, or only those of the actors that are meant and their calls.

    Calls that the system has made for itself are left out, and those by :func:`ipyactors.on` are named ``on``.

    Raises SessionError, EventFileError, ActorNotFoundError and OptionError: see :func:`ipyactors.plots.lifelines`.
    """
    __tracebackhide__ = True
    if source is None:
        events = inspect.events()
    elif isinstance(source, (str, os.PathLike)):
        events = event_files.load_events(source)
    else:
        events = sorted(source, key=lambda event: event.wall_s)
    return users(events if actor is None else _of(events, actor))


def _of(events: list[Event], actor: ActorHandle | str | Sequence[ActorHandle | str]) -> list[Event]:
    __tracebackhide__ = True
    if not isinstance(actor, (list, tuple)):
        return inspect.events_of(events, actor)  # type: ignore[arg-type]  # it refuses what is none
    if not actor:
        raise OptionError("actor=[] names no actor, so that nothing was drawn. Leave it out, and all are drawn.")
    wanted = {event.actor_id for one in actor for event in inspect.events_of(events, one)}
    return [event for event in events if event.actor_id in wanted]
