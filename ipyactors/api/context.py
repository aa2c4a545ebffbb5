"""What running code can ask about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyactors.api import runtime
from ipyactors.api.handles import ActorHandle
from ipyactors.api.recorded import Recorded
from ipyactors.ground.exceptions import SessionError
from ipyactors.ground.quantities import from_units
from ipyactors.owner import current, process
from ipyactors.owner.current import CurrentCall
from ipyactors.wire.specs import ActorSpec

if TYPE_CHECKING:
    from ipyactors.owner.session import Session


class RuntimeContext(Recorded):
    """Where the calling code runs, and for which call. Ids are in hexadecimal; None where there is no such thing.

    Each question is answered for the thread or coroutine that asks it. What can be different when a durable actor does
    a call again after a crash (where it runs, and how often it was restarted) must not decide what the call does.
    """

    def __repr__(self) -> str:
        call, spec = _call(), _actor()
        where = call.name if call else spec.class_name if spec else ""
        return f"RuntimeContext({where or 'driver'})"

    def get_session_name(self) -> str:
        """Return the name of the session."""
        return _session().paths.name

    def get_job_id(self) -> str:
        """Return the name of the session, which is what Ray calls a job."""
        return self.get_session_name()

    def get_node_id(self) -> str:
        """Return the id of the node that this process runs on; that of its machine in a driver."""
        return _session().node_id.hex()

    def get_worker_id(self) -> str:
        """Return the id of this process."""
        return _session().process_id.hex()

    def get_task_id(self) -> str | None:
        """Return the id of the call that runs here, the same in a replay; None in a driver."""
        call = _call()
        return call.task_id.hex() if call and call.task_id else None

    def get_task_name(self) -> str | None:
        """Return the name of the call that runs here."""
        call = _call()
        return call.name if call else None

    def get_actor_id(self) -> str | None:
        """Return the id of the actor that runs here; the same through all restarts."""
        call, spec = _call(), _actor()
        actor_id = call.actor_id if call else spec.actor_id if spec else b""
        return actor_id.hex() or None

    def get_actor_name(self) -> str | None:
        """Return the name of the actor that runs here; empty if it has none, None outside an actor."""
        spec = _actor()
        return spec.name if spec else None

    def get_incarnation(self) -> int:
        """Return how often the actor that runs here has been restarted; 0 outside an actor."""
        return current.incarnation()

    @property
    def attempt(self) -> int:
        """How often the call that runs here was tried before."""
        call = _call()
        return call.attempt if call else 0

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether the actor that runs here has been restarted at least once."""
        return self.get_incarnation() > 0

    @property
    def namespace(self) -> str:
        """The namespace in which this process names its actors."""
        return runtime.engine().namespace

    @property
    def current_actor(self) -> ActorHandle:
        """A handle of the actor that runs here. Raises SessionError outside an actor."""
        spec = _actor()
        if spec is None:
            raise SessionError("current_actor: this code does not run in an actor.")
        engine = runtime.engine()
        client = engine.adopt_actor(spec.actor_id, spec.class_name, spec.name)
        return ActorHandle(engine, client, spec.handle)

    def is_canceled(self) -> bool:
        """Return whether the caller has asked to cancel the call that runs here."""
        call = _call()
        if call is None or call.turn is None:
            return call is not None and call.cancelled
        return call.turn.is_canceled(is_flagged=call.cancelled)

    def get_assigned_resources(self) -> dict[str, float]:
        """Return what the actor that runs here holds. Empty in a task: its worker is not told what it holds."""
        spec = _actor()
        return from_units(spec.demand) if spec else {}


_context = RuntimeContext()


def get_runtime_context() -> RuntimeContext:
    """Return what the calling code can ask about itself; starts the session if there is none."""
    runtime.engine()
    return _context


def _session() -> Session:
    session = process.session()
    if session is None:
        raise SessionError("there is no live session in this process. Call ipyactors.init().")
    return session


def _call() -> CurrentCall | None:
    return current.call.get()


def _actor() -> ActorSpec | None:
    return current.actor()
