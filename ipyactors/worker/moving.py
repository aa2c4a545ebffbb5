"""Lines that are written over again and again, as progress bars are: what a terminal would show of them.

A bar goes back to the start of its line (carriage return) and writes it anew; several bars of one program move up and
down between their lines. So what comes from there on is a small screen of lines, a *block*, which is shown as a whole
and again when it has changed. It ends when a line below it is written and left without going back, or has become too
long: that is no bar.
"""

from __future__ import annotations

import re

#: More lines are no bars any more: the upper half of the block is left as it is.
_ROWS_AT_MOST = 32

#: What moves is cut at this length, in characters. A longer line that does not is no bar's.
_COLUMNS_AT_MOST = 10_000

#: Carriage return, end of line; escape sequences: up by some lines, erase in the line.
_MOVES = re.compile(r"(\r|\n|\x1b\[\d{0,3}[AK])")


def is_moving(text: str) -> bool:
    """Return whether a text goes back to the start of its line, and not only to end it as some systems do."""
    return "\r" in text and "\r" in text.replace("\r\n", "\n")


class MovingLines:
    """One block. ``text`` is what stands in its first line when it begins; it never ends by itself if it ``stays``.

    It begins so many empty lines ``above`` that line. Lines above may be those of other calls' bars: a bar that is one
    of several in its process moves down to its line, and up again. Empty ones are not seen then.
    """

    def __init__(self, text: str = "", *, stays: bool = False, above: int = 0) -> None:
        self._stays = stays
        self._rows = [""] * above + [text]
        self._row = above
        self._column = len(text)
        self._went_back = False  # since the present line was entered
        self._is_fresh = False  # the present line was entered from above, and is as it was then
        self._went_up = False

    def feed(self, text: str) -> tuple[list[str], str | None]:
        """Take what is written.

        Return the texts of blocks that are left as they are, and what is to be taken as ordinary text from there on;
        None if the block goes on.
        """
        left: list[str] = []
        parts = _MOVES.split(text.replace("\r\n", "\n"))
        for index, part in enumerate(parts):
            if part == "\r":
                self._column, self._went_back, self._is_fresh = 0, True, False
            elif part == "\n":
                if self._is_plain:
                    line = self._rows.pop()
                    return [*left, str(self)], "".join((line.rstrip(), *parts[index:]))
                self._enter(self._row + 1)
                self._is_fresh = True
                if len(self._rows) > _ROWS_AT_MOST:
                    left.append(self._leave_upper_half())
            elif part.startswith("\x1b[") and part.endswith("A"):
                self._go_up(int(part[2:-1] or 0) or 1)
            elif part.startswith("\x1b[") and part.endswith("K"):
                self._rows[self._row] = "" if part == "\x1b[2K" else self._rows[self._row][: self._column]
                self._column = min(self._column, _COLUMNS_AT_MOST)
            elif part:
                if self._is_fresh:
                    self._rows[self._row], self._is_fresh = "", False  # ordinary text is not mixed with an old bar
                row = self._rows[self._row]
                self._rows[self._row] = row[: self._column].ljust(self._column) + part + row[self._column + len(part) :]
                self._column += len(part)
                if not self._is_plain:
                    self._rows[self._row] = self._rows[self._row][:_COLUMNS_AT_MOST]
                    self._column = min(self._column, _COLUMNS_AT_MOST)
        if self._is_plain and len(self._rows[-1]) > _COLUMNS_AT_MOST:
            line = self._rows.pop()
            return [*left, str(self)], line
        return left, None

    def end(self) -> str:
        """Return what is to be seen in the end: not what old bars have left below the last line."""
        return self._seen(self._rows[: self._row] if self._is_fresh else self._rows)

    def __str__(self) -> str:
        """Return what is to be seen, without a newline at the end; empty if that is nothing."""
        return self._seen(self._rows)

    @property
    def _is_plain(self) -> bool:
        """Whether the present line is the last one, and may be no part of the block."""
        return self._row == len(self._rows) - 1 and not self._went_back and not self._stays

    def _seen(self, rows: list[str]) -> str:
        text = "\n".join(row.rstrip() for row in rows).rstrip("\n")
        return text.lstrip("\n") if self._went_up else text

    def _go_up(self, lines: int) -> None:
        self._went_up = True
        beyond = min(lines - self._row, _ROWS_AT_MOST - len(self._rows))
        self._rows[:0] = [""] * beyond
        self._enter(max(0, self._row + max(0, beyond) - lines))

    def _enter(self, row: int) -> None:
        self._row, self._column, self._went_back, self._is_fresh = row, 0, False, False
        if row == len(self._rows):
            self._rows.append("")

    def _leave_upper_half(self) -> str:
        half = _ROWS_AT_MOST // 2
        left, self._rows = self._rows[:half], self._rows[half:]
        self._row = max(0, self._row - half)
        return "\n".join(row.rstrip() for row in left)
