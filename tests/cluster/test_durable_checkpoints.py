"""When a durable actor makes checkpoints, where they live, and what becomes of the actor when they go bad."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Sequence
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.actor import Checkpoint, Checkpointable, CheckpointContext, get_checkpoints_for_actor
from ipyactors.exceptions import RecoveryFailedError
from ipyactors.testing import LocalCluster
from tests.support.durable import folder, get, kill, recoveries
from tests.support.gates import Tally, until


@ia.remote(durable=True)
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, n: int = 1) -> int:
        self.value += n
        return self.value

    def add_and_checkpoint(self) -> int:
        self.value += 1
        ia.get_runtime_context().checkpoint()
        return self.value

    def slow(self) -> int:
        self.value += 1
        threading.Event().wait(0.35)
        return self.value

    @ia.method(effect="persist")
    def add_and_keep(self, tally: Tally) -> int:
        self.value += tally.add()
        return self.value

    @ia.method(effect="readonly")
    def look(self) -> int:
        return self.value

    def measure(self, text: str) -> int:
        return len(text)

    def lock(self) -> None:
        self.held = threading.Lock()

    def unlock(self) -> None:
        del self.held


pytestmark = pytest.mark.usefixtures("shared_runtime")


def checkpoints(handle: Any) -> list[str]:
    return [one.checkpoint_id for one in get_checkpoints_for_actor(handle)]


def came_back(handle: Any) -> str:
    """End the actor's process, and return how it came back."""
    count = len(recoveries(handle))
    kill(handle)
    until(lambda: len(recoveries(handle)) > count, "its return")
    return recoveries(handle)[-1]


# -- when ------------------------------------------------------------------------------------------------------


def test_by_itself_an_actor_bounds_its_replay_to_a_second() -> None:
    counter = Counter.remote()
    get([counter.add.remote() for _ in range(50)])
    assert checkpoints(counter) == []
    get([counter.slow.remote() for _ in range(3)])
    until(lambda: checkpoints(counter), "a checkpoint")
    words = came_back(counter)
    assert words.startswith("from checkpoint")
    assert ", 0 calls replayed" in words
    assert get(counter.add.remote()) == 54


def test_every_so_many_calls() -> None:
    counter = Counter.options(checkpoint=ia.every(calls=10)).remote()
    assert get([counter.add.remote() for _ in range(35)])[-1] == 35
    get(counter.add.remote())
    assert len(checkpoints(counter)) == 3
    assert ", 6 calls replayed" in came_back(counter)
    get([counter.add.remote() for _ in range(4)])
    get([counter.look.remote() for _ in range(20)])
    assert get(counter.add.remote()) == 41
    assert ", 1 call replayed" in came_back(counter)
    assert get(counter.add.remote()) == 42


def test_every_so_many_seconds_also_while_nobody_calls() -> None:
    counter = Counter.options(checkpoint=ia.every(seconds=0.05)).remote()
    assert get(counter.add.remote()) == 1
    until(lambda: checkpoints(counter), "a checkpoint")
    known = checkpoints(counter)
    threading.Event().wait(0.2)
    assert checkpoints(counter) == known, "nothing has changed, and nothing is saved"
    assert ", 0 calls replayed" in came_back(counter)
    assert get(counter.add.remote()) == 2


def test_on_demand_from_both_sides() -> None:
    counter = Counter.remote()
    get(counter.add.remote())
    first = get(counter.checkpoint())
    assert checkpoints(counter) == [first]
    get(counter.add.remote())
    assert get(counter.add_and_checkpoint.remote()) == 3
    get(counter.look.remote())
    assert len(checkpoints(counter)) == 2
    assert checkpoints(counter)[1] == first
    refs = [counter.add.remote() for _ in range(300)]
    third = ia.checkpoint(counter)
    more = [counter.add.remote() for _ in range(3)]
    assert get(refs + more)[-1] == 306
    assert get(third) == checkpoints(counter)[0]
    assert ", 3 calls replayed" in came_back(counter)
    assert get(counter.look.remote()) == 306


