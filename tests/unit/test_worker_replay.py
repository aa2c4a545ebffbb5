"""How a durable actor comes back: from which checkpoint, with which calls again, and what is no replay."""

from __future__ import annotations

import contextlib
import hashlib
import math
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from ipyactors.durable import blobs, manifest, segment
from ipyactors.durable import log as log_room
from ipyactors.durable.actor_log import ActorLog, read_remains
from ipyactors.durable.blobs import Namer
from ipyactors.durable.carried import CarriedCall
from ipyactors.durable.log import LogSealedError
from ipyactors.durable.manifest import CheckpointData
from ipyactors.durable.record import Answer, Blob, Call, Done, Open, Outcome, Value, ValueKind
from ipyactors.ground import faultpoints
from ipyactors.ground.checkpointable import Checkpoint
from ipyactors.ground.exceptions import RecoveryFailedError, ReplayDivergenceError
from ipyactors.owner import current
from ipyactors.owner.templates import STREAMING
from ipyactors.wire import serialize
from ipyactors.wire.specs import ActorSpec, Definition, Durability, Payload
from ipyactors.worker.errors import describe_error
from ipyactors.worker.guarded_log import GuardedLog
from ipyactors.worker.hosting import HostedActor
from ipyactors.worker.journal import LogJournal
from ipyactors.worker.nested import Nested
from ipyactors.worker.replay import Recovered, Replayer
from ipyactors.worker.results import IN_MESSAGES, not_unpickled
from tests.support.sim_disk import SimDisk

ACTOR = b"a" * 16
CLASS, DOUBLE = b"c" * 16, b"d" * 16


class Box:
    """Does what a test says, and remembers in how many calls."""

    todo: Callable[..., Any] = staticmethod(lambda: None)
    loads: Callable[[Sequence[Checkpoint]], Any] = staticmethod(lambda _offered: None)
    offered: Sequence[Sequence[Checkpoint]] = ()

    def __init__(self) -> None:
        self.calls = 0

    def do(self, *args: Any) -> Any:
        self.calls += 1
        return Box.todo(*args)

    def load_checkpoint(self, _actor_id: str, offered: Sequence[Checkpoint]) -> Any:
        Box.offered = (*Box.offered, offered)
        chosen = Box.loads(offered)
        if chosen is not None:
            self.calls = 100
        return chosen


class DoubleBox(Box):
    """Counts each call twice."""

    def do(self, *args: Any) -> Any:
        self.calls += 1
        return super().do(*args)


