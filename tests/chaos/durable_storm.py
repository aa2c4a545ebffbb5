"""Durable actors under a storm of kills, all random choices from one seed; afterwards every history is checked.

``make chaos`` runs it for ten minutes. It comes in rounds, each with new actors and callers of all kinds, while their
processes are killed and stopped; a round ends when every call is answered. What is printed, and written as Markdown
with a picture beside it, is how many were killed, what became of the calls, and how fast actors came back. The exit
status is 1 if anything was lost, done twice, out of order, or done although an error had said that it was not.

    python -m tests.chaos.durable_storm --minutes 10 --seed 7 --table storm.md
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import datetime as dt
import itertools
import os
import pathlib
import pickle
import platform
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil

import ipyactors as ia
from ipyactors.actor import Checkpoint, Checkpointable, CheckpointContext
from ipyactors.exceptions import ActorDiedError, CallOutcomeUnknownError, HeadUnavailableError
from ipyactors.wire.specs import ActorState
from tests.support import anatomy, durable, durable_load
from tests.support.durable_load import LARGE, Account, Appender, Bank, Callers, Relay

#: A process is not killed again before it has answered a call, or this often without one: at five the head gives up.
FRUITLESS_AT_MOST = 2

#: A part of the runtime may be killed five times in a minute, no more: so it was decided.
RUNTIME_EVERY_S = 15.0

#: Bounds of the time between two faults.
FAULT_EVERY_S = (0.02, 0.3)


@ia.remote(num_checkpoints_to_keep=3)
class SelfKept(durable_load._List, Checkpointable):
    """Saves its own checkpoints, as in 2019."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder

    def should_checkpoint(self, checkpoint_context: CheckpointContext) -> bool:
        return checkpoint_context.num_tasks_since_last_checkpoint >= 20

    def save_checkpoint(self, actor_id: str, checkpoint_id: str) -> None:
        path = pathlib.Path(self.folder, f"{actor_id}-{checkpoint_id}")
        with open(path, "wb") as file:
            pickle.dump((self.entries, self.digest), file)

    def load_checkpoint(self, actor_id: str, available_checkpoints: Sequence[Checkpoint]) -> str | None:
        for checkpoint_id, _ in available_checkpoints:
            path = pathlib.Path(self.folder, f"{actor_id}-{checkpoint_id}")
            self.entries, self.digest = pickle.loads(path.read_bytes())
            return checkpoint_id
        return None

    def checkpoint_expired(self, actor_id: str, checkpoint_id: str) -> None:
        pathlib.Path(self.folder, f"{actor_id}-{checkpoint_id}").unlink(missing_ok=True)


@ia.remote(durable=True, max_task_retries=-1)
class Stuck:
    """Never ends a call."""

    def hang(self) -> None:
        time.sleep(10_000)


@dataclasses.dataclass
class Target:
    """An actor of a round, and what was done to it."""

    kind: str
    handle: Any
    callers: Callers = dataclasses.field(default_factory=Callers)
    tasks: list[Any] = dataclasses.field(default_factory=list)
    answered: Callable[[], int] = lambda: 0
    killed_at: int = -1
    fruitless: int = 0

    def may_be_killed(self) -> bool:
        """Return whether the head would have it come back once more, and then some."""
        now = self.answered()
        if now > self.killed_at:
            self.fruitless = 0
        return self.fruitless < FRUITLESS_AT_MOST

    def note_killed(self) -> None:
        """It was, whoever meant to."""
        self.killed_at = self.answered()
        self.fruitless += 1


@dataclasses.dataclass
class Totals:
    """What all rounds have come to."""

    kills: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    calls: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    wrong: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    recoveries_s: list[float] = dataclasses.field(default_factory=list)
    replayed: int = 0
    checkpoints: int = 0
    rounds: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)

    @property
    def killed(self) -> int:
        return sum(count for kind, count in self.kills.items() if kind != "stopped and continued")


