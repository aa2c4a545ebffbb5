"""Which exceptions a call asks to be retried for, as the wire says it."""

from __future__ import annotations

from ipyactors.owner.templates import ANY_EXCEPTION
from ipyactors.wire import serialize


def encode(retry_exceptions: bool | tuple[type[BaseException], ...] | None, *, what: str) -> bytes:
    """Return ``b""`` for none, ``b"*"`` for all, else the pickled types. Raises SerializationError naming ``what``."""
    if not retry_exceptions:
        return b""
    if retry_exceptions is True:
        return ANY_EXCEPTION
    return serialize.dumps(retry_exceptions, what=f"retry_exceptions of {what}", in_band=True).data
