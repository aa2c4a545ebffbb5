"""Durable actors as their users write them: options, effects, keys, checkpoints, upgrades, and what is refused."""

from __future__ import annotations

import pathlib
import pickle
import threading
import types
from collections.abc import Iterator

import cloudpickle
import pytest

import ipyactors
from ipyactors.actor import Checkpoint, Checkpointable, CheckpointContext, get_checkpoints_for_actor
from ipyactors.durable import manifest
from ipyactors.durable.call_tables import Snapshot
from ipyactors.durable.folder import Folder
from ipyactors.durable.manifest import CheckpointData, Manifest
from ipyactors.exceptions import ActorNotFoundError, OptionError, SessionError
from ipyactors.ground import ids
from ipyactors.owner import current
from ipyactors.owner.current import CurrentCall
from ipyactors.wire.specs import ActorSpec, Definition, Durability, Payload
from tests.support.fake_engine import FakeEngine, fake_engine


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as one:
        yield one


class Plain:
    def __init__(self, balance=0):
        self.balance = balance

    def deposit(self, amount):
        self.balance += amount
        return self.balance

    @ipyactors.method(effect="readonly")
    def look(self):
        return self.balance

    @ipyactors.method(effect="persist")
    def settle(self):
        return self.balance

    def _inner(self):
        return None


class Saved(Checkpointable):
    def work(self):
        return None

    def should_checkpoint(self, checkpoint_context):
        return False

    def save_checkpoint(self, actor_id, checkpoint_id):
        pass

    def load_checkpoint(self, actor_id, available_checkpoints):
        return None

    def checkpoint_expired(self, actor_id, checkpoint_id):
        pass


def durability(engine: FakeEngine, cls: type = Plain, **options: object) -> Durability | None:
    ipyactors.remote(**options)(cls).remote()
    return engine.templates[-1].durability


# -- options ---------------------------------------------------------------------------------------------------


def test_how_an_actor_is_durable(engine: FakeEngine) -> None:
    assert durability(engine) is None
    assert durability(engine, durable=False) is None
    assert durability(engine, durable=True) == Durability("process")
    assert durability(engine, durable="process") == Durability("process")
    assert durability(engine, durable="host", checkpoint=ipyactors.every(calls=100)) == Durability(
        "host", every_calls=100
    )
    both = ipyactors.every(calls=7, seconds=2)
    assert durability(engine, durable=True, checkpoint=both, num_checkpoints_to_keep=1) == Durability(
        "process", "", 7, 2.0, 1
    )


def test_a_durable_actor_comes_back_unless_it_is_told_otherwise(engine: FakeEngine) -> None:
    def counts(**options: object) -> tuple[int, int]:
        actor = ipyactors.remote(**options)(Plain).remote()
        restarts = engine.templates[-1].max_restarts
        actor.deposit.remote(1)
        return restarts, engine.templates[-1].max_task_retries

    assert counts() == (0, 0)
    assert counts(durable=True) == (-1, 3)
    assert counts(durable=True, max_restarts=0, max_task_retries=0) == (0, 0)
    assert counts(durable="host", max_restarts=2, max_task_retries=-1) == (2, -1)


@pytest.mark.parametrize(
    "option", [{"checkpoint": ipyactors.every(calls=1)}, {"checkpoint_store": "kv"}, {"num_checkpoints_to_keep": 2}]
)
def test_options_of_durable_actors_need_one(engine: FakeEngine, option: dict[str, object]) -> None:
    [name] = option
    words = f"{name}=.*: is an option of durable actors, and those of Plain are not durable. Give durable=True"
    with pytest.raises(OptionError, match=words):
        ipyactors.remote(**option)(Plain)
    with pytest.raises(OptionError, match=words):
        ipyactors.remote(Plain).options(**option)
    ipyactors.remote(durable=True, **option)(Plain).options(durable=False)


