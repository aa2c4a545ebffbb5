"""Bars and tables in a real kernel: what a page shows, what a saved notebook keeps, and that each run is the same."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.kernels import Kernel, running_kernel
from tests.support.page import Shown

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]

SETUP = """\
%load_ext ipyactors
import os, pathlib, threading, time
import ipyactors
ipyactors.init(num_cpus=2)

@ipyactors.remote(num_cpus=0)
def same(x): return x

@ipyactors.remote(num_cpus=0)
def fail(): raise ArithmeticError

@ipyactors.remote(num_cpus=0)
def die_once(path):
    if not pathlib.Path(path).exists():
        pathlib.Path(path).touch()
        os._exit(3)

@ipyactors.remote(num_cpus=0)
def wait_for(path):
    while not pathlib.Path(path).exists(): time.sleep(0.01)

def painters(): return [one.name for one in threading.enumerate() if 'progress' in one.name or 'tqdm' in one.name]
"""

#: What a tutorial might show, at a moment that is different each time.
SHOWN = [
    "ipyactors.init(num_cpus=2)",
    """\
@ipyactors.remote(durable=True)
class Counter:
    def __init__(self): self.n = 0
    def add(self): self.n += 1; return self.n
    @ipyactors.method(num_returns=2)
    def two(self): return 1, 2
Counter""",
    "c1, c2 = Counter.options(name='c1').remote(), Counter.remote(); c1",
    "c2",
    "refs = [c1.add.remote()] + c2.two.remote(); refs",
    "refs[0]",
    "ipyactors.put([1, 2])",
    "for ref in ipyactors.progress(refs): pass",
    "ipyactors.get(ipyactors.progress(refs))",
]


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel({"IPYACTORS_NONINTERACTIVE": ""}) as running:
        running.check(SETUP)
        yield running


def bar_under(kernel: Kernel, cell: str) -> Shown:
    """Return the one bar that is shown under a cell, and nothing else is."""
    [bar] = kernel.page.under(cell)
    assert "application/vnd.jupyter.widget-view+json" in bar.data, bar
    return bar


def style_of(kernel: Kernel) -> str:
    """Return the style of the newest bar."""
    code = "[one for one in ipywidgets.Widget.widgets.values() if type(one).__name__ == 'FloatProgress'][-1].bar_style"
    return kernel.check(f"import ipywidgets, warnings; warnings.simplefilter('ignore')\n{code}").result


def test_a_widget_whose_text_is_the_last_word(kernel: Kernel, tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "died")
    cell = kernel.start(
        f"refs = [same.remote(n) for n in range(8)] + [die_once.remote({path!r})]\n"
        "for ref in ipyactors.progress(refs, desc='adding'): pass"
    )
    assert kernel.finish(cell).status == "ok"
    bar = bar_under(kernel, cell)
    assert bar.text.startswith("adding: 100%")
    assert "9/9" in bar.text
    assert "1 retried]" in bar.text
    assert style_of(kernel) == "'success'"
    assert kernel.check("painters()").result == "[]"


def test_failures_and_a_loop_that_is_left(kernel: Kernel) -> None:
    cell = kernel.start("for ref in ipyactors.progress([same.remote(1), fail.remote()]): pass")
    assert kernel.finish(cell).status == "ok"
    assert "2/2" in (text := bar_under(kernel, cell).text)
    assert "1 failed]" in text
    assert style_of(kernel) == "'warning'"
    cell = kernel.start("for ref in ipyactors.progress([same.remote(n) for n in range(5)]): 1 / 0")
    assert kernel.finish(cell).error_name == "ZeroDivisionError"
    assert "4 left]" in bar_under(kernel, cell).text
    assert style_of(kernel) == "'danger'"


@pytest.mark.parametrize(
    "waits", ["for ref in ipyactors.progress(refs): pass", "ipyactors.get(ipyactors.progress(refs))"]
)
def test_the_stop_button_ends_the_bar_too(kernel: Kernel, tmp_path: pathlib.Path, waits: str) -> None:
    path = str(tmp_path / "never")
    cell = kernel.start(f"refs = [same.remote(1), wait_for.remote({path!r})]\n{waits}")
    kernel.wait_page(lambda page: bool(page.under(cell)))
    kernel.interrupt()
    assert kernel.finish(cell).error_name == "KeyboardInterrupt"
    bar = kernel.page.under(cell)[0]
    assert "left]" in bar.text
    assert style_of(kernel) == "'danger'"
    assert kernel.check("painters()").result == "[]"


def test_text_where_there_are_no_widgets(kernel: Kernel) -> None:
    shown = kernel.check(
        "import sys; ours = lambda: [name for name in sys.modules if name.startswith(('tqdm', 'ipywidgets'))]\n"
        "kept = {name: sys.modules[name] for name in ours()}\n"
        "forget = lambda: [sys.modules.pop(name) for name in ours()]\n"
        "forget(); sys.modules['ipywidgets'] = None\n"
        "for ref in ipyactors.progress([same.remote(n) for n in range(3)]): pass\n"
        "forget(); sys.modules.update(kept)"
    )
    assert "3/3" in shown.text
    assert not shown.mimetypes


def test_tqdms_own_widget_where_the_extension_is_not_loaded(kernel: Kernel) -> None:
    kernel.check("%unload_ext ipyactors")
    cell = kernel.start("for ref in ipyactors.progress([same.remote(1)]): pass")
    assert kernel.finish(cell).status == "ok"
    assert bar_under(kernel, cell).updates == 0
    kernel.check("%load_ext ipyactors")
    cell = kernel.start("for ref in ipyactors.progress([same.remote(1)]): pass")
    assert kernel.finish(cell).status == "ok"
    assert bar_under(kernel, cell).updates == 1


def outputs_of_a_run(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setenv("IPYACTORS_NONINTERACTIVE", "1")
    cells = ["%load_ext ipyactors\nimport ipyactors", *SHOWN]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60).execute()
    return [
        {kind: data for one in cell.outputs for kind, data in one.get("data", {"text": one.get("text")}).items()}
        for cell in notebook.cells[1:]
    ]


def test_a_notebook_that_nobody_looks_at_shows_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = outputs_of_a_run(monkeypatch), outputs_of_a_run(monkeypatch)
    assert first == second
    assert [shown.get("text/plain") for shown in first] == [
        "<ipyactors session, live>",
        "ActorClass(Counter, durable=True)",
        "Actor(Counter 'c1' #1, durable)",
        "Actor(Counter #2, durable)",
        "[ObjectRef(Counter.add #1),\n ObjectRef(Counter.two #2[0]),\n ObjectRef(Counter.two #2[1])]",
        "ObjectRef(Counter.add #1)",
        "ObjectRef(put #3)",
        None,
        "[1, 1, 2]",
    ]
    assert first[7] == {}, "a bar"
    assert all("<table>" in first[place]["text/html"] for place in (0, 1, 2, 3, 5, 6))
