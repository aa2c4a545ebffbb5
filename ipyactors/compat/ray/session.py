"""The verbs whose signatures in Ray have more keywords than ours."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

from ipyactors.api import calls, runtime
from ipyactors.api.init import init as start_session
from ipyactors.api.runtime import SessionContext
from ipyactors.ground.exceptions import OptionError, OptionTypeError, SessionError
from ipyactors.owner.refs import ObjectRef

#: Keywords of ``ray.init`` that have no effect here: they are about parts of Ray that there are none of.
IGNORED = frozenset(
    {
        "_node_ip_address",
        "_system_config",
        "_temp_dir",
        "cgroup_path",
        "configure_logging",
        "dashboard_host",
        "dashboard_port",
        "enable_resource_isolation",
        "include_dashboard",
        "job_config",
        "labels",
        "logging_config",
        "logging_format",
        "logging_level",
        "object_store_memory",
        "proxy_server_url",
        "runtime_env",
        "system_reserved_cpu",
        "system_reserved_memory",
    }
)


#: What this variable says in Ray, it says here.
_MAX_LINEAGE_BYTES = "RAY_max_lineage_bytes"


def init(
    address: str | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: dict[str, float] | None = None,
    namespace: str | None = None,
    log_to_driver: bool | None = None,
    ignore_reinit_error: bool = False,
    local_mode: bool = False,
    **others: Any,
) -> SessionContext:
    """Start a session as ``ray.init`` does; a second call returns the live one and is no error, as everywhere here.

    ``address`` may be None, ``"local"`` or ``"auto"``. Raises OptionError for a keyword that Ray does not have, and
    for ``local_mode``, which Ray has no longer either.
    """
    if local_mode:
        raise OptionError("local_mode is not supported: call the plain function to debug it.", option="local_mode")
    if not isinstance(ignore_reinit_error, bool):
        raise OptionTypeError("ignore_reinit_error takes True or False.", option="ignore_reinit_error")
    for name in others:
        if name not in IGNORED:
            raise OptionError(f"ray.init has no keyword {name!r}.", option=name)
    if address not in {None, "local", "auto"}:
        raise OptionError(f"address={address!r}: only a session on this machine is available.", option="address")
    if address == "auto" and not runtime.is_initialized():
        raise SessionError("address='auto': there is no session to join. Call init() to start one.")
    with warnings.catch_warnings():
        if ignore_reinit_error:
            warnings.simplefilter("ignore", UserWarning)
        return start_session(
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            resources=resources,
            namespace=namespace,
            log_to_driver=log_to_driver,
            max_lineage_bytes=_max_lineage_bytes(),
        )


def _max_lineage_bytes() -> int | None:
    given = os.environ.get(_MAX_LINEAGE_BYTES, "")
    if given and not given.isdecimal():
        raise OptionError(
            f"{_MAX_LINEAGE_BYTES}={given!r}: takes a number of bytes >= 0, such as 1000000000. Nothing was started.",
            option=_MAX_LINEAGE_BYTES,
        )
    return int(given) if given else None


def shutdown(*, wait_for_processes: bool = False, _exiting_interpreter: bool = False) -> None:  # noqa: ARG001
    """End the session; its processes have always ended when this returns."""
    runtime.shutdown()


def wait(
    ray_waitables: Sequence[ObjectRef],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,  # noqa: ARG001 - values are always fetched when they are asked for
) -> tuple[list[ObjectRef], list[ObjectRef]]:
    """Wait as :func:`ipyactors.wait` does."""
    __tracebackhide__ = True
    return calls.wait(ray_waitables, num_returns=num_returns, timeout=timeout)
