"""Progress bars: what is iterated stays as it is, the bar says what was retried, has failed or is left."""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import ipyactors
from ipyactors.api import progress as api_progress
from ipyactors.exceptions import GetTimeoutError
from ipyactors.ground.clock import FakeClock
from ipyactors.owner.event_log import EventLog
from ipyactors.wire.events import Event, EventKind
from tests.support.fake_engine import FakeEngine, fake_engine


class FakeBar:
    """A bar that remembers what it has shown."""

    def __init__(self, total: int | None, desc: str) -> None:
        self.total, self.desc = total, desc
        self.n: float = 0
        self.words = ""
        self.colour = ""
        self.shown: list[tuple[float, str]] = []
        self.closed = 0
        self.painted = threading.Condition()

    def set_postfix_str(self, s: str, refresh: bool) -> None:
        assert not refresh
        self.words = s

    def update(self, n: float) -> None:
        with self.painted:
            self.n += n
            self.shown.append((self.n, self.words))
            self.painted.notify_all()

    def clear(self) -> None: ...

    def close(self) -> None:
        self.closed += 1

    def wait_shown(self, words: str) -> None:
        with self.painted:
            assert self.painted.wait_for(lambda: any(words in said for _, said in self.shown), 60), self.shown


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as one:
        yield one


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[FakeBar]:
    made: list[FakeBar] = []

    def make(total: int | None, desc: str) -> FakeBar:
        made.append(FakeBar(total, desc))
        return made[-1]

    monkeypatch.setattr(api_progress, "_make_bar", make)
    monkeypatch.setattr(api_progress, "_PAINT_EVERY_S", 0.001)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.delenv("IPYACTORS_NONINTERACTIVE", raising=False)
    return made


@ipyactors.remote
def same(x):
    return x


@ipyactors.remote
def fail():
    raise ArithmeticError


def refs_of(count: int) -> list[Any]:
    return [same.remote(number) for number in range(count)]


# -- iterating -------------------------------------------------------------------------------------------------


def test_a_list_is_iterated_as_as_completed_does(engine: FakeEngine, bars: list[FakeBar]) -> None:
    refs = refs_of(4)
    engine.run_next(2)
    assert list(ipyactors.progress(refs, desc="adding")) == [refs[2], refs[0], refs[1], refs[3]]
    [bar] = bars
    assert (bar.total, bar.desc, bar.n, bar.closed, bar.colour) == (4, "adding", 4, 1, "")
    assert "left" not in bar.words


def test_anything_else_yields_what_it_yields(engine: FakeEngine, bars: list[FakeBar]) -> None:
    refs = refs_of(3)
    completed = ipyactors.as_completed(refs)
    following = ipyactors.progress(completed)
    assert operator.length_hint(completed) == 3
    first = next(completed)
    assert operator.length_hint(completed) == 2
    assert [first, *following] == refs
    assert list(ipyactors.progress(iter("ab"))) == ["a", "b"]
    assert list(ipyactors.progress(character for character in "ab")) == ["a", "b"]

    @ipyactors.remote
    def count(n):
        yield from range(n)

    assert [ipyactors.get(ref) for ref in ipyactors.progress(count.remote(3))] == [0, 1, 2]
    assert [bar.total for bar in bars] == [2, 2, None, None]
    assert [bar.n for bar in bars] == [2, 2, 2, 3]


def test_it_says_what_it_follows(engine: FakeEngine, bars: list[FakeBar]) -> None:
    refs = [ipyactors.put(number) for number in range(2)]
    assert repr(ipyactors.progress(refs, desc="two")) == "Progress(2 references, 'two')"
    assert repr(ipyactors.progress(iter("ab"))) == "Progress()"


def test_it_may_be_stepped_through(engine: FakeEngine, bars: list[FakeBar]) -> None:
    refs = refs_of(3)
    following = ipyactors.progress(refs)
    assert not bars
    assert operator.length_hint(following) == 3
    assert next(following) == refs[0]
    assert operator.length_hint(following) == 2
    assert list(following) == refs[1:]
    assert list(following) == []
    assert [bar.n for bar in bars] == [3]


