"""The verbs of :mod:`ipyactors.chaos`, which tells what they have in common."""

from __future__ import annotations

import signal
import time

import cloudpickle
import msgspec

from ipyactors.api import calls, chaos_targets, inspect, runtime
from ipyactors.api.chaos_targets import Fault, Found, Target, Which
from ipyactors.api.descriptions import CORRUPT
from ipyactors.api.handles import ActorMethod
from ipyactors.ground.exceptions import ChaosError, OptionError, OptionTypeError
from ipyactors.wire.chaos_words import Deed, Moment, Order, Progress

#: So much of an exception is shown of an order to raise it.
_TEXT_AT_MOST = 60

_SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM}

# -- the process dies ------------------------------------------------------------------------------------------


def kill(
    target: Target,
    how: str = "SIGKILL",
    *,
    before: Which = None,
    during: Which = None,
    after: Which = None,
    nth: int = 1,
    times: int = 1,
) -> Fault | None:
    """End the target's process by a signal: now, or at a moment of a call. ``how`` is SIGKILL or SIGTERM.

    Unlike :func:`ipyactors.kill` it counts as a crash: the actor comes back if it has restarts left. SIGTERM ends a
    process that has no handler for it; that one may still run when this returns.
    """
    __tracebackhide__ = True
    if how not in _SIGNALS:
        raise OptionError(f"kill(how={how!r}): takes {' or '.join(_SIGNALS)}. Nothing was done.")
    order = Order(0, Deed.KILL, signal=_SIGNALS[how])
    return _at_moment("kill", target, order, before, during, after, nth, times)


def exit(  # noqa: A001  # it is read as chaos.exit
    target: Target,
    code: int = 1,
    *,
    before: Which = None,
    during: Which = None,
    after: Which = None,
    nth: int = 1,
    times: int = 1,
) -> Fault | None:
    """Have the target's process call ``os._exit(code)``: now, or at a moment of a call. ``code`` is from 0 to 255."""
    __tracebackhide__ = True
    if isinstance(code, bool) or not isinstance(code, int):
        raise OptionTypeError(f"exit(code={code!r}): takes a number from 0 to 255. Nothing was done.")
    if not 0 <= code <= 255:
        raise OptionError(f"exit(code={code!r}): takes a number from 0 to 255. Nothing was done.")
    return _at_moment("exit", target, Order(0, Deed.EXIT, code=code), before, during, after, nth, times)


def segfault(
    target: Target,
    *,
    before: Which = None,
    during: Which = None,
    after: Which = None,
    nth: int = 1,
    times: int = 1,
) -> Fault | None:
    """Have the target's process crash in native code, with SIGSEGV: now, or at a moment of a call."""
    __tracebackhide__ = True
    order = Order(0, Deed.KILL, signal=signal.SIGSEGV)
    return _at_moment("segfault", target, order, before, during, after, nth, times)


# -- the call goes wrong ---------------------------------------------------------------------------------------


def fail(
    target: Target,
    error: BaseException | type[BaseException],
    *,
    on: Which = None,
    nth: int = 1,
    times: int = 1,
) -> Fault | None:
    """Have calls raise ``error`` instead of running; ``on`` is a method, or by default any.

    The call has no effect on the actor, and is retried if its ``retry_exceptions`` say so. A durable actor refuses it
    before it is in the log: a replay would run the method after all, and come to another state.
    """
    __tracebackhide__ = True
    if not (isinstance(error, BaseException) or (isinstance(error, type) and issubclass(error, BaseException))):
        raise TypeError(f"fail takes an exception, not {error!r}. Nothing was done.")
    try:
        pickled = cloudpickle.dumps(error)
    except Exception as problem:  # the user's own class
        raise TypeError(f"fail: {error!r} cannot be pickled: {problem}. Nothing was done.") from problem
    return _at_call(
        "fail", target, Order(0, Deed.FAIL, Moment.DURING, error=pickled, text=_in_short(error)), on, nth, times
    )


def freeze(
    target: Target,
    seconds: float,
    *,
    before: Which = None,
    during: Which = None,
    after: Which = None,
    nth: int = 1,
    times: int = 1,
) -> Fault | None:
    """Stop the target's process, all of its threads (SIGSTOP), and continue it after so many seconds (SIGCONT)."""
    __tracebackhide__ = True
    order = Order(0, Deed.FREEZE, seconds=chaos_targets.seconds_of("freeze", seconds))
    return _at_moment("freeze", target, order, before, during, after, nth, times)


