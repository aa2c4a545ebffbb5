"""Sessions' folders, their locks, the sweep; and how processes are called."""

from __future__ import annotations

import os
import pathlib
import stat
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ipyactors.ground.config import SOCKET_PATH_BYTES
from ipyactors.ground.exceptions import StartError
from ipyactors.launch import argv, folders
from ipyactors.launch.leftovers import ProcessList, end_leftovers, read_processes
from ipyactors.launch.sessions import KEEP_SESSIONS, PreparedSession, prepare_session, sweep_sessions
from ipyactors.wire import liveness


@pytest.fixture(autouse=True)
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("IPYACTORS_HOME", str(tmp_path / "home"))
    runtime = tmp_path / "r"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    return tmp_path / "home"


@pytest.fixture
def session(home: pathlib.Path) -> Iterator[PreparedSession]:
    made = prepare_session("one")
    yield made
    made.discard()


def test_all_folders_are_private(session: PreparedSession) -> None:
    paths = session.paths
    for folder in (paths.state_dir, paths.run_dir, paths.store_dir, paths.spill_dir):
        assert stat.S_IMODE(os.lstat(folder).st_mode) == 0o700
    assert not os.get_inheritable(session.lock_fd)


def test_a_live_session_is_neither_made_again_nor_swept(session: PreparedSession) -> None:
    with pytest.raises(StartError, match="live session"):
        prepare_session("one")
    sweep_sessions()
    assert os.path.isdir(session.paths.run_dir)


def test_a_stale_session_is_swept(session: PreparedSession, sleeper: subprocess.Popen[bytes]) -> None:
    identity = liveness.identify(sleeper.pid)
    assert identity is not None
    written = ProcessList(session.paths)
    written.add(identity)
    written.close()
    session.release()
    sweep_sessions()
    assert sleeper.wait(30) == -9
    assert not os.path.exists(session.paths.run_dir)
    assert os.path.isdir(session.paths.state_dir)


@pytest.mark.parametrize("end", ["discarded", "swept"])
def test_the_store_goes_with_its_session(session: PreparedSession, end: str) -> None:
    for folder in (session.paths.store_dir, session.paths.spill_dir):
        (pathlib.Path(folder) / "a segment").write_bytes(b"value")
    if end == "discarded":
        session.discard()
    else:
        session.release()
        sweep_sessions()
    assert not os.path.exists(session.paths.store_dir)
    assert not os.path.exists(session.paths.spill_dir)


