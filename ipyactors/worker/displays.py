"""What the user's code displays in a worker, as in a notebook: ``display()`` and what is built on it, figures too.

A worker has no IPython shell: ``get_ipython()`` is None, and libraries behave as in any program. So the functions of
``IPython.display`` are given other bodies as soon as the user's code imports them. What they display is turned into
data by IPython's own formatters, and goes where the call's lines go.

``clear_output()`` clears what its own call has displayed, and the lines that it prints from there on: what other calls
and the cell itself have shown stays. What is displayed next comes in the place of what was.
"""

from __future__ import annotations

import builtins
import functools
import io
import os
import types
from collections.abc import Callable
from typing import Any

import msgspec

from ipyactors.owner import current
from ipyactors.worker.after_import import after_import
from ipyactors.worker.output import Output

#: More is not sent to be displayed.
BUNDLE_AT_MOST = 4 * 1024 * 1024

#: Names a model that this process has, and no page.
_WIDGET = "application/vnd.jupyter.widget-view+json"

#: Of so many displays a call may clear, the newest ones.
_CLEARABLE_AT_MOST = 1000

_Bundle = dict[str, Any]

_output: Output | None = None
_slots: dict[tuple[bytes, int], _Slots] = {}


def install(output: Output) -> None:
    """Have what is displayed in this process go to ``output``."""
    global _output
    _output = output
    if not hasattr(builtins, "display"):  # a notebook's code has it without importing it
        builtins.display = _display_by_name  # type: ignore[attr-defined]
    after_import("IPython.core.display_functions", _adopt_functions)
    after_import("matplotlib", _adopt_matplotlib)


def publish(data: _Bundle, metadata: _Bundle, *, display_id: str = "", is_update: bool = False) -> None:
    """Display data by MIME type; what is new and has no ``display_id`` comes in the place of what was cleared."""
    if _output is None:
        return
    data = {kind: value for kind, value in data.items() if kind != _WIDGET}
    bundle = _encode(data, metadata)
    if len(bundle) > BUNDLE_AT_MOST:
        bundle = _encode({"text/plain": _too_large(data, len(bundle))}, {})
    if not is_update:
        display_id, is_update = _slots_of_call().take(display_id)
    _output.display(bundle, display_id, is_update=is_update)


def at_end(finish: Callable[[], object]) -> None:
    """Call ``finish`` when the call that runs here has run; see :meth:`Output.at_end`."""
    if _output is not None:
        _output.at_end(finish)


class _Slots:
    """Where one call has displayed something, and which of these places it has cleared and may use again."""

    def __init__(self) -> None:
        self._used: list[str] = []
        self._cleared: list[str] = []

    def take(self, display_id: str) -> tuple[str, bool]:
        """Return the id of the place where something new goes, and whether that is there already."""
        is_there = display_id in self._cleared if display_id else bool(self._cleared)
        if is_there:
            display_id = display_id or self._cleared[0]
            self._cleared.remove(display_id)
        display_id = display_id or _new_id()
        self._used = [*self._used[1 - _CLEARABLE_AT_MOST :], display_id]
        return display_id, is_there

    def clear(self, *, wait: bool) -> None:
        """Give all places free; at once, or ``wait`` until something comes in their place, or the call ends."""
        self._cleared += self._used
        self._used = []
        if not wait:
            self.empty()

    def empty(self) -> None:
        """Show nothing in the places that are free."""
        for display_id in self._cleared:
            publish({"text/plain": ""}, {}, display_id=display_id, is_update=True)


def _slots_of_call() -> _Slots:
    call = current.call.get()
    if call is None or not call.seq or _output is None:
        return _Slots()
    key = (call.caller, call.seq)
    slots = _slots.get(key)
    if slots is None:
        slots = _Slots()
        if not call.is_over:  # else nothing would forget them
            _slots[key] = slots
            _output.at_end(functools.partial(_end, key))
    return slots


def _end(key: tuple[bytes, int]) -> None:
    _slots.pop(key).empty()


def _new_id() -> str:
    return f"ipyactors-{os.urandom(8).hex()}"