@pytest.mark.parametrize("items", [[1, 2, 3], ("a", "b", "c"), [[1], [2], [1]]])
def test_a_list_of_anything_else_is_iterated_as_it_is(bars: list[FakeBar], items: Any) -> None:
    assert list(ipyactors.progress(items)) == list(items)
    [bar] = bars
    assert (bar.total, bar.n, bar.closed) == (3, 3, 1)
    with pytest.raises(TypeError, match="get takes progress of a list of references"):
        ipyactors.get(ipyactors.progress(items))


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (7, TypeError, "takes a list of references, or what can be iterated, not int"),
        (None, TypeError, "not NoneType"),
    ],
)
def test_wrong_arguments(engine: FakeEngine, given: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ipyactors.progress(given)
    [ref] = refs_of(1)
    with pytest.raises(TypeError, match=r"not a single one: progress\(\[ref\]\)"):
        ipyactors.progress(ref)
    with pytest.raises(ValueError, match=r"^progress takes each reference once; .* is there twice"):
        ipyactors.progress([ref, ref])
    with pytest.raises(TypeError, match=r"^progress takes references; item 1 is int"):
        ipyactors.progress([ref, 1])
    with pytest.raises(TypeError, match="desc=3: takes a str"):
        ipyactors.progress([ref], desc=3)  # type: ignore[arg-type]


# -- left early ------------------------------------------------------------------------------------------------


def test_a_loop_that_is_left_leaves_a_red_bar(engine: FakeEngine, bars: list[FakeBar]) -> None:
    refs = refs_of(3)
    kept = ipyactors.progress(refs)
    for _ in kept:
        break
    [bar] = bars
    assert (bar.n, bar.closed, bar.colour, bar.words) == (1, 1, "red", "2 left")
    for error in (ArithmeticError, KeyboardInterrupt):
        with pytest.raises(error):
            for _ in ipyactors.progress(refs):
                raise error
        assert (bars[-1].closed, bars[-1].colour, bars[-1].words) == (1, "red", "2 left")
    with pytest.raises(GetTimeoutError):
        list(ipyactors.progress(ipyactors.as_completed(refs_of(2), timeout=0)))
    assert (bars[-1].colour, bars[-1].words) == ("red", "2 left")
    following = ipyactors.progress(refs)
    next(following)
    del following
    assert (bars[-1].closed, bars[-1].words) == (1, "2 left")
    assert not [thread for thread in threading.enumerate() if thread.name == "ipyactors-progress"]
    assert not engine.subscribers


# -- what is said ----------------------------------------------------------------------------------------------


def test_failures_are_counted(engine: FakeEngine, bars: list[FakeBar]) -> None:
    list(ipyactors.progress([*refs_of(1), fail.remote(), fail.remote()]))
    [bar] = bars
    assert (bar.n, bar.words, bar.colour) == (3, "2 failed", "yellow")


def test_calls_are_counted_that_were_retried_and_no_others(engine: FakeEngine, bars: list[FakeBar]) -> None:
    other, *refs = refs_of(5)
    engine.recorded.append(Event(EventKind.TASK_RETRY, 0.5, task_id=bytes.fromhex(refs[3].task_id())))
    following = ipyactors.progress(refs)
    next(following)

    def tell(kind: EventKind, ref: Any) -> None:
        for on_event in engine.subscribers:
            on_event(Event(kind, 1.0, task_id=bytes.fromhex(ref.task_id())))

    for kind, ref in [
        (EventKind.TASK_RETRY, refs[1]),
        (EventKind.TASK_RETRY, refs[1]),
        (EventKind.CALL_RETRY, refs[2]),
        (EventKind.TASK_RETRY, other),
        (EventKind.TASK_FAILED, refs[2]),
    ]:
        tell(kind, ref)
    bars[0].wait_shown("3 retried")  # while nothing comes
    list(following)
    assert bars[0].words == "3 retried"


# -- get -------------------------------------------------------------------------------------------------------


def test_get_takes_a_bar(engine: FakeEngine, bars: list[FakeBar]) -> None:
    refs = refs_of(3)
    assert ipyactors.get(ipyactors.progress(refs)) == [0, 1, 2]
    assert (bars[0].n, bars[0].words, bars[0].closed) == (3, "", 1)
    with pytest.raises(ArithmeticError):
        ipyactors.get(ipyactors.progress([fail.remote(), *refs]))
    assert (bars[1].n, bars[1].words, bars[1].colour) == (4, "1 failed", "red")
    with pytest.raises(GetTimeoutError):
        ipyactors.get(ipyactors.progress(refs_of(2)), timeout=0)
    assert (bars[2].n, bars[2].words) == (0, "2 left")
    with pytest.raises(TypeError, match="get takes progress of a list"):
        ipyactors.get(ipyactors.progress(ipyactors.as_completed(refs)))
    assert ipyactors.get(ipyactors.progress([])) == []


# -- nothing to show -------------------------------------------------------------------------------------------


def test_a_program_that_nobody_looks_at_has_no_bar(
    engine: FakeEngine, bars: list[FakeBar], monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = refs_of(2)
    assert list(ipyactors.progress([])) == []
    monkeypatch.setenv("IPYACTORS_NONINTERACTIVE", "1")
    assert list(ipyactors.progress(refs)) == refs
    assert ipyactors.get(ipyactors.progress(refs)) == [0, 1]
    monkeypatch.delenv("IPYACTORS_NONINTERACTIVE")
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    monkeypatch.delitem(__import__("sys").modules, "ipykernel", raising=False)
    assert list(ipyactors.progress(refs)) == refs
    monkeypatch.setattr("sys.stderr", None)
    assert list(ipyactors.progress(refs)) == refs
    assert not bars


def test_a_bar_that_breaks_is_none_of_the_users_concern(
    engine: FakeEngine, bars: list[FakeBar], monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = refs_of(2)

    def refuse(*_: object) -> None:
        raise OSError("no terminal any more")

    for name in ("update", "close", "set_postfix_str"):
        monkeypatch.setattr(FakeBar, name, refuse)
        assert list(ipyactors.progress(refs)) == refs
    monkeypatch.setattr(api_progress, "_make_bar", refuse)
    assert list(ipyactors.progress(refs)) == refs


def test_who_hears_of_what_is_notable_does_not_make_the_rest_dearer() -> None:
    log = EventLog(FakeClock())
    heard: list[EventKind] = []
    log.extend((Event(EventKind.TASK_FAILED, 1.0),))
    stop = log.subscribe(lambda event: heard.append(event.kind), notable_only=True)
    assert not log._is_all_heard
    stop_all = log.subscribe(lambda event: None)
    assert log._is_all_heard
    log.extend((Event(EventKind.TASK_ATTEMPT, 1.0), Event(EventKind.TASK_RETRY, 1.0)))
    for listener, event in log.take_unheard():
        listener(event)
    assert heard == [EventKind.TASK_FAILED, EventKind.TASK_RETRY]
    stop_all()
    assert not log._is_all_heard
    stop()
    stop()