def test_a_store_is_in_memory_where_that_can_be(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_SMALL_BYTES", 0)
    monkeypatch.setenv("IPYACTORS_MEMORY_DIR", str(tmp_path))
    named = prepare_session()
    monkeypatch.delenv("IPYACTORS_MEMORY_DIR")
    usual = prepare_session()
    monkeypatch.setattr(folders, "_SHARED_MEMORY", str(tmp_path))  # no file system of its own
    without = prepare_session()
    monkeypatch.setenv("IPYACTORS_MEMORY_DIR", str(tmp_path / "missing"))
    missing = prepare_session()
    made = (named, usual, without, missing)
    try:
        assert os.path.dirname(named.paths.store_dir) == str(tmp_path)
        if folders._is_in_memory("/dev/shm"):
            assert os.path.dirname(usual.paths.store_dir) == "/dev/shm"
        assert os.path.dirname(without.paths.store_dir) == without.paths.run_dir
        assert os.path.dirname(missing.paths.store_dir) == missing.paths.run_dir
        assert all(os.path.basename(one.paths.store_dir).startswith("ipyactors-") for one in made)
    finally:
        for one in made:
            one.discard()
    assert not [one for one in made if os.path.exists(one.paths.store_dir)]


def test_little_shared_memory_is_told_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_SMALL_BYTES", 1 << 62)
    with pytest.warns(UserWarning, match="--shm-size"):
        prepare_session().discard()


def test_a_name_may_be_used_again_after_its_session_ended(session: PreparedSession) -> None:
    session.release()
    again = prepare_session("one")
    assert not os.path.exists(session.paths.run_dir)
    again.discard()


def test_another_process_with_a_recorded_pid_is_spared(
    session: PreparedSession, sleeper: subprocess.Popen[bytes]
) -> None:
    identity = liveness.identify(sleeper.pid)
    assert identity is not None
    written = ProcessList(session.paths)
    written.add(identity._replace(started=identity.started - 1))
    written.close()
    note = pathlib.Path(session.paths.state_dir) / "processes"
    note.write_text(note.read_text() + f"another-boot {identity.pid} {identity.started}\ngarbage\n-1 x y\n")
    assert len(read_processes(session.paths.state_dir)) == 1
    assert end_leftovers(session.paths.state_dir) == 0
    assert sleeper.poll() is None


def test_only_the_newest_logs_are_kept(home: pathlib.Path) -> None:
    for number in range(KEEP_SESSIONS + 3):
        made = prepare_session(f"s{number}")
        made.discard()
        os.utime(made.paths.state_dir, (number, number))
    sweep_sessions()
    kept = sorted(path.name for path in (home / "sessions").iterdir())
    assert kept == [f"s{number}" for number in range(3, KEEP_SESSIONS + 3)]


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "/abs"])
def test_a_session_name_is_a_plain_name(name: str) -> None:
    with pytest.raises(StartError, match="plain folder name"):
        prepare_session(name)


def test_a_state_folder_that_others_can_enter_is_refused(home: pathlib.Path) -> None:
    (home / "sessions" / "open").mkdir(parents=True)
    (home / "sessions" / "open").chmod(0o755)
    with pytest.raises(StartError, match="0700"):
        prepare_session("open")


def test_a_link_is_never_followed(home: pathlib.Path, tmp_path: pathlib.Path) -> None:
    target = tmp_path / "ipyactors-target"
    target.mkdir(mode=0o700)
    (target / "precious").touch()
    link = tmp_path / "ipyactors-link"
    link.symlink_to(target)
    folders.remove_folder(link)
    assert (target / "precious").exists()
    (home / "sessions").mkdir(parents=True)
    (home / "sessions" / "linked").symlink_to(target)
    with pytest.raises(StartError):
        prepare_session("linked")


def test_a_long_runtime_folder_is_passed_over(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    made = prepare_session()
    assert not made.paths.run_dir.startswith(str(deep))
    made.discard()
    monkeypatch.setattr(folders, "SOCKET_PATH_BYTES", 10)
    with pytest.raises(StartError, match="XDG_RUNTIME_DIR"):
        prepare_session()
    assert SOCKET_PATH_BYTES > 100


def test_thread_limits_are_set_only_where_nobody_set_them() -> None:
    made = argv.worker_environment({"OMP_NUM_THREADS": "4", "A": "b"})
    assert set(made) == set(argv.THREAD_LIMITS) - {"OMP_NUM_THREADS"}
    assert set(made.values()) == {"1"}


def test_a_role_is_found_through_the_path_that_it_is_given(tmp_path: pathlib.Path) -> None:
    package, neighbours = tmp_path / "package", tmp_path / "neighbours"
    package.mkdir()
    neighbours.mkdir()
    (package / "role.py").write_text("import helper, sys\ndef main(): print(helper.x, sys.argv[2:], sys.stdin.read())")
    (neighbours / "helper.py").write_text("x = 5")
    # A neighbour with the name of a module of Python's own must not be taken for it.
    (neighbours / "json.py").write_text("raise SystemExit('shadowed')")
    done = subprocess.run(
        argv.role_argv(sys.executable, "role:main", ["a"]),
        input=argv.role_input(str(package), ["", str(neighbours)], b"config"),
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout.decode().split() == ["5", "['a']", "config"]
