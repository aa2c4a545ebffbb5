"""``progress``: a bar that shows how the waiting goes, and what was retried or has failed.

The loop that is followed only counts. A thread of the bar's own paints a few times a second, so that it moves while
nothing comes, too (a retry, a long call), and a hundred thousand references cost next to nothing.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from ipyactors.api import calls, runtime
from ipyactors.api.completions import Completions, Followed, count_to_come
from ipyactors.ground import ids
from ipyactors.owner import process
from ipyactors.owner.objects import Entry
from ipyactors.owner.output import erase_before_lines, is_interactive
from ipyactors.owner.refs import ObjectRef, ObjectRefGenerator
from ipyactors.wire.events import Event, EventKind
from ipyactors.wire.interrupts import deferred

_Item = TypeVar("_Item")

_PAINT_EVERY_S = 0.2

_RETRIES = frozenset({EventKind.TASK_RETRY, EventKind.CALL_RETRY})


class Bar(Protocol):
    """What is needed of a bar of tqdm; ``colour`` is ``"red"`` if not all came, ``"yellow"`` if some have failed."""

    n: float
    colour: Any

    def update(self, n: float) -> object:
        """Paint, with ``n`` more."""
        ...

    def set_postfix_str(self, s: str, refresh: bool) -> object:
        """Say ``s`` at the end, when the bar is painted next."""
        ...

    def clear(self) -> object:
        """Take it off the terminal until it is painted again."""
        ...

    def close(self) -> object:
        """Paint for the last time."""
        ...


#: Makes a bar for so many items (None: nobody knows) that begins with some words.
MakeBar = Callable[[int | None, str], Bar]


def progress(items: Iterable[_Item], *, desc: str = "") -> Progress[_Item]:
    """Iterate ``items`` and show how far it is.

    ``for ref in progress(refs)`` takes a list of references in the order in which they become ready, as
    :func:`as_completed` yields them, and ``get(progress(refs))`` returns their values, as ``get(refs)`` does. Anything
    else that can be iterated yields what it yields without the bar: the result of ``as_completed``, a generator of
    references, what an ``ActorPool`` maps, a list of other things. ``desc`` is written before the bar.

    The bar is a widget in a notebook and text in a terminal; a script whose standard error is no terminal shows none,
    and with IPYACTORS_NONINTERACTIVE=1 in the environment there is none anywhere. It says how many of the references'
    calls were retried and how many have failed. If the loop is left early, by ``break``, an error or an interrupt, it
    stays, red, and says how many were left. It never raises: a bar that cannot be shown is not shown.

    Use it once, in one thread. Raises TypeError for what cannot be iterated or a list of references and other things,
    ValueError for a reference that is there twice.
    """
    __tracebackhide__ = True
    if not isinstance(desc, str):
        raise TypeError(f"desc={desc!r}: takes a str, not {type(desc).__name__}.")
    if isinstance(items, ObjectRef):
        raise TypeError("progress takes a list of references, not a single one: progress([ref]).")
    refs: Sequence[ObjectRef] | None = None
    coming: Any = items
    if isinstance(items, (list, tuple)) and (not items or any(isinstance(item, ObjectRef) for item in items)):
        coming, refs = calls.completions_of(items, "progress"), items
    elif not isinstance(items, Iterable):
        raise TypeError(f"progress takes a list of references, or what can be iterated, not {type(items).__name__}.")
    return Progress(coming, refs, desc)


class Progress(Followed, Generic[_Item]):
    """What :func:`progress` returns: an iterator. The bar appears with the first step."""

    def __init__(self, coming: Iterable[_Item], refs: Sequence[ObjectRef] | None, desc: str) -> None:
        self._coming = coming
        self._refs = refs
        self._desc = desc
        self._steps = _iterate(coming, desc)

    def __repr__(self) -> str:
        what = "" if self._refs is None else f"{len(self._refs)} reference{'s' * (len(self._refs) != 1)}"
        return f"Progress({', '.join(filter(None, (what, self._desc and repr(self._desc))))})"

    def __iter__(self) -> Iterator[_Item]:
        # The loop alone has the generator: when it is left, that ends, whoever has this object.
        steps, self._steps = self._steps, iter(())
        return steps

    def __next__(self) -> _Item:
        __tracebackhide__ = True
        return next(self._steps)

    def __length_hint__(self) -> int:
        to_come = count_to_come(self._coming)
        return NotImplemented if to_come is None else to_come

    def follow(self, wait: Callable[[Sequence[ObjectRef]], Any]) -> Any:
        """Wait for the references that were given as a list, and show how many are there. Raises TypeError else."""
        __tracebackhide__ = True
        if self._refs is None:
            raise TypeError("get takes progress of a list of references: get(progress(refs)). Iterate any other.")
        painter = _Painter(self._coming, self._desc)
        painter.pending = [ref._entry for ref in self._refs]
        with painter.painting():
            return wait(self._refs)


def _iterate(coming: Iterable[_Item], desc: str) -> Iterator[_Item]:
    # No method: a generator that held the object that holds it would go on when both are dropped.
    __tracebackhide__ = True
    painter = _Painter(coming, desc)
    with painter.painting():
        for item in coming:
            painter.count += 1
            if isinstance(item, ObjectRef) and item._entry.failure is not None:
                painter.failed += 1
            yield item


class _Painter:
    """Keeps one bar up to date. ``count`` and ``failed`` are raised by who iterates; ``pending`` is looked through."""

    def __init__(self, coming: object, desc: str) -> None:
        self.total = count_to_come(coming)
        self.count = 0
        self.failed = 0
        self.pending: list[Entry] | None = None
        self._desc = desc
        self._entries = [ref._entry for ref in coming.rest] if isinstance(coming, Completions) else []
        self._stream = coming if isinstance(coming, ObjectRefGenerator) else None
        self._task_ids: set[bytes] | None = None
        self._retried: set[bytes] = set()
        self._heard: deque[bytes] = deque()
        self._bar: Bar | None = None
        self._over = threading.Event()

    @contextlib.contextmanager
    def painting(self) -> Iterator[None]:
        """Show the bar during the block."""
        if self.total == 0 or not _is_looked_at():
            yield
            return
        thread = threading.Thread(target=contextvars.copy_context().run, args=(self._paint_on,), daemon=True)
        thread.name = "ipyactors-progress"
        is_complete = False
        with contextlib.ExitStack() as stack:
            try:
                with deferred(), contextlib.suppress(Exception):  # no interrupt comes between the bar and its end
                    self._bar = _make_bar(self.total, self._desc)
                    thread.start()
                    stack.callback(erase_before_lines(self._bar.clear))
                    stack.callback(self._listen())
                yield
                is_complete = True
            finally:
                with deferred():
                    self._over.set()
                    if thread.ident is not None:  # else it was not started
                        thread.join()
                    self._finish(is_complete=is_complete)

    def _listen(self) -> Callable[[], None]:
        """Take down which calls are retried, and were before; return what ends it."""
        if self._stream is not None:
            self._task_ids = {self._stream.call.task_id}
        engine = runtime.live_engine()
        if engine is None or not (self._entries or self._task_ids):
            return lambda: None
        return engine.subscribe(self._on_event, notable_only=True)

    def _on_event(self, event: Event) -> None:
        if event.kind in _RETRIES:
            self._heard.append(event.task_id)

    def _paint_on(self) -> None:
        while not self._over.wait(_PAINT_EVERY_S):
            self._paint()

    def _paint(self, more: str = "") -> None:
        bar = self._bar
        if bar is None:
            return
        try:
            bar.set_postfix_str(", ".join(filter(None, (*self._words(), more))), refresh=False)
            bar.update(self.count - bar.n)
        except Exception:
            self._bar = None  # a bar that cannot be painted is none of the user's concern

    def _words(self) -> Iterator[str]:
        if self.pending is not None:
            self._look_through(self.pending)
        self._take_heard()
        if self._retried:
            yield f"{len(self._retried):,} retried"
        if self.failed:
            yield f"{self.failed:,} failed"

    def _look_through(self, pending: list[Entry]) -> None:
        self.pending = []
        for entry in pending:
            if not entry.done:
                self.pending.append(entry)
                continue
            self.count += 1
            self.failed += entry.failure is not None

    def _take_heard(self) -> None:
        if self._heard and self._task_ids is None:  # few have to know them
            self._task_ids = {_task_id(entry.object_id) for entry in self._entries}
        while self._heard:
            task_id = self._heard.popleft()
            if self._task_ids is not None and task_id in self._task_ids:
                self._retried.add(task_id)

    def _finish(self, *, is_complete: bool) -> None:
        if self._bar is None:
            return
        with contextlib.suppress(Exception):
            self._paint()
            left = 0 if self.total is None or is_complete else self.total - self.count
            if not is_complete or self.failed:
                self._bar.colour = "yellow" if is_complete else "red"
            self._paint(f"{left:,} left" if left else "")
            self._bar.close()


def _task_id(object_id: bytes) -> bytes:
    return ids.object_id(ids.owner_of(object_id), ids.counter_of(object_id))


def _is_looked_at() -> bool:
    """Return whether there is a page or a terminal; what a worker shows comes to its driver's."""
    if not is_interactive():
        return False
    session = process.session()
    is_worker = session is not None and not session.is_driver
    return is_worker or "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())


def bar_options(total: int | None, desc: str) -> dict[str, Any]:
    """Return what a class of tqdm is called with: it is painted when we say so, and starts no thread."""
    return {"total": total, "desc": desc or None, "mininterval": 0, "miniters": 0}


def make_tqdm(total: int | None, desc: str) -> Bar:
    """Return a bar as tqdm makes it here: a widget in a notebook that can show one, else text."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are no widgets
        from tqdm.auto import tqdm
    kind = type("progress", (tqdm,), {"monitor_interval": 0})
    bar: Bar = kind(**bar_options(total, desc))
    return bar


_make_bar: MakeBar = make_tqdm


def set_bar_maker(make: MakeBar) -> None:
    """Have the bars of this process made by ``make``; called by the notebook."""
    global _make_bar
    _make_bar = make
