"""What was saved for a checkpoint that never became available: it does not stay."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import sqlite3
from collections.abc import Sequence
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.actor import Checkpoint, Checkpointable, CheckpointContext, get_checkpoints_for_actor
from ipyactors.ground import faultpoints
from tests.support import anatomy
from tests.support.durable import actor_id, folder, get, kill, recoveries
from tests.support.gates import Tally, until

pytestmark = pytest.mark.usefixtures("shared_runtime")


@ia.remote
class Saver(Checkpointable):
    """Saves when a file says so, and may do that badly."""

    def __init__(self, place: pathlib.Path) -> None:
        self.place = place
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count

    @ia.method(effect="readonly")
    def arm(self, point: str, action: str) -> None:
        faultpoints.arm(point, action)

    def takes(self, order: str) -> bool:
        is_told = (self.place / order).exists()
        (self.place / order).unlink(missing_ok=True)
        return is_told

    def should_checkpoint(self, checkpoint_context: CheckpointContext) -> bool:
        return self.takes("checkpoint")

    def save_checkpoint(self, actor_id: str, checkpoint_id: str) -> None:
        assert ia.get_runtime_context().get_actor_id() == actor_id
        if self.takes("save nothing"):
            raise OSError("the disk is gone")
        Tally(self.place / "saved").add(checkpoint_id)
        (self.place / f"data-{checkpoint_id}").write_text(str(self.count))
        if self.takes("save and raise"):
            raise OSError("the disk is full")

    def load_checkpoint(self, actor_id: str, available_checkpoints: Sequence[Checkpoint]) -> str | None:
        checkpoint_id = available_checkpoints[0].checkpoint_id
        self.count = int((self.place / f"data-{checkpoint_id}").read_text())
        return checkpoint_id

    def checkpoint_expired(self, actor_id: str, checkpoint_id: str) -> None:
        Tally(self.place / "expired").add(checkpoint_id)
        if (self.place / "die").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if self.takes("refuse"):
            raise PermissionError("not now")
        (self.place / f"data-{checkpoint_id}").unlink()


def saved(place: pathlib.Path) -> list[str]:
    return Tally(place / "saved").lines()


def expired(place: pathlib.Path) -> list[str]:
    return Tally(place / "expired").lines()


def check(saver: Any, place: pathlib.Path) -> None:
    """What is there is what can be loaded, and what has expired has done so once."""
    available = {one.checkpoint_id for one in get_checkpoints_for_actor(saver)}
    assert {file.name.removeprefix("data-") for file in place.glob("data-*")} == available
    assert sorted(expired(place)) == sorted(set(saved(place)) - available)


def lived(place: pathlib.Path) -> Any:
    saver = Saver.remote(place)
    (place / "checkpoint").touch()
    assert get(saver.add.remote()) == 1
    assert get(saver.add.remote()) == 2
    check(saver, place)
    return saver


@pytest.mark.parametrize("point", ["saved", "secured", "manifest"])
def test_its_process_died_before_it_was_available(point: str, tmp_path: pathlib.Path) -> None:
    saver = lived(tmp_path)
    for deaths in (1, 2):
        get(saver.arm.remote(f"durable.checkpoint.{point}", "kill"))
        (tmp_path / "checkpoint").touch()
        assert get(saver.add.remote()) == 2 + deaths
        until(lambda deaths=deaths: len(recoveries(saver)) == deaths, "its return")
        assert len(expired(tmp_path)) == (0 if point == "manifest" else deaths)
        check(saver, tmp_path)
    kill(saver)
    assert get(saver.add.remote()) == 5
    check(saver, tmp_path)


@pytest.mark.parametrize("how", ["save nothing", "save and raise", "no manifest"])
def test_it_could_not_be_made(how: str, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    saver = lived(tmp_path)
    if how == "no manifest":
        get(saver.arm.remote("durable.replace.before_rename", "enospc"))
    else:
        (tmp_path / how).touch()
    with pytest.raises(Exception, match=r"disk is|No space left"):
        get(saver.checkpoint())
    assert len(expired(tmp_path)) == 1
    assert len(saved(tmp_path)) == 1 + (how != "save nothing")
    if how != "save nothing":
        check(saver, tmp_path)
    kill(saver)
    assert get(saver.add.remote()) == 3
    assert len(expired(tmp_path)) == 1
    assert "could not be removed" not in "".join(capfd.readouterr())


def test_what_cannot_be_removed_is_told_once(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    saver = lived(tmp_path)
    for order in ("save and raise", "refuse"):
        (tmp_path / order).touch()
    with pytest.raises(OSError, match="the disk is full"):
        get(saver.checkpoint())
    shown: list[str] = []

    def told() -> bool:
        shown.append("".join(capfd.readouterr()))
        return "never became available, and its data could not be removed: PermissionError: not now" in "".join(shown)

    until(told, "what could not be done")
    kill(saver)
    assert get(saver.add.remote()) == 3
    assert len(expired(tmp_path)) == 1, "that is not tried again"


def test_an_actor_that_dies_of_it_comes_back(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    saver = lived(tmp_path)
    (tmp_path / "die").touch()
    (tmp_path / "save and raise").touch()
    (tmp_path / "checkpoint").touch()
    assert get(saver.add.remote()) == 3
    assert get(saver.add.remote()) == 4
    assert len(expired(tmp_path)) == 3
    kill(saver)
    assert get(saver.add.remote()) == 5
    assert len(expired(tmp_path)) == 3
    shown: list[str] = []

    def told() -> bool:
        shown.append("".join(capfd.readouterr()))
        return "could not be removed: 3 processes have ended over it" in "".join(shown)

    until(told, "what is given up")


# -- where the system saves it -----------------------------------------------------------------------------------


@ia.remote(durable=True)
class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count

    @ia.method(effect="readonly")
    def arm(self, point: str, action: str) -> None:
        faultpoints.arm(point, action)


def keys(store: str, handle: Any, path: pathlib.Path) -> list[str]:
    """Return the names of all that a store has of an actor."""
    if not store:
        return [file.name for file in folder(handle).glob("data-*")]
    if store == "file":
        return os.listdir(path / actor_id(handle).hex())
    with contextlib.closing(sqlite3.connect(f"{anatomy.paths().state_dir}/kv.sqlite")) as connection:
        rows = connection.execute("SELECT key FROM kept").fetchall()
    return [key for (key,) in rows if actor_id(handle).hex() in key]


@pytest.mark.parametrize(
    ("store", "how"),
    [(store, how) for store in ("", "kv", "file") for how in ("dies", "has no manifest")]
    + [("", "dies halfway"), ("file", "dies halfway")],  # the head has a value or has it not
)
def test_nothing_stays_in_a_store(store: str, how: str, tmp_path: pathlib.Path) -> None:
    options = {"": {}, "kv": {"checkpoint_store": "kv"}, "file": {"checkpoint_store": f"file://{tmp_path}"}}
    counter = Counter.options(**options[store]).remote()
    get(counter.add.remote())
    get(counter.checkpoint())
    assert len(keys(store, counter, tmp_path)) == 1
    point = "durable.replace.before_rename" if how == "dies halfway" else "durable.checkpoint.saved"
    get(counter.arm.remote(point, "enospc" if how == "has no manifest" else "kill"))
    with contextlib.suppress(OSError, ia.exceptions.CallAbortedError):
        get(counter.checkpoint())
    assert get(counter.add.remote()) == 2
    available = [one.checkpoint_id for one in get_checkpoints_for_actor(counter)]
    found = keys(store, counter, tmp_path)
    assert len(found) == len(available)
    assert all(any(name.endswith(one) for name in found) for one in available)
