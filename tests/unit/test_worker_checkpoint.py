"""When checkpoints are due, on a clock that stands still until told, and what is told of those that cannot be made."""

from __future__ import annotations

from typing import Any

import pytest

from ipyactors.durable.carried import CarriedCall
from ipyactors.durable.log import LogSealedError
from ipyactors.durable.manifest import CheckpointData, Manifest
from ipyactors.ground.checkpointable import CheckpointContext
from ipyactors.ground.exceptions import SerializationError
from ipyactors.wire.specs import Durability, Payload
from ipyactors.worker import checkpoint
from ipyactors.worker.checkpoint import Checkpointer, Made
from ipyactors.worker.removal import TRIES, Unnoted

ACTOR = b"a" * 16


class Place:
    """An actor, its log and its store, and the clock: everything that a checkpointer knows."""

    is_lasting = True
    actor_id = ACTOR
    definition_id = b"class"
    last_lsn = 0

    def __init__(self, deaths: int = 0, **facts: Any) -> None:
        self.instance = self
        self.now_s = 1000.0
        self.position = 0
        self.is_quiet = True
        self.waited: list[float] = []
        self.carried: tuple[CarriedCall, ...] = ()
        self.problem: Exception | None = None
        self.unloadable: Exception | None = None
        self.unnotable: Exception | None = None
        self.noted = Unnoted()
        self.instances: list[Any] = []
        self.cost_s = 0.0
        self.kept: dict[str, bytes] = {}
        self.made: list[CheckpointData] = []
        self.drops: list[bool] = []
        self.told: list[Made] = []
        self.asked: list[CheckpointContext] = []
        self.answer: bool | Exception = False
        self.saved: list[str] = []
        self.expired: list[str] = []
        anything: Any = self
        self.checkpointer = Checkpointer(
            anything,
            anything,
            Durability("process", **facts),
            anything,
            self.told.append,
            lambda: self.now_s,
            lambda: 1.7e9,
            self._carry,
            noted=self.noted,
            deaths=deaths,
        )

    def _carry(self, timeout_s: float) -> tuple[CarriedCall, ...]:
        self.waited.append(timeout_s)
        if not self.is_quiet:
            raise TimeoutError("it has made calls that had no answer")
        return self.carried

    def run(self, calls: int = 1, duration_s: float = 0.0) -> None:
        for _ in range(calls):
            self.last_lsn += 1
            self.checkpointer.note_call(duration_s)

    # -- the actor

    def dump_state(self) -> bytes:
        if self.problem is not None:
            raise self.problem
        self.now_s += self.cost_s
        return b"state %d" % self.last_lsn

    def copy_of(self, data: bytes) -> Any:
        if self.unloadable is not None:
            raise self.unloadable
        return ("copy", data)

    def go_on_as(self, instance: Any) -> None:
        self.instances.append(instance)

    def should_checkpoint(self, context: CheckpointContext) -> bool:
        self.asked.append(context)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def save_checkpoint(self, actor_id: str, checkpoint_id: str) -> None:
        assert actor_id == ACTOR.hex()
        self.saved.append(checkpoint_id)

    def checkpoint_expired(self, actor_id: str, checkpoint_id: str) -> None:
        assert actor_id == ACTOR.hex()
        self.expired.append(checkpoint_id)

    # -- the store

    def save(self, name: str, data: bytes) -> str:
        self.kept[f"at {name}"] = data
        return f"at {name}"

    def locate(self, name: str) -> str:
        return f"at {name}"

    def load(self, locator: str) -> bytes:
        return self.kept[locator]

    def remove(self, locator: str) -> None:
        del self.kept[locator]

    # -- the log

    def add_checkpoint(self, data: CheckpointData, keep: int, *, drops_log: bool) -> list[Manifest]:
        if self.unnotable is not None:
            raise self.unnotable
        self.made.append(data)
        self.drops.append(drops_log)
        facts: Any = (0, 0, 0, None)
        gone = self.made[-keep - 1 : -keep]
        return [Manifest(1, one, *facts) for one in gone]


# -- when --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("facts", [{}, {"every_calls": 1}, {"every_s": 1.0}, {"by_itself": True}])
def test_nothing_is_due_where_nothing_has_happened(facts: dict[str, Any]) -> None:
    place = Place(**facts)
    place.answer = True
    place.now_s += 1e6
    assert not place.checkpointer.is_due()
    assert place.checkpointer.due_in_s() is None


def test_by_default_a_replay_stays_under_a_second() -> None:
    place = Place()
    place.run(9, 0.1)
    assert not place.checkpointer.is_due()
    place.run(1, 0.1)
    assert place.checkpointer.is_due(), "a call costs a little besides its own code"
    place.checkpointer.make_if_due()
    assert not place.checkpointer.is_due()
    place.run(9, 0.1)
    assert not place.checkpointer.is_due()


