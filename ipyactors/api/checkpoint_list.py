"""The checkpoints of one actor as a table: what ``%checkpoints`` shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import overload

from ipyactors.api import checkpoints
from ipyactors.api.handles import ActorHandle
from ipyactors.ground import tables
from ipyactors.ground.quantities import words_of_bytes

_HEADINGS = ("checkpoint", "after call", "size")
_NUMBERS = ("after call", "size")

#: So many digits of an id tell checkpoints apart, and are those that events show.
_DIGITS = 10


@dataclasses.dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """One checkpoint. ``after_call`` is the number of the last call that is in it, by the order of the actor's log.

    ``size_bytes`` is 0 where the actor keeps the data itself; ``wall_s`` is when it was made, in seconds since 1970.
    """

    checkpoint_id: str
    after_call: int
    size_bytes: int
    wall_s: float = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class CheckpointList(Sequence[CheckpointInfo]):
    """The checkpoints that an actor can come back from, newest first: a sequence for programs, shown as a table."""

    checkpoints: tuple[CheckpointInfo, ...]

    def __len__(self) -> int:
        return len(self.checkpoints)

    @overload
    def __getitem__(self, index: int) -> CheckpointInfo: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[CheckpointInfo]: ...
    def __getitem__(self, index: int | slice) -> CheckpointInfo | Sequence[CheckpointInfo]:
        return self.checkpoints[index]

    def __repr__(self) -> str:
        return "\n".join(tables.as_text(_HEADINGS, self._rows(), _NUMBERS)) if self.checkpoints else "no checkpoints"

    def _repr_html_(self) -> str:
        return (
            tables.as_html(_HEADINGS, self._rows(), _NUMBERS) if self.checkpoints else "<p><em>no checkpoints</em></p>"
        )

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                one.checkpoint_id[:_DIGITS],
                f"{one.after_call:,}",
                words_of_bytes(one.size_bytes) if one.size_bytes else "",
            )
            for one in self.checkpoints
        ]


def list_checkpoints(actor: str | ActorHandle) -> CheckpointList:
    """Return the checkpoints that a durable actor of this session can come back from, newest first.

    ``actor`` is a handle, the actor's id in hexadecimal, or while it lives its name in this process's namespace. They
    are read from the actor's folder, whether it is alive or not; those whose note is damaged are left out. Whichever of
    them is loaded, the calls after it are executed again, so the state is the same: they differ in how long that takes.

    Raises as :func:`ipyactors.actor.get_checkpoints_for_actor`.
    """
    __tracebackhide__ = True
    found = checkpoints.manifests_of(actor, "list_checkpoints")
    return CheckpointList(
        tuple(CheckpointInfo(one.data.checkpoint_id, one.lsn, one.data.size, one.data.wall_s) for one in found)
    )
