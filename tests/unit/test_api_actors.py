"""Remote classes, handles and methods."""

from __future__ import annotations

import gc
import inspect
import pickle
from collections.abc import Iterator

import cloudpickle
import pytest

import ipyactors
from ipyactors.exceptions import (
    ActorAlreadyExistsError,
    ActorNotFoundError,
    DirectCallError,
    OptionError,
    SerializationError,
)
from tests.support.fake_engine import FakeEngine, fake_engine


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as one:
        yield one


class Base:
    LIMIT = 10

    def greet(self, name):
        return f"hello {name}"


@ipyactors.remote
class Counter(Base):
    """Counts."""

    def __init__(self, start=0, *, step=1):
        self.value, self.step = start, step

    def add(self, times=1):
        self.value += times * self.step
        return self.value

    @staticmethod
    def double(x):
        return 2 * x

    @classmethod
    def limit(cls):
        return cls.LIMIT

    @ipyactors.method(num_returns=2)
    def pair(self):
        return self.value, self.step

    def items(self, count):
        yield from range(count)

    def _private(self):
        return "private"


def test_life(engine: FakeEngine) -> None:
    counter = Counter.remote(5, step=2)
    assert ipyactors.get([counter.add.remote(), counter.add.remote(times=2)]) == [7, 11]
    assert ipyactors.get(counter.greet.remote("you")) == "hello you"
    assert ipyactors.get([counter.double.remote(4), counter.limit.remote()]) == [8, 10]
    assert ipyactors.get(counter.pair.remote()) == [11, 2]
    assert [ipyactors.get(ref) for ref in counter.items.remote(3)] == [0, 1, 2]
    assert ipyactors.get(counter._private.remote()) == "private"
    assert ipyactors.get(counter.__ray_ready__.remote()) is True
    assert ipyactors.get(counter.__ray_call__.remote(lambda actor, k: actor.value + k, 1)) == 12
    counter.__ray_terminate__.remote()
    assert engine.finished


def test_wrong_calls_are_never_sent(engine: FakeEngine) -> None:
    with pytest.raises(TypeError, match=r"Counter\.__init__\(\) got an unexpected keyword argument 'begin'"):
        Counter.remote(begin=1)
    assert not engine.instances
    counter = Counter.remote()
    with pytest.raises(TypeError, match=r"Counter\.add\(\) takes from 0 to 1 positional arguments but 2 were given"):
        counter.add.remote(1, 2)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        counter.greet.remote()
    with pytest.raises(AttributeError, match=r"Counter has no method 'ad'\. Did you mean 'add'\?"):
        counter.ad
    with pytest.raises(SerializationError, match=r"arguments of .*add"):
        counter.add.remote(x for x in ())
    assert not engine.calls


def test_a_method_shows_its_parameters(engine: FakeEngine) -> None:
    counter = Counter.remote()
    assert str(inspect.signature(counter.greet)) == "(name)"
    assert str(inspect.signature(counter.add)) == "(times=1)"


def test_help_shows_what_the_class_says(engine: FakeEngine) -> None:
    class Talker:
        """Talks.

        At length.
        """

        def say(self, word="x" * 99, *, loud=False, password="hunter2", to=Base):
            """Say it."""

        def hum(self, n=-1):
            """Hum"""

    Talker.hum.__doc__ = "h" * 1000
    talker = ipyactors.remote(Talker).remote()
    assert str(inspect.signature(talker.say)) == "(word=..., *, loud=False, password=..., to=...)"
    assert inspect.getdoc(talker.say) == "Say it."
    assert inspect.getdoc(ipyactors.api.handles.ActorMethod).startswith("One method of one actor")
    words = inspect.getdoc(talker)
    assert words.startswith("An actor of class Talker: Talks.\n")
    assert "    hum(n=-1): " + "h" * 117 + "..." in words.splitlines()
    assert inspect.getdoc(type(talker)).startswith("Speaks to one actor")
    assert "engine" not in inspect.getdoc(type(talker))
    with pytest.raises(TypeError, match="unexpected keyword"):
        talker.say.remote(quietly=True)


