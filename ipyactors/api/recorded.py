"""What code takes from outside in a way that a durable actor, done again after a crash, takes the same."""

from __future__ import annotations

import functools
import random
import time
import uuid
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ipyactors.ground.exceptions import SessionError
from ipyactors.owner import current

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Recorded:
    """Clock, chance and the outside world, for code that may be done again.

    In a method of a durable actor each answer is written to the actor's log before it is given; when the call is done
    again after a crash, it gets the answers that it got the first time, in their order. So it has to ask for the same
    things in the same order: where it does not, ReplayDivergenceError is raised. A task that is retried gets the same
    answers too: its owner keeps them, which costs a round trip each. Anywhere else (a driver, an actor that is not
    durable, a readonly method) the answers are just given.

    In a method of a durable actor all this is given again besides: what ``get()`` and ``await`` return or raise, what
    ``wait()`` and ``as_completed()`` tell, which actor ``get_actor()`` finds, the actors that it creates, what
    ``is_canceled()`` says, and the ids of the call and of the actor. Whatever else it looks at may be different, and
    must not decide what it does: where it runs and how often it was tried (``get_node_id()``, ``get_worker_id()``,
    ``get_incarnation()``, ``attempt``), what is told of the cluster and of others (``list_named_actors()``,
    ``explain()`` and the like), ``time``, ``random``, files, the environment, threads of its own.

    In a durable actor only the code of a call may ask, in the thread that runs it and before it ends; other code gets
    NotReplayableError. So does a call that takes something while another coroutine of it waits for a result, unless it
    is ``effect="persist"``; it is given up then (CallAbortedError).
    """

    def now(self) -> float:
        """Return the time: seconds since the epoch, as ``time.time()``."""
        notes = current.notes()
        return time.time() if notes is None else notes.now()

    def random(self) -> float:
        """Return a random number from 0.0 up to, but not including, 1.0, as ``random.random()``."""
        notes = current.notes()
        return random.random() if notes is None else notes.random()

    def uuid4(self) -> uuid.UUID:
        """Return a random UUID, as ``uuid.uuid4()``."""
        notes = current.notes()
        return uuid.uuid4() if notes is None else notes.uuid4()

    def once(self, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call ``function``, and return what it returns or raise what it raises; do not call it again when done again.

        For what has an effect outside, or depends on something there: a request, a file, a measurement. Its result is
        recorded, so it must be picklable; what it asks for inside is part of it, and it makes no calls to others
        (NotReplayableError), which are not made twice anyway. In a call that is recorded, what it returns or raises
        arrives as a copy. The function is called once for certain only if the process survives it: when it dies after
        the call and before the result is written, nobody can know that it was called, and it is called again. Where
        that matters, send along what tells a repetition: a ``uuid4()`` that was taken before.
        """
        notes = current.notes()
        if notes is None:
            return function(*args, **kwargs)
        result: _R = notes.once(functools.partial(function, *args, **kwargs))
        return result

    def checkpoint(self) -> None:
        """Have the durable actor that runs here make a checkpoint when this call is over; return at once.

        Raises SessionError in code that does not run in a call of a durable actor that may change it.
        """
        turn = current.turn()
        if turn is None:
            raise SessionError(
                "checkpoint: this code does not run in a durable actor, or in a readonly method of one. No checkpoint "
                "is made. Actors are durable whose class is decorated with @remote(durable=True)."
            )
        turn.request_checkpoint()

    @property
    def is_replaying(self) -> bool:
        """Whether the call that runs here was executed before, and is done again after a crash; False in a driver.

        For what need not be repeated, such as a note to a log. It must not decide what becomes of the actor's state.
        """
        turn = current.turn()
        return turn is not None and turn.is_replaying
