"""The engine of the process, and the verbs on references."""

from __future__ import annotations

import gzip
import inspect
import json
import os
import pathlib
import pickle
import warnings
from collections.abc import Iterator

import pytest

import ipyactors
from ipyactors import chaos
from ipyactors.api import runtime
from ipyactors.exceptions import (
    ActorNotFoundError,
    GetTimeoutError,
    OptionError,
    OptionTypeError,
    SessionError,
    TaskCancelledError,
)
from ipyactors.ground import config
from ipyactors.owner import current
from ipyactors.owner.current import CurrentCall
from ipyactors.wire.chaos_words import Order
from ipyactors.wire.events import Event, EventKind
from ipyactors.wire.specs import ActorSpec, Definition, Payload
from tests.support.fake_engine import FakeEngine, fake_engine


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as one:
        yield one


@ipyactors.remote
def same(x):
    return x


# -- the session -----------------------------------------------------------------------------------------------


def test_the_first_use_starts_a_session_and_shutdown_ends_it(engine: FakeEngine) -> None:
    assert not ipyactors.is_initialized()
    same.remote(1)
    assert ipyactors.is_initialized()
    ipyactors.shutdown()
    assert engine.is_shut_down
    assert not ipyactors.is_initialized()
    ipyactors.shutdown()


@pytest.mark.parametrize(
    ("given", "everything"), [({}, None), ({"everything": True}, True), ({"everything": False}, None)]
)
def test_shutdown_may_end_what_others_have_started_too(
    engine: FakeEngine, given: dict[str, bool], everything: bool | None
) -> None:
    ipyactors.init()
    ipyactors.shutdown(**given)
    assert engine.is_shut_down
    assert engine.everything is everything


