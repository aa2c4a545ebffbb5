"""Which faults were ordered and are not injected yet; what was done; and who waits to hear of it. In memory only.

What is left of the orders for an actor is with its process while it has one, and comes back here when that ends.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict

from ipyactors.wire.chaos_messages import ChaosReply, InjectFault, OwnerToChaos
from ipyactors.wire.chaos_words import Act, Order, Progress

#: Of so many acts, and of so many orders that are over, the numbers are kept, so that none counts twice.
_KEPT = 10_000

#: What is to be done now to an actor that has no process waits so long for one; its sender waits longer for an answer.
NEXT_PROCESS_WITHIN_S = 20.0


@dataclasses.dataclass(frozen=True, slots=True)
class Awaiting:
    """Who is answered, once the process or machine ``by`` knows of something, or has ended.

    ``lists_at_s`` (wall time) is set for who asks what is left: that is filled in then.
    """

    by: bytes
    owner_id: bytes
    reply: ChaosReply
    lists_at_s: float | None = None


@dataclasses.dataclass(slots=True)
class Early:
    """What is to be done now to an actor without a process; given up at ``until_s`` (monotonic, set a turn later)."""

    owner_id: bytes
    message: InjectFault
    until_s: float | None = None


class FaultTable:
    """See the module. Numbers rise with the head's epoch, so that no two heads give the same."""

    def __init__(self, head_epoch: int) -> None:
        self._last_id = head_epoch << 40
        self._orders: dict[int, Progress] = {}
        self._owners: dict[int, bytes] = {}
        self._acts: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._over: OrderedDict[int, None] = OrderedDict()
        self.awaiting: dict[int, Awaiting] = {}
        #: By process that has not registered yet: the tickets of orders that came after it was started.
        self.unheard: dict[bytes, list[int]] = {}
        self.early: list[Early] = []
        self.postponed: list[tuple[bytes, OwnerToChaos]] = []
        self.killed_head = False
        self._frozen: dict[bytes, Act] = {}

    @property
    def has_over(self) -> bool:
        """Whether any order is done with, or was cleared."""
        return bool(self._over)

    def next_id(self) -> int:
        """Return a number for an order or a ticket."""
        self._last_id += 1
        return self._last_id

    def add(self, order: Order, owner_id: bytes) -> None:
        """Keep an order of ``owner_id``; one for tasks goes with it."""
        self._orders[order.order_id] = Progress(order)
        self._owners[order.order_id] = owner_id

    def left(self, wall_s: float) -> tuple[Progress, ...]:
        """Return all orders that are left."""
        for order in [one.order for one in self._orders.values()]:
            if 0 < order.until_s <= wall_s:
                self._remove(order.order_id)
        return tuple(self._orders.values())

    def concerns(self, actor_id: bytes) -> bool:
        """Return whether there is an order for an actor."""
        return any(one.order.actor_id == actor_id for one in self._orders.values())

    def left_for(self, actor_id: bytes) -> tuple[Progress, ...]:
        """Return the orders that the next process of an actor has to have."""
        return tuple(one for one in self._orders.values() if one.order.actor_id == actor_id)

    def take_report(self, progress: tuple[Progress, ...]) -> None:
        """Learn how far the orders of a process are; of some, only it may have known."""
        for one in progress:
            if one.order.order_id not in self._over:
                self._orders[one.order.order_id] = one

    def is_new(self, act: Act) -> bool:
        """Take note of what was done; return whether it was not known."""
        key = act.order.order_id, act.number
        if key in self._acts:
            return False
        self._acts[key] = None
        if len(self._acts) > _KEPT:
            self._acts.popitem(last=False)
        order = act.order
        known = self._orders.get(order.order_id)
        if known is None:
            return True
        # An actor's process counts by itself, and may have said how far it is; of tasks, each comes from another.
        done = max(known.done, act.number) if order.actor_id else known.done + 1
        self._orders[order.order_id] = Progress(known.order, known.counted, done)
        if done == known.order.times:
            self._remove(order.order_id)
        return True

    def note_frozen(self, worker_id: bytes, act: Act) -> None:
        """A process is frozen from now on, for the seconds of the order."""
        self._frozen[worker_id] = act

    def note_gone(self, worker_id: bytes) -> None:
        """A process has ended."""
        self.unheard.pop(worker_id, None)
        self._frozen.pop(worker_id, None)

    def frozen_words(self, worker_id: bytes, wall_s: float) -> str:
        """Return that a process is frozen just now, in words; empty if it is not."""
        act = self._frozen.get(worker_id)
        if act is None:
            return ""
        left_s = act.wall_s + act.order.seconds - wall_s
        if left_s <= 0:
            del self._frozen[worker_id]
            return ""
        at = f" {act.order.moment.value} {act.name}" if act.name else ""
        return (
            f"its process is frozen by an injection (chaos.freeze for {act.order.seconds:g} s{at}; {left_s:.1f} s left)"
        )

    def clear(self, actor_id: bytes, order_ids: tuple[int, ...], *, is_all: bool) -> tuple[Progress, ...]:
        """Forget orders; return them."""
        found = [
            one
            for one in self._orders.values()
            if is_all or one.order.order_id in order_ids or (actor_id and one.order.actor_id == actor_id)
        ]
        for one in found:
            self._remove(one.order.order_id)
        for order_id in order_ids:  # some may be known to a process alone
            self._note_over(order_id)
        return tuple(found)

    def is_over(self, order_id: int) -> bool:
        """Return whether an order is done with, or was cleared."""
        return order_id in self._over

    def drop_owner(self, owner_id: bytes) -> None:
        """A process is gone: what it had ordered for its tasks goes with it, and nobody waits any more."""
        for one in list(self._orders.values()):
            if not one.order.actor_id and self._owners.get(one.order.order_id) == owner_id:
                self._remove(one.order.order_id)
        for ticket in [ticket for ticket, one in self.awaiting.items() if one.owner_id == owner_id]:
            del self.awaiting[ticket]

    def _remove(self, order_id: int) -> None:
        del self._orders[order_id]
        self._owners.pop(order_id, None)
        self._note_over(order_id)

    def _note_over(self, order_id: int) -> None:
        self._over[order_id] = None
        if len(self._over) > _KEPT:
            self._over.popitem(last=False)