class World:
    """An actor's folder and the store of its checkpoints, and what comes back from them."""

    def __init__(self, *, by_itself: bool = False, keep: int = 3) -> None:
        self.disk = SimDisk()
        self.kept: dict[str, bytes] = {}
        self.classes: dict[bytes, type] = {CLASS: Box, DOUBLE: DoubleBox}
        self.definition_id = CLASS
        self.keep = keep
        durability = Durability("process", by_itself=by_itself)
        definition = Definition(CLASS, "Box", Payload(b""))
        self.spec = ActorSpec(ACTOR, "Box", b"", definition, Payload(b""), durability=durability)
        self.state = HostedActor(self.spec, 0)
        self.state.build(lambda: (Box, (), {}))
        remains = read_remains(self.disk, ACTOR)
        self.log = ActorLog(self.disk, remains, remains.since(None), 0, Open(CLASS, "process"))
        self.made = 0
        self.actor = self.state
        Box.todo, Box.offered = staticmethod(lambda: None), ()

    # -- before

    def begin(self, *args: Any, num_returns: int = 1, values: Sequence[Value] = ()) -> Call:
        self.made += 1
        payload = serialize.dumps_call(args, {}, what="do")
        call = Call(b"call%04d" % self.made, b"ddriver1", self.made, "do", payload, num_returns=num_returns)
        self.log.take(call)
        for value in values:
            self.log.add_value(self.made, value)
        return call

    def call(self, *results: Any, error: Exception | None = None, **facts: Any) -> None:
        """Have a call in the log that has ended so; without anything, with what the actor would return."""
        call = self.begin(**facts)
        self.state.instance.calls += 1 + (self.definition_id == DOUBLE)
        payloads = tuple(serialize.owned(serialize.dumps_result(result, "do")) for result in results)
        answer = Answer(payloads or (serialize.dumps_result(None, "do"),))
        if error is not None:
            answer = Answer(error=describe_error(error, function_name="Box.do"))
        outcome = Outcome.RAISED if error is not None else Outcome.RETURNED
        self.log.finish(Done(call.call_id, outcome, msgspec.msgpack.encode(answer)))

    def checkpoint(self) -> str:
        state = self.state.dump_state()
        name = f"at {self.made}" + ", double" * (self.definition_id == DOUBLE)
        self.kept[name] = state
        digest = hashlib.blake2b(state, digest_size=16).digest()
        locator = "" if self.spec.durability.by_itself else name
        data = CheckpointData(name, self.definition_id, locator, len(state), digest, float(self.made))
        self.log.add_checkpoint(data, self.keep)
        return name

    def upgrade(self) -> None:
        """As an actor's process does; its session knows the new class from then on."""
        self.checkpoint()
        self.definition_id = DOUBLE
        self.state.restore(DoubleBox, self.state.dump_state())
        self.checkpoint()
        self.spec = msgspec.structs.replace(self.spec, definition=Definition(DOUBLE, "DoubleBox", Payload(b"")))

    def next(self) -> None:
        """Have the next process go on."""
        self.log.write()
        remains = read_remains(self.disk, ACTOR)
        history = remains.since(remains.checkpoints[0])
        self.log = ActorLog(self.disk, remains, history, history.incarnation + 1, Open(self.definition_id, "process"))

    # -- after

    def load(self, locator: str) -> bytes:
        if locator not in self.kept:
            raise FileNotFoundError(locator)
        return self.kept[locator]

    def recover(self) -> Recovered:
        self.log.write()
        self.actor = HostedActor(self.spec, 1)
        store: Any = self
        journal = LogJournal(GuardedLog(self.log, self.disk, ACTOR), IN_MESSAGES, Nested(lambda _call: None))
        replayer = Replayer(
            self.actor,
            read_remains(self.disk, ACTOR),
            self.disk,
            store,
            lambda turn: self.actor.build(lambda: (self.classes[self.actor.definition_id], (), {}), turn),
            self.classes.__getitem__,
            lambda function, args, kwargs: function(*args, **kwargs),
        )
        return replayer.bring_back(journal)

    def diverge(self) -> str:
        with pytest.raises(ReplayDivergenceError) as caught:
            self.recover()
        assert caught.value.actor_id == ACTOR.hex()
        return str(caught.value)


def do(function: Callable[..., Any]) -> None:
    Box.todo = staticmethod(function)


# -- where to begin ----------------------------------------------------------------------------------------------


def test_without_a_checkpoint_all_is_done_again() -> None:
    world = World()
    for _ in range(3):
        world.call()
    recovered = world.recover()
    assert (recovered.checkpoint, recovered.replayed, world.actor.instance.calls) == (None, 3, 3)


def test_the_newest_checkpoint_is_the_shortest_way() -> None:
    world = World()
    for _ in range(2):
        world.call()
        world.checkpoint()
    world.call()
    recovered = world.recover()
    assert recovered.checkpoint is not None
    assert (recovered.checkpoint.lsn, recovered.replayed, world.actor.instance.calls) == (2, 1, 3)
    assert not recovered.problems


@pytest.mark.parametrize("problem", ["gone", "short", "flipped", "class", "manifest"])
def test_one_that_cannot_be_used_costs_a_longer_replay(problem: str) -> None:
    world = World()
    for _ in range(2):
        world.call()
        name = world.checkpoint()
    world.call()
    if problem == "gone":
        del world.kept[name]
    elif problem == "short":
        world.kept[name] = world.kept[name][:-1]
    elif problem == "flipped":
        world.state.instance.calls = 9  # another state, of the same size
        world.kept[name] = world.state.dump_state()
    elif problem == "class":
        newest = manifest.read_all(world.disk)[0][0]
        other = msgspec.structs.replace(newest.data, definition_id=b"unknown")
        manifest.write(world.disk, msgspec.structs.replace(newest, data=other))
    else:
        world.disk.damage(manifest.name_of(2), 10)
    recovered = world.recover()
    assert recovered.checkpoint is not None
    assert (recovered.checkpoint.lsn, recovered.replayed, world.actor.instance.calls) == (1, 2, 3)
    (told,) = recovered.problems
    assert told.startswith(manifest.name_of(2) if problem == "manifest" else "checkpoint at 2: ")