def test_a_session_that_was_found_again_says_so_and_knows_what_it_was_started_with(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "welcome", "came back to the session of this notebook")
    monkeypatch.setattr(engine, "given_at_first", {"num_cpus": 2.0, "nodes": [{"num_cpus": 1.0}]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ipyactors.init(nodes=[{"num_cpus": 1}])
    assert capsys.readouterr().out == "came back to the session of this notebook\n"
    with pytest.warns(UserWarning, match="running already; num_cpus had no effect"):
        ipyactors.init(num_cpus=3)
    assert capsys.readouterr().out == ""
    ipyactors.shutdown()


def test_init_again_returns_the_live_session(engine: FakeEngine) -> None:
    first = ipyactors.init(num_cpus=2, namespace="n")
    assert engine.started_with["num_cpus"] == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ipyactors.init(num_cpus=2) is first
        assert ipyactors.init() is first
        assert ipyactors.init(log_to_driver=True) is first
    with pytest.warns(UserWarning, match="running already; log_to_driver had no effect"):
        assert ipyactors.init(log_to_driver=False) is first
    with pytest.warns(UserWarning, match="running already; num_cpus, session had no effect") as caught:
        assert ipyactors.init(num_cpus=3, session="s") is first
    assert "\n" not in str(caught[0].message)
    assert caught[0].filename == __file__
    with first as context:
        assert context.is_live
    assert not first.is_live
    assert not ipyactors.is_initialized()
    assert "ended" in repr(first)


def test_a_session_tells_its_folder_also_when_it_has_ended(engine: FakeEngine) -> None:
    context = ipyactors.init()
    ipyactors.shutdown()
    assert context.folder == pathlib.Path("/fake/state")


def test_a_silent_session_stays_silent_when_nothing_is_said(engine: FakeEngine) -> None:
    ipyactors.init(log_to_driver=False)
    assert engine.started_with["log_to_driver"] is False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ipyactors.init()
    with pytest.warns(UserWarning, match="log_to_driver had no effect"):
        ipyactors.init(log_to_driver=True)


def test_how_much_lineage_is_kept(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    ipyactors.init(max_lineage_bytes=5)
    assert engine.started_with["max_lineage_bytes"] == 5
    monkeypatch.delenv("IPYACTORS_MAX_LINEAGE_BYTES", raising=False)
    assert config.lineage_limit_bytes(None) == 1 << 30
    monkeypatch.setenv("IPYACTORS_MAX_LINEAGE_BYTES", "1000")
    assert config.lineage_limit_bytes(None) == 1000
    assert config.lineage_limit_bytes(0) == 0
    monkeypatch.setenv("IPYACTORS_MAX_LINEAGE_BYTES", "1 GB")
    with pytest.raises(OptionError, match="IPYACTORS_MAX_LINEAGE_BYTES='1 GB': takes a number of bytes"):
        config.lineage_limit_bytes(None)


def test_a_session_that_ended_by_itself_is_replaced(engine: FakeEngine) -> None:
    first = ipyactors.init()
    engine.session.is_over = True
    assert not ipyactors.is_initialized()
    assert ipyactors.init() is not first
    assert engine.is_shut_down
    assert ipyactors.is_initialized()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"num_cpus": -1}, OptionError),
        ({"num_cpus": "2"}, OptionTypeError),
        ({"resources": {"CPU": 1}}, OptionError),
        ({"namespace": ""}, OptionError),
        ({"session": 3}, OptionTypeError),
        ({"address": ""}, OptionError),
        ({"address": "elsewhere", "num_cpus": 1}, OptionError),
        ({"address": "elsewhere", "session": "mine"}, OptionError),
        ({"nodes": {"num_cpus": 1}}, OptionTypeError),
        ({"nodes": []}, OptionError),
        ({"nodes": [{}, 3]}, OptionTypeError),
        ({"nodes": [{"cpus": 3}]}, OptionError),
        ({"nodes": [{"num_cpus": 1}, {"num_cpus": -1}]}, OptionError),
        ({"nodes": [{"resources": {"CPU": 1}}]}, OptionError),
        ({"nodes": [{"object_store_memory": "1 GB"}]}, OptionTypeError),
        ({"nodes": [{}], "num_cpus": 2}, OptionError),
        ({"hosts": ["a"]}, OptionError),
        ({"object_store_memory": 1}, OptionError),
        ({"engine": "ray"}, OptionError),
        ({"log_to_driver": "no"}, OptionTypeError),
        ({"max_lineage_bytes": -1}, OptionError),
        ({"max_lineage_bytes": 1e9}, OptionTypeError),
        ({"max_lineage_bytes": True}, OptionTypeError),
        ({"max_lineage_bytes": 2**63}, OptionError),
        ({"object_store_memory": 1e300}, OptionError),
        ({"namespace": "\ud800"}, OptionError),
        ({"session": "\ud800"}, OptionError),
        ({"address": "\ud800"}, OptionError),
        ({"resources": {"\ud800": 1}}, OptionError),
    ],
)
def test_init_refuses(engine: FakeEngine, arguments, error) -> None:
    with pytest.raises(error) as caught:
        ipyactors.init(**arguments)
    assert next(iter(arguments)) in str(caught.value)
    assert not ipyactors.is_initialized()


def test_init_says_what_it_takes_and_that_nothing_was_started(engine: FakeEngine) -> None:
    for arguments in ({"object_store_memory": "1GB"}, {"max_lineage_bytes": "1GB"}):
        with pytest.raises(OptionTypeError, match=r"such as 1_000_000_000, not str\. Nothing was started\.$"):
            ipyactors.init(**arguments)
    for arguments in ({"object_store_memory": 10}, {"max_lineage_bytes": -1}):
        with pytest.raises(OptionError, match=r"such as 1_000_000_000\. Nothing was started\.$") as caught:
            ipyactors.init(**arguments)
        assert caught.value.option == next(iter(arguments))
    with pytest.raises(OptionError, match=r"Nothing was started\.$"):
        ipyactors.init(engine="ray")


def test_a_misspelt_argument_of_init_has_its_neighbour_named(engine: FakeEngine) -> None:
    with pytest.raises(
        TypeError, match=r"init takes no 'num_cpu'\. Did you mean 'num_cpus'.*Nothing was started"
    ) as caught:
        ipyactors.init(num_cpu=2)
    assert isinstance(caught.value, OptionError)
    with pytest.raises(TypeError, match=r"init takes no 'zzz'\. It takes: address, num_cpus, .*max_lineage_bytes\."):
        ipyactors.init(zzz=2)
    assert not ipyactors.is_initialized()
    assert next(iter(inspect.signature(ipyactors.init).parameters)) == "address"


