"""An engine without processes: calls run in this process, when somebody waits for them, in the order of submission.

Everything is pickled and unpickled as it would be on its way to a worker, definitions and handles included, so what a
test sees of an api object is what a worker sees.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import types
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from ipyactors.api import runtime
from ipyactors.ground import ids
from ipyactors.ground.exceptions import (
    ActorAlreadyExistsError,
    ActorDiedError,
    ActorNotFoundError,
    GetTimeoutError,
    TaskCancelledError,
)
from ipyactors.owner import process
from ipyactors.owner.actors import ActorClient
from ipyactors.owner.objects import Entry
from ipyactors.owner.refs import ObjectRef, ObjectRefGenerator
from ipyactors.owner.streams import Stream
from ipyactors.owner.templates import STREAMING, ActorTemplate, MethodTemplate, TaskTemplate
from ipyactors.owner.waits import Waits
from ipyactors.wire import serialize
from ipyactors.wire.census_messages import CensusReply
from ipyactors.wire.events import Event
from ipyactors.wire.head_messages import ClusterReply
from ipyactors.wire.specs import ActorState, ActorStatus, Definition, NodeStatus, RefSpec


class FakeSession:
    """What references ask of a session."""

    is_driver = True
    is_over = False

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.process_id = ids.new_driver_id()
        self.node_id = ids.new_node_id()
        self.paths = types.SimpleNamespace(name="fake-session", state_dir="/fake/state")
        self.entries: dict[bytes, Entry] = {}
        self.waits = Waits()

    def value_of(self, entry: Entry) -> Any:
        if entry.failure is not None:
            raise entry.failure
        return serialize.loads(entry.payload)

    def future_of(self, entry: Entry) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def settle(done: Entry) -> None:
            future.set_exception(done.failure) if done.failure else future.set_result(self.value_of(done))

        entry.when_done(settle)
        return future

    @property
    def custody(self) -> FakeSession:
        return self

    def refer(self, entry: Entry) -> RefSpec:
        self.entries[entry.object_id] = entry
        return RefSpec(entry.object_id, "fake")

    def adopt(self, spec: RefSpec) -> Entry:
        return self.entries[spec.object_id]

    def wait(self, is_done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        while not is_done() and self.engine.calls:
            self.engine.run_next()
        return is_done()


class FakeEngine:
    """See the module. ``calls`` are those that have not run; ``run`` names the ones that have, in order."""

    namespace = "fake"
    given_at_first: dict[str, Any] | None = None
    welcome = ""
    everything: bool | None = None

    def __init__(self) -> None:
        self.session = FakeSession(self)
        self.calls: deque[tuple[str, Entry | Stream, Callable[[], Any], Any]] = deque()
        self.run: list[str] = []
        self.definitions: set[bytes] = set()
        self.loaded: dict[bytes, Any] = {}
        self.templates: list[TaskTemplate | MethodTemplate | ActorTemplate] = []
        self.instances: dict[bytes, Any] = {}
        self.statuses: dict[bytes, ActorStatus] = {}
        self.handles: dict[bytes, bytes] = {}
        self.counts: dict[bytes, int] = {}
        self.killed: list[tuple[bytes, bool]] = []
        self.finished: list[bytes] = []
        self.recorded: list[Event] = []
        self.subscribers: list[Callable[[Event], None]] = []
        self.is_shut_down = False
        self.started_with: dict[str, Any] = {}
        self.counter = 0
        self.loop = asyncio.new_event_loop()

    # -- submitting ------------------------------------------------------------------------------------------------

    def load(self, definition: Any) -> Any:
        self.definitions.add(definition.definition_id)
        if definition.definition_id not in self.loaded:
            self.loaded[definition.definition_id] = serialize.loads(definition.payload)
        return self.loaded[definition.definition_id]

    def submit_task(self, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        function = self.load(template.definition)
        return self.submit(template.name, template, function, args, kwargs)

    def submit(self, name: str, template: Any, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        self.templates.append(template)
        payload = serialize.dumps_call(args, kwargs, what=f"the arguments of {name}")

        def call() -> Any:
            positional, named = serialize.loads(payload)
            positional = tuple(self.resolve(value) for value in positional)
            result = function(*positional, **{key: self.resolve(value) for key, value in named.items()})
            return self.loop.run_until_complete(result) if inspect.iscoroutine(result) else result

        self.counter += 1
        returns = template.num_returns
        made: list[Any] = [Entry(self.new_id(index)) for index in range(max(returns, 1))]
        if returns == STREAMING:
            made = [Stream(self.new_id(0))]
        self.calls.append((name, made, call, returns))
        if returns == STREAMING:
            return ObjectRefGenerator(self.session, made[0], made[0])
        refs = [ObjectRef(entry) for entry in made]
        return None if returns == 0 else refs[0] if returns == 1 else refs

    def new_id(self, index: int) -> bytes:
        return ids.object_id(self.session.process_id, self.counter, index)

    def resolve(self, value: Any) -> Any:
        return self.get([value], None)[0] if isinstance(value, ObjectRef) else value

    def run_next(self, position: int = 0) -> None:
        """Run the call at ``position`` in the queue of those that have not run."""
        self.calls.rotate(-position)
        name, made, call, returns = self.calls.popleft()
        self.calls.rotate(position)
        self.run.append(name)
        try:
            result = call()
            if returns == STREAMING:
                for index, item in enumerate(result):
                    made[0].add(index, serialize.dumps(item))
                made[0].end(None)
                return
            for entry, value in zip(made, [result] if returns in {0, 1} else result, strict=True):
                entry.complete(serialize.dumps(value))
        except Exception as error:
            for entry in made:
                entry.fail(error)

    # -- actors ----------------------------------------------------------------------------------------------------

    def create_actor(self, template: ActorTemplate, args: Any, kwargs: Any) -> tuple[ActorClient, bytes | None]:
        self.templates.append(template)
        for status in self.statuses.values():
            if template.name and status.name == template.name and status.state is ActorState.ALIVE:
                if not template.get_if_exists:
                    raise ActorAlreadyExistsError(f"{template.name!r} exists")
                return self._counted(status.actor_id, status.class_name, status.name), self.handles[status.actor_id]
        actor_id = ids.new_actor_id()
        payload = serialize.dumps_call(args, kwargs, what="the arguments of a constructor")
        positional, named = serialize.loads(payload)
        self.instances[actor_id] = self.load(template.definition)(*positional, **named)
        self.handles[actor_id] = template.handle
        self.statuses[actor_id] = ActorStatus(
            actor_id, ActorState.ALIVE, class_name=template.class_name, name=template.name, namespace=self.namespace
        )
        return self._counted(actor_id, template.class_name, template.name), None

    def call_method(self, client: ActorClient, template: MethodTemplate, args: Any, kwargs: Any) -> Any:
        instance = self.instances.get(client.actor_id)

        def upgrade(definition: bytes, handle: bytes) -> None:
            instance.__class__ = self.load(msgspec.msgpack.decode(definition, type=Definition))
            self.handles[client.actor_id] = handle

        built_in = {
            "__ray_ready__": lambda: True,
            "__ray_call__": lambda function, *rest: function(instance, *rest),
            "__ipyactors_checkpoint__": lambda: f"checkpoint-{len(self.run)}",
            "__ipyactors_upgrade__": upgrade,
        }

        def method(*positional: Any, **named: Any) -> Any:
            if client.actor_id not in self.instances:
                raise ActorDiedError("it is dead")
            function = built_in.get(template.method) or getattr(instance, template.method)
            return function(*positional, **named)

        return self.submit(f"{client.class_name}.{template.method}", template, method, args, kwargs)

    def adopt_actor(self, actor_id: bytes, class_name: str, name: str) -> ActorClient:
        return self._counted(actor_id, class_name, name)

    def find_actor(self, name: str, namespace: str) -> tuple[ActorClient, bytes]:
        for status in self.statuses.values():
            if (status.name, status.namespace) == (name, namespace) and status.state is ActorState.ALIVE:
                return self._counted(status.actor_id, status.class_name, name), self.handles[status.actor_id]
        raise ActorNotFoundError(f"no actor {name!r}")

    def _counted(self, actor_id: bytes, class_name: str, name: str) -> ActorClient:
        self.counts[actor_id] = self.counts.get(actor_id, 0) + 1
        return ActorClient(actor_id, class_name, name)

    def release_handle(self, client: ActorClient) -> None:
        self.counts[client.actor_id] -= 1

    def kill_actor(self, client: ActorClient, *, no_restart: bool) -> None:
        self.killed.append((client.actor_id, no_restart))
        self.instances.pop(client.actor_id, None)
        self.statuses[client.actor_id] = ActorStatus(client.actor_id, ActorState.DEAD, name=client.name)

    def finish_actor(self, client: ActorClient) -> None:
        self.finished.append(client.actor_id)

    # -- values ----------------------------------------------------------------------------------------------------

    def get(self, refs: Sequence[ObjectRef], timeout_s: float | None) -> list[Any]:
        _, rest = self.wait(refs, len(refs), timeout_s)
        if rest:
            raise GetTimeoutError("not there")
        return [self.session.value_of(ref._entry) for ref in refs]

    def wait(self, refs: Sequence[ObjectRef], num_returns: int, timeout_s: float | None) -> Any:
        while sum(ref._entry.done for ref in refs) < num_returns and timeout_s != 0 and self.calls:
            self.run_next()
        ready = [ref for ref in refs if ref._entry.done][:num_returns]
        return ready, [ref for ref in refs if ref not in ready]

    def as_completed(self, refs: Sequence[ObjectRef], deadline_s: float | None) -> Iterator[ObjectRef]:
        rest = list(refs)
        while rest:
            ready, rest = self.wait(rest, 1, None if deadline_s is None else 0)
            if not ready:
                return
            yield from ready

    def put(self, value: Any, copies: int = 1) -> ObjectRef:
        self.counter += 1
        entry = Entry(self.new_id(0))
        entry.complete(serialize.dumps(value))
        return ObjectRef(entry)

    def cancel(self, ref: ObjectRef, *, force: bool, recursive: bool) -> None:
        ref._entry.fail(TaskCancelledError("cancelled"))

    # -- looking ---------------------------------------------------------------------------------------------------

    def explain(self, subject: Any) -> str:
        return f"explained {type(subject).__name__}"

    def describe_cluster(self) -> ClusterReply:
        total, free = {"CPU": 20_000, "memory": 10_000_000}, {"CPU": 5_000}
        return ClusterReply(1, (NodeStatus(b"n1", "here", total, free, 3),), tuple(self.statuses.values()))

    def take_census(self) -> CensusReply:
        return CensusReply(1, self.describe_cluster().nodes, (), {}, {})

    def events(self) -> list[Event]:
        return list(self.recorded)

    def subscribe(self, on_event: Callable[[Event], None], *, notable_only: bool = False) -> Callable[[], None]:
        if notable_only:
            for event in self.recorded:
                on_event(event)
        self.subscribers.append(on_event)
        return lambda: self.subscribers.remove(on_event)

    def shutdown(self, *, everything: bool | None = None) -> None:
        self.is_shut_down, self.everything = True, everything
        self.loop.close()
        process.set_session(None)


@contextmanager
def fake_engine() -> Iterator[FakeEngine]:
    """The engine of this process for the time of the block; ``init()`` and the first use start it too."""
    runtime.shutdown()
    engine, real_start = FakeEngine(), runtime._runtime.start

    def start(**arguments: Any) -> FakeEngine:
        nonlocal engine
        del arguments["meanwhile"]
        if engine.is_shut_down:
            engine = FakeEngine()
        engine.started_with = arguments
        process.set_session(engine.session)
        return engine

    runtime._runtime.start = start
    try:
        yield engine
    finally:
        runtime.shutdown()
        runtime._runtime.start = real_start
        if not engine.is_shut_down:
            engine.shutdown()
