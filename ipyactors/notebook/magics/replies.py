"""What ``%%remote`` answers: what it has defined or replaced, a line for each, and who still runs the old class."""

from __future__ import annotations

import enum
import textwrap
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ipyactors.api.actor import ActorClass
from ipyactors.api.actor_table import label
from ipyactors.api.remote import RemoteFunction
from ipyactors.ground.options import Place
from ipyactors.notebook.cells.cell_compiler import Definition, Options
from ipyactors.wire.specs import ActorState, ActorStatus

#: Characters of a line. A notebook breaks longer ones where they happen to end, within a name.
WIDTH = 88

_NOUNS = {Place.TASK: "task", Place.ACTOR: "actor class"}


def is_remote(value: Any) -> bool:
    """Return whether ``value`` is a remote function or a remote class."""
    return isinstance(value, (RemoteFunction, ActorClass))


def stays_plain(value: Any) -> bool:
    """Return whether ``value`` is a class that could not do its work as an actor: an exception, an enum."""
    return isinstance(value, type) and issubclass(value, (BaseException, enum.Enum))


def defined(
    definitions: Sequence[Definition],
    options: Mapping[Definition, Options],
    plain: Collection[str],
    before: Mapping[str, Any],
    actors: Sequence[ActorStatus],
    variables: Mapping[bytes, str] = MappingProxyType({}),
) -> str:
    """Return the lines, broken between words where they are too long.

    ``plain`` are the names of what was left as it is, ``before`` holds what the names meant until now, ``actors`` are
    those of the namespace, also if another kernel has made them, and ``variables`` those that hold a handle, by the
    actor's id.
    """
    return "\n".join(
        _folded(
            f"left {definition.name} plain, as exceptions and enums are"
            if definition.name in plain
            else _about(definition, options[definition], before.get(definition.name), actors, variables)
        )
        for definition in {one: one for one in definitions}.values()  # the last of those that are equal
    )


def _folded(words: str) -> str:
    return textwrap.fill(words, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _about(
    definition: Definition,
    options: Options,
    before: Any,
    actors: Sequence[ActorStatus],
    variables: Mapping[bytes, str],
) -> str:
    replaced = is_remote(before)
    words = f"{'replaced' if replaced else 'defined'} {_NOUNS[definition.place]} {definition.name}"
    if options:
        words += f" ({', '.join(f'{name}={_shown(value)}' for name, value in options.items())})"
    if definition.place is Place.TASK:
        return words
    before_id = before.definition_id if isinstance(before, ActorClass) else b""
    old = [status for status in actors if _is_of_other_code(status, definition, before_id)]
    if not old:
        return words
    what = "the class before it" if replaced else f"an earlier {definition.name}"
    words += f", and {what} is still run by {', '.join(map(label, old))}"
    if not (options.get("durable") and any(status.level for status in old)):
        return words
    if len(old) > 1:
        return f"{words}; to change that, for each: %upgrade NAME"
    which = old[0].name or variables.get(old[0].actor_id)
    how = f"%upgrade {which}" if which else f"the handle's upgrade({definition.name})"
    return f"{words}; to change that: {how}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(getattr(item, '__name__', repr(item)) for item in value)}]"
    return repr(value)


def _is_of_other_code(status: ActorStatus, definition: Definition, before_id: bytes) -> bool:
    """Return whether a live actor runs a class of this name with other code.

    Where its code is not known, since no ``%%remote`` has defined it, only the class ``before_id`` counts.
    """
    if status.state is ActorState.DEAD or status.class_name != definition.name:
        return False
    if not status.source_digest:
        return bool(before_id) and status.definition_id == before_id
    return status.source_digest != definition.digest
