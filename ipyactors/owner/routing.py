"""Where it goes what a call prints and displays: up to whoever has made the call, at last under a notebook's cell.

In a worker, to the caller of the code that has made the call. In a driver, to the user, with the call's scope:

* A call that is under way has its own scope, and so has one that is over: code that it has left behind, a task of an
  event loop say, goes on in its name. What a durable actor has found in its log is known by the call's id.
* What a call's thread or program writes comes in the call's name too; what remains of no call (a constructor, a pool's
  threads) is of the scope that the actor was created in; in a worker that runs tasks, of the last that it was given
  from here.
* What a process that was killed had not come to send is in the report of its death, and is shown in the same way.
"""

from __future__ import annotations

import msgspec

from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.calls import PendingCall
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.out import Out
from ipyactors.owner.state import OwnerState
from ipyactors.wire.last_words import Words
from ipyactors.wire.specs import Death
from ipyactors.wire.worker_messages import OutputWritten, Written


def on_written(state: OwnerState, out: Out, peer: bytes, message: Written, _now_s: float) -> None:
    """A worker has something to show: show it, or pass it to whoever called the code that called this."""
    if isinstance(message, OutputWritten) and message.number:
        if not state.arrived.note(peer, message.number, is_unasked=bool(message.actor_id)):
            return
        message.number = 0  # that is between the worker and this process; it may be passed on
    _route(state, out, peer, message)


def show_last_words(state: OwnerState, out: Out, death: Death | None) -> None:
    """A process is dead: show what it had for its calls from here and has not arrived. To be called before they end."""
    if death is None:
        return
    for words in death.words:
        if words.reader == state.owner_id and state.arrived.miss(
            death.worker_id, words.number, is_unasked=bool(words.actor_id)
        ):
            _route(state, out, death.worker_id, _as_written(state, death.worker_id, words))


def _as_written(state: OwnerState, worker_id: bytes, words: Words) -> OutputWritten:
    source = words.source
    if not source:
        holder = state.holders.get(worker_id)
        call = holder.in_flight.get(words.seq) if holder is not None else None
        source = call.name if call is not None else "worker"
    return OutputWritten(words.seq, source, words.stream, words.text, words.block_id, words.actor_id, words.call_id)


def _route(state: OwnerState, out: Out, peer: bytes, message: Written) -> None:
    holder = state.holders.get(peer)
    client = state.actors.get(message.actor_id) if not message.seq else None
    call: PendingCall | None = holder.in_flight.get(message.seq) if holder is not None else None
    call_id, message.call_id = message.call_id, b""  # it says nothing to whom this is passed on
    if client is not None and call_id:
        call = _found(client, call_id)
    if call is not None and call.parent is not None:
        _pass_on(out, message, call.parent)
    elif call is not None:
        out.show(message, call.scope)
    elif client is not None:
        out.show(message, state.scopes.find_again(call_id) or client.scope)
    else:
        out.show(message, state.scopes.find(peer, message.seq))


def _pass_on(out: Out, message: Written, parent: CurrentCall) -> None:
    """Pass on what a call writes that ``parent`` has made, as if that wrote it."""
    if parent.caller and parent.seq:
        out.to_caller(parent.caller, msgspec.structs.replace(message, seq=parent.seq))
    else:  # a constructor, or what a durable actor has found in its log: nobody may be there who waits for it
        call_id = parent.task_id if parent.seq else b""
        out.show(msgspec.structs.replace(message, seq=0, actor_id=b"", call_id=call_id))


def _found(client: ActorClient, call_id: bytes) -> MethodCall | None:
    """Return the call with this id. It is looked for, which is seldom needed, and mostly among the first."""
    return next((call for call in (*client.in_flight.values(), *client.outbox) if call.task_id == call_id), None)
