"""What :func:`ipyactors.describe_actor` returns: all that is known of one actor, for programs and for people."""

from __future__ import annotations

import dataclasses
import html
from collections import Counter
from collections.abc import Iterable

from ipyactors.api import runtime
from ipyactors.api.calls import cancel, get, get_actor
from ipyactors.api.checkpoint_list import CheckpointList, list_checkpoints
from ipyactors.api.descriptions import LOOK
from ipyactors.api.handles import ActorHandle, ActorMethod, client_of
from ipyactors.api.logs import WorkerLogs, logs_of_actor
from ipyactors.ground import ids, tables
from ipyactors.ground.exceptions import ActorError, ActorNotFoundError, GetTimeoutError, OptionError
from ipyactors.owner.actors import ActorClient
from ipyactors.wire.deaths import describe_death
from ipyactors.wire.events import Event, EventKind, is_internal
from ipyactors.wire.specs import ActorState, ActorStatus

_WHAT = "describe_actor"

#: How long an actor is waited for that is busy, in seconds.
_PATIENCE_S = 2.0

#: The names of attributes, and what their values are.
_Attributes = tuple[tuple[str, str], ...]

#: What a call comes to, and how that is said of a number of them.
_CALLS = {
    EventKind.CALL_ATTEMPT: "answered",
    EventKind.CALL_FAILED: "failed",
    EventKind.CALL_RETRY: "sent again",
}


@dataclasses.dataclass(frozen=True, slots=True)
class ActorReport:
    """One actor at one moment; shown as a card.

    ``state`` is its state in a word, ``durable`` the level of a durable actor and empty of any other, ``restarts_left``
    -1 for no limit. ``calls`` counts those that this process knows of, by what they came to;
    ``is_elsewhere``: the namespace is not this process's own. ``attributes`` are names
    and what their values are, in words; where they were asked for and could not be had, ``why_no_attributes`` says why.
    ``checkpoints`` and ``log`` are None unless they were asked for.
    """

    actor_id: str
    name: str
    namespace: str
    class_name: str
    durable: str
    detached: bool
    state: str
    incarnation: int
    restarts_left: int
    last_death: str
    waiting_for: str
    busy_with: str
    calls: dict[str, int]
    is_elsewhere: bool = False
    attributes: _Attributes = ()
    why_no_attributes: str = ""
    checkpoints: CheckpointList | None = None
    log: WorkerLogs | None = None

    def __repr__(self) -> str:
        lines = [self._title(), *tables.facts_as_text(self._facts())]
        if self.attributes or self.why_no_attributes:
            lines += ["attributes:", *(tables.facts_as_text(self.attributes) or [f"  {self.why_no_attributes}"])]
        if self.checkpoints is not None:
            lines += ["checkpoints:", *_indented(repr(self.checkpoints))]
        if self.log is not None:
            lines += ["log:", *_indented(repr(self.log))]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [f"<b>{html.escape(self._title())}</b>", tables.facts_as_html(self._facts())]
        if self.attributes:
            parts += ["<b>attributes</b>", tables.facts_as_html(self.attributes)]
        elif self.why_no_attributes:
            parts += ["<b>attributes</b>", f"<div><em>{html.escape(self.why_no_attributes)}</em></div>"]
        if self.checkpoints is not None:
            parts += ["<b>checkpoints</b>", self.checkpoints._repr_html_()]
        if self.log is not None:
            parts += ["<b>log</b>", f"<pre>{html.escape(repr(self.log))}</pre>"]
        return f"<div>{''.join(parts)}</div>"

    def _title(self) -> str:
        return (
            f"{self.class_name} {self.name!r}"
            if self.name
            else f"{self.class_name} {ids.short(bytes.fromhex(self.actor_id))}"
        )

    def _facts(self) -> list[tuple[str, str]]:
        left = "no limit" if self.restarts_left < 0 else str(self.restarts_left)
        calls = ", ".join(f"{number:,} {words}" for words, number in self.calls.items() if number)
        return [
            ("state", self.state),
            ("waiting", self.waiting_for),
            ("at", self.busy_with),
            ("durable", self.durable),
            ("lifetime", "detached" if self.detached else ""),
            ("namespace", self.namespace if self.is_elsewhere else ""),
            ("incarnation", str(self.incarnation)),
            ("restarts left", left if self.state != ActorState.DEAD else ""),
            ("last death", self.last_death),
            ("calls", calls or "none yet"),
        ]


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]