def test_without_any_the_log_from_the_beginning_will_do() -> None:
    world = World()
    for _ in range(2):
        world.call()
        world.checkpoint()
    world.kept.clear()
    recovered = world.recover()
    assert (recovered.checkpoint, recovered.replayed, len(recovered.problems)) == (None, 2, 2)


@pytest.mark.parametrize("what", ["dropped", "removed"])
def test_without_any_and_without_the_beginning_it_is_lost(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not begin anew, as if it had never lived."""
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 2048)
    monkeypatch.setattr(log_room, "RESERVE_BYTES", 256)
    world = World(keep=1)
    for _ in range(30):
        world.call()
    world.checkpoint()
    world.log.write()
    assert segment.name_at(0) not in world.disk.names()
    world.kept.clear()
    if what == "removed":
        world.disk.remove([name for name in world.disk.names() if name.startswith("log-")])
        monkeypatch.setattr(world.log, "write", lambda: None)
    with pytest.raises(RecoveryFailedError) as caught:
        world.recover()
    assert "no checkpoint can be used, and the log does not reach back to the beginning" in str(caught.value)
    assert "checkpoint at 30: FileNotFoundError" in str(caught.value)


# -- upgrades ----------------------------------------------------------------------------------------------------


def damage_newest(world: World, count: int, what: str) -> None:
    for one in manifest.read_all(world.disk)[0][:count]:
        if what == "data":
            del world.kept[one.data.locator]
        else:
            world.disk.damage(manifest.name_of(one.number), 10)


@pytest.mark.parametrize("what", ["data", "manifest"])
@pytest.mark.parametrize("bad", [0, 1, 2, 3])
def test_the_class_changes_where_it_did_whatever_recovery_begins_with(bad: int, what: str) -> None:
    world = World()
    world.call()
    world.checkpoint()
    world.call()
    world.upgrade()
    world.call()
    damage_newest(world, bad, what)
    recovered = world.recover()
    assert (recovered.replayed, world.actor.instance.calls) == ([1, 1, 2, 3][bad], 4)
    assert (type(world.actor.instance), world.actor.definition_id) == (DoubleBox, DOUBLE)


def test_a_call_that_was_not_over_is_run_by_the_class_that_it_was_for() -> None:
    world = World()
    world.call()
    world.upgrade()
    world.begin()
    damage_newest(world, 1, "data")
    assert [past.lsn for past in world.recover().unfinished()] == [2]
    assert type(world.actor.instance) is DoubleBox


def test_a_class_that_is_gone_is_said_and_no_other_takes_its_place() -> None:
    world = World()
    world.call()
    world.upgrade()
    world.call()
    del world.classes[DOUBLE]
    with pytest.raises(RecoveryFailedError, match="upgraded to another class after lsn 1, and that cannot be done"):
        world.recover()


@pytest.mark.parametrize("bad", ["nothing", "data", "manifest"])
def test_an_upgrade_whose_process_died_before_the_log_had_it(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest was the last that it wrote. The next process has the log say so before anything else."""
    world = World()
    world.call()
    world.checkpoint()
    world.log.write()
    world.definition_id = DOUBLE
    world.state.restore(DoubleBox, world.state.dump_state())
    monkeypatch.setattr(faultpoints, "hit", lambda name: 1 / 0 if name == "durable.checkpoint.manifest" else None)
    with pytest.raises(LogSealedError):
        world.checkpoint()
    monkeypatch.undo()
    remains = read_remains(world.disk, ACTOR)
    history = remains.since(remains.checkpoints[0])
    assert history.definition_id == DOUBLE
    world.log = ActorLog(world.disk, remains, history, 1, Open(DOUBLE, "process"))
    world.call()
    if bad != "nothing":
        damage_newest(world, 1, bad)
    world.recover()
    assert (type(world.actor.instance), world.actor.instance.calls) == (DoubleBox, 3)


def test_a_bad_upgrade_that_the_log_does_not_have_is_told_by_its_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.call()
    world.checkpoint()
    world.log.write()
    world.definition_id = DOUBLE
    monkeypatch.setattr(faultpoints, "hit", lambda name: 1 / 0 if name == "durable.checkpoint.manifest" else None)
    with pytest.raises(LogSealedError):
        world.checkpoint()
    monkeypatch.undo()
    monkeypatch.setattr(world.log, "write", lambda: None)
    damage_newest(world, 1, "data")
    world.recover()
    assert type(world.actor.instance) is DoubleBox


def test_an_actor_loads_only_what_its_own_class_has_saved() -> None:
    world = World(by_itself=True)
    world.call()
    world.upgrade()
    world.call()
    Box.loads = staticmethod(lambda offered: offered[0].checkpoint_id)
    world.recover()
    assert [[one.checkpoint_id for one in offered] for offered in Box.offered] == [["at 1, double"]]
    assert (type(world.actor.instance), world.actor.instance.calls) == (DoubleBox, 102)
    damage_newest(world, 1, "manifest")
    Box.offered = ()
    world.recover()
    assert [[one.checkpoint_id for one in offered] for offered in Box.offered] == [["at 1"]]
    assert (type(world.actor.instance), world.actor.instance.calls) == (DoubleBox, 102)


# -- actors that keep their checkpoints themselves ---------------------------------------------------------------


def lived_by_itself() -> World:
    world = World(by_itself=True)
    for _ in range(3):
        world.call()
        world.checkpoint()
    world.call()
    return world


def test_an_actor_chooses_among_its_checkpoints_newest_first() -> None:
    world = lived_by_itself()
    Box.loads = staticmethod(lambda offered: offered[1].checkpoint_id)
    recovered = world.recover()
    assert Box.offered == ([Checkpoint("at 3", 3000), Checkpoint("at 2", 2000), Checkpoint("at 1", 1000)],)
    assert recovered.checkpoint is not None
    assert (recovered.checkpoint.lsn, recovered.replayed, world.actor.instance.calls) == (2, 2, 102)


@pytest.mark.parametrize("by_itself", [False, True])
def test_a_checkpoint_whose_calls_to_others_are_gone_is_not_used(by_itself: bool) -> None:
    """Nobody would make them again: a replay of the calls that had made them does."""
    world = lived_by_itself() if by_itself else World()
    if not by_itself:
        for _ in range(3):
            world.call()
            world.checkpoint()
    newest = manifest.read_all(world.disk)[0][0]
    gone = CarriedCall(ACTOR, "A", "f", Payload(b""), (), b"", b"", 1, b"", blobs=(Blob(-1, "blob-2-1", 7, b""),))
    data = msgspec.structs.replace(newest.data, carried=(gone,))
    manifest.write(world.disk, msgspec.structs.replace(newest, data=data))
    Box.loads = staticmethod(lambda offered: offered[0].checkpoint_id)
    recovered = world.recover()
    assert recovered.checkpoint is not None
    assert recovered.checkpoint.lsn == 2
    assert "a call that it has is gone: blob-2-1 cannot be read" in recovered.problems[0]


def test_an_actor_may_choose_none() -> None:
    world = lived_by_itself()
    Box.loads = staticmethod(lambda _offered: None)
    recovered = world.recover()
    assert (recovered.checkpoint, recovered.replayed, world.actor.instance.calls) == (None, 4, 4)
    assert len(Box.offered) == 1


@pytest.mark.parametrize("how", ["raises", "invents"])
def test_one_that_an_actor_cannot_load_is_not_offered_again(how: str) -> None:
    world = lived_by_itself()

    def load(offered: Sequence[Checkpoint]) -> str:
        if len(offered) > 1 and how == "raises":
            raise OSError("the bucket is gone")
        return offered[0].checkpoint_id if len(offered) == 1 else "at 17"

    Box.loads = staticmethod(load)
    recovered = world.recover()
    assert [len(offered) for offered in Box.offered] == [3, 2, 1]
    assert recovered.checkpoint is not None
    assert (recovered.checkpoint.lsn, world.actor.instance.calls) == (1, 103), "each time from a fresh instance"
    words = (
        "load_checkpoint raised OSError: the bucket is gone" if how == "raises" else "load_checkpoint returned 'at 17'"
    )
    assert [one[: len(words)] for one in recovered.problems] == [words, words]


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("is_upgraded", [False, True])
def test_the_constructor_of_an_actor_is_given_what_it_had_when_the_log_has_lost_it(
    is_upgraded: bool, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it makes no call twice, and is what it was: its own checkpoint need not have all of it."""
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 2048)
    monkeypatch.setattr(log_room, "RESERVE_BYTES", 256)
    world = World(by_itself=True, keep=1)
    world.log.add_value(0, Value(0, ValueKind.RANDOM, np.float64(7.5).tobytes()))
    if is_large:
        world.log.add_value(0, msgspec.structs.replace(Kept(world, 0).value(), index=1))
    blobs_before = [name for name in world.disk.names() if name.startswith("blob-")]
    for _ in range(3):  # one keeps what another has kept
        for _ in range(30):
            world.call()
        world.checkpoint()
        world.next()
    assert segment.name_at(0) not in world.disk.names()
    assert [name for name in world.disk.names() if name.startswith("blob-")] == blobs_before
    if is_upgraded:
        world.upgrade()
    asked: list[Any] = []

    def construct(self: Box) -> None:
        self.calls = 0
        turn = current.turn()
        asked.append(turn and turn.random())
        if is_large and not is_upgraded:
            assert turn is not None
            turn.given([])

    monkeypatch.setattr(Box, "__init__", construct)
    Box.loads = staticmethod(lambda offered: offered[0].checkpoint_id)
    assert world.recover().checkpoint is not None
    (first,) = asked
    assert (first == 7.5) is not is_upgraded, "the new class has taken nothing so far"
    for _ in range(3):
        assert world.recover().checkpoint is not None
        if is_upgraded:  # which drops the log up to here, and with it what the new class has taken
            world.checkpoint()
            world.next()
    assert asked == [first] * 4


@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_a_new_constructor_that_has_not_returned_goes_on_where_it_was(
    taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(by_itself=True)
    world.log.add_value(0, Value(0, ValueKind.RANDOM, np.float64(7.5).tobytes()))
    world.call()
    world.upgrade()
    ends: list[int] = [taken]
    asked: list[list[float]] = []

    def construct(self: DoubleBox) -> None:
        self.calls = 0
        turn = current.turn()
        assert turn is not None
        asked.append([])
        for index in range(3):
            if ends and index == ends[-1]:
                raise KeyboardInterrupt
            asked[-1].append(turn.random())
        if ends:
            raise KeyboardInterrupt

    monkeypatch.setattr(DoubleBox, "__init__", construct)
    Box.loads = staticmethod(lambda offered: offered[0].checkpoint_id)
    with pytest.raises(KeyboardInterrupt):
        world.recover()
    ends.clear()
    for _ in range(2):
        world.recover()
        world.next()
    first, second, third = asked
    assert second == third
    assert second[:taken] == first
    assert len(set(second)) == 3


def test_a_new_constructor_that_asks_for_other_things_is_no_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(by_itself=True)
    world.call()
    world.upgrade()
    Box.loads = staticmethod(lambda offered: offered[0].checkpoint_id)
    world.recover()

    def construct(self: DoubleBox) -> None:
        self.calls = 0
        turn = current.turn()
        assert turn is not None
        turn.random()

    monkeypatch.setattr(DoubleBox, "__init__", construct)
    assert "Box.__init__ does not do again what it did before: it asks for a random number" in world.diverge()


def test_the_first_constructor_adds_nothing_behind_what_a_new_one_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call was made yet; its own values must stay the first of the row."""
    world = World(by_itself=True)
    world.checkpoint()
    world.upgrade()
    Box.loads = staticmethod(lambda offered: offered[0].checkpoint_id)
    world.recover()

    def construct(self: Box) -> None:
        self.calls = 0
        turn = current.turn()
        if turn is not None and type(self) is Box:
            turn.random()

    monkeypatch.setattr(Box, "__init__", construct)
    Box.loads = staticmethod(lambda _offered: None)
    assert "and had ended there" in world.diverge()
    monkeypatch.undo()
    world.recover()


def test_a_new_constructor_that_raises_costs_a_longer_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The class before has its own checkpoints, and the upgrade is done again without a constructor."""
    world = World(by_itself=True)
    world.call()
    world.upgrade()
    world.call()
    world.checkpoint()
    Box.loads = staticmethod(lambda offered: offered[0].checkpoint_id)
    with monkeypatch.context() as broken:
        broken.setattr(DoubleBox, "__init__", lambda _self: 1 / 0)
        for _ in range(2):
            recovered = world.recover()
            assert recovered.checkpoint is not None
            assert (recovered.checkpoint.data.checkpoint_id, recovered.is_of_older_class) == ("at 1", True)
            assert (type(world.actor.instance), world.actor.instance.calls) == (DoubleBox, 102)
            (told,) = recovered.problems
            assert told.startswith("the newest checkpoints (2), whose class was not constructed: ZeroDivisionError")
            world.next()
    recovered = world.recover()
    assert recovered.checkpoint is not None
    assert (recovered.checkpoint.lsn, recovered.is_of_older_class, recovered.problems) == (2, False, ())


def test_a_new_constructor_that_raises_is_told_as_that_where_nothing_older_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(by_itself=True, keep=1)
    world.call()
    world.upgrade()
    monkeypatch.setattr(DoubleBox, "__init__", lambda _self: 1 / 0)
    with pytest.raises(RecoveryFailedError, match="the constructor of the class that it was upgraded to raised Zero"):
        world.recover()


# -- what is no replay -------------------------------------------------------------------------------------------


def test_another_value_is_no_replay() -> None:
    world = World()
    world.call(5)
    do(lambda: 6)
    assert "Box.do (lsn 1) does not do again what it did before: it returned 5, and now it is 6" in world.diverge()


class Point:
    """Has no way to tell whether it equals another."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y


SHARED = "a long enough string, which is pickled once if it is one object"


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (math.nan, math.nan),
        ([math.nan, 1], [math.nan, 1]),
        ([SHARED, SHARED], [SHARED, "".join(SHARED)]),
        (Point(SHARED, SHARED), Point(SHARED, (SHARED + " ")[:-1])),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (np.arange(5), np.arange(5)),
        ([np.arange(3.0), SHARED], [np.arange(3.0), (SHARED + " ")[:-1]]),
        (np.arange(20_000), np.arange(20_000)),
        (Point({0, 8}, frozenset({1, 9})), Point({8, 0}, frozenset({9, 1}))),  # in another order in the table
    ],
    ids=["nan", "nans", "strings", "objects", "dicts", "array", "arrays", "buffers", "sets"],
)
def test_equal_values_are_the_same_whatever_they_are_made_of(was: Any, now: Any) -> None:
    world = World()
    world.call(was)
    do(lambda: now)
    assert world.recover().replayed == 1


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (1, True),
        (1, 1.0),
        (Point(1, 2), Point(1, 3)),
        (Point({0, 8}, 2), Point({0, 16}, 2)),
        (Point({0, 8}, 2), Point(frozenset({0, 8}), 2)),
        (np.arange(5), np.arange(6)),
        (np.zeros(20_000), np.ones(20_000)),
        ([1, [2]], [1, [3]]),
    ],
    ids=["bool", "float", "objects", "sets", "kinds", "array", "buffers", "lists"],
)
def test_other_values_are_not(was: Any, now: Any) -> None:
    world = World()
    world.call(was)
    do(lambda: now)
    assert "it returned" in world.diverge()


