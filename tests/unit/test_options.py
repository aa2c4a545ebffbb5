"""The table of options: what is taken, what is refused, and in which words."""

from __future__ import annotations

import dataclasses

import pytest

from ipyactors.ground.every import Every, every
from ipyactors.ground.exceptions import OptionError, OptionTypeError
from ipyactors.ground.options import (
    OPTIONS,
    UNSUPPORTED,
    ActorOptions,
    MethodOptions,
    Place,
    TaskOptions,
    options_of,
    parse,
)

TAKEN = [
    (Place.TASK, "num_cpus", 0, 0.0),
    (Place.TASK, "num_cpus", 0.5, 0.5),
    (Place.TASK, "num_gpus", 2, 2.0),
    (Place.TASK, "memory", 500 * 1024 * 1024, 500 * 1024 * 1024),
    (Place.TASK, "memory", 1e9, 1_000_000_000),
    (Place.TASK, "resources", {"disk": 1}, {"disk": 1.0}),
    (Place.TASK, "max_retries", -1, -1),
    (Place.TASK, "retry_exceptions", [ValueError, KeyError], (ValueError, KeyError)),
    (Place.TASK, "retry_exceptions", True, True),
    (Place.TASK, "num_returns", 0, 0),
    (Place.TASK, "num_returns", "streaming", "streaming"),
    (Place.TASK, "num_returns", 1_000_000, 1_000_000),
    (Place.ACTOR, "max_restarts", 0, 0),
    (Place.ACTOR, "lifetime", "detached", "detached"),
    (Place.ACTOR, "max_pending_calls", -1, -1),
    (Place.ACTOR, "durable", False, False),
    (Place.ACTOR, "durable", True, "process"),
    (Place.ACTOR, "durable", "process", "process"),
    (Place.ACTOR, "durable", "host", "host"),
    (Place.ACTOR, "checkpoint", every(calls=100), Every(100)),
    (Place.ACTOR, "checkpoint_store", "kv", "kv"),
    (Place.ACTOR, "num_checkpoints_to_keep", 1, 1),
    (Place.CALL, "key", "order-17", "order-17"),
    (Place.TASK, "lineage", False, False),
    (Place.METHOD, "num_returns", 3, 3),
    (Place.METHOD, "effect", "readonly", "readonly"),
    (Place.METHOD, "effect", "persist", "persist"),
    (Place.CALL, "max_task_retries", 4, 4),
]


@pytest.mark.parametrize(("place", "name", "value", "parsed"), TAKEN)
def test_taken(place: Place, name: str, value: object, parsed: object) -> None:
    assert parse({name: value}, place) == {name: parsed}


