"""A durable actor that goes back to one of its checkpoints on purpose: in its turn, exactly once, whatever crashes."""

from __future__ import annotations

import random
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.actor import Checkpoint, Checkpointable, CheckpointContext
from ipyactors.cli.fsck import fsck
from ipyactors.durable.manifest import name_of
from ipyactors.ground.exceptions import OptionError
from tests.support.durable import Killer, folder, get, kill, recoveries

pytestmark = pytest.mark.usefixtures("shared_runtime")


@ia.remote(durable=True, checkpoint=ia.every(calls=1000), num_checkpoints_to_keep=1000)
class Account:
    def __init__(self) -> None:
        self.balance = 0
        self.names: set[str] = {"a", "b"}

    def add(self, amount: int) -> int:
        self.balance += amount
        return self.balance


def test_the_state_is_that_of_the_checkpoint_and_stays_so() -> None:
    account = Account.remote()
    get(account.add.remote(5))
    checkpoint_id = get(ia.checkpoint(account))
    answers = [get(account.add.options(key="seven").remote(7)), get(account.add.remote(8))]
    assert get(ia.restore(account, checkpoint_id[:10])) == 2
    assert answers == [12, 20]
    assert get(account.add.remote(1)) == 6
    assert get(account.add.options(key="seven").remote(7)) == 12, "its answer is recorded"
    assert get(account.add.remote(0)) == 6
    kill(account)
    assert get(account.add.remote(1)) == 7
    assert get(ia.on(account, lambda self: self.names)) == {"a", "b"}


def test_a_recovery_needs_the_log_and_no_checkpoint() -> None:
    account = Account.options(checkpoint=ia.every(calls=1000)).remote()
    get(account.add.remote(5))
    checkpoint_id = get(ia.checkpoint(account))
    get([account.add.remote(1), ia.restore(account, checkpoint_id), account.add.remote(2)])
    get(ia.checkpoint(account))  # behind what the restore has asked for: none is made later
    for one in ia.list_checkpoints(account):
        (folder(account) / f"data-{one.checkpoint_id}").unlink(missing_ok=True)
    for number in range(1, 10):
        (folder(account) / name_of(number)).unlink(missing_ok=True)
    kill(account)
    assert get(account.add.remote(1)) == 8
    assert "from its constructor" in recoveries(account)[-1]


def test_restoring_is_as_exact_as_any_call_while_processes_die() -> None:
    account = Account.remote()
    chance = random.Random(4)
    balance, calls, saved = 0, 0, {}
    with Killer(account, seed=4, at_least=3) as killer:
        while killer.kills < 6 or calls < 150:
            calls += 1
            if calls % 10 == 1:
                saved[get(ia.checkpoint(account))] = balance
            elif calls % 7 == 0:
                checkpoint_id = chance.choice(list(saved))
                balance = saved[checkpoint_id]
                get(ia.restore(account, checkpoint_id))
            elif calls % 5 == 0:
                balance += 1
                assert get(ia.on(account, _one_more)) == balance
            else:
                balance += calls
                assert get(account.add.remote(calls)) == balance
    assert get(account.add.remote(0)) == balance


def _one_more(account: Any) -> int:
    account.balance += 1
    return int(account.balance)


def test_the_tools_find_nothing_wrong(tmp_path: Any) -> None:
    from click.testing import CliRunner

    from ipyactors.cli.replay import replay

    account = Account.remote()
    get(account.add.remote(5))
    checkpoint_id = get(ia.checkpoint(account))
    get([account.add.remote(1), ia.restore(account, checkpoint_id), account.add.remote(2)])
    kill(account)
    get(account.add.remote(2))
    ia.kill(account)
    path = str(folder(account))
    for command, arguments in ((fsck, [path]), (replay, [path, "--verify"])):
        done = CliRunner().invoke(command, arguments)
        assert done.exit_code == 0, done.output


@ia.remote(durable=True)
class Keeps(Checkpointable):
    def should_checkpoint(self, context: CheckpointContext) -> bool:
        return False

    def save_checkpoint(self, actor_id: str, checkpoint_id: str) -> None: ...

    def load_checkpoint(self, actor_id: str, available: list[Checkpoint]) -> str | None:
        return None

    def checkpoint_expired(self, actor_id: str, checkpoint_id: str) -> None: ...


@ia.remote
class Plain:
    pass


def test_what_cannot_go_back_says_so() -> None:
    account = Account.remote()
    with pytest.raises(OptionError, match="There are: none"):
        ia.restore(account, "abc")
    first, second = get(ia.checkpoint(account)), get(ia.checkpoint(account))
    with pytest.raises(OptionError, match=f"none of the checkpoints .* There are: {second[:10]}, {first[:10]}"):
        ia.restore(account, "nothing")
    with pytest.raises(TypeError, match="is not durable"):
        ia.restore(Plain.remote(), first)
    with pytest.raises(TypeError, match="is a Checkpointable"):
        ia.restore(Keeps.remote(), first)


def test_a_checkpoint_that_is_gone_when_its_turn_comes_changes_nothing() -> None:
    account = Account.options(num_checkpoints_to_keep=1).remote()
    get(account.add.remote(5))
    first = get(ia.checkpoint(account))
    get(account.add.remote(1))
    newer = ia.checkpoint(account)
    reference = (
        ia.restore(account, first) if first in {one.checkpoint_id for one in ia.list_checkpoints(account)} else None
    )
    get(newer)
    if reference is not None:
        with pytest.raises(LookupError, match="is not there any more"):
            get(reference)
    assert get(account.add.remote(0)) == 6
    kill(account)
    assert get(account.add.remote(0)) == 6
