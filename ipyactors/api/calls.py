"""The verbs on references and handles. Arguments are checked here, before an engine sees them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

from ipyactors.api import runtime
from ipyactors.api.completions import Completions, Followed
from ipyactors.api.handles import ActorHandle, find_named, handle_of
from ipyactors.ground.exceptions import OptionError, OptionTypeError
from ipyactors.ground.option_values import why_no_text
from ipyactors.owner.refs import ObjectRef, ObjectRefGenerator


def get(refs: ObjectRef | Sequence[ObjectRef] | Followed, *, timeout: float | None = None) -> Any:
    """Wait for values and return them: one for a reference, a list for a list or tuple of references.

    ``get(progress(refs))`` shows a bar meanwhile.

    ``timeout`` is in seconds; 0 looks once and does not wait. Raises what the call raised (of several, the first
    that failed, without waiting for the rest), and GetTimeoutError; then the references are still good.
    """
    __tracebackhide__ = True
    timeout_s = _check_timeout(timeout)
    if type(refs) is ObjectRef:
        return runtime.engine().get((refs,), timeout_s)[0]
    if isinstance(refs, Followed):
        return refs.follow(lambda given: get(given, timeout=timeout))
    checked = _check_refs(refs, "get")  # before the engine is asked for, which may start it
    return runtime.engine().get(checked, timeout_s)


def put(value: Any, *, copies: int = 1) -> ObjectRef:
    """Store a value and return a reference to it, to pass it to many calls without sending it each time.

    What was put cannot be made again: with ``copies=2`` a large value (over 64 KiB) is on a second machine too before
    this returns, and survives the loss of either, while this process lives: a worker's values go with it. Small values
    are with their owner alone. Nor can a result be made again whose task took a reference from here that is gone since:
    keep it, or pass the value itself, which is kept with the task (within ``max_lineage_bytes``).

    A value lives as long as somebody can reach it. Whoever pickles a reference himself (``pickle.dumps(ref)``) keeps
    its value until the session ends, for nobody knows what becomes of those bytes.

    Raises TypeError for a reference, which has its value stored already; SerializationError; ObjectStoreFullError;
    OptionError for more copies than there are machines.
    """
    __tracebackhide__ = True
    if isinstance(value, (ObjectRef, ObjectRefGenerator)):
        raise TypeError(f"put takes a value; {value!r} is a reference already. Put it in a list to store it as such.")
    if isinstance(copies, bool) or not isinstance(copies, int):
        raise OptionTypeError(f"copies={copies!r}: takes an int, not {type(copies).__name__}. Nothing was stored.")
    if copies < 1:
        raise OptionError(f"copies={copies}: takes 1 (this machine alone) or more. Nothing was stored.")
    return runtime.engine().put(value, copies)


def wait(
    refs: Sequence[ObjectRef], *, num_returns: int = 1, timeout: float | None = None
) -> tuple[list[ObjectRef], list[ObjectRef]]:
    """Wait until ``num_returns`` of the references are ready, or ``timeout`` seconds; return ``(ready, rest)``.

    Both lists keep the given order; ``ready`` has at most ``num_returns``. A call that failed is ready too.
    Raises ValueError for duplicates or a ``num_returns`` that is not between 1 and the number of references.
    """
    __tracebackhide__ = True
    timeout_s = _check_timeout(timeout)
    if isinstance(refs, ObjectRef):
        raise TypeError("wait takes a list of references, not a single one: wait([ref]).")
    checked = _check_refs(refs, "wait")
    if isinstance(num_returns, bool) or not isinstance(num_returns, int):
        raise TypeError(f"num_returns={num_returns!r}: takes an int, not {type(num_returns).__name__}.")
    if not checked and num_returns == 1:
        return [], []
    if not 1 <= num_returns <= len(checked):
        raise ValueError(f"num_returns={num_returns}: takes 1 to {len(checked)}, the number of references given.")
    _check_unique(checked, "wait")
    return runtime.engine().wait(checked, num_returns, timeout_s)


def as_completed(refs: Sequence[ObjectRef], *, timeout: float | None = None) -> Completions:
    """Yield the references in the order in which they become ready; those that are so at first in the given order.

    For ``for``, which blocks until the next is ready, and for ``async for``, which awaits it.
    Arguments are checked at once. Raises GetTimeoutError from the iterator when not all are ready within
    ``timeout`` seconds of the call. The iterator may be dropped at any time.
    """
    __tracebackhide__ = True
    timeout_s = _check_timeout(timeout)
    return completions_of(refs, "as_completed", None if timeout_s is None else time.monotonic() + timeout_s)


def completions_of(refs: Sequence[ObjectRef], what: str, deadline_s: float | None = None) -> Completions:
    """Return what :func:`as_completed` does; ``what`` is what was called with the references."""
    __tracebackhide__ = True
    checked = _check_refs(refs, what)
    _check_unique(checked, what)
    return Completions(checked, deadline_s)


def cancel(ref: ObjectRef | ObjectRefGenerator, *, force: bool = False, recursive: bool = True) -> None:
    """Cancel the call that makes ``ref``; its ``get`` then raises TaskCancelledError. A finished call stays as it is.

    A task that runs is interrupted (KeyboardInterrupt in its worker), with ``force`` its worker is killed. An async
    method is cancelled, any other method only sees ``get_runtime_context().is_canceled()``. ``recursive`` cancels what
    the call has submitted too. Raises ValueError for ``force`` on a method call, which has no process of its own.
    """
    __tracebackhide__ = True
    _check_flags(force=force, recursive=recursive)
    if not isinstance(ref, (ObjectRef, ObjectRefGenerator)):
        raise TypeError(f"cancel takes a reference, not {type(ref).__name__}; to end an actor use kill.")
    runtime.engine().cancel(cast("ObjectRef", ref), force=force, recursive=recursive)


def kill(actor: ActorHandle | str, *, no_restart: bool = True) -> None:
    """End an actor's process now; calls that are not answered fail. ``no_restart=False`` lets it restart.

    ``actor`` is its handle, or its name in this process's namespace. Raises TypeError for anything else,
    ActorNotFoundError for a handle of a session that has ended, and a name that no live actor has.
    """
    __tracebackhide__ = True
    _check_flags(no_restart=no_restart)
    handle = handle_of(actor, "kill")
    runtime.engine().kill_actor(handle._ipyactors_client, no_restart=no_restart)


def get_actor(name: str, namespace: str | None = None) -> ActorHandle:
    """Return a handle of the live actor of that name, in this process's namespace unless another is given.

    Raises ActorNotFoundError (a ValueError).
    """
    __tracebackhide__ = True
    for what, value in {"name": name, "namespace": namespace}.items():
        if not isinstance(value, str) and not (what == "namespace" and value is None):
            raise TypeError(f"{what}={value!r}: takes a str, not {type(value).__name__}.")
        if value is not None and (problem := why_no_text(value)):
            raise OptionError(f"{what}={value!r}: takes a str; {problem}.", option=what)
    return find_named(name, namespace)


# -- arguments -------------------------------------------------------------------------------------------------


def _check_flags(**given: object) -> None:
    __tracebackhide__ = True
    for name, value in given.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name}={value!r}: takes True or False, not {type(value).__name__}.")


def _check_timeout(timeout: object) -> float | None:
    __tracebackhide__ = True
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout={timeout!r}: takes seconds or None, not {type(timeout).__name__}.")
    if not timeout >= 0:
        raise ValueError(f"timeout={timeout!r}: takes seconds >= 0, or None to wait as long as it takes.")
    return float(timeout)


def _check_refs(refs: object, what: str) -> Sequence[ObjectRef]:
    __tracebackhide__ = True
    if isinstance(refs, ObjectRefGenerator):
        raise TypeError(f"{what} does not take a generator of references: iterate it, and get each reference.")
    if not isinstance(refs, (list, tuple)):
        raise TypeError(f"{what} takes a reference or a list of references, not {type(refs).__name__}.")
    for index, ref in enumerate(refs):
        if not isinstance(ref, ObjectRef):
            raise TypeError(f"{what} takes references; item {index} is {type(ref).__name__}.")
    return refs


def _check_unique(refs: Sequence[ObjectRef], what: str) -> None:
    __tracebackhide__ = True
    if len(set(refs)) != len(refs):
        twice = next(ref for index, ref in enumerate(refs) if ref in refs[:index])
        raise ValueError(f"{what} takes each reference once; {twice!r} is there twice.")