def _encode(data: _Bundle, metadata: _Bundle) -> bytes:
    return msgspec.json.encode({"data": data, "metadata": metadata}, enc_hook=_as_json)


def _as_json(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)  # NumPy's numbers and arrays, say


def _too_large(data: _Bundle, size: int) -> str:
    kinds = ", ".join(kind for kind in data if kind != "text/plain") or "text"
    return (
        f"A display of {size / 2**20:.1f} MiB ({kinds}) is not shown: more than {BUNDLE_AT_MOST // 2**20} MiB are not "
        "sent. The call goes on. Show less (fewer points or rows, a lower dpi), or return it and display it here."
    )


# -- IPython ---------------------------------------------------------------------------------------------------


def _adopt_functions(module: types.ModuleType) -> None:
    changed: Any = module
    changed.display = functools.wraps(changed.display)(functools.partial(_display, changed.DisplayHandle))
    changed.publish_display_data = functools.wraps(changed.publish_display_data)(_publish_display_data)
    changed.clear_output = functools.wraps(changed.clear_output)(_clear_output)


def _display_by_name(*objects: Any, **options: Any) -> Any:
    """Stand for the ``display`` that notebooks have by itself."""
    try:
        from IPython.display import display
    except ImportError:
        print(*objects)
        return None
    return display(*objects, **options)


def _display(
    handle: type,
    *objects: Any,
    include: Any = None,
    exclude: Any = None,
    metadata: _Bundle | None = None,
    transient: _Bundle | None = None,
    display_id: str | bool | None = None,
    raw: bool = False,
    clear: bool = False,
    update: bool = False,
    **_options: Any,
) -> Any:
    place = _new_id() if display_id is True else display_id or (transient or {}).get("display_id", "")
    if update and not place:
        raise TypeError("display_id required for update_display")
    if clear:
        _clear_output(wait=True)
    if not objects and display_id:
        objects, raw = ({},), True  # an empty place, to be updated later
    for one in objects:
        data, about = (one, {}) if raw else _formatter().format(one, include=include, exclude=exclude)
        if data or raw:  # else it has displayed itself
            publish(data, _merged(about, metadata or {}), display_id=place, is_update=update)
    return handle(place) if display_id else None


def _publish_display_data(
    data: _Bundle,
    metadata: _Bundle | None = None,
    *,
    transient: _Bundle | None = None,
    update: bool = False,
    **_options: Any,
) -> None:
    publish(data, metadata or {}, display_id=(transient or {}).get("display_id", ""), is_update=update)


def _clear_output(wait: bool = False) -> None:
    _slots_of_call().clear(wait=wait)
    if _output is not None:
        _output.clear_lines()


def _merged(about: _Bundle, more: _Bundle) -> _Bundle:
    """Return both, the second before the first, down through all dicts."""
    merged = dict(about)
    for name, value in more.items():
        was = merged.get(name)
        merged[name] = _merged(was, value) if isinstance(was, dict) and isinstance(value, dict) else value
    return merged


@functools.cache
def _formatter() -> Any:
    from IPython.core.formatters import DisplayFormatter

    formatter = DisplayFormatter()
    formatter.formatters["image/png"].for_type_by_name("matplotlib.figure", "Figure", png_of)
    return formatter


# -- matplotlib ------------------------------------------------------------------------------------------------


def _adopt_matplotlib(module: Any) -> None:
    """Have pyplot show figures here, unless the user has chosen a backend: the notebook's own is no choice."""
    chosen = dict.__getitem__(module.rcParams, "backend")  # asked by its name, it would be chosen now
    if not isinstance(chosen, str) or "inline" in chosen:
        module.rcParams["backend"] = "module://ipyactors.worker.figures"


def png_of(figure: Any) -> bytes:
    """Return a picture of a figure, cut to what is drawn; it needs not be shown again when its call ends."""
    manager = figure.canvas.manager
    if hasattr(manager, "was_shown"):
        manager.was_shown = True
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=figure.dpi, bbox_inches="tight")
    return data.getvalue()
