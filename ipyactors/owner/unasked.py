"""Failures that nobody has asked for: each is told once, when the last reference to its results goes, or at the end.

What a failed call leaves is marked with a token, which lives as long as one of its results, and which whoever is given
the failure marks as seen. Calls that succeed have none. Only what a driver has called itself is told; not what it has
cancelled, and of an actor's calls only what a method has raised: an actor that is gone is told of elsewhere. Of a
generator whose items nobody can take any more is told what it still raises.
"""

from __future__ import annotations

import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable

from ipyactors.ground.exceptions import SessionError, TaskCancelledError
from ipyactors.ground.tracebacks import in_words
from ipyactors.owner.calls import PendingCall, TaskCall
from ipyactors.owner.objects import Entry, Failure
from ipyactors.owner.out import Out
from ipyactors.owner.streams import Stream
from ipyactors.wire.specs import RemoteError
from ipyactors.wire.worker_messages import OutputWritten

#: So many lines a scope; the rest is counted, once no more have come for a second.
LINES_AT_MOST = 10
COUNT_AFTER_S = 1.0

_WORDS_AT_MOST = 300
_SCOPES_AT_MOST = 100

#: The token of an object that was asked for, and that has not failed yet.
_ASKED = object()


class UnaskedFailure:
    """A failed call's token. Goes with the last of its results, on whatever thread."""

    __slots__ = ("__weakref__", "_on_gone", "is_seen", "scope", "text")

    def __init__(self, text: str, scope: int, on_gone: Callable[[UnaskedFailure], object]) -> None:
        self.text = text
        self.scope = scope
        self.is_seen = False
        self._on_gone = on_gone

    def __del__(self) -> None:
        if not self.is_seen:
            self._on_gone(self)


class UnaskedFailures:
    """Those of one process. ``wake`` has a turn taken soon; it is called from ``__del__``, and takes no lock."""

    def __init__(self) -> None:
        self.gone: deque[tuple[str, int]] = deque()
        """What is to be told, each with its scope."""
        self.count_at_s: float | None = None
        """When what had no line of its own is counted (s, monotonic); None while there is nothing to count."""
        self.wake: Callable[[], object] = lambda: None
        self._live: weakref.WeakValueDictionary[int, UnaskedFailure] = weakref.WeakValueDictionary()
        self._noted = 0
        self._lines: dict[int, int] = {}
        self._rest: Counter[int] = Counter()

    def note(self, call: PendingCall, failure: Failure) -> None:
        """A call is about to fail: mark its results."""
        results: list[Entry | Stream] = [one for one in call.entries if not one.done and _ASKED not in one.tokens]
        if call.stream is not None and not call.stream.ended:
            results.append(call.stream)
        if not results or call.parent is not None or not _is_news(call, failure):
            return
        words = failure.words if isinstance(failure, RemoteError) else in_words(failure)
        first = words.partition("\n")[0][:_WORDS_AT_MOST]
        text = f"{call.spoken_name} failed, and nobody asked for its result: {first}\n"
        token = UnaskedFailure(text, call.scope, self._on_gone)
        self._noted += 1
        self._live[self._noted] = token
        for one in results:
            one.tokens += (token,)

    def _on_gone(self, token: UnaskedFailure) -> None:
        self.gone.append((token.text, token.scope))
        self.wake()

    def tell(self, out: Out, now_s: float) -> None:
        """Tell what is to be told; part of every turn that has any."""
        while self.gone:
            text, scope = self.gone.popleft()
            told = self._lines[scope] = self._lines.pop(scope, 0) + 1
            if told <= LINES_AT_MOST:
                out.show(OutputWritten(0, "ipyactors", 2, text), scope)
            else:
                self._rest[scope] += 1
                self.count_at_s = now_s + COUNT_AFTER_S
            if len(self._lines) > _SCOPES_AT_MOST:
                del self._lines[next(iter(self._lines))]
        if self.count_at_s is not None and now_s >= self.count_at_s:
            self._count(out)

    def _count(self, out: Out) -> None:
        self.count_at_s = None
        for scope, count in self._rest.items():
            calls = "1 more call" if count == 1 else f"{count} more calls"
            whose = "its result" if count == 1 else "their results"
            text = f"{calls} failed, and nobody asked for {whose}\n"
            out.show(OutputWritten(0, "ipyactors", 2, text), scope)
        self._rest.clear()

    def close(self, out: Out) -> None:
        """The session ends: tell also of those whose results are still here. Nothing is told after it."""
        for _, token in sorted(self._live.items()):
            if not token.is_seen:
                token.is_seen = True
                self.gone.append((token.text, token.scope))
        self.tell(out, float("inf"))
        self._count(out)


def _is_news(call: PendingCall, failure: Failure) -> bool:
    is_left = call.stream is not None and call.stream.is_left
    if (call.cancelled and not is_left) or isinstance(failure, (TaskCancelledError, SessionError)):
        return False
    return isinstance(failure, RemoteError) or isinstance(call, TaskCall)


def mark_seen(entry: Entry) -> None:
    """Somebody is given what a done object has failed with."""
    for token in entry.tokens:
        if isinstance(token, UnaskedFailure):
            token.is_seen = True


def mark_asked(entries: Iterable[Entry]) -> None:
    """Somebody has asked for all of these, and will not be told what becomes of each. Under the session's lock."""
    for entry in entries:
        if entry.done:
            mark_seen(entry)
        elif _ASKED not in entry.tokens:
            entry.tokens += (_ASKED,)
