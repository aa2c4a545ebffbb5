"""``%actor``, ``%checkpoints``, ``%upgrade`` and ``%cluster`` in a real kernel."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.gates import until
from tests.support.kernels import Kernel, running_kernel

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]

SETUP = """%load_ext ipyactors
import ipyactors, threading
ipyactors.init(num_cpus=2)"""

ACCOUNT = """%%remote --durable --checkpoint calls=2
class Account:
    def __init__(self):
        self.balance, self.password, self.items = 0, "hush", list(range(10_000))
    def add(self, amount):
        self.balance += amount
        return self.balance"""

USE = """acct = Account.options(name="acct").remote()
nameless = Account.remote()
[ipyactors.get(acct.add.remote(amount)) for amount in range(5)]"""

PLAIN = """@ipyactors.remote
class Sleeper:
    def sleep(self): threading.Event().wait(60)
class Plain: pass
Plain = ipyactors.remote(Plain)
sleeper = Sleeper.options(name="sleeper").remote()
late = sleeper.sleep.remote()"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as running:
        for cell in (SETUP, ACCOUNT, USE, PLAIN):
            running.check(cell)
        yield running


def facts(text: str) -> dict[str, str]:
    """Return what a card says, by the name of each fact."""
    parts = [line.strip().split("  ", 1) for line in text.splitlines() if line.startswith("  ")]
    return {part[0]: part[-1].strip() for part in parts}


def test_a_card_tells_where_an_actor_is_in_its_life(kernel: Kernel) -> None:
    shown = kernel.check("%actor acct")
    assert shown.result.splitlines()[0] == "Account 'acct'"
    told = facts(shown.result)
    assert told["state"] == "alive"
    assert told["durable"] == "process"
    assert told["calls"].startswith("5 answered")
    assert "namespace" not in told
    assert "text/html" in shown.mimetypes
    assert kernel.check("%actor nameless").result.startswith("Account ")
    assert kernel.check("ipyactors.describe_actor(acct)").result == shown.result


def test_a_card_shows_attributes_and_checkpoints(kernel: Kernel) -> None:
    text = kernel.check("%actor acct --state --checkpoints").result
    told = facts(text)
    assert told["balance"] == "10"
    assert told["password"] == "<not shown: the name looks like a secret's>"
    assert told["items"].endswith("10000 in all]")
    assert "checkpoint  after call" in text
    assert facts(kernel.check("%actor acct").result)["calls"].startswith("5 answered"), "to look is no call"


def test_a_card_shows_what_the_actor_has_printed(kernel: Kernel) -> None:
    kernel.check("noisy = Account.options(name='noisy').remote()")
    kernel.check("%%on noisy\nfor number in range(30): print('line', number)")
    log = kernel.check("%actor noisy --log").result.partition("log:")[2]
    assert "line 29" in log
    assert "line 10" in log
    assert "line 9\n" not in log
    kernel.check("%kill noisy")
    log = kernel.check("%actor noisy --log 2").result.partition("log:")[2]
    assert [line.strip() for line in log.splitlines() if "line " in line][-2:] == ["line 28", "line 29"]
    logs = [kernel.check(f"%actor {words}").result.partition("log:")[2] for words in ("--log noisy", "noisy --log")]
    assert logs[0] == logs[1]


def test_an_actor_that_is_busy_is_not_waited_for(kernel: Kernel) -> None:
    assert "It is busy" in kernel.check("%actor sleeper --state").result


def test_an_actor_that_died_has_a_card(kernel: Kernel) -> None:
    kernel.check("gone = Account.options(name='gone').remote()\nipyactors.get(gone.add.remote(1))\n%kill gone")
    with pytest.raises(AssertionError, match="ActorDiedError"):
        kernel.check("ipyactors.get(gone.add.remote(1))")
    text = kernel.check("%actor gone --state --checkpoints").result
    assert facts(text)["state"] == "dead"
    assert "ended on purpose" in facts(text)["last death"]
    assert "It is dead" in text


def test_checkpoints_are_a_table(kernel: Kernel) -> None:
    shown = kernel.check("%checkpoints acct")
    heading, *rows = shown.result.splitlines()
    assert heading.split() == ["checkpoint", "after", "call", "size"]
    assert [int(row.split()[1]) for row in rows] == [4, 2]
    assert "text/html" in shown.mimetypes
    assert kernel.check("ipyactors.list_checkpoints(acct)").result == shown.result
    assert kernel.check("%checkpoints nameless").result == "no checkpoints"


