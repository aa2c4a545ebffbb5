"""Faults on purpose: what a crash does can be seen, taught and tested, at the very call for which it is ordered.

::

    chaos.kill(acct)                                   # SIGKILL, now
    chaos.kill(acct, before="deposit", nth=3)          # when the third deposit from now on is about to begin
    chaos.exit(acct, code=3, during="deposit")         # when the next one has run, and nobody knows
    chaos.fail(acct, ValueError("no"), on="deposit")   # raises instead of running
    chaos.freeze(acct, 2.0)                            # answers nobody for two seconds
    chaos.storm(seed=7, rate=5, duration=10)           # any of these, to any actor; the same again with the same seed
    chaos.pending(); chaos.clear(acct)

A *target* is an actor, by handle or name, or a remote function: then the attempts of its tasks are counted that this
process submits, in the order in which they are sent to workers. The *moments* of a call are

* ``before``: it was received, and is in the log of a durable actor. It has not begun;
* ``during``: the user's code has run, and changed what it changes. That this is so is noted nowhere;
* ``after``: its end is noted, in the log of a durable actor. The answer is not sent.

Each takes a method's name, or True for any call; without one the fault comes now. ``nth`` counts calls as they begin, 1
is the next one, also through crashes and restarts: a call that is run again counts again. ``times`` is to how many
calls in a row it is done: once is once, so a call that is run again after its process was killed runs. The calls that a
durable actor takes up from its log when it comes back, to run them once more, are counted too; not for faults of
replies and :func:`fail`, for they have no reply yet, and can be refused no more. Calls that a replay repeats are not
counted, nor those of the methods that every actor has (``__ray_ready__``, say).

An actor that is just being made, or comes back from a death, is waited for, some 20 s at most, where the fault is to
come now; one that cannot be made, or is dead, raises ChaosError at once.

When a function here returns, the process concerned knows of the order, or has ended of it. All that is done is an event
(``EventKind.INJECTED``); the death that follows is marked ``injected`` in its events, and says so in errors. A process
that dies at a call sends the answers of earlier calls first, so that it is the same each time which calls have one.
Orders are in memory: one for an actor that has no process at the moment when the head is killed is lost.

All raise TypeError for what is no target; ActorNotFoundError; OptionError and OptionTypeError for a wrong value, such
as a method that the class does not have; ChaosError where nothing can be done; SessionError without a session, for none
is started. Then nothing was done.
"""

from __future__ import annotations

from ipyactors.api.chaos import (
    clear,
    corrupt_checkpoint,
    delay_replies,
    drop_replies,
    duplicate_replies,
    exit,  # noqa: A004  # it is read as chaos.exit
    fail,
    fill_disk,
    freeze,
    kill,
    kill_head,
    kill_node,
    pending,
    segfault,
    slow,
)
from ipyactors.api.chaos_storm import KINDS, Storm, StormReport, storm
from ipyactors.api.chaos_targets import Fault

__all__ = [
    "KINDS",
    "Fault",
    "Storm",
    "StormReport",
    "clear",
    "corrupt_checkpoint",
    "delay_replies",
    "drop_replies",
    "duplicate_replies",
    "exit",
    "fail",
    "fill_disk",
    "freeze",
    "kill",
    "kill_head",
    "kill_node",
    "pending",
    "segfault",
    "slow",
    "storm",
]
