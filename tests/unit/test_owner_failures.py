"""What is said of an actor that is dead for good: the facts, and what helps."""

from __future__ import annotations

import pytest

from ipyactors.ground.exceptions import RecoveryDivergedError, RecoveryFailedError
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
