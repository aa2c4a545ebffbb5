"""Remote functions: signatures, options, and definitions by value, recursive ones included."""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import Iterator

import cloudpickle
import pytest

import ipyactors
from ipyactors.api import signatures
from ipyactors.exceptions import DirectCallError, OptionError, SerializationError
from ipyactors.wire import serialize
from tests.support.fake_engine import FakeEngine, fake_engine


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as one:
        yield one


def in_main(source: str, **names: object) -> dict[str, object]:
    """Run source code as a notebook would: in a ``__main__`` of its own, by value when it is sent."""
    scope: dict[str, object] = {"__name__": "__main__", "ipyactors": ipyactors, **names}
    exec(source, scope)
    return scope


# -- calling ---------------------------------------------------------------------------------------------------


def test_call(engine: FakeEngine) -> None:
    @ipyactors.remote
    def add(x: int, y: int = 2) -> int:
        """Add."""
        return x + y

    assert ipyactors.get(add.remote(1)) == 3
    assert ipyactors.get([add.remote(1, 1), add.remote(x=4, y=4)]) == [2, 8]
    assert (add.__name__, add.__doc__) == ("add", "Add.")
    assert repr(add) == "RemoteFunction(add)"
    assert list(inspect.signature(add).parameters) == ["x", "y"]
    assert engine.templates[0].demand == {"CPU": 10_000}


def test_graphs_of_calls_are_not_there_and_said_so(engine: FakeEngine) -> None:
    for target in (lambda: 1, type("C", (), {"m": lambda self: 1})):
        made = ipyactors.remote(target)
        assert not hasattr(made, "bind")
        with pytest.raises(AttributeError, match=r"\.bind\) are not supported"):
            made.bind()
        with pytest.raises(AttributeError, match="has no attribute 'missing'"):
            made.missing
    with pytest.raises(AttributeError, match=r"\.bind\) are not supported"):
        made.remote().m.bind()


def test_every_way_to_decorate(engine: FakeEngine) -> None:
    def one() -> int:
        return 1

    for decorated in (
        ipyactors.remote(one),
        ipyactors.remote()(one),
        ipyactors.remote(num_cpus=2)(one),
        ipyactors.remote(functools.partial(one)),
    ):
        assert ipyactors.get(decorated.remote()) == 1
    assert engine.templates[2].demand == {"CPU": 20_000}


def test_refs_arrive_as_values_at_the_top_and_as_refs_inside(engine: FakeEngine) -> None:
    @ipyactors.remote
    def look(value, inside):
        return value, ipyactors.get(inside[0])

    ref = ipyactors.put("v")
    assert ipyactors.get(look.remote(ref, [ref])) == ("v", "v")


def test_num_returns(engine: FakeEngine) -> None:
    @ipyactors.remote
    def many(count):
        return list(range(count))

    @ipyactors.remote
    def items():
        yield from "ab"

    assert ipyactors.get(many.options(num_returns=2).remote(2)) == [0, 1]
    assert many.options(num_returns=0).remote(0) is None
    assert [ipyactors.get(ref) for ref in items.remote()] == ["a", "b"]


def test_options_do_not_change_the_original(engine: FakeEngine) -> None:
    @ipyactors.remote(max_retries=1)
    def f():
        return None

    f.options(max_retries=7, name="seven").options(retry_exceptions=[ValueError]).remote()
    f.remote()
    changed, original = engine.templates
    assert (changed.max_retries, changed.name) == (7, "seven")
    assert pickle.loads(changed.retry_on) == (ValueError,)
    assert (original.max_retries, original.name, original.retry_on) == (1, "f", b"")
    assert changed.definition is original.definition
    f.options(lineage=False).remote()
    assert [template.lineage for template in engine.templates] == [True, True, False]


@pytest.mark.parametrize("call", [lambda f: f(1), lambda f: f.options(num_cpus=1)(1)])
def test_direct_call(call) -> None:
    @ipyactors.remote
    def f(x):
        return x

    with pytest.raises(DirectCallError, match=r"use .*f\.remote"):
        call(f)


