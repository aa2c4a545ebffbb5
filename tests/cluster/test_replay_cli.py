"""``ipyactors replay``: logs that real actors have left, done again in processes that know no session."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import shutil
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from ipyactors.cli.main import main
from ipyactors.durable.record import Call
from ipyactors.ground.checkpointable import Checkpoint, Checkpointable, CheckpointContext
from tests.support.durable import folder, get, kill, records, status
from tests.support.gates import Gate, until


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


def run(*words: object) -> Result:
    done = CliRunner().invoke(main, ["replay", *map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def ask(*words: object) -> dict[str, Any]:
    """Return what programs are told of one actor."""
    (actor,) = json.loads(run("--json", *words).stdout)["actors"]
    assert isinstance(actor, dict)
    return actor


def copy(handle: Any, tmp_path: pathlib.Path) -> pathlib.Path:
    """Copy an actor's folder; what happens to the copy is no concern of the actor's."""
    path = folder(handle)
    return pathlib.Path(shutil.copytree(path, tmp_path / "actors" / path.name))


def contents(path: pathlib.Path) -> dict[str, tuple[bytes, int]]:
    return {one.name: (one.read_bytes(), one.stat().st_mtime_ns) for one in path.iterdir()}


def make_branch(ia: Any) -> tuple[Any, Any]:
    @ia.remote
    def double(number: int) -> int:
        return 2 * number

    @ia.remote
    class Teller:
        def __init__(self) -> None:
            self.sum = 0

        def add(self, amount: int) -> int:
            self.sum += amount
            return self.sum

    @ia.remote(durable=True, max_concurrency=1)
    class Branch:
        def __init__(self, opening: int) -> None:
            context = ia.get_runtime_context()
            self.balance, self.born, self.odd = opening, context.now(), context.random()
            self.teller = Teller.remote()
            self.kept: Any = None

        def nest(self, amount: int) -> list[int]:
            refs = [double.remote(amount), self.teller.add.remote(amount)]
            self.kept = refs[1]
            ready, rest = ia.wait(refs, num_returns=1)
            assert len(ready) == len(rest) == 1
            return list(ia.get(refs))

        def follow(self, count: int) -> list[int]:
            return [ia.get(ref) for ref in ia.as_completed([double.remote(index) for index in range(count)])]

        def ask_again(self) -> int:
            return int(ia.get(self.kept))

        def forget(self) -> None:
            self.kept = None

        def measure(self) -> tuple[float, str]:
            context = ia.get_runtime_context()
            return context.once(time.time), str(context.uuid4())

        def take(self, handles: list[Any], refs: list[Any], array: Any) -> float:
            self.balance += ia.get(handles[0].add.remote(5))
            return float(ia.get(refs[0]).sum() + array.sum())

        def value(self, array: Any) -> Any:
            return array + 1

        def fail(self) -> None:
            print("about to fail")
            raise LookupError(f"no such account {object()!r}")

        async def rest(self, number: int) -> int:
            await asyncio.sleep(0)
            return int(await double.remote(number))

    return Branch, Teller


def test_all_that_a_method_can_take_from_outside_is_given_again(ia: Any, tmp_path: pathlib.Path) -> None:
    branch_class, teller_class = make_branch(ia)
    branch, teller = branch_class.remote(100), teller_class.remote()
    get([branch.nest.remote(3), branch.follow.remote(4), branch.ask_again.remote(), branch.measure.remote()])
    kill(branch)
    large = ia.put(np.ones(100_000))
    get(branch.take.remote([teller], [large], np.ones(200_000)))
    get([branch.value.remote(large), branch.rest.remote(4)])
    with pytest.raises(LookupError):
        get(branch.fail.remote())
    path = copy(branch, tmp_path)
    before = contents(path)
    done = run(path, "-v", "--state")
    assert done.exit_code == 0, done.stdout
    assert "8 calls replayed in" in done.stdout
    assert "s from the constructor; every one ended as the log says." in done.stdout
    assert "Branch.fail  raised" in done.stdout
    assert "balance = 105" in done.stdout
    assert "about to fail" not in done.stdout
    assert contents(path) == before
    assert ask(path, "--verify")["status"] == 0


def test_every_checkpoint_must_come_to_the_same_end(ia: Any, tmp_path: pathlib.Path) -> None:
    branch_class, _ = make_branch(ia)
    branch = branch_class.remote(100)
    for number in range(3):
        get([branch.nest.remote(number), branch.forget.remote(), branch.checkpoint()])
    get(branch.nest.remote(7))
    path = copy(branch, tmp_path)
    told = ask(path, "--verify")
    assert told["status"] == 0, told
    froms = [(one["from_lsn"], one["calls"], one.get("differences")) for one in told["replays"]]
    assert froms[-3:] == [(2, 5, []), (4, 3, []), (6, 1, [])]
    assert "all came to the same end (lsn 7)" in told["verdict"]
    newest = ask(path, "--from", "newest")["replays"]
    assert [(one["from_lsn"], one["calls"]) for one in newest] == [(6, 1)]
    # A checkpoint that is not what the log comes to.
    data = next(one for one in path.glob("data-*") if one.name == f"data-{newest[0]['from']}")
    data.write_bytes(data.read_bytes()[:-1])
    told = ask(path, "--verify")
    assert told["status"] == 2
    assert [one["status"] for one in told["replays"]][-3:] == [0, 0, 2]
    assert "fsck" in run(path, "--verify").stdout


def test_what_a_class_keeps_for_itself_shows(ia: Any, tmp_path: pathlib.Path) -> None:
    @ia.remote(durable=True)
    class Forgetful:
        total = 0

        def __init__(self) -> None:
            self.seen = 0

        def add(self, amount: int) -> None:
            type(self).total += amount
            self.seen = type(self).total

    actor = Forgetful.remote()
    get([actor.add.remote(1), actor.checkpoint(), actor.add.remote(1)])
    path = copy(actor, tmp_path)
    assert run(path).exit_code == 0
    told = ask(path, "--verify")
    assert told["status"] == 1
    assert told["replays"][1]["differences"] == [{"attribute": "seen", "first": "2", "second": "1"}]
    assert "seen is 1; from the constructor: 2" in run(path, "--verify").stdout


def test_a_state_that_no_result_tells_of_is_compared(ia: Any, tmp_path: pathlib.Path) -> None:
    @ia.remote(durable=True)
    class Silent:
        def __init__(self) -> None:
            self.drawn = b""
            self.seen = {b"%d" % index for index in range(99)}

        def draw(self) -> None:
            self.drawn = os.urandom(8)

        def forget(self) -> None:
            self.drawn = b""

    actor = Silent.remote()
    get(actor.draw.remote())
    path = copy(actor, tmp_path)
    assert run(path).exit_code == 0
    told = ask(path, "--verify")  # no checkpoint is there, so it is done twice
    assert (told["status"], [one["from_lsn"] for one in told["replays"]]) == (1, [0, 0])
    assert [one["attribute"] for one in told["replays"][1]["differences"]] == ["drawn"]
    shutil.rmtree(path)
    get([actor.checkpoint(), actor.forget.remote(), actor.checkpoint()])
    told = ask(path := copy(actor, tmp_path), "--verify")  # all come to the same end, and not by the same way
    assert told["status"] == 1
    assert [one.get("differences") for one in told["replays"]] == [None, [], []]
    differing = [
        (one["from_lsn"], [(at["lsn"], [two["attribute"] for two in at["differences"]]) for at in one["checkpoints"]])
        for one in told["replays"]
    ]
    assert differing == [(0, []), (1, [(1, ["drawn"]), (2, [])]), (2, [(2, [])])]
    shown = run(path, "--verify").stdout
    assert "(after lsn 1) drawn is b" in shown
    assert "Diverged: 1 of 3 replays" in shown


def make_unsteady(ia: Any, mark: pathlib.Path) -> Any:
    @ia.remote(durable=True)
    class Unsteady:
        def __init__(self) -> None:
            self.calls = 0

        def steady(self) -> int:
            self.calls += 1
            return self.calls

        def clock(self) -> float:
            self.calls += 1
            return time.time()

        def die(self) -> None:
            if mark.exists():
                os.kill(os.getpid(), 9)

        def leave_a_thread(self) -> None:
            threading.Thread(target=threading.Event().wait).start()

        def say(self) -> None:
            print("something is said", flush=True)

    return Unsteady


def test_an_actor_whose_constructor_raised_is_nothing_wrong(ia: Any) -> None:
    @ia.remote(durable=True)
    class Bad:
        def __init__(self) -> None:
            raise RuntimeError("boom")

        def work(self) -> None:
            pass

    actor = Bad.remote()
    with pytest.raises(ia.exceptions.ActorDiedError, match="boom"):
        get(actor.work.remote())
    path = folder(actor)
    done = run(path, "--verify")
    assert done.exit_code == 0
    assert "the actor never came to be: its constructor raised RuntimeError: boom." in done.stdout
    told = CliRunner().invoke(main, ["fsck", str(path)])
    assert told.exit_code == 0
    assert "the actor never came to be: its constructor raised RuntimeError: boom." in told.stdout
    assert "is there" not in told.stdout


def test_a_call_that_does_not_do_the_same_is_caught(ia: Any, tmp_path: pathlib.Path) -> None:
    actor = make_unsteady(ia, tmp_path / "mark").remote()
    get([actor.steady.remote(), actor.clock.remote(), actor.steady.remote()])
    done = run(copy(actor, tmp_path), "-v")
    assert done.exit_code == 1
    assert "Diverged, from the constructor: Unsteady.clock (lsn 2) does not do again what it did before" in done.stdout
    assert "2 Unsteady.clock  returned" in done.stdout
    assert ask(folder(actor))["replays"][0]["lsn"] == 2
    assert run(folder(actor), "--until", 1).exit_code == 0


def test_a_call_that_ends_its_process_is_caught(ia: Any, tmp_path: pathlib.Path) -> None:
    mark = tmp_path / "mark"
    actor = make_unsteady(ia, mark).remote()
    get([actor.steady.remote(), actor.die.remote()])
    mark.touch()
    done = run(copy(actor, tmp_path))
    assert done.exit_code == 1
    assert "the call at lsn 2 ended its process (by SIGKILL), and had come to an end." in done.stdout


def test_threads_and_output_of_the_actors_are_its_own(
    ia: Any, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    actor = make_unsteady(ia, tmp_path / "mark").remote()
    get([actor.leave_a_thread.remote(), actor.say.remote()])
    path = copy(actor, tmp_path)
    capfd.readouterr()
    assert run(path).exit_code == 0
    assert "something" not in capfd.readouterr().out
    assert run(path, "--output").exit_code == 0
    assert "something is said" in capfd.readouterr().out


def test_an_actor_that_runs_is_replayed_as_it_was(ia: Any, tmp_path: pathlib.Path) -> None:
    actor = make_unsteady(ia, tmp_path / "mark").remote()
    get(actor.steady.remote())
    done = run(folder(actor))
    assert done.exit_code == 0
    assert f"the actor is running in process {status(actor).pid}: this is its log as it was a moment ago" in done.stdout
    assert get(actor.steady.remote()) == 2


def test_persist_methods_are_skipped(ia: Any, tmp_path: pathlib.Path) -> None:
    @ia.remote(durable=True)
    class Roller:
        def __init__(self) -> None:
            self.rolled: list[float] = []

        @ia.method(effect="persist")
        def roll(self) -> float:
            self.rolled.append(time.time())
            return self.rolled[-1]

        def count(self) -> int:
            return len(self.rolled)

    actor = Roller.remote()
    get([actor.count.remote(), actor.roll.remote(), actor.count.remote(), actor.count.remote()])
    path = copy(actor, tmp_path)
    told = ask(path, "--verify")
    assert told["status"] == 0, told
    assert [(one["from_lsn"], one["until"], one["calls"]) for one in told["replays"]] == [
        (0, 1, 1),
        (0, 1, 1),
        (2, 4, 2),
        (2, 4, 2),
    ]
    assert (told["persist"], told["left_out"]) == ([2], [])
    assert "1 call of a persist method: skipped" in run(path, "--verify").stdout
    done = run(path)
    assert done.exit_code == 0
    assert "2 calls replayed" in done.stdout
    assert "(after lsn 2); every one ended as the log says." in done.stdout
    assert run(path, "--from", "nothing").exit_code == 2


def test_an_upgraded_actor_runs_the_class_that_it_ran(ia: Any, tmp_path: pathlib.Path) -> None:
    @ia.remote(durable=True)
    class Greeter:
        def __init__(self) -> None:
            self.count = 0

        def greet(self) -> str:
            self.count += 1
            return f"hello {self.count}"

    @ia.remote(durable=True)
    class Better:
        count: int

        def greet(self) -> str:
            self.count += 10
            return f"good day {self.count}"

    actor = Greeter.remote()
    assert get(actor.greet.remote()) == "hello 1"
    actor = actor.upgrade(Better) or actor
    assert get(actor.greet.remote()) == "good day 11"
    told = ask(copy(actor, tmp_path), "--verify")
    assert told["status"] == 0, told
    assert [one["calls"] for one in told["replays"]] == [2, 1, 1]


def test_a_checkpointable_loads_its_own(ia: Any, tmp_path: pathlib.Path) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()

    @ia.remote
    class Saving(Checkpointable):
        def __init__(self) -> None:
            self.count = 0

        def add(self, amount: int) -> int:
            self.count += amount
            return self.count

        def should_checkpoint(self, checkpoint_context: CheckpointContext) -> bool:
            return checkpoint_context.num_tasks_since_last_checkpoint >= 2

        def save_checkpoint(self, actor_id: str, checkpoint_id: str) -> None:
            (saved / checkpoint_id).write_text(str(self.count))

        def load_checkpoint(
            self,
            actor_id: str,
            available_checkpoints: Sequence[Checkpoint],
        ) -> str | None:
            self.count = int((saved / available_checkpoints[0].checkpoint_id).read_text())
            return available_checkpoints[0].checkpoint_id

        def checkpoint_expired(self, actor_id: str, checkpoint_id: str) -> None: ...

    actor = Saving.remote()
    get([actor.add.remote(amount) for amount in range(5)])
    told = ask(copy(actor, tmp_path), "--verify")
    assert told["status"] == 0, told
    assert [(one["from_lsn"], one["calls"]) for one in told["replays"]] == [(0, 5), (2, 3), (4, 1)]


def test_what_cannot_be_replayed_says_why(ia: Any, tmp_path: pathlib.Path) -> None:
    actor = make_unsteady(ia, tmp_path / "mark").remote()
    get([actor.steady.remote(), actor.steady.remote()])
    path = copy(actor, tmp_path)
    assert run(tmp_path / "nothing").exit_code == 3
    assert "the log ends at 2" in run(path, "--until", 3).stdout
    session = run(tmp_path)
    assert session.exit_code == 0
    shutil.copytree(path, path.with_name("61" + "0" * 30))  # another's name, and not its log
    first = next(path.glob("log-*"))
    content = bytearray(first.read_bytes())
    content[150] ^= 1
    first.write_bytes(content)
    done = run(tmp_path)
    assert done.exit_code == 2
    assert f"ipyactors fsck {path}" in done.stdout
    assert "Agreed: the state is that after lsn 2." in done.stdout


def test_what_is_not_over_is_no_part_of_the_state(ia: Any, tmp_path: pathlib.Path, gate: Gate) -> None:
    @ia.remote(durable=True)
    class Holder:
        def __init__(self) -> None:
            self.count = 0

        def add(self) -> int:
            self.count += 1
            return self.count

        def hold(self, gate: Gate) -> int:
            self.count += 10
            gate.wait()
            return self.count

    holder = Holder.remote()
    get([holder.add.remote(), holder.add.remote()])
    held = holder.hold.remote(gate)
    until(lambda: len(records(holder, Call)) == 3, "the call in the log")
    path = copy(holder, tmp_path)
    gate.open()
    assert get(held) == 12
    done = run(path)
    assert "1 not over" in done.stdout
    assert "Agreed: the state is that after lsn 2." in done.stdout
    assert "came to the same end (lsn 2)" in run("--verify", path).stdout
    assert "count" in run("--state", path).stdout
