"""One actor on its way to the head; it may have to wait for references among its constructor's arguments."""

from __future__ import annotations

from typing import Any

from ipyactors.engines.packing import pack
from ipyactors.ground.exceptions import ActorAlreadyExistsError
from ipyactors.owner import arrivals, constructors, outbox, values
from ipyactors.owner.actors import ActorClient
from ipyactors.owner.objects import Entry
from ipyactors.owner.origins import Origin
from ipyactors.owner.session import Session
from ipyactors.owner.templates import ActorTemplate
from ipyactors.owner.waits import NO_THREAD
from ipyactors.store.reader import Mapped
from ipyactors.wire.head_messages import CreateActor, ReleaseActor
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.specs import ActorSpec, Payload


class Creation:
    """What is known of an actor that the head does not know yet. ``keep`` holds the arguments' handles alive.

    ``origin`` is the line that creates it, for its arguments. It ``outlives`` this process if it is detached, or was
    created by a durable actor, ``creator_id``.
    """

    def __init__(
        self,
        session: Session,
        client: ActorClient,
        template: ActorTemplate,
        payload: Payload,
        deps: tuple[Entry, ...],
        keep: object,
        origin: Origin,
        *,
        outlives: bool = False,
        creator_id: bytes = b"",
    ) -> None:
        self._session = session
        self._client = client
        self._template = template
        self._payload = payload
        self._deps = deps
        self._keep = keep
        self._origin = origin
        self._outlives = outlives or template.detached
        self._creator_id = creator_id
        self._mapped: dict[bytes, Mapped] = {}
        self._unready = 0
        self._wait = session.waits.during(deps, NO_THREAD, scope=0)  # also when the cell is interrupted

    def request(self, request_id: int) -> CreateActor:
        """Return the message; the references' values are there by now. Raises what an argument failed with."""
        for entry in self._deps:
            if entry.failure is not None:
                values.value_of(entry)
        with deferred(), self._session.lock:
            own = self._own_arguments()
            spec = self._spec(own)
            constructors.keep(self._session.state, self._session.mail, spec)
        self._client.creation = CreateActor(request_id, spec, self._template.get_if_exists)
        return self._client.creation

    def _spec(self, own: Entry | None) -> ActorSpec:
        template = self._template
        return ActorSpec(
            actor_id=self._client.actor_id,
            class_name=template.class_name,
            owner_id=self._session.process_id,
            definition=template.definition,
            args=self._payload if own is None else self._name(own, self._payload.actor_ids),
            arg_values=tuple(map(self._value, self._deps)),
            name=template.name,
            namespace=template.namespace or self._session.namespace,
            detached=template.detached,
            demand=template.demand,
            max_restarts=template.max_restarts,
            max_concurrency=template.max_concurrency,
            is_async=template.is_async,
            handle=template.handle,
            durability=template.durability,
            creator_id=self._creator_id,
            owner_address="" if self._outlives else self._session.state.address,
        )

    def _own_arguments(self) -> Entry | None:
        """Return the object that the arguments are, if they are in the store."""
        payload = self._payload
        if payload.stored is None:
            return None
        entry = Entry(payload.stored.segment_id, origin=self._origin)
        entry.complete(payload)
        self._session.state.lineage.entries[entry.object_id] = entry
        return entry

    def _value(self, entry: Entry) -> Payload:
        """Return the value of a reference among the arguments: itself, or the name of what is in a store."""
        payload = entry.payload
        if payload is None:  # it was lost, and is being made again
            return self._name(entry)
        if payload.stored is None:
            return payload
        if self._outlives:
            # With its bytes: it is needed again at each restart, when this process may be long gone.
            mapped = self._mapped[payload.stored.segment_id]
            return payload.with_bytes(bytes(mapped.data), mapped.buffers)
        return self._name(entry)

    def _name(self, entry: Entry, actor_ids: tuple[bytes, ...] = ()) -> Payload:
        return constructors.stand_for(self._session.state, self._session.mail, entry, actor_ids)

    def bring(self) -> None:
        """Map the values that the actor takes along, if it is to outlive this process; may wait for others."""
        if self._takes_along:
            self._mapped = arrivals.bring(self._session, self._deps, None) or {}

    @property
    def _takes_along(self) -> bool:
        return self._outlives and any(entry.stored is not None for entry in self._deps)

    def send_when_ready(self) -> None:
        """Send the request, once the arguments are there, and do not wait for the answer."""
        session = self._session
        with deferred(), session.lock:
            waiting = [entry for entry in self._deps if not entry.done]
            self._unready = len(waiting)
        if waiting:
            self._wait.__enter__()
        for entry in waiting:
            session.when_done(entry, self._on_argument)
        if not waiting:
            self._on_arguments()

    def _on_argument(self, _entry: Entry) -> None:
        self._unready -= 1
        if not self._unready:
            self._on_arguments()

    def _on_arguments(self) -> None:
        session = self._session
        if self._takes_along:
            with deferred(), session.lock:
                session.callbacks.submit(self._bring_and_send)  # it may wait, and who reads must not
        else:
            self._send()

    def _bring_and_send(self) -> None:
        try:
            self.bring()
        except Exception as error:
            self._fail(error)
        else:
            self._send()

    def _send(self) -> None:
        session = self._session
        with deferred(), session.lock:
            try:
                session.mail.to_head(self.request(0))
            except Exception as error:
                self._fail(error)
            self.finish()
        session.flush()

    def _fail(self, error: Exception) -> None:
        session = self._session
        with deferred(), session.lock:
            # Kept for the calls to come; without its traceback, whose frames would keep the arguments as long.
            outbox.on_creation_failed(session.state, self._client, error.with_traceback(None))
            self.finish()
        session.flush()

    def finish(self) -> None:
        """Let go of what was kept until the head had the specification."""
        self._client.creating = False
        self._wait.__exit__()
        self._keep = None
        self._mapped = {}

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


