"""Many faults at random, and yet the same ones again with the same seed: which, when, and to which of the actors."""

from __future__ import annotations

import dataclasses
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NoReturn, Self

import msgspec

from ipyactors.api import chaos_targets, runtime
from ipyactors.api.chaos_targets import Target
from ipyactors.ground.exceptions import ChaosError, HeadUnavailableError, OptionError, OptionTypeError, SessionError
from ipyactors.wire.chaos_words import Deed, Moment, Order
from ipyactors.wire.events import Event, EventKind
from ipyactors.wire.specs import ActorState, ActorStatus

#: How often each kind comes, where nothing else was asked for.
KINDS = {
    "kill": 4,
    "exit": 2,
    "segfault": 1,
    "freeze": 2,
    "slow": 2,
    "drop_replies": 1,
    "duplicate_replies": 1,
    "delay_replies": 1,
}

#: What only comes when it was asked for.
MORE_KINDS = frozenset({"fill_disk", "kill_head"})

#: After these the process ends.
_DEADLY = frozenset({"kill", "exit", "segfault", "drop_replies"})

#: A durable actor that dies more than five times in 60 s with nothing done is given up; having had nothing to do for a
#: second counts as done. So each is let live a little longer than that.
_LIVES_AT_LEAST_S = 1.5

#: The head is killed at most so often in 60 s: with the sixth time the session would end.
_HEAD_KILLS_AT_MOST = 4

_SIGKILL, _SIGSEGV = 9, 11


@dataclasses.dataclass(frozen=True)
class Strike:
    """One fault of a storm: ``after_s`` the one before, ``where`` among the actors that there are then (0 to 1)."""

    after_s: float
    kind: str
    where: float
    order: Order


@dataclasses.dataclass
class StormReport:
    """What a storm has done: how many ``faults`` of each kind, and to which of the ``targets`` how many.

    ``undone`` of these waited for calls that did not come. Others, the ``spared``, found no actor that could bear them.
    ``events`` is all that happened in the session meanwhile.
    """

    seed: int
    duration_s: float = 0.0
    faults: Counter[str] = dataclasses.field(default_factory=Counter)
    targets: Counter[str] = dataclasses.field(default_factory=Counter)
    undone: int = 0
    spared: int = 0
    events: list[Event] = dataclasses.field(default_factory=list)

    @property
    def deaths(self) -> tuple[int, int]:
        """How many processes of actors have died meanwhile: of what was injected, and of anything else."""
        injected = [event.injected for event in self.events if event.kind is EventKind.ACTOR_DIED]
        return sum(injected), len(injected) - sum(injected)

    def __enter__(self) -> NoReturn:
        """Raise OptionError: a storm with a duration is over when it returns."""
        raise OptionError(
            f"storm(duration=...) has blown already, for {self.duration_s:.1f} s, before the with block: the block was "
            "not run. Leave duration out for a with block, and the storm blows for as long as that lasts."
        )

    def __exit__(self, *_: object) -> None:
        """Stand beside ``__enter__``; it is never called."""

    def __repr__(self) -> str:
        injected, others = self.deaths
        total = self.faults.total()
        parts = [f"storm of seed {self.seed}: {total} fault{'s' * (total != 1)} in {self.duration_s:.1f} s"]
        parts += [f"  {kind:<18}{count:>4}" for kind, count in self.faults.most_common()]
        parts += [f"  on {target}: {count}" for target, count in self.targets.most_common()]
        if self.undone:
            parts.append(f"  {self.undone} of them waited for calls that did not come")
        if self.spared:
            parts.append(f"  {self.spared} more found no actor that could bear them")
        parts.append(f"processes of actors that died: {injected} by injection, {others} otherwise")
        return "\n".join(parts)


