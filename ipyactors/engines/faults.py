"""What ``ipyactors.chaos`` asks of a session: orders to the head, for the tasks of this process, to the agent."""

from __future__ import annotations

from collections.abc import Callable

from ipyactors.ground.exceptions import ChaosError
from ipyactors.owner.faults import TaskFaults
from ipyactors.owner.session import Session
from ipyactors.wire.chaos_messages import ChaosReply, ClearFaults, EndNode, InjectFault, ListFaults
from ipyactors.wire.chaos_words import Order, Progress
from ipyactors.wire.codec import Message
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.node_messages import KillHead

#: How long a head that was killed may take until the next one is heard of.
_NEXT_HEAD_WITHIN_S = 60.0

#: How long the arguments of an actor's constructor may take until the head is told of the actor.
_MADE_WITHIN_S = 20.0


class Faults:
    """The verbs of ``ipyactors.chaos``. Usable from any thread. All raise SessionError, HeadUnavailableError."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def inject(self, order: Order, definition_id: bytes = b"", *, waits: bool = False) -> Order:
        """Have something done to an actor, or to the tasks of this process that run a definition; return the order.

        Returns when the process concerned knows of it, or has ended of it. Raises ChaosError if it cannot be done. With
        ``waits``, an actor that is being made, or is to have a process soon, is given some time for that.
        """
        session = self._session
        session.turn()  # what was submitted before is sent before
        client = session.state.actors.get(order.actor_id) if waits else None
        if client is not None and not session.wait(lambda: not client.creating, _MADE_WITHIN_S):
            raise ChaosError(f"{order.subject} waits for the arguments of its constructor. Nothing was done.")
        [progress] = self._ask(lambda request_id: InjectFault(request_id, order, waits))
        if definition_id:
            with deferred(), self._session.lock:
                table = self._session.state.leases
                table.faults = table.faults or TaskFaults()
                table.faults.add(definition_id, progress.order)
        return progress.order

    def clear(
        self, actor_id: bytes = b"", definition_id: bytes = b"", order_ids: tuple[int, ...] = ()
    ) -> tuple[Progress, ...]:
        """Forget these orders, those for an actor or a definition, or with nothing given all of them; return them."""
        if order_ids:
            return self._ask(lambda request_id: ClearFaults(request_id, b"", order_ids))
        if not actor_id:
            with deferred(), self._session.lock:
                of_tasks = self._session.state.leases.faults
                order_ids = of_tasks.remove(definition_id or None) if of_tasks is not None else ()
        is_all = not (actor_id or definition_id)
        return self._ask(lambda request_id: ClearFaults(request_id, actor_id, order_ids, is_all))

    def pending(self) -> tuple[Progress, ...]:
        """Return the orders that are left."""
        return self._ask(ListFaults)

    def kill_head(self) -> None:
        """Kill the head; return when this process knows of the next one."""
        session = self._session
        before = session.state.head_epoch
        session.post.tell_agent(KillHead())
        if not session.wait(lambda: session.state.head_epoch > before, _NEXT_HEAD_WITHIN_S):
            raise ChaosError(f"kill_head: no other head came within {_NEXT_HEAD_WITHIN_S:g} s.")
        self._ask(ListFaults)

    def kill_node(self, node_id: bytes) -> None:
        """Kill a machine; return when this process knows of its loss. Raises ChaosError if it is not to be killed."""
        self._ask(lambda request_id: EndNode(request_id, node_id))

    def _ask(self, make: Callable[[int], Message]) -> tuple[Progress, ...]:
        reply: ChaosReply = self._session.ask_head(make)
        if reply.error:
            raise ChaosError(f"{reply.error}. Nothing was done.")
        return reply.progress
