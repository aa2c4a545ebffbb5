"""One actor on its way to the head; it may have to wait for references among its constructor's arguments."""

from __future__ import annotations

from ipyactors.owner import constructors, outbox, values
from ipyactors.owner.actors import ActorClient
from ipyactors.owner.objects import Entry
from ipyactors.owner.session import Session
from ipyactors.owner.templates import ActorTemplate
from ipyactors.wire.head_messages import CreateActor, ReleaseActor
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.specs import ActorSpec, Payload


class Creation:
    """What is known of an actor that the head does not know yet. ``keep`` holds the arguments' handles alive."""

    def __init__(
        self,
        session: Session,
        client: ActorClient,
        template: ActorTemplate,
        payload: Payload,
        deps: tuple[Entry, ...],
        keep: object,
    ) -> None:
        self._session = session
        self._client = client
        self._template = template
        self._payload = payload
        self._deps = deps
        self._keep = keep
        self._unready = 0

    def request(self, request_id: int) -> CreateActor:
        """Return the message; the references' values are there by now. Raises what an argument failed with."""
        template = self._template
        for entry in self._deps:
            if entry.failure is not None:
                values.value_of(entry)
        spec = ActorSpec(
            actor_id=self._client.actor_id,
            class_name=template.class_name,
            owner_id=self._session.process_id,
            definition=template.definition,
            args=self._payload,
            # With their bytes: they are needed again at each restart, when the references may be long gone.
            arg_values=tuple(self._session.in_message(entry.payload) for entry in self._deps if entry.payload),
            name=template.name,
            namespace=template.namespace or self._session.namespace,
            detached=template.detached,
            demand=template.demand,
            max_restarts=template.max_restarts,
            max_concurrency=template.max_concurrency,
            is_async=template.is_async,
            handle=template.handle,
        )
        with deferred(), self._session.lock:
            constructors.keep(self._session.state, self._session.mail, spec)
        self._client.creation = CreateActor(request_id, spec, template.get_if_exists)
        return self._client.creation

    def send_when_ready(self) -> None:
        """Send the request, once the arguments are there, and do not wait for the answer."""
        session = self._session
        with deferred(), session.lock:
            waiting = [entry for entry in self._deps if not entry.done]
            self._unready = len(waiting)
        for entry in waiting:
            session.when_done(entry, self._on_argument)
        if not waiting:
            self._send()

    def _on_argument(self, _entry: Entry) -> None:
        self._unready -= 1
        if not self._unready:
            self._send()

    def _send(self) -> None:
        session = self._session
        with deferred(), session.lock:
            try:
                session.mail.to_head(self.request(0))
            except Exception as error:
                outbox.on_creation_failed(session.state, self._client, error)
            self.finish()
        session.flush()

    def finish(self) -> None:
        """Let go of what was kept until the head had the specification."""
        self._client.creating = False
        self._keep = None

    def abandon(self) -> None:
        """Forget an actor of which nobody gets a handle: the head refused it, or its answer was not waited for."""
        session = self._session
        with deferred(), session.lock:
            if self._client.creation is not None:
                session.mail.to_head(ReleaseActor(self._client.actor_id, 1))
            self._client.weight = 0
            self._client.handles = 0
            session.state.actors.pop(self._client.actor_id, None)
            session.state.constructors.pop(self._client.actor_id, None)
            self.finish()
        session.flush()