def strikes(seed: int, rate: float, kinds: dict[str, int]) -> Callable[[], Strike]:
    """Return what gives the next fault of a storm, and the next: the same for the same arguments."""
    rng = random.Random(seed)
    names, weights = sorted(kinds), [kinds[name] for name in sorted(kinds)]

    def draw() -> Strike:
        after_s, where, extent, chance = rng.expovariate(rate), rng.random(), rng.random(), rng.random()
        [kind] = rng.choices(names, weights)
        moment = rng.choice((Moment.NOW, Moment.BEFORE, Moment.DURING, Moment.AFTER))
        return Strike(after_s, kind, where, _order(kind, moment, extent, 1 + int(3 * chance)))

    return draw


def _order(kind: str, moment: Moment, extent: float, times: int) -> Order:
    """Return what to do; ``extent`` is from 0 to 1."""
    match kind:
        case "kill":
            return Order(0, Deed.KILL, moment, signal=_SIGKILL)
        case "segfault":
            return Order(0, Deed.KILL, moment, signal=_SIGSEGV)
        case "exit":
            return Order(0, Deed.EXIT, moment, code=1 + int(extent * 99))
        case "freeze":
            return Order(0, Deed.FREEZE, moment, seconds=0.05 + 0.45 * extent)
        case "slow":
            return Order(0, Deed.SLOW, Moment.DURING, seconds=0.01 + 0.09 * extent, times=times)
        case "drop_replies":
            return Order(0, Deed.DROP_REPLIES, Moment.AFTER, times=times)
        case "duplicate_replies":
            return Order(0, Deed.DUPLICATE_REPLIES, Moment.AFTER, times=times)
        case "delay_replies":
            return Order(0, Deed.DELAY_REPLIES, Moment.AFTER, seconds=0.01 + 0.19 * extent, times=times)
        case "fill_disk":
            return Order(0, Deed.FILL_DISK, Moment.BEFORE, times=times)
    return Order(0, Deed.KILL_HEAD)


class Storm:
    """Faults that come on a thread of their own for as long as a ``with`` block lasts; see :func:`storm`."""

    def __init__(self, seed: int, rate: float, targets: frozenset[bytes] | None, kinds: dict[str, int]) -> None:
        self.report = StormReport(seed)
        self._next = strikes(seed, rate, kinds)
        self._targets = targets
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._orders: list[int] = []
        self._last_death_s: dict[bytes, float] = {}
        self._head_kills_s: list[float] = []

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._blow, name="chaos-storm", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended.set()
        assert self._thread is not None
        self._thread.join()

    def run(self, duration_s: float) -> StormReport:
        """Let it blow for so long, in this thread."""
        try:
            self._blow(duration_s)
        finally:
            self._ended.set()
        return self.report

    def _blow(self, duration_s: float = math.inf) -> None:
        began_s, wall_s = time.monotonic(), time.time()
        try:
            while True:
                strike = self._next()
                left_s = began_s + duration_s - time.monotonic()
                if self._ended.wait(min(strike.after_s, left_s)) or strike.after_s >= left_s:
                    break
                self._do(strike)
        except SessionError:
            pass  # it has ended: no more is to be done to it
        finally:
            self.report.duration_s = time.monotonic() - began_s
            engine = runtime.live_engine()
            if engine is not None and self._orders:
                self.report.undone = len(engine.faults.clear(order_ids=tuple(self._orders)))
            self.report.events = [event for event in _events() if event.wall_s >= wall_s]

    def _do(self, strike: Strike) -> None:
        now_s, order = time.monotonic(), strike.order
        engine = runtime.engine_for("storm")
        if order.deed is Deed.KILL_HEAD:
            recent = [one for one in self._head_kills_s if now_s - one < 60.0]
            if len(recent) >= _HEAD_KILLS_AT_MOST:
                self.report.spared += 1
                return
            self._head_kills_s = [*recent, now_s]
            engine.faults.kill_head()
            self._count(strike.kind, "the head")
            return
        try:
            there = [one for one in engine.describe_cluster().actors if self._is_fair(one, strike.kind, now_s)]
            if not there:
                self.report.spared += 1
                return
            chosen = sorted(there, key=lambda one: one.actor_id)[int(strike.where * len(there))]
            subject = f"{chosen.class_name} {chosen.name!r}" if chosen.name else chosen.class_name
            order = engine.faults.inject(msgspec.structs.replace(order, actor_id=chosen.actor_id, subject=subject))
        except (ChaosError, HeadUnavailableError):  # the actor has just died, or is frozen
            self.report.spared += 1
            return
        if order.moment is not Moment.NOW:
            self._orders.append(order.order_id)
        if strike.kind in _DEADLY:
            self._last_death_s[chosen.actor_id] = now_s
        self._count(strike.kind, subject)

    def _count(self, kind: str, target: str) -> None:
        self.report.faults[kind] += 1
        self.report.targets[target] += 1

    def _is_fair(self, actor: ActorStatus, kind: str, now_s: float) -> bool:
        """Return whether it may be done to this actor: who would not come back is not killed."""
        if actor.state is not ActorState.ALIVE or (self._targets is not None and actor.actor_id not in self._targets):
            return False
        if kind == "fill_disk":
            return bool(actor.level)
        if kind not in _DEADLY:
            return True
        return (
            actor.restarts_left != 0 and now_s - self._last_death_s.get(actor.actor_id, -math.inf) > _LIVES_AT_LEAST_S
        )