def test_many_calls_that_take_no_time_take_some_together() -> None:
    place = Place()
    count = int(checkpoint.REPLAY_AT_MOST_S / checkpoint.REPLAY_OVERHEAD_S)
    place.run(count - 1)
    assert not place.checkpointer.is_due()
    place.run(2)
    assert place.checkpointer.is_due()


def test_a_recovery_that_was_long_makes_one_due() -> None:
    place = Place()
    place.checkpointer.note_replayed(5, 1.1)
    assert place.checkpointer.is_due()
    place = Place(every_calls=6)
    place.checkpointer.note_replayed(5, 1.1)
    assert not place.checkpointer.is_due()
    place.run()
    assert place.checkpointer.is_due()


def test_a_long_log_makes_one_due() -> None:
    place = Place()
    place.run()
    place.position = checkpoint.LOG_AT_MOST_BYTES
    assert not place.checkpointer.is_due()
    place.position += 1
    assert place.checkpointer.is_due()
    place.checkpointer.make()
    place.run()
    assert not place.checkpointer.is_due(), "what is behind it counts"


def test_what_is_costly_is_made_more_rarely() -> None:
    """Of the time, no more than a twentieth."""
    place = Place()
    place.cost_s = 0.5
    place.run(1, 2.0)
    place.checkpointer.make_if_due()
    place.run(99, 0.1)
    assert not place.checkpointer.is_due()
    place.run(2, 0.1)
    assert place.checkpointer.is_due()


def test_every_so_many_calls() -> None:
    place = Place(every_calls=3)
    place.run(2, 100.0)
    assert not place.checkpointer.is_due()
    place.run()
    assert place.checkpointer.is_due()
    assert place.checkpointer.due_in_s() is None


def test_every_so_many_seconds_if_there_was_a_call() -> None:
    place = Place(every_s=5.0)
    place.run(1, 100.0)
    place.now_s += 4.0
    assert place.checkpointer.due_in_s() == 1.0
    assert not place.checkpointer.is_due()
    place.now_s += 1.0
    assert place.checkpointer.is_due()
    place.checkpointer.make()
    assert place.checkpointer.due_in_s() is None
    place.run()
    assert place.checkpointer.due_in_s() == 5.0


def test_one_that_was_asked_for_is_due() -> None:
    place = Place()
    place.checkpointer.request()
    assert place.checkpointer.is_due()
    place.checkpointer.make_if_due()
    assert not place.checkpointer.is_due()
    assert len(place.made) == 1


@pytest.mark.parametrize(
    ("facts", "calls", "expected"),
    [
        ({"every_calls": 30}, 0, 30),
        ({"every_calls": 30}, 29, 1),
        ({"every_calls": 30}, 50, 1),
        ({"every_calls": 300}, 0, 100),
        ({"by_itself": True}, 0, 1),
    ],
)
def test_no_more_calls_are_begun_than_until_one_may_be_due(facts: dict[str, Any], calls: int, expected: int) -> None:
    place = Place(**facts)
    place.run(calls)
    assert place.checkpointer.calls_until_due(100) == expected


@pytest.mark.parametrize("facts", [{}, {"every_s": 5.0}])
def test_long_calls_are_begun_few_at_a_time_so_that_one_is_not_late(facts: dict[str, Any]) -> None:
    place = Place(**facts)
    assert place.checkpointer.calls_until_due(100) < 20, "nobody knows yet how long they are"
    place.run(50, 1e-5)
    assert place.checkpointer.calls_until_due(100) == 100
    place.run(40, 0.2)
    assert place.checkpointer.calls_until_due(100) < 6
    place = Place(**facts)
    place.checkpointer.note_replayed(10, 5.0)
    assert place.checkpointer.calls_until_due(100) < 3


def test_the_actor_goes_on_as_what_was_saved() -> None:
    place = Place()
    place.run(3)
    place.checkpointer.make()
    assert place.instances == [("copy", b"state 3")]


def test_one_that_cannot_be_loaded_is_none() -> None:
    place = Place()
    place.run(3)
    place.unloadable = SerializationError("TwoArguments.__init__() is missing b")
    with pytest.raises(SerializationError, match="TwoArguments"):
        place.checkpointer.make()
    assert (place.made, place.kept, place.instances) == ([], {}, [])


def test_after_deaths_in_the_making_of_one_the_next_is_made_later() -> None:
    due: dict[int, int] = {}
    for deaths in (0, 1, 3):
        place = Place(deaths=deaths, every_calls=10)
        while not place.checkpointer.is_due():
            place.run()
        due[deaths] = place.last_lsn
    assert due == {0: 10, 1: 20, 3: 80}


