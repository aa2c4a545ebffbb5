"""What is said of an actor that is dead for good: the facts, and what helps."""

from __future__ import annotations

from typing import Any

import pytest

from ipyactors.ground.exceptions import CallOutcomeUnknownError, RecoveryDivergedError, RecoveryFailedError
from ipyactors.owner import failures
from ipyactors.owner.actors import ActorClient
from ipyactors.wire.specs import Death, LossReason, RemoteError
from tests.support.owner_scenario import OwnerScenario

FOLDER = "/sessions/s 1/actors/61"


def words_of(type_name: str, message: str, reason: LossReason) -> tuple[type, str]:
    owner = OwnerScenario()
    client: ActorClient = owner.actor()
    call = owner.method(client, "deposit", is_durable=True)
    client.folder = FOLDER
    client.death = Death(reason, init_error=RemoteError(type_name, message, "Traceback\n"))
    error = failures.actor_died(client, call, started=False)
    return type(error), str(error)


def test_a_divergence_names_both_tools_with_the_actors_folder() -> None:
    kind, words = words_of("ReplayDivergenceError", "it did not do the same.", LossReason.RECOVERY_FAILED)
    assert kind is RecoveryDivergedError
    assert f"ipyactors replay '{FOLDER}' --verify shows which call differs" in words
    assert f"ipyactors fsck '{FOLDER}' says what can be had" in words


def test_damage_names_the_tool_that_finds_it() -> None:
    kind, words = words_of("LogDamagedError", "a record is broken.", LossReason.RECOVERY_FAILED)
    assert kind is RecoveryFailedError
    assert f"ipyactors fsck '{FOLDER}' says what can be had" in words
    assert "replay" not in words


@pytest.mark.parametrize("reason", [LossReason.INIT_FAILED, LossReason.RECOVERY_FAILED])
def test_a_full_disk_is_not_the_constructors_fault(reason: LossReason) -> None:
    _, words = words_of("NoRoomForLogError", "there is no room for its log in /x: No space left on device", reason)
    assert "is dead: there is no room for its log in /x: No space left on device. The call" in words
    assert words.endswith("was not run. Make room on that disk, and create the actor again.")


def words_of_recovery(**options: int) -> tuple[type, str]:
    owner = OwnerScenario()
    client: ActorClient = owner.actor()
    call = owner.method(client, "deposit", is_durable=True, **options)
    client.folder, client.incarnation, client.restarts_left = FOLDER, 7, -1
    why = "its process ended 6 times in a row while it came back; the last time it exited with code 3"
    detail = f"its state could not be brought back: {why}"
    client.death = Death(LossReason.RECOVERY_FAILED, exit_code=3, detail=detail, last_output=("boom",))
    error = failures.actor_died(client, call, started=False)
    return type(error), str(error)


def test_an_actor_that_was_given_up_on_its_way_back_says_how_and_what_is_kept() -> None:
    kind, words = words_of_recovery()
    assert kind is RecoveryFailedError
    assert "could not be brought back: its process ended 6 times in a row while it came back; the last time" in words
    assert "it exited with code 3. The call" in words
    assert words.count("could not be brought back") == 1
    assert f"`ipyactors fsck '{FOLDER}'`" in words
    assert f"`ipyactors replay '{FOLDER}'`" in words
    assert "Its log and its checkpoints are kept" in words
    assert "max_task_retries" not in words
    assert "boom" in words


@pytest.mark.parametrize(("max_task_retries", "is_advised"), [(-1, True), (3, False), (0, False)])
def test_retries_are_advised_where_they_are_not_limited(max_task_retries: int, is_advised: bool) -> None:
    owner = OwnerScenario()
    client: ActorClient = owner.actor()
    call = owner.method(client, "deposit", is_durable=True, max_task_retries=max_task_retries)
    client.restarts_left = -1
    client.death = Death(LossReason.KILLED, signal=9, detail="given up after 5 restarts in 60 s")
    assert ("With max_task_retries=3, say" in str(failures.actor_died(client, call, started=False))) is is_advised


@pytest.mark.parametrize(("unready", "kind"), [(4, RecoveryFailedError), (3, CallOutcomeUnknownError)])
def test_what_had_not_begun_before_all_that_were_not_ready_was_not_run(unready: int, kind: type) -> None:
    owner = OwnerScenario()
    client: ActorClient = owner.actor()
    call: Any = owner.method(client, "deposit", is_durable=True)
    call.unbegun, call.may_be_known, client.incarnation = 2, True, 6
    client.death = Death(LossReason.RECOVERY_FAILED, detail="it could not be brought back", unready=unready)
    assert type(failures.actor_died_before(client, call, started=False)) is kind