def fail(error: Exception) -> Callable[[], Any]:
    def function() -> Any:
        raise error

    return function


def test_the_same_exception_is_the_same_end() -> None:
    world = World()
    world.call(error=KeyError("at 0x7f00"))
    do(fail(KeyError("at 0x7fff")))
    assert world.recover().replayed == 1


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (ValueError("rolled 1"), ValueError("rolled 2")),
        (ValueError("rolled 1"), ValueError()),
        (ValueError(object(), 1), ValueError(object(), 2)),
        (ValueError("no {'a', 'b'}: 3"), ValueError("no {'a', 'b'}: 4")),
        (ValueError("from a to b"), ValueError("from b to a")),
    ],
)
def test_an_exception_with_other_words_is_another_end(was: Exception, now: Exception) -> None:
    world = World()
    world.call(error=was)
    do(fail(now))
    assert "it raised ValueError" in (told := world.diverge())
    assert "and now it raised ValueError" in told


class Shelf:
    """Has an attribute that an exception tells of, as Python's own do: by its address."""

    def __repr__(self) -> str:
        return object.__repr__(self)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (KeyError(Shelf()), KeyError(Shelf())),
        (OSError(2, "no", "/tmp/tmpab12cd_9/x"), OSError(2, "no", "/tmp/tmpxyzxyzxy/x")),
        (ValueError("lost: ObjectRef(add)"), ValueError("lost: ObjectRef(borrowed)")),
        (ValueError("<Thread(Thread-3 (run), started)>"), ValueError("<Thread(Thread-17 (run), started)>")),
        (RuntimeError("<Task pending name='Task-2'>"), RuntimeError("<Task pending name='Task-9'>")),
        (ValueError("no {'a', 'b', (1, 2)}: 3"), ValueError("no {(1, 2), 'b', 'a'}: 3")),
        (
            RecursionError("maximum recursion depth exceeded"),
            RecursionError("maximum recursion depth exceeded in comparison"),
        ),
    ],
    ids=["address", "file", "reference", "thread", "task", "set", "stack"],
)
def test_an_exception_that_tells_of_its_process_is_the_same(was: Exception, now: Exception) -> None:
    world = World()
    world.call(error=was)
    do(fail(now))
    assert world.recover().replayed == 1