def test_an_actor_that_decides_by_itself_is_asked_after_each_call() -> None:
    place = Place(by_itself=True)
    place.run(3, 100.0)
    place.now_s += 2.5
    assert not place.checkpointer.is_due()
    assert place.asked == [CheckpointContext(ACTOR.hex(), 3, 2500)]
    place.answer = True
    assert place.checkpointer.is_due()
    place.checkpointer.make()
    place.run()
    place.checkpointer.is_due()
    assert place.asked[-1] == CheckpointContext(ACTOR.hex(), 1, 0)


def test_an_actor_is_not_asked_while_what_it_saves_could_not_be_loaded() -> None:
    place = Place(by_itself=True)
    place.answer = True
    place.checkpointer.asks_actor = False
    place.run(3)
    assert not place.checkpointer.is_due()
    assert place.asked == []
    place.checkpointer.request()
    assert place.checkpointer.is_due()


def test_an_actor_that_cannot_decide_goes_on_and_it_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(by_itself=True)
    place.answer = ZeroDivisionError("nothing yet")
    for _ in range(3):
        place.run()
        assert not place.checkpointer.is_due()
    assert capsys.readouterr().err.count("should_checkpoint raised ZeroDivisionError: nothing yet") == 1


# -- how ---------------------------------------------------------------------------------------------------------


def test_a_checkpoint_says_what_it_is_and_what_was_saved() -> None:
    place = Place()
    place.run(4)
    made = place.checkpointer.make()
    (data,) = place.made
    assert (data.definition_id, data.size, data.wall_s) == (b"class", 7, 1.7e9)
    assert place.load(data.locator) == b"state 4"
    assert len(data.digest) == 16
    assert place.told == [made]
    assert (made.checkpoint_id, made.lsn, made.size) == (data.checkpoint_id, 4, 7)


def test_a_checkpointable_saves_under_the_name_that_the_log_has() -> None:
    place = Place(by_itself=True, keep=1)
    place.checkpointer.make()
    place.checkpointer.make()
    assert place.saved == [one.checkpoint_id for one in place.made]
    assert place.expired == place.saved[:1]
    assert not place.kept
    assert [one.locator for one in place.made] == ["", ""]


def test_what_has_expired_is_removed() -> None:
    place = Place(keep=2)
    for _ in range(3):
        place.run()
        place.checkpointer.make()
    assert sorted(place.kept.values()) == [b"state 2", b"state 3"]


@pytest.mark.parametrize(
    ("by_itself", "is_lasting", "drops"), [(False, True, True), (False, False, False), (True, False, True)]
)
def test_the_log_is_kept_where_the_data_may_not_last(by_itself: bool, is_lasting: bool, drops: bool) -> None:
    place = Place(by_itself=by_itself)
    place.is_lasting = is_lasting  # type: ignore[misc]  # of this one
    place.checkpointer.make()
    assert place.drops == [drops]


