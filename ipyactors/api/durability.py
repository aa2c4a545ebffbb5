"""Whether the actors of a class are durable, and how: as its options say, and the class itself."""

from __future__ import annotations

from collections.abc import Sequence

from ipyactors.api.descriptions import ClassDescription
from ipyactors.ground.checkpointable import INTERFACE, KEPT
from ipyactors.ground.every import Every
from ipyactors.ground.exceptions import OptionError
from ipyactors.ground.options import OF_DURABLE, ActorOptions
from ipyactors.wire.specs import Durability

#: How many methods an error names; there may be hundreds.
_NAMED_AT_MOST = 5


def durability_of(actor_options: ActorOptions, cls: ClassDescription) -> Durability | None:
    """Return how the actors of ``cls`` with these options are durable; None if they are not.

    Raises OptionError where the options contradict each other or the class. Where checkpoints go is hardly looked at.
    """
    level = _level(actor_options, cls)
    given = [name for name in OF_DURABLE if getattr(actor_options, name) is not None]
    if not level:
        if given:
            raise OptionError(
                f"{given[0]}={getattr(actor_options, given[0])!r}: is an option of durable actors, and those of "
                f"{cls.class_name} are not durable. Give durable=True as well, or leave it out.",
                option=given[0],
            )
        return None
    if cls.is_checkpointable:
        _check_nothing_is_said_twice(actor_options, cls)
    filled = actor_options.filled_in(is_durable=True, is_async=cls.is_async)
    check_concurrency(cls, filled.max_concurrency or 1)
    _check_lasting(actor_options.checkpoint_store or "", cls, filled.max_concurrency or 1)
    policy = actor_options.checkpoint or Every()
    return Durability(
        level,
        actor_options.checkpoint_store or "",
        policy.calls,
        policy.seconds,
        actor_options.num_checkpoints_to_keep or (KEPT if cls.is_checkpointable else Durability(level).keep),
        cls.is_checkpointable,
    )


def check_store(durability: Durability | None) -> None:
    """Raise OptionError if no checkpoint can be kept where this says; nothing is connected to, a folder is made."""
    if durability is not None and durability.store:
        from ipyactors.durable import checkpoint_store  # hardly anybody needs it

        checkpoint_store.check_url(durability.store)


def check_concurrency(cls: ClassDescription, max_concurrency: int) -> None:
    """Raise OptionError if a durable actor of ``cls`` that runs so many calls at once could not be had back."""
    if max_concurrency == 1:
        return
    undeclared = [one.name for one in cls.methods if not (one.is_readonly or one.is_persist or _is_inner(one.name))]
    if not undeclared:
        return
    why = " (it has async methods)" if cls.is_async else ""
    raise OptionError(
        f"{cls.class_name} is durable and runs up to {max_concurrency:,} calls at once{why}. Its log tells in which "
        "order calls began, but not how they took turns while they ran, so that to do these again after a crash could "
        f"come to another state: {_listed(undeclared)}. No actor was made. Give max_concurrency=1; or say of each of "
        'these methods that what it did is kept before it is answered, @method(effect="persist"), or that it changes '
        'nothing, @method(effect="readonly"). A method with "persist" must not wait for what a later call brings: what '
        "runs side by side is answered when none of it is half done.",
        option="max_concurrency",
    )


def _check_lasting(store: str, cls: ClassDescription, max_concurrency: int) -> None:
    """Raise OptionError where only checkpoints have what calls did, and these go with the process."""
    if max_concurrency > 1 and store.lower().startswith("memory:") and any(one.is_persist for one in cls.methods):
        raise OptionError(
            f"checkpoint_store={store!r}: {cls.class_name} runs up to {max_concurrency:,} calls at once, so that only "
            "its checkpoints have what they did, and what is in memory:// is gone with the actor's process. No actor "
            "was made. Leave the option out to keep checkpoints beside the log, or name another place; or give "
            "max_concurrency=1.",
            option="checkpoint_store",
        )


def _level(actor_options: ActorOptions, cls: ClassDescription) -> str:
    if not cls.is_checkpointable:
        return actor_options.durable or ""
    if actor_options.durable is False:
        raise OptionError(
            f"durable=False: {cls.class_name} is a Checkpointable, and these are durable. "
            "Leave the option out, or let the class inherit from something else.",
            option="durable",
        )
    return actor_options.durable or "process"


def _check_nothing_is_said_twice(actor_options: ActorOptions, cls: ClassDescription) -> None:
    """Raise OptionError for what a Checkpointable does itself."""
    does = {"checkpoint": "should_checkpoint decides when", "checkpoint_store": "save_checkpoint decides where"}
    for name, what in does.items():
        value = getattr(actor_options, name)
        if value is not None:
            raise OptionError(
                f"{name}={value!r}: {cls.class_name} is a Checkpointable, whose {what} a checkpoint is saved. "
                "Leave the option out, or let the class inherit from something else.",
                option=name,
            )


def _is_inner(name: str) -> bool:
    """Return whether a method is not meant for callers."""
    return name.startswith("_") or name in INTERFACE


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
