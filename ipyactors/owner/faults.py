"""What is to go wrong on purpose with the tasks of this process: their attempts are counted here, as they are sent.

A call that a worker gives back has not begun: when it is sent again it is the same attempt, and takes its orders along.
"""

from __future__ import annotations

import dataclasses
import weakref

import msgspec

from ipyactors.owner.calls import TaskCall
from ipyactors.wire.chaos_words import Order, Report


@dataclasses.dataclass(slots=True)
class _Counted:
    order: Order
    attempts: int = 0
    given: int = 0


class TaskFaults:
    """The orders for remote functions, by the id of their definition. Guarded by the session's lock."""

    def __init__(self) -> None:
        self._orders: dict[bytes, list[_Counted]] = {}
        self._done: set[tuple[int, int]] = set()
        self._given: weakref.WeakKeyDictionary[TaskCall, tuple[int, tuple[Order, ...]]] = weakref.WeakKeyDictionary()

    def add(self, definition_id: bytes, order: Order) -> None:
        """Count the attempts of a function for an order, from now on."""
        self._orders.setdefault(definition_id, []).append(_Counted(order))

    def remove(self, definition_id: bytes | None = None) -> tuple[int, ...]:
        """Forget the orders for a function, or all of them; return their ids."""
        definitions = tuple(self._orders) if definition_id is None else (definition_id,)
        return tuple(one.order.order_id for key in definitions for one in self._orders.pop(key, []))

    def of(self, call: TaskCall) -> tuple[Order, ...]:
        """Return what is to be done to an attempt that is about to be sent."""
        given = self._given.get(call)
        if given is None or given[0] != call.attempt:
            given = self._given[call] = call.attempt, tuple(self._count(call.template.definition.definition_id))
        return tuple(order for order in given[1] if (order.order_id, order.base) not in self._done)

    def note_done(self, report: Report) -> None:
        """A worker has ended that did this: an attempt that it had not begun is sent again, and goes well."""
        self._done.update((act.order.order_id, act.order.base) for act in report.acts)

    def _count(self, definition_id: bytes) -> list[Order]:
        orders = []
        for one in self._orders.get(definition_id, []):
            one.attempts += 1
            if one.attempts >= one.order.nth and not 0 < one.order.times <= one.given:
                orders.append(msgspec.structs.replace(one.order, nth=1, times=1, base=one.given))
                one.given += 1
        return orders
