"""What references, handles, definitions and the session show: text that is the same at each run, tables on a page."""

from __future__ import annotations

import copy
import html
import pickle
import re
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.formatters import DisplayFormatter
from IPython.lib.pretty import pretty

import ipyactors
from ipyactors.api.checkpoint_list import CheckpointInfo, CheckpointList
from ipyactors.api.logs import WorkerLog
from ipyactors.ground import ids
from ipyactors.owner import current
from ipyactors.owner.calls import CallState, TaskCall
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.objects import Entry
from ipyactors.owner.refs import ObjectRef
from ipyactors.owner.templates import TaskFacts, TaskTemplate
from ipyactors.util.queue import Queue
from ipyactors.wire.events import Event, EventKind
from ipyactors.wire.specs import ActorState, Death, Definition, LossReason, Payload, Stored
from tests.support.fake_engine import FakeEngine, fake_engine

DRIVER, WORKER = b"ddriver1", b"wworker1"


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as one:
        yield one


@pytest.fixture(autouse=True)
def _somebody_looks_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IPYACTORS_NONINTERACTIVE", raising=False)


def words_of(page: str) -> str:
    """Return what is left of a table where styles and borders are taken out."""
    lines = page.replace("</tr>", "\n").replace("</th>", ": ").replace("</td>", " ").replace("<br>", " | ")
    return html.unescape(re.sub(r"<[^>]*>", "", lines)).strip()


# -- references ------------------------------------------------------------------------------------------------


def entry_of(owner_id: bytes, maker: Any, number: int = 3, index: int = 0, address: str = "") -> Entry:
    return Entry(ids.object_id(owner_id, number, index), None, address, (maker, None, 0))


@pytest.mark.parametrize(
    ("entry", "label"),
    [
        (entry_of(DRIVER, TaskFacts("add", 1, 3, True)), "add #3"),
        (entry_of(DRIVER, TaskFacts("split", 2, 3, True), index=0), "split #3[0]"),
        (entry_of(DRIVER, TaskFacts("split", 2, 3, True), index=1), "split #3[1]"),
        (entry_of(DRIVER, TaskFacts("count", -1, 3, True), index=1), "count #3[0]"),
        (entry_of(DRIVER, None), "put #3"),
        (entry_of(WORKER, TaskFacts("add", 1, 3, True)), "add"),
        (entry_of(DRIVER, "Keeper.make", address="ipc://there"), "#3"),
        (entry_of(WORKER, "Keeper.make", address="ipc://there"), "borrowed"),
        (Entry(ids.object_id(DRIVER, 7)), "#7"),
    ],
)
def test_a_reference_in_text(entry: Entry, label: str) -> None:
    assert repr(ObjectRef(entry)) == f"ObjectRef({label})"


def test_text_does_not_depend_on_the_moment(engine: FakeEngine) -> None:
    ref = ipyactors.remote(lambda: 1).remote()
    before = repr(ref)
    assert ipyactors.get(ref) == 1
    assert repr(ref) == before


def test_a_reference_on_a_page(monkeypatch: pytest.MonkeyPatch, engine: FakeEngine) -> None:
    ipyactors.init()
    template = TaskTemplate(Definition(b"d", "add", Payload(b"")), "add", {})
    call = TaskCall(template, ids.object_id(DRIVER, 3), Payload(b""), (), None)
    entry = Entry(ids.object_id(DRIVER, 3), call, "", (template.facts, compile("1", "/secret/x.py", "exec"), 0))
    ref = ObjectRef(entry)
    told = []
    for state, unready, attempt in [
        (CallState.WAITING, 0, 0),  # as a call begins: the session's thread has not taken it yet
        (CallState.WAITING, 1, 0),
        (CallState.QUEUED, 0, 0),
        (CallState.SENT, 0, 0),
        (CallState.SENT, 0, 2),
        (CallState.WITHDRAWN, 0, 0),
    ]:
        call.state, call.unready, call.attempt = state, unready, attempt
        told.append(words_of(ref._repr_html_()).splitlines()[2].strip())
    assert told == [
        "state: submitted",
        "state: waits for its arguments",
        "state: submitted",
        "state: submitted",
        "state: submitted (attempt 3)",
        "state: is cancelled",
    ]
    entry.complete(Payload(b"12345"))
    assert words_of(ref._repr_html_()).splitlines() == [
        "ObjectRef: add #3 ",
        "made in: x.py, line 1 ",
        "state: ready ",
        "size: 5 bytes",
    ]
    monkeypatch.setenv("IPYACTORS_NONINTERACTIVE", "1")
    assert words_of(ref._repr_html_()).splitlines() == ["ObjectRef: add #3 ", "made in: x.py, line 1"]


