"""What a notebook's page shows: each message of a kernel under the cell that is its parent, updates in their places."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(slots=True)
class Shown:
    """One output: ``kind`` is ``stdout``, ``stderr`` or ``display``; ``data`` is that by MIME type."""

    kind: str
    text: str
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    updates: int = 0


class Page:
    """Takes all messages of a kernel in their order."""

    def __init__(self) -> None:
        self._cells: dict[str, list[Shown]] = {}
        self._displays: dict[str, list[Shown]] = {}
        self.messages = 0

    def take(self, message: dict[str, Any]) -> None:
        """Show a message."""
        kind, content = message["msg_type"], message["content"]
        cell = self._cells.setdefault(message["parent_header"].get("msg_id", ""), [])
        if kind == "stream":
            self.messages += 1
            if cell and cell[-1].kind == content["name"]:
                cell[-1].text += content["text"]
            else:
                cell.append(Shown(content["name"], content["text"]))
        elif kind in {"display_data", "update_display_data", "execute_result"}:
            self.messages += 1
            display_id = content.get("transient", {}).get("display_id", "")
            if kind == "update_display_data":
                for one in self._displays.get(display_id, []):
                    one.text, one.data, one.updates = _text(content), content["data"], one.updates + 1
                return
            shown = Shown("display", _text(content), content["data"])
            cell.append(shown)
            if display_id:
                self._displays.setdefault(display_id, []).append(shown)

    def under(self, message_id: str) -> list[Shown]:
        """Return what is under the cell that was sent as this message, from top to bottom."""
        return self._cells.get(message_id, [])

    def text(self, message_id: str) -> str:
        """Return all that can be read under a cell, whatever it is."""
        return "".join(f"{one.text}\n" if one.kind == "display" else one.text for one in self.under(message_id))


def _text(content: dict[str, Any]) -> str:
    return str(content["data"].get("text/plain", ""))
