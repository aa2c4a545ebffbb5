"""Events in a file: everything comes back, and whatever else is in a file is refused in words."""

from __future__ import annotations

import gzip
import json
import pathlib

import pytest

import ipyactors
from ipyactors.api import event_files
from ipyactors.exceptions import EventFileError, SessionError
from ipyactors.wire.events import Event, EventKind

EVENTS = [
    Event(EventKind.ACTOR_DIED, 100.25, "acct \u2713", b"a\x00\xff", b"w", b"n", b"t", 2, 3, 0.1, "killed", True, 4),
    *(Event(kind, 200.0 + 1 / 3, duration_s=1e-9) for kind in EventKind),
]


@pytest.mark.parametrize("name", ["run.events.json", "run.events.json.gz"])
def test_what_was_written_comes_back(tmp_path: pathlib.Path, name: str) -> None:
    path = ipyactors.export_events(tmp_path / name, iter(EVENTS))
    assert path == tmp_path / name
    assert path.read_bytes().startswith(b"\x1f\x8b") is name.endswith(".gz")
    assert ipyactors.load_events(str(path)) == EVENTS
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_the_oldest_event_comes_first(tmp_path: pathlib.Path) -> None:
    assert ipyactors.load_events(ipyactors.export_events(tmp_path / "e.json", EVENTS[::-1]))[0] == EVENTS[0]


def test_a_file_that_cannot_be_written_leaves_what_was_there(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ipyactors.export_events(tmp_path / "run.json", EVENTS)

    def refuse(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(pathlib.Path, "replace", refuse)
    with pytest.raises(OSError, match="no room"):
        ipyactors.export_events(path, [])
    assert ipyactors.load_events(path) == EVENTS
    assert [one.name for one in tmp_path.iterdir()] == ["run.json"]


def test_a_file_that_cannot_be_written_is_named_as_it_was_given(tmp_path: pathlib.Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "nowhere" / "run.json", tmp_path / "folder"):
        with pytest.raises((FileNotFoundError, IsADirectoryError)) as caught:
            ipyactors.export_events(path, [])
        assert (caught.value.filename, caught.value.filename2) == (str(path), None)
        assert "draft" not in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_without_events_those_of_the_session_are_meant(tmp_path: pathlib.Path) -> None:
    with pytest.raises(SessionError, match="export_events: there is no session"):
        ipyactors.export_events(tmp_path / "run.json")
    assert not list(tmp_path.iterdir())


def written(**changed: object) -> bytes:
    """Return a file that holds one event, with some of its fields changed."""
    known = {"format": event_files.FORMAT, "version": event_files.VERSION, "made_by": "9.9.9",
             "events": [["actor_died", 1.0]]}  # fmt: skip
    return json.dumps(known | changed).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no JSON that export_events has written"),
        (b"\x00\x01\xff", "no JSON that export_events has written"),
        (b'[{"ph": "X"}]', "no JSON that export_events has written.*is for trace viewers"),
        (b'{"cells": []}', "no JSON that export_events has written.*missing required field `format`"),
        (written(format="other"), "it says that it is 'other'"),
        (written(version=2), "version 2 of the format.*up to 1.*made by ipyactors 9.9.9"),
        (written(events=[["new_kind", 1.0]]), "not as they should be.*new_kind.*made by ipyactors 9.9.9"),
        (written(events=[["actor_died"]]), "not as they should be"),
        (written(events=[["actor_died", 1.0, "", "no base64!"]]), "not as they should be"),
        (gzip.compress(written(), mtime=0)[:-12], "compressed, and damaged or cut off"),
        (b"\x1f\x8b" + b"x" * 30, "compressed, and damaged or cut off"),
    ],
)
def test_anything_else_is_refused(tmp_path: pathlib.Path, data: bytes, words: str) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(data)
    with pytest.raises(EventFileError, match=f"other.json cannot be read as events: .*{words}") as caught:
        ipyactors.load_events(path)
    assert caught.value.path == str(path)


def test_a_later_version_may_add_fields(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "later.json"
    event = ["actor_died", 1.0, "x", "", "", "", "", 0, 0, 0.0, "", False, 0, "", "a field that is new"]
    path.write_bytes(written(events=[event], more=1))
    assert ipyactors.load_events(path) == [Event(EventKind.ACTOR_DIED, 1.0, "x")]


def test_a_file_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError):
        ipyactors.load_events(tmp_path / "none.json")