def test_options_are_offered_where_they_are_given(engine: FakeEngine) -> None:
    for configurable in (Counter, Counter.options(name="x")):
        assert {"name", "num_cpus", "max_restarts"} <= set(inspect.signature(configurable.options).parameters)
    assert set(inspect.signature(Counter.remote().add.options).parameters) >= {"num_returns", "key"}
    function = ipyactors.remote(lambda: None)
    for one in (function, function.options(max_retries=1)):
        names = set(inspect.signature(one.options).parameters)
        assert "max_retries" in names
        assert "max_restarts" not in names


def test_direct_calls() -> None:
    with pytest.raises(DirectCallError, match=r"use Counter\.remote"):
        Counter()
    with pytest.raises(DirectCallError, match=r"use Counter\.remote"):
        Counter.options(name="c")()
    with fake_engine(), pytest.raises(DirectCallError, match=r"use add\.remote"):
        Counter.remote().add()


def test_a_class_without_a_constructor_takes_no_arguments(engine: FakeEngine) -> None:
    remote_base = ipyactors.remote(Base)
    assert ipyactors.get(remote_base.remote().greet.remote("x")) == "hello x"
    with pytest.raises(TypeError, match="takes 0 positional arguments but 1 was given"):
        remote_base.remote(1)


def test_attributes_and_inheritance(engine: FakeEngine) -> None:
    assert Counter.LIMIT == 10
    assert Counter.__doc__ == "Counts."
    with pytest.raises(AttributeError):
        Counter.missing

    @ipyactors.remote(max_restarts=1)
    class Child(Counter):
        def add(self, times=1):
            return -super().add(times)

    assert ipyactors.get(Child.remote().add.remote(3)) == -3
    assert engine.templates[0].max_restarts == 1


def test_async_classes(engine: FakeEngine) -> None:
    @ipyactors.remote
    class Echo:
        async def say(self, x):
            return x

    assert ipyactors.get(Echo.remote().say.remote(4)) == 4
    assert (engine.templates[0].is_async, engine.templates[0].max_concurrency) == (True, 1000)
    Echo.options(max_concurrency=3).remote()
    assert engine.templates[-1].max_concurrency == 3


# -- options ---------------------------------------------------------------------------------------------------


def test_options_of_actors(engine: FakeEngine) -> None:
    Counter.options(name="c", max_restarts=-1).options(lifetime="detached", num_cpus=2).remote()
    [template] = engine.templates
    assert (template.name, template.max_restarts, template.detached) == ("c", -1, True)
    assert template.demand == {"CPU": 20_000}
    Counter.remote()
    assert engine.templates[1].demand == {}
    with pytest.raises(OptionError, match="needs a name"):
        Counter.options(get_if_exists=True)
    with pytest.raises(OptionError, match="not of a remote class"):
        Counter.options(max_retries=1)


def test_a_readonly_method(engine: FakeEngine) -> None:
    @ipyactors.remote
    class Looked:
        @ipyactors.method(effect="readonly")
        def look(self):
            return None

        @ipyactors.method(effect="persist")
        def change(self):
            return None

    actor = pickle.loads(cloudpickle.dumps(Looked.remote()))
    actor.look.remote()
    actor.look.options(num_returns=2).remote()
    actor.change.remote()
    assert [template.is_readonly for template in engine.templates[-3:]] == [True, True, False]
    with pytest.raises(OptionError, match="is an option of a method, not of a method call"):
        actor.look.options(effect="readonly")


def test_precedence_of_max_task_retries(engine: FakeEngine) -> None:
    @ipyactors.remote(max_task_retries=1)
    class Retrying:
        @ipyactors.method(max_task_retries=3, retry_exceptions=[KeyError])
        def marked(self):
            return None

        def plain(self):
            return None

    def retries(method) -> int:
        method.remote()
        return engine.templates[-1].max_task_retries

    default, changed = Retrying.remote(), Retrying.options(max_task_retries=2).remote()
    assert retries(default.plain) == 1
    assert retries(changed.plain) == 2
    assert retries(changed.marked) == 3
    assert pickle.loads(engine.templates[-1].retry_on) == (KeyError,)
    assert retries(changed.marked.options(max_task_retries=4)) == 4
    assert retries(changed.marked.options(max_task_retries=0)) == 0
    assert retries(changed.marked.options(retry_exceptions=True)) == 3
    assert engine.templates[-1].retry_on == b"*"


