"""Events in a file, so that a picture may be made later, elsewhere, and without a session.

A file is JSON, compressed if its name ends in ``.gz``: what it is, its version, and an array for each event, with its
fields in their order. Later versions add fields at the end, and kinds of events; the number of the version rises only
when what was there before means something else.
"""

from __future__ import annotations

import gzip
import os
import pathlib
import zlib
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from ipyactors.api import runtime
from ipyactors.ground.exceptions import EventFileError
from ipyactors.ground.files import write_atomically
from ipyactors.ground.version import __version__
from ipyactors.wire.events import Event

FORMAT = "ipyactors.events"
VERSION = 1

_GZIP_BEGINS = b"\x1f\x8b"


class _Header(msgspec.Struct):
    """What a file says of itself. ``made_by`` is the version of ipyactors."""

    format: str
    version: int
    made_by: str = ""


class _File(_Header, kw_only=True):
    """All that a file holds."""

    events: list[Event]


_Part = TypeVar("_Part", bound=_Header)


def export_events(path: str | os.PathLike[str], events: Iterable[Event] | None = None) -> pathlib.Path:
    """Write events into a file, such as ``run.events.json.gz``, and return its path; they lose nothing by it.

    Without ``events`` those of the session are taken, as :func:`ipyactors.events` gives them. The file is compressed if
    its name ends in ``.gz``, and it is there as a whole or not at all. What calls were given and what they returned
    is not in it; what errors say is.

    Raises SessionError without events and without a session, and OSError if the file cannot be written.
    """
    __tracebackhide__ = True
    taken = runtime.engine_for("export_events").events() if events is None else list(events)
    data = msgspec.json.encode(_File(FORMAT, VERSION, __version__, events=taken))
    target = pathlib.Path(path)
    write_atomically(target, compressed(data, target))
    return target


def load_events(path: str | os.PathLike[str]) -> list[Event]:
    """Return the events that :func:`export_events` has written, oldest first. No session is needed.

    Raises EventFileError for a file that holds anything else, and OSError if it cannot be read.
    """
    __tracebackhide__ = True
    data = pathlib.Path(path).read_bytes()
    if data.startswith(_GZIP_BEGINS):
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise _refuse(path, f"it is compressed, and damaged or cut off ({error})") from None
    header = _decode(path, data, _Header, "it is no JSON that export_events has written")
    if header.format != FORMAT:
        raise _refuse(path, f"it says that it is {header.format!r}, and not {FORMAT!r}")
    if header.version > VERSION:
        raise _refuse(
            path, f"it has version {header.version} of the format, and this one reads up to {VERSION}", header
        )
    file = _decode(path, data, _File, "its events are not as they should be", header)
    return sorted(file.events, key=lambda event: event.wall_s)


def compressed(data: bytes, path: pathlib.Path) -> bytes:
    """Return what to write: compressed if the name ends in ``.gz``, and the same bytes for the same data."""
    return gzip.compress(data, mtime=0) if path.suffix == ".gz" else data


def _decode(
    path: str | os.PathLike[str], data: bytes, part: type[_Part], problem: str, header: _Header | None = None
) -> _Part:
    try:
        return msgspec.json.decode(data, type=part)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refuse(path, f"{problem} ({error})", header) from None


def _refuse(path: str | os.PathLike[str], problem: str, header: _Header | None = None) -> EventFileError:
    maker = f" It was made by ipyactors {header.made_by}, this is {__version__}." if header and header.made_by else ""
    return EventFileError(
        f"load_events: {os.fspath(path)} cannot be read as events: {problem}. Nothing was read.{maker} "
        "ipyactors.export_events(path) writes such a file; what ipyactors.timeline(path) writes is for trace viewers.",
        path=os.fspath(path),
    )