def test_what_no_call_can_do_with_its_arguments_or_result_is_the_same() -> None:
    """What is raised for it tells the same in a replay as when it was run."""
    world = World()
    world.call(error=TypeError("Box.do streams its results, so it must return a generator or an iterator; it returned "
                               "a list"), num_returns=STREAMING)  # fmt: skip
    do(lambda: [1, 2])
    assert world.recover().replayed == 1
    spoilt = Call(b"call0002", b"ddriver1", 2, "do", Payload(b"not a pickle"))
    world.log.take(spoilt)
    error = not_unpickled("Box.do", pickle.UnpicklingError("invalid load key, 'n'."))
    answer = Answer(error=describe_error(error, function_name="Box.do"))
    world.log.finish(Done(spoilt.call_id, Outcome.RAISED, msgspec.msgpack.encode(answer)))
    assert world.recover().replayed == 2


@pytest.mark.parametrize(
    ("before", "function", "words"),
    [
        ({"error": KeyError(1)}, lambda: 5, "it raised KeyError: 1, and now it returned"),
        ({"error": KeyError(1)}, fail(ValueError(2)), "it raised KeyError: 1, and now it raised ValueError: 2"),
        ({}, fail(ValueError(2)), "it returned, and now it raised ValueError: 2"),
    ],
)
def test_another_end_is_no_replay(before: dict[str, Any], function: Callable[[], Any], words: str) -> None:
    world = World()
    world.call(**before)
    do(function)
    assert words in world.diverge()


