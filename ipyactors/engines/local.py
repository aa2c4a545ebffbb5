"""The engine that runs calls on processes of our own: a thin layer of verbs over an owner's session."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ipyactors.engines import copying, description, nesting, reading
from ipyactors.engines.base import Submitted
from ipyactors.engines.creation import create, in_namespace
from ipyactors.engines.faults import Faults
from ipyactors.engines.following import Following
from ipyactors.engines.packing import check_pending, pack
from ipyactors.engines.submission import submit
from ipyactors.ground import ids
from ipyactors.ground.exceptions import ActorNotFoundError, HeadUnavailableError, SessionError
from ipyactors.launch import notebooks
from ipyactors.launch.local import AgentProcess
from ipyactors.launch.visiting import VisitedAgent, end_session
from ipyactors.owner import current, origins, outbox, process, reactor
from ipyactors.owner.actors import ActorClient, HandleToken, MethodCall
from ipyactors.owner.calls import CallState, TaskCall
from ipyactors.owner.objects import Entry
from ipyactors.owner.refs import ObjectRef, ObjectRefGenerator
from ipyactors.owner.session import Session
from ipyactors.owner.templates import ActorTemplate, MethodTemplate, TaskTemplate
from ipyactors.wire import serialize
from ipyactors.wire.census_messages import CensusReply, TakeCensus
from ipyactors.wire.events import Event
from ipyactors.wire.head_messages import ClusterReply, DescribeCluster, GetActor
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.node_messages import DetachProcess, StopSession
from ipyactors.wire.specs import ActorState

#: What lies between a line of the user's and the note of it: the api's function, and the engine's.
_OURS_ABOVE = 3

#: The actors that this driver makes, one after the other.
_actor_numbers = itertools.count(1)


class LocalEngine:
    """See :class:`ipyactors.engines.base.Engine`. In a worker it only has a session.

    In the driver that has started the session it owns the ``agent`` and those of ``further`` machines; in one that has
    come to it, it holds on to the agent that it has ``visited``. ``outlives_driver``: the session may go on without the
    driver that has started it. ``about_detached`` is told the user when a detached actor is made first.
    """

    given_at_first: Mapping[str, Any] | None = None
    welcome = ""
    about_detached = ""

    def __init__(
        self,
        session: Session,
        agent: AgentProcess | None = None,
        *,
        further: Sequence[AgentProcess] = (),
        visited: VisitedAgent | None = None,
        outlives_driver: bool = False,
    ) -> None:
        self.session = session
        self.faults = Faults(session)
        self.namespace = session.namespace
        self._agent = agent
        self._further = further
        self._visited = visited
        self._outlives_driver = outlives_driver
        self._pid = os.getpid()

    # -- submitting -------------------------------------------------------------------------------------------

    def submit_task(self, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Submitted:
        """Submit one call of a function."""
        turn, parent = current.turn(), current.call.get()
        payload, deps, keep = pack(self.session, args, kwargs, template.name)
        task_id = self.session.next_task_id()
        call = TaskCall(template, task_id, payload, deps, parent)
        origin = origins.note(template.facts, _OURS_ABOVE)
        nested = None
        if turn is not None:
            digest = nesting.digest_of(b"", f"{template.full_name} {template.name}", args, kwargs)
            nested = nesting.begin(turn, digest, template.name, template.num_returns)
        return submit(self.session, call, template.num_returns, keep, origin, nested)

    def call_method(
        self, client: ActorClient, template: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Submitted:
        """Submit one call of a method."""
        turn, parent = current.turn(), current.call.get()
        if template.max_pending_calls >= 0:
            check_pending(self.session, client, template.max_pending_calls)
        payload, deps, keep = pack(self.session, args, kwargs, template.method)
        task_id = self.session.next_task_id()
        call = MethodCall(template, client, task_id, payload, deps, parent)
        origin = origins.note(template, _OURS_ABOVE)
        nested = None
        if turn is not None or (template.is_durable and (parent is not None or template.key)):
            digest = nesting.digest_of(client.actor_id, template.method, args, kwargs)
            if turn is not None:
                nested = nesting.begin(turn, digest, call.name, template.num_returns)
            if template.key:
                digest = nesting.exact_digest_of(client.actor_id, template.method, args, kwargs)
            if template.is_durable:
                nesting.identify(call, parent, nested, digest)
        return submit(self.session, call, template.num_returns, keep, origin, nested)

    # -- actors -----------------------------------------------------------------------------------------------

    def create_actor(
        self, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[ActorClient, bytes | None]:
        """Create an actor; a named one only after the head has agreed to the name."""
        session, turn = self.session, current.turn()
        origin = origins.note(template, _OURS_ABOVE)
        if template.detached and self.about_detached:
            print(self.about_detached)
            self.about_detached = ""
        if turn is None:
            actor_id = ids.new_actor_id(next(_actor_numbers) if session.is_driver else 0)
            return create(session, template, args, kwargs, actor_id, origin)
        digest = nesting.digest_of(b"", template.full_name, args, kwargs)
        submission = turn.submitting(digest)
        actor_id, creator_id = nesting.actor_id_of(submission), submission.actor_id
        made: list[tuple[ActorClient, bytes | None]] = []

        def make() -> tuple[bytes, bytes | None]:
            of_turn = create(session, template, args, kwargs, actor_id, origin, outlives=True, creator_id=creator_id)
            made.append(of_turn)
            return made[0][0].actor_id, made[0][1]

        found_id, handle = turn.once(make)
        if made:
            return made[0]
        return session.adopt_actor(found_id, template.class_name, template.name), handle

    def adopt_actor(self, actor_id: bytes, class_name: str, name: str) -> ActorClient:
        """Return the client for an actor whose handle was unpickled here."""
        return self.session.adopt_actor(actor_id, class_name, name)

    def find_actor(self, name: str, namespace: str) -> tuple[ActorClient, bytes]:
        """Look a name up at the head; a turn of a durable actor that is replayed finds what it has found before."""
        session, turn = self.session, current.turn()
        clients: list[ActorClient] = []

        def find() -> tuple[bytes, str, bytes] | None:
            reply = session.ask_head(lambda request_id: GetActor(request_id, name, namespace))
            if reply.spec is None:
                return None
            clients.append(session.state.actors[reply.spec.actor_id])
            return reply.spec.actor_id, reply.spec.class_name, reply.spec.handle

        found = find() if turn is None else turn.once(find)
        if found is None:
            raise ActorNotFoundError(
                f"no live actor is named {name!r}{in_namespace(session, namespace)}. It was never created, or has "
                "ended; ipyactors.list_named_actors() tells which there are."
            )
        actor_id, class_name, handle = found
        return clients[0] if clients else session.adopt_actor(actor_id, class_name, name), handle

    def release_handle(self, client: ActorClient) -> None:
        """Count one handle object less."""
        self.session.count_handle(client, -1)

    def kill_actor(self, client: ActorClient, *, no_restart: bool) -> None:
        """Have the head end the actor's process."""
        turn = current.turn()
        if turn is not None and turn.submitting(client.actor_id).is_replayed:
            return
        session = self.session
        session.turn()  # what was submitted before the kill is sent before it
        with deferred(), session.lock:
            if client.worker_id:
                client.exiting = "kill()"  # what is submitted from now on is not for the process that is killed
        session.kill_actor(client.actor_id, no_restart=no_restart, detail="kill()")

    def finish_actor(self, client: ActorClient) -> None:
        """End the actor after the calls that it has been sent."""
        session = self.session
        session.turn()
        with deferred(), session.lock:
            client.finishing = True
            session.state.ready_actors.add(client)
        session.turn()

    # -- values -----------------------------------------------------------------------------------------------

    def get(self, refs: Sequence[ObjectRef], timeout_s: float | None) -> list[Any]:
        """Return the values, in order."""
        __tracebackhide__ = True
        turn = current.turn()
        if turn is not None:
            return turn.receive([ref._entry for ref in refs], lambda: reading.get(self.session, refs, timeout_s))
        return reading.get(self.session, refs, timeout_s)

    def wait(
        self, refs: Sequence[ObjectRef], num_returns: int, timeout_s: float | None
    ) -> tuple[list[ObjectRef], list[ObjectRef]]:
        """Wait for ``num_returns`` of the references."""
        turn = current.turn()
        entries = [ref._entry for ref in refs]
        if turn is None:
            chosen = set(reading.first_done(self.session, entries, num_returns, timeout_s))
        else:
            chosen = set(turn.choose(lambda: reading.first_done(self.session, entries, num_returns, timeout_s)))
        ready: list[ObjectRef] = []
        rest: list[ObjectRef] = []
        for index, ref in enumerate(refs):
            (ready if index in chosen else rest).append(ref)
        return ready, rest

    def as_completed(self, refs: Sequence[ObjectRef], deadline_s: float | None) -> Iterator[ObjectRef]:
        """Yield each reference when it is ready; an async iterator too where no turn notes the order."""
        turn = current.turn()
        if turn is None:
            return Following(self.session, refs, deadline_s)
        return _chosen(turn, self.session, refs, deadline_s)

    def put(self, value: Any, copies: int = 1) -> ObjectRef:
        """Pickle a value now; later changes to it are not seen by those who get it."""
        session = self.session
        entry = Entry(session.next_task_id(), origin=origins.note(None, _OURS_ABOVE))
        session.state.ages.mark(ids.counter_of(entry.object_id), time.monotonic())
        payload = session.keep(serialize.dumps(value, what="the value"), entry.object_id, "the value")
        entry.complete(payload)
        if payload.stored is not None:
            session.state.lineage.entries[entry.object_id] = entry
        if payload.actor_ids:
            with deferred(), session.lock:
                clients = [outbox.client_of(session.state, actor_id) for actor_id in payload.actor_ids]
            entry.tokens = tuple(HandleToken(session.count_handle, client) for client in clients)
        if copies > 1 and payload.stored is not None:
            copying.spread(session, entry, copies, self.describe_cluster().nodes)
        return ObjectRef(entry)

    def cancel(self, ref: ObjectRef | ObjectRefGenerator, *, force: bool, recursive: bool) -> None:
        """Cancel what makes ``ref``."""
        turn = current.turn()
        if turn is not None and turn.submitting(b"cancel").is_replayed:
            return
        session = self.session
        session.turn()
        with deferred(), session.lock:
            call = ref.call if isinstance(ref, ObjectRefGenerator) else ref._entry.producer
            if force and isinstance(call, MethodCall) and call.state is not CallState.DONE:
                raise ValueError(
                    f"cancel(force=True) ends the process of a task, and {call.name} is a method call: its actor's "
                    "process is not its own. Nothing was cancelled. Leave force out, or end the actor with kill()."
                )
            if isinstance(ref, ObjectRefGenerator):
                reactor.cancel_call(session.state, session.mail, ref.call, force=force, recursive=recursive)
            else:
                reactor.cancel(session.state, session.mail, ref._entry, force=force, recursive=recursive)
        session.turn()

    # -- looking ----------------------------------------------------------------------------------------------

    def explain(self, subject: ObjectRef | ObjectRefGenerator | ActorClient) -> str:
        """Return in words what the call or actor is doing or waiting for."""
        cluster = self.describe_cluster()
        with deferred(), self.session.lock:
            return description.explain(self.session.state, cluster, subject, time.monotonic())

    def describe_cluster(self) -> ClusterReply:
        """Ask the head."""
        reply: ClusterReply = self.session.ask_head(DescribeCluster)
        return reply

    def take_census(self) -> CensusReply:
        """Have the head ask everybody, once what was let go of here is on its way to be freed."""
        self.session.turn()
        reply: CensusReply = self.session.ask_head(TakeCensus)
        return reply

    def events(self) -> list[Event]:
        """Return what this process knows has happened."""
        self.session.turn()
        with deferred(), self.session.lock:
            return self.session.log.events()

    def subscribe(self, on_event: Callable[[Event], None], *, notable_only: bool = False) -> Callable[[], None]:
        """Call ``on_event`` for each new event."""
        with deferred(), self.session.lock:
            return self.session.log.subscribe(on_event, notable_only=notable_only)

    def shutdown(self, *, everything: bool | None = None) -> None:
        """End the session, or leave it; returns when nothing is left, or at once."""
        if os.getpid() != self._pid:
            return  # a child of a fork has copies of descriptors, and no part in the session
        if self._visited is not None:
            is_left = not everything
        else:
            is_left = everything is False and self._outlives_driver and _holds_detached(self)
        process.set_session(None)
        if self._agent is not None or self._visited is not None:
            self.session.post.tell_agent(DetachProcess() if is_left else StopSession())
        self.session.close()
        if self._visited is not None:
            self._visited.leave()
            if is_left:
                notebooks.unsign(self._visited.note.paths.state_dir)
            else:
                end_session(self._visited.note)
        elif not is_left:
            for agent in (*([self._agent] if self._agent is not None else []), *self._further):
                agent.stop()


def _holds_detached(engine: LocalEngine) -> bool:
    """Return whether there are detached actors; yes, if nobody can say: the session then ends by itself or not."""
    try:
        actors = engine.describe_cluster().actors
    except HeadUnavailableError:
        return True
    except SessionError:
        return False
    return any(actor.detached and actor.state is not ActorState.DEAD for actor in actors)


def _chosen(
    turn: current.Turn, session: Session, refs: Sequence[ObjectRef], deadline_s: float | None
) -> Iterator[ObjectRef]:
    """Yield references in the order in which they become ready, or did when this was done first."""
    __tracebackhide__ = True

    def follow() -> Iterator[ObjectRef]:
        yield from Following(session, refs, deadline_s)  # not made in a replay, which waits for nothing

    following = follow()
    index_of = {ref._entry: index for index, ref in enumerate(refs)}
    for _ in refs:
        chosen = turn.choose(lambda: [index_of[ref._entry] for ref in itertools.islice(following, 1)])
        if not chosen:
            return
        yield refs[chosen[0]]
