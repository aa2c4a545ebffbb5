"""Starts the session of this process; a notebook's new kernel comes back to the one that the kernel before has left.

It is left if detached actors live in it. Nothing is looked for without a notebook (see ``launch/notebooks.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ipyactors.engines.starting import start_local_engine, visit
from ipyactors.ground.config import lineage_limit_bytes
from ipyactors.ground.exceptions import HeadUnavailableError, SessionError
from ipyactors.launch import notebooks
from ipyactors.launch.visiting import end_session

if TYPE_CHECKING:
    from ipyactors.engines.local import LocalEngine
    from ipyactors.wire.specs import ActorStatus

_NAMELESS = (
    "a detached actor ends with this kernel, and a restarted one will not find it: nobody has told the kernel which "
    "notebook it is of. To have it go on, set IPYACTORS_NOTEBOOK in the environment to a path, before init()."
)


def start_or_come_back(*, meanwhile: Callable[[], object] = lambda: None, **given: Any) -> LocalEngine:
    """Return the engine of this process; arguments and errors are those of :func:`start_local_engine`.

    Raises HeadUnavailableError if the session that was left does not answer; it is left again then.
    """
    notebook = "" if given.get("address") is not None else notebooks.this_notebook()
    if notebook:
        engine = _come_back(notebook, **given)
        if engine is not None:
            return engine
    held = _what_others_hold(notebook)
    engine = start_local_engine(**given, outlives_driver=bool(notebook), meanwhile=meanwhile)
    if notebook:
        notebooks.sign(engine.session.paths.state_dir, notebook, given)
    engine.welcome = held
    if given.get("address") is None and notebooks.is_nameless():
        engine.about_detached = _NAMELESS
    return engine


def left_session() -> str:
    """Return the name of the session that an earlier kernel of this notebook has left; empty if there is none."""
    found = notebooks.left(notebooks.this_notebook())
    return found[-1].paths.name if found else ""


def end_left_sessions() -> None:
    """End what earlier kernels of this notebook have left; return when nothing is left of it."""
    for note in notebooks.left(notebooks.this_notebook()):
        end_session(note)


def _come_back(
    notebook: str,
    *,
    session: str | None = None,
    namespace: str | None = None,
    max_lineage_bytes: int | None = None,
    log_to_driver: bool = True,
    **_: Any,
) -> LocalEngine | None:
    """Come to the session that an earlier kernel of ``notebook`` has left; None if there is none."""
    note = notebooks.claim(notebook, session)
    if note is None or note.driven is None:
        return None
    limit_bytes = lineage_limit_bytes(max_lineage_bytes)
    try:
        engine = visit(note, namespace, limit_bytes, log_to_driver=log_to_driver)
    except SessionError:
        return None  # it was about to end
    alive: list[ActorStatus] = []
    try:
        alive = _detached(engine)
    except SessionError:
        pass
    finally:
        if not alive:
            engine.shutdown()
    if not alive:
        return None
    engine.given_at_first, engine.welcome = note.driven.started_with, _words(note.paths.name, engine.namespace, alive)
    return engine


def _what_others_hold(notebook: str) -> str:
    """Return, in words, which session with detached actors another kernel of ``notebook`` holds; empty for none."""
    for note in reversed(notebooks.held(notebook)):
        try:
            visitor = visit(note, None, lineage_limit_bytes(None), log_to_driver=False)
            try:
                actors = _detached(visitor)
            finally:
                visitor.shutdown()
        except (SessionError, HeadUnavailableError):  # it is about to end, or too busy to say
            continue
        if actors:
            name = note.paths.name
            return (
                f"another kernel of this notebook holds the session {name}: {_alive(actors)}. This kernel has a "
                f"session of its own; to get at that one: ipyactors.shutdown(); ipyactors.init(address={name!r})"
            )
    return ""


def _detached(engine: LocalEngine) -> list[ActorStatus]:
    return [actor for actor in engine.describe_cluster().actors if actor.detached and actor.state.name != "DEAD"]


def _alive(actors: Sequence[ActorStatus]) -> str:
    count = "1 detached actor is" if len(actors) == 1 else f"{len(actors)} detached actors are"
    return f"{count} alive: {', '.join(f'{_label(actor)} (incarnation {actor.incarnation})' for actor in actors)}"


def _words(session: str, namespace: str, actors: Sequence[ActorStatus]) -> str:
    reachable = next((actor.name for actor in actors if actor.name and actor.namespace == namespace), "")
    handle = f" ipyactors.get_actor({reachable!r}) gives a handle." if reachable else ""
    return (
        f"came back to the session of this notebook, {session}: {_alive(actors)}.{handle}\n"
        "The session goes on without a kernel until they are killed; ipyactors.shutdown(everything=True) ends it now."
    )


def _label(actor: ActorStatus) -> str:
    return f"{actor.class_name} {actor.name!r}" if actor.name else actor.class_name