def test_three_are_kept() -> None:
    counter = Counter.remote()
    made = []
    for _ in range(5):
        get(counter.add.remote())
        made.append(get(counter.checkpoint()))
    assert checkpoints(counter) == made[:1:-1]
    stamps = [one.timestamp for one in get_checkpoints_for_actor(counter)]
    assert stamps == sorted(stamps, reverse=True)
    assert len(list(folder(counter).glob("data-*"))) == 3


def test_what_is_marked_persist_is_not_done_again(tmp_path: pathlib.Path) -> None:
    counter, tally = Counter.remote(), Tally(tmp_path / "tally")
    assert get([counter.add_and_keep.remote(tally) for _ in range(3)]) == [1, 3, 6]
    assert ", 0 calls replayed" in came_back(counter)
    assert get(counter.look.remote()) == 6
    assert get(counter.add_and_keep.remote(tally)) == 10


# -- what goes wrong -------------------------------------------------------------------------------------------


def test_a_state_that_cannot_be_pickled_is_told_once_and_the_log_does(capfd: pytest.CaptureFixture[str]) -> None:
    counter = Counter.options(checkpoint=ia.every(calls=2)).remote()
    get(counter.lock.remote())
    get([counter.add.remote() for _ in range(20)])
    shown: list[str] = []

    def told() -> bool:
        shown.append("".join(capfd.readouterr()))
        return "No checkpoint could be made" in "".join(shown)

    until(told, "a warning")
    with pytest.raises(ia.exceptions.SerializationError, match="held"):
        get(counter.checkpoint())
    assert checkpoints(counter) == []
    assert "from its constructor, 21 calls replayed" in came_back(counter)
    assert get(counter.look.remote()) == 20
    get(counter.unlock.remote())
    get([counter.add.remote() for _ in range(4)])
    assert get(counter.checkpoint()) in checkpoints(counter)
    told()
    words = "".join(shown)
    assert words.count("No checkpoint could be made") == 2, "once by each process, not at every call"
    assert ".. " not in words
    assert "Nothing is lost" in words


def damage(handle: Any, checkpoint_id: str) -> None:
    [file] = folder(handle).glob(f"data-{checkpoint_id}")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


def test_a_bad_checkpoint_costs_a_longer_replay() -> None:
    counter = Counter.remote()
    made = []
    for _ in range(3):
        get([counter.add.remote() for _ in range(10)])
        made.append(get(counter.checkpoint()))
    get(counter.add.remote())
    damage(counter, made[-1])
    words = came_back(counter)
    assert f"from checkpoint {made[1][:10]}, 11 calls replayed" in words
    assert f"not used: checkpoint {made[2]}" in words
    assert "is not what was saved" in words
    assert get(counter.add.remote()) == 32
    for one in made[:2]:
        damage(counter, one)


def test_data_of_a_checkpoint_that_never_came_to_be_is_removed() -> None:
    counter = Counter.remote()
    get([counter.add.remote(), counter.checkpoint()])
    path = folder(counter)
    named = next(path.glob("data-*"))
    of_none, half, users = path / f"data-63{'0' * 30}", path / f"data-63{'1' * 30}.tmp", path / "data-mine"
    for file in (of_none, half, users):
        file.write_bytes(b"data")
    came_back(counter)
    assert get(counter.add.remote()) == 2
    assert [file.exists() for file in (named, of_none, half, users)] == [True, False, False, True]


def test_with_all_bad_and_the_log_whole_the_constructor_begins() -> None:
    counter = Counter.remote(100)
    get(counter.add.remote())
    made = [get(counter.checkpoint())]
    get(counter.add.remote())
    made.append(get(counter.checkpoint()))
    for one in made:
        damage(counter, one)
    assert "from its constructor, 2 calls replayed" in came_back(counter)
    assert get(counter.add.remote()) == 103


def test_with_all_bad_and_the_log_dropped_it_is_said_and_all_files_stay(tmp_path: pathlib.Path) -> None:
    counter = Counter.options(num_checkpoints_to_keep=1).remote()
    get([counter.measure.remote("x" * 60_000) for _ in range(160)])  # more than a segment, so that one can be dropped
    last = get(counter.checkpoint())
    assert not (folder(counter) / "log-0000000000000000").exists()
    damage(counter, last)
    before = sorted(file.name for file in folder(counter).iterdir())
    kill(counter)
    with pytest.raises(RecoveryFailedError) as caught:
        get(counter.add.remote())
    words = str(caught.value)
    assert "no checkpoint can be used, and the log does not reach back to the beginning" in words
    assert last in words
    assert "ipyactors fsck" in words
    assert set(before) <= {file.name for file in folder(counter).iterdir()}