def slow(target: Target, seconds: float, *, on: Which = None, nth: int = 1, times: int | None = None) -> Fault | None:
    """Have each call take so many seconds more, up to ``times`` of them, or by default until :func:`clear`.

    It waits when the method has run; the actor is busy meanwhile, unless the method is async. Without ``times`` only
    the first is an event.
    """
    __tracebackhide__ = True
    order = Order(0, Deed.SLOW, Moment.DURING, seconds=chaos_targets.seconds_of("slow", seconds))
    return _at_call("slow", target, order, on, nth, times)


# -- the answer goes wrong -------------------------------------------------------------------------------------


def drop_replies(target: Target, times: int = 1, *, on: Which = None, nth: int = 1) -> Fault | None:
    """Lose the answers of the next ``times`` calls, which have been run; then the process is killed.

    An answer is lost in reality when a process or its connection breaks, and by that callers notice: so with the last
    of these answers, or as soon as no call waits behind, the process gets SIGKILL. The call of a durable actor is then
    answered from its log; that of another actor is retried, if ``max_task_retries`` allows, or fails.
    """
    __tracebackhide__ = True
    return _at_call("drop_replies", target, Order(0, Deed.DROP_REPLIES, Moment.AFTER), on, nth, times)


def duplicate_replies(target: Target, times: int = 1, *, on: Which = None, nth: int = 1) -> Fault | None:
    """Send the answers of the next ``times`` calls twice. The caller has no use for the second."""
    __tracebackhide__ = True
    return _at_call("duplicate_replies", target, Order(0, Deed.DUPLICATE_REPLIES, Moment.AFTER), on, nth, times)


def delay_replies(target: Target, seconds: float, times: int = 1, *, on: Which = None, nth: int = 1) -> Fault | None:
    """Hold back the answers of the next ``times`` calls for so many seconds each; the actor goes on meanwhile.

    Should its process end before, they are lost with it.
    """
    __tracebackhide__ = True
    order = Order(0, Deed.DELAY_REPLIES, Moment.AFTER, seconds=chaos_targets.seconds_of("delay_replies", seconds))
    return _at_call("delay_replies", target, order, on, nth, times)


# -- the disk, the head, the machine ---------------------------------------------------------------------------


def fill_disk(target: Target, seconds: float | None = None, *, times: int = 1) -> Fault | None:
    """Have all checkpoints of a durable actor within so many seconds find no space left; without, the next ``times``.

    The log is not concerned: no call is lost, and the checkpoint is tried again later. A call with
    ``effect="persist"``, whose end is a checkpoint, is undone and raises CallAbortedError.
    """
    __tracebackhide__ = True
    found, _ = chaos_targets.find_actor(target, "fill_disk")
    order = Order(0, Deed.FILL_DISK, Moment.BEFORE, times=chaos_targets.count_of("fill_disk", "times", times))
    if seconds is not None:
        seconds = chaos_targets.seconds_of("fill_disk(seconds=...)", seconds)
        order = msgspec.structs.replace(order, times=0, seconds=seconds, until_s=time.time() + seconds)
    return _inject("fill_disk", found, order)


def corrupt_checkpoint(target: Target) -> str:
    """Damage the newest checkpoint of a durable actor on its disk; return the checkpoint's id.

    The next recovery finds that out, and begins with the one before, or with the constructor. Nothing is lost. It is
    done when the calls that this process has sent before are over. Raises ChaosError if the actor has no checkpoint.
    """
    __tracebackhide__ = True
    found, handle = chaos_targets.find_actor(target, "corrupt_checkpoint")
    order = Order(time.time_ns(), Deed.CORRUPT_CHECKPOINT, actor_id=found.actor_id, subject=found.subject)
    method = ActorMethod(handle, handle._ipyactors_plans.methods[CORRUPT])
    checkpoint_id: str = calls.get(method.remote(msgspec.msgpack.encode(order)))
    if not checkpoint_id:
        raise ChaosError(
            f"corrupt_checkpoint: {found.subject} has no checkpoint yet. Nothing was damaged. Have it make one first: "
            "ipyactors.get(ipyactors.checkpoint(actor))."
        )
    return checkpoint_id


