"""Whether a call that is done again has come to the end that the log says: the same results, the same exception.

Results are compared as values (:mod:`ipyactors.worker.equality`), exceptions by their type and their words. Some words
are other ones in each process, and tell nothing of what the call did: where an object lies, which number a thread has,
what a temporary file is called, in which order a set tells its elements. Those are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ipyactors.durable.record import Answer, Blob
from ipyactors.ground.exception_parts import type_name
from ipyactors.ground.tracebacks import in_words
from ipyactors.wire import serialize
from ipyactors.wire.specs import Payload, RemoteError
from ipyactors.worker.differences import told
from ipyactors.worker.equality import same

#: What is replaced by the beginning that its group has: addresses, references (which belong to the process that holds
#: them), what :mod:`threading` and :mod:`asyncio` call what has no name, what :mod:`tempfile` calls files, and what was
#: being done when the stack was full.
_CHANGING = re.compile(
    r"(0x)[0-9a-fA-F]+|(ObjectRef\()[^()\n]*|\b((?:Thread|Task|Process|Dummy)-)\d+|\b(tmp)[a-z0-9_]{8}\b"
    r"|(maximum recursion depth exceeded)[\w ]*"
)
_TOKEN = re.compile(r"\w+|\S")


def difference(
    answer: Answer,
    results: Sequence[Payload],
    error: BaseException | None,
    read: Callable[[Blob], Payload | None],
) -> tuple[str, str] | None:
    """Return what a call did, and what it does now, in words; None if it is the same.

    ``read`` returns a recorded result that is in a file; None for one that cannot be compared.
    """
    if answer.error is not None:
        if error is None:
            return f"raised {answer.error.words}", "it returned"
        if is_same(answer.error, error):
            return None
        return f"raised {answer.error.words}", f"it raised {in_words(error)}"
    if answer.is_cancelled:
        return None
    if error is not None:
        return "returned", f"it raised {in_words(error)}"
    if len(results) != len(answer.results):
        return f"gave {len(answer.results)} values", f"it gave {len(results)}"
    aside = {blob.index: blob for blob in answer.blobs}
    for index, (was, now) in enumerate(zip(answer.results, results, strict=True)):
        if index not in aside and now.data == was.data and not now.buffers:
            continue
        whole = read(aside[index]) if index in aside else was
        if whole is not None and not same(whole, now):
            first, second = told(serialize.loads(whole), serialize.loads(now))
            return f"returned {first}", f"it is {second}"
    return None


def is_same(was: RemoteError, now: BaseException) -> bool:
    """Return whether an exception is the one that was recorded."""
    return was.type_name == type_name(now) and same_words(was.words, in_words(now))


def same_words(was: str, now: str) -> bool:
    """Return whether two texts say the same, but for what is another in each process."""
    was, now = _settled(was), _settled(now)
    if was == now:
        return True
    # A set tells its elements in an order of its own: two texts with sets in them may be in another order.
    return "{" in was and sorted(_TOKEN.findall(was)) == sorted(_TOKEN.findall(now))


def _settled(text: str) -> str:
    return _CHANGING.sub(lambda found: next(filter(None, found.groups())), text)
