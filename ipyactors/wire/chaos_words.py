"""What is to go wrong on purpose, and what has: the nouns of ``ipyactors.chaos``, shared by several conversations."""

from __future__ import annotations

import enum
import signal

import msgspec


class Deed(enum.StrEnum):
    """What is done to a process, a call or a disk."""

    KILL = "kill"
    """A signal ends the process."""
    EXIT = "exit"
    """The process calls ``os._exit``."""
    FAIL = "fail"
    """An exception is raised in the place of the user's code."""
    FREEZE = "freeze"
    """The process is stopped for some seconds, and continued."""
    SLOW = "slow"
    """A call takes so much longer."""
    DROP_REPLIES = "drop_replies"
    DUPLICATE_REPLIES = "duplicate_replies"
    DELAY_REPLIES = "delay_replies"
    FILL_DISK = "fill_disk"
    """A checkpoint finds no room."""
    CORRUPT_CHECKPOINT = "corrupt_checkpoint"
    KILL_HEAD = "kill_head"
    KILL_NODE = "kill_node"


class Moment(enum.StrEnum):
    """When it is done."""

    NOW = "now"
    BEFORE = "before"
    """The call was received (and logged, if the actor is durable), and has not begun."""
    DURING = "during"
    """The user's code has run, and its end is noted nowhere."""
    AFTER = "after"
    """The end is noted, and the answer is not sent."""


class Order(msgspec.Struct, array_like=True, frozen=True):
    """One injection that was asked for: ``deed`` at ``moment``.

    Calls of ``method`` (empty: of any) are counted as they begin, from 1 and through all incarnations of the actor; it
    is done at the ``nth``, and at each that follows until it was done ``times`` (0: until it is cleared). Checkpoints
    are counted in the same way. ``seconds`` is how long it lasts; ``error`` a pickled exception, ``text`` how it reads.
    After ``until_s`` (wall time; 0: never) it is not done any more. Without ``actor_id`` it concerns tasks; ``subject``
    names either for people. The first time that it is done has the number ``base`` + 1.
    """

    order_id: int
    deed: Deed
    moment: Moment = Moment.NOW
    actor_id: bytes = b""
    subject: str = ""
    method: str = ""
    nth: int = 1
    times: int = 1
    seconds: float = 0.0
    signal: int = 0
    code: int = 0
    error: bytes = b""
    until_s: float = 0.0
    base: int = 0
    text: str = ""

    @property
    def is_deadly(self) -> bool:
        """Whether the process ends of it."""
        return self.deed in (Deed.KILL, Deed.EXIT)

    @property
    def is_surely_deadly(self) -> bool:
        """Whether the process can do nothing against that."""
        return self.is_deadly and self.signal != signal.SIGTERM


class Progress(msgspec.Struct, array_like=True, frozen=True):
    """An order, how many calls it has ``counted``, and how often it was ``done``."""

    order: Order
    counted: int = 0
    done: int = 0


class Act(msgspec.Struct, array_like=True, frozen=True):
    """It was done, for the ``number``-th time, to the call ``name`` (empty: to none), at ``wall_s``.

    ``is_deadly``: the process ends of it at once.
    """

    order: Order
    number: int
    wall_s: float
    name: str = ""
    is_deadly: bool = False


class Report(msgspec.Struct, array_like=True, frozen=True):
    """What a process that has ended leaves: how far its orders are, and what it did of them."""

    progress: tuple[Progress, ...] = ()
    acts: tuple[Act, ...] = ()


_ENDINGS = {1: "st", 2: "nd", 3: "rd"}


def ordinal(number: int) -> str:
    """Return ``3rd`` for 3."""
    if 10 < number % 100 < 14:
        return f"{number}th"
    return f"{number}{_ENDINGS.get(number % 10, 'th')}"


def describe(order: Order) -> str:
    """Return what is to be done in words: ``SIGKILL before the 3rd call of deposit``."""
    if order.moment is Moment.NOW:
        return _phrase(order, "")
    limit = f" within {order.seconds:g} s" if order.until_s else ""
    return _phrase(order, _which(order) + limit)


def describe_act(act: Act) -> str:
    """Return what was done in words: ``SIGKILL before Account.deposit``."""
    return _phrase(act.order, act.name)


def describe_end(act: Act) -> str:
    """Return what has ended a process, for the report of its death, which tells the signal or the exit code."""
    order = act.order
    if not order.is_deadly:
        return f"injected: {_phrase(order, act.name)}"
    return f"injected {order.moment.value} {act.name}" if act.name else "injected"


def _which(order: Order) -> str:
    """Return which calls are meant: ``the 3rd call of deposit``."""
    what = "checkpoint" if order.deed is Deed.FILL_DISK else "call" if order.actor_id else "attempt"
    of = f" of {order.method}" if order.method else ""
    if order.times == 1:
        return f"the {ordinal(order.nth)} {what}{of}" if order.nth > 1 else f"the next {what}{of}"
    first = f" from the {ordinal(order.nth)} on" if order.nth > 1 else ""
    if not order.times:
        return f"each {what}{of}{first}"
    return f"{order.times} {what}s{of}{first}" if first else f"the next {order.times} {what}s{of}"


def _phrase(order: Order, calls: str) -> str:
    """Return what is done to these calls; to none of them in particular, if empty."""
    at = f" {order.moment.value} {calls}" if calls else ""
    match order.deed:
        case Deed.KILL:
            return f"{signal.Signals(order.signal).name}{at}"
        case Deed.EXIT:
            return f"os._exit({order.code}){at}"
        case Deed.FAIL:
            return f"raises {order.text} instead of {calls}"
        case Deed.FREEZE:
            return f"freezes for {order.seconds:g} s{at}"
        case Deed.SLOW:
            return f"takes {order.seconds:g} s more for {calls}"
        case Deed.DROP_REPLIES:
            return f"loses the reply of {calls}"
        case Deed.DUPLICATE_REPLIES:
            return f"sends twice the reply of {calls}"
        case Deed.DELAY_REPLIES:
            return f"holds back for {order.seconds:g} s the reply of {calls}"
        case Deed.FILL_DISK:
            return f"finds no space left for {calls}"
        case Deed.CORRUPT_CHECKPOINT:
            return "damages the newest checkpoint"
        case Deed.KILL_HEAD:
            return "SIGKILL to the head"
        case Deed.KILL_NODE:
            return "SIGKILL to the machine"
