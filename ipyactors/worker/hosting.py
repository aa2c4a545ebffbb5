"""The one actor that lives in a worker: how it is built, what its methods are, how it says goodbye."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ipyactors.ground.ids import short
from ipyactors.owner import current
from ipyactors.owner.current import CurrentCall
from ipyactors.wire.specs import ActorSpec
from ipyactors.worker.changes import Changes
from ipyactors.worker.exit import ActorExit

#: Called on the instance when its actor ends in good order; the first that exists.
_GOODBYES = ("__ipyactors_shutdown__", "__ray_shutdown__")


class HostedActor:
    """An actor's instance, once :meth:`build` has made it."""

    def __init__(self, spec: ActorSpec, incarnation: int) -> None:
        self.actor_id = spec.actor_id
        self.incarnation = incarnation
        self.class_name = spec.class_name
        self.spec = spec
        self.changes = Changes(incarnation)
        #: What its lines are named by: ``Counter 'c1'``.
        self.source = f"{spec.class_name} {spec.name!r}" if spec.name else spec.class_name
        self._instance: Any = None
        self._names: dict[str, str] = {}
        self._methods: dict[str, Callable[..., Any]] = {}

    def build(self, load: Callable[[], tuple[type, tuple[Any, ...], dict[str, Any]]]) -> None:
        """Run the constructor with what ``load`` returns, both as a call of the actor's owner that has no number.

        So the actor lends its CPUs while ``load`` waits for arguments, which may have to be made again.
        """
        name = f"{self.class_name}.__init__"
        running = CurrentCall(self.spec.owner_id, 0, self.actor_id, name, self.actor_id)
        token = current.call.set(running)
        try:
            cls, args, kwargs = load()
            self._instance = cls(*args, **kwargs)
        finally:
            current.call.reset(token)
        if running.exit_detail:
            raise ActorExit(running.exit_detail)

    def name_of(self, method: str) -> str:
        """Return ``Counter.increment``."""
        name = self._names.get(method)
        if name is None:
            name = self._names[method] = f"{self.class_name}.{method}"
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
                hook()
                return

    def __repr__(self) -> str:
        return f"<HostedActor {self.source} {short(self.actor_id)} incarnation {self.incarnation}>"

    # -- methods that every actor has, by Ray's names ----------------------------------------------------------

    def _ray_ready(self) -> bool:
        return True

    def _ray_call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(self._instance, *args, **kwargs)

    def _ray_terminate(self) -> None:
        raise ActorExit("__ray_terminate__ was called")


_HIDDEN: dict[str, Any] = {
    "__ray_ready__": HostedActor._ray_ready,
    "__ray_call__": HostedActor._ray_call,
    "__ray_terminate__": HostedActor._ray_terminate,
}
