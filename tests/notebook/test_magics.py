"""The magics in a real IPython shell, in this process; nothing is started but where a test says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

import ipyactors
from ipyactors.api.actor import ActorClass
from ipyactors.api.actor_table import ActorTable
from ipyactors.api.remote import RemoteFunction
from ipyactors.ground import ids
from ipyactors.ground.options import OPTIONS, Place
from ipyactors.notebook import extension
from ipyactors.notebook.cells.cell_compiler import Definition
from ipyactors.notebook.magics import replies
from ipyactors.notebook.magics.flags import parse_line, without_comment
from ipyactors.notebook.magics.which_actor import find_actor
from ipyactors.wire.specs import ActorState, ActorStatus, Death, LossReason
from tests.support.fake_engine import fake_engine


@pytest.fixture
def shell() -> Iterator[Any]:
    running = InteractiveShell.instance()
    extension.load_ipython_extension(running)
    yield running
    extension.unload_ipython_extension(running)
    InteractiveShell.clear_instance()


def run(shell: Any, cell: str) -> Any:
    """Run a cell that must not fail; return its value."""
    done = shell.run_cell(cell)
    done.raise_error()
    return done.result


def error_of(shell: Any, cell: str) -> BaseException:
    done = shell.run_cell(cell)
    error = done.error_in_exec or done.error_before_exec
    assert error is not None
    assert isinstance(error, BaseException)
    return error


# -- comments --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ("--restart acct    # its process's gone", "--restart acct    "),
        ("# all of it", ""),
        ("\"#1\" '# 2' #3", "\"#1\" '# 2' "),
        ("--error \"ValueError('a # b')\"", "--error \"ValueError('a # b')\""),
        ("trace#1.json", "trace#1.json"),
    ],
)
def test_a_comment_ends_a_line(line: str, rest: str) -> None:
    assert without_comment(line) == rest


def test_each_magic_takes_a_comment(shell: Any) -> None:
    assert len(shell.run_line_magic("actors", " # all")) == 0
    run(shell, "%%remote --num-cpus 0  # a helper\ndef f(): return 1")
    assert repr(shell.user_ns["f"]) == "RemoteFunction(f, num_cpus=0)"
    assert "no session" in str(error_of(shell, "%timeline # it"))
    assert "no session" in str(error_of(shell, "%%on acct  # it\n1"))


# -- loading ---------------------------------------------------------------------------------------------------


def state_of(shell: Any) -> Any:
    magics = shell.magics_manager.magics
    return (
        {kind: frozenset(names) for kind, names in magics.items()},
        frozenset(shell.magics_manager.registry),
        {name: list(callbacks) for name, callbacks in shell.events.callbacks.items()},
        [type(one) for one in shell.configurables],
        list(shell.Completer.custom_matchers),
        frozenset(vars(shell.InteractiveTB)),
        frozenset(vars(shell.SyntaxTB)) - {"last_syntax_error"},
    )


def test_unloading_is_the_inverse_of_loading_and_both_may_be_repeated() -> None:
    shell = InteractiveShell.instance()
    before = state_of(shell)
    extension.load_ipython_extension(shell)
    once = state_of(shell)
    extension.load_ipython_extension(shell)
    assert state_of(shell) == once != before
    extension.unload_ipython_extension(shell)
    extension.unload_ipython_extension(shell)
    assert state_of(shell) == before
    InteractiveShell.clear_instance()


def test_the_package_is_an_extension() -> None:
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "ipyactors")
    assert shell.find_cell_magic("remote") is not None
    shell.run_line_magic("unload_ext", "ipyactors")
    assert shell.find_cell_magic("remote") is None
    InteractiveShell.clear_instance()


def test_loading_starts_nothing(shell: Any) -> None:
    assert not ipyactors.is_initialized()


# -- %%remote --------------------------------------------------------------------------------------------------


def test_functions_and_classes_become_remote_with_their_options(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(shell, "%%remote --max-restarts -1 --max-retries 0 --num-cpus 0.5\ndef f(): pass\n\nclass C: pass\nx = 3")
    function, cls = shell.user_ns["f"], shell.user_ns["C"]
    assert isinstance(function, RemoteFunction)
    assert isinstance(cls, ActorClass)
    assert (function._options.max_retries, function._options.num_cpus) == (0, 0.5)
    assert (cls._options.max_restarts, cls._options.num_cpus) == (-1, 0.5)
    assert shell.user_ns["x"] == 3
    assert capsys.readouterr().out == (
        "defined task f (num_cpus=0.5, max_retries=0)\ndefined actor class C (num_cpus=0.5, max_restarts=-1)\n"
    )


def test_running_the_cell_again_replaces_and_says_so(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(shell, "%%remote\ndef f(): return 1")
    first = shell.user_ns["f"]
    capsys.readouterr()
    run(shell, "%%remote\ndef f(): return 2")
    assert shell.user_ns["f"] is not first
    assert capsys.readouterr().out == "replaced task f\n"


def test_what_was_not_remote_before_is_defined_and_not_replaced(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(shell, "def f(): return 1")
    run(shell, "%%remote\ndef f(): return 2")
    assert capsys.readouterr().out == "defined task f\n"


def test_magics_inside_the_cell_and_shell_syntax_work(shell: Any) -> None:
    run(shell, "%%remote\nwhere = %pwd\ndef f(): return where")
    assert isinstance(shell.user_ns["where"], str)


def test_variables_are_taken_and_braces_left_alone(shell: Any) -> None:
    run(shell, "x = 'a name'; n = 7; errors = [KeyError]")
    line = "%%remote --resources {'x':2} --name $x --max-retries $n --retry-exceptions $errors"
    run(shell, f"{line}\ndef f(): return '$n'")
    options = shell.user_ns["f"]._options
    assert (options.resources, options.name, options.max_retries) == ({"x": 2}, "a name", 7)
    assert options.retry_exceptions == (KeyError,)
    assert shell.user_ns["f"]._get_target()() == "$n"
    assert "no variable 'm'" in str(error_of(shell, "%%remote --max-retries $m\ndef f(): pass"))


def test_exceptions_and_enums_stay_plain(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(shell, "%%remote\nimport enum\nclass MyError(Exception): pass\nclass Color(enum.Enum): RED = 1\nclass C: pass")
    assert issubclass(shell.user_ns["MyError"], Exception)
    assert shell.user_ns["Color"].RED.value == 1
    assert capsys.readouterr().out == (
        "left MyError plain, as exceptions and enums are\nleft Color plain, as exceptions and enums are\n"
        "defined actor class C\n"
    )


def test_what_cannot_be_remote_leaves_its_name_as_it_was(shell: Any) -> None:
    run(shell, "f = 5")
    for name in ("f", "g"):
        assert "is an async function" in str(error_of(shell, f"%%remote\nasync def {name}(): pass"))
    assert shell.user_ns["f"] == 5
    assert "g" not in shell.user_ns


def test_every_kind_of_value_is_read(shell: Any) -> None:
    shell.user_ns["MyError"] = type("MyError", (Exception,), {})
    run(shell, "%%remote --retry-exceptions OSError,MyError --num-returns streaming --name 'a name'\ndef f(): yield 1")
    options = shell.user_ns["f"]._options
    assert options.retry_exceptions == (OSError, shell.user_ns["MyError"])
    assert (options.num_returns, options.name) == ("streaming", "a name")
    run(shell, "%%remote --retry-exceptions\ndef f(): pass")
    assert shell.user_ns["f"]._options.retry_exceptions is True
    run(shell, "%%remote --lineage False\ndef f(): pass")
    assert shell.user_ns["f"]._options.lineage is False
    run(shell, "%%remote --get-if-exists --name=n --lifetime detached --memory 1e6\nclass C: pass")
    options = shell.user_ns["C"]._options
    assert (options.get_if_exists, options.name, options.lifetime, options.memory) == (True, "n", "detached", 1_000_000)


@pytest.mark.parametrize(
    ("line", "durable", "policy"),
    [
        ("--durable", "process", None),
        ("--durable=host", "host", None),
        ("--durable host --checkpoint calls=100", "host", ipyactors.every(calls=100)),
        ("--checkpoint seconds=2.5 --durable", "process", ipyactors.every(seconds=2.5)),
        ("--durable --checkpoint calls=100,seconds=5", "process", ipyactors.every(calls=100, seconds=5)),
        ("--durable --checkpoint every(calls=100,seconds=5)", "process", ipyactors.every(calls=100, seconds=5)),
        ("--durable --checkpoint 'calls=100, seconds=5'", "process", ipyactors.every(calls=100, seconds=5)),
        ("--durable --checkpoint $policy", "process", ipyactors.every(calls=3)),
        ("--durable False", False, None),
    ],
)
def test_durable_classes(shell: Any, line: str, durable: str, policy: Any) -> None:
    shell.user_ns["policy"] = ipyactors.every(calls=3)
    run(shell, f"%%remote {line}\ndef f(): pass\nclass C: pass")
    options = shell.user_ns["C"]._options
    assert (options.durable, options.checkpoint) == (durable, policy)
    assert isinstance(shell.user_ns["f"], RemoteFunction)


def test_a_durable_class_is_answered_with_what_was_said(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--durable --checkpoint calls=9 --checkpoint-store kv --num-checkpoints-to-keep 2"
    run(shell, f"%%remote {flags}\nclass C: pass")
    assert " ".join(capsys.readouterr().out.split()) == (
        "defined actor class C (durable=True, checkpoint=every(calls=9), checkpoint_store='kv', "
        "num_checkpoints_to_keep=2)"
    )


def test_help_shows_how_a_checkpoint_policy_is_written(shell: Any) -> None:
    text = " ".join(shell.find_cell_magic("remote").__doc__.split())
    assert "[--durable [WORD]] [--checkpoint calls=N|seconds=S] [--checkpoint-store TEXT]" in text
    assert "Here: calls=100 or seconds=5 or calls=100,seconds=5." in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--max-restarts 2", "--max-restarts is an option of a remote class"),
        ("--max-retries -2", "max_retries=-2: takes an int >= -1"),
        ("--max-retries many", "max_retries='many': takes an int"),
        ("--max-retires 2", "no option 'max_retires'. Did you mean 'max_retries'"),
        ("--max-retries 1 --max-retires 2", "Nothing was done"),
        ("max_retries=3", "Write --max-retries and its value instead of 'max_retries=3'"),
        ("-h", "%%remote? lists the options"),
        ("--durable cluster", "not available in this version; use 'host'"),
        ("--durable=disk", "durable='disk': takes True, False, 'process' or 'host'"),
        ("--durable --checkpoint 100", "write --checkpoint calls=100 or seconds=5 or calls=100,seconds=5"),
        ("--durable --checkpoint hours=1", "checkpoint='hours=1': takes every(calls=N), every(seconds=S)"),
        ("--durable --checkpoint calls=", "after %%remote, write --checkpoint calls=100"),
        ("--durable --checkpoint calls=25 seconds=3", "with a comma and no space: --checkpoint calls=25,seconds=3"),
        ("--durable --checkpoint calls=25, seconds=3", "with a comma and no space: --checkpoint calls=25,seconds=3"),
        ("--durable --checkpoint calls=0", "every(calls=0): calls takes an int >= 1"),
        ("--durable --checkpoint calls=n", "after %%remote, write --checkpoint calls=100"),
        ("--durable", "--durable is an option of a remote class"),
        ("--max-calls 1", "maxtasksperchild"),
        ("--retry-exceptions NoSuchError", "there is no 'NoSuchError' in this notebook"),
        ("--resources {'CPU':1}", "'CPU' is not given here but by the option num_cpus"),
    ],
)
def test_a_mistake_in_the_options_defines_nothing(shell: Any, line: str, words: str) -> None:
    error = error_of(shell, f"%%remote {line}\ny = 1\ndef f(): pass")
    assert isinstance(error, UsageError)
    assert words in str(error)
    assert "f" not in shell.user_ns
    assert "y" not in shell.user_ns


def test_a_cell_that_defines_nothing_is_told_so(shell: Any) -> None:
    assert "nothing to make remote" in str(error_of(shell, "%%remote\ny = 1"))


def test_a_definition_with_its_own_decorator_keeps_its_options(shell: Any) -> None:
    run(shell, "import ipyactors")
    run(shell, "%%remote\n@ipyactors.remote(max_retries=7)\ndef f(): pass")
    assert shell.user_ns["f"]._options.max_retries == 7
    error = error_of(shell, "%%remote --max-retries 1\n@ipyactors.remote\ndef f(): pass")
    assert isinstance(error, UsageError)
    assert "--max-retries would be lost" in str(error)


@pytest.mark.parametrize("wrong", ["def f(:", "await f()"])
def test_a_syntax_error_shows_the_user_s_line_alone(shell: Any, capsys: pytest.CaptureFixture[str], wrong: str) -> None:
    assert isinstance(error_of(shell, f"%%remote\ndef g(): pass\n{wrong}"), SyntaxError)
    shown = capsys.readouterr()
    assert wrong in shown.out + shown.err
    assert ".py" not in shown.out + shown.err


def test_a_syntax_error_is_one_and_has_no_effect(shell: Any) -> None:
    assert isinstance(error_of(shell, "%%remote\nz = 1\ndef f(:\n    pass"), SyntaxError)
    assert "z" not in shell.user_ns


def test_what_a_statement_raises_comes_through(shell: Any) -> None:
    assert isinstance(error_of(shell, "%%remote\ndef f(): pass\n1 / 0"), ZeroDivisionError)
    assert isinstance(shell.user_ns["f"], RemoteFunction)


def test_help_describes_every_option(shell: Any) -> None:
    text = shell.find_cell_magic("remote").__doc__
    for option in OPTIONS.values():
        if option.places & {Place.TASK, Place.ACTOR}:
            assert "--" + option.name.replace("_", "-") in text
            assert option.help.split()[0] in text


def test_help_is_headed_by_the_magic_as_it_is_written(shell: Any) -> None:
    assert "\n  %%remote [--num-cpus X]" in shell.find_cell_magic("remote").__doc__
    assert "\n  %kill [--namespace" in shell.find_line_magic("kill").__doc__


# -- the others ------------------------------------------------------------------------------------------------


def test_the_line_magics_say_what_is_wrong(shell: Any) -> None:
    assert "takes no arguments" in str(error_of(shell, "%actors all"))
    assert "there is no session" in str(error_of(shell, "%kill nobody"))
    assert "takes a number" in str(error_of(shell, "%remote_init --num-cpus many"))
    assert repr(run(shell, "%actors")) == "no actors"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%actor", "%actor takes ACTOR, which is missing"),
        ("%actor acct one", "%actor has no use for 'one'. It takes ACTOR, --namespace, --state, --checkpoints, --log"),
        ("%actor acct --sate", "%actor has no use for '--sate'. Did you mean --state?"),
        ("%actor acct --log=many", "%actor: --log takes a number, not 'many'"),
        ("%actor acct --log many", "%actor has no use for 'many'. It takes ACTOR"),
        ("%actor 'acct", "%actor: there is no closing quotation mark in 'acct"),
        ("%kill acct --namespace", "%kill: --namespace takes TEXT, which is missing"),
        ("%cluster stop", "%cluster: command takes config or end, not 'stop'"),
        ("%chaos nope", "%chaos: WHAT takes kill, exit, segfault,"),
        ("%chaos kill acct --how hard", "%chaos: --how takes SIGKILL or SIGTERM, not 'hard'"),
        ("%chaos kill one two", "%chaos: SECONDS takes a number, not 'two'"),
        ("%chaos kill acct --du deposit", "%chaos: ambiguous option: --du could match --during, --duration"),
        ("%timeline a.json b.json", "%timeline has no use for 'b.json'. It takes FILE, --actor."),
        ("%remote_init one", "%remote_init has no use for 'one'"),
        ("%upgrade", "%upgrade takes ACTOR, which is missing"),
        ("%checkpoints", "%checkpoints takes ACTOR, which is missing"),
        ("%%on\n1", "%%on takes ACTOR, which is missing"),
        ("%%task -o\n1", "%%task: -o takes NAME, which is missing"),
        ("%%task --name 'a\n1", "%%task: there is no closing quotation mark in --name 'a"),
    ],
)
def test_what_a_line_lacks_or_has_too_much_is_said_in_one_shape(shell: Any, line: str, words: str) -> None:
    error = error_of(shell, line)
    assert isinstance(error, UsageError)
    assert words in str(error)
    name = line.split()[0]
    assert str(error).endswith(f" Nothing was done; {name}? tells more.")
    assert "\n" not in str(error)


@pytest.mark.parametrize("line", ["--log acct", "acct --log", "--log 20 acct", "--log --state acct", "acct --log=20"])
def test_an_option_that_may_stand_alone_takes_no_word_that_is_not_of_its_kind(shell: Any, line: str) -> None:
    given = parse_line(shell.find_line_magic("actor"), line)
    assert (given.actor, given.log) == ("acct", 20)


def test_help_of_a_task_does_not_speak_of_actors(shell: Any) -> None:
    text = " ".join(shell.find_cell_magic("task").__doc__.partition("options:")[2].split())
    assert "what messages call the task" in text
    assert "actor" not in text
    assert "get_actor() finds the actor" in " ".join(shell.find_cell_magic("remote").__doc__.split())


def test_what_cannot_run_elsewhere_leaves_the_name_as_it_was(shell: Any) -> None:
    for body in ("!ls", "%time 1"):
        words = str(error_of(shell, f"%%task -o r\n{body}"))
        assert "work in the notebook's own process" in words
        assert "Nothing was sent, and r is unchanged." in words
    assert "unchanged" not in str(error_of(shell, "%%task\n!ls"))


def status(which: str, name: str = "", namespace: str = "mine", state: ActorState = ActorState.ALIVE) -> ActorStatus:
    actor_id = b"a" + bytes.fromhex(which).ljust(15, b"0")
    return ActorStatus(actor_id, state, name=name, namespace=namespace, class_name="C")


def test_what_is_to_be_killed_is_found_by_name_by_id_and_by_variable() -> None:
    acct, other, nameless = status("aa01", "acct"), status("aa02", "x", "theirs"), status("bb03")
    old = status("cc04", "old", state=ActorState.DEAD)
    actors = [acct, other, nameless, old]

    def find(which: str, namespace: str = "mine") -> ActorStatus:
        return find_actor(which, namespace, actors, {"variable": "acct"})

    assert find("acct") is acct
    assert find("$variable") is acct
    assert find("x", "theirs") is other
    assert find(ids.short(nameless.actor_id)) is find("61bb") is find(nameless.actor_id.hex()) is nameless
    for which, words in (
        ("x", "is in another namespace, 'theirs'.*--namespace theirs"),
        ("61aa", "the ids of 2 actors begin with '61aa'.*Nothing was done"),
        ("old", "C 'old' is dead already"),
        ("nobody", r"no live actor has the name nobody .*%actors shows"),
        ("$missing", "no live actor"),
    ):
        with pytest.raises(ipyactors.exceptions.ActorNotFoundError, match=words):
            find(which)


def test_a_variable_whose_actor_is_dead_is_said_to_hold_one(shell: Any) -> None:
    with fake_engine():
        gone = ipyactors.remote(type("Gone", (), {})).remote()
        actor_id = gone._ipyactors_client.actor_id
    dead = ActorStatus(actor_id, ActorState.DEAD, class_name="Gone", death=Death(LossReason.KILLED, signal=9))
    for word in ("gone", "$gone"):
        with pytest.raises(
            ipyactors.exceptions.ActorNotFoundError, match=rf"^Gone {ids.short(actor_id)} is dead already: .*SIGKILL\. "
        ):
            find_actor(word, "mine", [dead], {"gone": gone})


def test_one_that_has_ended_is_found_if_no_live_one_is_meant() -> None:
    first, last = (status(which, "acct", state=ActorState.DEAD) for which in ("aa01", "aa02"))
    live, other = status("bb01", "cache"), status("bb02", "cache", state=ActorState.DEAD)
    actors = [first, last, live, other]
    assert find_actor("acct", "mine", actors, {}, dead_too=True) is last
    assert find_actor("cache", "mine", actors, {}, dead_too=True) is live
    assert find_actor(other.actor_id.hex(), "mine", actors, {}, dead_too=True) is other
    with pytest.raises(ipyactors.exceptions.ActorNotFoundError, match="the ids of 2 actors begin"):
        find_actor("61aa", "mine", actors, {}, dead_too=True)


def test_a_namespace_is_shown_where_it_is_another_one() -> None:
    here = ActorStatus(b"a1", ActorState.ALIVE, class_name="Account", name="acct", namespace="mine")
    there = ActorStatus(b"a2", ActorState.ALIVE, class_name="Account", name="acct", namespace="<other>")
    headings, first, second = repr(ActorTable([here, there], "mine")).splitlines()
    assert headings.split()[:3] == ["actor", "namespace", "class"]
    assert first.split()[:3] == ["acct", "Account", "●"]
    assert second.split()[:3] == ["acct", "<other>", "Account"]
    assert "&lt;other&gt;" in ActorTable([here, there], "mine")._repr_mimebundle_()["text/html"]
    for shown in ActorTable([here], "mine")._repr_mimebundle_().values():
        assert "namespace" not in shown
        assert "mine" not in shown


def test_what_a_durable_actor_survives_is_shown_where_there_is_one() -> None:
    plain = ActorStatus(b"a1", ActorState.ALIVE, class_name="Account", name="acct")
    kept = ActorStatus(b"a2", ActorState.ALIVE, class_name="Account", name="kept", level="host")
    headings, first, second = repr(ActorTable([plain, kept], "")).splitlines()
    assert headings.split()[:4] == ["actor", "class", "durable", "state"]
    assert first.split()[:3] == ["acct", "Account", "●"]
    assert second.split()[:4] == ["kept", "Account", "host", "●"]
    assert "durable" not in repr(ActorTable([plain], ""))


def test_a_dead_actor_has_no_restarts_left() -> None:
    alive = ActorStatus(b"a1", ActorState.ALIVE, class_name="Account", name="one", restarts_left=-1)
    dead = ActorStatus(b"a2", ActorState.DEAD, class_name="Account", name="two", restarts_left=-1)
    _, first, second = repr(ActorTable([alive, dead], "")).splitlines()
    assert "no limit" in first
    assert "no limit" not in second


def test_classes_of_a_name_are_told_apart_by_their_definitions() -> None:
    definition = Definition("Counter", is_class=True, source="class Counter: 'now'")

    def actor(name: str, digest: bytes = b"other", level: str = "", **more: Any) -> ActorStatus:
        facts = {"state": ActorState.ALIVE, "class_name": "Counter", "source_digest": digest, **more}
        return ActorStatus(b"a", name=name, level=level, **facts)

    def said(
        *actors: ActorStatus, before: Any = None, variables: Mapping[bytes, str] = {}, durable: bool = False
    ) -> str:
        options = {definition: {"durable": True} if durable else {}}
        words = replies.defined([definition], options, (), {"Counter": before}, actors, variables)
        return " ".join(words.split()).replace(" (durable=True)", "")

    old = ipyactors.remote(type("Counter", (), {}))
    same, first, second = actor("same", definition.digest), actor("first"), actor("second")
    dead, plain, stranger = actor("x", state=ActorState.DEAD), actor("plain", b""), actor("x", class_name="Other")
    told = "actor class Counter, and the class before it is still run by Counter 'first', Counter 'second'"
    assert said(same, first, dead, second, plain, stranger, before=old) == f"replaced {told}"
    earlier = "defined actor class Counter, and an earlier Counter is still run by Counter"
    assert said(first, same) == f"{earlier} 'first'"
    assert said(same, plain, before=old) == "replaced actor class Counter"
    lasting = actor("first", level="process")
    assert said(lasting) == said(first, durable=True) == f"{earlier} 'first'"
    assert said(lasting, durable=True) == f"{earlier} 'first'; to change that: %upgrade first"
    assert said(lasting, second, durable=True).endswith("to change that, for each: %upgrade NAME")
    nameless = actor("", level="host")
    assert said(nameless, durable=True).endswith("; to change that: the handle's upgrade(Counter)")
    assert said(nameless, durable=True, variables={b"a": "acct"}).endswith("; to change that: %upgrade acct")
    id_of_old = old._get_definition().definition_id
    assert said(actor("plain", b"", definition_id=id_of_old), before=old).endswith("still run by Counter 'plain'")


def test_the_table_tells_of_a_death_in_one_sentence() -> None:
    long = (
        "its state could not be brought back: R.t (lsn 1) did 1.5, and now it is 2.5. What it does may depend. Mark it."
    )
    dead = ActorStatus(b"a1", ActorState.DEAD, class_name="R", death=Death(LossReason.RECOVERY_FAILED, detail=long))
    for shown in ActorTable([dead], "")._repr_mimebundle_().values():
        assert "and now it is 2.5" in shown
        assert "What it does" not in shown


def test_the_table_tells_why_a_durable_actor_has_ended_its_process() -> None:
    said = "P.f (lsn 1): undone, because no checkpoint could be made. And more of it."
    death = Death(LossReason.EXITED, exit_code=75, last_output=("earlier", said))
    back = ActorStatus(b"a1", ActorState.ALIVE, class_name="P", level="process", incarnation=1, death=death)
    assert repr(ActorTable([back], "")).endswith(
        "exited with code 75: P.f (lsn 1): undone, because no checkpoint could be made"
    )
    plain = ActorStatus(b"a1", ActorState.ALIVE, class_name="P", incarnation=1, death=death)
    assert repr(ActorTable([plain], "")).endswith("exited with code 75")


def test_a_cell_that_is_run_again_unchanged_accuses_no_actor(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(shell, "%remote_init --num-cpus 2")
    try:
        cell = "%%remote --durable --max-concurrency 1\nclass Purse:\n    def get(self): return 1"
        run(shell, cell)
        run(shell, "import ipyactors\npurse = Purse.options(name='p1').remote()\nipyactors.get(purse.get.remote())")
        capsys.readouterr()
        for same in (cell, cell + "  # a comment", cell):
            run(shell, same)
            assert capsys.readouterr().out == "replaced actor class Purse (max_concurrency=1, durable=True)\n"
        run(shell, cell.replace("return 1", "return 2"))
        assert "still run by Purse 'p1'; to change that: %upgrade p1" in " ".join(capsys.readouterr().out.split())
        run(shell, "purse.upgrade(Purse)")
        run(shell, cell.replace("return 1", "return 2"))
        assert "still run" not in capsys.readouterr().out
        run(shell, cell)
        assert "still run by Purse 'p1'" in " ".join(capsys.readouterr().out.split())
        run(shell, cell + "\n" + cell.partition("\n")[2].replace("return 1", "return 2"))
        assert "still run" not in capsys.readouterr().out, "the last definition of a name counts"
    finally:
        ipyactors.shutdown()


def test_a_checkpointable_that_lacks_methods_is_one_line(shell: Any) -> None:
    run(shell, "import ipyactors.actor")
    error = error_of(shell, "%%remote\nclass K(ipyactors.actor.Checkpointable):\n    def f(self): return 1")
    assert isinstance(error, UsageError)
    assert "K is a Checkpointable and cannot be made remote: it does not implement" in str(error)


def test_a_long_line_is_broken_between_words() -> None:
    definition = Definition("Counter", is_class=True)
    old = ipyactors.remote(type("Counter", (), {}))
    names = [f"a_rather_long_name_{number}" for number in range(9)]
    actors = [
        ActorStatus(b"a", ActorState.ALIVE, class_name="Counter", name=name, source_digest=b"1") for name in names
    ]
    said = replies.defined([definition], {definition: {}}, (), {"Counter": old}, actors)
    lines = said.splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= replies.WIDTH
    assert all(line.startswith("    ") for line in lines[1:])
    assert " ".join(line.strip() for line in lines).endswith(", ".join(f"Counter '{name}'" for name in names))
    option = {"name": "x" * 200}
    [_, long, *_] = replies.defined([definition], {definition: option}, (), {}, ()).splitlines()
    assert "x" * 200 in long


def test_actors_are_shown_killed_and_brought_back(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(shell, "%remote_init --num-cpus 2")
    try:
        cell = "%%remote --max-restarts 1 --max-task-retries -1\nclass Counter:\n    def get(self): return 1"
        run(shell, cell)
        run(shell, "import ipyactors\nc = Counter.options(name='c1').remote()\nipyactors.get(c.get.remote())")
        table = run(shell, "%actors")
        assert repr(table).splitlines()[1].split() == ["c1", "Counter", "●", "alive", "0", "1"]
        assert "<table>" in table._repr_mimebundle_()["text/html"]
        namesake = "@ipyactors.remote\nclass Counter: pass\nother = Counter.remote()\ndel Counter"
        run(shell, "mine = Counter\n" + namesake + "\nCounter = mine")
        capsys.readouterr()
        run(shell, cell.replace("return 1", "return 2"))
        assert capsys.readouterr().out == (
            "replaced actor class Counter (max_restarts=1, max_task_retries=-1), and the class before\n"
            "    it is still run by Counter 'c1'\n"
        )
        assert ipyactors.init() is not None
        run(shell, "%remote_init --quiet")
        assert "log_to_driver had no effect" in capsys.readouterr().err
        run(shell, "%kill c1 --restart\nipyactors.get(c.get.remote())")
        assert run(shell, "%actors")[0].incarnation == 1
        run(shell, "%kill c1")
        with pytest.raises(ipyactors.exceptions.ActorDiedError):
            run(shell, "ipyactors.get(c.get.remote())")
        assert "Counter 'c1' is dead already" in str(error_of(shell, "%kill c1"))
        shown = repr(run(shell, "%actors")).splitlines()
        [unnamed] = [line.split()[0] for line in shown[1:] if " dead " not in line]  # it may be starting still
        run(shell, f"%kill {unnamed}")
        run(shell, "held = mine.remote()\n%kill held")
        with pytest.raises(ipyactors.exceptions.ActorDiedError):
            run(shell, "ipyactors.get(held.get.remote())")
    finally:
        ipyactors.shutdown()


def test_what_a_class_cannot_be_is_one_line(shell: InteractiveShell) -> None:
    with pytest.raises(UsageError, match=r"max_concurrency=1|max-concurrency"):
        run(shell, "%%remote --durable\nclass C:\n    async def f(self): pass")
    assert "C" not in shell.user_ns or not hasattr(shell.user_ns["C"], "remote")
