"""When a round that is held takes others in: soon, and ever more seldom."""

from __future__ import annotations

import pytest

from ipyactors.worker.held import HeldRound, held_words


def test_the_first_pause_is_as_long_as_the_first_call_and_each_further_one_twice_as_long() -> None:
    held = HeldRound()
    now_s = 100.0
    held.close(now_s, 0.4)
    for pause_s in (0.4, 0.8, 1.6, 3.2):
        assert not held.may_reopen(now_s + pause_s * 0.99)
        now_s += pause_s
        assert held.may_reopen(now_s)
        held.close(now_s, 0.0)
    held.end()
    held.close(now_s, 0.0)
    assert not held.may_reopen(now_s + 0.049)
    assert held.may_reopen(now_s + 0.05)


@pytest.mark.parametrize("shortest_s", [0.0, 0.01, 0.3, 1.0, 6.9])
@pytest.mark.parametrize("every_s", [0.03, 0.2, 0.9])
def test_a_round_comes_to_its_end_under_any_load_of_calls_that_do(shortest_s: float, every_s: float) -> None:
    """Calls come all the time, the short ones and such that take seven seconds in turn."""
    held, ticks, waiting, running, is_open, has_closed = HeldRound(), 0, 0, [7.0], True, False
    while running:
        ticks += 1
        now_s = ticks * every_s
        waiting += 1
        for end_s in [end_s for end_s in running if end_s <= now_s]:
            running.remove(end_s)
            if is_open:
                held.close(now_s, 0.0)
                is_open, has_closed = False, True
        if running and not is_open:
            is_open = held.may_reopen(now_s)
        if is_open and (running or not has_closed):
            running += [now_s + (shortest_s if (ticks + index) % 2 else 7.0) for index in range(waiting)]
            waiting = 0
        assert now_s < 6 * 7.0


@pytest.mark.parametrize(
    ("ended", "running", "words"),
    [
        (["Q.put"], ["Q.take"], "Q.put has ended; its answer waits for {} Q.take, which still runs"),
        (["b", "a", "b"], ["c"] * 2, "2 of b and a have ended; their answers wait for {} 2 of c, which still run"),
        (list("abcdefg"), ["h"], "a, b, c, d, e and 2 more have ended; their answers wait for {} h, which still runs"),
    ],
)
def test_it_is_said_who_waits_for_whom(ended: list[str], running: list[str], words: str) -> None:
    assert held_words(ended, running) == words.format("the checkpoint after all that ran beside: it waits for")
