"""What code displays in a worker: what is sent of it, in whose place it comes, and how IPython is made to do it."""

from __future__ import annotations

import builtins
import json
import pathlib
import subprocess
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from ipyactors.owner import current
from ipyactors.owner.current import CurrentCall
from ipyactors.worker import displays
from ipyactors.worker.after_import import after_import
from ipyactors.worker.output import Output

A = b"d1234567"


class World:
    """A worker's output, with what was displayed: the text, the place, and whether it was there already."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.now = 0.0
        self.output = Output(lambda _peer, message: self.sent.append(message), monotonic=self._tick)

    def _tick(self) -> float:
        self.now += 1.0
        return self.now

    def shown(self) -> list[tuple[str, str, bool]]:
        sent, self.sent = self.sent, []
        return [(json.loads(one.bundle)["data"]["text/plain"], one.display_id, one.is_update) for one in sent]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()
    monkeypatch.setattr(displays, "_output", made.output)
    names = iter(f"place{number}" for number in range(100))
    monkeypatch.setattr(displays, "_new_id", lambda: next(names))
    current.call.set(CurrentCall(A, 1, b"t", "f"))
    yield made
    made.output.end_call(A, 1)
    current.call.set(None)


def show(text: str, **options: Any) -> None:
    displays.publish({"text/plain": text}, {}, **options)


def test_each_display_has_a_place_of_its_own(world: World) -> None:
    show("a")
    show("b", display_id="mine")
    show("c", display_id="mine", is_update=True)
    assert world.shown() == [("a", "place0", False), ("b", "mine", False), ("c", "mine", True)]


def test_what_follows_a_clearing_comes_in_the_place_of_what_was_there(world: World) -> None:
    for text in "ab":
        show(text)
    displays._clear_output(wait=True)
    show("c")
    show("d")
    show("e")
    assert world.shown()[2:] == [("c", "place0", True), ("d", "place1", True), ("e", "place2", False)]


def test_what_is_cleared_and_not_used_again_is_empty_at_the_end_of_the_call(world: World) -> None:
    show("a")
    show("b")
    displays._clear_output(wait=True)
    show("c")
    world.output.end_call(A, 1)
    assert world.shown()[2:] == [("c", "place0", True), ("", "place1", True)]
    assert displays._slots == {}


def test_without_waiting_it_is_empty_at_once(world: World) -> None:
    show("a")
    displays._clear_output()
    assert world.shown() == [("a", "place0", False), ("", "place0", True)]


def test_other_calls_are_not_cleared(world: World) -> None:
    show("a")
    current.call.set(CurrentCall(A, 2, b"t", "g"))
    displays._clear_output(wait=True)
    show("b")
    world.output.end_call(A, 2)
    assert world.shown() == [("a", "place0", False), ("b", "place1", False)]
    current.call.set(CurrentCall(A, 1, b"t", "f"))


def test_what_is_too_large_is_said_instead(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(displays, "BUNDLE_AT_MOST", 1024)
    displays.publish({"text/html": "x" * 2000, "text/plain": "<HTML>"}, {})
    ((text, _, _),) = world.shown()
    assert text.startswith("A display of 0.0 MiB (text/html) is not shown")
    assert "return it and display it here" in text


def test_a_widget_of_the_worker_is_not_one_of_the_page(world: World) -> None:
    displays.publish({"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "Button()"}, {})
    (sent,) = world.sent
    assert list(json.loads(sent.bundle)["data"]) == ["text/plain"]


def test_any_data_is_made_json(world: World) -> None:
    numpy = pytest.importorskip("numpy")
    displays.publish(
        {"image/png": b"\x00\x01", "application/json": {"x": numpy.float64(1.5), "p": pathlib.Path("a")}}, {}
    )
    (sent,) = world.sent
    assert json.loads(sent.bundle)["data"] == {"image/png": "AAE=", "application/json": {"x": 1.5, "p": "a"}}


def test_ipythons_functions_display_here(world: World) -> None:
    class Rich:
        def _repr_html_(self) -> str:
            return "<b>rich</b>"

        def __repr__(self) -> str:
            return "rich"

    module = types.ModuleType("functions")
    module.__dict__.update(
        display=lambda: None, publish_display_data=lambda: None, clear_output=lambda: None, DisplayHandle=list
    )
    displays._adopt_functions(module)
    assert module.display(Rich(), metadata={"text/html": {"isolated": True}}) is None
    (sent,) = world.sent
    assert json.loads(sent.bundle) == {
        "data": {"text/plain": "rich", "text/html": "<b>rich</b>"},
        "metadata": {"text/html": {"isolated": True}},
    }
    world.sent.clear()
    assert module.display("a", display_id="mine") == list("mine")
    module.display("b", display_id="mine", update=True)
    module.publish_display_data({"text/plain": "c"}, transient={"display_id": "mine"}, update=True)
    assert world.shown() == [("'a'", "mine", False), ("'b'", "mine", True), ("c", "mine", True)]
    with pytest.raises(TypeError, match="display_id required"):
        module.display("b", update=True)


def test_a_module_is_adopted_when_it_is_imported_and_once(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "late_module.py").write_text("value = 1\ndef again():\n    return value\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    adopted: list[types.ModuleType] = []
    finders = list(sys.meta_path)
    after_import("late_module", adopted.append)
    assert adopted == []
    import late_module  # type: ignore[import-not-found]

    assert adopted == [late_module]
    assert sys.meta_path == finders
    assert type(late_module.__loader__).__name__ == "SourceFileLoader"
    after_import("late_module", adopted.append)
    assert adopted == [late_module] * 2
    del sys.modules["late_module"]


def test_installing_imports_neither_ipython_nor_matplotlib() -> None:
    code = (
        "import sys\nfrom ipyactors.worker import displays\nfrom ipyactors.worker.output import Output\n"
        "displays.install(Output(lambda *_: None))\n"
        "print(sorted({'IPython', 'matplotlib'} & set(sys.modules)), callable(display))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[] True\n"
    assert not hasattr(builtins, "display") or "ipyactors" not in builtins.display.__module__
