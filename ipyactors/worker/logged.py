"""The calls of a durable actor, from their arrival to their answer.

Each that may change the actor is put into the log before it runs, and its end before it is answered. It may come
several times: whoever sent it sends it again to every incarnation until there is an answer. The first time it is
logged, later it waits for the same end, or gets what is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from ipyactors.durable import record
from ipyactors.durable.blobs import BlobDamagedError
from ipyactors.durable.call_tables import Recorded, Verdict
from ipyactors.durable.record import Answer, Outcome, Value
from ipyactors.ground import faultpoints, ids
from ipyactors.ground.exceptions import (
    CallAbortedError,
    CallOutcomeUnknownError,
    LogDamagedError,
    NotReplayableError,
    RecoveryFailedError,
    ReplayDivergenceError,
    StorageFullError,
)
from ipyactors.ground.tracebacks import in_words
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.templates import STREAMING
from ipyactors.wire import serialize
from ipyactors.wire.codec import Message
from ipyactors.wire.specs import Payload, RemoteError
from ipyactors.wire.worker_messages import (
    LOGGED,
    ActorHasChanged,
    CallCancelled,
    CallMethod,
    CallRaised,
    CallSucceeded,
    ItemYielded,
)
from ipyactors.worker import chaos
from ipyactors.worker.call_log import CallLog
from ipyactors.worker.checkpoint import Checkpointer
from ipyactors.worker.errors import describe_error
from ipyactors.worker.logged_call import LoggedCall, Waiter, end_of, to_record, waiter_of
from ipyactors.worker.results import Values
from ipyactors.worker.turn import Turn

_encode_answer = msgspec.msgpack.Encoder().encode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode

#: Methods that every actor has and that are no part of its history.
UNLOGGED = frozenset({"__ray_ready__", "__ipyactors_checkpoint__", "__ipyactors_corrupt__", "__ipyactors_upgrade__"})

#: Why a call was given up that is not to have run.
_CANCELLED = "it was cancelled before it ran"

#: What is said besides of a call that was given up after it had acted outside of the actor.
OTHERS = " (calls that it had made to others may have taken effect: they are not undone)"


class UndoneError(Exception):
    """Raised when what a call did to the actor in memory must go: the process has to end, and the next has it not."""


class LoggedCalls:
    """Calls that are in the log and not over. Used by the thread that runs calls.

    ``open`` has them by their ids; ``crashes`` names, by lsn, the incarnations that have died while that call ran.
    ``describe`` makes the :class:`CurrentCall` of a call; ``send`` gives an answer,
    ``lend`` counts what is in it, ``claim`` has who waits get what the call has written (:meth:`Outlet.claim`).
    """

    def __init__(
        self,
        log: CallLog,
        values: Values,
        describe: Callable[[bytes, CallMethod], CurrentCall],
        send: Callable[[bytes, Message], None],
        lend: Callable[..., object],
        claim: Callable[[bytes, bytes, int], object] = lambda *_: None,
    ) -> None:
        self._log = log
        self._values = values
        self._describe = describe
        self._send, self._lend, self._claim = send, lend, claim
        self._open: dict[bytes, LoggedCall] = {}
        self.open: Mapping[bytes, LoggedCall] = self._open
        self.checkpointer: Checkpointer | None = None
        self.crashes: Mapping[int, tuple[int, ...]] = {}

    # -- coming -------------------------------------------------------------------------------------------------

    def take(self, caller: bytes, call: CallMethod) -> LoggedCall | None:
        """Return a call that is to be run when its turn comes; else it is answered, now or when it is over.

        What is returned must be written (:meth:`GuardedLog.write`) before it runs.
        """
        if call.expected is not None and call.expected[0] == LOGGED:
            self._send_again(caller, call, call.expected[1])
            return None
        if call.is_readonly or call.method in UNLOGGED:
            return LoggedCall(call, self._describe(caller, call))
        faultpoints.hit("durable.call.arrived")
        if chaos.armed is not None and self.is_new(call):  # what is in the log would be run by a replay
            refusal = chaos.armed.refusal(call, self._describe(caller, call).name)
            if refusal is not None:
                self._send(caller, refusal)
                return None
        entry = to_record(call)
        if call.settled:
            self._log.settle(entry.caller_id, call.settled)
        large: Sequence[Payload] = ()
        if call.args.stored is not None or call.args.buffers or call.arg_values:
            large = self._values.bring((call.args, *call.arg_values))
        try:
            verdict = self._log.take(entry, large, may_be_known=call.may_be_known)
        except StorageFullError as error:
            self.refuse(caller, call, error)
            return None
        if verdict is Verdict.NEW:
            faultpoints.hit("durable.call.taken")
            if large:  # as they are now: what they were taken from may go when the caller does
                call.args, call.arg_values = large[0], tuple(large[1:])
            lsn = self._log.last_lsn
            logged = LoggedCall(call, self._describe(caller, call), lsn, entry.call_id, [waiter_of(caller, call)])
            self._open[entry.call_id] = logged
            return logged
        self._answer_known(verdict, caller, call, entry)
        return None

    def _answer_known(self, verdict: Verdict, caller: bytes, call: CallMethod, entry: record.Call) -> None:
        """Deal with a call that has been here before."""
        faultpoints.hit("durable.call.known")
        waiter = waiter_of(caller, call)
        match verdict:
            case Verdict.RUNNING:
                logged = self._open[self._log.id_of(entry)]
                logged.waiters.append(waiter)
                self._claim(logged.call_id, caller, call.seq)
            case Verdict.RECORDED:
                self._repeat(waiter, call.num_returns == STREAMING, self._log.recorded(entry))
            case Verdict.SETTLED:
                text = (
                    f"The call {call.method} had been answered, and the caller had said so: the answer is not kept any "
                    "more. The call took effect once, and nothing was run now."
                )
                self.refuse(caller, call, CallOutcomeUnknownError(text, actor_id=self._log.actor_id.hex()))
            case _:
                self.refuse(caller, call, _another(call, self._log.actor_id))

    def forget_process(self, process_id: bytes) -> None:
        """A caller's process is gone, and will never ask again."""
        self._log.forget_process(process_id)

    def reopen(self, entry: record.Call, lsn: int, past: Sequence[Value]) -> LoggedCall:
        """Return a call that an incarnation before had logged and not ended. Whoever sent it will send it again."""
        payloads = self._log.arguments(entry)
        call = CallMethod(
            lsn,  # nobody waits for it by this number; it tells the call from others that run beside it
            entry.call_id,
            entry.method,
            payloads[0],
            tuple(payloads[1:]),
            entry.num_returns,
            entry.retry_on,
            is_persist=entry.is_persist,
        )
        logged = LoggedCall(call, self._describe(b"", call), lsn, entry.call_id, [], past)
        self._open[entry.call_id] = logged
        return logged

    def is_new(self, call: CallMethod) -> bool:
        """Return whether a call is not in the log, so that it has not run and does not."""
        return self._log.is_new(to_record(call), may_be_known=call.may_be_known)

    def refuse(self, caller: bytes, call: CallMethod, error: Exception) -> None:
        """Answer a call that is not run."""
        self._send(caller, CallRaised(call.seq, describe_error(error, function_name=call.method)))

    # -- ending -------------------------------------------------------------------------------------------------

    def finish(self, logged: LoggedCall, message: Message) -> None:
        """Note how a call has ended, and answer everyone who waits for it.

        Raises UndoneError for one that cannot stand: it is given up. Raises ReplayDivergenceError for one that should
        have done the same again, and has not: nobody knows then what else is not as it was.
        """
        reason = self.objection_to(logged, message, may_diverge=logged.call.is_persist)
        if reason:
            self.undo(logged, reason)
            raise UndoneError(f"{logged.running.name} (lsn {logged.lsn}) is undone, because {reason}")
        if logged.call.is_persist:
            self.finish_together([(logged, message)])
            return
        try:
            recorded = self._log.finish(*end_of(message, logged))
        except StorageFullError as error:
            self.undo(logged, str(error))
            raise UndoneError(f"{logged.running.name} (lsn {logged.lsn}) is undone, because {error}") from error
        faultpoints.hit("durable.call.done")
        self._end(logged, recorded, message)

    def objection_to(self, logged: LoggedCall, message: Message, *, may_diverge: bool) -> str:
        """Return why a call that has ended cannot stand: nobody could do again what it did; empty if it can.

        Raises ReplayDivergenceError for one that has not done the same again, unless it ``may_diverge``;
        RecoveryFailedError for one that could not be given what it had.
        """
        faultpoints.hit("durable.call.ended")
        turn = logged.running.turn
        try:
            if isinstance(turn, Turn):
                turn.check_end(message.error.words if isinstance(message, CallRaised) else "")
        except NotReplayableError as error:
            return str(error)
        except (ReplayDivergenceError, RecoveryFailedError) as error:
            if not may_diverge:
                raise
            return f"a crash interrupted it, and it could not be run again as it had begun: {in_words(error)}"
        return ""

    def finish_together(self, ended: Sequence[tuple[LoggedCall, Message]]) -> None:
        """Note how calls have ended by one checkpoint, and answer everyone who waits for them; no other may be open.

        Raises UndoneError if none can be made: then they are given up.
        """
        assert self.checkpointer is not None
        ends = [end_of(message, logged) for logged, message in ended]
        named = ", ".join(f"{logged.running.name} (lsn {logged.lsn})" for logged, _ in ended)
        try:
            recorded = self.checkpointer.make_with(ends)
        except Exception as error:
            if self._log.is_over(ends[0].call_id):
                raise UndoneError(f"{named}: over, but {in_words(error)}") from error
            why = in_words(error).rstrip(".")
            reason = f"it is to be in a checkpoint before it is answered, and none could be made: {why}"
            for logged, _ in ended:
                self.undo(logged, reason)
            raise UndoneError(f"{named}: undone, because {reason}") from error
        faultpoints.hit("durable.call.done")
        for (logged, message), one in zip(ended, recorded, strict=True):
            self._end(logged, one, message)

    def end_unsaved(self, logged: LoggedCall, message: Message) -> None:
        """Answer everyone who waits for a call of an actor that will never come back; the log is left as it is."""
        end = end_of(message, logged)
        answer = _encode_answer(end.answer)
        self._end(logged, Recorded(logged.call_id, b"", 0, logged.lsn, end.outcome, answer, b""), message)

    def undo(self, logged: LoggedCall, reason: str) -> None:
        """Give a call up that has run, as :meth:`abort`; the process must end, which has its effects in memory."""
        if isinstance(turn := logged.running.turn, Turn) and turn.has_acted:
            reason += OTHERS
        self.abort(logged, reason)
        self._log.guarded.secure()  # nobody may be waiting for it, and so no answer that would see to that

    def keep_item(self, logged: LoggedCall, item: ItemYielded) -> bool:
        """Note what a call has yielded; return whether it is not to leave before the call is over."""
        if logged.items is None:
            logged.items = []
        logged.items.append(item.payload)
        item.version = LOGGED, logged.lsn
        if logged.call.is_persist:
            logged.hold_back(item)
        return logged.call.is_persist

    def abort(self, logged: LoggedCall, reason: str) -> None:
        """Give a call up that was not run, or whose effects are undone; answer everyone who waits for it."""
        recorded = self._log.abort(logged.call_id, reason)
        faultpoints.hit("durable.call.aborted")
        self._end(logged, recorded, None)

    def cancel(self, logged: LoggedCall) -> None:
        """Give a call up that was cancelled before it ran."""
        self._end(logged, self._log.abort(logged.call_id, _CANCELLED), None)

    def cancel_open(self, caller: bytes, call: CallMethod) -> None:
        """Have who sent a call again, and cancels it, wait no more; if nobody else waits, the call is not to run.

        One that has begun goes on, and its end is told.
        """
        logged = self._open.get(self._log.id_of(to_record(call)))
        if logged is None or logged.is_begun:
            return
        if logged.drop_waiter(caller, call.seq):
            self._send(caller, CallCancelled(call.seq, started=False))
        else:
            logged.running.cancelled = True

    def hand_over(self, logged: LoggedCall) -> bool:
        """Have a call that was cancelled before it ran go on for those who wait for it besides; False if nobody does.

        Who has cancelled it is answered. The others get what is recorded, as of a call that was found in the log.
        """
        running = logged.running
        if not logged.drop_waiter(running.caller, running.seq):
            return False
        self._send(running.caller, CallCancelled(running.seq, started=False))
        logged.call = msgspec.structs.replace(logged.call, seq=logged.lsn, task_id=logged.call_id, skip_items=0)
        running.caller, running.seq, running.cancelled = b"", logged.lsn, False
        return True

    def _end(self, logged: LoggedCall, recorded: Recorded, message: Message | None) -> None:
        del self._open[logged.call_id]
        running = logged.running
        if chaos.armed is not None and not running.caller:
            chaos.armed.after_logged(running, is_done=message is not None)
        for waiter in logged.waiters:
            if message is not None and (waiter.peer, waiter.seq) == (running.caller, running.seq):
                for item in logged.unsent or ():
                    self._send(waiter.peer, item)
                self._send(waiter.peer, message)
            else:
                self._repeat(waiter, logged.call.num_returns == STREAMING, recorded)

    def _send_again(self, caller: bytes, call: CallMethod, lsn: int) -> None:
        """Give the results of a call that has been answered long ago, and whose data was lost since."""
        changed = ActorHasChanged(call.seq)
        try:
            done = self._log.find_end(lsn)
        except (LogDamagedError, OSError):  # then it is lost here, too, for this caller; for nobody else
            done = None
        if done is None:
            self._send(caller, changed)
            return
        recorded = Recorded(done.call_id, b"", 0, lsn, done.outcome, done.answer, b"")
        self._repeat(waiter_of(caller, call), call.num_returns == STREAMING, recorded, changed)

    def _repeat(self, waiter: Waiter, is_streaming: bool, recorded: Recorded, instead: Message | None = None) -> None:
        """Give the recorded answer; ``instead`` of one that cannot be read any more something else."""
        peer, seq, crashes = waiter.peer, waiter.seq, self.crashes.get(recorded.lsn, ())
        self._claim(recorded.call_id, peer, seq)
        if recorded.outcome is Outcome.ABORTED:
            reason = recorded.answer.decode()
            if reason == _CANCELLED:
                self._send(peer, CallCancelled(seq, started=False))
                return
            # The last of the processes that it has ended is why it was given up: it did not run again.
            self._send(peer, CallRaised(seq, _given_up(self._log, recorded, reason), crashes=crashes[:-1]))
            return
        answer = _decode_answer(recorded.answer)
        try:
            payloads = self._log.guarded.read_answer(answer)
        except BlobDamagedError as problem:  # its caller's loss: the actor is as it was
            self._send(peer, instead or CallRaised(seq, _unreadable(self._log, recorded, problem)))
            return
        results = tuple(
            _as_sent(self._values, payload, waiter, index + is_streaming) for index, payload in enumerate(payloads)
        )
        self._lend(peer, *results)
        if is_streaming:
            for index, item in enumerate(results[waiter.skip_items :], waiter.skip_items):
                self._send(peer, ItemYielded(seq, index, item, (LOGGED, recorded.lsn)))
            results = ()
        if answer.error is not None:
            is_own = recorded.call_id.startswith(waiter.first)
            self._send(peer, CallRaised(seq, answer.error, answer.is_retryable and is_own, crashes))
        elif answer.is_cancelled:
            self._send(peer, CallCancelled(seq, started=True))
        else:
            self._send(peer, CallSucceeded(seq, results, answer.duration_s, (LOGGED, recorded.lsn), crashes))


