"""Ray's ``ray.util.multiprocessing``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ipyactors.ground.exceptions import OptionError
from ipyactors.util import multiprocessing
from ipyactors.util.pool_results import TimeoutError  # noqa: A004 - the standard library's name

__all__ = ["Pool", "TimeoutError"]


class Pool(multiprocessing.Pool):
    """Our pool with Ray's two further arguments; ``ray_remote_args`` are options of its actors."""

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] | None = None,
        maxtasksperchild: int | None = None,
        context: object = None,
        ray_address: str | None = None,
        ray_remote_args: dict[str, Any] | None = None,
    ) -> None:
        if ray_address not in {None, "local", "auto"}:
            raise OptionError(
                f"ray_address={ray_address!r}: only a session on this machine is available.", option="ray_address"
            )
        super().__init__(
            processes, initializer, initargs or (), maxtasksperchild, context, actor_options=ray_remote_args
        )