def test_looking_back_starts_no_session(engine: FakeEngine) -> None:
    """Neither before there is one nor after it has ended: it would show that nothing has ever happened."""
    for look in (
        ipyactors.memory,
        ipyactors.events,
        ipyactors.timeline,
        ipyactors.list_actors,
        ipyactors.list_named_actors,
    ):
        with pytest.raises(SessionError, match=rf"{look.__name__}: there is no session.*Nothing was started"):
            look()
        assert not ipyactors.is_initialized()
    ref = ipyactors.put(1)
    assert ipyactors.events() == []
    ipyactors.shutdown()
    with pytest.raises(SessionError, match="explain: there is no session"):
        ipyactors.explain(ref)
    with pytest.raises(SessionError, match="events: there is no session"):
        ipyactors.events()
    assert not ipyactors.is_initialized()


def test_a_fault_ordered_for_a_function_starts_a_session_as_its_first_call_would(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered: list[str] = []

    class Faults:
        def inject(self, order: Order, definition_id: bytes, **_: object) -> Order:
            assert definition_id
            ordered.append(order.deed)
            return order

    monkeypatch.setattr(FakeEngine, "faults", Faults(), raising=False)

    @ipyactors.remote
    def f() -> None: ...

    for wrong in (lambda: chaos.kill(f), lambda: chaos.kill("nobody", during=True), lambda: chaos.clear(f)):
        with pytest.raises(SessionError, match="there is no session"):
            wrong()
        assert not ipyactors.is_initialized()
    chaos.kill(f, during=True)
    assert ipyactors.is_initialized()
    ipyactors.shutdown()
    chaos.fail(f.options(num_cpus=2), ValueError)
    assert ordered == ["kill", "fail"]


def test_a_reference_from_elsewhere_needs_a_session(engine: FakeEngine) -> None:
    data = pickle.dumps(ipyactors.put(1))
    ipyactors.shutdown()
    with pytest.raises(SessionError, match=r"there is no session in this process.*init\(address=.*owner is at fake"):
        pickle.loads(data)


def test_a_forked_process_is_told_so(engine: FakeEngine) -> None:
    ipyactors.init()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ipyactors.put(1)
        except SessionError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read, "rb") as answer:
        assert b"was forked" in answer.read()
    assert ipyactors.get(ipyactors.put(1)) == 1


def test_a_worker_uses_its_session_and_cannot_end_it(engine: FakeEngine, monkeypatch) -> None:
    ipyactors.init()
    engine.session.is_driver = False
    with pytest.raises(SessionError, match="a worker cannot end the session"):
        ipyactors.shutdown()
    assert ipyactors.is_initialized()
    engine.session.is_driver = True


# -- the verbs -------------------------------------------------------------------------------------------------


def test_get(engine: FakeEngine) -> None:
    ref = same.remote(1)
    with pytest.raises(GetTimeoutError):
        ipyactors.get(ref, timeout=0)
    with pytest.raises(TimeoutError):
        ipyactors.get([ref], timeout=0)
    assert ipyactors.get(ref, timeout=5) == 1
    assert ipyactors.get((ref, ref)) == [1, 1]
    assert ipyactors.get([]) == []


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda _: ipyactors.get(3), TypeError, "not int"),
        (lambda _: ipyactors.get([3]), TypeError, "item 0 is int"),
        (lambda _: ipyactors.get({}), TypeError, "not dict"),
        (lambda ref: ipyactors.get(ref, timeout="1"), TypeError, "not str"),
        (lambda ref: ipyactors.get(ref, timeout=-1), ValueError, "seconds >= 0"),
        (lambda ref: ipyactors.get(ref, timeout=True), TypeError, "not bool"),
        (lambda ref: ipyactors.wait(ref), TypeError, "not a single one"),
        (lambda ref: ipyactors.wait([ref, ref]), ValueError, "there twice"),
        (lambda ref: ipyactors.wait([ref], num_returns=2), ValueError, "takes 1 to 1"),
        (lambda ref: ipyactors.wait([ref], num_returns=0), ValueError, "takes 1 to 1"),
        (lambda ref: ipyactors.wait([ref], num_returns=1.0), TypeError, "not float"),
        (lambda ref: ipyactors.as_completed([ref, ref]), ValueError, "there twice"),
        (lambda ref: ipyactors.put(ref), TypeError, "reference already"),
        (lambda _: ipyactors.put(1, copies=0), OptionError, "or more. Nothing was stored"),
        (lambda _: ipyactors.put(1, copies="2"), TypeError, "not str. Nothing was stored"),
        (lambda _: ipyactors.cancel("x"), TypeError, "takes a reference"),
        (lambda ref: ipyactors.cancel(ref, force="no"), TypeError, "force='no': takes True or False, not str"),
        (lambda ref: ipyactors.cancel(ref, recursive=1), TypeError, "recursive=1: takes True or False, not int"),
        (lambda _: ipyactors.explain(3), TypeError, "takes a reference, or an actor's handle or name"),
    ],
)
def test_wrong_arguments(engine: FakeEngine, call, error, words: str) -> None:
    with pytest.raises(error, match=words):
        call(ipyactors.put(0))


