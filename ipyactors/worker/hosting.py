"""The one actor that lives in a worker: how it is built, what its methods are, how it says goodbye."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Callable
from typing import Any, Protocol

from ipyactors.ground.attribute_texts import tell_attributes
from ipyactors.ground.ids import short
from ipyactors.owner import current
from ipyactors.owner.current import CurrentCall, Turn
from ipyactors.wire import state
from ipyactors.wire.events import name_of_call
from ipyactors.wire.specs import ActorSpec, Durability
from ipyactors.worker.changes import Changes
from ipyactors.worker.exit import ActorExit

#: Called on the instance when its actor ends in good order; the first that exists.
_GOODBYES = ("__ipyactors_shutdown__", "__ray_shutdown__")


class Keeper(Protocol):
    """What makes the checkpoints of a durable actor, and has it run another class. ``path`` is the actor's folder."""

    path: pathlib.Path

    def checkpoint(self) -> str:
        """Make one now; return its id."""
        ...

    def upgrade(self, definition: bytes, handle: bytes) -> None:
        """Go on as an instance of another class, with the same state."""
        ...


class HostedActor:
    """An actor's instance, once :meth:`build` or :meth:`restore` has made it.

    ``definition_id`` is the class that it runs; ``keeper`` is set for a durable actor.
    """

    def __init__(self, spec: ActorSpec, incarnation: int) -> None:
        self.actor_id = spec.actor_id
        self.incarnation = incarnation
        self.class_name = spec.class_name
        self.spec = spec
        self.changes = Changes(incarnation)
        #: What its lines are named by: ``Counter 'c1'``.
        self.source = f"{spec.class_name} {spec.name!r}" if spec.name else spec.class_name
        self.definition_id = spec.definition.definition_id
        self.keeper: Keeper | None = None
        self._cls: type = object
        self._instance: Any = None
        self._names: dict[str, str] = {}
        self._methods: dict[str, Callable[..., Any]] = {}

    def build(self, load: Callable[[], tuple[type, tuple[Any, ...], dict[str, Any]]], turn: Turn | None = None) -> None:
        """Run the constructor with what ``load`` returns, both as a call of the actor's owner that has no number.

        So the actor lends its CPUs while ``load`` waits for arguments, which may have to be made again. ``turn`` is
        what notes, of a durable actor, what its constructor takes from outside.
        """
        name = f"{self.class_name}.__init__"
        running = CurrentCall(self.spec.owner_id, 0, self.actor_id, name, self.actor_id, turn=turn)
        running.thread = threading.get_ident()
        token = current.call.set(running)
        try:
            cls, args, kwargs = load()
            self._adopt(cls, cls(*args, **kwargs))
        finally:
            running.is_over = True
            current.call.reset(token)
        if running.exit_detail:
            raise ActorExit(running.exit_detail)

    @property
    def instance(self) -> Any:
        """The user's object."""
        return self._instance

    @property
    def durability(self) -> Durability:
        """How its state outlives this process; to be asked of a durable actor only."""
        assert self.spec.durability is not None, "the actor is not durable"
        return self.spec.durability

    def dump_state(self) -> bytes:
        """Return its state. Raises SerializationError."""
        with current.outside_calls():
            return state.dumps(self._instance, self._cls)

    def restore(self, cls: type, data: bytes) -> None:
        """Make it an instance of ``cls`` with a state that was dumped. Raises SerializationError."""
        self._adopt(cls, self.copy_of(data, cls))

    def copy_of(self, data: bytes, cls: type | None = None) -> Any:
        """Return another instance, of its class or another, with a state that was dumped. Raises SerializationError."""
        with current.outside_calls():
            return state.loads(data, cls or self._cls)

    def go_on_as(self, instance: Any) -> None:
        """Be another instance from now on: a copy, or one that it was before."""
        self._adopt(type(instance), instance)

    def _adopt(self, cls: type, instance: Any) -> None:
        self._cls, self._instance = cls, instance
        self._methods.clear()

    def name_of(self, method: str) -> str:
        """Return ``Counter.increment``."""
        name = self._names.get(method)
        if name is None:
            name = self._names[method] = name_of_call(self.class_name, method)
        return name

    def method(self, name: str) -> Callable[..., Any]:
        """Return what a call of ``name`` runs. Raises AttributeError."""
        method = self._methods.get(name)
        if method is None:
            method = self._methods[name] = self._find(name)
        return method

    def _find(self, name: str) -> Callable[..., Any]:
        # The class first: an instance may have an attribute of the same name (``self.balance`` beside ``balance()``),
        # and a caller that asks for the method means the method. Ray looks there too.
        instance = self._instance
        for cls in type(instance).__mro__:
            if name in vars(cls):
                return vars(cls)[name].__get__(instance, type(instance))  # type: ignore[no-any-return]
        if name in _HIDDEN:
            return _HIDDEN[name].__get__(self)  # type: ignore[no-any-return]
        return getattr(instance, name)  # type: ignore[no-any-return]

    def say_goodbye(self) -> None:
        """Call the instance's shutdown hook, if it has one."""
        for name in _GOODBYES:
            hook = getattr(self._instance, name, None)
            if hook is not None:
                with current.outside_calls():
                    hook()
                return

    def __repr__(self) -> str:
        return f"<HostedActor {self.source} {short(self.actor_id)} incarnation {self.incarnation}>"

    # -- methods that every actor has, by Ray's names ----------------------------------------------------------

    def _ray_ready(self) -> bool:
        return True

    def _ray_call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        running = current.call.get()
        # A call of a durable actor that is not in the log is a readonly one. Beside others nobody knows who has changed
        # what, and there only persist methods change anything.
        if self.keeper is not None and running is not None and running.turn is None and self.spec.max_concurrency == 1:
            from ipyactors.worker import readonly  # few actors are asked for that

            return readonly.run(self, function, args, kwargs)
        return function(self._instance, *args, **kwargs)

    def _ray_terminate(self) -> None:
        raise ActorExit("__ray_terminate__ was called")

    def _checkpoint(self) -> str:
        return self._kept_by("checkpoint()").checkpoint()

    def _upgrade(self, definition: bytes, handle: bytes) -> None:
        self._kept_by("upgrade()").upgrade(definition, handle)

    def _kept_by(self, what: str) -> Keeper:
        if self.keeper is None:
            raise TypeError(
                f"{what}: {self.source} is not durable, so it has no checkpoints. Make it with durable=True."
            )
        return self.keeper


def _look(actor: HostedActor) -> tuple[tuple[str, str], ...]:
    return tell_attributes(actor.instance)


def _corrupt(actor: HostedActor, order: bytes) -> str:
    from ipyactors.worker import corruption  # few actors are asked for that

    return corruption.damage_newest(actor._kept_by("corrupt_checkpoint()").path, order)


def _restore(actor: HostedActor, checkpoint_id: str) -> int:
    from ipyactors.worker import restoring  # as above

    return restoring.go_back(actor, checkpoint_id, lambda: actor._kept_by("restore()").path)


_HIDDEN: dict[str, Any] = {
    "__ray_ready__": HostedActor._ray_ready,
    "__ray_call__": HostedActor._ray_call,
    "__ray_terminate__": HostedActor._ray_terminate,
    "__ipyactors_look__": _look,
    "__ipyactors_restore__": _restore,
    "__ipyactors_checkpoint__": HostedActor._checkpoint,
    "__ipyactors_corrupt__": _corrupt,
    "__ipyactors_upgrade__": HostedActor._upgrade,
}