def test_of_several_results_each_is_looked_at() -> None:
    world = World()
    world.call(1, 2, num_returns=2)
    do(lambda: (1, 2))
    assert world.recover().replayed == 1
    do(lambda: (1, 3))
    assert "it returned 2, and now it is 3" in world.diverge()
    do(lambda: (1, 2, 3))
    assert (
        "it returned, and now it raised TypeError: Box.do has num_returns=2, but it returned 3 values"
        in world.diverge()
    )


def test_a_generator_yields_again_what_it_yielded() -> None:
    world = World()
    world.call(0, 1, 2, num_returns=STREAMING)
    do(lambda: iter(range(3)))
    assert world.recover().replayed == 1
    do(lambda: iter(range(4)))
    assert "it gave 3 values, and now it gave 4" in world.diverge()
    do(lambda: iter(()))
    assert "it gave 3 values, and now it gave 0" in world.diverge()


def test_what_nobody_gets_is_not_looked_at() -> None:
    world = World()
    world.call(num_returns=0)
    do(lambda: object())
    assert world.recover().replayed == 1


def test_what_a_call_took_it_is_given() -> None:
    world = World()
    world.call(7.5, values=[Value(0, ValueKind.RANDOM, np.float64(7.5).tobytes())])
    do(lambda: current.turn().random())  # type: ignore[union-attr]
    assert world.recover().replayed == 1
    do(lambda: 7.5)
    assert "ended without asking for a random number" in world.diverge()