# -- the interface of 2019 -------------------------------------------------------------------------------------


class Saver(Checkpointable):
    """Writes what it is asked to a tally; ``orders`` is a folder whose files tell it how to misbehave."""

    def __init__(self, place: pathlib.Path) -> None:
        self.place = place
        self.value = 0
        self.note("constructor")

    def note(self, *words: Any) -> None:
        Tally(self.place / "asked").add(" ".join(map(str, words)))

    def is_told(self, order: str) -> bool:
        return (self.place / order).exists()

    def add(self) -> int:
        self.value += 1
        self.note("add", self.value)
        return self.value

    def fail(self) -> None:
        self.value += 1
        self.note("fail", self.value)
        raise ValueError("on purpose")

    @ia.method(effect="readonly")
    def look(self) -> int:
        return self.value

    def should_checkpoint(self, checkpoint_context: CheckpointContext) -> bool:
        assert isinstance(checkpoint_context, CheckpointContext)
        actor_id, count, elapsed_ms = checkpoint_context
        assert actor_id == ia.get_runtime_context().get_actor_id()
        assert elapsed_ms >= 0
        self.note("should", count)
        if self.is_told("should raises"):
            raise RuntimeError("should not")
        return count >= 2

    def save_checkpoint(self, actor_id: str, checkpoint_id: str) -> None:
        self.note("save", checkpoint_id)
        if self.is_told("save raises"):
            raise OSError("the disk is full")
        (self.place / f"saved-{checkpoint_id}").write_text(str(self.value))

    def load_checkpoint(self, actor_id: str, available_checkpoints: Any) -> Any:
        assert all(isinstance(one, Checkpoint) for one in available_checkpoints)
        stamps = [one.timestamp for one in available_checkpoints]
        assert stamps == sorted(stamps, reverse=True)
        self.note("load", len(available_checkpoints))
        if self.is_told("load returns none"):
            return None
        if self.is_told("load returns garbage"):
            return "garbage"
        chosen = available_checkpoints[0].checkpoint_id
        self.value = int((self.place / f"saved-{chosen}").read_text())
        return chosen

    def checkpoint_expired(self, actor_id: str, checkpoint_id: str) -> None:
        self.note("expired", checkpoint_id)
        (self.place / f"saved-{checkpoint_id}").unlink()


RemoteSaver = ia.remote(Saver)


def asked(place: pathlib.Path) -> list[str]:
    return Tally(place / "asked").lines()


def test_to_the_letter(tmp_path: pathlib.Path) -> None:
    saver = RemoteSaver.remote(tmp_path)
    assert get(saver.add.remote()) == 1
    with pytest.raises(ValueError, match="on purpose"):
        get(saver.fail.remote())
    assert get(saver.look.remote()) == 2
    [made] = checkpoints(saver)
    assert asked(tmp_path) == ["constructor", "add 1", "should 1", "fail 2", "should 2", f"save {made}"]
    assert get(saver.add.remote()) == 3
    assert f"from checkpoint {made[:10]}, 1 call replayed" in came_back(saver)
    again = asked(tmp_path)[asked(tmp_path).index("add 3") + 1 :]
    assert again[-3:] == ["constructor", "load 1", "add 3"]
    assert get(saver.add.remote()) == 4
    assert get(saver.look.remote()) == 4
    assert len(checkpoints(saver)) == 2


def test_the_oldest_expires_when_the_newest_is_there(tmp_path: pathlib.Path) -> None:
    saver = RemoteSaver.options(num_checkpoints_to_keep=2).remote(tmp_path)
    get([saver.add.remote() for _ in range(8)])
    get(saver.look.remote())
    lines = asked(tmp_path)
    saved = [line.split()[1] for line in lines if line.startswith("save ")]
    assert len(saved) == 4
    assert [line.split()[1] for line in lines if line.startswith("expired ")] == saved[:2]
    assert lines.index(f"expired {saved[0]}") == lines.index(f"save {saved[2]}") + 1
    assert checkpoints(saver) == saved[:1:-1]
    assert sorted(file.name for file in tmp_path.glob("saved-*")) == sorted(f"saved-{one}" for one in saved[2:])


