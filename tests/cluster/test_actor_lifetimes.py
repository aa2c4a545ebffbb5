"""How actors end, by whose hand, what restarts them, and what their callers read about it."""

from __future__ import annotations

import os
import pathlib
import signal
import sys
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.exceptions import ActorDiedError, ActorError, ActorNotFoundError, ActorUnavailableError
from tests.support.actors import Keeper, Log, get, wait_for, wait_until_gone

pytestmark = pytest.mark.usefixtures("shared_runtime")


@ia.remote
class Fragile:
    """Can be made to wait, to die, to leave."""

    def __init__(self) -> None:
        self.calls = 0

    def call(self) -> int:
        self.calls += 1
        return self.calls

    def pid(self) -> int:
        return os.getpid()

    def look(self) -> tuple[int, bool]:
        context = ia.get_runtime_context()
        return context.get_incarnation(), context.was_current_actor_reconstructed

    def mark_and_wait(self, folder: pathlib.Path) -> int:
        """Leave a mark for each attempt, and wait in the first."""
        attempts = len(list(folder.glob("attempt-*")))
        (folder / f"attempt-{attempts}").touch()
        if not attempts:
            wait_for(folder / "never")
        return attempts

    def leave(self) -> str:
        try:
            ia.actor.exit_actor()
        except Exception:
            return "an actor's own error handling must not stop its end"

    def leave_and_swallow_everything(self) -> str:
        try:
            ia.actor.exit_actor()
        except:  # noqa: E722 - what a user may have written around the call
            return "nor must this"

    def die(self, code: int, *words: str) -> None:
        for line in words:
            print(line, file=sys.stderr)
        os._exit(code)


def state_of(actor_id: str) -> str:
    return next(row["state"] for row in ia.list_actors() if row["actor_id"] == actor_id)


def kill_with_a_call_under_way(actor: Any, folder: pathlib.Path, call: Any) -> list[Any]:
    """Kill the actor's process while its ``mark_and_wait`` runs and ``call`` s wait behind; return the references."""
    pid = get(actor.pid.remote())
    refs = [actor.mark_and_wait.remote(folder), *(call.remote() for _ in range(5))]
    wait_for(folder / "attempt-0")
    os.kill(pid, signal.SIGKILL)
    return refs


# -- restarts ----------------------------------------------------------------------------------------------------------


def test_without_restarts_all_calls_fail_and_say_what_became_of_them(tmp_path: pathlib.Path) -> None:
    actor = Fragile.remote()
    running, *waiting = kill_with_a_call_under_way(actor, tmp_path, actor.call)
    with pytest.raises(ActorDiedError, match="killed by SIGKILL") as caught:
        get(running)
    assert "Fragile.mark_and_wait had started and may have taken effect" in str(caught.value)
    assert (caught.value.signal, caught.value.started) == (signal.SIGKILL, True)
    for ref in waiting:
        with pytest.raises(ActorDiedError, match=r"The call Fragile\.call was not run"):
            get(ref)
    with pytest.raises(ActorDiedError, match=r"The call Fragile\.call was not run.*max_restarts=n lets it come back"):
        get(actor.call.remote())
    assert "dead: its process was killed by SIGKILL" in ia.explain(actor)


def test_a_restart_resends_what_had_not_started_and_fails_what_ran(tmp_path: pathlib.Path) -> None:
    actor = Fragile.options(max_restarts=1).remote()
    running, *waiting = kill_with_a_call_under_way(actor, tmp_path, actor.call)
    with pytest.raises(ActorUnavailableError, match=r"incarnation 0\).*SIGKILL.*mark_and_wait had started") as caught:
        get(running)
    assert "max_task_retries" in str(caught.value)
    assert get(waiting) == [1, 2, 3, 4, 5], "the state is new, the calls are all there, in order"
    assert get(actor.look.remote()) == (1, True)
    assert "(incarnation 1, 0 restarts left)" in ia.explain(actor)


