"""Whose notebook this process is the kernel of, and which session an earlier kernel of it has left."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import types
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ipyactors.ground.config import SessionPaths
from ipyactors.launch import notebooks
from ipyactors.launch.address import SessionNote, publish, read_note
from ipyactors.wire import liveness
from ipyactors.wire.liveness import Identity

# -- the notebook ------------------------------------------------------------------------------------------------------


def put_shell(monkeypatch: pytest.MonkeyPatch, **shell: Any) -> None:
    module: Any = types.ModuleType("IPython")
    module.get_ipython = lambda: types.SimpleNamespace(**shell) if shell else None
    monkeypatch.setitem(sys.modules, "IPython", module)


@pytest.fixture(autouse=True)
def _no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IPYACTORS_NOTEBOOK", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    put_shell(monkeypatch)


def test_a_script_and_a_terminal_have_none_also_below_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/ada/bank.ipynb")
    assert notebooks.this_notebook() == ""
    put_shell(monkeypatch, user_ns={})
    assert notebooks.this_notebook() == ""


def test_a_kernel_knows_it_by_its_front_end(monkeypatch: pytest.MonkeyPatch) -> None:
    put_shell(monkeypatch, kernel=object(), user_ns={})
    assert notebooks.this_notebook() == ""
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/ada/bank.ipynb")
    assert notebooks.this_notebook() == "/home/ada/bank.ipynb"
    put_shell(monkeypatch, kernel=object(), user_ns={"__vsc_ipynb_file__": "/home/ada/other.ipynb"})
    assert notebooks.this_notebook() == "/home/ada/other.ipynb"


def test_the_variable_says_it_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYACTORS_NOTEBOOK", "bank.ipynb")
    assert notebooks.this_notebook() == os.path.realpath(tmp_path / "bank.ipynb")


# -- the session -------------------------------------------------------------------------------------------------------

GONE = Identity(1 << 22, 1)


def me() -> Identity:
    found = liveness.identify(os.getpid())
    assert found is not None
    return found


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    monkeypatch.setenv("IPYACTORS_HOME", str(tmp_path))
    (tmp_path / "sessions").mkdir()
    return tmp_path / "sessions"


@pytest.fixture
def other() -> Iterator[Identity]:
    """Another process, which lives."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        found = liveness.identify(process.pid)
        assert found is not None
        yield found


def add(sessions: pathlib.Path, name: str, notebook: str, by: Identity, agent: Identity | None = None) -> None:
    """A session with an agent that lives, unless another is given, driven by a process."""
    folder = sessions / name
    folder.mkdir()
    publish(SessionNote(SessionPaths(name, str(folder), "/run"), b"n", agent or me()))
    notebooks.sign(str(folder), notebook, {"num_cpus": 2.0, "nodes": ({"num_cpus": 1.0},)})
    note = read_note(folder)
    assert note is not None
    assert note.driven is not None
    publish(msgspec.structs.replace(note, driven=msgspec.structs.replace(note.driven, by=by)))


def test_a_session_is_found_once_and_with_what_it_was_started_with(sessions: pathlib.Path, other: Identity) -> None:
    add(sessions, "ended", "/bank.ipynb", GONE, agent=GONE)
    add(sessions, "taken", "/bank.ipynb", other)
    add(sessions, "another's", "/other.ipynb", GONE)
    assert notebooks.claim("/bank.ipynb") is None
    add(sessions, "left", "/bank.ipynb", GONE)
    found = notebooks.claim("/bank.ipynb")
    assert found is not None
    assert found.paths.name == "left"
    assert found.driven is not None
    assert found.driven.started_with == {"num_cpus": 2.0, "nodes": [{"num_cpus": 1.0}]}
    note = read_note(sessions / "left")
    assert note is not None
    assert note.driven is not None
    assert note.driven.by == me()


def test_what_another_kernel_holds_is_not_left(sessions: pathlib.Path, other: Identity) -> None:
    for name, notebook, by in (
        ("taken", "/bank.ipynb", other),
        ("left", "/bank.ipynb", GONE),
        ("mine", "/bank.ipynb", me()),
        ("another's", "/other.ipynb", other),
    ):
        add(sessions, name, notebook, by)
    assert [note.paths.name for note in notebooks.held("/bank.ipynb")] == ["taken"]
    assert {note.paths.name for note in notebooks.left("/bank.ipynb")} == {"left", "mine"}
    assert notebooks.held("") == []


def test_by_name_only_that_one_is_found(sessions: pathlib.Path) -> None:
    add(sessions, "left", "/bank.ipynb", GONE)
    assert notebooks.claim("/bank.ipynb", "wanted") is None
    assert notebooks.claim("/bank.ipynb", "left") is not None


def test_who_has_left_it_finds_it_again(sessions: pathlib.Path) -> None:
    add(sessions, "left", "/bank.ipynb", me())
    assert notebooks.claim("/bank.ipynb") is not None


def test_without_any_session_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("IPYACTORS_HOME", str(tmp_path / "new"))
    assert notebooks.claim("/bank.ipynb") is None


def test_who_leaves_a_session_drives_it_no_more_and_may_come_back(sessions: pathlib.Path, other: Identity) -> None:
    add(sessions, "one", "/bank.ipynb", me())
    add(sessions, "theirs", "/bank.ipynb", other)
    for name in ("one", "theirs"):
        notebooks.unsign(str(sessions / name))
    unsigned, theirs = read_note(sessions / "one"), read_note(sessions / "theirs")
    assert unsigned is not None
    assert theirs is not None
    assert [unsigned.driven and unsigned.driven.by, theirs.driven and theirs.driven.by] == [None, other]
    assert [note.paths.name for note in notebooks.left("/bank.ipynb")] == ["one"]
    found = notebooks.claim("/bank.ipynb")
    assert found is not None
    assert found.paths.name == "one"
