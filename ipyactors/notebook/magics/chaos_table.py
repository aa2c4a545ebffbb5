"""What ``%chaos`` shows: the faults that are ordered, and those that were injected, as text and as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

from ipyactors.api.chaos_targets import Fault
from ipyactors.wire.events import Event, EventKind

#: Of what was done, the latest are shown.
_DONE_AT_MOST = 20

_Rows = Sequence[tuple[str, str]]


class ChaosTable:
    """Faults that are ``ordered``, and the events of those that were ``injected``, oldest first."""

    def __init__(self, ordered: Sequence[Fault], events: Sequence[Event]) -> None:
        self.ordered = tuple(ordered)
        self.injected = tuple(event for event in events if event.kind is EventKind.INJECTED)

    def __repr__(self) -> str:
        sections = [_text(heading, rows) for heading, rows in self._sections()]
        return "\n".join(sections) or "no faults are ordered, and none were injected"

    def _repr_mimebundle_(self, **_wanted: object) -> dict[str, str]:
        """Return what a front end chooses from."""
        tables = "".join(_table(heading, rows) for heading, rows in self._sections())
        return {"text/plain": repr(self), "text/html": tables or f"<em>{self!r}</em>"}

    def _sections(self) -> list[tuple[str, _Rows]]:
        ordered = [(fault.target, fault.what) for fault in self.ordered]
        shown = self.injected[-_DONE_AT_MOST:]
        injected = [(event.name, event.detail) for event in shown]
        left_out = len(self.injected) - len(shown)
        done = f"injected (the last {len(shown)} of {len(self.injected)})" if left_out else "injected"
        return [(heading, rows) for heading, rows in (("ordered", ordered), (done, injected)) if rows]


def _text(heading: str, rows: _Rows) -> str:
    width = max(len(target) for target, _ in rows)
    return "\n".join([f"{heading}:", *(f"  {target:<{width}}  {what}".rstrip() for target, what in rows)])


def _table(heading: str, rows: _Rows) -> str:
    left = 'style="text-align: left"'
    body = "".join(
        f"<tr><td {left}>{html.escape(target)}</td><td {left}>{html.escape(what)}</td></tr>" for target, what in rows
    )
    head = f'<tr><th {left} colspan="2">{html.escape(heading)}</th></tr>'
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
