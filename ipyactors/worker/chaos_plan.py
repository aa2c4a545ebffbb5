"""Which call something is done to: orders, counted call by call. Pure; :mod:`ipyactors.worker.chaos` does it.

A call is counted for each order that it fits at the moment at which it begins; what is to be done to it later is kept
under its key until that moment comes, or the call is over. Once is once: what was given to a call is given to no other,
unless this process ends before it is done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ipyactors.wire.chaos_words import Deed, Moment, Order, Progress

#: Which call: the process id of its caller, and its number there. That of a call found in a log has no caller.
Key = tuple[bytes, int]

_OF_REPLIES = frozenset({Deed.DROP_REPLIES, Deed.DUPLICATE_REPLIES, Deed.DELAY_REPLIES})


@dataclasses.dataclass(slots=True)
class _Counted:
    """An order here: the calls ``counted``, how often it was ``given`` to one, how often ``done``."""

    order: Order
    counted: int
    given: int
    done: int

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(self.order, self.counted, self.done)


class Plan:
    """The orders of one process. Used by one thread at a time."""

    def __init__(self) -> None:
        self._orders: dict[int, _Counted] = {}
        self._later: dict[Key, list[Order]] = {}
        self._names: dict[Key, str] = {}
        self._of_tasks: dict[Key, tuple[Order, ...]] = {}
        self._newly_counted: dict[int, _Counted] = {}

    def add(self, progress: Iterable[Progress]) -> list[Progress]:
        """Take orders; return those that were not known."""
        new = [one for one in progress if one.order.order_id not in self._orders]
        for order, counted, done in ((one.order, one.counted, one.done) for one in new):
            self._orders[order.order_id] = _Counted(order, counted, done, done)
        return new

    def add_task(self, key: Key, orders: tuple[Order, ...]) -> None:
        """Take what is to be done to one task, which has been counted elsewhere."""
        self._of_tasks[key] = orders

    def clear(self, order_ids: tuple[int, ...] = ()) -> None:
        """Forget these orders, also for the calls that they were given to; all of them, if none is named."""
        for order_id in order_ids or tuple(self._orders):
            self._orders.pop(order_id, None)
            self._newly_counted.pop(order_id, None)
        for later in self._later.values():
            later[:] = [order for order in later if order_ids and order.order_id not in order_ids]

    def progress(self) -> tuple[Progress, ...]:
        """Return how far the orders are that are not done with."""
        return tuple(one.progress for one in self._orders.values())

    def take_counted(self) -> tuple[Progress, ...]:
        """Return the orders that have counted something since this was last asked."""
        counted, self._newly_counted = self._newly_counted, {}
        return tuple(one.progress for one in counted.values())

    # -- calls --------------------------------------------------------------------------------------------------

    def refuse(self, method: str) -> Order | None:
        """Count a call that could still be refused; return the order to do so, if there is one."""
        for counted in self._fitting(method):
            if counted.order.deed is Deed.FAIL and self._count(counted):
                return counted.order
        return None

    def begin(self, key: Key, method: str, name: str, *, is_logged: bool = False) -> list[Order]:
        """Count a call that is about to begin, of ``name`` for people; return what is to be done to it before.

        One that ``is_logged`` runs: it could have been refused before. A call without a caller has no reply.
        """
        given = list(self._of_tasks.pop(key, ()))
        for counted in self._fitting(method):
            deed = counted.order.deed
            is_too_late = deed is Deed.FAIL and is_logged
            has_no_reply = deed in _OF_REPLIES and not key[0]
            if not is_too_late and not has_no_reply and self._count(counted):
                given.append(counted.order)
        later = [order for order in given if order.moment is not Moment.BEFORE]
        if later:
            self._later[key], self._names[key] = later, name
        return [order for order in given if order.moment is Moment.BEFORE]

    def take(self, key: Key, moment: Moment) -> list[Order]:
        """Return what is to be done to a call now; it is not asked for again."""
        later = self._later.pop(key, None)
        if later is None:
            return []
        if left := [order for order in later if order.moment is not moment]:
            self._later[key] = left
        return [order for order in later if order.moment is moment]

    def end(self, key: Key) -> str:
        """A call is over: what was not done to it is for another one. Return its name; empty if nothing was ordered."""
        for order in self._later.pop(key, ()):
            if (counted := self._orders.get(order.order_id)) is not None:
                counted.given -= 1
        return self._names.pop(key, "")

    def has(self, deed: Deed) -> bool:
        """Return whether something of the kind is still to be done."""
        return any(one.order.deed is deed for one in self._orders.values())

    def save(self, now_s: float) -> Order | None:
        """Count a checkpoint that is about to be saved; return the order that has it find no room, if there is one."""
        for counted in list(self._orders.values()):
            order = counted.order
            if order.deed is not Deed.FILL_DISK:
                continue
            if order.until_s and now_s >= order.until_s:
                del self._orders[order.order_id]
            elif self._count(counted):
                return order
        return None

    def done(self, order: Order) -> int:
        """It is being done; return for the which time, from 1."""
        counted = self._orders.get(order.order_id)
        if counted is None:  # of a task; or it was cleared meanwhile
            return order.base + 1
        counted.done += 1
        if counted.done == order.times:
            del self._orders[order.order_id]
        return order.base + counted.done

    def _count(self, counted: _Counted) -> bool:
        """Count a call; return whether it is to be done to this one."""
        order = counted.order
        counted.counted += 1
        self._newly_counted[order.order_id] = counted
        is_given = counted.counted >= order.nth and not 0 < order.times <= counted.given
        counted.given += is_given
        return is_given

    def _fitting(self, method: str) -> list[_Counted]:
        is_ours = method.startswith("__")
        return [
            one
            for one in self._orders.values()
            if one.order.deed is not Deed.FILL_DISK
            and (one.order.method == method or not (one.order.method or is_ours))
        ]
