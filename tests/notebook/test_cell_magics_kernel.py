"""``%%task`` and ``%%on`` in a real kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.kernels import Kernel, running_kernel

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]

SETUP = """%load_ext ipyactors
import ipyactors, os, signal
ipyactors.init(num_cpus=2)
@ipyactors.remote(durable=True)
class Account:
    def __init__(self): self.balance = 0
    def add(self, amount):
        self.balance += amount
        return self.balance
    @ipyactors.method(effect="readonly")
    def pid(self): return os.getpid()
acct = Account.options(name="acct").remote()
nameless = Account.remote()
x, total = 5, 1
kernel_pid = os.getpid()"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as running:
        running.check(SETUP)
        yield running


def test_a_cell_runs_as_a_task_and_its_value_is_a_reference(kernel: Kernel) -> None:
    shown = kernel.check("%%task\nimport os\ntotal = total + x\ntotal, os.getpid() != kernel_pid")
    assert shown.result.startswith("ObjectRef(")
    assert kernel.check("ipyactors.get(_), total").result == "((6, True), 1)"


def test_a_reference_names_the_line_of_its_cell(kernel: Kernel) -> None:
    kernel.check("%%task -o placed\n1")
    number = int(kernel.check("len(In) - 2").result)
    assert f"Cell In[{number}], line 1" in kernel.check("placed._repr_html_()").result
    assert f"Cell In[{number}], line 1 " in kernel.check("print(ipyactors.memory())").text
    kernel.check("del placed")


def test_a_reference_is_put_under_a_name(kernel: Kernel) -> None:
    shown = kernel.check("%%task -o sum --max-retries 0 --name summing\nsum([x, x])")
    assert not shown.result
    assert kernel.check("await sum").result == "10"
    assert not kernel.check("%%task\nx;").result


def test_a_task_may_await(kernel: Kernel) -> None:
    kernel.check("%%task -o waited\nimport asyncio\nawait asyncio.sleep(0, x)")
    assert kernel.check("ipyactors.get(waited)").result == "5"


def test_an_error_reads_as_if_the_cell_had_run_here(kernel: Kernel) -> None:
    number = kernel.check("\n%%task -o failed\n\ny = x\n1 / (y - 5)").number
    shown = kernel.run("ipyactors.get(failed)")
    assert shown.error_name == "ZeroDivisionError"
    assert f"Cell In[{number}], line 5\n" in shown.traceback
    assert "----> 5 1 / (y - 5)" in shown.traceback
    assert "<module>" not in shown.traceback


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("%%task --max-retires 3\nx", "Did you mean 'max_retries'"),
        ("%%task --max-restarts 3\nx", "is an option of a remote class, not of a remote function"),
        ("%%task -o 1x\nx", "-o 1x: takes the name of a variable"),
        ("%%task\n!ls", "subprocess.run"),
        ("%%on\nx", "%%on takes ACTOR, which is missing"),
        ("%%on nobody\nx", "no live actor has the name nobody"),
        ("%%on acct --wronly\nx", "%%on has no use for '--wronly'. Did you mean --readonly?"),
        ("%%on acct\n%pwd", "Nothing was sent"),
    ],
)
def test_a_mistake_is_one_line(kernel: Kernel, cell: str, words: str) -> None:
    shown = kernel.run(cell)
    assert words in shown.text
    assert shown.text.count("\n") == 1
    assert not shown.traceback


def test_a_large_variable_is_warned_of_in_one_line(kernel: Kernel) -> None:
    kernel.check("large = bytes(2_000_000)")
    shown = kernel.check("%%task -o length\nlen(large)")
    assert "captures global variable 'large'" in shown.text
    assert shown.text.startswith("UserWarning: the remote function In[")
    assert shown.text.count("\n") == 1
    assert kernel.check("ipyactors.get(length)").result == "2000000"


@pytest.mark.parametrize("magic", ["%%task", "%%on acct"])
def test_a_syntax_error_is_one_of_the_cell(kernel: Kernel, magic: str) -> None:
    shown = kernel.run(f"{magic}\nx = 1\nreturn x")
    assert shown.error_name == "SyntaxError"
    assert f"Cell In[{shown.number}], line 3\n" in shown.traceback
    assert "ipyactors" not in shown.traceback


def test_a_cell_runs_in_an_actor_in_its_turn_and_is_recorded(kernel: Kernel) -> None:
    kernel.check("before = acct.add.remote(1)")
    shown = kernel.check("%%on acct\nself.balance += x\nprint('now', self.balance)\nself.balance")
    assert shown.result == "6"
    assert "now 6" in shown.text
    kernel.check("os.kill(ipyactors.get(acct.pid.remote()), signal.SIGKILL)")
    assert kernel.check("ipyactors.get(acct.add.remote(1))").result == "7"
    assert kernel.check("%%on acct --readonly\nself.balance").result == "7"


def test_what_a_readonly_cell_changes_is_put_back_and_told(kernel: Kernel) -> None:
    count = "len([e for e in ipyactors.events() if e.kind == 'actor_recovered'])"
    changing = kernel.run("%%on nameless --readonly\nself.balance = 99\nself.balance")
    assert "balance was 0 and became 99. The state is again as it was" in changing.error_text
    assert kernel.check("%%on nameless --readonly\nself.balance").result == "0"
    kernel.check("os.kill(ipyactors.get(nameless.pid.remote()), signal.SIGKILL)")
    assert kernel.check("%%on nameless\nself.balance").result == "0"
    assert int(kernel.check(count).result) >= 1


def test_an_actor_is_waited_for_only_without_a_name(kernel: Kernel) -> None:
    shown = kernel.check("%%on nameless -o later\nimport asyncio\nawait asyncio.sleep(0)\nself.balance + total")
    assert not shown.result
    assert kernel.check("ipyactors.get(later)").result == "1"


def test_an_error_in_an_actor_is_in_the_cell(kernel: Kernel) -> None:
    shown = kernel.run("%%on nameless\n\nself.nothing")
    assert shown.error_name == "AttributeError"
    assert f"Cell In[{shown.number}], line 3\n----> 3 self.nothing" in shown.traceback.replace(
        "      1 # %%on nameless\n      2 \n", ""
    )


def test_a_crash_in_an_actor_shows_the_cell(kernel: Kernel) -> None:
    shown = kernel.run("%%on nameless --readonly\nnumber = 9\nimport os; os.kill(os.getpid(), number)")
    assert "SIGKILL" in shown.error_text
    assert f"Cell In[{shown.number}], line 1\n----> 1 # %%on nameless --readonly\n" in shown.traceback
    assert "os.kill(os.getpid(), number)" in shown.traceback
    assert "ipyactors/" not in shown.traceback


def test_help_shows_the_options_and_the_function(kernel: Kernel) -> None:
    for magic, words in {"%%task": "ipyactors.remote(f)", "%%on": "ipyactors.on(handle, function)"}.items():
        text = kernel.help(magic)
        assert f"{magic} [-" in text
        assert words in text
