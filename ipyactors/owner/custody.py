"""References and handles in this process, as they are pickled, sent, received and unpickled, on any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ipyactors.owner import constructors, loans, outbox
from ipyactors.owner.actors import ActorClient, HandleToken
from ipyactors.owner.mail import Mail
from ipyactors.owner.objects import Entry
from ipyactors.owner.state import OwnerState
from ipyactors.owner.watching import watch
from ipyactors.wire import serialize
from ipyactors.wire.head_messages import HoldActor
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.specs import ActorSpec, Payload, RefSpec


class Custody:
    """Keeps what payloads name alive, here and with its owners. Every method may be called from any thread.

    ``count_handle`` counts handles here, ``flush`` sends what is queued, ``wake`` has a turn taken soon.
    """

    def __init__(
        self,
        state: OwnerState,
        mail: Mail,
        lock: threading.RLock,
        *,
        count_handle: Callable[[ActorClient, int], None],
        flush: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self._state = state
        self._mail = mail
        self._lock = lock
        self._count_handle = count_handle
        self._flush = flush
        self._wake = wake
        mail.lend, mail.receive = self.lend, self.receive
        state.objects.on_gone = self._on_gone

    # -- pickling and unpickling ------------------------------------------------------------------------------

    def refer(self, entry: Entry) -> RefSpec:
        """Return what a reference that is being pickled says. What no payload carries is kept for ever."""
        is_carried = serialize.is_collecting()
        with deferred(), self._lock:
            spec = loans.refer(self._state, self._mail, entry, is_carried=is_carried)
        if not is_carried:
            self._flush()
        return spec

    def adopt(self, spec: RefSpec) -> Entry:
        """Return the entry of a reference that is being unpickled."""
        with deferred(), self._lock:
            is_known = spec.object_id in self._state.objects.loans
            entry = loans.adopt(self._state, self._mail, spec)
        if not is_known:
            self._flush()
        return entry

    # -- sending and receiving --------------------------------------------------------------------------------

    def lend(self, receiver: bytes, *payloads: Payload) -> None:
        """Announce what payloads contain that are about to be sent; each time that they are."""
        with deferred(), self._lock:
            for payload in payloads:
                loans.lend(self._state, self._mail, receiver, payload)

    def receive(self, sender: bytes, *payloads: Payload) -> None:
        """Take over what payloads contain that have arrived; it lives as long as they do. Once for each arrival."""
        with deferred(), self._lock:
            for payload in payloads:
                if payload.refs:
                    payload.holding(*loans.receive(self._state, self._mail, sender, payload))
                if payload.actor_ids:
                    payload.holding(*map(self._receive_handle, payload.actor_ids))

    def receive_constructor(self, spec: ActorSpec) -> tuple[object, ...]:
        """Take over the references that the actor of this process is made from; they live as long as what is returned.

        Handles need no more than to be unpickled: the head keeps the actors that a constructor may need.
        """
        held: list[Entry] = []
        with deferred(), self._lock:
            for payload in constructors.payloads_of(spec):
                held += loans.receive_for_constructor(self._state, self._mail, spec.owner_id, payload)
        if held:
            self._flush()
        return tuple(held)

    def _receive_handle(self, actor_id: bytes) -> HandleToken:
        client = outbox.client_of(self._state, actor_id)
        if not client.weight:
            # What the head said when it counted this process may have come before the handle, or have gone to an
            # earlier client that has been let go of: holding it once more has the head say it again.
            client.weight = 1
            self._mail.to_head(HoldActor(actor_id))
        client.weight += 1
        return HandleToken(self._count_handle, client)

    def watch(self, process_id: bytes) -> None:
        """Hear when a process is gone, or that it is."""
        with deferred(), self._lock:
            watch(self._state, self._mail, process_id)

    # -- letting go -------------------------------------------------------------------------------------------

    def _on_gone(self, object_id: bytes) -> None:
        """Note that nothing needs a borrowed object any more. Takes no lock: it is called at any moment."""
        self._state.objects.gone.append(object_id)
        self._wake()
