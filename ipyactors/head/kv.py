"""The head's key-value store: what becomes of a request. The values themselves are on a :class:`Shelf`.

Unlike the head's tables they are on disk, so a head that was started again has them. A request that was answered by
nobody is repeated to it, and may have been acted upon before.
"""

from __future__ import annotations

import errno

from ipyactors.head.out import Out
from ipyactors.head.tables import Owner
from ipyactors.wire.kv_messages import KvDelete, KvGet, KvPut, KvReply, OwnerToKv, explain_refusal


def on_request(out: Out, owner: Owner, message: OwnerToKv) -> None:
    """Act on a request and answer it, also when the disk fails: the head goes on without its store."""
    refusal = explain_refusal(message.key, len(message.value) if isinstance(message, KvPut) else 0)
    if refusal:
        out.to_owner(owner.owner_id, KvReply(message.request_id, error=refusal, errno=errno.EFBIG))
        return
    value = None
    try:
        match message:
            case KvPut():
                out.shelf.put(message.key, message.value)
            case KvGet():
                value = out.shelf.get(message.key)
            case KvDelete():
                out.shelf.delete(message.key)
    except OSError as error:
        reason = error.strerror or str(error)
        reply = KvReply(message.request_id, error=f"the head's key-value store: {reason}", errno=error.errno or 0)
    else:
        reply = KvReply(message.request_id, value)
    out.to_owner(owner.owner_id, reply)