def test_an_actor_goes_back_to_a_checkpoint_if_that_is_meant(kernel: Kernel) -> None:
    kernel.check("back = Account.options(name='back').remote()\nipyactors.get(back.add.remote(7))")
    checkpoint_id = kernel.check("kept = ipyactors.get(ipyactors.checkpoint(back))\nkept").result.strip("'")[:10]
    kernel.check("ipyactors.get([back.add.remote(1), back.add.remote(1)])")
    line = f"%checkpoints back --restore {checkpoint_id}"
    assert "Nothing was done yet: add --yes" in kernel.check(line).text
    assert "after call 1 " in kernel.check("%checkpoints back --restore $kept").text
    assert kernel.check("ipyactors.get(back.add.remote(0))").result == "9"
    assert kernel.check(f"{line} --yes").text == (
        f"Account 'back' has the state that it had after call 1 (checkpoint {checkpoint_id}): "
        "what 3 calls did to it since is undone\n"
    )
    assert kernel.check("ipyactors.get(back.add.remote(0))").result == "7"
    assert f"%checkpoints back --restore {checkpoint_id}" in kernel.complete("%checkpoints back --restore |")
    assert "There are: " in kernel.run("%checkpoints back --restore nothing").text


def test_a_durable_actor_takes_the_class_of_a_cell_that_was_run_again(kernel: Kernel) -> None:
    kernel.check("moving = Account.options(name='moving').remote()\nipyactors.get(moving.add.remote(7))")
    first = kernel.check(ACCOUNT)
    assert "still run" not in first.text, "the same code"
    shown = kernel.check(ACCOUNT + "\n    def double(self): return 2 * self.balance")
    assert "for each: %upgrade NAME" in " ".join(shown.text.split())
    shown = kernel.check("%upgrade moving")
    assert shown.text == "Account 'moving' runs the Account of this notebook now, with the state that it had\n"
    assert kernel.check("ipyactors.get(ipyactors.get_actor('moving').double.remote())").result == "14"
    assert kernel.check("ipyactors.get(moving.double.remote())").result == "14"


def test_an_upgrade_to_a_class_of_another_name_says_so(kernel: Kernel) -> None:
    kernel.check("changing = Account.options(name='changing').remote()\nipyactors.get(changing.add.remote(7))")
    kernel.check("%%remote --durable\nclass Purse:\n    def look(self): return self.balance")
    said = "runs the Purse of this notebook now, with the state that it had (its class was Account)\n"
    assert kernel.check("%upgrade changing Purse").text == f"Account 'changing' {said}"
    assert kernel.check("ipyactors.get(changing.look.remote())").result == "7"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%actor nobody", "no live actor has the name nobody"),
        ("%actor", "%actor takes ACTOR, which is missing"),
        ("%upgrade acct Plain", "ActorClass(Plain) is not durable: decorate it"),
        ("%checkpoints sleeper", "Sleeper 'sleeper' is not durable, and so has no checkpoints"),
        ("%upgrade sleeper", "Sleeper 'sleeper' is not durable, and keeps the class that it has"),
        ("%upgrade acct Nothing", "Nothing is no remote class in this notebook"),
        ("%cluster stop", "command takes config or end, not 'stop'"),
        ("%cluster end now", "%cluster end takes nothing more"),
        ("%cluster config interrupt", "write NAME=VALUE"),
        ("%cluster config interrupt=kep", "Did you mean 'keep'?"),
    ],
)
def test_a_mistake_is_one_line(kernel: Kernel, line: str, words: str) -> None:
    shown = kernel.run(line)
    assert words in shown.text
    assert shown.text.count("\n") == 1
    assert not shown.traceback


def test_the_session_is_a_table_and_has_settings(kernel: Kernel) -> None:
    shown = kernel.check("%cluster")
    assert shown.result.splitlines()[0].split("  ")[0] == "machine"
    assert " alive" in facts(shown.result)["actors"]
    assert "text/html" in shown.mimetypes
    body = "import threading\nthreading.Event().wait(600)"
    kernel.check(f"%%task -o first --num-cpus 2\n{body}")
    kernel.check(f"%%task -o second --num-cpus 2\n{body}")
    waits = re.compile(r"1 task \(In\[\d+\] #\d+\): needs 2 CPU; free now: 0 CPU")
    until(lambda: waits.search(kernel.check("%cluster").result), "the second is told to wait")
    kernel.check("for ref in [first, second]: ipyactors.cancel(ref)")
    assert "interrupt" in kernel.check("%cluster config").result
    assert kernel.check("%cluster config interrupt=keep").result == kernel.check("%cluster config").result
    assert "keep" in kernel.check("%cluster config interrupt=keep").result
    kernel.check("%cluster config interrupt=cancel")


def test_tab_knows_what_they_take(kernel: Kernel) -> None:
    assert kernel.complete("%cluster c|") == ["%cluster config"]
    assert kernel.complete("%cluster config int|") == [
        "%cluster config interrupt=cancel",
        "%cluster config interrupt=keep",
    ]
    assert kernel.complete("%upgrade acct A|") == ["%upgrade acct Account"]
    assert kernel.complete("%actor acct --st|") == ["%actor acct --state"]


def test_the_session_ends(kernel: Kernel) -> None:
    kernel.check("%cluster end")
    assert kernel.check("%cluster").text == "no session\n"
    assert "there is no session" in kernel.run("%actor acct").text
