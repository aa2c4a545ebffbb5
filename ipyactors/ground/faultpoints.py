"""Named places in the code where a test can have something go wrong.

``hit(name)`` stands at each of them and does nothing unless that name is armed: by :func:`arm`, or for a whole session
by the environment variable ``IPYACTORS_FAULTPOINTS``, which every process of it inherits and reads when it starts::

    IPYACTORS_FAULTPOINTS="store.write.before_rename:kill, store.write.before_data:enospc:3"

Each process counts its own hits, on all threads together. ``nth`` says at which of them it happens: at that one and
at no other; 0 means at every one.

A session that runs already is told by *orders*, where the variable names a folder for them: ``@/tmp/orders``. Each hit
then looks there for a file with its name, ``order`` makes one, and it happens in one process of all, once: whoever hits
that point for the ``nth`` time since takes the file away and does what it says.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import pathlib
import signal
import threading

VARIABLE = "IPYACTORS_FAULTPOINTS"

#: The status with which the action ``exit`` ends a process.
EXIT_STATUS = 70

ACTIONS = ("kill", "stop", "raise", "enospc", "exit")

#: Stands among what is armed as long as there is a folder for orders, so that each hit is looked at.
_ORDERS = "@"


class InjectedError(Exception):
    """Raised by the action ``raise``; the text names the fault point."""


@dataclasses.dataclass(slots=True)
class _Armed:
    action: str
    nth: int
    hits: int = 0
    #: Of an order: the number of its file, by which it is told from an earlier one with the same name.
    number: int = 0


_counted: dict[str, _Armed] = {}
_armed: dict[str, _Armed] = {}
_orders: pathlib.Path | None = None
_lock = threading.Lock()
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def hit(name: str) -> None:
    """Go wrong here if ``name`` is armed. From any thread."""
    if _armed:
        _count(name)


def arm(name: str, action: str, nth: int = 1) -> None:
    """Have the process do ``action`` at its ``nth`` hit of ``name`` from now on (0: at every one).

    ``kill`` and ``stop`` send SIGKILL and SIGSTOP to this process, ``exit`` ends it at once with
    :data:`EXIT_STATUS`, ``raise`` raises :class:`InjectedError`, and ``enospc`` the OSError of a full disk.
    Raises ValueError for anything else.
    """
    _check(name, action, nth)
    with _lock:
        _armed[name] = _Armed(action, nth)


def order(folder: pathlib.Path, name: str, action: str, nth: int = 1) -> pathlib.Path:
    """Have one process that looks into ``folder`` do ``action`` at its ``nth`` hit from now on; return the file.

    The file goes when somebody is about to do it. Raises ValueError as :func:`arm`.
    """
    _check(name, action, nth)
    path = folder / name
    unread = folder / f"{name}.unread"
    unread.write_text(f"{action}:{nth}", encoding="ascii")
    unread.rename(path)
    return path


def _check(name: str, action: str, nth: int) -> None:
    if action not in ACTIONS or nth < 0:
        raise ValueError(
            f"the fault point {name!r} was not armed: {action!r} at hit {nth} means nothing. "
            f"The actions are {', '.join(ACTIONS)}; hits are counted from 1, and 0 means every hit."
        )


def disarm(*names: str) -> None:
    """Have nothing go wrong any more at these fault points, or at any if none is named."""
    with _lock:
        for name in names or tuple(_armed):
            _armed.pop(name, None)


def arm_all(text: str) -> None:
    """Arm what ``text`` lists, written like the environment variable. Raises ValueError if it cannot be read."""
    global _orders
    for entry in filter(None, map(str.strip, text.split(","))):
        if entry.startswith(_ORDERS):
            _orders = pathlib.Path(entry[1:])
            _armed[_ORDERS] = _Armed("", 0)
            continue
        name, _, rest = entry.partition(":")
        action, _, nth = rest.partition(":")
        if nth and not nth.isdecimal():
            raise ValueError(f"{entry!r} in {VARIABLE} cannot be read: write name:action, or name:action:nth")
        arm(name, action, int(nth or 1))


def _count(name: str) -> None:
    with _lock:
        armed = _armed.get(name) or _ordered(name)
        if armed is None:
            return
        armed.hits += 1
        happens = armed.nth in (0, armed.hits) and (not armed.number or _claim(name))
    if happens:
        _act(name, armed.action)


def _ordered(name: str) -> _Armed | None:
    """Return what is ordered for this name, with the hits that this process has counted since."""
    if _orders is None:
        return None
    path = _orders / name
    try:
        number = path.stat().st_ino
        known = _counted.get(name)
        if known is None or known.number != number:
            action, _, nth = path.read_text(encoding="ascii").partition(":")
            known = _counted[name] = _Armed(action, int(nth), number=number)
    except FileNotFoundError:
        return None
    return known


def _claim(name: str) -> bool:
    """Take the order away; return whether this process did."""
    assert _orders is not None
    try:
        (_orders / name).rename(_orders / f"{name}.{os.getpid()}.taken")
    except FileNotFoundError:
        return False
    return True


def _act(name: str, action: str) -> None:
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "exit":
            os._exit(EXIT_STATUS)
        case "enospc":
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} (injected at {name})")
        case _:
            raise InjectedError(f"injected at {name}")


arm_all(os.environ.get(VARIABLE, ""))
