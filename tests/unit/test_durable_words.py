"""What is said of durable actors where something is wrong: the cause, what it means, and what helps."""

from __future__ import annotations

import errno
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import ipyactors
from ipyactors.cli import fsck as fsck_command
from ipyactors.cli.main import main
from ipyactors.durable import unborn
from ipyactors.durable.checkpoint_store import open_store
from ipyactors.durable.folder import Folder
from ipyactors.durable.fsck import check
from ipyactors.durable.fsck_report import CheckpointFacts, FsckReport, Status
from ipyactors.exceptions import OptionError
from ipyactors.owner import failures
from ipyactors.wire.specs import Death, LossReason, RemoteError
from ipyactors.worker.row import diverged
from tests.support.actor_folder import ACTOR, Life
from tests.support.fake_engine import FakeEngine, fake_engine
from tests.support.owner_scenario import OwnerScenario


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as one:
        yield one


class Counter:
    def __init__(self) -> None:
        self.count = 0


# -- an actor that never was -----------------------------------------------------------------------------------


def never_was(path: pathlib.Path, words: str = "its constructor raised RuntimeError: boom") -> Life:
    life = Life(Folder(path))
    life.add_files()
    unborn.note(life.disk, words)
    return life


def run(*words: object) -> Result:
    done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def test_of_an_actor_whose_constructor_raised_no_state_is_promised(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / ACTOR.hex()
    never_was(folder)
    report = check(Folder(folder), ACTOR)
    assert report.status is Status.CLEAN
    assert report.verdict == (
        "Clean: there is no state, for the actor never came to be: its constructor raised RuntimeError: boom."
    )
    assert report.explanation() == []
    assert not any("Not part of" in note for note in report.notes)
    assert report.to_dict()["unborn"] == "its constructor raised RuntimeError: boom"


def test_a_constructor_that_raised_makes_no_replay_red(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / ACTOR.hex()
    never_was(folder)
    done = run("replay", folder, "--verify")
    assert done.exit_code == 0
    assert "Nothing to replay: the actor never came to be: its constructor raised RuntimeError: boom." in done.stdout
    assert "does not do again" not in done.stdout


def test_what_has_calls_has_been(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / ACTOR.hex()
    never_was(folder).calls(2)
    assert check(Folder(folder), ACTOR).verdict == "Clean: the state up to lsn 2 is there."


def test_a_word_that_cannot_be_read_is_none(tmp_path: pathlib.Path) -> None:
    disk = Folder(tmp_path)
    assert unborn.read(disk) == ""
    (tmp_path / unborn.NAME).write_bytes(b"\xff\xfe")
    assert unborn.read(disk)


# -- divergences -----------------------------------------------------------------------------------------------


def test_a_readonly_method_may_be_to_blame() -> None:
    words = str(diverged("M.inc", 2, "it returned 101, and now it is 1", b"a" * 16))
    assert "or a method marked 'readonly' has changed the state, which no replay does again" in words
    assert "readonly" not in str(diverged("task", 0, "it called f", b""))
    assert "makes the actor's results differ after a crash" in " ".join((ipyactors.method.__doc__ or "").split())


# -- dead for good ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("incarnation", [0, 1])
def test_a_durable_actor_without_restarts_has_its_log(incarnation: int) -> None:
    owner = OwnerScenario()
    client = owner.actor()
    call = owner.method(client, "inc", is_durable=True)
    client.folder, client.incarnation = "/sessions/s 1/actors/61", incarnation
    client.death = Death(LossReason.EXITED, signal=9)
    words = str(failures.actor_died(client, call, started=False))
    assert "Its log is kept: ipyactors fsck '/sessions/s 1/actors/61' says what can be had from it" in words
    assert "leave max_restarts out" in words
    assert "max_task_retries" not in words


def test_the_words_of_a_dead_constructor_begin_no_line_with_a_full_stop() -> None:
    owner = OwnerScenario()
    client = owner.actor()
    error = RemoteError("RuntimeError", "boom", "Traceback:\nRuntimeError: boom\n")
    client.death = Death(LossReason.INIT_FAILED, init_error=error)
    words = str(failures.actor_died(client, owner.method(client, "f"), started=False))
    assert not re.search(r"^\s*\.", words, re.MULTILINE), words
    assert "RuntimeError: boom\nThe call " in words


# -- where checkpoints go --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["file://{}", "{}"])
def test_a_folder_that_cannot_be_made_is_said_at_once(engine: FakeEngine, tmp_path: pathlib.Path, form: str) -> None:
    (tmp_path / "file").touch()
    url = form.format(tmp_path / "file" / "below")
    cls = ipyactors.remote(durable=True, checkpoint_store=url)(Counter)
    with pytest.raises(OptionError, match=rf"checkpoint_store='{re.escape(url)}': .*Not a directory") as caught:
        cls.remote()
    assert caught.value.option == "checkpoint_store"  # type: ignore[attr-defined]
    assert not engine.instances
    ipyactors.remote(durable=True, checkpoint_store=form.format(tmp_path / "new" / "one"))(Counter).remote()
    assert os.listdir(tmp_path) == ["file"] or (tmp_path / "new" / "one").is_dir()


def test_a_file_is_no_folder(engine: FakeEngine, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match=r"checkpoint_store=.*is no folder"):
        ipyactors.remote(durable=True, checkpoint_store=str(tmp_path / "file"))(Counter).remote()


def test_what_cannot_be_saved_names_the_option(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    url = f"file://{tmp_path}/file/below"
    store = open_store(url, tmp_path, b"a" * 16, None)  # type: ignore[arg-type]
    with pytest.raises(OSError, match=rf"checkpoint_store='{url}'.*there: File exists") as caught:
        store.save("one", b"data")
    assert caught.value.errno == errno.EEXIST


def test_what_a_server_does_not_take_names_the_option(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("fsspec")
    store = open_store("nosuchthing://me:pass@host/x", tmp_path, b"a" * 16, None)  # type: ignore[arg-type]
    with pytest.raises(OSError, match=r"checkpoint_store='nosuchthing://me:\*\*\*@host/x'"):
        store.save("one", b"data")


def test_the_warning_of_memory_is_about_the_users_line(engine: FakeEngine) -> None:
    cls = ipyactors.remote(durable=True, checkpoint_store="memory://x")(Counter)
    with pytest.warns(UserWarning, match="gone with the process") as warned:
        cls.remote()
    assert [one.filename for one in warned] == [__file__]
    configured = ipyactors.remote(Counter).options(durable=True, checkpoint_store="memory://x")
    with pytest.warns(UserWarning, match="gone with the process") as warned:
        configured.remote()
    assert [one.filename for one in warned] == [__file__]


# -- the table of checkpoints ----------------------------------------------------------------------------------


def test_the_table_of_checkpoints_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    ids = ["0123456789abcdef" * 2, "fedcba9876543210" * 2]
    made = tuple(
        CheckpointFacts(
            f"checkpoint-{number:012}.json", number, name, 1_234_567 + number, 987_654_321, 12, 1.79e9, 123_456_789,
            "", "not looked at", "",
        )
        for number, name in enumerate(ids, start=998)
    )  # fmt: skip
    report = FsckReport(ACTOR.hex(), Status.CLEAN, checkpoints=made)
    console = Console(width=80, highlight=False)
    with console.capture() as shown:
        console.print(fsck_command._checkpoint_table(report))
    lines = [line for line in shown.get().splitlines() if line.strip()]
    assert max(map(len, lines)) <= 80
    assert sum("01234567" in line for line in lines) == 1
    row: Any = next(line for line in lines if ids[0][:10] in line)
    assert "1,235,565" in row
    assert "123,456,789" in row
    assert "not looked at" in row
    assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", row)
    assert len(lines) <= 4, "no cell is broken"