def test_a_divergence_that_the_method_swallows_is_told() -> None:
    world = World()
    world.call()

    def swallow() -> None:
        turn = current.turn()
        assert turn is not None
        with pytest.raises(ReplayDivergenceError):
            turn.now()

    do(swallow)
    assert "it asks for the time (value 0), and had ended there" in world.diverge()


def test_a_call_without_an_end_is_left_to_be_run() -> None:
    world = World()
    world.call()
    world.begin()
    recovered = world.recover()
    assert [past.lsn for past in recovered.unfinished()] == [2]
    assert (recovered.replayed, world.actor.instance.calls) == (1, 1)


# -- what is gone ------------------------------------------------------------------------------------------------


class Kept:
    """A large value beside the log."""

    def __init__(self, world: World, lsn: int) -> None:
        self.world = world
        payload = Payload(b"array", (memoryview(bytes(100_000)),))
        self.payloads, self.blobs = blobs.put_aside(world.disk, [payload], Namer(lsn))
        self.name = self.blobs[0].name

    def value(self, kind: ValueKind = ValueKind.RECEIVED) -> Value:
        return Value(0, kind, msgspec.msgpack.encode(Answer(self.payloads, blobs=self.blobs)))

    def spoil(self, how: str) -> None:
        if how == "gone":
            self.world.disk.remove([self.name])
        else:
            self.world.disk.damage(self.name, 5000)