def test_a_reference_on_a_page_that_failed_or_is_large_or_late(engine: FakeEngine) -> None:
    def told(entry: Entry) -> str:
        return words_of(ObjectRef(entry)._repr_html_())

    failed = Entry(ids.object_id(DRIVER, 1))
    failed.fail(ArithmeticError("no"))
    assert "state: failed: ArithmeticError" in told(failed)
    large = Entry(ids.object_id(DRIVER, 1))
    large.complete(Payload(b"", stored=Stored(b"s", 12_000_000, ())))
    assert "size: 12 MB, in shared memory" in told(large)
    late = Entry(ids.object_id(DRIVER, 1))
    assert "its session has ended" in told(late)
    ipyactors.init()
    assert "not here yet" in told(late)


# -- actors ----------------------------------------------------------------------------------------------------


class Counter:
    """Counts."""

    def __init__(self, start=0):
        self.value = start

    def add(self, by=1):
        self.value += by
        return self.value

    @ipyactors.method(effect="readonly")
    def look(self, *, quick=True):
        return self.value

    @ipyactors.method(effect="persist")
    def keep(self):
        return self.value

    def _own(self): ...

    def _repr_png_(self):
        raise AssertionError("the page must not ask the actor")


def test_a_handle_in_text(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(1, 9))
    monkeypatch.setattr("tests.support.fake_engine.ids.new_actor_id", lambda: b"a" + bytes(14) + bytes([next(numbers)]))
    remote, durable = ipyactors.remote(Counter), ipyactors.remote(durable=True)(Counter)
    made = [remote.remote(), remote.options(name="c1").remote(), durable.remote()]
    made.append(durable.options(durable="host", name="c2").remote())
    assert [repr(one) for one in made] == [
        "Actor(Counter #1)",
        "Actor(Counter 'c1' #2)",
        "Actor(Counter #3, durable)",
        "Actor(Counter 'c2' #4, durable=host)",
    ]
    assert repr(made[1].add) == "Actor(Counter 'c1' #2).add"


def test_a_queue(engine: FakeEngine) -> None:
    assert repr(Queue()) == "Queue()"
    assert repr(Queue(maxsize=3, actor_options={"name": "q"})) == "Queue('q', maxsize=3)"


def test_actors_of_a_driver_are_numbered_in_their_ids() -> None:
    actor_id = ids.new_actor_id(7)
    assert len(actor_id) == ids.ACTOR_ID_BYTES
    assert ids.number_of_actor(actor_id) == 7
    assert ids.number_of_actor(ids.new_actor_id()) == 0
    assert ids.short(actor_id) != ids.short(ids.new_actor_id(7))