REFUSED = [
    (Place.TASK, "num_cpus", -1, OptionError, "number >= 0"),
    (Place.TASK, "num_cpus", True, OptionTypeError, "not bool"),
    (Place.TASK, "num_cpus", "2", OptionTypeError, "not str"),
    (Place.TASK, "num_cpus", 0.00001, OptionError, "0.0001"),
    (Place.TASK, "num_cpus", float("nan"), OptionError, "number >= 0"),
    (Place.TASK, "max_retries", -2, OptionError, "int >= -1"),
    (Place.TASK, "max_retries", 1.5, OptionTypeError, "not float"),
    (Place.TASK, "max_retries", True, OptionTypeError, "not bool"),
    (Place.TASK, "retry_exceptions", ValueError, OptionTypeError, "list or tuple"),
    (Place.TASK, "retry_exceptions", [1], OptionTypeError, "exception classes"),
    (Place.TASK, "num_returns", "dynamic", OptionError, "'streaming'"),
    (Place.TASK, "lineage", 1, OptionTypeError, "True or False, not int"),
    (Place.METHOD, "effect", "pure", OptionError, "'replay', 'readonly' or 'persist'"),
    (Place.METHOD, "effect", True, OptionTypeError, "not bool"),
    (Place.TASK, "num_returns", 1_000_001, OptionError, "0 to 1,000,000"),
    (Place.CALL, "num_returns", 10**20, OptionError, "0 to 1,000,000"),
    (Place.METHOD, "num_returns", -1, OptionError, "0 to 1,000,000"),
    (Place.TASK, "resources", {"CPU": 1}, OptionError, "num_cpus"),
    (Place.TASK, "resources", {"GPU": 1}, OptionError, "num_gpus"),
    (Place.TASK, "resources", {"memory": 1}, OptionError, "by the option memory"),
    (Place.TASK, "resources", {"disk": -1}, OptionError, "'disk'"),
    (Place.TASK, "resources", {"disk": "1"}, OptionTypeError, "a str for 'disk'"),
    (Place.TASK, "resources", ["disk"], OptionTypeError, "dict"),
    (Place.ACTOR, "max_restarts", -2, OptionError, "int >= -1"),
    (Place.ACTOR, "max_concurrency", 0, OptionError, "int >= 1"),
    (Place.ACTOR, "max_pending_calls", 0, OptionError, "-1 for no limit"),
    (Place.ACTOR, "name", "", OptionError, "non-empty"),
    (Place.ACTOR, "name", 3, OptionTypeError, "not int"),
    (Place.ACTOR, "lifetime", "forever", OptionError, "'detached'"),
    (Place.ACTOR, "get_if_exists", 1, OptionTypeError, "True or False"),
    (Place.ACTOR, "durable", "cluster", OptionError, "not available in this version; use 'host'"),
    (Place.ACTOR, "durable", "disk", OptionError, "takes True, False, 'process' or 'host'."),
    (Place.ACTOR, "durable", 7, OptionTypeError, "not int"),
    (
        Place.ACTOR,
        "checkpoint",
        100,
        OptionTypeError,
        "takes every(calls=N), every(seconds=S), or both in one, not",
    ),
    (Place.ACTOR, "checkpoint_store", "", OptionError, "a folder, a URL such as"),
    (Place.ACTOR, "checkpoint_store", ["kv"], OptionTypeError, "not list"),
    (Place.ACTOR, "num_checkpoints_to_keep", 0, OptionError, "int >= 1"),
    (Place.CALL, "key", "", OptionError, "non-empty str"),
    (Place.CALL, "key", 17, OptionTypeError, "not int"),
    (
        Place.CALL,
        "key",
        "order \ud800",
        OptionError,
        "non-empty str; its 7th character, '\\ud800', is a lone surrogate",
    ),
    (Place.ACTOR, "name", "\udfff", OptionError, "its 1st character"),
    (Place.ACTOR, "namespace", "\ud800", OptionError, "lone surrogate"),
    (Place.ACTOR, "checkpoint_store", "file:///tmp/\udcff", OptionError, "lone surrogate"),
    (Place.TASK, "name", "\ud800", OptionError, "lone surrogate"),
    (Place.TASK, "resources", {"\ud800": 1}, OptionError, "its name '\\ud800': its 1st character"),
    (Place.TASK, "max_retries", 2**63, OptionError, "at most 9,223,372,036,854,775,807"),
    (Place.ACTOR, "max_restarts", 10**30, OptionError, "at most 9,223,372,036,854,775,807"),
    (Place.CALL, "max_task_retries", 10**30, OptionError, "at most 9,223,372,036,854,775,807"),
    (Place.TASK, "memory", 10**30, OptionError, "at most"),
    (Place.TASK, "num_cpus", 1e300, OptionError, "at most"),
    (Place.TASK, "resources", {"disk": 1e300}, OptionError, "'disk'"),
]


@pytest.mark.parametrize(("place", "name", "value", "error", "words"), REFUSED)
def test_refused(place: Place, name: str, value: object, error: type[OptionError], words: str) -> None:
    with pytest.raises(error) as caught:
        parse({name: value}, place)
    assert type(caught.value) is error
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{name}=")
    assert caught.value.option == name  # type: ignore[attr-defined]


def test_an_unknown_name_is_answered_with_near_matches_and_all_names() -> None:
    with pytest.raises(OptionError, match=r"no option 'max_restart'\. Did you mean 'max_restarts'") as caught:
        parse({"max_restart": 1}, Place.ACTOR)
    assert all(option.name in str(caught.value) for option in options_of(Place.ACTOR))


def test_a_name_of_another_place_says_whose_it_is() -> None:
    with pytest.raises(OptionError, match="'max_restarts' is an option of a remote class, not of a remote function"):
        parse({"max_restarts": 1}, Place.TASK)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_options_of_ray_that_do_not_exist_here(name: str) -> None:
    with pytest.raises(OptionError, match=f"'{name}' is not supported"):
        parse({name: 1}, Place.TASK)