def kill_head() -> None:
    """Kill the session's control plane; return when the next one is there. Calls of live actors go on meanwhile.

    The agent starts at most five in 60 s: with the next death the session ends.
    """
    __tracebackhide__ = True
    runtime.engine_for("kill_head").faults.kill_head()


def kill_node(node: str) -> None:
    """Kill a machine, its agent and all processes below it, as a power failure would; return when its loss is known.

    ``node`` is the ``NodeID`` that :func:`ipyactors.nodes` gives, or its beginning. Raises ChaosError for the first
    machine, with which the session would end.
    """
    __tracebackhide__ = True
    engine = runtime.engine_for("kill_node")
    if not isinstance(node, str):
        raise TypeError(f"kill_node takes a NodeID, as ipyactors.nodes() gives it, not {node!r}. Nothing was done.")
    found = [one for one in inspect.nodes() if one["Alive"] and node and one["NodeID"].startswith(node)]
    if len(found) != 1:
        what = (
            f"{len(found)} machines have a NodeID that begins" if found else "no live machine has a NodeID that begins"
        )
        raise ChaosError(f"kill_node: {what} with {node!r}. Nothing was done. ipyactors.nodes() tells which there are.")
    engine.faults.kill_node(bytes.fromhex(found[0]["NodeID"]))


# -- what is left ----------------------------------------------------------------------------------------------


def clear(target: Target | None = None) -> int:
    """Forget the orders for a target, or all of the session's; return how many. What was done stays done."""
    __tracebackhide__ = True
    if target is None:
        return len(runtime.engine_for("clear").faults.clear())
    found = chaos_targets.find(target, "clear")
    return len(runtime.engine().faults.clear(found.actor_id, found.definition_id))


def pending() -> list[Fault]:
    """Return the orders that are left, oldest first: all of the session's, whoever has given them."""
    __tracebackhide__ = True
    return [Fault.of(progress) for progress in runtime.engine_for("pending").faults.pending()]


def _in_short(error: BaseException | type[BaseException]) -> str:
    """Return how an exception reads, cut where it is long."""
    try:
        text = error.__name__ if isinstance(error, type) else repr(error)
    except Exception:  # the user's own
        text = type(error).__name__
    return text if len(text) <= _TEXT_AT_MOST else f"{text[:_TEXT_AT_MOST]}…"


def _at_moment(
    what: str, target: Target, order: Order, before: Which, during: Which, after: Which, nth: int, times: int
) -> Fault | None:
    __tracebackhide__ = True
    moment, method = chaos_targets.moment_of(what, before, during, after)
    found = chaos_targets.find(target, what, starts=moment is not Moment.NOW)
    if moment is not Moment.NOW:
        return _at_call(what, found, msgspec.structs.replace(order, moment=moment), method or None, nth, times)
    if (nth, times) != (1, 1):
        raise OptionError(f"{what}: nth and times count calls, so say before, during or after. Nothing was done.")
    if found.handle is None:
        raise OptionError(
            f"{what}: {found.subject} is a function and has no process of its own: say before=True, during=True or "
            "after=True, and it is done to the next attempt. Nothing was done."
        )
    return _inject(what, found, order)


def _at_call(what: str, target: Target | Found, order: Order, on: Which, nth: int, times: int | None) -> Fault | None:
    __tracebackhide__ = True
    found = target if isinstance(target, Found) else chaos_targets.find(target, what, starts=True)
    method = chaos_targets.method_of(f"{what}(on=...)", on)
    found.check_method(method, what)
    count = chaos_targets.count_of(what, "nth", nth)
    limit = 0 if times is None and order.deed is Deed.SLOW else chaos_targets.count_of(what, "times", times)
    return _inject(what, found, msgspec.structs.replace(order, method=method, nth=count, times=limit))


def _inject(what: str, found: Found, order: Order) -> Fault | None:
    __tracebackhide__ = True
    order = msgspec.structs.replace(order, actor_id=found.actor_id, subject=found.subject)
    given = runtime.engine_for(what).faults.inject(order, found.definition_id, waits=bool(found.actor_id))
    return None if order.moment is Moment.NOW else Fault.of(Progress(given))
