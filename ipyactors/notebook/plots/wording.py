"""Numbers, durations and names as figures say them. Pure."""

from __future__ import annotations

import re

#: Rows that fit a page.
ROWS_AT_MOST = 40

_UNITS = (("kB", 10**3), ("MB", 10**6), ("GB", 10**9))
_PROCESS = re.compile(r"\b(?:its process|the process of actor \S+ (?:'[^']*'|\S+)) (.+)")
_SENTENCE_END = re.compile(r"\.(?=\s|$)")


def count(number: int, noun: str) -> str:
    """Return ``1 call`` or ``2,000 calls``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def in_time(seconds: float) -> str:
    """Return a duration as people say it: ``0.5 µs``, ``0.4 ms``, ``12 ms``, ``3.4 s``, ``5 min``."""
    if 0.0 < seconds < 0.0001:
        return f"{seconds * 1e6:.2g} \u00b5s"
    if seconds < 1.0:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 or not seconds else f"{seconds * 1000:.1g} ms"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def in_size(size_bytes: int) -> str:
    """Return a size as people say it: ``55 bytes``, ``1.2 MB``."""
    if size_bytes < 1000:
        return count(size_bytes, "byte")
    unit, divisor = next((one for one in _UNITS if size_bytes < 1000 * one[1]), _UNITS[-1])
    return f"{size_bytes / divisor:.3g} {unit}"


def shorten(text: str, at_most: int = 34) -> str:
    """Return ``text`` on one line, its middle left out if it is longer."""
    text = " ".join(text.split())
    if len(text) <= at_most:
        return text
    kept = at_most - 1
    return f"{text[: kept - kept // 3]}\u2026{text[-(kept // 3) :]}"


def gist(detail: str, at_most: int) -> str:
    """Return what an event's detail says first, cut off where it is longer; of a process that ended, how it did."""
    process = _PROCESS.search(detail)
    first = process[1] if process else detail
    text = " ".join(_SENTENCE_END.split(first.partition("\n")[0], maxsplit=1)[0].split())
    return text if len(text) <= at_most else f"{text[: at_most - 1]}\u2026"
