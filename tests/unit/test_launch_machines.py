"""Further machines of a session: their folders and what is swept of them; and how a session is found."""

from __future__ import annotations

import os
import pathlib
import stat
import subprocess
from collections.abc import Iterator

import pytest

from ipyactors.ground.config import SessionPaths
from ipyactors.ground.exceptions import OptionError, SessionError, StartError
from ipyactors.launch import machines
from ipyactors.launch.address import SessionNote, find_session, publish, unpublish
from ipyactors.launch.cluster import Offer
from ipyactors.launch.folders import PreparedSession, remove_folders
from ipyactors.launch.leftovers import ProcessList
from ipyactors.launch.sessions import prepare_session, sweep_sessions
from ipyactors.launch.visiting import VisitedAgent
from ipyactors.wire import liveness
from ipyactors.wire.liveness import Identity

NODE = b"nABCDEFG"


@pytest.fixture(autouse=True)
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("IPYACTORS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def session(home: pathlib.Path) -> Iterator[PreparedSession]:
    made = prepare_session("one")
    yield made
    machines.sweep_machines(made.paths.state_dir)
    made.discard()


def myself() -> Identity:
    identity = liveness.identify(os.getpid())
    assert identity is not None
    return identity


# -- folders -----------------------------------------------------------------------------------------------------------


def test_a_further_machine_has_folders_of_its_own(session: PreparedSession) -> None:
    first = session.paths
    further = machines.prepare_machine(first, NODE).paths
    for folder in (further.run_dir, further.store_dir, further.node_dir, further.spill_dir):
        assert stat.S_IMODE(os.lstat(folder).st_mode) == 0o700
        assert folder not in (first.run_dir, first.store_dir, first.node_dir, first.spill_dir)
    assert further.head_address == first.head_address
    assert further.first_agent_address == first.agent_address == first.first_agent_address
    assert further.agent_address != first.agent_address
    assert further.node_dir == f"{first.state_dir}/nodes/6e41424344"
    assert further.role_log_path("agent") != first.role_log_path("agent")
    assert further.log_path(b"w1") == first.log_path(b"w1")


def test_a_machine_is_swept_with_its_processes(session: PreparedSession, sleeper: subprocess.Popen[bytes]) -> None:
    further = machines.prepare_machine(session.paths, NODE).paths
    identity = liveness.identify(sleeper.pid)
    assert identity is not None
    written = ProcessList(further)
    written.add(identity)
    written.close()
    pathlib.Path(further.store_dir, "segment").touch()
    machines.sweep_machine(machines.folder_of(session.paths.state_dir, further.label))
    assert sleeper.wait(30) == -9
    for folder in (further.run_dir, further.store_dir, further.node_dir):
        assert not os.path.exists(folder)
    assert os.path.isdir(session.paths.run_dir)
    assert os.path.isdir(session.paths.store_dir)


def test_machines_are_swept_with_their_session(session: PreparedSession) -> None:
    folders = [machines.prepare_machine(session.paths, bytes([65 + n]) * 8).paths.run_dir for n in range(3)]
    session.release()
    sweep_sessions()
    assert not any(map(os.path.exists, folders))
    assert not os.path.exists(os.path.join(session.paths.state_dir, "nodes"))


def test_no_machine_joins_a_session_that_has_ended(session: PreparedSession) -> None:
    remove_folders(session.paths.node_dir)
    with pytest.raises(StartError, match=r"the session has ended.*Start another one: init"):
        machines.prepare_machine(session.paths, NODE)


def test_an_offer_leaves_out_what_is_to_be_detected() -> None:
    offer = Offer(num_cpus=1.5, num_gpus=0, resources={"b": 2})
    assert offer.total == {"CPU": 15_000, "GPU": 0, "b": 20_000}


# -- addresses ---------------------------------------------------------------------------------------------------------


def test_a_session_is_found_by_name_and_by_folder(session: PreparedSession) -> None:
    note = SessionNote(session.paths, NODE, myself(), "space", 5)
    publish(note)
    assert find_session("one") == find_session(session.paths.state_dir) == note
    unpublish(session.paths.state_dir)
    unpublish(session.paths.state_dir)
    with pytest.raises(SessionError, match="has ended, or was not started"):
        find_session("one")


def test_a_session_whose_agent_is_gone_has_ended(session: PreparedSession) -> None:
    publish(SessionNote(session.paths, NODE, myself()._replace(started=1)))
    with pytest.raises(SessionError, match=r"address='one'.* its agent, process \d+, is gone"):
        find_session("one")


@pytest.mark.parametrize("address", ["", "a/b", ".hidden", "../up"])
def test_an_address_is_a_name_or_an_absolute_path(address: str) -> None:
    with pytest.raises(OptionError, match="takes the name of a session"):
        find_session(address)


@pytest.mark.parametrize("address", ["never", "/nowhere/at/all"])
def test_there_is_no_session_at_an_unknown_address(address: str) -> None:
    with pytest.raises(SessionError, match="does not exist"):
        find_session(address)


def test_who_names_no_session_is_told_which_there_are(session: PreparedSession) -> None:
    with pytest.raises(
        SessionError, match=r"Nothing was started\. No session is live here: call init\(\) without address"
    ):
        find_session("auto")
    publish(SessionNote(session.paths, NODE, myself()))
    for address in ("auto", "/nowhere"):
        with pytest.raises(SessionError, match=r"or of its folder\. Live ones: one\.|Live ones: one\.") as caught:
            find_session(address)
        assert "cluster.address" in str(caught.value)


def test_who_comes_too_late_is_told_so(tmp_path: pathlib.Path) -> None:
    paths = SessionPaths("one", str(tmp_path), str(tmp_path))
    note = SessionNote(paths, NODE, myself())
    with pytest.raises(SessionError, match="does not listen"):
        VisitedAgent(note)
    os.mkfifo(paths.alive_path)
    with pytest.raises(SessionError, match="has ended, or is just starting or ending"):
        VisitedAgent(note)
    reading = os.open(paths.alive_path, os.O_RDONLY | os.O_NONBLOCK)
    visited = VisitedAgent(note)
    os.close(reading)
    visited.leave()
    visited.leave()