def create(
    session: Session,
    template: ActorTemplate,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    actor_id: bytes,
    origin: Origin,
    *,
    outlives: bool = False,
    creator_id: bytes = b"",
) -> tuple[ActorClient, bytes | None]:
    """Create an actor with this id; a named one only after the head has agreed to the name.

    Return its client, and the ``handle`` bytes of the one that ``get_if_exists`` found. One that ``outlives`` this
    process takes all bytes of its arguments along. Raises ActorAlreadyExistsError, SerializationError.
    """
    session.check_open()
    what = f"{template.class_name}.__init__"
    payload, deps, keep = pack(session, args, kwargs, what, in_message=template.detached or outlives)
    with deferred(), session.lock:
        client = outbox.client_of(session.state, actor_id)
        client.class_name, client.name = template.class_name, template.name
        client.weight, client.handles, client.creating = 1, 1, True
    creation = Creation(
        session, client, template, payload, deps, keep, origin, outlives=outlives, creator_id=creator_id
    )
    # What a durable actor notes as done must not be on the way still when its process dies.
    is_awaited = outlives and all(entry.done for entry in deps)
    if not (template.name or is_awaited):
        creation.send_when_ready()
        return client, None
    try:
        if deps:
            session.fetch(deps)
            with session.waits.during(deps):
                session.wait(lambda: all(entry.done for entry in deps))
            creation.bring()
        reply = session.ask_head(creation.request)
        if reply.existing is None and not reply.name_holder:
            creation.finish()
            return client, None
    except BaseException:
        creation.abandon()
        raise
    creation.abandon()
    if reply.existing is None:
        where = in_namespace(session, template.namespace or session.namespace)
        raise ActorAlreadyExistsError(
            f"Actor {template.class_name} was not created: a live actor ({reply.name_holder}) has the name "
            f"{template.name!r}{where} already. Kill that one first, choose another name, or pass get_if_exists=True "
            "to get a handle of it.",
            actor_id=actor_id.hex(),
        )
    return session.state.actors[reply.existing.actor_id], reply.existing.handle


def in_namespace(session: Session, namespace: str) -> str:
    """Return where a name was looked for, in words; empty for the namespace that is meant where nobody chooses one."""
    return f" in namespace {namespace!r}" if namespace not in ("", session.paths.name) else ""
