"""What was received and has not started: calls per caller in order, none twice.

Filled by whichever thread reads the sockets (under the session's lock); emptied, without the lock, by whichever
thread runs calls. ``ready`` is the meeting point: every step on it is one atomic operation of a deque, so a call is
either taken to be run, or given back, or cancelled, and never two of them.
"""

from __future__ import annotations

import dataclasses
from collections import deque

from ipyactors.wire.worker_messages import (
    CallCancelled,
    CallMethod,
    CallsReturned,
    CancelCall,
    FinishAndExit,
    RunTask,
)
from ipyactors.worker.definitions import Definitions
from ipyactors.worker.out import MailboxOut

Call = RunTask | CallMethod

#: A caller's process id and its call; or the word to finish, which waits in line like a call.
Entry = tuple[bytes, Call | FinishAndExit]

#: Tasks that wait behind one that has run this long are given back, so that a pipeline never starves them.
GIVE_BACK_AFTER_S = 0.02


class Stream:
    """One caller's calls: which number comes next, and what came before its turn (None once it was cancelled)."""

    __slots__ = ("early", "next_seq")

    def __init__(self) -> None:
        self.next_seq = 1
        self.early: dict[int, Call | None] = {}


@dataclasses.dataclass(slots=True)
class Mailbox:
    """The state. ``incarnation`` is that of the actor that lives here; ``is_actor`` tells whether one does.

    ``cancelled`` are calls that may be in the actor's log, and so have to be asked for there before they are given up.
    """

    is_actor: bool = False
    incarnation: int = 0
    ready: deque[Entry] = dataclasses.field(default_factory=deque)
    streams: dict[bytes, Stream] = dataclasses.field(default_factory=dict)
    definitions: Definitions = dataclasses.field(default_factory=Definitions)
    cancelled: set[tuple[bytes, int]] = dataclasses.field(default_factory=set)

    def check_invariants(self) -> None:
        """Raise AssertionError unless the tables agree with each other."""
        for caller, stream in self.streams.items():
            assert all(seq > stream.next_seq for seq in stream.early), (caller, stream.next_seq, stream.early)
        seqs = [(caller, call.seq) for caller, call in self.ready if not isinstance(call, FinishAndExit)]
        assert len(seqs) == len(set(seqs)), f"a call is ready twice: {seqs}"
        assert all(seq < self.streams[caller].next_seq for caller, seq in seqs), seqs
        self.definitions.check_invariants()


def on_call(box: Mailbox, out: MailboxOut, caller: bytes, call: Call) -> int:
    """Take a call: put it in line, or hold it until those before it have come. A number seen before is dropped.

    Return how many calls have joined the line.
    """
    stream = box.streams.get(caller)
    if stream is None:
        stream = box.streams[caller] = Stream()
    seq = call.seq
    if seq != stream.next_seq:
        if seq > stream.next_seq:
            stream.early.setdefault(seq, call)
        return 0
    stream.next_seq = seq + 1
    joined = 0
    if _is_at_home(box, out, caller, call):
        box.ready.append((caller, call))
        joined = 1
    early = stream.early
    while early and stream.next_seq in early:
        held = early.pop(stream.next_seq)
        stream.next_seq += 1
        if held is not None and _is_at_home(box, out, caller, held):
            box.ready.append((caller, held))
            joined += 1
    return joined


def _is_at_home(box: Mailbox, out: MailboxOut, caller: bytes, call: Call) -> bool:
    """Return whether this worker is the one that the call is meant for; else refuse it."""
    if type(call) is CallMethod:
        if call.incarnation == box.incarnation and box.is_actor:
            return True
        why = (
            f"the call is for incarnation {call.incarnation}, and this is incarnation {box.incarnation}"
            if box.is_actor
            else "no actor lives in this worker"
        )
        out.refuse(caller, call.seq, call.method, f"{why}. The call was not run.")
        return False
    assert isinstance(call, RunTask)
    if not box.is_actor:
        return True
    out.refuse(caller, call.seq, call.name, "this worker hosts an actor and runs no tasks. The task was not run.")
    return False


def on_cancel(box: Mailbox, out: MailboxOut, caller: bytes, message: CancelCall) -> None:
    """Take the call out of the line; if it is not there any more, interrupt it. Too late is no error."""
    seq = message.seq
    stream = box.streams.get(caller)
    early = None if stream is None else stream.early.get(seq)
    if stream is not None and early is not None:
        if _may_be_known(early):
            box.cancelled.add((caller, seq))
            return
        stream.early[seq] = None  # its number is still used up in its turn, or those behind it would wait for ever
        out.answer(caller, CallCancelled(seq, started=False))
        return
    for entry in tuple(box.ready):
        if entry[0] == caller and not isinstance(entry[1], FinishAndExit) and entry[1].seq == seq:
            if _may_be_known(entry[1]):
                box.cancelled.add((caller, seq))
                break
            if _take_out(box, entry):
                out.answer(caller, CallCancelled(seq, started=False))
                return
            break
    out.interrupt(caller, seq, message.recursive)


def _may_be_known(call: Call) -> bool:
    return type(call) is CallMethod and call.may_be_known and not call.is_readonly


def _take_out(box: Mailbox, entry: Entry) -> bool:
    """Remove ``entry`` from the line; return False if a thread that runs calls was faster."""
    for _ in range(3):
        try:
            box.ready.remove(entry)
        except ValueError:
            return False
        except IndexError:  # the deque changed while it was searched
            continue
        return True
    return False


def on_finish(box: Mailbox, caller: bytes, message: FinishAndExit) -> None:
    """End after what is in line now."""
    box.ready.append((caller, message))


def give_back(box: Mailbox, out: MailboxOut) -> int:
    """Return every task that waits in line to its caller; return how many. Not for actors."""
    returned: dict[bytes, list[int]] = {}
    kept: list[Entry] = []
    while True:
        try:
            caller, call = box.ready.pop()
        except IndexError:
            break
        if isinstance(call, RunTask):
            returned.setdefault(caller, []).append(call.seq)
        else:
            kept.append((caller, call))
    box.ready.extendleft(kept)
    for caller, seqs in returned.items():
        out.answer(caller, CallsReturned(tuple(reversed(seqs))))
    return sum(map(len, returned.values()))


def plan_give_back(box: Mailbox, busy_for_s: float | None, is_blocked: bool) -> float | None:
    """Return in how many seconds waiting tasks should be given back: 0.0 for now, None for no reason to.

    ``busy_for_s`` is how long the current task has run, None if none runs: then the first in line is about to, and
    may be a long one. ``is_blocked`` tells that the task waits for other calls, perhaps for the very ones behind it.
    """
    if box.is_actor or not box.ready:
        return None
    if busy_for_s is None:
        return GIVE_BACK_AFTER_S
    if is_blocked:
        return 0.0
    return max(0.0, GIVE_BACK_AFTER_S - busy_for_s)
