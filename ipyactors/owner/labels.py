"""What people call an object or a call. Asks nobody, takes no lock, never fails.

A label is the same at each run of a program: no id, which is random, and no state, which depends on the moment. What
tells objects apart is the number of the call, or of the ``put``, among all that their driver has made. Workers are
used again and again, by whoever comes first, so what they make has no number.
"""

from __future__ import annotations

from ipyactors.ground import ids
from ipyactors.owner.calls import PendingCall
from ipyactors.owner.objects import Entry
from ipyactors.owner.origins import Maker
from ipyactors.owner.templates import STREAMING, MethodTemplate, TaskFacts
from ipyactors.wire.events import name_of_call, spoken


def label_of(entry: Entry) -> str:
    """Return ``add #3``, ``split #4[1]`` for one of several results, ``put #5``, ``#3`` if it was made elsewhere."""
    name, returns = _maker(entry)
    index = ids.index_of(entry.object_id) - (returns == STREAMING)  # items are numbered from 1
    number = ""
    if ids.is_driver(ids.owner_of(entry.object_id)):
        number = f"#{ids.counter_of(entry.object_id)}"
    which = f"[{index}]" if returns != 1 or index else ""
    return " ".join(filter(None, (name, number))) + which or "borrowed"


def call_label_of(call: PendingCall) -> str:
    """Return ``add #3`` for a call, by the same numbers."""
    is_numbered = ids.is_driver(ids.owner_of(call.task_id))
    return f"{call.spoken_name} #{ids.counter_of(call.task_id)}" if is_numbered else call.spoken_name


def _maker(entry: Entry) -> tuple[str, int]:
    """Return the name of what makes the object, if that is known, and how many it makes (-1: a stream of them)."""
    if entry.origin is None or entry.owner_address:
        return "", 1
    maker: Maker = entry.origin[0]
    match maker:
        case None:
            return "put", 1
        case TaskFacts():
            return maker.name, maker.num_returns
        case MethodTemplate():
            return spoken(name_of_call(maker.class_name, maker.method)), maker.num_returns
        case _:
            return "", 1