class Storm:
    """One session, and what goes wrong in it."""

    def __init__(self, seed: int, folder: pathlib.Path) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.totals = Totals()
        self._targets: list[Target] = []
        self._runtime_s = time.monotonic() + 5.0
        self._names = itertools.count()
        self._killed_wall_s: dict[bytes, float] = {}
        self._unsubscribe = self._watch()

    # -- the load -----------------------------------------------------------------------------------------------

    def run_round(self, length: int) -> None:
        """Make actors, have everybody call them while the storm blows, and check."""
        self.totals.rounds += 1
        targets = self._targets = [*self._lists(), *self._bank()]
        for target in targets:
            self._call(target, length)
        over = threading.Event()
        blowing = threading.Thread(target=self._blow, args=(over,), name="storm")
        blowing.start()
        try:
            for target in targets:
                target.callers.join()
                for ref in target.tasks:
                    target.callers.history += ia.get(ref, timeout=durable_load.PATIENCE_S)
        finally:
            over.set()
            blowing.join()
        for target in targets:
            self._check(target)

    def _lists(self) -> Iterator[Target]:
        """Some lists, of all kinds in turn: with and without checkpoints, patient and impatient, at both levels."""
        every = ia.every
        kinds: dict[str, dict[str, Any]] = {
            "list": {"max_task_retries": -1},
            "list, default retries, checkpoints": {"checkpoint": every(calls=25)},
            "list, no retries": {"max_task_retries": 0},
            "list, host": {"durable": "host", "checkpoint": every(calls=40), "max_task_retries": -1},
            "list, timed checkpoints": {"checkpoint": every(seconds=0.2), "num_checkpoints_to_keep": 1},
        }
        for kind in self.random.sample(sorted(kinds), 3):
            yield Target(kind, Appender.options(**kinds[kind]).remote())
        if self.totals.rounds % 2:
            yield Target("list that saves itself", SelfKept.remote(str(self.folder)))

    def _bank(self) -> Iterator[Target]:
        options = {"durable": self.random.choice(["process", "host"]), "max_task_retries": -1}
        accounts = [Account.options(**options, checkpoint=ia.every(calls=30)).remote(0) for _ in range(2)]
        bank = Target("bank", Bank.options(**options).remote(*accounts))
        yield bank
        yield from (Target("account", account, bank.callers) for account in accounts)

    def _call(self, target: Target, length: int) -> None:
        handle, callers = target.handle, target.callers
        target.answered = lambda: len(callers.history)

        def start(name: str, submit: Callable[[str], Any], count: int, window: int) -> None:
            callers.start(f"{name}{next(self._names)}", [("", submit)] * count, window)

        if target.kind == "account":
            return
        if target.kind == "bank":
            for _ in range(2):
                start("bank", lambda uid: handle.transfer.remote(uid, len(uid) + self.totals.rounds), length // 3, 4)
            return
        for window in (1, 16):
            start("thread", handle.append.remote, length, window)
        relay = Relay.options(max_task_retries=-1).remote(handle)
        if target.kind != "list, no retries":
            start("actor", relay.append.remote, length // 4, 2)
        if target.kind != "list that saves itself":
            if "retries" not in target.kind:
                start("persist", handle.keep.remote, length // 10, 1)
            start("large", lambda uid: handle.echo.remote(uid, LARGE), length // 10, 1)
        for _ in range(2):
            caller = f"task{next(self._names)}"
            task = durable_load.append_from_task.remote(handle, caller, length // 4, time.monotonic())
            target.tasks.append(task)

    # -- the storm ----------------------------------------------------------------------------------------------

    def _blow(self, over: threading.Event) -> None:
        rng = self.random
        while not over.wait(rng.uniform(*FAULT_EVERY_S)):
            draw = rng.random()
            # What is to be hit may be gone, or the head may not know of it yet.
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, HeadUnavailableError, StopIteration):
                if time.monotonic() > self._runtime_s:
                    self._kill_runtime(rng.choice(["head", "zygote"]))
                elif draw < 0.83:
                    self._hit_actor(signal.SIGKILL)
                elif draw < 0.90:
                    self._hit_actor(signal.SIGSTOP)
                else:
                    self._kill_task()

    def _hit_actor(self, number: signal.Signals) -> None:
        target = self.random.choice(self._targets)
        status = durable.status(target.handle)
        if status.state is not ActorState.ALIVE or not status.pid or not target.may_be_killed():
            return
        os.kill(status.pid, number)
        if number is signal.SIGSTOP:
            self.totals.kills["stopped and continued"] += 1
            time.sleep(self.random.uniform(0.1, 1.0))
            os.kill(status.pid, signal.SIGCONT)
            return
        self.totals.kills["actor"] += 1
        self._note_killed(target)

    def _note_killed(self, target: Target) -> None:
        target.note_killed()
        self._killed_wall_s.setdefault(durable.actor_id(target.handle), time.time())

    def _kill_task(self) -> None:
        from ipyactors.api import runtime

        actors = {one.pid for one in runtime.engine().describe_cluster().actors}
        victims = [worker for worker in anatomy.workers() if worker.pid not in actors]
        if victims:
            self.random.choice(victims).kill()
            self.totals.kills["task's worker"] += 1

    def _kill_runtime(self, what: str) -> None:
        """Kill the head, or the zygote, with which all workers die."""
        self._runtime_s = time.monotonic() + RUNTIME_EVERY_S
        (anatomy.head() if what == "head" else anatomy.zygote()).kill()
        self.totals.kills[what] += 1
        if what == "zygote":
            for target in self._targets:
                self._note_killed(target)

    def _watch(self) -> Callable[[], None]:
        from ipyactors.api import runtime

        def on_event(event: Any) -> None:
            if event.kind == "checkpoint_made":
                self.totals.checkpoints += 1
            elif event.kind == "actor_recovered":
                killed_s = self._killed_wall_s.pop(event.actor_id, None)
                self.totals.replayed += event.count
                if killed_s is not None:
                    self.totals.recoveries_s.append(event.wall_s - killed_s)

        return runtime.engine().subscribe(on_event)

    # -- afterwards ---------------------------------------------------------------------------------------------

    def _check(self, target: Target) -> None:
        if target.kind == "account":  # with its bank
            return
        final: list[str] = durable.get(target.handle.read.remote())
        history = target.callers.history
        report = durable_load.check(history, final)
        self.totals.calls.update(one.outcome for one in history)
        if not report.is_valid:
            found = {name: len(uids) for name, uids in dataclasses.asdict(report).items() if isinstance(uids, list)}
            self._note_wrong(target, collections.Counter(found), str(report))
        if report.unknown:
            odd = next(one for one in history if one.outcome == "unknown")
            self.totals.problems.append(f"{target.kind}: {report.unknown} unknown, such as {odd}")
        if target.kind == "bank":
            self._check_accounts(target, final)

    def _check_accounts(self, bank: Target, final: list[str]) -> None:
        """Both have each transfer of the bank once and in its order; some of them it has not waited for."""
        at = self._targets.index(bank)
        for account in self._targets[at + 1 : at + 3]:
            handle, deadline_s = account.handle, time.monotonic() + durable_load.PATIENCE_S
            while len(entries := durable.get(handle.read.remote())) < len(final) and time.monotonic() < deadline_s:
                time.sleep(0.01)
            seen = collections.Counter(entries)
            found = collections.Counter(lost=len(set(final) - set(entries)), duplicated=len(entries) - len(seen))
            if found.total():
                self._note_wrong(account, found, "its entries are not those of its bank")
            elif entries != final:
                self._note_wrong(
                    account, collections.Counter(reordered=1), "it has its bank's entries in another order"
                )
        totals = durable.get([one.handle.total.remote() for one in self._targets[at + 1 : at + 3]])
        if sum(totals):
            self._note_wrong(bank, collections.Counter(diverged=1), f"its accounts hold {totals}")

    def _note_wrong(self, target: Target, found: collections.Counter[str], words: str) -> None:
        self.totals.wrong.update(found)
        folder = durable.folder(target.handle)
        self.totals.problems.append(f"{target.kind} ({folder}): {words}")

    def run_given_up(self) -> None:
        """Kill an actor again and again that ends no call: here, and only here, giving up is what is right."""
        stuck = Stuck.remote()
        ref = stuck.hang.remote()
        killed: set[int] = set()
        while (status := durable.status(stuck)).state is not ActorState.DEAD:
            if status.state is ActorState.ALIVE and status.pid not in killed:
                killed.add(status.pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(status.pid, signal.SIGKILL)
                self.totals.kills["actor that ends no call"] += 1
            time.sleep(0.002)
        try:
            ia.get(ref, timeout=durable_load.PATIENCE_S)
        except (ActorDiedError, CallOutcomeUnknownError):
            self.totals.calls["unknown, as is right"] += 1
        else:
            self.totals.problems.append("a call that cannot return has returned")

    def close(self) -> None:
        """Stop watching."""
        self._unsubscribe()


# -- what is published --------------------------------------------------------------------------------------------

#: How a :class:`Report`'s words are published.
_WRONG = {
    "lost": "lost",
    "duplicated": "done twice",
    "reordered": "out of order",
    "effective": "failed, and done all the same",
    "misplaced": "at another place than was answered",
    "diverged": "of another state than was answered",
    "unasked": "asked for by nobody",
}


def describe(totals: Totals, seed: int, took_s: float) -> str:
    """Return the table, as Markdown."""
    today = dt.datetime.now(tz=dt.UTC).date()
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
    rows = [(f"killed: {kind}", f"{count:,}") for kind, count in sorted(totals.kills.items())]
    rows += [("killed in all", f"{totals.killed:,}")]
    words = {"ok": "calls returned", "failed": "calls given up, without effect", "unknown": "calls of unknown outcome"}
    rows += [(words[name], f"{totals.calls[name]:,}") for name in words]
    rows += [(word, f"**{totals.wrong[name]}**") for name, word in _WRONG.items()]
    rows += [("checkpoints made", f"{totals.checkpoints:,}"), ("calls replayed", f"{totals.replayed:,}")]
    rows += [(f"recovery, {name}", f"{value * 1000:,.0f} ms") for name, value in quantiles(totals.recoveries_s)]
    head = (
        f"{today}, seed {seed}, {took_s / 60:.1f} minutes in {totals.rounds} rounds, {machine}\n\n| | |\n|---|---:|\n"
    )
    return head + "".join(f"| {word} | {value} |\n" for word, value in rows)


def quantiles(values: Sequence[float]) -> list[tuple[str, float]]:
    """Return the median, the 90th and 99th percentile, and the maximum."""
    if not values:
        return []
    ranked = sorted(values)
    at = {"median": 0.5, "90 %": 0.9, "99 %": 0.99, "at most": 1.0}
    return [(name, ranked[min(len(ranked) - 1, int(share * len(ranked)))]) for name, share in at.items()]


#: Where the bars of the histogram begin, in ms.
_EDGES_MS = (0, 10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320, 500, 1000, 2000, 5000)


def histogram(recoveries_s: Sequence[float]) -> str:
    """Return the recovery times as lines of text."""
    counts = [0] * len(_EDGES_MS)
    for value in recoveries_s:
        counts[max(index for index, edge in enumerate(_EDGES_MS) if value * 1000 >= edge or not index)] += 1
    most = max(counts, default=0) or 1
    return "".join(
        f"{edge:>6} ms {'█' * round(40 * count / most):<40} {count:,}\n"
        for edge, count in zip(_EDGES_MS, counts, strict=True)
    )


def draw(recoveries_s: Sequence[float], path: pathlib.Path) -> None:
    """Write the histogram as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.add_subplot()
    edges = [5 * 1.15**step for step in range(50)]
    axes.hist([value * 1000 for value in recoveries_s], bins=edges, color="#4878a8")
    axes.set_xscale("log")
    axes.set_xlabel("from the kill until the actor is as it was (ms)")
    axes.set_ylabel("recoveries")
    for name, value in quantiles(recoveries_s)[:3]:
        axes.axvline(value * 1000, color="#b04030", linewidth=1)
        axes.annotate(name, (value * 1000, 0.94), xycoords=("data", "axes fraction"), fontsize=8, color="#b04030")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def run(
    seed: int, lasts_s: float, length: int = 120, at_least: int = 0, *, say: Callable[[str], object] = print
) -> tuple[Totals, float]:
    """Run rounds in the session that there is; return what came of it and how long it took.

    It ends when the time is over and ``at_least`` so many were killed, or when something is wrong.
    """
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        storm = Storm(seed, pathlib.Path(folder))
        try:
            storm.run_given_up()
            while time.monotonic() < began_s + lasts_s or storm.totals.killed < at_least:
                storm.run_round(length)
                totals, passed_s = storm.totals, time.monotonic() - began_s
                calls = sum(totals.calls.values())
                say(f"{passed_s:6.1f} s, round {totals.rounds}: {totals.killed:,} killed, {calls:,} calls")
                if totals.problems:
                    break
        finally:
            storm.close()
    return storm.totals, time.monotonic() - began_s


def main() -> int:
    """Run it as the command line says."""
    parser = argparse.ArgumentParser(description="Durable actors under a storm of kills.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--table", type=pathlib.Path, default=pathlib.Path("out", "storm.md"), help="a Markdown file")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    ia.init(num_cpus=4)
    try:
        totals, took_s = run(given.seed, 60 * given.minutes, say=lambda line: print(line, flush=True))
        table = f"{describe(totals, given.seed, took_s)}\n```\n{histogram(totals.recoveries_s)}```\n"
        for problem in totals.problems:
            table += f"\n* {problem}"
        print(table)
        given.table.parent.mkdir(parents=True, exist_ok=True)
        given.table.write_text(table, encoding="utf-8")
        draw(totals.recoveries_s, given.table.with_suffix(".png"))
        if totals.problems:
            kept = given.table.with_suffix(".actors")
            shutil.copytree(pathlib.Path(anatomy.paths().state_dir, "actors"), kept, dirs_exist_ok=True)
            print(f"the folders of all actors are kept in {kept}", flush=True)
    finally:
        ia.shutdown()
    return 1 if totals.problems else 0


if __name__ == "__main__":
    sys.exit(main())