def swallow_errors() -> None:
    with contextlib.suppress(Exception):
        current.turn().given([])  # type: ignore[union-attr]
        raise AssertionError("it was given")


def swallow_all() -> None:
    with contextlib.suppress(BaseException):
        current.turn().given([])  # type: ignore[union-attr]


def turn_into_another() -> None:
    try:
        current.turn().given([])  # type: ignore[union-attr]
    except BaseException as error:
        raise ValueError from error


@pytest.mark.parametrize("how", ["gone", "flipped"])
@pytest.mark.parametrize("code", [swallow_errors, swallow_all, turn_into_another])
@pytest.mark.parametrize("whose", ["method", "constructor", "new constructor"])
def test_a_value_that_cannot_be_given_again_is_damage_and_no_end_of_a_call(
    code: Callable[[], None], how: str, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    kept = Kept(world, int(whose == "method"))
    after = []
    if whose == "method":
        world.call(values=[kept.value()])
        do(lambda: (code(), after.append("went on") if code is swallow_errors else None)[-1])
    else:
        world.log.add_value(0, kept.value())
        if whose == "constructor":
            world.call()
        monkeypatch.setattr(Box, "__init__", lambda _self: code())
    kept.spoil(how)
    with pytest.raises(RecoveryFailedError) as caught:
        world.recover()
    assert not isinstance(caught.value, ReplayDivergenceError)
    assert kept.name in str(caught.value)
    named = "Box.do (lsn 1)" if whose == "method" else "Box.__init__"
    assert f"what {named} had got is gone" in str(caught.value)
    assert not after


@pytest.mark.parametrize("what", ["value", "argument"])
def test_a_call_that_is_not_over_is_not_begun_without_what_it_had(what: str) -> None:
    world = World()
    world.call()
    kept = Kept(world, 2)
    if what == "value":
        world.begin(values=[kept.value(ValueKind.ONCE)])
    else:
        aside = tuple(msgspec.structs.replace(blob, index=-1) for blob in kept.blobs)
        world.log.take(Call(b"call0002", b"ddriver1", 2, "do", kept.payloads[0], blobs=aside))
    assert len(world.recover().unfinished()) == 1
    kept.spoil("flipped")
    with pytest.raises(RecoveryFailedError, match=rf"Box\.do \(lsn 2\).* gone: {kept.name}"):
        world.recover()


def test_a_result_that_cannot_be_read_is_not_compared_and_costs_the_actor_nothing() -> None:
    world = World()
    call = world.begin()
    kept = Kept(world, 1)
    answer = Answer(kept.payloads, blobs=kept.blobs)
    world.log.finish(Done(call.call_id, Outcome.RETURNED, msgspec.msgpack.encode(answer)))
    world.call(7)
    kept.spoil("flipped")
    do(lambda: 7)
    recovered = world.recover()
    assert recovered.replayed == 2
    (told,) = recovered.problems
    assert told.startswith("what Box.do (lsn 1) returned cannot be compared: ")
    assert kept.name in told
