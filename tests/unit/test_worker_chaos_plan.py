"""To which call something is done: orders counted through thousands of lives of an actor, and the words for them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyactors.wire.chaos_words import Act, Deed, Moment, Order, Progress, describe, describe_act, describe_end
from ipyactors.worker.chaos_plan import Plan

ACTOR = b"a1"
D = b"driver-1"


def order(order_id: int = 1, deed: Deed = Deed.KILL, moment: Moment = Moment.BEFORE, **fields: object) -> Order:
    fields.setdefault("signal", 9 if deed is Deed.KILL else 0)
    return Order(order_id, deed, moment, ACTOR, "Account 'acct'", **fields)  # type: ignore[arg-type]


def plan(*orders: Order) -> Plan:
    made = Plan()
    made.add([Progress(one) for one in orders])
    return made


def run(made: Plan, seq: int, method: str = "deposit", *, is_logged: bool = False, caller: bytes = D) -> list[Deed]:
    """Let a call begin, run and be answered; return what was done to it."""
    key = caller, seq
    found = made.begin(key, method, f"Account.{method}", is_logged=is_logged)
    found += made.take(key, Moment.DURING)
    found += made.take(key, Moment.AFTER)
    for one in found:
        made.done(one)
    made.end(key)
    return [one.deed for one in found]


# -- counting --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", [Moment.BEFORE, Moment.DURING, Moment.AFTER])
def test_it_is_done_to_the_nth_call_of_the_method_and_to_no_other(moment: Moment) -> None:
    made = plan(order(moment=moment, method="deposit", nth=3))
    done = [run(made, seq, method) for seq, method in enumerate(["deposit", "read", "deposit", "deposit", "deposit"])]
    assert done == [[], [], [], [Deed.KILL], []]
    assert made.progress() == ()


def test_any_call_counts_where_no_method_is_named_but_none_of_those_that_every_actor_has() -> None:
    made = plan(order(nth=2))
    methods = ["read", "__ray_ready__", "__ipyactors_checkpoint__", "deposit"]
    assert [run(made, seq, method) for seq, method in enumerate(methods)] == [[], [], [], [Deed.KILL]]
    assert run(plan(order(method="__ray_ready__")), 1, "__ray_ready__") == [Deed.KILL]


def test_times_is_to_how_many_calls_and_without_end_means_to_each() -> None:
    made = plan(order(nth=2, times=2))
    assert [bool(run(made, seq)) for seq in range(5)] == [False, True, True, False, False]
    made = plan(order(deed=Deed.SLOW, moment=Moment.DURING, times=0, seconds=1.0))
    assert all(run(made, seq) for seq in range(50))
    made.clear()
    assert run(made, 50) == []


def test_what_was_given_to_a_call_is_given_to_no_other_until_that_is_over_without_it() -> None:
    made = plan(order(moment=Moment.DURING))
    assert made.begin((D, 1), "deposit", "") == []
    assert made.begin((D, 2), "deposit", "") == []
    assert made.take((D, 2), Moment.DURING) == []
    made.end((D, 1))  # its arguments could not be had, say
    assert made.begin((D, 3), "deposit", "") == []
    assert [one.deed for one in made.take((D, 3), Moment.DURING)] == [Deed.KILL]


def test_a_call_that_could_still_be_refused_fails_before_it_is_in_the_log_and_is_counted_once() -> None:
    made = plan(order(deed=Deed.FAIL, moment=Moment.DURING, nth=2))
    assert made.refuse("deposit") is None
    assert run(made, 1, is_logged=True) == []
    refused = made.refuse("deposit")
    assert refused is not None
    assert made.done(refused) == 1
    assert made.progress() == ()
    assert run(plan(order(deed=Deed.FAIL, moment=Moment.DURING)), 1) == [Deed.FAIL]


@pytest.mark.parametrize("deed", [Deed.DROP_REPLIES, Deed.DUPLICATE_REPLIES, Deed.DELAY_REPLIES])
def test_a_call_that_was_found_in_the_log_has_no_reply(deed: Deed) -> None:
    made = plan(order(deed=deed, moment=Moment.AFTER))
    assert run(made, 7, caller=b"") == []
    assert run(made, 1) == [deed]


@pytest.mark.parametrize("moment", [Moment.BEFORE, Moment.DURING, Moment.AFTER])
@pytest.mark.parametrize("deed", [Deed.KILL, Deed.EXIT, Deed.FREEZE])
def test_a_call_that_was_found_in_the_log_counts_for_all_that_is_done_to_its_process(
    deed: Deed, moment: Moment
) -> None:
    made = plan(order(deed=deed, moment=moment, nth=3))
    done = [run(made, seq, caller=caller) for seq, caller in enumerate([b"", b"", b"", D])]
    assert done == [[], [], [deed], []]


def test_a_task_brings_what_is_done_to_it() -> None:
    made = Plan()
    made.add_task((D, 4), (order(moment=Moment.DURING, base=2),))
    assert run(made, 3) == []
    made.begin((D, 4), "f", "f")
    [one] = made.take((D, 4), Moment.DURING)
    assert made.done(one) == 3


def test_checkpoints_find_no_room_so_many_times_or_for_so_long() -> None:
    made = plan(order(deed=Deed.FILL_DISK, times=2))
    assert run(made, 1) == []
    for expected in (True, True, False):
        found = made.save(0.0)
        assert bool(found) is expected
        if found is not None:
            made.done(found)
    made = plan(order(deed=Deed.FILL_DISK, times=0, until_s=10.0))
    assert [bool(made.save(now_s)) for now_s in (1.0, 9.9, 10.0, 11.0)] == [True, True, False, False]
    assert made.progress() == ()


def test_orders_that_are_known_go_on_from_where_they_are() -> None:
    made = plan(order(nth=3))
    run(made, 1)
    assert made.add([Progress(order(nth=3)), Progress(order(2))]) == [Progress(order(2))]
    assert run(made, 2) == [Deed.KILL]  # of the second
    assert run(made, 3) == [Deed.KILL]  # of the first


def test_one_is_cleared_and_the_other_stays() -> None:
    made = plan(order(1, moment=Moment.AFTER), order(2, moment=Moment.AFTER))
    made.begin((D, 1), "deposit", "")
    made.clear((1,))
    assert [one.order_id for one in made.take((D, 1), Moment.AFTER)] == [2]


@given(st.integers(0, 2**32))
def test_through_any_number_of_deaths_once_is_once_and_the_nth_is_the_nth(seed: int) -> None:
    """The processes of an actor run calls, and die of the order or of anything else; progress passes on."""
    rng = random.Random(seed)
    nth, times = rng.randint(1, 6), rng.randint(1, 4)
    moment = rng.choice([Moment.BEFORE, Moment.DURING, Moment.AFTER])
    left: tuple[Progress, ...] = (Progress(order(moment=moment, method="deposit", nth=nth, times=times)),)
    began: list[bool] = []  # one entry for each call of the method that has begun: was it done to that one?
    for _ in range(12):
        life = Plan()
        life.add(left)
        for seq in range(rng.randint(0, 6)):
            method = rng.choice(["deposit", "read"])
            dies_first = rng.random() < 0.1
            found = life.begin((D, seq), method, "")
            if dies_first and not found:
                began += [False] * (method == "deposit")
                break
            found = found or life.take((D, seq), Moment.DURING) or life.take((D, seq), Moment.AFTER)
            began += [bool(found)] * (method == "deposit")
            for one in found:
                life.done(one)
            life.end((D, seq))
            if found:
                break
        left = life.progress()
    done = [index for index, was in enumerate(began, 1) if was]
    assert len(done) <= times
    assert all(index >= nth for index in done)
    if not left:
        assert len(done) == times
    elif len(began) >= nth:
        assert left[0].counted == len(began)
        assert left[0].done == len(done)


# -- words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (order(method="deposit", nth=3), "SIGKILL before the 3rd call of deposit"),
        (order(moment=Moment.NOW), "SIGKILL"),
        (order(moment=Moment.AFTER, times=2), "SIGKILL after the next 2 calls"),
        (order(deed=Deed.EXIT, code=3, nth=12, times=2), "os._exit(3) before 2 calls from the 12th on"),
        (order(deed=Deed.FREEZE, seconds=2.0, moment=Moment.DURING, nth=22), "freezes for 2 s during the 22nd call"),
        (order(deed=Deed.FAIL, text="ValueError('no')"), "raises ValueError('no') instead of the next call"),
        (order(deed=Deed.SLOW, seconds=0.2, times=0), "takes 0.2 s more for each call"),
        (order(deed=Deed.DROP_REPLIES), "loses the reply of the next call"),
        (order(deed=Deed.DUPLICATE_REPLIES), "sends twice the reply of the next call"),
        (order(deed=Deed.DELAY_REPLIES, seconds=0.5), "holds back for 0.5 s the reply of the next call"),
        (order(deed=Deed.FILL_DISK, nth=2), "finds no space left for the 2nd checkpoint"),
        (
            order(deed=Deed.FILL_DISK, times=0, seconds=5.0, until_s=99.0),
            "finds no space left for each checkpoint within 5 s",
        ),
        (order(deed=Deed.CORRUPT_CHECKPOINT, moment=Moment.NOW), "damages the newest checkpoint"),
        (order(deed=Deed.KILL_HEAD, moment=Moment.NOW), "SIGKILL to the head"),
        (order(deed=Deed.KILL_NODE, moment=Moment.NOW), "SIGKILL to the machine"),
    ],
)
def test_an_order_reads_well(one: Order, words: str) -> None:
    assert describe(one) == words


def test_what_was_done_and_the_death_that_follows_read_well() -> None:
    assert describe_act(Act(order(), 1, 0.0, "Account.deposit")) == "SIGKILL before Account.deposit"
    assert describe_end(Act(order(), 1, 0.0, "Account.deposit")) == "injected before Account.deposit"
    assert describe_end(Act(order(moment=Moment.NOW), 1, 0.0)) == "injected"
    dropped = Act(order(deed=Deed.DROP_REPLIES), 1, 0.0, "Account.deposit", is_deadly=True)
    assert describe_end(dropped) == "injected: loses the reply of Account.deposit"
