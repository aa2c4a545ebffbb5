"""Data that was saved for a checkpoint that never came to be, because its process ended on the way."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from ipyactors.durable.manifest import Manifest

#: As the folder's own store calls data, whole or not; whatever else may be there is somebody's.
_DATA = re.compile(r"data-63[0-9a-f]{30}(\.tmp)?")


class _Folder(Protocol):
    def all_names(self) -> list[str]:
        """Return the names of all files, of those that are not whole as well."""
        ...

    def remove(self, names: Iterable[str]) -> None:
        """Remove files."""
        ...


def find(names: Iterable[str], checkpoints: Sequence[Manifest], problems: Mapping[str, str]) -> list[str]:
    """Return the names of such data. Nothing is known to be some while a checkpoint's file cannot be read."""
    if problems:
        return []
    named = {one.data.locator for one in checkpoints}
    return sorted(name for name in names if _DATA.fullmatch(name) and name not in named)


def remove(folder: _Folder, checkpoints: Sequence[Manifest], problems: Mapping[str, str]) -> None:
    """Remove such data from an actor's folder. For who has its lock; what cannot be removed stays, and does no harm."""
    with contextlib.suppress(OSError):
        folder.remove(find(folder.all_names(), checkpoints, problems))
