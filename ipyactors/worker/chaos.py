"""Does to this process what ``ipyactors.chaos`` has ordered, at the call for which it was ordered.

``armed`` is None as long as there is no order: the places where something may be done look at that, and at nothing
else. What is done is noted in a file first (:mod:`ipyactors.wire.chaos_ledger`), since this process may end of it.

A process that is to die at a call first sends the answers of the calls before it. A crash would lose those that are
still on their way, now some and now others; so it is the same calls each time that have an answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pickle
import signal
import subprocess
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from types import CoroutineType
from typing import Any, NoReturn, Protocol

import msgspec

from ipyactors.ground.tracebacks import in_words
from ipyactors.owner.current import CurrentCall
from ipyactors.wire import liveness
from ipyactors.wire.chaos_ledger import Ledger
from ipyactors.wire.chaos_messages import ArmFaults, ChaosActed, ChaosNoted, DisarmFaults
from ipyactors.wire.chaos_words import Act, Deed, Moment, Order, Progress
from ipyactors.wire.codec import Message
from ipyactors.wire.worker_messages import CallMethod, CallRaised, CallSucceeded, RunTask
from ipyactors.worker.chaos_plan import Key, Plan
from ipyactors.worker.errors import describe_error
from ipyactors.worker.exit import hold_others
from ipyactors.worker.out import WorkerSession

#: What is on its way gets this long to leave before the process dies.
_LEAVES_WITHIN_S = 2.0

_system_exit = os._exit


class Outgoing(Protocol):
    """The part of :class:`~ipyactors.worker.answers.Answers` that is used here."""

    def finish(self, peer: bytes, message: Message) -> None:
        """Give a call's last answer."""
        ...

    def note_ends(self) -> None:
        """Have the ends of calls outlive this process, where they are noted; their answers need not have left."""
        ...

    def repeat(self, peer: bytes, message: Message) -> None:
        """Give an answer that is given once more."""
        ...

    def flush(self) -> None:
        """Send everything now."""
        ...

    @property
    def is_last(self) -> bool:
        """Whether no call waits behind the one that is being answered."""
        ...