def test_a_handle_on_a_page(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = ipyactors.remote(durable=True)(Counter).options(name="<c1>").remote()
    client = handle._ipyactors_client
    methods = "methods: add(by=1) | keep()  (persist) | look(*, quick=True)  (readonly)"
    assert words_of(handle._repr_html_()).splitlines()[2:] == [
        "state: pending ",
        f"id: {ids.short(client.actor_id)} ",
        methods,
    ]
    client.state, client.incarnation, client.restarts_left = ActorState.ALIVE, 2, -1
    assert words_of(handle._repr_html_()).splitlines()[1:5] == [
        "durable: survives crashes ",
        "state: alive ",
        "incarnation: 2 ",
        "restarts left: no limit ",
    ]
    client.state, client.death = ActorState.RESTARTING, Death(LossReason.KILLED, signal=9)
    assert "state: restarting: its process was killed by SIGKILL \n" in words_of(handle._repr_html_())
    assert "&lt;c1&gt;" in handle._repr_html_()
    monkeypatch.setenv("IPYACTORS_NONINTERACTIVE", "1")
    assert [line.partition(":")[0] for line in words_of(handle._repr_html_()).splitlines()] == [
        "Actor",
        "durable",
        "methods",
    ]
    ipyactors.shutdown()
    assert "state: its session has ended" in words_of(handle._repr_html_())


def test_no_method_of_an_actor_is_taken_for_a_picture_of_its_handle(engine: FakeEngine) -> None:
    handle = ipyactors.remote(Counter).remote()
    for name in ("_repr_png_", "_repr_mimebundle_", "_ipython_display_", "_repr_pretty_"):
        assert not hasattr(handle, name)
    assert handle._own.remote() is not None


# -- functions and classes -------------------------------------------------------------------------------------


def test_functions_and_classes(engine: FakeEngine) -> None:
    def scale(x, factor=2.0):
        """Scale a value.

        At length.
        """
        return x * factor

    plain = ipyactors.remote(scale)
    given = ipyactors.remote(num_cpus=0.5, retry_exceptions=[OSError])(scale)
    assert repr(plain) == "RemoteFunction(scale)"
    assert repr(given) == "RemoteFunction(scale, num_cpus=0.5, retry_exceptions=[OSError])"
    assert repr(given.options(num_cpus=2, resources={"disk": 1})) == (
        "RemoteFunction(scale, num_cpus=2, resources={'disk': 1.0}, retry_exceptions=[OSError])"
    )
    assert words_of(given._repr_html_()).splitlines() == [
        "RemoteFunction: scale(x, factor=2.0) ",
        "about: Scale a value. ",
        "options: num_cpus=0.5 | retry_exceptions=[OSError]",
    ]
    assert words_of(plain.options(max_retries=0)._repr_html_()).endswith("options: max_retries=0")
    assert "function" not in words_of(plain._repr_html_())

    durable = ipyactors.remote(durable=True, checkpoint=ipyactors.every(calls=5))(Counter)
    stored = durable.options(checkpoint_store="/secret/folder", name="c1")
    assert repr(durable) == "ActorClass(Counter, durable=True, checkpoint=every(calls=5))"
    assert repr(stored) == "ActorClass(Counter, name='c1', durable=True, checkpoint=every(calls=5))"
    assert "secret" not in stored._repr_html_()
    assert words_of(stored._repr_html_()).splitlines() == [
        "ActorClass: Counter(start=0) ",
        "about: Counts. ",
        "options: name='c1' | durable=True | checkpoint=every(calls=5) ",
        "methods: add(by=1) | keep()  (persist) | look(*, quick=True)  (readonly)",
    ]
    many = type("Many", (), {f"m{number:02}": lambda self: None for number in range(40)})
    assert words_of(ipyactors.remote(many)._repr_html_()).endswith("| m29() | and 10 more")


# -- the session and its lists ---------------------------------------------------------------------------------


def test_lists_stay_lists(engine: FakeEngine) -> None:
    ipyactors.init()
    ipyactors.remote(Counter).options(name="c1").remote()
    for rows in (ipyactors.list_actors(), ipyactors.nodes()):
        assert isinstance(rows, list)
        assert rows == list(rows)
        assert repr(rows) == repr(list(rows))
        assert type(pickle.loads(pickle.dumps(rows))) is type(copy.copy(rows)) is list
    assert words_of(ipyactors.list_actors()._repr_html_()).splitlines() == [
        "actor: class: state: incarnation: restarts left: why: ",
        "c1 Counter ● alive 0 0",
    ]
    assert words_of(ipyactors.nodes()._repr_html_()).splitlines() == [
        "machine: state: CPUs held: memory held: workers: ",
        "here alive 1.5 of 2 1.0 kB of 1.0 kB 3",
    ]


def test_lists_are_tables_where_a_cell_shows_them(engine: FakeEngine) -> None:
    ipyactors.init()
    ipyactors.remote(Counter).options(name="c1").remote()
    formatter = DisplayFormatter()

    def shown(rows: list[Any]) -> str:
        found, _ = formatter.format(rows)
        assert found["text/html"] == rows._repr_html_()
        return found["text/plain"]

    assert shown(ipyactors.list_actors()).splitlines() == [
        "actor  class    state    incarnation  restarts left  why",
        "c1     Counter  ● alive            0              0",
    ]
    assert shown(ipyactors.nodes()).splitlines() == [
        "machine  state  CPUs held       memory held  workers",
        "here     alive   1.5 of 2  1.0 kB of 1.0 kB        3",
    ]


def test_no_actors(engine: FakeEngine) -> None:
    ipyactors.init()
    assert pretty(ipyactors.list_actors()) == "no actors"
    assert words_of(ipyactors.list_actors()._repr_html_()) == "no actors"


def test_the_session(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.session, "state", _State(), raising=False)
    session = ipyactors.init(num_cpus=2, resources={"disk": 3}, namespace="lab")
    assert repr(session) == "<ipyactors session, namespace 'fake', live>"
    assert words_of(session._repr_html_()).splitlines() == [
        "ipyactors session: live ",
        "namespace: lab ",
        "started with: num_cpus=2, resources={'disk': 3.0}",
    ]
    ipyactors.shutdown()
    assert repr(session) == "<ipyactors session, namespace 'fake', ended>"
    assert words_of(session._repr_html_()).startswith("ipyactors session: ended")
    assert repr(ipyactors.init()) == "<ipyactors session, live>"


class _State:
    def __init__(self) -> None:
        self.actors: dict[bytes, Any] = {}


# -- what has no time, address or process id in it --------------------------------------------------------------


def test_a_checkpoint_and_a_log() -> None:
    assert repr(CheckpointInfo("ab12", 3, 64, 1795288306.45)) == (
        "CheckpointInfo(checkpoint_id='ab12', after_call=3, size_bytes=64)"
    )
    assert repr(WorkerLog("f, attempt 1", 0, ("said",), "/run/20261121-191727/log", True)) == (
        "WorkerLog(what='f, attempt 1', number=0, lines=('said',), is_whole=True)"
    )


def test_the_context_says_where_it_is_asked(engine: FakeEngine) -> None:
    context = ipyactors.get_runtime_context()
    assert repr(context) == "RuntimeContext(driver)"
    token = current.call.set(CurrentCall(b"caller", 1, b"task", "Counter.add"))
    try:
        assert repr(context) == "RuntimeContext(Counter.add)"
    finally:
        current.call.reset(token)


def test_references_in_the_order_of_completion(engine: FakeEngine) -> None:
    refs = [ipyactors.put(number) for number in range(3)]
    coming = ipyactors.as_completed(refs)
    assert repr(coming) == "as_completed(3 left)"
    next(coming)
    assert repr(coming) == "as_completed(2 left)"


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Event(EventKind.WORKER_STARTED, 1.5, worker_id=b"w"), "Event(worker_started)"),
        (Event(EventKind.ACTOR_ALIVE, 1.5, "d", b"a"), "Event(actor_alive, d)"),
        (Event(EventKind.CALL_ATTEMPT, 1.5, "D.inc", b"a", incarnation=1), "Event(call_attempt, D.inc, incarnation 1)"),
        (
            Event(EventKind.INJECTED, 1.5, "d", b"a", b"w", b"n", detail="SIGKILL before D.inc", injected=True),
            "Event(injected, d: 'SIGKILL before D.inc')",
        ),
        (
            Event(EventKind.TASK_RETRY, 1.5, "f", task_id=b"t", attempt=1, detail="x" * 999),
            f"Event(task_retry, f, attempt 2: '{'x' * 79}…')",
        ),
    ],
)
def test_an_event_is_one_line(event: Event, text: str) -> None:
    assert repr(event) == text


def test_an_empty_list_of_checkpoints_is_a_block_of_its_own() -> None:
    assert CheckpointList(())._repr_html_() == "<p><em>no checkpoints</em></p>"
