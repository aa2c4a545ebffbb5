"""``%chaos``: each fault by a line, what it shows alone, and what a mistake costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

import ipyactors as ia
from ipyactors.api.chaos_storm import KINDS
from ipyactors.api.chaos_targets import Fault
from ipyactors.notebook import extension
from ipyactors.notebook.magics.chaos_magic import ChaosMagics
from ipyactors.notebook.magics.chaos_table import ChaosTable
from ipyactors.wire.events import Event, EventKind


@pytest.fixture
def shell() -> Iterator[Any]:
    running = InteractiveShell.instance()
    extension.load_ipython_extension(running)
    yield running
    extension.unload_ipython_extension(running)
    InteractiveShell.clear_instance()


@pytest.fixture
def acct(shared_runtime: Any, shell: Any) -> Iterator[Any]:
    @ia.remote(durable=True)
    class Account:
        def __init__(self) -> None:
            self.balance = 0

        def deposit(self, amount: int) -> int:
            self.balance += amount
            return self.balance

    account = Account.options(name="acct").remote()
    assert ia.get(account.deposit.remote(1)) == 1
    shell.user_ns["mine"] = account
    yield account
    ia.chaos.clear()
    ia.kill(account)


def chaos(shell: Any, line: str) -> Any:
    return shell.run_line_magic("chaos", line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("exit acct --after deposit --nth 3 --code 3", "os._exit(3) after the 3rd call of deposit"),
        ("kill mine --before", "SIGKILL before the next call"),
        ("kill acct --how SIGTERM --during deposit --times 2", "SIGTERM during the next 2 calls of deposit"),
        ("segfault acct --during deposit", "SIGSEGV during the next call of deposit"),
        ("fail acct --error \"ValueError('no')\"", "raises ValueError('no') instead of the next call"),
        ("freeze acct 0.2 --before deposit", "freezes for 0.2 s before the next call of deposit"),
        ("slow acct 0.2", "takes 0.2 s more for each call"),
        ("drop_replies acct --times 2", "loses the reply of the next 2 calls"),
        ("duplicate_replies acct", "sends twice the reply of the next call"),
        ("delay_replies acct 0.5", "holds back for 0.5 s the reply of the next call"),
        ("fill_disk acct", "finds no space left for the next checkpoint"),
        ("fill-disk acct --times 2", "finds no space left for the next 2 checkpoints"),
    ],
)  # fmt: skip
def test_each_fault_by_a_line(shell: Any, acct: Any, line: str, words: str) -> None:
    ordered = chaos(shell, line)
    assert repr(ordered) == f"Fault(Account 'acct': {words})"
    assert ia.chaos.pending() == [ordered]


def test_now_shows_nothing_and_alone_it_shows_what_was_done(
    shell: Any, acct: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chaos(shell, "kill acct") is None
    assert ia.get(acct.deposit.remote(1)) == 2
    chaos(shell, "exit acct --during deposit --code 3")
    shown = repr(chaos(shell, ""))
    assert shown.startswith("ordered:\n  Account 'acct'  os._exit(3) during the next call of deposit\ninjected:\n")
    assert shown.endswith("\n  acct  SIGKILL")
    chaos(shell, "clear acct")
    assert capsys.readouterr().out == "1 order cleared\n"
    chaos(shell, "clear")
    assert capsys.readouterr().out == "0 orders cleared\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("exit --before deposit acct", "os._exit(1) before the next call of deposit"),
        ("freeze --before deposit acct 2", "freezes for 2 s before the next call of deposit"),
        ("--nth 3 exit --before deposit acct", "os._exit(1) before the 3rd call of deposit"),
    ],
)
def test_a_flag_may_stand_before_the_target(shell: Any, acct: Any, line: str, words: str) -> None:
    assert repr(chaos(shell, line)) == f"Fault(Account 'acct': {words})"


def test_seconds_of_fill_disk_stand_in_the_same_place_as_in_a_script(shell: Any, acct: Any) -> None:
    by_line, by_call = chaos(shell, "fill_disk acct 600"), ia.chaos.fill_disk(acct, 600)
    assert by_call is not None
    assert by_line.what == by_call.what
    assert "600 s" in by_line.what


def test_tab_offers_what_the_fault_takes(shell: Any, acct: Any) -> None:
    def offered(line: str) -> set[str]:
        return {one.text for one in shell.Completer.completions(line, len(line)) if one.text.startswith("--")}

    assert offered("%chaos storm --") == {"--seed", "--rate", "--duration", "--kinds"}
    assert offered("%chaos kill-head --") == set()
    assert offered("%chaos fill_disk acct --") == {"--times"}
    assert "--seed" in offered("%chaos --")


def test_a_storm_may_have_one_target(shell: Any, acct: Any) -> None:
    other = ia.remote(type("Other", (), {})).remote()
    report = chaos(shell, "storm acct --seed 3 --rate 40 --duration 0.5 --kinds slow")
    assert set(report.targets) <= {"Account 'acct'"}
    assert report.faults.total() + report.spared > 0
    ia.kill(other)


def test_its_help_breaks_no_word_and_says_how_long_a_storm_takes() -> None:
    told = ChaosMagics.chaos.__doc__ or ""
    assert "10 s" in told
    assert all(kind in told.replace(",", " ").split() for kind in KINDS)


def test_a_remote_function_is_a_target(shell: Any, acct: Any) -> None:
    @ia.remote
    def double(number: int) -> int:
        return 2 * number

    shell.user_ns["double"] = double
    assert chaos(shell, "kill double --during").what == "SIGKILL during the next attempt"
    assert ia.get(double.remote(4)) == 8


def test_the_rest(shell: Any, acct: Any) -> None:
    ia.get(ia.checkpoint(acct))
    assert len(chaos(shell, "corrupt_checkpoint acct")) > 10
    chaos(shell, "kill-head")
    report = chaos(shell, "storm --seed 3 --rate 40 --duration 0.3 --kinds freeze,slow")
    assert set(report.faults) <= {"freeze", "slow"}
    assert ia.get(acct.deposit.remote(1)) == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rain", "WHAT takes kill, exit, .*, not 'rain'"),
        ("kill --before acct", "'acct' was taken for the METHOD of --before. Write the target first: %chaos kill TAR"),
        ("kill double", r"double is a function .*: write --before, --during or --after, .* Nothing was done"),
        ("kill_node $nowhere", "there is no variable 'nowhere' in this notebook. Nothing was done"),
        ("kill_node 'zz'", "begins with 'zz'"),
        ("kill", "takes a target"),
        ("kill nobody", "no live actor has the name nobody"),
        ("kill acct --code 3", "no use for --code"),
        ("kill acct 3", "no use for SECONDS"),
        ("kill acct --before depost", "has no method 'depost'. Did you mean 'deposit'"),
        ("freeze acct", "for how long"),
        ("fail acct", "takes --error"),
        ("fail acct --error 1/0", "ZeroDivisionError"),
        ("kill_node zz", "no live machine"),
        ("corrupt_checkpoint acct", "has no checkpoint yet. Nothing was damaged"),
        ("storm --kinds rain", "there is no 'rain'"),
        ("storm nobody", "no live actor has the name nobody"),
        ("storm double", "storm takes actors; abs is a function. Nothing was done"),
        ("kill_head acct", "kill_head takes no target: it kills the session's control plane. Nothing was done"),
        ("kill acct --nth 3", "--nth and --times count calls: write --before, --during or --after too. Nothing"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_done(shell: Any, acct: Any, line: str, words: str) -> None:
    shell.user_ns["double"] = ia.remote(abs)
    with pytest.raises(UsageError, match=words):
        chaos(shell, line)
    assert ia.chaos.pending() == []


def test_a_machine_is_named_by_a_variable_too(shell: Any, acct: Any) -> None:
    shell.user_ns["nid"] = ia.nodes()[0]["NodeID"]
    for line in ("kill_node $nid", f"kill-node '{shell.user_ns['nid'][:12]}'"):
        with pytest.raises(UsageError, match="is the session's first one, with which it would end"):
            chaos(shell, line)


def test_without_a_session_nothing_can_go_wrong(shell: Any) -> None:
    ia.shutdown()
    try:
        with pytest.raises(UsageError, match="there is no session"):
            chaos(shell, "")
    finally:
        ia.init(num_cpus=2)


def test_the_table_is_the_same_as_text_and_as_html() -> None:
    ordered = [Fault(1, "Account 'acct'", "SIGKILL before the next call")]
    events = [Event(EventKind.INJECTED, 1.0, name=f"a<{k}>", detail="SIGKILL", injected=True) for k in range(25)]
    shown = ChaosTable(ordered, [*events, Event(EventKind.ACTOR_DIED, 2.0)])._repr_mimebundle_()
    lines = shown["text/plain"].split("\n")
    assert lines[:3] == ["ordered:", "  Account 'acct'  SIGKILL before the next call", "injected (the last 20 of 25):"]
    assert lines[3] == "  a<5>   SIGKILL"
    assert len(lines) == 23
    html = shown["text/html"]
    assert "Account &#x27;acct&#x27;" in html
    assert html.count("<tr>") == 23
    empty = ChaosTable([], [])._repr_mimebundle_()
    assert empty["text/plain"] == "no faults are ordered, and none were injected"
    assert empty["text/html"] == "<em>no faults are ordered, and none were injected</em>"


def test_help_tells_all_and_tab_offers_it(shell: Any, acct: Any) -> None:
    text = shell.find_line_magic("chaos").__doc__
    for word in ("--before", "--during", "--after", "--nth", "--kinds", "corrupt_checkpoint", "%chaos storm"):
        assert word in text
    _, offered = shell.complete("kil", "%chaos kil", 10)
    assert {"kill", "kill_head", "kill_node"} <= set(offered)
    _, offered = shell.complete("dep", "%chaos kill acct --before dep", 29)
    assert "deposit" in offered
