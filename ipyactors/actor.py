"""What the code of an actor calls."""

from __future__ import annotations

from typing import NoReturn


def exit_actor() -> NoReturn:
    """End the actor from inside one of its methods, on purpose: it is not restarted, and its name is free.

    The caller of this method, and of the calls that wait, get ActorDiedError. ``except Exception`` in the method
    does not stop it. Raises TypeError outside an actor.
    """
    from ipyactors.worker import exit as worker_exit  # here, so that importing the package stays light

    worker_exit.exit_actor()
