"""How our processes are called and what environment they get. Pure: nothing is started here.

A role is named ``"package.module:function"``, so that this floor need not import it. The first line of a process's
standard input is the path list that lets it import us, the rest is its configuration: nothing of it shows in ``ps``,
and there is no limit to its length.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

#: Libraries that would start one thread per core in every worker. Read by them when they are loaded.
THREAD_LIMITS = (
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

_HASH_SEED = "PYTHONHASHSEED"

# Our own package goes first unless it can be had anyway; the driver's other folders go last, so that a notebook's
# neighbour called ``select.py`` cannot break the agent. Workers put the driver's exact order in place themselves.
_BOOTSTRAP = """\
import importlib, json, sys
parent, others = json.loads(sys.stdin.buffer.readline())
if parent not in sys.path:
    sys.path.insert(0, parent)
sys.path += [folder for folder in others if folder not in sys.path]
module, function = sys.argv[1].split(":")
getattr(importlib.import_module(module), function)()
"""


def role_argv(executable: str, role: str, arguments: Sequence[str] = ()) -> list[str]:
    """Return the command line that calls the function ``role``; it finds ``arguments`` in ``sys.argv[2:]``.

    ``-P`` keeps the current folder off the path while the interpreter starts.
    """
    return [executable, "-P", "-c", _BOOTSTRAP, role, *arguments]


def role_input(package_parent: str, sys_path: Sequence[str], config: bytes) -> bytes:
    """Return what a role reads from its standard input. ``package_parent`` is the folder that holds our package."""
    line = json.dumps([package_parent, [folder for folder in sys_path if folder]])
    return line.encode() + b"\n" + config


def worker_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return what to set in workers: one thread for each library whose limit nobody has set."""
    return {name: "1" for name in THREAD_LIMITS if name not in inherited}


def session_environment(inherited: Mapping[str, str], session: str) -> dict[str, str]:
    """Return what to set in all processes of a session: one way to hash strings, unless the user has chosen one.

    The order of a set follows it, and so may what an actor does: a replay must find the same order, also in a process
    that is no fork of those before.
    """
    if inherited.get(_HASH_SEED, "").isdecimal():
        return {}
    digest = hashlib.blake2b(session.encode("utf-8", "surrogateescape"), digest_size=4).digest()
    return {_HASH_SEED: str(int.from_bytes(digest, "big"))}
