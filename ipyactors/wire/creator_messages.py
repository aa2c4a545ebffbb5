"""An actor's process and the owner that has created the actor: what belongs to none of its calls is shown there."""

from __future__ import annotations

import msgspec

from ipyactors.wire.worker_messages import Written


class _Word(msgspec.Struct, array_like=True, tag=True):
    """Base of this file's messages."""


class ConfirmOutput(_Word):
    """Say when you have all that I have written so far; answered with an :class:`OutputConfirmed`.

    So a constructor's words are there before the head says, on another connection, what became of the actor.
    """


ActorToCreator = Written | ConfirmOutput


class OutputConfirmed(_Word):
    """I have what came before your :class:`ConfirmOutput`."""


CreatorToActor = OutputConfirmed