def test_errors_are_also_the_builtin_ones() -> None:
    assert issubclass(OptionError, ValueError)
    assert issubclass(OptionTypeError, TypeError)


def test_none_means_not_given() -> None:
    assert parse({"max_retries": None, "name": None}, Place.TASK) == {}


def test_demands() -> None:
    assert TaskOptions().demand() == {"CPU": 10_000}
    assert ActorOptions().demand() == {}
    options = ActorOptions().but({"num_cpus": 0.5, "num_gpus": 1, "resources": {"disk": 0.1}})
    assert options.demand() == {"CPU": 5_000, "GPU": 10_000, "disk": 1_000}


def test_later_options_win_and_the_rest_stays() -> None:
    options = TaskOptions().but({"max_retries": 1, "num_cpus": 2}).but({"max_retries": 0})
    assert (options.max_retries, options.num_cpus) == (0, 2.0)


def test_get_if_exists_needs_a_name() -> None:
    with pytest.raises(OptionError, match="needs a name"):
        ActorOptions().but({"get_if_exists": True}).check()


def test_how_often_a_checkpoint_is_made() -> None:
    assert (every(calls=100), every(seconds=5)) == (Every(100, 0.0), Every(0, 5.0))
    for policy in (every(calls=1_000_000), every(seconds=0.25), every(calls=7, seconds=30)):
        assert eval(repr(policy)) == policy
    assert repr(every(calls=7, seconds=30)) == "every(calls=7, seconds=30)"
    for given, error, words in (
        ({}, OptionError, "say how often: every(calls=100), every(seconds=5), or both"),
        ({"calls": 0}, OptionError, "every(calls=0): calls takes an int >= 1."),
        ({"calls": 2**63}, OptionError, "every(calls=9223372036854775808): calls takes an int >= 1."),
        ({"calls": 1.5}, OptionTypeError, "every(calls=1.5): calls takes an int >= 1, not float."),
        ({"calls": True}, OptionTypeError, "not bool"),
        ({"seconds": 0}, OptionError, "every(seconds=0): seconds takes a number > 0."),
        ({"seconds": float("inf")}, OptionError, "number > 0"),
        ({"seconds": float("nan")}, OptionError, "number > 0"),
        ({"seconds": "5"}, OptionTypeError, "not str"),
    ):
        with pytest.raises(error) as caught:
            every(**given)
        assert type(caught.value) is error
        assert words in str(caught.value)


def test_counts_that_depend_on_what_sort_of_actor_it_is() -> None:
    def counts(given: dict[str, object], *, is_durable: bool, is_async: bool) -> tuple[object, ...]:
        filled = ActorOptions().but(given).filled_in(is_durable=is_durable, is_async=is_async)
        return filled.max_restarts, filled.max_task_retries, filled.max_concurrency

    assert counts({}, is_durable=False, is_async=False) == (0, 0, 1)
    assert counts({}, is_durable=True, is_async=True) == (-1, 3, 1000)
    given = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": 2}
    assert counts(given, is_durable=True, is_async=True) == (0, 0, 2)


def test_durable_false_takes_back_what_goes_with_it() -> None:
    durable = ActorOptions().but({"durable": True, "checkpoint_store": "kv", "num_checkpoints_to_keep": 9})
    assert durable.but({"durable": False}) == ActorOptions(durable=False)
    assert durable.but({"durable": None}) == durable
    assert durable.but({"durable": False, "checkpoint_store": "kv"}).checkpoint_store == "kv"


def test_defaults_in_the_table_are_those_of_the_options() -> None:
    for option in options_of(Place.TASK):
        if option.default is not None:
            assert getattr(TaskOptions(), option.name) == option.default
    for option in options_of(Place.ACTOR):
        if option.default is not None:
            assert getattr(ActorOptions(), option.name) == option.default


def test_every_option_explains_itself() -> None:
    for option in OPTIONS.values():
        assert option.help
        assert option.takes
        assert option.places
    fields = {field.name for field in dataclasses.fields(MethodOptions)}
    assert {option.name for option in options_of(Place.METHOD)} == fields