class Chaos:
    """The orders of this process, and what carries them out. Any thread.

    ``closes``: the sockets can be closed before the process dies, so that what was said is heard. Calls that run beside
    would take that for an answer of sorts, and a durable actor would keep it.
    """

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._plan = Plan()
        self._ledger = Ledger(path)
        self._dropped: Act | None = None
        self.session: WorkerSession | None = None
        self.answers: Outgoing | None = None
        self.is_retryable: Callable[[bytes, BaseException], bool] = lambda _retry_on, _error: False
        self.closes = True

    # -- orders -------------------------------------------------------------------------------------------------

    def add(self, progress: Sequence[Progress]) -> None:
        """Take orders; what is to be done now is done, on a thread of its own."""
        now = [one.order for one in progress if one.order.moment is Moment.NOW]
        with self._lock:
            for one in self._plan.add([one for one in progress if one.order not in now]):
                self._ledger.arm(one)
        for order in now:
            threading.Thread(target=self._do, args=(order, ""), name="chaos", daemon=True).start()

    def add_task(self, caller: bytes, task: RunTask) -> None:
        """Take what is to be done to a task that has come."""
        with self._lock:
            self._plan.add_task((caller, task.seq), task.faults)

    def clear(self, order_ids: tuple[int, ...]) -> None:
        """Forget these orders; all of them, if none is named."""
        with self._lock:
            self._plan.clear(order_ids)
            self._ledger.clear(order_ids)

    def progress(self) -> tuple[Progress, ...]:
        """Return how far the orders are that are left."""
        with self._lock:
            return self._plan.progress()

    # -- a call -------------------------------------------------------------------------------------------------

    def before(self, running: CurrentCall, call: CallMethod | RunTask, *, is_logged: bool = False) -> None:
        """A call is about to begin."""
        method = call.method if type(call) is CallMethod else running.name
        with self._lock:
            orders = self._plan.begin(_key_of(running), method, running.name, is_logged=is_logged)
            self._ledger.count(self._plan.take_counted(), self._plan.progress)
        for order in orders:
            self._do(order, running.name)

    def refusal(self, call: CallMethod, name: str) -> CallRaised | None:
        """Return the answer to a call that is not to run, and has not been logged; None if it is to run."""
        with self._lock:
            order = self._plan.refuse(call.method)
            self._ledger.count(self._plan.take_counted(), self._plan.progress)
        if order is None:
            return None
        self._note(order, name)
        error = _error_of(order)
        return CallRaised(call.seq, describe_error(error, function_name=name), self.is_retryable(call.retry_on, error))

    def wrap(self, running: CurrentCall, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return what to call instead of the user's code."""
        with self._lock:
            orders = self._plan.take(_key_of(running), Moment.DURING)
        if not orders:
            return function
        name = running.name

        def call(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            for order in orders:
                if order.deed is Deed.FAIL:
                    self._note(order, name)
                    raise _error_of(order)
            value = function(*args, **kwargs)
            if isinstance(value, CoroutineType):
                return self._ending_coroutine(value, orders, name)
            if isinstance(value, Generator):
                return self._ending_items(value, orders, name)
            if isinstance(value, AsyncGenerator):
                return self._ending_async_items(value, orders, name)
            for order in orders:
                self._do(order, name)
            return value

        return call

    async def _ending_coroutine(self, coroutine: Any, orders: list[Order], name: str) -> Any:
        value = await coroutine
        await self._do_async(orders, name)
        return value

    def _ending_items(self, items: Any, orders: list[Order], name: str) -> Iterator[Any]:
        yield from items
        for order in orders:
            self._do(order, name)

    async def _ending_async_items(self, items: Any, orders: list[Order], name: str) -> AsyncIterator[Any]:
        async for item in items:
            yield item
        await self._do_async(orders, name)

    async def _do_async(self, orders: list[Order], name: str) -> None:
        import asyncio  # there already, where there is a coroutine

        for order in orders:
            if order.deed is Deed.SLOW:
                self._note(order, name)
                await asyncio.sleep(order.seconds)
            else:
                self._do(order, name)

    def holds_answer(self, answers: Outgoing, peer: bytes, message: Message) -> bool:
        """Deal with an answer that is about to leave, and whose end is noted; return whether it is not to leave now."""
        key = peer, getattr(message, "seq", 0)
        with self._lock:
            is_end = isinstance(message, (CallSucceeded, CallRaised))
            orders = self._plan.take(key, Moment.AFTER) if is_end else []
            name = self._plan.end(key)
        copies, late_s, is_dropped = 0, 0.0, False
        if orders:
            answers.note_ends()
        for order in orders:
            match order.deed:
                case Deed.DUPLICATE_REPLIES:
                    self._note(order, name)
                    copies += 1
                case Deed.DELAY_REPLIES:
                    self._note(order, name)
                    late_s += order.seconds
                case Deed.DROP_REPLIES:
                    self._dropped = self._note(order, name)
                    is_dropped = True
                case _:
                    self._do(order, name)
        # Nothing leaves before this: whoever has the answer finds noted all that was done to it.
        if late_s and not is_dropped:
            _after(late_s, _send_late, self, answers, peer, message, copies)
        elif not is_dropped:
            self._repeat(answers, peer, message, copies)
        if self._dropped is not None and (answers.is_last or not self._plan.has(Deed.DROP_REPLIES)):
            # By the end of the process, whoever waits for an answer that was dropped learns that it will not come.
            with self._lock:
                self._ledger.act(msgspec.structs.replace(self._dropped, is_deadly=True))
            self._end(lambda: os.kill(os.getpid(), signal.SIGKILL))
        return is_dropped or late_s > 0

    def after_logged(self, running: CurrentCall, *, is_done: bool) -> None:
        """A call that was found in the log is over, and its end is noted; it was done, or given up."""
        key = _key_of(running)
        with self._lock:
            orders = self._plan.take(key, Moment.AFTER) if is_done else []
            name = self._plan.end(key)
        if orders and self.answers is not None:
            self.answers.note_ends()
        for order in orders:
            self._do(order, name)

    def _repeat(self, answers: Outgoing, peer: bytes, message: Message, copies: int) -> None:
        """Send copies of an answer that is to leave itself right after them."""
        payloads = message.results if isinstance(message, CallSucceeded) else ()
        if isinstance(message, CallRaised) and message.error.payload is not None:
            payloads = (message.error.payload,)
        names_any = any(payload.names_any for payload in payloads)
        for _ in range(copies):
            if names_any and self.session is not None:
                # Before it leaves: the caller gives back what each copy names, and so each has to be counted.
                self.session.custody.lend(peer, *payloads)
            answers.repeat(peer, message)

    def full_disk(self, name: str) -> None:
        """A checkpoint is about to be saved. Raises OSError if it is to find no room."""
        with self._lock:
            order = self._plan.save(time.time())
            self._ledger.count(self._plan.take_counted(), self._plan.progress)
        if order is not None:
            self._note(order, name)
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} (injected by chaos.fill_disk)")

    # -- deeds --------------------------------------------------------------------------------------------------

    def _note(self, order: Order, name: str, *, is_deadly: bool = False) -> Act:
        """Note that something is about to be done, and tell it: of what is done to every call, the first time only."""
        with self._lock:
            number = self._plan.done(order)
            act = Act(order, number, time.time(), name, is_deadly)
            if order.times or number == 1:
                self._ledger.act(act)
        if self.session is not None and not is_deadly and (order.times or number == 1):
            self.session.tell_head(ChaosActed((act,)))
        return act

    def _do(self, order: Order, name: str) -> None:
        """Do it, in this thread; return if the process goes on."""
        self._note(order, name, is_deadly=order.is_surely_deadly)
        match order.deed:
            case Deed.SLOW:
                time.sleep(order.seconds)
            case Deed.FREEZE:
                _freeze(order.seconds)
            case Deed.EXIT:
                self._end(lambda: _system_exit(order.code))
            case Deed.KILL if order.signal == signal.SIGTERM:
                self._flush()  # it may have a handler, and go on
                os.kill(os.getpid(), signal.SIGTERM)
            case Deed.KILL if order.signal == signal.SIGSEGV:
                self._end(lambda: ctypes.string_at(0))
            case Deed.KILL:
                self._end(lambda: os.kill(os.getpid(), order.signal))

    def _end(self, end: Callable[[], object]) -> NoReturn:
        """End the process when what it has said is heard. Whatever else it is at has no part in that."""
        hold_others()  # they would find the session closed, and end the process as if nothing was wrong
        _after(_LEAVES_WITHIN_S, end)
        self._flush()
        if self.closes and self.session is not None:
            with contextlib.suppress(Exception):
                self.session.close()
        end()
        while True:
            threading.Event().wait()

    def _flush(self) -> None:
        with contextlib.suppress(Exception):
            if self.answers is not None:
                self.answers.flush()


armed: Chaos | None = None
_path = ""
_parts: tuple[WorkerSession, Outgoing, Callable[[bytes, BaseException], bool], bool] | None = None


def _disarm() -> None:
    """Have nothing done in a child that the user's code has forked: it is not the process that was meant."""
    global armed
    armed = None


os.register_at_fork(after_in_child=_disarm)


def prepare(path: str) -> None:
    """Say where this process notes what it does of its orders."""
    global _path
    _path = path


def serve(
    session: WorkerSession, answers: Outgoing, is_retryable: Callable[[bytes, BaseException], bool], *, closes: bool
) -> None:
    """Say by what this process speaks; see :class:`Chaos`. ``is_retryable(retry_on, error)`` is the executor's."""
    global _parts
    _parts = session, answers, is_retryable, closes
    if armed is not None:
        armed.session, armed.answers, armed.is_retryable, armed.closes = _parts


def of_process() -> Chaos:
    """Return the orders of this process; made at the first."""
    global armed
    if armed is None:
        armed = Chaos(_path)
        if _parts is not None:
            armed.session, armed.answers, armed.is_retryable, armed.closes = _parts
    return armed


def on_orders(session: WorkerSession, message: ArmFaults | DisarmFaults) -> None:
    """Take orders of the head, or forget them, and tell it so. Called by the thread that reads."""
    if isinstance(message, ArmFaults) and message.progress:
        of_process().add(message.progress)
    elif isinstance(message, DisarmFaults) and armed is not None:
        armed.clear(message.order_ids)
    if message.ticket:
        session.tell_head(ChaosNoted(message.ticket, armed.progress() if armed is not None else ()))


def tell_damaged(order: Order) -> None:
    """Tell that the newest checkpoint was damaged."""
    of_process()._note(order, "")


def _key_of(running: CurrentCall) -> Key:
    return running.caller, running.seq


def _send_late(chaos: Chaos, answers: Outgoing, peer: bytes, message: Message, copies: int) -> None:
    chaos._repeat(answers, peer, message, copies)
    answers.finish(peer, message)
    answers.flush()  # this thread has no turn of its own in which it would leave


def _after(seconds: float, do: Callable[..., object], *args: Any) -> None:
    timer = threading.Timer(seconds, do, args)
    timer.daemon = True
    timer.start()


def _freeze(seconds: float) -> None:
    """Stop this process, all threads of it; a helper, in its process group so that it ends with it, continues it."""
    helper = subprocess.Popen(liveness.continue_later(os.getpid(), seconds))
    os.kill(os.getpid(), signal.SIGSTOP)
    helper.wait()


def _error_of(order: Order) -> BaseException:
    """Return the exception that an order brings."""
    try:
        error = pickle.loads(order.error)
        return error() if isinstance(error, type) else error  # type: ignore[no-any-return]
    except Exception as problem:  # the user's own class, perhaps
        return RuntimeError(f"what chaos.fail() is to raise here could not be unpickled: {in_words(problem)}")