@pytest.mark.parametrize(
    ("target", "words"),
    [(3, "takes a function or a class"), ("f", "takes a function or a class"), (None, "takes a function or a class")],
)
def test_what_cannot_be_remote(target, words) -> None:
    with pytest.raises(TypeError, match=words):
        ipyactors.remote(target)


def test_async_functions_and_remote_ones_are_refused() -> None:
    async def f():
        return None

    with pytest.raises(TypeError, match="is an async function"):
        ipyactors.remote(f)
    with pytest.raises(TypeError, match="is remote already"):
        ipyactors.remote(ipyactors.remote(lambda: 1))
    with pytest.raises(TypeError, match="one function or class"):
        ipyactors.remote(lambda: 1, lambda: 2)


def test_wrong_options_fail_when_they_are_given() -> None:
    with pytest.raises(OptionError, match="max_retries=-5"):
        ipyactors.remote(max_retries=-5)
    with pytest.raises(OptionError, match="not of a remote function"):
        ipyactors.remote(max_restarts=1)(lambda: 1)
    with pytest.raises(OptionError, match="Did you mean 'num_cpus'"):
        ipyactors.remote(num_cpu=1)
    with pytest.raises(OptionError, match="max_calls"):
        ipyactors.remote(max_calls=1)


# -- signatures ------------------------------------------------------------------------------------------------

SIGNATURES = [
    ("", ""),
    ("x, y=2", "x, y=2"),
    ("x=[], *, y=..., z=1e999, k=10**9999", "x=..., *, y=..., z=..., k=..."),
    ("x, /, y", "x, /, y"),
    ("x, /", "x, /"),
    ("x, y=1, /, *, z", "x, y=1, /, *, z"),
    ("*args, z=1, **more", "*args, z=1, **more"),
    ("x, /, *args, k", "x, /, *args, k"),
    ("x, *, k=1, j", "x, *, k=1, j"),
]


@pytest.mark.parametrize(("given", "text"), SIGNATURES)
def test_signature_text(given: str, text: str) -> None:
    scope: dict[str, object] = {}
    exec(f"def f({given}): pass", scope)
    assert signatures.describe(signatures.signature_of(scope["f"])) == text
    signatures.make_check("f", text)


WRONG_CALLS = [
    ((), {}, "missing 1 required positional argument: 'x'"),
    ((1, 2, 3), {}, "takes from 1 to 2 positional arguments but 3"),
    ((1,), {"z": 1}, "got an unexpected keyword argument 'z'"),
    ((1,), {"x": 1}, "got multiple values for argument 'x'"),
    ((1, 2), {"k": 1, "j": 2}, "got an unexpected keyword argument 'j'"),
]


@pytest.mark.parametrize(("args", "kwargs", "words"), WRONG_CALLS)
def test_wrong_arguments_are_never_sent(engine: FakeEngine, args, kwargs, words: str) -> None:
    @ipyactors.remote
    def f(x, y=1, *, k=0):
        return x, y, k

    with pytest.raises(TypeError, match=words) as caught:
        f.remote(*args, **kwargs)
    assert str(caught.value).startswith("f() ")
    assert not engine.calls


def test_builtins_without_a_signature_take_anything() -> None:
    assert signatures.describe(signatures.signature_of(type)) == "*args, **kwargs"


# -- definitions -----------------------------------------------------------------------------------------------


def test_a_definition_is_pickled_once_with_the_globals_of_the_first_call(engine: FakeEngine) -> None:
    scope = in_main("SCALE = 2\n@ipyactors.remote\ndef f(x):\n    return x * SCALE\n")
    f = scope["f"]
    first = f.remote(1)
    scope["SCALE"] = 100
    assert ipyactors.get([first, f.remote(1)]) == [2, 2]
    assert len(engine.definitions) == 1


def test_a_function_may_call_itself(engine: FakeEngine) -> None:
    source = """
@ipyactors.remote
def fib(n):
    return n if n < 2 else sum(ipyactors.get([fib.remote(n - 1), fib.remote(n - 2)]))
"""
    assert ipyactors.get(in_main(source)["fib"].remote(7)) == 13
    assert len(engine.definitions) == 1, "a nested call sends the very same definition"


