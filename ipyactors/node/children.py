"""The workers of this machine as the agent knows them, and the report on each one's death. Pure."""

from __future__ import annotations

import dataclasses
import signal

import msgspec

from ipyactors.wire.chaos_words import Deed, Report, describe_end
from ipyactors.wire.deaths import TRY_AGAIN
from ipyactors.wire.last_words import Words
from ipyactors.wire.node_messages import ForkWorker, KillWorker, SignalWorker
from ipyactors.wire.specs import Death, LossReason

#: Signals that a process draws upon itself by a fault in its own code.
_OWN_FAULTS = frozenset({signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGTRAP})


@dataclasses.dataclass(slots=True)
class Child:
    """A worker that was asked for and has not been reported dead.

    ``pid`` is 0 until the zygote has said that it exists. ``kill`` is the first wish of the head's to end it.
    ``orphaned`` is set when its zygote died, which takes it along; ``signalled`` when a fault was injected.
    """

    order: ForkWorker
    pid: int = 0
    kill: KillWorker | None = None
    orphaned: bool = False
    signalled: SignalWorker | None = None

    @property
    def worker_id(self) -> bytes:
        """The id that the head gave it."""
        return self.order.worker_id


@dataclasses.dataclass(slots=True, frozen=True)
class Evidence:
    """What a shell found out about a process that has certainly ended.

    ``ran_out_of_memory``: the kernel's memory killer has struck here since the death before. ``started`` and
    ``was_leaving`` come from its marks file, ``last_output`` from its log, ``faults`` from what it noted of those that
    were ordered. ``words`` are what it has sent last, as it kept it. Sizes in bytes, 0 where unknown.
    """

    exit_code: int | None = None
    signal: int | None = None
    max_rss_bytes: int = 0
    limit_bytes: int = 0
    ran_out_of_memory: bool = False
    last_output: tuple[str, ...] = ()
    started: dict[bytes, int] = dataclasses.field(default_factory=dict)
    wall_s: float = 0.0
    was_leaving: bool = False
    faults: Report | None = None
    words: tuple[Words, ...] = ()


def compose_death(child: Child, evidence: Evidence, node_id: bytes) -> Death:
    """Return the report. A wish of the head's explains a death by SIGKILL before anything else does."""
    reason, detail = _explain(child, evidence)
    injected = _injected(child, evidence)
    return Death(
        reason=reason,
        exit_code=evidence.exit_code,
        signal=evidence.signal,
        detail=injected or detail,
        last_output=evidence.last_output,
        max_rss_bytes=evidence.max_rss_bytes,
        limit_bytes=evidence.limit_bytes,
        worker_id=child.worker_id,
        node_id=node_id,
        incarnation=child.order.incarnation,
        wall_s=evidence.wall_s,
        started=evidence.started,
        was_leaving=evidence.was_leaving or (child.kill is not None and child.kill.final),
        injected=bool(injected),
        faults=evidence.faults,
        words=tuple(_addressed(words, child) for words in evidence.words),
    )


def _addressed(words: Words, child: Child) -> Words:
    """Return words with who is to have them: what no caller has is its actor's creator's."""
    actor = child.order.actor
    if actor is None:
        return words
    source = words.source or (f"{actor.class_name} {actor.name!r}" if actor.name else actor.class_name)
    if words.reader:
        return msgspec.structs.replace(words, source=source)
    return msgspec.structs.replace(words, source=source, reader=actor.owner_id, seq=0, actor_id=actor.actor_id)


def start_failed(order: ForkWorker, detail: str, node_id: bytes) -> Death:
    """Return the report on a worker that never existed: nothing ran."""
    return Death(
        reason=LossReason.START_FAILED,
        detail=detail,
        worker_id=order.worker_id,
        node_id=node_id,
        incarnation=order.incarnation,
    )


def _injected(child: Child, evidence: Evidence) -> str:
    """Return what ``ipyactors.chaos`` did to end it, in words; empty if it ended otherwise."""
    if child.kill is not None and child.kill.intended:
        return ""
    acts = evidence.faults.acts if evidence.faults is not None else ()
    for act in reversed(acts):
        if act.is_deadly or (act.order.is_deadly and act.order.signal == evidence.signal):
            return describe_end(act)
    if acts and acts[-1].order.deed is Deed.FILL_DISK and evidence.exit_code == TRY_AGAIN:
        return describe_end(acts[-1])  # it ended itself, to undo a call that is over with a checkpoint
    signalled = child.signalled
    return "injected" if signalled is not None and signalled.number == evidence.signal else ""


def _explain(child: Child, evidence: Evidence) -> tuple[LossReason, str]:
    """Return why it ended, and words for what exit code and signal alone do not say."""
    number = evidence.signal
    if child.kill is not None and (child.kill.intended or number == signal.SIGKILL):
        return (LossReason.INTENDED if child.kill.intended else LossReason.KILLED), child.kill.detail
    if number is None:
        return LossReason.EXITED, ""
    if number == signal.SIGKILL and evidence.ran_out_of_memory:
        return LossReason.OUT_OF_MEMORY, _memory_words(evidence)
    if number == signal.SIGKILL and child.orphaned:
        return LossReason.KILLED, "the zygote that had started it died; a new one has been started"
    if number in _OWN_FAULTS:
        return LossReason.EXITED, "it crashed in native code"
    return LossReason.KILLED, ""


def _memory_words(evidence: Evidence) -> str:
    """Return what is known about the memory."""
    words = "the kernel's memory killer ended it"
    if evidence.max_rss_bytes and evidence.limit_bytes:
        peak, limit = evidence.max_rss_bytes / 1e9, evidence.limit_bytes / 1e9
        words += f": it had used up to {peak:.1f} GB, and all processes together have {limit:.1f} GB"
    return words
