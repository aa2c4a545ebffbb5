"""What an actor does to make its checkpoints belongs to none of its calls: its log must have nothing of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ipyactors.durable.manifest import CheckpointData, Manifest
from ipyactors.owner import current
from ipyactors.owner.current import CurrentCall
from ipyactors.wire.specs import Durability
from ipyactors.worker.checkpoint import Checkpointer

ACTOR = b"a" * 16


class Subject:
    """An actor that notes in which call it is asked what."""

    definition_id = b"d" * 16

    def __init__(self) -> None:
        self.instance = self
        self.asked: dict[str, CurrentCall | None] = {}

    def _note(self, what: str) -> None:
        self.asked[what] = current.call.get()

    def dump_state(self) -> bytes:
        self._note("dump_state")
        return b"state"

    def copy_of(self, _data: bytes) -> Any:
        self._note("copy_of")
        return self

    def go_on_as(self, instance: object) -> None:
        assert instance is self

    def should_checkpoint(self, _context: object) -> bool:
        self._note("should_checkpoint")
        return True

    def save_checkpoint(self, _actor_id: str, _checkpoint_id: str) -> None:
        self._note("save_checkpoint")

    def checkpoint_expired(self, _actor_id: str, _checkpoint_id: str) -> None:
        self._note("checkpoint_expired")


class Log:
    """Takes checkpoints, and says that an older one has expired."""

    actor_id, last_lsn, position = ACTOR, 1, 0

    def add_checkpoint(self, data: CheckpointData, _keep: int, *, drops_log: bool) -> list[Manifest]:
        return [Manifest(1, data, 1, 0, 0, None, None)]  # type: ignore[arg-type]


@pytest.mark.parametrize("by_itself", [True, False])
def test_what_an_actor_is_asked_for_a_checkpoint_runs_in_no_call(by_itself: bool) -> None:
    subject: Any = Subject()
    store: Any = SimpleNamespace(is_lasting=True, save=lambda name, _data: name, remove=lambda _locator: None)
    durability = Durability("process", every_calls=1, by_itself=by_itself)
    log: Any = Log()
    checkpointer = Checkpointer(subject, log, durability, store, lambda _made: None)
    call = CurrentCall(b"", 1, b"", "Ledger.deposit", ACTOR)
    token = current.call.set(call)
    try:
        checkpointer.note_call(0.0)
        assert checkpointer.is_due()
        checkpointer.make_if_due()
        assert current.call.get() is call
    finally:
        current.call.reset(token)
    wanted = {"should_checkpoint", "save_checkpoint", "checkpoint_expired"} if by_itself else {"dump_state", "copy_of"}
    assert subject.asked == dict.fromkeys(wanted)