def test_options_of_methods(engine: FakeEngine) -> None:
    counter = Counter.options(max_pending_calls=7).remote()
    assert len(counter.pair.options(num_returns=2).remote()) == 2
    assert engine.templates[-1].max_pending_calls == 7
    with pytest.raises(OptionError, match="Did you mean 'num_returns'"):
        counter.add.options(num_return=2)
    with pytest.raises(OptionError, match="concurrency_group"):
        ipyactors.method(concurrency_group="io")
    with pytest.raises(OptionError, match="max_restarts"):
        ipyactors.method(max_restarts=1)


# -- handles ---------------------------------------------------------------------------------------------------


def test_handles_are_counted(engine: FakeEngine) -> None:
    counter = Counter.remote()
    actor_id = counter._ipyactors_client.actor_id
    copy = pickle.loads(cloudpickle.dumps(counter))
    method = copy.add
    assert engine.counts[actor_id] == 2
    del copy
    gc.collect()
    assert engine.counts[actor_id] == 2, "a method keeps its handle"
    del method, counter
    gc.collect()
    assert engine.counts[actor_id] == 0


def test_equality_hash_repr(engine: FakeEngine) -> None:
    counter, named = Counter.remote(), Counter.options(name="c1").remote()
    copy = pickle.loads(pickle.dumps(counter))
    assert copy == counter
    assert {copy: 1}[counter] == 1
    assert counter != named
    assert (repr(counter), repr(named)) == ("Actor(Counter)", "Actor(Counter 'c1')")
    assert repr(named.add) == f"{named!r}.add"
    assert repr(Counter) == "ActorClass(Counter)"
    assert "add" in dir(counter)


def test_the_digest_of_its_source_goes_with_a_class(engine: FakeEngine) -> None:
    known = ipyactors.remote(type("Known", (), {}))
    known.source_digest = b"digest"
    copy = pickle.loads(cloudpickle.dumps(known))  # as another process gets it, which may start actors of it
    assert known._get_definition().source_digest == copy._get_definition().source_digest == b"digest"
    assert Counter._get_definition().source_digest == b""


def test_a_name_that_no_message_can_carry_is_refused_when_it_is_made_remote(engine: FakeEngine) -> None:
    class Odd:
        pass

    setattr(Odd, "add\ud800", lambda _self: None)
    with pytest.raises(OptionError, match=r"'add.ud800' of Odd cannot .*: its 4th character, .* is a lone surrogate"):
        ipyactors.remote(Odd)

    def odd() -> None: ...

    odd.__qualname__ = "odd\ud800"
    with pytest.raises(OptionError, match=r"'odd.ud800' cannot .*: its 4th character, .* is a lone surrogate"):
        ipyactors.remote(odd)


def test_names(engine: FakeEngine) -> None:
    counter = Counter.options(name="c1", max_task_retries=5).remote(1)
    found = ipyactors.get_actor("c1")
    assert found == counter
    found.add.remote()
    assert engine.templates[-1].max_task_retries == 5, "options reach a handle that was looked up"
    with pytest.raises(ActorAlreadyExistsError):
        Counter.options(name="c1").remote()
    assert Counter.options(name="c1", get_if_exists=True).remote(9) == counter
    with pytest.raises(ActorNotFoundError):
        ipyactors.get_actor("other")
    with pytest.raises(ValueError):
        ipyactors.get_actor("c1", namespace="elsewhere")
    with pytest.raises(TypeError, match="takes a str, not int"):
        ipyactors.get_actor(3)
    for given in ({"name": "\ud800"}, {"name": "c1", "namespace": "\ud800"}):
        with pytest.raises(OptionError, match=r"its 1st character, '.ud800', is a lone surrogate"):
            ipyactors.get_actor(**given)
    ipyactors.kill(counter, no_restart=False)
    assert engine.killed == [(counter._ipyactors_client.actor_id, False)]


def test_a_handle_of_an_ended_session() -> None:
    with fake_engine():
        counter = Counter.remote()
        ipyactors.shutdown()
        ipyactors.init()
        with pytest.raises(ActorNotFoundError, match="session that has ended"):
            counter.add.remote()
        with pytest.raises(ActorNotFoundError, match="session that has ended"):
            ipyactors.kill(counter)
        with pytest.raises(TypeError, match="takes an actor's handle or name, not int"):
            ipyactors.kill(1)


def test_exit_actor_outside_an_actor() -> None:
    with pytest.raises(TypeError, match="outside an actor"):
        ipyactors.actor.exit_actor()