def test_get_does_not_take_generators(engine: FakeEngine) -> None:
    items = same.options(num_returns="streaming").remote([])
    with pytest.raises(TypeError, match="generator of references"):
        ipyactors.get(items)


def test_wait_keeps_the_order(engine: FakeEngine) -> None:
    refs = [same.remote(index) for index in range(4)]
    assert ipyactors.wait(refs, timeout=0) == ([], refs)
    engine.run_next(2)
    assert ipyactors.wait(refs) == ([refs[2]], [refs[0], refs[1], refs[3]])
    assert ipyactors.wait(refs, num_returns=4) == (refs, [])
    assert ipyactors.wait([]) == ([], [])


def test_as_completed(engine: FakeEngine) -> None:
    refs = [same.remote(index) for index in range(4)]
    engine.run_next(3)
    engine.run_next(1)
    assert list(ipyactors.as_completed(refs)) == [refs[1], refs[3], refs[0], refs[2]]
    late = same.remote(1)
    with pytest.raises(GetTimeoutError, match="1 of 1"):
        next(ipyactors.as_completed([late], timeout=0))


def test_cancel(engine: FakeEngine) -> None:
    ref = same.remote(1)
    ipyactors.cancel(ref)
    with pytest.raises(TaskCancelledError):
        ipyactors.get(ref)


def test_kill_takes_a_flag(engine: FakeEngine) -> None:
    actor = ipyactors.remote(type("Some", (), {})).remote()
    with pytest.raises(TypeError, match="no_restart='x': takes True or False, not str"):
        ipyactors.kill(actor, no_restart="x")
    assert not engine.killed


# -- looking ---------------------------------------------------------------------------------------------------


def test_cluster(engine: FakeEngine) -> None:
    assert ipyactors.cluster_resources() == {"CPU": 2.0, "memory": 1000.0}
    assert ipyactors.available_resources() == {"CPU": 0.5}
    [here] = ipyactors.nodes()
    assert (here["NodeManagerHostname"], here["Alive"], here["Workers"]) == ("here", True, 3)
    assert ipyactors.explain(ipyactors.put(1)) == "explained ObjectRef"


def test_actors(engine: FakeEngine) -> None:
    class Some:
        pass

    handle = ipyactors.remote(Some).options(name="s").remote()
    [row] = ipyactors.list_actors()
    assert (row["name"], row["class_name"], row["state"], row["death"]) == ("s", "Some", "alive", "")
    assert row["durable"] == ""
    assert ipyactors.list_named_actors() == ["s"]
    assert ipyactors.util.list_named_actors(all_namespaces=True) == [{"name": "s", "namespace": "fake"}]
    assert ipyactors.explain(handle) == "explained ActorClient"
    items = same.options(num_returns="streaming").remote([])
    assert ipyactors.explain(items) == "explained ObjectRefGenerator"


def test_timeline(engine: FakeEngine, tmp_path) -> None:
    ipyactors.init()
    engine.recorded += [
        Event(EventKind.TASK_ATTEMPT, 10.0, "f", duration_s=0.5, worker_id=b"w1"),
        Event(EventKind.ACTOR_DIED, 11.0, "c1", actor_id=b"a1", detail="killed"),
    ]
    traced = ipyactors.timeline(tmp_path / "plain.json")
    attempt, death = [one for one in traced if one["ph"] in "Xi"]
    assert (attempt["ph"], attempt["ts"], attempt["dur"]) == ("X", 9_500_000, 500_000)
    assert (death["ph"], death["args"]["detail"]) == ("i", "killed")
    assert json.loads((tmp_path / "plain.json").read_text()) == traced
    assert ipyactors.timeline(str(tmp_path / "packed.json.gz")) == traced
    assert json.loads(gzip.decompress((tmp_path / "packed.json.gz").read_bytes())) == traced
    assert [one.name for one in sorted(tmp_path.iterdir())] == ["packed.json.gz", "plain.json"]
    assert ipyactors.events() == engine.recorded


