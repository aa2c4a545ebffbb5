"""The process of ``ipyactors replay`` in which one actor's code runs once, from one state on.

What it prints is shown or dropped; what is to be told goes into a file, as JSON, one line for each thing.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec

from ipyactors.durable.begun import Begun
from ipyactors.ground.exceptions import IpyactorsError, ReplayDivergenceError
from ipyactors.worker import equality, offline
from ipyactors.worker.offline import Replayed, ReplayedCall

#: How a replay ends, as the command's exit status has it.
AGREED, DIVERGED, IMPOSSIBLE = 0, 1, 2

#: So many attributes are shown of a state.
_SHOWN_AT_MOST = 100


class Request(msgspec.Struct):
    """What the child is to do: replay the actor in ``path`` from the state ``since`` up to ``until``.

    ``begun`` is a file for the lsn of the call that runs, plus one (0: none runs); ``keep_to`` is one for the end
    state, ``compare_with`` one that has that of another replay; empty: none. ``states`` is the folder for the states
    that replays come to where a checkpoint is kept, to compare those; empty: they are not compared.
    """

    path: str
    since: str
    until: int
    begun: str
    keep_to: str = ""
    compare_with: str = ""
    tells_calls: bool = False
    tells_state: bool = False
    states: str = ""


def main() -> NoReturn:
    """Do what the first argument says; write what is to be told to the file that the second one names."""
    request = msgspec.json.decode(sys.argv[1], type=Request)
    with open(sys.argv[2], "w", buffering=1, encoding="utf-8") as report:

        def tell(what: str, facts: dict[str, Any]) -> None:
            report.write(json.dumps({what: facts}) + "\n")

        tell("end", _replay(request, tell))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)  # threads that the actor's code has started may go on for ever


def _replay(request: Request, tell: Callable[[str, dict[str, Any]], None]) -> dict[str, Any]:
    begun = Begun(pathlib.Path(request.begun))

    over = [0]

    def on_call(call: ReplayedCall) -> None:
        if call.outcome != "not over":
            over.append(call.lsn)
        if request.tells_calls:
            tell("call", msgspec.to_builtins(call))

    def on_begin(lsn: int) -> None:
        begun.note(lsn + 1)

    kept: list[str] = []
    compared: list[dict[str, Any]] = []

    def on_checkpoint(checkpoint_id: str, instance: Any) -> None:
        if not request.states:
            return
        file = pathlib.Path(request.states) / f"state-{checkpoint_id}"
        if file.exists():
            compared.append({"checkpoint": checkpoint_id, **_compare(file, instance)})
        else:
            file.write_bytes(equality.keep(instance))
            kept.append(checkpoint_id)

    try:
        replayed = offline.replay(
            pathlib.Path(request.path),
            since=request.since,
            until=request.until,
            on_call=on_call,
            on_begin=on_begin,
            on_checkpoint=on_checkpoint,
        )
    except ReplayDivergenceError as error:
        return {"status": DIVERGED, "problem": str(error), "lsn": error.lsn}
    except IpyactorsError as error:
        return {"status": IMPOSSIBLE, "problem": str(error)}
    except Exception as error:  # nothing of the actor's should get here; if it does, say where
        return {"status": IMPOSSIBLE, "problem": "".join(traceback.format_exception(error)).rstrip()}
    begun.note(0)
    facts = _facts(replayed, request) | {"checkpoints": compared, "kept": kept}
    facts["over"] = max(over[-1], replayed.begun_with.lsn)
    if any(one["differences"] for one in compared):
        facts["status"] = DIVERGED
    return facts


def _facts(replayed: Replayed, request: Request) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "status": AGREED,
        "calls": replayed.calls,
        "aborted": replayed.aborted,
        "unfinished": replayed.unfinished,
        "logged_s": replayed.logged_s,
        "replayed_s": replayed.replayed_s,
        "notes": list(replayed.notes),
    }
    if request.tells_state:
        parts = list(equality.parts_of(replayed.instance).items())
        facts["state"] = {name: equality.shown(value) for name, value in parts[:_SHOWN_AT_MOST]}
        if len(parts) > _SHOWN_AT_MOST:
            facts["state"]["..."] = f"{len(parts) - _SHOWN_AT_MOST:,} more attributes"
    if request.keep_to:
        pathlib.Path(request.keep_to).write_bytes(equality.keep(replayed.instance))
    if request.compare_with:
        facts |= _compare(pathlib.Path(request.compare_with), replayed.instance)
        facts["status"] = DIVERGED if facts["differences"] else AGREED
    return facts


def _compare(file: pathlib.Path, instance: Any) -> dict[str, Any]:
    found = equality.compare(file.read_bytes(), instance)
    return {"differences": [one._asdict() for one in found.differences], "unknown": list(found.unknown)}