def test_where_checkpoints_go_is_looked_at_when_an_actor_is_made(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_store = pytest.importorskip("ipyactors.durable.checkpoint_store")
    asked = []

    def check_url(url: str) -> None:
        asked.append(url)
        raise OptionError(f"checkpoint_store={url!r}: no")

    monkeypatch.setattr(checkpoint_store, "check_url", check_url)
    cls = ipyactors.remote(durable=True, checkpoint_store="ftp://there")(Plain)
    assert not asked
    with pytest.raises(OptionError, match="ftp://there"):
        cls.remote()
    assert asked == ["ftp://there"]
    assert not engine.instances


def test_a_checkpointable_is_durable_by_itself(engine: FakeEngine) -> None:
    assert durability(engine, Saved) == Durability("process", keep=20, by_itself=True)
    assert durability(engine, Saved, durable="host") == Durability("host", keep=20, by_itself=True)
    assert durability(engine, Saved, durable=True, num_checkpoints_to_keep=2).keep == 2
    with pytest.raises(OptionError, match="durable=False: Saved is a Checkpointable, and these are durable"):
        ipyactors.remote(durable=False)(Saved)
    with pytest.raises(OptionError, match=r"checkpoint=every\(calls=3\): Saved .* should_checkpoint decides when"):
        ipyactors.remote(Saved).options(checkpoint=ipyactors.every(calls=3))
    with pytest.raises(OptionError, match="whose save_checkpoint decides where a checkpoint is saved"):
        ipyactors.remote(checkpoint_store="kv")(Saved)


def test_a_checkpointable_that_lacks_a_method_is_refused() -> None:
    class Half(Checkpointable):
        def should_checkpoint(self, checkpoint_context):
            return True

        def save_checkpoint(self, actor_id, checkpoint_id):
            pass

    with pytest.raises(TypeError, match=r"Half is .* does not implement checkpoint_expired, load_checkpoint\."):
        ipyactors.remote(Half)
    with pytest.raises(TypeError, match="abstract"):
        Half()
    assert CheckpointContext("61", 3, 250)._fields == (
        "actor_id",
        "num_tasks_since_last_checkpoint",
        "time_elapsed_ms_since_last_checkpoint",
    )
    assert Checkpoint("a", 7)._asdict() == {"checkpoint_id": "a", "timestamp": 7}


# -- several calls at once -------------------------------------------------------------------------------------


class Overlapping:
    def add(self):
        return None

    def remove(self):
        return None

    @ipyactors.method(effect="readonly")
    def look(self):
        return None

    @ipyactors.method(effect="persist")
    def settle(self):
        return None


class Awaiting:
    async def add(self):
        return None


class Declared:
    @ipyactors.method(effect="persist")
    async def add(self):
        return None

    @ipyactors.method(effect="readonly")
    def items(self):
        yield 1

    def _inner(self):
        return None


def test_calls_that_overlap_must_say_how_they_can_be_had_back(engine: FakeEngine) -> None:
    with pytest.raises(OptionError) as caught:
        ipyactors.remote(durable=True, max_concurrency=4)(Overlapping)
    text = str(caught.value)
    assert text.startswith("Overlapping is durable and runs up to 4 calls at once. ")
    assert "could come to another state: add, remove. No actor was made. Give max_concurrency=1" in text
    assert '@method(effect="persist")' in text
    assert '@method(effect="readonly")' in text
    with pytest.raises(OptionError, match="4 calls at once"):
        ipyactors.remote(durable=True)(Overlapping).options(max_concurrency=4)
    with pytest.raises(OptionError, match=r"only its checkpoints have what they did, and what is in memory:// is gone"):
        ipyactors.remote(durable=True, checkpoint_store="memory://x")(Declared)
    ipyactors.remote(durable=True, checkpoint_store="memory://x", max_concurrency=1)(Declared)
    with pytest.raises(OptionError, match="4 calls at once"):
        ipyactors.remote(max_concurrency=4)(Overlapping).options(durable="host")
    with pytest.raises(OptionError, match=r"up to 1,000 calls at once \(it has async methods\)"):
        ipyactors.remote(durable=True)(Awaiting)
    ipyactors.remote(max_concurrency=4)(Overlapping).remote()
    ipyactors.remote(durable=True, max_concurrency=1)(Awaiting).remote()
    assert engine.templates[-1].max_concurrency == 1
    ipyactors.remote(durable=True)(Declared).remote()
    assert engine.templates[-1].max_concurrency == 1000


def test_a_checkpointable_s_own_methods_need_no_declaration(engine: FakeEngine) -> None:
    with pytest.raises(OptionError, match=r"could come to another state: work\. No"):
        ipyactors.remote(max_concurrency=2)(Saved)


def test_many_undeclared_methods_are_not_all_named() -> None:
    many = type("Many", (), {f"m{number}": lambda self: None for number in range(8)})
    with pytest.raises(OptionError, match="m0, m1, m2, m3, m4 and 3 more"):
        ipyactors.remote(durable=True, max_concurrency=2)(many)


# -- methods ---------------------------------------------------------------------------------------------------


def facts(engine: FakeEngine) -> tuple[bool, bool, bool]:
    template = engine.templates[-1]
    return template.is_durable, template.is_readonly, template.is_persist


def test_effects_reach_the_calls(engine: FakeEngine) -> None:
    durable = pickle.loads(cloudpickle.dumps(ipyactors.remote(durable=True)(Plain).remote()))
    plain = ipyactors.remote(Plain).remote()

    def of(call) -> tuple[bool, bool, bool]:
        call()
        return facts(engine)

    assert of(lambda: durable.deposit.remote(1)) == (True, False, False)
    assert of(durable.look.remote) == (True, True, False)
    assert of(durable.settle.options(max_task_retries=1).remote) == (True, False, True)
    assert of(durable.__ray_ready__.remote) == (True, True, False)
    assert of(lambda: durable.__ray_call__.remote(lambda actor: None)) == (True, False, False)
    assert of(plain.look.remote) == (False, True, False)
    assert of(plain.settle.remote) == (False, False, False)
    assert of(plain.__ray_ready__.remote) == (False, False, False)


def test_what_could_not_be_declared_is_kept_where_calls_overlap(engine: FakeEngine) -> None:
    actor = ipyactors.remote(durable=True)(Declared).remote()
    actor._inner.remote()
    assert facts(engine) == (True, False, True)
    actor.__ray_call__.remote(lambda actor: None)
    assert facts(engine) == (True, False, True)
    actor.items.remote()
    assert facts(engine) == (True, True, False)
    actor.checkpoint()
    assert facts(engine) == (True, False, False)


def test_keys(engine: FakeEngine) -> None:
    durable, plain = ipyactors.remote(durable=True)(Plain).remote(), ipyactors.remote(Plain).remote()
    durable.deposit.options(key="order-17").remote(3)
    assert engine.templates[-1].key == "order-17"
    durable.deposit.remote(3)
    assert engine.templates[-1].key == ""
    durable.settle.options(key="s").options(max_task_retries=1).remote()
    assert (engine.templates[-1].key, engine.templates[-1].max_task_retries) == ("s", 1)
    with pytest.raises(OptionError, match=r"key='x': Actor\(Plain\).deposit is .* an actor that is not durable"):
        plain.deposit.options(key="x")
    with pytest.raises(OptionError, match=r"key='x': .*look is readonly, and calls of such methods are not recorded"):
        durable.look.options(key="x")
    with pytest.raises(OptionError, match="'key' is an option of a method call, not of a method"):
        ipyactors.method(key="x")


# -- handles ---------------------------------------------------------------------------------------------------


def test_a_handle_shows_what_its_actor_survives(engine: FakeEngine) -> None:
    cls = ipyactors.remote(Plain)
    shown = [repr(cls.options(name=f"a{level}", durable=level).remote()) for level in (False, True, "host")]
    assert shown == ["Actor(Plain 'aFalse')", "Actor(Plain 'aTrue', durable)", "Actor(Plain 'ahost', durable=host)"]


def test_a_checkpoint_on_demand(engine: FakeEngine) -> None:
    actor = ipyactors.remote(durable=True)(Plain).remote()
    assert {"checkpoint", "upgrade"} <= set(dir(actor))
    actor.deposit.remote(1)
    assert ipyactors.get(actor.checkpoint()) == "checkpoint-2"
    assert ipyactors.get(ipyactors.checkpoint(actor)) == "checkpoint-3"
    plain = ipyactors.remote(Plain).remote()
    assert "checkpoint" not in dir(plain)
    for call in (plain.checkpoint, lambda: ipyactors.checkpoint(plain)):
        with pytest.raises(TypeError, match=r"takes a handle of a durable actor, and Actor\(Plain\) is not durable"):
            call()
    with pytest.raises(AttributeError, match="no method '__ipyactors_checkpoint__'"):
        plain.__ipyactors_checkpoint__.remote()
    with pytest.raises(TypeError, match="checkpoint takes an actor's handle or name, not int"):
        ipyactors.checkpoint(3)  # type: ignore[arg-type]


def test_methods_of_these_names_are_not_hidden(engine: FakeEngine) -> None:
    class Own:
        def checkpoint(self, value):
            return value

        def upgrade(self):
            return "own"

    actor = ipyactors.remote(durable=True)(Own).remote()
    assert ipyactors.get([actor.checkpoint.remote(5), actor.upgrade.remote()]) == [5, "own"]
    assert ipyactors.get(ipyactors.checkpoint(actor)).startswith("checkpoint-")
    ipyactors.upgrade(actor, ipyactors.remote(durable=True)(Plain))
    assert "deposit" in dir(actor)


class Better(Plain):
    def deposit(self, amount, *, note=""):
        return super().deposit(amount), note

    def total(self):
        return self.balance


def test_an_upgrade(engine: FakeEngine) -> None:
    actor = ipyactors.remote(durable="host", max_task_retries=9, max_pending_calls=5)(Plain).remote(10)
    ipyactors.get(actor.deposit.remote(5))
    assert actor.upgrade(ipyactors.remote(durable=True)(Better)) is None
    assert ipyactors.get([actor.total.remote(), actor.deposit.remote(1, note="x")]) == [15, (16, "x")]
    template = engine.templates[-1]
    assert (template.max_task_retries, template.max_pending_calls, template.class_name) == (9, 5, "Better")
    assert repr(actor).startswith("Actor(Better")
    assert repr(actor).endswith(", durable=host)")
    copy = pickle.loads(cloudpickle.dumps(actor))
    assert ipyactors.get(copy.total.remote()) == 16
    ipyactors.upgrade(actor, ipyactors.remote(Plain).options(durable=True))
    assert not hasattr(actor, "total")


def test_calls_go_on_overlapping_after_an_upgrade(engine: FakeEngine) -> None:
    actor = ipyactors.remote(durable=True)(Declared).remote()
    actor.upgrade(ipyactors.remote(durable=True, max_concurrency=1)(Declared))
    actor._inner.remote()
    assert facts(engine) == (True, False, True)


def test_an_upgrade_that_cannot_be(engine: FakeEngine) -> None:
    durable = ipyactors.remote(durable=True)(Plain)
    actor, plain = durable.remote(), ipyactors.remote(Plain).remote()
    before = len(engine.templates)
    for new_class, words in (
        (Better, r"upgrade takes a remote class, not <class .*Better'>: decorate it with @remote\(durable=True\)"),
        (ipyactors.remote(Better), r"upgrade: ActorClass\(Better\) is not durable: decorate it"),
        (ipyactors.remote(Saved), "must both be Checkpointable or neither"),
        (
            ipyactors.remote(durable=True)(Declared),
            "async methods, which an actor can only have from the beginning",
        ),
    ):
        with pytest.raises(TypeError, match=words) as caught:
            actor.upgrade(new_class)
        assert str(caught.value).endswith("stays as it is.")
    with pytest.raises(TypeError, match="upgrade takes a handle of a durable actor"):
        plain.upgrade(durable)
    overlapping = ipyactors.remote(durable=True, max_concurrency=1)(Awaiting)
    with pytest.raises(OptionError, match=r"up to 1,000 calls at once.*: add\."):
        ipyactors.remote(durable=True)(Declared).remote().upgrade(overlapping)
    assert len(engine.templates) == before + 1, "nothing but one creation was sent"


def test_an_actor_cannot_wait_for_its_own_upgrade(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    durable = ipyactors.remote(durable=True)(Plain)
    actor = durable.remote()
    actor_id = actor._ipyactors_client.actor_id
    spec = ActorSpec(actor_id, "Plain", b"", Definition(b"", "", Payload(b"")), Payload(b""))
    monkeypatch.setattr(current, "_actor", spec)
    with pytest.raises(SessionError, match="cannot upgrade itself"):
        actor.upgrade(durable)


def test_an_upgrade_that_fails_leaves_the_handle(engine: FakeEngine) -> None:
    actor = ipyactors.remote(durable=True)(Plain).remote()
    engine.instances.clear()
    with pytest.raises(ipyactors.exceptions.ActorDiedError):
        actor.upgrade(ipyactors.remote(durable=True)(Better))
    assert not hasattr(actor, "total")


# -- checkpoints that there are --------------------------------------------------------------------------------


def test_the_checkpoints_of_an_actor(engine: FakeEngine, tmp_path: pathlib.Path) -> None:
    engine.session.paths = types.SimpleNamespace(
        state_dir=str(tmp_path), name="fake", actor_dir=lambda actor_id: f"{tmp_path}/{actor_id.hex()}"
    )
    actor = ipyactors.remote(durable=True)(Plain).remote()
    actor_id = actor._ipyactors_client.actor_id.hex()
    assert get_checkpoints_for_actor(actor) == []
    assert not list(tmp_path.iterdir()), "nothing is made by looking"
    folder = Folder(tmp_path / actor_id)
    assert get_checkpoints_for_actor(actor_id) == []
    for number, wall_s in ((1, 1_700_000_000.25), (2, 1_700_000_001.5)):
        data = CheckpointData(f"id-{number}", wall_s=wall_s)
        manifest.write(folder, Manifest(number, data, number, 0, 0, Snapshot(number)))
    (tmp_path / actor_id / manifest.name_of(3)).write_bytes(b"torn")
    expected = [Checkpoint("id-2", 1_700_000_001_500), Checkpoint("id-1", 1_700_000_000_250)]
    assert get_checkpoints_for_actor(actor_id) == get_checkpoints_for_actor(actor) == expected


def test_actors_without_checkpoints(engine: FakeEngine, tmp_path: pathlib.Path) -> None:
    engine.session.paths = types.SimpleNamespace(
        state_dir=str(tmp_path), name="fake", actor_dir=lambda actor_id: f"{tmp_path}/{actor_id.hex()}"
    )
    plain = ipyactors.remote(Plain).remote()
    for unknown in (plain, ids.new_actor_id().hex(), "0" * 32, "f" * 32):
        with pytest.raises(ActorNotFoundError, match="is no durable actor of this session, fake"):
            get_checkpoints_for_actor(unknown)
    for wrong in ("../../x", "acct", "ff" * 15, "FF" * 16):  # no ids, so they are taken for names
        with pytest.raises(ActorNotFoundError, match="no actor"):
            get_checkpoints_for_actor(wrong)
    with pytest.raises(TypeError, match="takes an actor's handle or name, not bytes"):
        get_checkpoints_for_actor(b"61")


def test_looking_for_checkpoints_starts_no_session() -> None:
    with pytest.raises(SessionError, match="get_checkpoints_for_actor: there is no session"):
        get_checkpoints_for_actor("61" * 16)
    assert not ipyactors.is_initialized()


# -- what code takes from outside ------------------------------------------------------------------------------


class FakeTurn:
    is_replaying = True

    def __init__(self) -> None:
        self.asked: list[str] = []

    def now(self):
        return 1.5

    def random(self):
        return 0.25

    def uuid4(self):
        return "uuid"

    def once(self, function):
        return "once", function()

    def request_checkpoint(self):
        self.asked.append("checkpoint")


def test_without_a_turn_answers_are_just_given(engine: FakeEngine) -> None:
    context = ipyactors.get_runtime_context()
    assert context.now() > 1_700_000_000
    assert 0 <= context.random() < 1
    assert context.uuid4().version == 4
    assert context.once(divmod, 7, 2) == (3, 1)
    assert context.once(int, "11", base=2) == 3
    assert context.is_replaying is False
    with pytest.raises(SessionError, match="does not run in a durable actor"):
        context.checkpoint()


def test_in_a_turn_the_turn_answers(engine: FakeEngine) -> None:
    context, turn = ipyactors.get_runtime_context(), FakeTurn()
    running = CurrentCall(b"", 1, b"", "Plain.deposit", turn=turn, thread=threading.get_ident())
    token = current.call.set(running)
    try:
        assert (context.now(), context.random(), context.uuid4()) == (1.5, 0.25, "uuid")
        assert context.once(divmod, 7, 2) == ("once", (3, 1))
        assert context.is_replaying is True
        assert context.checkpoint() is None
    finally:
        current.call.reset(token)
    assert turn.asked == ["checkpoint"]
