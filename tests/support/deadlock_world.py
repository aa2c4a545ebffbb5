"""Actors whose calls wait for each other, every message in the hands of a test, and a judge who sees all at once."""

from __future__ import annotations

import dataclasses
import itertools
import random
from typing import Any

from ipyactors.ground import ids
from ipyactors.owner import deadlock
from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.calls import CallState
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.endless_waits import EndlessWait
from ipyactors.owner.objects import BorrowedEntry, Entry
from ipyactors.owner.state import OwnerState
from ipyactors.owner.templates import MethodTemplate
from ipyactors.wire.specs import Payload
from ipyactors.wire.worker_messages import CallMethod, ProbeCalls, ProbeObjects
from ipyactors.worker.mailbox import Mailbox
from ipyactors.worker.places import Places
from ipyactors.worker.running import Running
from tests.support.owner_scenario import RecordingOut


@dataclasses.dataclass(eq=False)
class Made:
    """A call. ``borrowed`` is its object in other processes; ``has`` are calls of which its code has references."""

    maker: Process
    runner: Process
    call: MethodCall
    entry: Entry
    borrowed: dict[bytes, BorrowedEntry] = dataclasses.field(default_factory=dict)
    running: CurrentCall | None = None
    wait: EndlessWait | None = None
    has: list[Made] = dataclasses.field(default_factory=list)
    is_over: bool = False

    def entry_in(self, process: Process) -> Entry:
        """Return the object as a process has it that has a reference."""
        return self.entry if process is self.maker else self.borrowed[process.process_id]


class Process:
    """An actor that runs up to ``limit`` calls at a time."""

    def __init__(self, name: bytes, limit: int) -> None:
        self.process_id = name
        self.limit = limit
        self.state = OwnerState(name, f"mem://{name!r}")
        self.out = RecordingOut()
        self.clients: dict[bytes, ActorClient] = {}
        self.box = Mailbox(is_actor=True)
        self.running = Running()
        self.places = Places(self.box, self.running, is_serial=limit == 1, has_event_loop=False)
        self.at_work: list[Made] = []
        self.in_line: list[Made] = []