def test_functions_may_call_each_other(engine: FakeEngine) -> None:
    source = """
@ipyactors.remote
def is_even(n):
    return True if n == 0 else ipyactors.get(is_odd.remote(n - 1))

@ipyactors.remote
def is_odd(n):
    return False if n == 0 else ipyactors.get(is_even.options(max_retries=1).remote(n - 1))
"""
    scope = in_main(source)
    assert ipyactors.get(scope["is_even"].remote(10)) is True
    assert ipyactors.get(scope["is_odd"].remote(10)) is False
    assert len(engine.definitions) == 2, "each has one definition, whoever sends it"


def test_a_function_may_start_actors_and_hold_handles(engine: FakeEngine) -> None:
    source = """
@ipyactors.remote
class Counter:
    def __init__(self):
        self.n = 0
    def add(self, k):
        self.n += k
        return self.n

shared = Counter.remote()

@ipyactors.remote
def work():
    own = Counter.remote()
    ipyactors.get(own.add.remote(5))
    return ipyactors.get([own.add.remote(1), shared.add.remote(2)])
"""
    work = in_main(source)["work"]
    assert ipyactors.get(work.remote()) == [6, 2]
    assert work._get_definition().payload.actor_ids, "the definition names the handle that it carries"


def test_a_remote_function_travels_as_an_argument(engine: FakeEngine) -> None:
    source = """
@ipyactors.remote
def double(x):
    return 2 * x

@ipyactors.remote
def apply(function, x):
    return ipyactors.get(function.remote(x))
"""
    scope = in_main(source)
    assert ipyactors.get(scope["apply"].remote(scope["double"], 4)) == 8
    assert ipyactors.get(scope["apply"].remote(scope["double"].options(num_cpus=2), 4)) == 8
    assert len(engine.definitions) == 2
    copy = pickle.loads(cloudpickle.dumps(scope["double"]))
    assert copy._get_definition() == scope["double"]._get_definition()
    with pytest.raises(TypeError, match="missing 1 required"):
        copy.remote()


def test_refs_in_globals_are_named_by_the_definition(engine: FakeEngine) -> None:
    scope = in_main("@ipyactors.remote\ndef f():\n    return ipyactors.get(kept)\n", kept=ipyactors.put(9))
    assert ipyactors.get(scope["f"].remote()) == 9
    [spec] = scope["f"]._get_definition().payload.refs
    assert spec.object_id == scope["kept"].binary()


def test_defining_again_makes_another_definition(engine: FakeEngine) -> None:
    for result in (1, 2):
        f = in_main(f"@ipyactors.remote\ndef f():\n    return {result}\n")["f"]
        assert ipyactors.get(f.remote()) == result
    assert len(engine.definitions) == 2


def test_what_cannot_be_pickled_is_named(engine: FakeEngine) -> None:
    scope = in_main("import threading\nlock = threading.Lock()\n@ipyactors.remote\ndef f():\n    return lock\n")
    with pytest.raises(SerializationError, match="global variable 'lock'"):
        scope["f"].remote()
    assert not engine.calls
    scope["lock"] = 1
    assert ipyactors.get(scope["f"].remote()) == 1, "a failure leaves nothing behind"


def test_large_globals_are_kept_in_the_definition(engine: FakeEngine) -> None:
    numpy = pytest.importorskip("numpy")
    scope = in_main("@ipyactors.remote\ndef f():\n    return float(big.sum())\n", big=numpy.ones(100_000))
    assert ipyactors.get(scope["f"].remote()) == 100_000.0
    assert not scope["f"]._get_definition().payload.buffers


def test_sources_of_cells_travel_along(engine: FakeEngine) -> None:
    import linecache

    text = "def helper():\n    return 1\n\n@ipyactors.remote\ndef f():\n    return helper()\n"
    linecache.cache["<cell-1>"] = (len(text), None, text.splitlines(keepends=True), "<cell-1>")
    scope: dict[str, object] = {"__name__": "__main__", "ipyactors": ipyactors}
    exec(compile(text, "<cell-1>", "exec"), scope)
    [source] = scope["f"]._get_definition().sources
    assert (source.filename, source.text) == ("<cell-1>", text)
    assert serialize.loads(scope["f"]._get_definition().payload)() == 1