def _events() -> list[Event]:
    engine = runtime.live_engine()
    return [] if engine is None else engine.events()


def storm(
    *,
    seed: int,
    rate: float = 1.0,
    duration: float | None = None,
    targets: Sequence[Target] | None = None,
    kinds: Sequence[str] | None = None,
) -> StormReport | Storm:
    """Inject faults at random, ``rate`` of them a second on average; what comes when is decided by ``seed``.

    With ``duration`` (seconds) it blows so long, and the report is returned. Without, it is for a ``with`` block, on a
    thread of its own, and has its ``report`` in the end::

        with chaos.storm(seed=7, rate=5) as storm:
            work()
        print(storm.report)

    ``targets`` are actors, by default all of the session. ``kinds`` are names of functions here: by default all that
    can be done to any actor; ``"fill_disk"`` (durable ones) and ``"kill_head"`` have to be named. Whatever is deadly is
    done only to actors that come back, and not sooner after the one before than in 1.5 s: an actor that dies again and
    again with nothing done in between is given up. What is ordered and has not come to be done is cleared in the end.
    """
    __tracebackhide__ = True
    runtime.engine_for("storm")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise OptionTypeError(f"storm(seed={seed!r}): takes an int. Nothing was done.")
    blows = Storm(seed, chaos_targets.seconds_of("storm(rate=...)", rate), _ids_of(targets), _weights(kinds))
    if duration is None:
        return blows
    return blows.run(chaos_targets.seconds_of("storm(duration=...)", duration))


def _ids_of(targets: Sequence[Target] | None) -> frozenset[bytes] | None:
    __tracebackhide__ = True
    if targets is None:
        return None
    found = [chaos_targets.find(target, "storm") for target in ([targets] if isinstance(targets, str) else targets)]
    for one in found:
        if one.handle is None:
            raise TypeError(f"storm takes actors; {one.subject} is a function. Nothing was done.")
    return frozenset(one.actor_id for one in found)


def _weights(kinds: Sequence[str] | None) -> dict[str, int]:
    __tracebackhide__ = True
    if kinds is None:
        return KINDS
    chosen = [kinds] if isinstance(kinds, str) else list(kinds)
    for kind in chosen:
        if kind not in KINDS and kind not in MORE_KINDS:
            offered = ", ".join(sorted({*KINDS, *MORE_KINDS}))
            raise OptionError(f"storm(kinds=...): there is no {kind!r}. It takes {offered}. Nothing was done.")
    if not chosen:
        raise OptionError("storm(kinds=...): takes one at least. Nothing was done.")
    return {kind: KINDS.get(kind, 1) for kind in chosen}
