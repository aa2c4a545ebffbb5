"""What one call writes on one stream, as it is sent: whole lines, and blocks of lines that move; so many a second."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Sequence

from ipyactors.worker.moving import MovingLines, is_moving

LINE_AT_MOST = 64 * 1024
LINES_PER_S = 2000
DISPLAYS_PER_S = 100
_WINDOW_S = 1.0

#: Of a flood, so many of the last lines are sent after all.
_LAST_LINES = 5

#: So many empty lines wait for what comes after them.
_EMPTY_LINES_AT_MOST = 16

_LINES = re.compile(r"[^\n]*\n|[^\n]+")

#: Text to send. With the name of a block (see ``OutputWritten.block_id``) it is what the block is now.
Words = tuple[str, bytes]


class Lines:
    """One writer: what it has written and not yet ended with a newline, and its rate. Times are monotonic.

    What methods return is to be sent, in order. ``source`` is what its lines are named by, ``call_id`` names the call
    that writes, if it has no caller. ``is_flooded``: something was left out, and :meth:`tick` tells of it when the
    second is over.
    """

    __slots__ = (
        "_block",
        "_block_id",
        "_displays",
        "_last",
        "_left_out",
        "_lines",
        "_shown",
        "_since_s",
        "_text",
        "call_id",
        "source",
    )

    def __init__(self, source: str) -> None:
        self.source = source
        self.call_id = b""
        self._text = ""
        self._since_s = 0.0
        self._lines = 0
        self._displays = 0
        self._left_out = 0
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._block: MovingLines | None = None
        self._block_id = b""
        self._shown = ""

    @property
    def is_flooded(self) -> bool:
        """See the class."""
        return bool(self._left_out)

    @property
    def unended(self) -> str:
        """What waits for the end of its line."""
        return self._text

    def write(self, text: str, now_s: float) -> list[Words]:
        """Take what is written."""
        if self._block is None and not is_moving(text):
            return self._take_plain(text, now_s)
        words: list[Words] = []
        plain = ""
        for line in _LINES.findall(text):  # a block ends with a line: what comes after is not gone through again
            if self._block is None and not is_moving(line):
                plain += line
            else:
                more, plain = self._take_moving(plain + line, now_s)
                words += more
        if plain:
            words += self._take_plain(plain, now_s)
        return words + self._show_block(now_s)

    def give_up(self) -> None:
        """Drop what is not sent yet: it cannot be."""
        self._block, self._block_id, self._shown, self._text = None, b"", "", ""

    def leave_out(self, count: int) -> None:
        """Count so many lines more that nobody has read; of this second, nothing more is told."""
        self._left_out += count
        self._lines = LINES_PER_S

    def clear(self) -> None:
        """Begin anew: what comes from now on comes in one place, and in that of what came since the last clearing."""
        self._block = MovingLines(stays=True)

    def admit_display(self, now_s: float) -> tuple[list[Words], bool]:
        """Return whether one more may be displayed now; what is left out is told as a line is."""
        words = self.tick(now_s)
        self._displays += 1
        if self._displays <= DISPLAYS_PER_S:
            return words, True
        self._leave_out([f"(a display: more than {DISPLAYS_PER_S} a second)"])
        return words, False

    def tick(self, now_s: float) -> list[Words]:
        """Begin another second, if this one is over."""
        if now_s - self._since_s < _WINDOW_S:
            return []
        words = self._tell_left_out()
        self._since_s, self._lines, self._displays = now_s, 0, 0
        return words

    def finish(self, now_s: float) -> list[Words]:
        """End what is not ended: the call is over."""
        words: list[Words] = []
        if self._block is not None:
            words += self._leave_block(self._block.end(), now_s)
            self._block = None
        if self._text:
            text, self._text = self._text, ""
            words += self._pass_on(text.removesuffix("\n").split("\n"), now_s)
        return words + self._tell_left_out()

    def _take_plain(self, text: str, now_s: float) -> list[Words]:
        is_empty = not (self._text + text).strip("\n")
        if is_empty and len(self._text) < _EMPTY_LINES_AT_MOST:
            self._text += text  # so does a bar begin that is below others, and those are not here perhaps
            return []
        if "\n" not in text and len(text) + len(self._text) <= LINE_AT_MOST:
            self._text += text
            return []
        whole, newline, self._text = (self._text + text).rpartition("\n")
        words = self._pass_on(whole.split("\n"), now_s) if newline else []
        if len(self._text) > LINE_AT_MOST:
            line, self._text = self._text, ""
            words += self._pass_on([line], now_s)
        return words

    def _take_moving(self, text: str, now_s: float) -> tuple[list[Words], str]:
        """Take plain lines and one that moves, or one more of the block; return what of it is plain after all."""
        words: list[Words] = []
        if self._block is None:
            before, text = self._text + text[: text.index("\r")], text[text.index("\r") :]
            whole, _, first = before.rpartition("\n")
            lines = whole.rstrip("\n")
            words += self._pass_on(lines.split("\n"), now_s) if lines else []
            above = before.count("\n") - lines.count("\n") - bool(lines)
            self._block, self._text = MovingLines(first, above=min(above, _EMPTY_LINES_AT_MOST)), ""
        left, plain = self._block.feed(text)
        for block in left:
            words += self._leave_block(block, now_s)
        if plain is not None:
            self._block = None
        return words, plain or ""

    def _show_block(self, now_s: float) -> list[Words]:
        moved = "" if self._block is None else str(self._block)
        if moved == self._shown:
            return []
        words: list[Words] = []
        if not self._block_id:
            words = self.tick(now_s)
            if self._lines >= LINES_PER_S:
                return words
            self._block_id = os.urandom(8)
        self._shown = moved
        return [*words, (moved, self._block_id)]

    def _leave_block(self, text: str, now_s: float) -> list[Words]:
        """End a block. One of a flood is left out, if nothing of it has been shown."""
        block_id, was_shown = self._block_id or os.urandom(8), bool(self._shown)
        self._block_id, self._shown = b"", ""
        if not text and not was_shown:
            return []
        words, lines = self.tick(now_s), text.split("\n")
        if self._lines >= LINES_PER_S and not was_shown:
            self._leave_out(lines)
            return words
        self._lines += len(lines)
        return [*words, (text + "\n", block_id)]

    def _pass_on(self, lines: Sequence[str], now_s: float) -> list[Words]:
        words = self.tick(now_s)
        room = max(0, LINES_PER_S - self._lines)
        if len(lines) > room:
            self._leave_out(lines[room:])
            lines = lines[:room]
        if lines:
            self._lines += len(lines)
            words.append((_joined(lines), b""))
        return words

    def _leave_out(self, lines: Sequence[str]) -> None:
        self._left_out += len(lines)
        self._last.extend(lines[-_LAST_LINES:])

    def _tell_left_out(self) -> list[Words]:
        if not self._left_out:
            return []
        unseen = self._left_out - len(self._last)
        note = (
            f"... {unseen:,} lines are left out here: over {LINES_PER_S:,} a second. ipyactors.logs(ref or actor) "
            "reads the worker's log, which has them. The last ones:"
        )
        text = _joined([*([note] if unseen else []), *self._last])
        self._left_out = 0
        self._last.clear()
        return [(text, b"")]


def _joined(lines: Sequence[str]) -> str:
    return "".join(_cut(line) + "\n" for line in lines)


def _cut(line: str) -> str:
    if len(line) <= LINE_AT_MOST:
        return line
    return f"{line[:LINE_AT_MOST]}... [cut: the line has {len(line)} characters]"
