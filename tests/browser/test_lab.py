"""The first notebook in a real JupyterLab, in a real browser."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.browser import Page, find_chromium, open_browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium here (apt-get install chromium)"),
]

WORDS = "document.querySelector('.jp-Notebook').innerText"
TO_THE_END = (
    "document.querySelectorAll('.jp-Notebook, .jp-WindowedPanel-outer')"
    ".forEach(one => { one.scrollTop = one.scrollHeight })"
)

NOTEBOOK = pathlib.Path(__file__).resolve().parents[2] / "notebooks" / "01_survive_a_crash.ipynb"


@contextlib.contextmanager
def running_lab(folder: pathlib.Path) -> Iterator[str]:
    """Start JupyterLab on a port of its choice; yield its address, with its token."""
    own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    lab = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--port=0"]
    lab.append("--LabApp.expose_app_in_browser=True")  # so that a test can give Lab's own commands
    log = folder / "lab.log"  # a file, because Lab would stand still when nobody empties a full pipe
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*lab, f"--notebook-dir={folder}"],
            cwd=folder,
            env={**os.environ, **own},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=sink,
        )
    try:
        while not (found := re.search(r"http://(?:127\.0\.0\.1|localhost):\d+/lab\?token=\w+", log.read_text())):
            assert process.poll() is None, f"JupyterLab ended with exit code {process.returncode}:\n{log.read_text()}"
            time.sleep(0.1)
        yield found.group()
    finally:
        process.terminate()
        process.wait(timeout=30)
        print(log.read_text())


FIGURE = "Array.from(document.querySelectorAll('.jp-Notebook img')).some(one => one.naturalWidth > 400)"
COMMANDS = "window.jupyterapp.commands"
#: The dot beside the kernel's name. A kernel that is told to restart while it still starts may never come up.
KERNEL_READY = "document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'"


def open_notebook(page: Page, address: str) -> None:
    base, _, token = address.partition("/lab?")
    page.open(f"{base}/lab/tree/{NOTEBOOK.name}?{token}&reset")
    page.wait("document.querySelectorAll('.jp-Notebook .jp-Cell').length > 5", "the notebook's cells")
    page.wait(f"{WORDS}.includes('Survive a crash')", "its title")


def look_at_the_story(page: Page, picture: pathlib.Path) -> None:
    # Lab keeps only what is near the screen in the page, so every look first goes to the end, where both are.
    page.wait(f"{TO_THE_END}; {FIGURE}", "the lifelines")
    page.wait(f"{TO_THE_END}; {WORDS}.includes('incarnation 1') && {WORDS}.includes('what came back')", "the table")
    page.ask("document.querySelector('.jp-Notebook img').scrollIntoView()")
    page.photograph(picture)
    assert picture.stat().st_size > 0


def test_the_notebook_opens_with_its_story_its_figure_and_its_tables(tmp_path: pathlib.Path) -> None:
    (tmp_path / NOTEBOOK.name).write_bytes(NOTEBOOK.read_bytes())
    with running_lab(tmp_path) as address, open_browser() as page:
        open_notebook(page, address)
        look_at_the_story(page, tmp_path / "lab.png")


def test_the_notebook_runs_from_top_to_bottom_in_lab(tmp_path: pathlib.Path) -> None:
    (tmp_path / NOTEBOOK.name).write_bytes(NOTEBOOK.read_bytes())
    with running_lab(tmp_path) as address, open_browser() as page:
        open_notebook(page, address)
        page.wait("!!window.jupyterapp", "Lab's commands")
        page.wait(KERNEL_READY, "an idle kernel")
        page.ask(f"{COMMANDS}.execute('notebook:clear-all-cell-outputs'); 1")
        page.wait(f"{TO_THE_END}; !({FIGURE})", "a notebook without outputs")
        page.ask(f"{COMMANDS}.execute('notebook:restart-run-all'); 1")
        page.wait("!!document.querySelector('.jp-Dialog .jp-mod-warn')", "the question whether to restart")
        page.ask("document.querySelector('.jp-Dialog .jp-mod-warn').click(); 1")
        look_at_the_story(page, tmp_path / "lab.png")