def test_one_that_cannot_be_made_is_tried_again_ever_later(capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(every_calls=10)
    place.problem = TypeError("a lock cannot be pickled")
    tries = []
    for calls in range(1, 100):
        place.run()
        if place.checkpointer.is_due():
            place.checkpointer.make_if_due()
            tries.append(calls)
    assert tries == [10, 20, 40, 80]
    told = capsys.readouterr().err
    assert (
        told.count("No checkpoint could be made after 10 calls: TypeError: a lock cannot be pickled. Nothing is") == 1
    )
    place.problem = None
    place.run(61)
    assert place.checkpointer.is_due()
    place.checkpointer.make_if_due()
    assert len(place.made) == 1
    place.run(10)
    assert place.checkpointer.is_due(), "once one is made, all is as it was"


def test_one_call_is_said_to_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(every_calls=1)
    place.problem = TypeError("a lock cannot be pickled")
    place.run()
    place.checkpointer.make_if_due()
    told = capsys.readouterr().err
    assert "after 1 call: TypeError" in told
    assert "has it, and a recovery runs it again" in told


def test_one_that_was_asked_for_and_cannot_be_made_is_not_tried_at_every_call() -> None:
    place = Place()
    place.problem = TypeError("a lock cannot be pickled")
    place.checkpointer.request()
    place.checkpointer.make_if_due()
    assert not place.checkpointer.is_due()


def test_a_log_that_is_sealed_is_no_problem_of_the_checkpoint() -> None:
    place = Place()
    place.problem = LogSealedError("the disk is gone")
    with pytest.raises(LogSealedError):
        place.checkpointer.make_if_due()


# -- nested calls ------------------------------------------------------------------------------------------------


def test_none_is_made_while_calls_may_not_have_arrived_that_it_cannot_have(capsys: pytest.CaptureFixture[str]) -> None:
    """They are made again only by a replay of the call that made them: behind a checkpoint, nobody would."""
    place = Place(every_calls=1)
    place.is_quiet = False
    place.run()
    place.checkpointer.make_if_due()
    assert not place.made
    assert place.waited == [checkpoint.QUIET_WITHIN_S]
    assert "it has made calls that had no answer" in capsys.readouterr().err
    assert not place.checkpointer.is_due(), "it does not rest after each call"
    place.run()
    assert place.checkpointer.is_due()
    place.is_quiet = True
    place.checkpointer.make_if_due()
    assert len(place.made) == 1


def test_one_that_is_asked_for_waits_longer_and_then_says_for_what() -> None:
    place = Place()
    place.checkpointer.make()
    place.is_quiet = False
    with pytest.raises(TimeoutError, match="had no answer"):
        place.checkpointer.make()
    assert place.waited == [checkpoint.AWAITED_AT_MOST_S] * 2
    assert len(place.made) == 1


def test_calls_without_an_answer_are_in_the_checkpoint() -> None:
    place = Place()
    place.carried = (CarriedCall(ACTOR, "A", "f", Payload(b"x"), (), ACTOR, b"id", 7, b"digest"),)
    place.checkpointer.make()
    assert place.made[0].carried == place.carried


def test_data_that_cannot_be_removed_is_told_as_that(capsys: pytest.CaptureFixture[str]) -> None:
    """A checkpoint was made all the same, and nothing is tried again."""

    def expire(_actor_id: str, _checkpoint_id: str) -> None:
        raise OSError("the store is read-only.")

    place = Place(by_itself=True, keep=1)
    place.checkpoint_expired = expire  # type: ignore[method-assign]
    for _ in range(4):
        place.run()
        place.checkpointer.make()
    told = capsys.readouterr().err
    assert told.count("has expired, and its data could not be removed: OSError: the store is read-only. It") == 1
    assert "No checkpoint could be made" not in told
    assert "tried again later" not in told


def test_an_actor_that_cannot_be_asked_is_told_as_that(capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(by_itself=True)
    place.answer = ValueError("no such field.")
    for _ in range(3):
        place.run()
        assert not place.checkpointer.is_due()
    told = capsys.readouterr().err
    assert told.count("should_checkpoint raised ValueError: no such field. No checkpoint was made.") == 1
    assert "asked again after the next call" in told
    assert "tried again later" not in told


# -- what never became one ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_itself", [False, True])
def test_what_was_saved_and_could_not_be_noted_is_removed(by_itself: bool) -> None:
    place = Place(by_itself=by_itself)
    place.unnotable = OSError("no room")
    with pytest.raises(OSError, match="no room"):
        place.checkpointer.make()
    assert (place.kept, place.expired, place.noted.unmade) == ({}, place.saved, "")
    place.unnotable = None
    place.checkpointer.make()
    assert (len(place.made), place.noted.unmade) == (1, "")
    assert len(place.expired) == by_itself


def test_what_may_have_become_one_is_left_to_the_next_process() -> None:
    place = Place(by_itself=True)
    place.unnotable = LogSealedError("nobody knows")
    with pytest.raises(LogSealedError):
        place.checkpointer.make()
    assert (place.expired, place.noted.unmade) == ([], place.saved[0])
    after = Place(by_itself=True)
    after.noted.unmade = place.saved[0]
    after.checkpointer.removal.of_unmade()
    assert (after.expired, after.noted.unmade) == (place.saved, "")


def test_where_nothing_was_saved_nothing_is_removed() -> None:
    place = Place()
    place.problem = TypeError("a lock cannot be pickled")
    place.remove = None  # type: ignore[method-assign, assignment]
    with pytest.raises(TypeError, match="a lock"):
        place.checkpointer.make()
    place.checkpointer.removal.of_unmade()


def test_that_nothing_was_there_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(by_itself=True)
    place.unnotable = OSError("no room")
    place.checkpoint_expired = lambda *_ids: open("/nonexistent/file").close()  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no room"):
        place.checkpointer.make()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("by_itself", [False, True])
def test_what_ends_processes_is_left_and_told(by_itself: bool, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(by_itself=by_itself)
    place.noted.unmade = "63" * 16
    place.noted.try_removing = lambda: TRIES + 1  # type: ignore[method-assign]
    place.checkpointer.removal.of_unmade()
    told = capsys.readouterr().err
    where = "" if by_itself else f" at at {'63' * 16}"
    assert told.startswith(f"Checkpoint {'63' * 16} never became available, and its data could not be removed{where}: ")
    assert f"{TRIES} processes have ended over it" in told
    assert (place.expired, place.noted.unmade) == ([], "")