def test_the_timeline_of_one_actor(engine: FakeEngine, tmp_path) -> None:
    ipyactors.init()
    engine.recorded += [
        Event(EventKind.ACTOR_CREATED, 10.0, "c1", actor_id=b"a1"),
        Event(EventKind.CALL_ATTEMPT, 10.5, "Counter.add", actor_id=b"a1"),
        Event(EventKind.ACTOR_CREATED, 11.0, "c2", actor_id=b"a2"),
    ]
    for which in ("c1", b"a1".hex()):
        assert [one["name"] for one in ipyactors.timeline(actor=which) if one["ph"] in "Xi"] == [
            "actor created", "Counter.add",
        ]  # fmt: skip
    with pytest.raises(ActorNotFoundError, match=r"No event tells of an actor 'c3'.*Actors in them: c1, c2\."):
        ipyactors.timeline(tmp_path / "none.json", actor="c3")
    with pytest.raises(TypeError, match="takes a handle, a name or the beginning of an id, not int"):
        ipyactors.timeline(actor=1)
    assert not list(tmp_path.iterdir())


def test_on_event(engine: FakeEngine) -> None:
    seen: list[Event] = []
    stop = ipyactors.on_event(seen.append)
    assert engine.subscribers == [seen.append]
    stop()
    assert not engine.subscribers
    with pytest.raises(TypeError, match="takes a function"):
        ipyactors.on_event(3)


# -- the context -----------------------------------------------------------------------------------------------


def test_context_in_a_driver(engine: FakeEngine) -> None:
    context = ipyactors.get_runtime_context()
    assert context.get_session_name() == "fake-session"
    assert context.get_worker_id() == engine.session.process_id.hex()
    assert context.get_node_id() == engine.session.node_id.hex()
    assert (context.get_task_id(), context.get_actor_id(), context.get_actor_name()) == (None, None, None)
    assert (context.attempt, context.get_incarnation(), context.is_canceled()) == (0, 0, False)
    assert (context.namespace, context.get_assigned_resources()) == ("fake", {})
    with pytest.raises(SessionError, match="does not run in an actor"):
        context.current_actor


def test_context_in_an_actor(engine: FakeEngine, monkeypatch) -> None:
    class Some:
        def f(self):
            return 1

    handle = ipyactors.remote(Some).remote()
    actor_id = handle._ipyactors_client.actor_id
    spec = ActorSpec(
        actor_id,
        "Some",
        b"owner",
        Definition(b"", "Some", Payload(b"")),
        Payload(b""),
        name="s",
        demand={"CPU": 5_000},
        handle=engine.handles[actor_id],
    )
    monkeypatch.setattr(current, "_actor", None)
    monkeypatch.setattr(current, "_incarnation", 0)
    current.set_actor(spec, 1)
    call = CurrentCall(b"caller", 1, b"task", "Some.f", actor_id, attempt=2)
    token = current.call.set(call)
    try:
        context = ipyactors.get_runtime_context()
        assert (context.get_task_id(), context.get_task_name()) == (b"task".hex(), "Some.f")
        assert (context.get_actor_id(), context.get_actor_name()) == (actor_id.hex(), "s")
        assert (context.attempt, context.get_incarnation()) == (2, 1)
        assert context.was_current_actor_reconstructed
        assert context.get_assigned_resources() == {"CPU": 0.5}
        assert context.current_actor == handle
        call.cancelled = True
        assert context.is_canceled()
    finally:
        current.call.reset(token)
    # In a thread of the actor's own, which runs no call.
    assert (context.get_task_id(), context.get_actor_id()) == (None, actor_id.hex())
    assert (context.get_incarnation(), context.was_current_actor_reconstructed) == (1, True)


def test_engine_is_the_same_for_all(engine: FakeEngine) -> None:
    assert runtime.live_engine() is None
    assert runtime.engine() is runtime.engine() is runtime.live_engine()
