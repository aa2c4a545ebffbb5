"""The notebooks in a real JupyterLab, in a real browser."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import pytest

from tests.support.browser import Page, find_chromium, open_browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium here (apt-get install chromium)"),
]

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "notebooks"


@dataclasses.dataclass(frozen=True)
class Story:
    """A notebook, and what a reader must see of it beside a figure: words in its outputs, and words in tables."""

    file: str
    title: str
    words: tuple[str, ...]
    tables: tuple[str, ...]


STORIES = (
    Story(
        "00_start_here.ipynb",
        "Start here",
        words=("[2762, 2371, 2260, 2199]", "Barbara is guest number 4", "in the book: Ada, Grace, Edsger, Barbara"),
        tables=("incarnation 0 was killed by SIGKILL (injected during Guestbook.sign)",),
    ),
    Story(
        "01_survive_a_crash.ipynb",
        "Survive a crash",
        words=("task 0: FAILURE", "[67.0, 100.0, 101.0, 102.0]", "all totals are right: True"),
        tables=("incarnation 0 was killed by SIGKILL", "what came back"),
    ),
    Story(
        "02_lost_objects.ipynb",
        "Lost objects",
        words=(
            "the sum spreads by 1.413, three times the sum by 4.240",
            "add needs it again, and it was not kept: measure runs again",
            "no machine has a copy: scale runs again",
            "adds up to 1000000.0",
            "It cannot be made again: measure has made it",
        ),
        tables=("task result of measure",),
    ),
    Story(
        "03_durable_actors.ipynb",
        "Durable actors",
        words=(
            "nothing lost, nothing twice: True",
            "Clean: the state up to lsn 400 is there.",
            "21 incarnations have written this",
            "an actor of its own: 26 entries",
            "while Diary.burn ran",
            "its state could not be brought back",
            "with interest, twice: 450.49",
        ),
        tables=("archived ledger, incarnation 0", "5 calls replayed"),
    ),
    Story(
        "04_failure_lab.ipynb",
        "Failure lab",
        words=(
            "Account.deposit was not run. It has no restarts left",
            "late:  [15, 16, 14]",
            "No space left on device (injected by chaos.fill_disk)",
            "the 150 answers of the durable one are right: True",
        ),
        tables=("os._exit(1) during Account.deposit", "31 · unknown · 1"),
    ),
    Story(
        "05_pools_queues_progress.ipynb",
        "Pools, queues and progress",
        words=(
            "what was asked first came last: True",
            "counted by the three: 30",
            "13 readings of 12 places",
            "each order in one parcel: True",
            "unnoticed: Pool process exited with code 1",
        ),
        tables=(),
    ),
    Story(
        "06_patterns.ipynb",
        "Patterns",
        words=(
            "It was tried 2 times and its retries are used up",
            "with a file: 1 2 3 4 6 7 8 9 10 11",
            "a shared folder: 6 calls replayed, and then the balance is 11",
            "8 from its log alone",
            "durable workers:   [2, 2, 2] after 6 calls",
            "put, with copies=2: 100,000",
            "heads that were started again: 1",
        ),
        tables=(),
    ),
)

# -- what is asked of the page -----------------------------------------------------------------------------------------

CELLS = "document.querySelectorAll('.jp-Notebook .jp-Cell').length"
WORDS = "document.querySelector('.jp-Notebook').innerText"
FIGURE = "[...document.querySelectorAll('.jp-Notebook img')].find(one => one.naturalWidth > 400)"
TABLES = "[...document.querySelectorAll('.jp-Notebook .jp-OutputArea table')].map(one => one.innerText).join()"
#: Lab keeps only what is near the screen in the page: each look goes on by half a screen, and from the end to the top.
LOOK_FURTHER = """
for (const pane of document.querySelectorAll('.jp-Notebook, .jp-WindowedPanel-outer')) {
  const isAtTheEnd = pane.scrollTop + pane.clientHeight >= pane.scrollHeight - 2;
  pane.scrollTop = isAtTheEnd ? 0 : pane.scrollTop + pane.clientHeight / 2;
}
"""
COMMANDS = "window.jupyterapp.commands"
#: The notebook's widget. Lab's "current" one may be none at all, or the launcher.
PANEL = "[...(window.jupyterapp?.shell.widgets('main') ?? [])].find(one => one.content?.model?.cells)"
CODE_CELLS = f"[...({PANEL})?.content.model.cells ?? []].filter(cell => cell.type === 'code')"
KERNEL = f"({PANEL})?.sessionContext.session?.kernel"
#: Of the kernel itself: the dot beside its name is that of an idle one even before there is any. And a kernel that is
#: told to restart while it still starts may never come up.
KERNEL_READY = f"{KERNEL}?.connectionStatus === 'connected' && {KERNEL}.status === 'idle'"
NO_OUTPUTS = f"{CODE_CELLS}.length > 0 && {CODE_CELLS}.every(cell => cell.outputs.length === 0)"
OUTPUTS_OF = "Array.from({length: cell.outputs.length}, (_, place) => cell.outputs.get(place).toJSON())"
FAILED = f"{CODE_CELLS}.some(cell => {OUTPUTS_OF}.some(one => one.output_type === 'error'))"
ALL_RAN = f"{CODE_CELLS}.every(cell => cell.executionCount && cell.executionState !== 'running')"
DESCRIBE = f"""(() => {{
  const panel = {PANEL};
  if (!panel) return 'no notebook is open';
  const context = panel.sessionContext;
  const kernel = context.session?.kernel;
  const words = one => one.text ?? one.traceback?.join('\\n') ?? one.data?.['text/plain'] ?? one.output_type;
  const cells = {CODE_CELLS}.map((cell, place) => [
    `code cell ${{place}} [${{cell.executionCount ?? ' '}}] ${{cell.executionState}}: ` +
      cell.sharedModel.getSource().split('\\n')[0],
    ...{OUTPUTS_OF}.map(one => `    ${{String(words(one)).slice(0, 2000)}}`),
  ].join('\\n'));
  return [
    `notebook: ${{panel.context.path}}`,
    `kernel: ${{context.kernelDisplayStatus}}, status ${{kernel?.status}}, connection ${{kernel?.connectionStatus}}`,
    ...[...document.querySelectorAll('.jp-Dialog')].map(one => `dialog: ${{one.innerText}}`),
    ...cells,
  ].join('\\n');
}})()"""

# -- Lab ---------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Lab:
    """A JupyterLab that runs, and a browser's tab to look at it."""

    base: str
    token: str
    folder: pathlib.Path
    log: pathlib.Path
    page: Page

    @contextlib.contextmanager
    def opened(self, story: Story) -> Iterator[None]:
        """Open a fresh copy of a notebook, with a kernel of its own; what fails in this block tells what Lab holds."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="copy-", dir=self.folder))
        (folder / story.file).write_bytes((FOLDER / story.file).read_bytes())
        path = f"{folder.name}/{story.file}"
        try:
            self.page.open(f"{self.base}/lab/tree/{path}?token={self.token}&reset")
            self.page.wait(f"({PANEL})?.context.path === '{path}' && {CELLS} > 5", "the notebook's cells")
            self.page.wait(f"{WORDS}.includes('{story.title}')", "its title")
            yield
        except AssertionError as error:
            error.add_note(self.describe())
            raise

    def run_all(self) -> None:
        """Clear what is shown, restart the kernel, run all cells; fail with the first cell that fails."""
        self.page.wait(KERNEL_READY, "an idle kernel")
        self.page.ask(f"{COMMANDS}.execute('notebook:clear-all-cell-outputs'); 1")
        self.page.wait(NO_OUTPUTS, "a notebook without outputs")
        self.page.ask(f"{COMMANDS}.execute('notebook:restart-run-all'); 1")
        self.page.wait("!!document.querySelector('.jp-Dialog .jp-mod-warn')", "the question whether to restart")
        self.page.ask("document.querySelector('.jp-Dialog .jp-mod-warn').click(); 1")
        self.page.wait(f"{FAILED} || {ALL_RAN}", "the end of all cells")
        assert not self.page.ask(FAILED), "a cell has failed"

    def look_at(self, story: Story, picture: pathlib.Path) -> None:
        """Look for all that a reader must see, and photograph the figure."""
        for place, wanted in ((WORDS, story.words), (TABLES, story.tables)):
            for words in wanted:
                self.page.wait(f"{{ {LOOK_FURTHER} }} {place}.includes('{words}')", f"the words {words!r}")
        self.page.wait(f"{{ {LOOK_FURTHER} }} !!({FIGURE})", "the figure")
        self.page.ask(f"({FIGURE}).scrollIntoView({{block: 'center'}})")
        self.page.photograph(picture)
        assert picture.stat().st_size > 0

    def describe(self) -> str:
        """Return what Lab has in its hands: kernel, cells with their outputs, and the end of its log."""
        try:
            said = str(self.page.ask(DESCRIBE))
        except Exception as error:  # a page that cannot answer must not hide why the test failed
            said = f"the page does not answer: {error!r}"
        return f"{said}\n\nthe end of Lab's log:\n{self.log.read_text()[-6000:]}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start JupyterLab on a port of its choice, and a browser: once, since that takes longer than the tests."""
    folder = tmp_path_factory.mktemp("lab")
    with running_lab(folder) as address, open_browser() as page:
        base, _, token = address.partition("/lab?token=")
        yield Lab(base, token, folder, folder / "lab.log", page)


@contextlib.contextmanager
def running_lab(folder: pathlib.Path) -> Iterator[str]:
    """Start JupyterLab; yield its address, with its token. What it says is in ``lab.log``."""
    own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--port=0"]
    command.append("--LabApp.expose_app_in_browser=True")  # so that a test can give Lab's own commands
    log = folder / "lab.log"  # a file, because Lab would stand still when nobody empties a full pipe
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*command, f"--notebook-dir={folder}"],
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


# -- tests -------------------------------------------------------------------------------------------------------------

each_story = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.file)


@each_story
def test_a_notebook_opens_with_its_story_its_figure_and_its_tables(
    lab: Lab, story: Story, tmp_path: pathlib.Path
) -> None:
    with lab.opened(story):
        lab.look_at(story, tmp_path / "lab.png")


@each_story
def test_a_notebook_runs_from_top_to_bottom_in_lab(lab: Lab, story: Story, tmp_path: pathlib.Path) -> None:
    with lab.opened(story):
        lab.run_all()
        lab.look_at(story, tmp_path / "lab.png")
