"""``ipyactors fsck``: folders, exit statuses, what people and programs read, and the copy of what can be saved."""

from __future__ import annotations

import hashlib
import json
import pathlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ipyactors.cli.main import main
from ipyactors.durable import log, segment
from ipyactors.durable.checkpoint_store import open_store
from ipyactors.durable.folder import Folder
from ipyactors.durable.manifest import CheckpointData
from ipyactors.wire.liveness import boot_id
from tests.support.actor_folder import ACTOR, Life


@pytest.fixture(autouse=True, scope="module")
def small_segments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment, "SEGMENT_BYTES", 4096)
        patch.setattr(log, "RESERVE_BYTES", 512)
        yield


@pytest.fixture
def session(tmp_path: pathlib.Path) -> pathlib.Path:
    """A session's folder with one actor: 35 calls, a checkpoint after 20, the last call unfinished."""
    session = tmp_path / "session-1"
    life = Life(Folder(session / "actors" / ACTOR.hex()), boot=boot_id())
    life.calls(20)
    life.checkpoint()
    life.start(interrupted=7)
    life.calls(14)
    life.begin("audit")
    life.add_files()
    life.disk.close()  # type: ignore[attr-defined]
    return session


@pytest.fixture
def folder(session: pathlib.Path) -> pathlib.Path:
    return session / "actors" / ACTOR.hex()


