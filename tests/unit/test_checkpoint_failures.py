"""A checkpoint that cannot be made, or that nobody can tell: what the log says then, and who hears what."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from ipyactors.durable.actor_log import ActorLog, read_remains
from ipyactors.durable.folder import Folder
from ipyactors.durable.log import LogSealedError
from ipyactors.durable.manifest import CheckpointData
from ipyactors.durable.record import Abort, Call, Done, Open, Outcome
from ipyactors.durable.recovery import History
from ipyactors.ground import faultpoints
from ipyactors.wire.specs import Payload

ACTOR = b"a" * 16


@pytest.fixture(autouse=True)
def _nothing_armed() -> Iterator[None]:
    yield
    faultpoints.disarm()


def call(number: int) -> Call:
    return Call(b"call%d" % number, b"driver00", number, "keep", Payload(b""), is_persist=True)


def data(number: int) -> CheckpointData:
    return CheckpointData(f"checkpoint{number}", b"", "", 0, b"", 0.0)


class Process:
    """One incarnation's log, on a real disk. Each of its calls ends with a checkpoint."""

    def __init__(self, path: pathlib.Path, incarnation: int = 0) -> None:
        self.disk = Folder(path)
        remains = read_remains(self.disk, ACTOR)
        self.history: History = remains.since(remains.checkpoints[0] if remains.checkpoints else None)
        self.log = ActorLog(self.disk, remains, self.history, incarnation, Open(b"", "process"))

    def run(self, number: int, keep: int = 2) -> None:
        """Run one call. Raises what keeps it from being over."""
        self.log.take(call(number))
        self.log.write()
        done = Done(call(number).call_id, Outcome.RETURNED, b"answer")
        self.log.add_checkpoint(data(number), keep, ended=[done])
        self.log.secure()


@pytest.mark.parametrize("action", ["enospc", "raise"])
@pytest.mark.parametrize("point", ["durable.replace.after_rename", "durable.checkpoint.manifest"])
def test_what_may_be_a_checkpoint_is_not_said_to_be_none(tmp_path: pathlib.Path, point: str, action: str) -> None:
    """Its name is there and its folder could not be synced: the next process finds it, or does not."""
    process = Process(tmp_path)
    process.run(1)
    faultpoints.arm(point, action)
    with pytest.raises(LogSealedError):
        process.run(2)
    with pytest.raises(LogSealedError):
        process.log.abort(Abort(call(2).call_id, "no checkpoint could be made"))
        process.log.write()
    after = Process(tmp_path, 1).history
    assert after.tables.recorded[call(2).call_id].outcome is Outcome.RETURNED


@pytest.mark.parametrize("point", ["durable.replace.before_rename", "durable.checkpoint.secured"])
def test_what_is_no_checkpoint_leaves_everything_as_it_was(tmp_path: pathlib.Path, point: str) -> None:
    process = Process(tmp_path)
    process.run(1)
    faultpoints.arm(point, "enospc")
    with pytest.raises(OSError, match="injected"):
        process.run(2)
    process.log.abort(Abort(call(2).call_id, "no checkpoint could be made"))
    process.log.write()
    assert Process(tmp_path, 1).history.tables.recorded[call(2).call_id].outcome is Outcome.ABORTED


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_what_cannot_be_removed_is_waste_and_no_failure(tmp_path: pathlib.Path, nth: int) -> None:
    process = Process(tmp_path)
    for number in range(1, 5):
        process.run(number)
    faultpoints.arm("durable.remove.before", "enospc", nth)
    for number in range(5, 9):
        process.run(number)
    after = Process(tmp_path, 1)
    assert after.history.tables.last_lsn == 8
    assert len([name for name in after.disk.names() if name.startswith("checkpoint-")]) == 2