def _another(call: CallMethod, actor_id: bytes) -> ReplayDivergenceError:
    text = (
        f"The call {call.method} has the {f'key {call.key!r}' if call.key else 'id'} of an earlier call, of another "
        "method or with other arguments: it is not the same call again. Nothing was run. "
        + ("Use another key." if call.key else "A task that is retried must make the same calls again.")
    )
    return ReplayDivergenceError(text, actor_id=actor_id.hex())


def _given_up(log: CallLog, recorded: Recorded, reason: str) -> RemoteError:
    text = (
        f"The call at lsn {recorded.lsn} was given up: {reason}. It had no effect on the actor and will have "
        "none: the state is what it was before, and later calls go on from there."
    )
    error = CallAbortedError(text, actor_id=log.actor_id.hex(), lsn=recorded.lsn)
    return describe_error(error, function_name="")


def _unreadable(log: CallLog, recorded: Recorded, problem: BlobDamagedError) -> RemoteError:
    text = (
        f"The call (lsn {recorded.lsn}) took effect once, and nothing was run now. What it had given is beside the "
        f"log, and cannot be read any more: {problem}. `ipyactors fsck {log.guarded.folder}` tells whether anything "
        "else is damaged."
    )
    return describe_error(CallOutcomeUnknownError(text, actor_id=log.actor_id.hex()), function_name="")


def _as_sent(values: Values, payload: Payload, waiter: Waiter, index: int) -> Payload:
    if not serialize.is_large(payload):
        return payload
    first = waiter.task_id
    object_id = ids.object_id(ids.owner_of(first), ids.counter_of(first), index)
    return values.keep(payload, object_id, "a recorded result")