def test_twenty_are_kept_when_nothing_is_said(tmp_path: pathlib.Path) -> None:
    saver = RemoteSaver.remote(tmp_path)
    get([saver.add.remote() for _ in range(44)])
    get(saver.look.remote())
    assert len(checkpoints(saver)) == 20
    assert len([line for line in asked(tmp_path) if line.startswith("expired")]) == 2


def test_its_own_failures_lose_nothing(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    saver = RemoteSaver.remote(tmp_path)
    get([saver.add.remote() for _ in range(2)])
    get(saver.look.remote())
    [first] = checkpoints(saver)
    (tmp_path / "save raises").touch()
    get([saver.add.remote() for _ in range(4)])
    get(saver.look.remote())
    assert checkpoints(saver) == [first]
    with pytest.raises(OSError, match="the disk is full"):
        get(saver.checkpoint())
    (tmp_path / "should raises").touch()
    assert get(saver.add.remote()) == 7
    get(saver.look.remote())  # what was said before has left its process then
    assert ", 5 calls replayed" in came_back(saver)
    assert get(saver.look.remote()) == 7
    (tmp_path / "load returns none").touch()
    assert "from its constructor, 7 calls replayed" in came_back(saver)
    assert get(saver.look.remote()) == 7
    (tmp_path / "load returns none").unlink()
    (tmp_path / "load returns garbage").touch()
    words = came_back(saver)
    assert "load_checkpoint returned 'garbage', which is none of those that it was given" in words
    assert "from its constructor, 7 calls replayed" in words
    (tmp_path / "load returns garbage").unlink()
    (tmp_path / f"saved-{first}").unlink()
    words = came_back(saver)
    assert "load_checkpoint raised FileNotFoundError" in words
    assert get(saver.look.remote()) == 7
    shown = "".join(capfd.readouterr())
    assert "the disk is full" in shown
    assert "should_checkpoint raised RuntimeError: should not" in shown


def test_a_newest_one_that_cannot_be_loaded(tmp_path: pathlib.Path) -> None:
    saver = RemoteSaver.remote(tmp_path)
    get([saver.add.remote() for _ in range(5)])
    get(saver.look.remote())
    newest, oldest = checkpoints(saver)
    (tmp_path / f"saved-{newest}").unlink()
    words = came_back(saver)
    assert f"from checkpoint {oldest[:10]}, 3 calls replayed" in words
    assert get(saver.look.remote()) == 5


@pytest.mark.parametrize("is_dropped", [False, True])
def test_its_constructor_may_take_something_from_outside(tmp_path: pathlib.Path, is_dropped: bool) -> None:
    @ia.remote(num_checkpoints_to_keep=1)
    class Born(Checkpointable):
        def __init__(self, others: Any) -> None:
            self.born, self.count = ia.get_runtime_context().now(), 0
            self.number = get(others.register.remote())

        def add(self, filler: bytes = b"") -> int:
            self.count += 1
            return self.count

        def since(self) -> float:
            return self.born

        def should_checkpoint(self, checkpoint_context: CheckpointContext) -> bool:
            return checkpoint_context.num_tasks_since_last_checkpoint >= 20

        def save_checkpoint(self, actor_id: str, checkpoint_id: str) -> None:
            (tmp_path / checkpoint_id).write_text(f"{self.born!r} {self.count}")

        def load_checkpoint(self, actor_id: str, available_checkpoints: Sequence[Checkpoint]) -> str | None:
            checkpoint_id = available_checkpoints[0].checkpoint_id
            born, count = (tmp_path / checkpoint_id).read_text().split()
            self.born, self.count = float(born), int(count)
            return checkpoint_id

        def checkpoint_expired(self, actor_id: str, checkpoint_id: str) -> None: ...

    @ia.remote(durable=True)
    class Registry:
        def __init__(self) -> None:
            self.count = 0

        def register(self) -> int:
            self.count += 1
            return self.count

    registry = Registry.remote()
    actor = Born.remote(registry)
    born = get(actor.since.remote())
    done = 0
    while (folder(actor) / "log-0000000000000000").exists() if is_dropped else done < 20:
        done = get([actor.add.remote(bytes(50_000)) for _ in range(20)])[-1]
    kill(actor)
    assert get(actor.add.remote()) == done + 1
    assert get(actor.since.remote()) == born
    assert recoveries(actor)[-1].startswith("from checkpoint")
    assert get(registry.register.remote()) == 2, "its constructor has not called it again"


def test_abstract_methods_must_be_there() -> None:
    class Lacking(Checkpointable):
        def should_checkpoint(self, checkpoint_context: CheckpointContext) -> bool:
            return False

    with pytest.raises(TypeError, match="save_checkpoint"):
        ia.remote(Lacking).remote()
    with pytest.raises(TypeError, match="abstract"):
        Lacking()  # type: ignore[abstract]


# -- where -----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:checkpoint_store='memory")
@pytest.mark.parametrize("store", ["", "kv", "file", "folder", "memory"])
def test_where_checkpoints_may_live(store: str, tmp_path: pathlib.Path) -> None:
    place = {"file": f"file://{tmp_path}/shared", "folder": f"{tmp_path}/shared", "memory": "memory://h5"}
    url = place.get(store, store)
    options = {"checkpoint_store": url} if url else {}
    counter = Counter.options(**options).remote()
    get([counter.add.remote() for _ in range(5)])
    get(counter.checkpoint())
    get(counter.add.remote())
    words = came_back(counter)
    if store == "memory":  # gone with the process, and so the log was kept
        assert "from its constructor, 6 calls replayed" in words
    else:
        assert "from checkpoint" in words
        assert "1 call replayed" in words
    assert get(counter.add.remote()) == 7
    if store in ("file", "folder"):
        assert len(list(tmp_path.glob("shared/*/*"))) == 1


# -- upgrades --------------------------------------------------------------------------------------------------


def test_an_upgrade_keeps_the_state_through_crashes(tmp_path: pathlib.Path) -> None:
    @ia.remote(durable=True)
    class Greeter:
        def __init__(self) -> None:
            self.names: list[str] = []

        def greet(self, name: str) -> str:
            self.names.append(name)
            return f"Hello {name}, number {len(self.names)}"

    @ia.remote(durable=True)
    class Better:
        def greet(self, name: str, warmly: bool = False) -> str:
            self.names.append(name)
            return f"Welcome {name}, number {len(self.names)}{'!' if warmly else ''}"

        def count(self) -> int:
            return len(self.names)

    greeter = Greeter.options(name="greeter").remote()
    other = ia.get_actor("greeter")
    assert get(greeter.greet.remote("A")) == "Hello A, number 1"
    kill(greeter)
    greeter.upgrade(Better)
    assert get(greeter.greet.remote("B", warmly=True)) == "Welcome B, number 2!"
    assert get(other.greet.remote("C")) == "Welcome C, number 3"
    assert ", 2 calls replayed" in came_back(greeter)
    assert get(greeter.count.remote()) == 3
    assert get(ia.get_actor("greeter").count.remote()) == 3
    kill(greeter)
    assert get(greeter.greet.remote("D")) == "Welcome D, number 4"


@pytest.mark.parametrize("bad", ["data", "manifest", "all data"])
def test_an_upgrade_outlives_a_checkpoint_gone_bad(bad: str) -> None:
    @ia.remote(durable=True)
    class Tenfold:
        def __init__(self) -> None:
            self.value = 1000

        def add(self, n: int = 1) -> int:
            self.value += 10 * n
            return int(self.value)

    counter = Counter.remote()
    assert get(counter.add.remote()) == 1
    counter.upgrade(Tenfold)
    assert get(counter.add.remote()) == 11
    if bad == "manifest":
        newest = max(folder(counter).glob("checkpoint-*.json"))
        newest.write_bytes(b"XX" + newest.read_bytes()[2:])
    else:
        for one in checkpoints(counter)[: None if bad == "all data" else 1]:
            damage(counter, one)
    assert ("from its constructor, 2 calls" if bad == "all data" else "1 call replayed") in came_back(counter)
    assert get(counter.add.remote()) == 21


def test_a_class_that_was_upgraded_to_and_is_gone_is_said() -> None:
    @ia.remote(durable=True)
    class Other:
        def add(self) -> int:
            return -1

    @ia.remote(durable=True)
    class Last:
        def add(self) -> int:
            return -2

    counter = Counter.remote()
    get(counter.add.remote())
    counter.upgrade(Other)
    assert get(counter.add.remote()) == -1
    other = [file for file in folder(counter).glob("class-*") if b"Other" in file.read_bytes()]
    counter.upgrade(Last)
    for file in other:
        file.unlink()
    for one in checkpoints(counter):
        damage(counter, one)
    kill(counter)
    with pytest.raises(RecoveryFailedError, match=r"class-\w+ in its folder, cannot be had"):
        get(counter.add.remote())


def test_an_upgrade_that_cannot_be(tmp_path: pathlib.Path) -> None:
    @ia.remote
    class Plain:
        def add(self) -> None: ...

    @ia.remote(durable=True)
    class Picky:
        def __setstate__(self, state: Any) -> None:
            raise ValueError("not this state")

        def add(self, n: int = 1) -> int:
            return -1

    counter = Counter.remote()
    get(counter.add.remote())
    for bad, words in ((Plain, "is not durable"), (int, "upgrade takes a remote class"), (Picky, "not this state")):
        with pytest.raises(Exception, match=words):
            counter.upgrade(bad)
        assert get(counter.look.remote()) == 1
    assert get(counter.add.remote()) == 2
    kill(counter)
    assert get(counter.add.remote()) == 3


# -- the fourth place: an actor that is pinned to a machine ------------------------------------------------------


@ia.remote(num_cpus=0, resources={"headnode": 1})
class Vault:
    """Keeps what it is given, on the machine with the resource."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def put(self, name: str, value: Any) -> None:
        self.kept[name] = value

    def get(self, name: str) -> Any:
        return self.kept[name]

    def drop(self, name: str) -> None:
        del self.kept[name]

    def names(self) -> list[str]:
        return sorted(self.kept)


@ia.remote(num_cpus=0, resources={"side": 1}, num_checkpoints_to_keep=2)
class Vaulted(Checkpointable):
    """Keeps its checkpoints in an actor."""

    def __init__(self, vault: Any) -> None:
        self.vault = vault
        self.value = 0

    def add(self) -> int:
        self.value += 1
        return self.value

    def where(self) -> str:
        return ia.get_runtime_context().get_node_id()

    def should_checkpoint(self, checkpoint_context: CheckpointContext) -> bool:
        assert ia.get_runtime_context().now() > 0
        return checkpoint_context.num_tasks_since_last_checkpoint >= 3

    def save_checkpoint(self, actor_id: str, checkpoint_id: str) -> None:
        ia.get(self.vault.put.remote(checkpoint_id, self.value))

    def load_checkpoint(self, actor_id: str, available_checkpoints: Any) -> str:
        checkpoint_id: str = available_checkpoints[0].checkpoint_id
        self.value = ia.get(self.vault.get.remote(checkpoint_id))
        return checkpoint_id

    def checkpoint_expired(self, actor_id: str, checkpoint_id: str) -> None:
        ia.get(self.vault.drop.remote(checkpoint_id))


def test_in_an_actor_on_the_machine_of_the_head(shared_runtime: Any) -> None:
    """The machine of the actor is lost; on another one it comes back, and asks for its checkpoint."""
    ia.shutdown()
    try:
        with LocalCluster(num_cpus=1, resources={"headnode": 1}) as cluster:
            ia.init(address=cluster.address)
            side = cluster.add_node(num_cpus=1, resources={"side": 1})
            vault = Vault.remote()
            vaulted = Vaulted.remote(vault)
            assert get([vaulted.add.remote() for _ in range(10)]) == list(range(1, 11))
            assert get(vaulted.checkpoint()) == checkpoints(vaulted)[0]
            assert sorted(checkpoints(vaulted)) == get(vault.names.remote())
            assert get(vaulted.add.remote()) == 11
            further = cluster.add_node(num_cpus=1, resources={"side": 1})
            cluster.remove_node(side)
            assert get(vaulted.add.remote()) == 12
            assert get(vaulted.where.remote()) == further.node_id
            assert recoveries(vaulted)[-1].startswith("from checkpoint")
            ia.shutdown()
    finally:
        shared_runtime.shutdown()
        shared_runtime.init(num_cpus=2)
