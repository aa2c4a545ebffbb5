"""A real kernel: what workers print and display is under the cell that made the call, whatever runs meanwhile."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from tests.support.kernels import Kernel, running_kernel

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]

SETUP = """%load_ext ipyactors
import ipyactors, os, sys, time
ipyactors.init(num_cpus=3)
def wait_file(path):
    while not os.path.exists(path): time.sleep(0.01)"""

TALK = """%%remote
def talk(path):
    print('before')
    wait_file(path)
    print('after'); print('oh', file=sys.stderr); print('end')
    return 'value'"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as running:
        running.check(SETUP)
        running.check(TALK)
        yield running


@pytest.fixture
def gate(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "gate"


def start(kernel: Kernel, code: str) -> str:
    """Run a cell to its end; return its message id."""
    cell = kernel.start(code)
    shown = kernel.finish(cell)
    assert shown.status == "ok", shown.traceback
    return cell


def test_what_comes_late_is_under_its_own_cell_and_in_order(kernel: Kernel, gate: pathlib.Path) -> None:
    first = start(kernel, f"print('sent'); ref = talk.remote({str(gate)!r})")
    kernel.wait_page(lambda page: "before" in page.text(first))
    second = start(kernel, f"print('mine'); open({str(gate)!r}, 'w').close(); ipyactors.get(ref); print('got')")
    kernel.wait_page(lambda page: "end" in page.text(first))
    assert [(one.kind, one.text) for one in kernel.page.under(first)] == [
        ("stdout", "sent\n(talk) before\n(talk) after\n"),
        ("stderr", "(talk) oh\n"),
        ("stdout", "(talk) end\n"),
    ]
    assert kernel.page.text(second) == "mine\ngot\n"


def test_what_comes_while_nothing_runs_is_under_its_own_cell(kernel: Kernel, gate: pathlib.Path) -> None:
    first = start(kernel, f"ref = talk.remote({str(gate)!r})")
    kernel.wait_page(lambda page: "before" in page.text(first))
    gate.touch()
    kernel.wait_page(lambda page: "end" in page.text(first))
    assert kernel.page.text(start(kernel, "ipyactors.get(ref)")) == "'value'\n"


def test_a_failure_that_nobody_asks_for_is_told_under_the_cell_of_the_call(kernel: Kernel) -> None:
    first = start(kernel, "def divide():\n    1 / 0\nref = ipyactors.remote(divide).remote()")
    start(kernel, "assert ipyactors.wait([ref])[0]")
    assert not kernel.page.text(first)
    start(kernel, "del ref")
    kernel.wait_page(lambda page: "divide" in page.text(first))
    words = "(ipyactors) divide failed, and nobody asked for its result: ZeroDivisionError: division by zero\n"
    assert [(one.kind, one.text) for one in kernel.page.under(first)] == [("stderr", words)]


def test_in_one_cell_all_is_in_order(kernel: Kernel, gate: pathlib.Path) -> None:
    gate.touch()
    cell = start(kernel, f"print('sent')\nipyactors.get(talk.remote({str(gate)!r}))\nprint('got')")
    assert [(one.kind, one.text) for one in kernel.page.under(cell)] == [
        ("stdout", "sent\n(talk) before\n(talk) after\n"),
        ("stderr", "(talk) oh\n"),
        ("stdout", "(talk) end\ngot\n"),
    ]


def test_a_thread_and_a_coroutine_of_a_cell_keep_it(kernel: Kernel, gate: pathlib.Path) -> None:
    kernel.check("%%remote\ndef say(word): print(word)")
    first = start(
        kernel,
        f"""import asyncio
async def later():
    while not os.path.exists({str(gate)!r}): await asyncio.sleep(0.01)
    await say.remote('from a coroutine')
coroutine = asyncio.create_task(later())""",
    )
    second = start(kernel, f"open({str(gate)!r}, 'w').close()\nawait coroutine\nawait say.remote('mine')")
    kernel.wait_page(lambda page: "from a coroutine" in page.text(first))
    assert kernel.page.text(second) == "(say) mine\n"
    third = start(
        kernel,
        "import threading\nthread = threading.Thread(target=lambda: ipyactors.get(say.remote('from a thread')))\n"
        "thread.start(); thread.join()",
    )
    kernel.wait_page(lambda page: "from a thread" in page.text(third))


def test_nested_tasks_print_under_the_cell_of_the_outermost(kernel: Kernel, gate: pathlib.Path) -> None:
    kernel.check("%%remote\ndef outer(path): return ipyactors.get(talk.remote(path))")
    first = start(kernel, f"ref = outer.remote({str(gate)!r})")
    kernel.wait_page(lambda page: "before" in page.text(first))
    second = start(kernel, f"open({str(gate)!r}, 'w').close(); ipyactors.get(ref)")
    kernel.wait_page(lambda page: "end" in page.text(first))
    assert kernel.page.text(first) == "(talk) before\n(talk) after\n(talk) oh\n(talk) end\n"
    assert kernel.page.text(second) == "'value'\n"


def test_a_captured_cell_captures_its_own(kernel: Kernel, gate: pathlib.Path) -> None:
    gate.touch()
    cell = start(kernel, f"%%capture caught\nipyactors.get(talk.remote({str(gate)!r}))")
    assert kernel.page.text(cell) == ""
    assert kernel.check("print(caught.stdout + caught.stderr, end='')").text.splitlines() == [
        "(talk) before",
        "(talk) after",
        "(talk) end",
        "(talk) oh",
    ]


def test_a_cell_does_not_capture_what_is_another_ones(kernel: Kernel, gate: pathlib.Path) -> None:
    first = start(kernel, f"ref = talk.remote({str(gate)!r})")
    kernel.wait_page(lambda page: "before" in page.text(first))
    start(kernel, f"%%capture caught\nopen({str(gate)!r}, 'w').close(); ipyactors.get(ref)")
    kernel.wait_page(lambda page: "end" in page.text(first))
    assert kernel.check("print(repr(caught.stdout))").text == "''\n"


def test_unloaded_it_prints_as_in_a_script_and_loaded_again_as_before(kernel: Kernel, gate: pathlib.Path) -> None:
    gate.touch()
    talk = f"ipyactors.get(talk.remote({str(gate)!r}))"
    shown = kernel.check(f"%unload_ext ipyactors\n{talk}")
    assert "(talk) end" in shown.text
    kernel.check("%load_ext ipyactors")
    assert "(talk) end" in kernel.page.text(start(kernel, talk))


def test_loaded_again_it_shows_what_calls_print_that_have_begun_before(kernel: Kernel, gate: pathlib.Path) -> None:
    first = start(kernel, f"ref = talk.remote({str(gate)!r})")
    kernel.wait_page(lambda page: "before" in page.text(first))
    kernel.check("%reload_ext ipyactors")
    start(kernel, f"open({str(gate)!r}, 'w').close(); ipyactors.get(ref)")
    kernel.wait_page(lambda page: "end" in page.text(first))


DURABLE = """%%remote --durable
class Durable:
    def say(self, word, path):
        wait_file(path)
        print(word)"""


def test_what_a_durable_actor_runs_after_a_crash_is_under_the_cell_of_the_call(
    kernel: Kernel, gate: pathlib.Path
) -> None:
    kernel.check(DURABLE)
    created = start(kernel, "durable = Durable.remote(); ipyactors.get(durable.say.remote('first', '/'))")
    first = start(
        kernel,
        "from ipyactors import chaos; chaos.exit(durable, before='say')\n"
        f"ref = durable.say.remote('again', {str(gate)!r})",
    )
    start(kernel, f"open({str(gate)!r}, 'w').close(); ipyactors.get(ref)")
    kernel.wait_page(lambda page: "again" in page.text(first) + page.text(created))
    assert "again" not in kernel.page.text(created)
    kernel.check("ipyactors.kill(durable)")


def test_what_it_runs_after_a_crash_is_shown_before_the_result(kernel: Kernel) -> None:
    kernel.check(
        """from ipyactors import chaos
@ipyactors.remote(durable=True)
class Counting:
    def __init__(self): self.n = 0
    def add(self):
        self.n += 1
        print(self.n)
        return self.n"""
    )
    for _ in range(20):  # the text had lost the race to the result in every fifth
        shown = kernel.check(
            "counting = Counting.remote(); chaos.kill(counting, during='add', nth=2)\n"
            "print(ipyactors.get([counting.add.remote() for _ in range(4)])); ipyactors.kill(counting)"
        )
        lines = [line.removeprefix("(Counting) ") for line in shown.text.splitlines()]
        assert lines == ["1", "2", "2", "3", "4", "[1, 2, 3, 4]"]


def test_what_a_constructor_prints_is_shown_before_the_first_answer_or_the_error(kernel: Kernel) -> None:
    kernel.check(
        """%%remote
class Made:
    def __init__(self, by=1): print('making'); print(1 / by, end='')
    def use(self): print('used')"""
    )
    for _ in range(20):
        shown = kernel.check("made = Made.remote(); ipyactors.get(made.use.remote()); print('got'); del made")
        assert shown.text.splitlines() == ["(Made) making", "(Made) 1.0", "(Made) used", "got"]
        shown = kernel.run("ipyactors.get(Made.remote(0).use.remote())")
        assert (shown.text, shown.status) == ("(Made) making\n", "error")


def test_a_constructor_prints_at_once_under_the_cell_that_creates_the_actor(kernel: Kernel, gate: pathlib.Path) -> None:
    kernel.check(
        """%%remote
class Slow:
    def __init__(self, path):
        print('loading')
        wait_file(path)
        print('loaded')
    def use(self): print('used')
"""
    )
    first = start(kernel, f"slow = Slow.remote({str(gate)!r})")
    kernel.wait_page(lambda page: "loading" in page.text(first))
    second = start(kernel, f"open({str(gate)!r}, 'w').close(); ipyactors.get(slow.use.remote())")
    kernel.wait_page(lambda page: "loaded" in page.text(first))
    assert kernel.page.text(first).count("\n") == 2
    assert kernel.page.text(second).endswith(") used\n")


def test_what_a_failing_constructor_has_printed_is_shown(kernel: Kernel) -> None:
    kernel.check("%%remote\nclass Broken:\n    def __init__(self): print('trying'); 1 / 0\n    def use(self): pass")
    cell = kernel.start("ipyactors.get(Broken.remote().use.remote())")
    assert kernel.finish(cell).status == "error"
    kernel.wait_page(lambda page: "trying" in page.text(cell))


# -- what is displayed -----------------------------------------------------------------------------------------


def displays(kernel: Kernel, cell: str) -> list[tuple[str, list[str]]]:
    """Return what is displayed under a cell: its text and its MIME types."""
    return [(one.text, sorted(one.data)) for one in kernel.page.under(cell) if one.kind == "display"]


def test_a_display_comes_in_order_with_what_is_printed(kernel: Kernel) -> None:
    kernel.check(
        """%%remote
def show():
    from IPython.display import HTML
    print('above')
    display(HTML('<b>bold</b>'), 5)
    print('below')"""
    )
    cell = start(kernel, "print('sent'); ipyactors.get(show.remote()); print('got')")
    assert [(one.kind, one.text, one.data.get("text/html")) for one in kernel.page.under(cell)] == [
        ("stdout", "sent\n(show) above\n(show)\n", None),
        ("display", "<IPython.core.display.HTML object>", "<b>bold</b>"),
        ("display", "(show) 5", None),
        ("stdout", "(show) below\ngot\n", None),
    ]


def test_a_late_display_is_under_its_own_cell_and_can_be_updated(kernel: Kernel, gate: pathlib.Path) -> None:
    kernel.check(
        """%%remote
def show(path):
    handle = display('zero', display_id=True)
    wait_file(path)
    for word in ('one', 'two', 'three'): handle.update(word)"""
    )
    first = start(kernel, f"ref = show.remote({str(gate)!r})")
    kernel.wait_page(lambda page: "zero" in page.text(first))
    second = start(kernel, f"open({str(gate)!r}, 'w').close(); ipyactors.get(ref)")
    kernel.wait_page(lambda page: "three" in page.text(first))
    assert displays(kernel, first) == [("(show) 'three'", ["text/plain"])]
    assert kernel.page.under(second) == []


def test_figures_are_shown_when_asked_for_and_at_the_end_of_a_call(kernel: Kernel) -> None:
    kernel.check(
        """%%remote
def draw():
    import matplotlib.pyplot as plt
    plt.plot([1, 2]); plt.show()
    print('between')
    fig, ax = plt.subplots(); display(fig)
    plt.figure(); plt.plot([3])
    print('last')
    return len(plt.get_fignums())"""
    )
    cell = start(kernel, "assert ipyactors.get(draw.remote()) == 2")
    kinds = [one.text if one.kind == "stdout" else sorted(one.data) for one in kernel.page.under(cell)]
    figure = ["image/png", "text/plain"]
    assert kinds == ["(draw)\n", figure, "(draw) between\n(draw)\n", figure, "(draw) last\n(draw)\n", figure]


def test_what_is_cleared_is_shown_again_in_its_place(kernel: Kernel) -> None:
    kernel.check(
        """%%remote
def steps():
    from IPython.display import clear_output, HTML
    print('kept')
    for number in range(3):
        clear_output(wait=True)
        print('step', number)
        display(HTML(f'<i>{number}</i>'))"""
    )
    cell = start(kernel, "print('mine'); ipyactors.get(steps.remote())")
    assert [(one.kind, one.text.strip(), one.data.get("text/html")) for one in kernel.page.under(cell)] == [
        ("stdout", "mine\n(steps) kept", None),
        ("display", "(steps) step 2", None),
        ("stdout", "(steps)", None),
        ("display", "<IPython.core.display.HTML object>", "<i>2</i>"),
    ]


def test_bars_of_several_tasks_move_in_places_of_their_own(kernel: Kernel) -> None:
    kernel.check(
        """%%remote
def work(name):
    from tqdm.auto import tqdm
    for _ in tqdm(range(20), desc=name): time.sleep(0.01)
    print('done')"""
    )
    cell = start(kernel, "ipyactors.get([work.options(name=name).remote(name) for name in ('one', 'two')]);")
    bars = [one for one in kernel.page.under(cell) if one.kind == "display"]
    assert sorted(bar.text[:15] for bar in bars) == ["(one) one: 100%", "(two) two: 100%"]
    assert all("20/20" in bar.text for bar in bars)
    assert {one.text for one in kernel.page.under(cell) if one.kind == "stdout"} <= {
        "(one) done\n", "(two) done\n", "(one) done\n(two) done\n", "(two) done\n(one) done\n",
    }  # fmt: skip


def test_what_is_too_large_to_display_says_so(kernel: Kernel) -> None:
    kernel.check("%%remote\ndef much():\n    from IPython.display import HTML\n    display(HTML('x' * 5_000_000))")
    cell = start(kernel, "ipyactors.get(much.remote())")
    ((text, kinds),) = displays(kernel, cell)
    assert text.startswith("(much) A display of 4.8 MiB (text/html) is not shown")
    assert kinds == ["text/plain"]


def test_a_flood_does_not_reach_the_page_and_its_end_does(kernel: Kernel) -> None:
    kernel.check("%%remote\ndef flood():\n    for number in range(100_000): print(number)")
    before = kernel.page.messages
    cell = start(kernel, "ipyactors.get(flood.remote()); print('done')")
    kernel.wait_page(lambda page: "(flood) 99999\n" in page.text(cell))
    text = kernel.page.text(cell)
    assert text.startswith("(flood) 0\n(flood) 1\n")
    assert "lines are left out here: over 2,000 a second" in text
    assert text.count("\n") < 5_050
    assert kernel.page.messages - before < 2_000


def test_a_cell_shows_so_much_and_then_the_last_lines(kernel: Kernel) -> None:
    kernel.check("%%remote\ndef lines(n):\n    for number in range(n): print(number)")
    cell = start(kernel, "for _ in range(6): ipyactors.get(lines.remote(1000))")
    kernel.wait_page(
        lambda page: page.text(cell).endswith("(lines) 999\n") and "more lines are left out" in page.text(cell)
    )
    text = kernel.page.text(cell)
    assert text.count("\n") == 5000 + 11
    assert "... 990 more lines are left out here: one cell shows 5,000." in text


def test_logging_and_warnings_are_shown_as_errors_are(kernel: Kernel) -> None:
    kernel.check(
        """%%remote
def log():
    import logging, warnings
    logging.basicConfig(level='INFO', format='%(levelname)s %(message)s')
    logging.info('note'); warnings.warn('careful')"""
    )
    cell = start(kernel, "ipyactors.get(log.remote())")
    ((kind, text),) = [(one.kind, one.text) for one in kernel.page.under(cell)]
    assert kind == "stderr"
    assert text.startswith("(log) INFO note\n(log) ")
    assert "UserWarning: careful" in text


def test_threads_print_for_the_call_that_has_started_them(kernel: Kernel, gate: pathlib.Path) -> None:
    kernel.check(
        """%%remote
class Quiet:
    def begin(self, path):
        import threading
        def later():
            wait_file(path); print('from the thread')
        threading.Thread(target=later).start()
    def ask_pool(self, word):
        from concurrent.futures import ThreadPoolExecutor
        if not hasattr(self, 'pool'): self.pool = ThreadPoolExecutor(1)
        self.pool.submit(print, word).result()"""
    )
    first = start(kernel, f"quiet = Quiet.remote(); ipyactors.get(quiet.begin.remote({str(gate)!r}))")
    second = start(kernel, "ipyactors.get(quiet.ask_pool.remote('one'))")
    third = start(kernel, "ipyactors.get(quiet.ask_pool.remote('two'))")
    gate.touch()
    kernel.wait_page(lambda page: "from the thread" in page.text(first))
    assert kernel.page.text(second).endswith(") one\n")
    assert kernel.page.text(third).endswith(") two\n")
    assert kernel.page.text(first).count("\n") == 1


def test_a_thread_of_an_earlier_cell_prints_under_that(kernel: Kernel, gate: pathlib.Path) -> None:
    gate.touch()
    first = start(
        kernel,
        "import threading; go = threading.Event()\n"
        f"thread = threading.Thread(target=lambda: (go.wait(), ipyactors.get(talk.remote({str(gate)!r}))))\n"
        "thread.start()",
    )
    second = start(kernel, "go.set(); thread.join()")
    kernel.wait_page(lambda page: "end" in page.text(first) + page.text(second))
    assert "talk" not in kernel.page.text(second)