def run(*words: object) -> Result:
    done = CliRunner().invoke(main, ["fsck", *map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def ask(*words: object) -> dict[str, Any]:
    (actor,) = json.loads(run("--json", *words).stdout)["actors"]
    assert isinstance(actor, dict)
    return actor


def damage(path: pathlib.Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def damage_call(folder: pathlib.Path, lsn: int) -> None:
    """Break the first record of a call."""
    found = next(one for one in ask(folder, "-v")["listing"] if one["lsn"] == lsn and one["type"] == "CALL")
    damage(folder / found["file"], found["offset"] + 30)


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_in_order_is_told_in_words(folder: pathlib.Path) -> None:
    done = run(folder)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == f"actor Account 'acct' {ACTOR.hex()}, durable=process"
    assert lines[1] == str(folder)
    assert lines[2].startswith("log          4 segments, ")
    assert lines[2].endswith(" of 16,384 bytes used, 2 incarnations, 0 to 1")
    assert "1 unfinished; the last lsn is 35, 35 was begun last" in done.stdout
    assert "Clean: the state up to lsn 34 is there." in lines
    assert "14 calls are replayed." in done.stdout
    assert f"lsn 35, audit() from d{'07' * 7} number 35" in done.stdout
    assert lines[-2] == f"Whether methods do the same again is not looked at here: ipyactors replay {folder} --verify"


@pytest.mark.parametrize("which", ["actor", "actors", "session"])
def test_an_actors_and_a_sessions_folder_will_do(session: pathlib.Path, which: str) -> None:
    path = {"actor": session / "actors" / ACTOR.hex(), "actors": session / "actors", "session": session}[which]
    assert ask(path)["actor_id"] == ACTOR.hex()


def test_of_several_actors_the_worst_counts(session: pathlib.Path) -> None:
    other = session / "actors" / (b"b" * 16).hex()
    other.mkdir()
    (other / "lock").touch()
    (session / "actors" / (b"c" * 16).hex()).mkdir()  # nothing in it yet
    assert run(session).exit_code == 0
    damage(session / "actors" / ACTOR.hex() / "spec", 20)
    done = run(session)
    assert done.exit_code == 1
    assert done.stdout.count("Clean:") == 1
    assert "ipyactors replay" not in done.stdout, "there is nothing to do again in the one that is clean"


@pytest.mark.parametrize("what", ["nothing", "empty", "file", "other"])
def test_what_is_no_actors_folder_is_refused(tmp_path: pathlib.Path, what: str) -> None:
    path = tmp_path / what
    if what == "file":
        path.write_text("hello")
    elif what != "nothing":
        path.mkdir()
    if what == "other":
        (path / "notes.txt").write_text("hello")
    done = run(path)
    assert done.exit_code == 3
    assert str(path) in done.stderr


def test_a_folder_that_only_looks_like_an_actors_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "spec").write_text("Name: something else")
    done = run(tmp_path)
    assert done.exit_code == 3
    assert "This is no actor's folder, or it cannot be read." in done.stdout


def test_a_loss_is_said_with_place_lsns_and_what_to_do(folder: pathlib.Path) -> None:
    damage_call(folder, 30)
    before = contents(folder)
    done = run(folder)
    assert done.exit_code == 2
    assert "behind lsn 29: a record is broken that had been whole." in done.stdout
    assert "Something is lost: the state up to lsn 29 can be had." in done.stdout
    assert "(lsn 20, checkpoint-000000000001.json), 9 calls are replayed." in done.stdout
    assert "Lost: lsn 30, of which nothing can be read." in done.stdout
    assert f"Lost: lsn 31, deposit() from d{'07' * 7} number 31, which had returned." in done.stdout
    assert f"ipyactors fsck {folder} --save-to NEW" in done.stdout
    assert contents(folder) == before


def test_what_a_loss_of_power_may_have_taken_is_not_said_to_be_damage(tmp_path: pathlib.Path) -> None:
    life = Life(Folder(tmp_path / ACTOR.hex()), boot="the boot before")
    life.calls(35)
    life.add_files()
    life.disk.close()  # type: ignore[attr-defined]
    damage_call(life.disk.path, 30)  # type: ignore[attr-defined]
    done = run(tmp_path / ACTOR.hex())
    assert done.exit_code == 2
    assert "The actor's next start goes on behind lsn 29; nothing up to there is lost." in done.stdout
    assert "No crash leaves this behind" not in done.stdout
    assert "What is lost stays lost." in done.stdout


def test_programs_read_the_same_facts(folder: pathlib.Path) -> None:
    damage_call(folder, 30)
    actor = ask(folder)
    assert actor["path"] == str(folder)
    assert actor["status"] == 2
    assert actor["saved"]["lsn"] == 29
    assert [call["lsn"] for call in actor["lost"]] == [31, 32, 33, 34, 35]
    assert actor["unreadable"] == [[30, 30]]
    assert actor["findings"][0]["lsn"] == 29
    assert actor["verdict"] == "Something is lost: the state up to lsn 29 can be had."
    assert any(str(folder) in line for line in actor["advice"])


def test_every_record_has_a_line(folder: pathlib.Path) -> None:
    done = run(folder, "-v")
    listed = [line for line in done.stdout.splitlines() if " bytes, incarnation " in line]
    assert len(listed) == sum(ask(folder)["records"].values())
    assert any("OPEN" in line and "lsn 7 was interrupted" in line for line in listed)
    assert any("CALL" in line and f"audit()  from d{'07' * 7}" in line for line in listed)
    assert all(":" in line.rpartition("log-")[2] for line in listed)


def test_what_can_be_saved_is_written_to_a_new_folder(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    damage_call(folder, 30)
    before = contents(folder)
    target = tmp_path / "saved"
    done = run(folder, "--save-to", target)
    assert done.exit_code == 2
    assert f"{target}: Clean: the state up to lsn 29 is there." in done.stderr
    assert contents(folder) == before
    assert target.stat().st_mode & 0o777 == 0o700
    again = run(target)
    assert again.exit_code == 0
    assert "(lsn 20, checkpoint-000000000001.json), 9 calls are replayed." in again.stdout
    refused = run(folder, "--save-to", target)
    assert refused.exit_code == 1
    assert f"Nothing was written: {target} is there already." in refused.stderr


def test_only_one_actor_is_saved_at_a_time(session: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = session / "actors" / (b"b" * 16).hex()
    other.mkdir()
    (other / "lock").touch()
    done = run(session, "--save-to", tmp_path / "saved")
    assert "has 2 actors" in done.stderr
    assert not (tmp_path / "saved").exists()


_HOLDS = """
import pathlib, sys
from ipyactors.durable.lock import FolderLock
held = FolderLock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_who_uses_the_folder_is_told_and_not_disturbed(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        done = run(folder)
        assert done.exit_code == 0
        assert f"In use by process {holder.pid}: this is a moment's view" in done.stdout
        assert ask(folder)["held_by"] == holder.pid
        assert "the actor is running" in run(folder, "--save-to", tmp_path / "saved").stderr
    assert ask(folder)["held_by"] == 0


# -- data that is in another place -----------------------------------------------------------------------------


class _NoKv:
    def get(self, key: str) -> bytes | None:
        raise AssertionError(key)

    def put(self, key: str, value: bytes) -> None:
        raise AssertionError(key)

    def delete(self, key: str) -> None:
        raise AssertionError(key)


def checkpoint_elsewhere(folder: pathlib.Path, locator: str, content: bytes, store: str) -> None:
    life = Life(Folder(folder))
    life.calls(3)
    digest = hashlib.blake2b(content, digest_size=16).digest()
    life.log.add_checkpoint(CheckpointData("c1", b"class", locator, len(content), digest))
    life.log.secure()
    life.add_files(store=store)


def test_data_in_another_folder_is_loaded_when_asked_for(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "session" / "actors" / ACTOR.hex()
    url = f"file://{tmp_path}/shared"
    locator = open_store(url, folder, ACTOR, _NoKv()).save("c1", b"the state")
    checkpoint_elsewhere(folder, locator, b"the state", url)
    done = run(folder)
    assert done.exit_code == 0
    assert "The data of 1 checkpoint is not in this folder, and was not looked at. With --data it is." in done.stdout
    assert ask(folder, "--data")["checkpoints"][0]["data"] == "right"
    damage(tmp_path / "shared" / locator, 3)
    assert ask(folder, "--data")["checkpoints"][0]["data"] == "damaged"
    (tmp_path / "shared" / locator).unlink()
    assert run(folder, "--data").exit_code == 1
    assert ask(folder, "--data")["checkpoints"][0]["data"] == "missing"


def test_data_that_the_head_keeps_is_read_from_its_file(tmp_path: pathlib.Path) -> None:
    session = tmp_path / "session"
    folder = session / "actors" / ACTOR.hex()
    kept: dict[str, bytes] = {}

    class Kv(_NoKv):
        def put(self, key: str, value: bytes) -> None:
            kept[key] = value

    locator = open_store("kv", folder, ACTOR, Kv()).save("c1", b"the state")
    checkpoint_elsewhere(folder, locator, b"the state", "kv")
    assert ask(folder, "--data")["checkpoints"][0]["data"] == "missing"
    connection = sqlite3.connect(session / "kv.sqlite")
    with connection:
        connection.execute("CREATE TABLE kept (key TEXT PRIMARY KEY, value BLOB NOT NULL)")
        connection.executemany("INSERT INTO kept VALUES (?, ?)", kept.items())
    connection.close()
    assert ask(folder, "--data")["checkpoints"][0]["data"] == "right"


def test_data_in_memory_is_gone_with_its_process_and_no_harm(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "session" / "actors" / ACTOR.hex()
    checkpoint_elsewhere(folder, f"{ACTOR.hex()}/c1", b"the state", "memory://x")
    done = run(folder, "--data")
    assert done.exit_code == 0
    assert "was in the memory of the actor's process" in done.stdout
    assert "From the constructor, 3 calls are replayed." in done.stdout
