"""How much of what workers print one cell shows: enough to read, and the last lines of the rest."""

from __future__ import annotations

from collections import deque

#: What a page still scrolls through, and what a saved notebook can bear.
LINES_AT_MOST = 5_000
BYTES_AT_MOST = 1024 * 1024
DISPLAYS_AT_MOST = 500
DISPLAY_BYTES_AT_MOST = 64 * 1024 * 1024

#: Of what is left out, so many of the last lines are shown, and so much of each.
_LAST_LINES = 10
_LINE_AT_MOST = 500


class CellQuota:
    """What one cell has shown so far. ``rest`` is what to show of all that it has left out; empty if nothing is."""

    __slots__ = ("_bytes", "_display_bytes", "_displays", "_last", "_left_out", "_lines")

    def __init__(self) -> None:
        self._lines = 0
        self._bytes = 0
        self._displays = 0
        self._display_bytes = 0
        self._left_out = 0
        self._last: deque[str] = deque(maxlen=_LAST_LINES)

    def take(self, text: str) -> str:
        """Return what of ``text``, whole lines, is shown."""
        self._lines += text.count("\n")
        self._bytes += len(text)
        if self._lines <= LINES_AT_MOST and self._bytes <= BYTES_AT_MOST:
            return text
        lines = text.splitlines(keepends=True)
        room = 0 if self._left_out else max(0, len(lines) - (self._lines - LINES_AT_MOST))
        shown = lines[:room] if self._bytes <= BYTES_AT_MOST else []
        self._leave_out(lines[len(shown) :])
        return "".join(shown)

    def admit_display(self, size: int) -> bool:
        """Return whether something new of ``size`` bytes is displayed."""
        self._displays += 1
        self._display_bytes += size
        if self._displays <= DISPLAYS_AT_MOST and self._display_bytes <= DISPLAY_BYTES_AT_MOST:
            return True
        self._left_out += 1
        self._last.append("(a display)")
        return False

    def admit_block(self) -> bool:
        """Return whether one more block of lines that move is displayed."""
        self._displays += 1
        is_room = self._lines < LINES_AT_MOST and self._bytes < BYTES_AT_MOST
        return is_room and self._displays <= DISPLAYS_AT_MOST

    def end_block(self, text: str, *, was_shown: bool) -> None:
        """Count the lines of a block that moves no more."""
        if was_shown:
            self._lines += text.count("\n")
            self._bytes += len(text)
        else:
            self._leave_out(text.splitlines())

    def _leave_out(self, lines: list[str]) -> None:
        self._left_out += len(lines)
        self._last.extend(line.rstrip("\n")[:_LINE_AT_MOST] for line in lines[-_LAST_LINES:])

    @property
    def rest(self) -> str:
        """See the class."""
        unseen = self._left_out - len(self._last)
        if not self._last:
            return ""
        note = (
            f"... {unseen:,} more lines are left out here: one cell shows {LINES_AT_MOST:,}. ipyactors.logs(ref or "
            "actor) reads the workers' logs, which have them. The last ones:\n"
        )
        return (note if unseen else "") + "\n".join(self._last)