def describe_actor(
    actor: ActorHandle | str, *, state: bool = False, checkpoints: bool = False, log: int = 0
) -> ActorReport:
    """Return what is known of an actor: where it is in its life, what it died of last, what its calls came to.

    ``actor`` is a handle, the name of one in this process's namespace, or an id in hexadecimal; it may have ended.
    With ``state`` it is asked for its attributes, which it tells in its turn, without running any code of theirs; where
    it is busy for longer than two seconds, that is said instead. With ``checkpoints`` those of a durable actor are
    listed. ``log`` is how many of the last lines of each of its processes to show. The function twin of ``%actor``.

    Raises TypeError for anything else; OptionError for a ``log`` that is no number of lines; ActorNotFoundError;
    SessionError without a session.
    """
    __tracebackhide__ = True
    if not isinstance(log, int) or isinstance(log, bool) or log < 0:
        raise OptionError(f"log={log!r}: takes a number of lines, 0 for none.", option="log")
    engine = runtime.engine_for(_WHAT)
    status = _status_of(actor, engine.describe_cluster().actors, engine.namespace)
    attributes, why = _ask(actor, status) if state else ((), "")
    if state:  # it may have become another meanwhile
        status = _status_of(status.actor_id.hex(), engine.describe_cluster().actors, engine.namespace)
    death = "" if status.death is None else f"incarnation {status.death.incarnation} {describe_death(status.death)}"
    return ActorReport(
        actor_id=status.actor_id.hex(),
        name=status.name,
        namespace=status.namespace,
        class_name=status.class_name,
        durable=status.level,
        detached=status.detached,
        state=status.state.value,
        incarnation=status.incarnation,
        restarts_left=status.restarts_left,
        last_death=death,
        waiting_for=status.waiting_for,
        busy_with=status.busy_with,
        calls=_count_calls(engine.events(), status.actor_id),
        is_elsewhere=status.namespace != engine.namespace,
        attributes=attributes,
        why_no_attributes=why,
        checkpoints=_checkpoints_of(status) if checkpoints else None,
        log=logs_of_actor(ActorClient(status.actor_id, status.class_name, status.name), log) if log else None,
    )


def _status_of(actor: object, statuses: Iterable[ActorStatus], namespace: str) -> ActorStatus:
    """Return the actor that is meant: the live one of a name, else the last one. Raises ActorNotFoundError."""
    if isinstance(actor, ActorHandle):
        actor_id = client_of(actor, _WHAT).actor_id
        found = [one for one in statuses if one.actor_id == actor_id]
    elif isinstance(actor, str):
        found = [one for one in statuses if actor in (one.actor_id.hex(), one.name) and _is_here(one, actor, namespace)]
    else:
        raise TypeError(f"{_WHAT} takes an actor's handle, its name or its id, not {type(actor).__name__}.")
    if not found:
        raise ActorNotFoundError(
            f"{_WHAT}: no actor has the name or id {actor!r}. ipyactors.list_actors() has all, also of other "
            "namespaces."
        )
    return min(reversed(found), key=lambda one: one.state is ActorState.DEAD)


def _is_here(status: ActorStatus, name: str, namespace: str) -> bool:
    return status.namespace == namespace or status.name != name


def _ask(actor: ActorHandle | str, status: ActorStatus) -> tuple[_Attributes, str]:
    if status.state is ActorState.DEAD:
        return (), "It is dead, and its attributes are gone with it."
    if isinstance(actor, str):
        if not status.name:
            return (), "It has no name: they can only be asked for with a handle of it."
        actor = get_actor(status.name, status.namespace)
    reference = ActorMethod(actor, actor._ipyactors_plans.methods[LOOK]).remote()
    try:
        return get(reference, timeout=_PATIENCE_S), ""
    except GetTimeoutError:
        cancel(reference)
        return (), "It is busy, and has not answered in time. Nothing was changed; ask again later."
    except ActorError as error:
        return (), str(error).partition("\n")[0]


def _checkpoints_of(status: ActorStatus) -> CheckpointList:
    return list_checkpoints(status.actor_id.hex()) if status.level else CheckpointList(())


def _count_calls(events: Iterable[Event], actor_id: bytes) -> dict[str, int]:
    its = (event for event in events if event.actor_id == actor_id and not is_internal(event))
    counted = Counter(event.kind for event in its)
    return {words: counted[kind] for kind, words in _CALLS.items()}