def test_with_task_retries_the_running_call_is_run_again_before_those_behind_it(tmp_path: pathlib.Path) -> None:
    actor = Fragile.options(max_restarts=1, max_task_retries=1).remote()
    refs = kill_with_a_call_under_way(actor, tmp_path, actor.call)
    assert get(refs) == [1, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_an_actor_restarts_as_often_as_it_may(allowed: int) -> None:
    actor = Fragile.options(max_restarts=allowed).remote()
    for incarnation in range(allowed):
        assert get(actor.look.remote())[0] == incarnation
        os.kill(get(actor.pid.remote()), signal.SIGKILL)
    assert get(actor.look.remote())[0] == allowed
    with pytest.raises(ActorDiedError) as caught:
        get(actor.die.remote(7))
    assert caught.value.incarnation == allowed
    assert ("max_restarts are used up" in str(caught.value)) == (allowed > 0)


def test_without_limit_it_always_comes_back() -> None:
    actor = Fragile.options(max_restarts=-1).remote()
    for incarnation in range(8):
        assert get(actor.look.remote()) == (incarnation, incarnation > 0)
        actor.die.remote(1)
    assert get(actor.call.remote()) == 1
    assert "no limit to its restarts" in ia.explain(actor)


def test_a_call_made_while_the_actor_restarts_waits_and_costs_no_retry(tmp_path: pathlib.Path) -> None:
    @ia.remote(max_restarts=2)
    class SlowToStart:
        def __init__(self, folder: pathlib.Path) -> None:
            if ia.get_runtime_context().was_current_actor_reconstructed:
                (folder / "restarting").touch()
                wait_for(folder / "go")

        def pid(self) -> int:
            return os.getpid()

    actor = SlowToStart.remote(tmp_path)
    os.kill(get(actor.pid.remote()), signal.SIGKILL)
    wait_for(tmp_path / "restarting")
    refs = [actor.pid.remote() for _ in range(3)]
    assert "is restarting (1 restarts left): its process was killed by SIGKILL" in ia.explain(actor)
    assert "Calls of this process: 0 with it, 3 waiting." in ia.explain(refs[0])
    assert ia.wait(refs, timeout=0) == ([], refs)
    (tmp_path / "go").touch()
    assert len(set(get(refs))) == 1, "max_task_retries is 0, and all three were answered"


def test_which_max_task_retries_counts(tmp_path: pathlib.Path) -> None:
    """The call's own before the method's, that before the options', that before the decorator's."""

    @ia.remote(max_restarts=-1, max_task_retries=1)
    class Crashing:
        @ia.method(max_task_retries=3)
        def marked(self, path: pathlib.Path) -> None:
            with path.open("a") as file:
                file.write("x")
            os._exit(1)

        def plain(self, path: pathlib.Path) -> None:
            with path.open("a") as file:
                file.write("x")
            os._exit(1)

    decorated, optioned = Crashing.remote(), Crashing.options(max_task_retries=2).remote()
    calls = {
        2: decorated.plain,
        3: optioned.plain,
        4: optioned.marked,
        1: optioned.marked.options(max_task_retries=0),
    }
    for attempts, method in calls.items():
        path = tmp_path / str(attempts)
        with pytest.raises(ActorUnavailableError, match="exited with code 1"):
            get(method.remote(path))
        assert len(path.read_text()) == attempts


def test_exceptions_are_retried_only_when_asked_for(tmp_path: pathlib.Path) -> None:
    @ia.remote
    class Moody:
        def fail_twice(self, path: pathlib.Path) -> int:
            with path.open("a") as file:
                file.write("x")
            attempts = len(path.read_text())
            if attempts < 3:
                raise KeyError(attempts)
            return attempts

    moody = Moody.remote()
    method = moody.fail_twice
    with pytest.raises(KeyError):
        get(method.remote(tmp_path / "plain"))
    assert get(method.options(max_task_retries=2, retry_exceptions=True).remote(tmp_path / "all")) == 3
    assert get(method.options(max_task_retries=2, retry_exceptions=[KeyError]).remote(tmp_path / "these")) == 3
    with pytest.raises(KeyError):
        get(method.options(max_task_retries=2, retry_exceptions=[OSError]).remote(tmp_path / "others"))


# -- constructors ------------------------------------------------------------------------------------------------------


def test_an_exception_in_the_constructor_is_final_whatever_max_restarts_says() -> None:
    @ia.remote(max_restarts=5)
    class Broken:
        def __init__(self) -> None:
            raise ValueError("no such account")

        def call(self) -> None: ...

    broken = Broken.remote()
    with pytest.raises(ActorDiedError, match="its constructor raised ValueError: no such account") as caught:
        get(broken.call.remote())
    assert "An exception in __init__ is final" in str(caught.value)
    assert 'raise ValueError("no such account")' in str(caught.value)
    assert "worker/" not in str(caught.value), "our own frames are of no use to the user"
    assert caught.value.incarnation == 0


def test_a_crash_in_the_constructor_is_a_restart(tmp_path: pathlib.Path) -> None:
    @ia.remote(max_restarts=2)
    class Stumbling:
        def __init__(self, folder: pathlib.Path) -> None:
            number = len(list(folder.iterdir()))
            (folder / str(number)).touch()
            if number < 2:
                os.kill(os.getpid(), signal.SIGKILL)

        def look(self) -> int:
            return ia.get_runtime_context().get_incarnation()

    assert get(Stumbling.remote(tmp_path).look.remote()) == 2


def test_a_constructor_that_always_crashes_is_given_up_in_clear_words() -> None:
    @ia.remote(max_restarts=-1)
    class Hopeless:
        def __init__(self) -> None:
            os._exit(3)

        def call(self) -> None: ...

    with pytest.raises(ActorDiedError, match="exited with code 3") as caught:
        get(Hopeless.remote().call.remote())
    assert "given up after 5 restarts in 60 s in which its constructor never returned" in str(caught.value)
    assert "-1 means no limit" not in str(caught.value), "the limit was not what ended it"


def test_a_failed_argument_of_the_constructor_is_the_outcome_of_every_call() -> None:
    @ia.remote
    def fail() -> None:
        raise LookupError("no value")

    keeper = Keeper.remote(fail.remote())
    for _ in range(2):
        with pytest.raises(LookupError, match="no value"):
            get(keeper.give.remote())


# -- what a death report says ------------------------------------------------------------------------------------------


def test_a_death_report_tells_the_code_the_last_words_and_the_incarnation() -> None:
    actor = Fragile.options(name="mortal", max_restarts=1).remote()
    os.kill(get(actor.pid.remote()), signal.SIGTERM)
    with pytest.raises(ActorDiedError) as caught:
        get(actor.die.remote(42, "the disk is full", "good bye"))
    text = str(caught.value)
    assert "Actor Fragile 'mortal' (incarnation 1) is dead: its process exited with code 42" in text
    assert "    the disk is full\n    good bye" in text
    assert (caught.value.exit_code, caught.value.incarnation) == (42, 1)


# -- ends --------------------------------------------------------------------------------------------------------------


def test_kill_is_final_unless_a_restart_is_allowed() -> None:
    actor = Fragile.options(max_restarts=1).remote()
    assert get(actor.call.remote()) == 1
    ia.kill(actor, no_restart=False)
    assert get(actor.look.remote()) == (1, True)
    ia.kill(actor)
    with pytest.raises(ActorDiedError, match=r"was ended on purpose \(kill\(\)\).*was not run.*Create the actor again"):
        get(actor.call.remote())
    ia.kill(actor)  # twice is no error


def test_kill_frees_the_name_at_once() -> None:
    first = Log.options(name="phoenix").remote()
    get(first.add.remote(1))
    ia.kill(first)
    with pytest.raises(ActorNotFoundError):
        ia.get_actor("phoenix")
    second = Log.options(name="phoenix").remote()
    assert get(second.read.remote()) == []


@pytest.mark.parametrize("method", ["leave", "leave_and_swallow_everything"])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_exit_actor_ends_it_whatever_the_method_catches_and_restarts_nothing(method: str, concurrency: int) -> None:
    actor = Fragile.options(max_restarts=-1, max_concurrency=concurrency).remote()
    assert get(actor.call.remote()) == 1
    leaving = getattr(actor, method).remote()
    with pytest.raises(ActorDiedError, match=rf"exit_actor\(\) was called in Fragile\.{method}\)"):
        get(leaving)
    with pytest.raises(ActorDiedError, match=r"was not run\. Create the actor again"):
        get(actor.call.remote())
    with pytest.raises(TypeError, match="outside an actor"):
        ia.actor.exit_actor()


def test_terminate_ends_it_after_the_calls_that_were_made_before() -> None:
    actor = Fragile.options(max_restarts=3).remote()
    refs = [actor.call.remote() for _ in range(200)]
    actor.__ray_terminate__.remote()
    late = actor.call.remote()
    assert get(refs) == list(range(1, 201))
    with pytest.raises(ActorDiedError, match="on purpose"):
        get(late)


def test_it_ends_when_the_last_handle_goes_and_not_before() -> None:
    actor = Fragile.remote()
    pid, ref = get(actor.pid.remote()), actor.call.remote()
    another = actor
    del actor
    assert get(another.call.remote()) == 2
    last = another.call.remote()
    del another
    assert get([ref, last]) == [1, 3], "calls under way are answered although nobody has a handle"
    wait_until_gone(pid)


def test_an_actor_that_keeps_a_handle_keeps_the_other_alive_until_it_lets_go() -> None:
    log = Log.remote()
    pid = get(log.pid.remote())
    keeper = Keeper.remote([log])
    del log
    [held] = get(keeper.give.remote())
    assert get(held.pid.remote()) == pid
    del held
    assert get(keeper.give.remote())[0] is not None
    get(keeper.keep.remote(None))
    ia.kill(keeper)
    wait_until_gone(pid)


def test_a_handle_that_is_only_a_constructors_argument_keeps_its_actor_alive_through_restarts() -> None:
    keeper = Keeper.options(max_restarts=1).remote(Log.remote())
    assert get(keeper.tell.remote("once")) == "once"
    ia.kill(keeper, no_restart=False)
    assert get(keeper.tell.remote("twice")) == "twice"
    assert get(get(keeper.give.remote()).read.remote()) == ["once", "twice"]


def test_it_ends_with_the_process_that_created_it_and_a_detached_one_does_not() -> None:
    @ia.remote
    class Parent:
        def __init__(self) -> None:
            self.child = Fragile.options(max_restarts=-1).remote()
            self.detached = Fragile.options(name="orphan", lifetime="detached").remote()

        def children(self) -> tuple[Any, Any]:
            return self.child, self.detached

        def pids(self) -> list[int]:
            return [os.getpid(), ia.get(self.child.pid.remote()), ia.get(self.detached.pid.remote())]

    parent = Parent.remote()
    child, detached = get(parent.children.remote())
    parent_pid, child_pid, detached_pid = get(parent.pids.remote())
    os.kill(parent_pid, signal.SIGKILL)
    with pytest.raises(ActorDiedError, match="process that created it is gone"):
        while True:
            get(child.call.remote())
    wait_until_gone(child_pid)
    assert get(detached.pid.remote()) == detached_pid
    del detached
    assert get(ia.get_actor("orphan").pid.remote()) == detached_pid
    ia.kill(ia.get_actor("orphan"))
    wait_until_gone(detached_pid)


def test_every_error_of_a_dead_actor_is_an_actor_error_with_its_id() -> None:
    actor = Fragile.remote()
    ia.kill(actor)
    with pytest.raises(ActorError) as caught:
        get(actor.call.remote())
    assert state_of(caught.value.actor_id) == "dead"
    assert caught.value.actor_id in {row["actor_id"] for row in ia.list_actors() if "kill()" in row["death"]}
