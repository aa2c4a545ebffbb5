"""What this process knows has happened: its own calls, and (in a driver) what the head reports.

Recording a call costs one append of a tuple; the event is made when somebody reads it.

A head that was started again cannot know of what the one before has told: it tells once more which machines there are,
and of the latest deaths. What can happen only once is kept only once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ipyactors.ground.clock import Clock
from ipyactors.owner.actors import MethodCall
from ipyactors.owner.calls import PendingCall
from ipyactors.owner.out import Runner
from ipyactors.wire.events import Became, Event, EventKind

#: Attempts that ended well may be a hundred thousand a second; what went wrong is kept apart and is never pushed
#: out by them.
_ROUTINE_AT_MOST = 20_000
_NOTABLE_AT_MOST = 20_000

_ROUTINE = frozenset({EventKind.TASK_ATTEMPT, EventKind.CALL_ATTEMPT})

#: Of so many events that happen once it is remembered that they have. An agent repeats its 256 latest deaths.
_TOLD_AT_MOST = 20_000

_ONCE_PER_MACHINE = frozenset({EventKind.NODE_ADDED, EventKind.NODE_LOST})
_ONCE_PER_INCARNATION = frozenset(
    {
        EventKind.ACTOR_CREATED,
        EventKind.ACTOR_ALIVE,
        EventKind.ACTOR_RECOVERED,
        EventKind.ACTOR_DIED,
        EventKind.ACTOR_RESTARTING,
        EventKind.ACTOR_DEAD,
    }
)

#: What an event is made from when somebody reads it. It must not hold the call, and so its arguments, alive.
_Raw = tuple[EventKind, float, str, bytes, bytes, bytes, bytes, int, int, float, str]


class EventLog:
    """Two rings of events, and those who listen. Guarded by the session's lock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._routine: deque[_Raw] = deque(maxlen=_ROUTINE_AT_MOST)
        self._notable: deque[Event] = deque(maxlen=_NOTABLE_AT_MOST)
        self._told: dict[tuple[EventKind, bytes, float], None] = {}
        self._unheard: list[Event] = []
        self._listeners: list[tuple[Callable[[Event], None], bool]] = []  # and whether it hears of all
        self._is_all_heard = False

    def record(
        self,
        kind: EventKind,
        call: PendingCall,
        duration_s: float,
        detail: str,
        by: Runner | None = None,
        incarnation: int | None = None,
        ago_s: float = 0.0,
        became: Became = Became.NOT_KNOWN,
    ) -> None:
        """Note what became of a call, and what has run it, where that is known; see :meth:`Out.event`."""
        actor_id, attempt = b"", call.attempt
        if isinstance(call, MethodCall):
            actor_id, attempt = call.client.actor_id, attempt + call.interrupted
            if incarnation is None:
                incarnation = call.client.incarnation
        worker_id, node_id = (b"", b"") if by is None else (by.worker_id, by.node_id)
        raw = (
            kind, self._clock.wall() - ago_s, call.name, actor_id, worker_id, node_id, call.task_id, attempt,
            incarnation or 0, duration_s, detail,
        )  # fmt: skip
        if kind in _ROUTINE and not self._is_all_heard:
            self._routine.append(raw)
            return
        event = Event(*raw, became=became)
        if kind in _ROUTINE:
            self._routine.append(raw)
        else:
            self._notable.append(event)
        if self._listeners:
            self._unheard.append(event)

    def record_object(self, kind: EventKind, object_id: bytes, name: str, attempt: int, detail: str) -> None:
        """Note what became of an object; its id is the event's ``task_id``."""
        event = Event(kind, self._clock.wall(), name=name, task_id=object_id, attempt=attempt, detail=detail)
        self._notable.append(event)
        if self._listeners:
            self._unheard.append(event)

    def extend(self, events: tuple[Event, ...]) -> None:
        """Note what the head reports, but for what it, or the head before it, has reported already."""
        news = [event for event in events if self._is_new(event)]
        self._notable.extend(news)
        if self._listeners:
            self._unheard.extend(news)

    def _is_new(self, event: Event) -> bool:
        told: tuple[EventKind, bytes, float]
        if event.kind in _ONCE_PER_MACHINE:
            told = (event.kind, event.node_id, 0)
        elif event.kind in _ONCE_PER_INCARNATION:
            told = (event.kind, event.actor_id, event.incarnation)
        elif event.kind is EventKind.INJECTED:  # a process tells of it again when it ends
            told = (event.kind, (event.worker_id or event.node_id) + event.detail.encode(), event.wall_s)
        else:
            return True
        # Whose constructor raised is dead before its process is: the next head hears of that process alone.
        if told in self._told or (EventKind.ACTOR_DEAD, *told[1:]) in self._told:
            return False
        self._told[told] = None
        if len(self._told) > _TOLD_AT_MOST:
            del self._told[next(iter(self._told))]
        return True

    def events(self) -> list[Event]:
        """Return everything that is kept, oldest first."""
        return sorted([*self._notable, *map(_event, self._routine)], key=lambda event: event.wall_s)

    def subscribe(self, listener: Callable[[Event], None], *, notable_only: bool = False) -> Callable[[], None]:
        """Add a listener; return what removes it.

        With ``notable_only`` it does not hear of attempts that ended well, which cost more while somebody hears of them
        (an event for each), and it hears at once of the rest that has happened.
        """
        if notable_only:
            for event in self._notable:
                listener(event)
        ours = listener, not notable_only
        self._listeners.append(ours)
        self._is_all_heard = any(hears_all for _, hears_all in self._listeners)

        def unsubscribe() -> None:
            if ours in self._listeners:
                self._listeners.remove(ours)
                self._is_all_heard = any(hears_all for _, hears_all in self._listeners)

        return unsubscribe

    def take_unheard(self) -> list[tuple[Callable[[Event], None], Event]]:
        """Return what is to be told to whom; to be called without the session's lock held."""
        events, self._unheard = self._unheard, []
        return [
            (listener, event)
            for event in events
            for listener, hears_all in tuple(self._listeners)
            if hears_all or event.kind not in _ROUTINE
        ]

    @property
    def has_unheard(self) -> bool:
        """Whether a listener waits to be told."""
        return bool(self._unheard)


def _event(raw: _Raw) -> Event:
    return Event(*raw)  # in the order of its fields