class World:
    """``steps`` counts what has happened; ``edges`` has when one wait was held up by another, from a step to a step."""

    def __init__(self, seed: int, limits: list[int]) -> None:
        self.random = random.Random(seed)
        self.processes = [Process(b"w%07d" % n, limit) for n, limit in enumerate(limits)]
        by_id = self.by_id = {one.process_id: one for one in self.processes}
        for process in self.processes:
            process.out.connected = dict.fromkeys(by_id, "")
            process.out.to_owner = process.out.to_worker  # type: ignore[attr-defined]
        self.network: list[tuple[bytes, bytes, Any]] = []
        self.now_s = 100.0
        self.steps = 0
        self.calls: list[Made] = []
        self.edges: dict[tuple[bytes, bytes], list[list[int]]] = {}
        self.on_the_way: list[Made] = []
        self.answers: list[tuple[Made, Entry, bool]] = []
        self._numbers = 0

    # -- what code does -----------------------------------------------------------------------------------------

    def submit(self, by: Process, to: Process, code: Made | None = None) -> Made:
        """Have ``code``, which runs in ``by``, call an actor."""
        self._numbers += 1
        client = by.clients.setdefault(to.process_id, ActorClient(to.process_id, "Actor"))
        client.worker_id = to.process_id
        object_id = ids.object_id(by.process_id, self._numbers)
        call = MethodCall(MethodTemplate("m"), client, object_id, Payload(b""), (), None)
        call.seq, client.next_seq = client.next_seq, client.next_seq + 1
        call.state = CallState.SENT
        entry = Entry(object_id, call)
        by.state.objects.named[object_id] = entry
        made = Made(by, to, call, entry)
        self.calls.append(made)
        self.on_the_way.append(made)
        if code is not None:
            code.has.append(made)
        return made

    def arrive(self, made: Made) -> None:
        """Have a call be where it is to run."""
        self.on_the_way.remove(made)
        to, call = made.runner, made.call
        message = CallMethod(call.seq, call.task_id, f"m{len(self.calls)}", Payload(b""))
        to.box.ready.append((made.maker.process_id, message))
        to.in_line.append(made)
        self._start(to)

    def call(self, by: Process, to: Process, code: Made | None = None) -> Made:
        """Have code call an actor, and the call be there."""
        made = self.submit(by, to, code)
        self.arrive(made)
        return made

    def lend(self, made: Made, to: Made) -> None:
        """Have running code know of what another call makes."""
        process, entry = to.runner, made.entry
        if process is not made.maker and process.process_id not in made.borrowed:
            borrowed = BorrowedEntry(entry.object_id, made.maker.state.address, lambda _: None)
            made.borrowed[process.process_id] = borrowed
        to.has.append(made)

    def wait(self, code: Made, what: list[Made]) -> EndlessWait:
        """Have running code wait for all of these."""
        process, running = code.runner, code.running
        assert running is not None
        entries = [one.entry_in(process) for one in what]
        for entry in entries:
            if entry.owner_address and not entry.done:
                process.state.objects.fetching[entry.object_id] = entry
        code.wait = EndlessWait(running, running.name, entries, blocks_thread=True)
        deadlock.begin(process.state, code.wait, self.now_s)
        return code.wait

    def finish(self, made: Made, *, fails: bool = False) -> None:
        """End a call, if it runs or stands in line; nobody has its answer yet."""
        process = made.runner
        if made.wait is not None:
            self._end(made)
        if made.running is not None:
            process.at_work.remove(made)
            process.running.pop((made.running.caller, made.running.seq))
        else:
            index = process.in_line.index(made)
            del process.in_line[index]
            del process.box.ready[index]
        made.is_over = True
        self.answers += [(made, entry, fails) for entry in (made.entry, *made.borrowed.values())]
        self._start(process)

    def answer(self, index: int) -> None:
        """Deliver an answer; who waits only for what is there goes on, and who waits for what has failed."""
        made, entry, fails = self.answers.pop(index)
        if entry is made.entry:
            made.call.state = CallState.DONE
        if fails:
            entry.fail(ValueError("no"))
        else:
            entry.complete(Payload(b""))
        for one in self.calls:
            if one.wait is not None and _is_over(one.wait):
                self._end(one)

    def hear(self, made: Made) -> None:
        """Have code that was told that it waits for itself go on."""
        assert made.wait is not None
        assert made.wait.circle
        self._end(made)

    def _end(self, made: Made) -> None:
        assert made.wait is not None
        deadlock.end(made.runner.state, made.wait)
        made.wait = None

    def _start(self, process: Process) -> None:
        while process.in_line and len(process.at_work) < process.limit:
            made = process.in_line.pop(0)
            caller, call = process.box.ready.popleft()
            assert isinstance(call, CallMethod)
            made.running = CurrentCall(caller, call.seq, call.task_id, call.method)
            process.running.admit((caller, call.seq), made.running)
            process.at_work.append(made)

    # -- what the runtime does ------------------------------------------------------------------------------------

    def deliver(self, index: int, *, keep: bool = False) -> None:
        """Deliver one of the messages under way; ``keep``: it will come once more."""
        to, by, message = self.network[index] if keep else self.network.pop(index)
        process = self.by_id[to]
        if isinstance(message, ProbeObjects):
            deadlock.on_probe_objects(process.state, process.out, message)
        else:
            assert isinstance(message, ProbeCalls)
            held_up = process.places.held_up(by, message.seqs)
            deadlock.on_probe_calls(process.state, process.out, message, held_up, self.now_s)
        self._collect(process)

    def tick(self, seconds: float) -> None:
        """Let time pass, and have what is due sent."""
        self.now_s += seconds
        for process in self.processes:
            deadlock.send_due(process.state, process.out, self.now_s)
            self._collect(process)

    def settle(self, rounds: int = 3) -> None:
        """Let time pass, and everything arrive, in any order; nothing else happens meanwhile."""
        for _ in range(rounds):
            self.tick(deadlock.PROBE_AGAIN_S)
            while self.network:
                self.deliver(self.random.randrange(len(self.network)))
                self.tick(0.0)

    def _collect(self, process: Process) -> None:
        self.network += [(to, process.process_id, message) for to, message in process.out.sent]
        process.out.sent.clear()

    # -- the judge ----------------------------------------------------------------------------------------------

    def graph(self) -> dict[bytes, set[bytes]]:
        """Return which waits each wait is held up by, as nobody inside can see it: all at one moment."""
        by_id = {one.entry.object_id: one for one in self.calls if not one.is_over}
        found: dict[bytes, set[bytes]] = {}
        for one in self.calls:
            if one.wait is None or one.wait.circle:
                continue
            held = found[one.wait.wait_id] = set()
            for made in (by_id.get(entry.object_id) for entry in one.wait.entries):
                if made is None or made in self.on_the_way:
                    continue
                holders = [made] if made.running is not None else made.runner.at_work if made.runner.limit == 1 else []
                held |= {other.wait.wait_id for other in holders if other.wait is not None and not other.wait.circle}
        return found

    def note_edges(self) -> None:
        """Note what the graph is at this step."""
        self.steps += 1
        for wait_id, held in self.graph().items():
            for other in held:
                spans = self.edges.setdefault((wait_id, other), [])
                if spans and spans[-1][1] == self.steps - 1:
                    spans[-1][1] = self.steps
                else:
                    spans.append([self.steps, self.steps])

    def was_circle(self, wait: EndlessWait) -> bool:
        """Return whether at one moment each wait of a circle was held up by the next."""
        path = [one.wait_id for one in wait.circle]
        spans = [self.edges.get(edge, []) for edge in itertools.pairwise(path)]
        moments = {first for row in spans for first, _ in row}
        return any(all(any(a <= moment <= b for a, b in row) for row in spans) for moment in moments)


def _is_over(wait: EndlessWait) -> bool:
    return all(entry.done for entry in wait.entries) or any(entry.failure is not None for entry in wait.entries)


def greatest_of_circles(graph: dict[bytes, set[bytes]]) -> set[bytes]:
    """Return the waits that are the greatest of some circle: each comes back to itself by way of lesser ones."""
    found = set()
    for begin in graph:
        seen: set[bytes] = set()
        left = list(graph[begin])
        while left:
            one = left.pop()
            if one not in seen and one <= begin:
                seen.add(one)
                left += graph[one] if one != begin else ()
        if begin in seen:
            found.add(begin)
    return found
